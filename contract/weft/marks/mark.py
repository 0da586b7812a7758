"""What a mark is, and what is asked for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

MarkKind = Literal["qr", "disc", "sheet", "ruler"]
Corners = tuple[tuple[float, float], ...]
Floats = NDArray[np.float64]

# Kinds whose print has a usual size, which may then be left out. A sheet is measured by its longer side.
USUAL_MM: Final[Mapping[str, float]] = {"sheet": 297.0, "ruler": 250.0}

# Longest side of the decode that a mark is searched on, coarsest first. A QR label of 60 mm in a scene of
# 1.2 m is read at half scale of 8 megapixels, not at a quarter; a disc or a sheet is found at 800 px or not
# at all.
SEARCH_PX: Final[Mapping[MarkKind, tuple[int, ...]]] = {
    "qr": (1600, 3200),
    "ruler": (1600, 3200),
    "disc": (800,),
    "sheet": (800,),
}


@dataclass(frozen=True, slots=True)
class MarkHint:
    """What to look for.

    Args:
        size_mm: Side of the QR square without its quiet zone, diameter of the disc, longer side of the sheet
            (A4: 297), or length of the ruler between the outer edges of its codes, as printed on it.
    """

    kind: MarkKind
    size_mm: float

    def __post_init__(self) -> None:
        if not 1 <= self.size_mm <= 2000:
            raise ValueError(f"size_mm is {self.size_mm:g}, needs 1 to 2000 millimetres")


def wanted(kind: MarkKind | None, size_mm: float | None) -> MarkHint | None:
    """The hint that a kind and a size make; a sheet or a ruler without a size has its usual one.

    Raises:
        ValueError: A kind without the size it needs, a size without a kind, or one that no print has.
    """
    if kind is None and size_mm is None:
        return None
    if kind is not None and size_mm is None:
        size_mm = USUAL_MM.get(kind)
    if kind is None or size_mm is None:
        raise ValueError("a mark without its size is no scale, nor a size without its mark")
    return MarkHint(kind, size_mm)


class MarkAt(NamedTuple):
    """Where a mark lies in a photo and how aslant; zeros where that is unknown."""

    x_px: float = 0.0  # of its middle; whole numbers at the pixels' corners
    y_px: float = 0.0
    facing: float = 0.0  # cosine of its tilt, 1 seen straight on; 0 unknown


NOWHERE: Final = MarkAt()


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that was found. Pixels are those of the upright photo at full resolution.

    Args:
        corners: Four (x, y), clockwise in the photo; of a disc, the box around its ellipse along its axes.
        mm_per_pixel: In the mark's plane, along the direction that is not foreshortened, at its middle.
        confidence: 0..1: how often a mark that looks like this one gives a scale within 5 % of the truth.
        tilt_degrees: Between the mark's plane and the sensor's, 0 seen straight on; None where it does not
            follow from what was seen.
    """

    kind: MarkKind
    corners: Corners
    mm_per_pixel: float
    confidence: float
    tilt_degrees: float | None = None

    def at(self, full_per_pixel: float) -> MarkAt:
        """Its place in a decode of which one pixel covers so many of the full photo."""
        x, y = np.mean(self.corners, axis=0) / full_per_pixel
        facing = 0.0 if self.tilt_degrees is None else math.cos(math.radians(self.tilt_degrees))
        return MarkAt(float(x), float(y), facing)


def clockwise(corners: NDArray[np.floating]) -> Corners:
    """Start at the corner nearest the photo's top left; a mirrored mark then still runs clockwise."""
    x, y = corners[:, 0], corners[:, 1]
    if float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) < 0:
        corners = corners[::-1]
    start = int((corners[:, 0] + corners[:, 1]).argmin())
    turned = np.roll(corners, -start, axis=0)
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in turned)
