"""What a task hands to the export: a graph that answers, inputs to compare it on, its part of the card."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import nn
from torch.export import Dim

from weft.limits import SPECTRUM_POINTS

Inputs = dict[str, NDArray[Any]]
CASES = 64  # inputs on which ONNX Runtime is compared with torch; half of them real


@dataclass(frozen=True, eq=False)
class Prepared:
    """A graph that answers, and what its card says that depends on the task."""

    graph: nn.Module
    outputs: list[str]  # names of what the graph returns
    example: Inputs
    dynamic: dict[str, dict[int, Any]]
    made: list[Inputs]  # synthetic inputs: the only ones that may travel
    real: list[Inputs]
    card: dict[str, Any]


def scan_axes() -> dict[str, dict[int, Any]]:
    """The axes of scans that a caller may vary: how many, and of how many wavelengths each."""
    wavelengths = Dim("wavelengths", min=2, max=SPECTRUM_POINTS)
    return {
        "wavelength_nm": {0: wavelengths},
        "absorbance": {0: Dim("batch", max=1 << 24), 1: wavelengths},
    }
