"""Which photos of a subject are asked about together when a net is judged: its modes.

one         every photo by itself
few         random sets of 2, 3, ... photos, fewer than there are
all         all photos of the subject
unmarked    single photos, and one set of each size, with the scale mark hidden
mismarked   single photos whose mark was read too large or too small
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from weft.limits import PHOTOS_PER_ESTIMATE

Mode = Literal["one", "few", "all", "unmarked", "mismarked"]

_DRAWS: Final = 3  # of each size in mode "few"
_WRONG_SCALES: Final = (1.25, 0.8)


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Photos by their place among the subject's."""

    mode: Mode
    places: tuple[int, ...]
    scale_factor: float = 1.0  # on the millimetres per pixel that the mark gave; 0: hidden


def sets_of_subject(
    marked: Sequence[bool] | NDArray[np.bool_], *, ever_marked: bool, rng: np.random.Generator
) -> list[PhotoSet]:
    """Everything that is asked about one subject.

    Args:
        marked: (photos,) whether a scale was found in each.
        ever_marked: Whether any photo of the data has a mark: else hiding it is no other question.
    """
    count = len(marked)
    found = [PhotoSet("one", (place,)) for place in range(count)]
    for size in range(2, min(count - 1, PHOTOS_PER_ESTIMATE) + 1):
        found += [PhotoSet("few", _draw(rng, count, size)) for _ in range(_DRAWS)]
    if count > 1:
        found.append(PhotoSet("all", tuple(range(count))))
    if not ever_marked:
        return found
    found += [PhotoSet("unmarked", (place,), 0.0) for place in range(count)]
    for size in range(2, min(count, PHOTOS_PER_ESTIMATE) + 1):
        found.append(PhotoSet("unmarked", _draw(rng, count, size), 0.0))
    for factor in _WRONG_SCALES:
        found += [PhotoSet("mismarked", (place,), factor) for place in range(count) if marked[place]]
    return found


def _draw(rng: np.random.Generator, count: int, size: int) -> tuple[int, ...]:
    return tuple(int(place) for place in rng.choice(count, size=size, replace=False))
