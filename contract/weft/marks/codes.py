"""QR codes read in a photo, their corners measured to a fraction of a pixel.

zxing-cpp finds and reads them and gives corners in whole pixels. The black rings of the three finder
patterns have straight outer edges of seven modules each; the outline is moved (by an affine map, six
unknowns) to where those edges lie between the pixels.
"""

import re
from typing import Any, Final, NamedTuple

import numpy as np
import zxingcpp
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from weft.marks.plane import Floats, edges_across
from weft.photos import Photo

RULER_END: Final = re.compile(r"WEFTR(\d{2,4})([AB])")  # what either end of a printed ruler says
_EDGE: Final = 12.0  # levels that a black ring on white paper must rise by, even in bad light
_LEAST_EDGES: Final = 18  # of the 48 that are looked for
_ALONG: Final = np.linspace(0.7, 6.3, 8)  # modules from the corner at which the ring's edge is measured


class Code(NamedTuple):
    """A code that was read. `corners` (4, 2) in pixels of the decode: its own top left first, clockwise."""

    text: str
    corners: Floats
    module_px: float
    off_px: float  # root mean square of what the measured edges differ by; 1 where none could be measured


def read_codes(photo: Photo, *, hard: bool) -> list[Code]:
    """All QR codes of a photo. `hard`: where none is read at once, try again on a sharpened copy."""
    grey = np.ascontiguousarray(photo.pixels @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)
    found = _read(grey)
    if not found and hard:
        # A blurred code's small modules melt into grey; the mask gives them back their contrast.
        radius = max(2.0, max(grey.shape) / 1000)
        sharp = Image.fromarray(grey).filter(ImageFilter.UnsharpMask(radius, percent=250, threshold=0))
        found = _read(np.asarray(sharp))
    return [_measured(barcode, grey) for barcode in found]


def _read(grey: NDArray[np.uint8]) -> list[Any]:
    one_format: Any = zxingcpp.BarcodeFormat.QRCode  # zxing-cpp 2 takes nothing else, 3 is typed for a list
    return list(zxingcpp.read_barcodes(grey, formats=one_format))


def _measured(barcode: Any, grey: NDArray[np.uint8]) -> Code:
    at = barcode.position
    points = (at.top_left, at.top_right, at.bottom_right, at.bottom_left)
    corners = np.array([(point.x, point.y) for point in points], np.float64)
    extra: Any = getattr(barcode, "extra", None) or {}
    version = str(extra.get("Version", "2")) if isinstance(extra, dict) else "2"
    small = re.fullmatch(r"M([1-4])", version)  # a Micro QR code, which has but one finder pattern
    modules = 9 + 2 * int(small[1]) if small else 17 + 4 * (int(version) if version.isdigit() else 2)
    side_px = float(np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1).mean())
    module_px = side_px / modules
    off_px = 1.0
    for _ in range(0 if small else 2):
        corners, off_px = _moved(corners, modules, module_px, grey, off_px)
    return Code(str(barcode.text), corners, module_px, off_px)


def _moved(
    corners: Floats, modules: int, module_px: float, grey: NDArray[Any], off_px: float
) -> tuple[Floats, float]:
    """The outline moved onto the edges that are there, and how well those then agree."""
    middle = corners.mean(axis=0)
    starts: list[Floats] = []
    normals: list[Floats] = []
    # Finder patterns sit at corners 0, 1 and 3; from each, along both sides that meet there.
    for corner, other in ((0, 1), (0, 3), (1, 0), (1, 2), (3, 0), (3, 2)):
        side = corners[other] - corners[corner]
        normal = np.array([side[1], -side[0]]) / max(float(np.linalg.norm(side)), 1e-6)
        if float(normal @ (corners[corner] + side / 2 - middle)) < 0:
            normal = -normal
        starts.append(corners[corner] + _ALONG[:, None] / modules * side)
        normals.append(np.repeat(normal[None], len(_ALONG), axis=0))
    start, normal = np.concatenate(starts), np.concatenate(normals)
    off, rise = edges_across(grey, start, normal, reach_px=max(1.2, 0.75 * module_px))
    rows = np.concatenate(
        [normal, normal * (start - middle)[:, :1], normal * (start - middle)[:, 1:]], axis=1
    )
    weight = (rise > _EDGE).astype(np.float64)
    if weight.sum() < _LEAST_EDGES:
        return corners, off_px
    move, rest = np.zeros(6), off
    for _ in range(4):
        weighed = rows * weight[:, None]
        move = np.linalg.solve(weighed.T @ rows + 1e-6 * np.eye(6), weighed.T @ off)
        rest = off - rows @ move
        weight = (rise > _EDGE) / (1 + (rest / 0.5) ** 2)
    by = corners - middle
    shifted = corners + move[:2] + by[:, :1] * move[2:4] + by[:, 1:] * move[4:]
    if float(np.abs(shifted - corners).max()) > 2.5 * max(module_px, 1.0):
        return corners, off_px
    return shifted, float(np.sqrt((weight * rest**2).sum() / max(weight.sum(), 1e-6)))
