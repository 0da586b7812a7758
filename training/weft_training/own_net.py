"""What tasks answer the training loop whose net is all our own and looks at one capture at a time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class OwnNet:
    """A part of `fit.Task`."""

    def backbone(self, net: Any) -> None:
        """There is none."""
        del net

    @property
    def ahead(self) -> bool:
        """A batch is made in no time; that of spectra also draws from torch's own generator."""
        return False

    def items(self, rows: Rows, rng: np.random.Generator) -> list[Rows]:
        """Every capture by itself, in random order."""
        return [np.array([row]) for row in rng.permutation(rows)]
