"""The scale mark: something of known size in the photo, from which a pixel's size in millimetres follows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import zxingcpp
from numpy.typing import NDArray

from weft.discs import find_disc
from weft.photos import Photo

MarkKind = Literal["qr", "disc"]
Corners = tuple[tuple[float, float], ...]

# Longest side of the decode that a mark is searched on, coarsest first. A QR label of 60 mm in a scene of
# 1.2 m is read at half scale of 8 megapixels, not at a quarter; a disc is found at 800 px or not at all.
SEARCH_PX: Final[Mapping[MarkKind, tuple[int, ...]]] = {"qr": (1600, 3200), "disc": (800,)}

# A square tilted by more than about 65 degrees: its corners, read to a pixel, no longer carry its size.
_MOST_TILT: Final = 0.4
# Two labels whose scales differ by more than this cannot both be the mark.
_SAME_SCALE: Final = 1.15


@dataclass(frozen=True, slots=True)
class MarkHint:
    """What to look for. `size_mm`: side of the QR square without its quiet zone, or diameter of the disc."""

    kind: MarkKind
    size_mm: float

    def __post_init__(self) -> None:
        if not 1 <= self.size_mm <= 2000:
            raise ValueError(f"size_mm is {self.size_mm:g}, needs 1 to 2000 millimetres")


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark that was found. Pixels are those of the upright photo at full resolution.

    Args:
        corners: Four (x, y), clockwise in the photo; of a disc, the box around its ellipse along its axes.
        mm_per_pixel: In the mark's plane, along the direction that is not foreshortened.
        confidence: 0..1.
    """

    kind: MarkKind
    corners: Corners
    mm_per_pixel: float
    confidence: float


def find_mark(photo: Photo, hint: MarkHint) -> Mark | None:
    """Look for the mark in a photo decoded at about `SEARCH_PX`; None rather than a wrong scale."""
    return _find_qr(photo, hint) if hint.kind == "qr" else _find_disc(photo, hint)


def _find_qr(photo: Photo, hint: MarkHint) -> Mark | None:
    grey = np.ascontiguousarray(photo.pixels @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)
    one_format: Any = zxingcpp.BarcodeFormat.QRCode  # zxing-cpp 2 takes nothing else, 3 is typed for a list
    found = zxingcpp.read_barcodes(grey, formats=one_format)
    marks = [mark for mark in (_qr_mark(code.position, photo, hint) for code in found) if mark is not None]
    if not marks:
        return None
    scales = [mark.mm_per_pixel for mark in marks]
    if max(scales) > _SAME_SCALE * min(scales):
        return None  # a shop's own code beside ours: which of them has the stated size cannot be known
    return max(marks, key=lambda mark: mark.confidence)


def _qr_mark(position: zxingcpp.Position, photo: Photo, hint: MarkHint) -> Mark | None:
    points = (position.top_left, position.top_right, position.bottom_right, position.bottom_left)
    corners: NDArray[np.float64] = np.array([(point.x, point.y) for point in points]) * photo.full_per_pixel
    across = (corners[1] - corners[0] + corners[2] - corners[3]) / 2
    down = (corners[3] - corners[0] + corners[2] - corners[1]) / 2
    # The larger singular value is the side as seen along the direction that the tilt does not shorten.
    long, short = np.linalg.svd(np.stack([across, down], axis=1), compute_uv=False)
    if short < _MOST_TILT * long:
        return None
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    # One pixel of the decode on each corner is the error that is left; it counts less on a larger square.
    sharp = 1 - min(1.0, 2 * photo.full_per_pixel / float(short))
    return Mark(
        kind="qr",
        corners=_turned_clockwise(corners),
        mm_per_pixel=hint.size_mm / float(long),
        confidence=float(sides.min() / sides.max()) * sharp,
    )


def _find_disc(photo: Photo, hint: MarkHint) -> Mark | None:
    disc = find_disc(photo.pixels)
    if disc is None:
        return None
    axis = np.array([np.cos(disc.angle), np.sin(disc.angle)]) * disc.major_px / 2
    other = np.array([-np.sin(disc.angle), np.cos(disc.angle)]) * disc.minor_px / 2
    middle = np.array([disc.x, disc.y])
    box = np.stack(
        [middle - axis - other, middle + axis - other, middle + axis + other, middle - axis + other]
    )
    # Pixel centres are at whole numbers here and at .5 in the photo's own frame, whose corner is (0, 0).
    corners = (box + 0.5) * photo.full_per_pixel
    return Mark(
        kind="disc",
        corners=_turned_clockwise(corners),
        mm_per_pixel=hint.size_mm / (disc.major_px * photo.full_per_pixel),
        confidence=disc.confidence,
    )


def _turned_clockwise(corners: NDArray[np.float64]) -> Corners:
    """Start at the corner nearest the photo's top left; a mirrored label then still runs clockwise."""
    x, y = corners[:, 0], corners[:, 1]
    if float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) < 0:
        corners = corners[::-1]
    start = int((corners[:, 0] + corners[:, 1]).argmin())
    turned = np.roll(corners, -start, axis=0)
    return tuple((round(float(x), 2), round(float(y), 2)) for x, y in turned)
