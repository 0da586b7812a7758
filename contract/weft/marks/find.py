"""One photo, one hint: the mark, or None rather than a wrong scale."""

from typing import Final

import numpy as np

from weft.marks.codes import read_codes
from weft.marks.discs import find_disc
from weft.marks.mark import SEARCH_PX, Mark, MarkHint, clockwise
from weft.marks.qr import label_mark
from weft.marks.ruler import ruler_mark
from weft.marks.sheets import find_sheet
from weft.photos import Photo

# A circle's ellipse says nothing of a tilt below this: 1 % of a rim's roughness already looks like 8 degrees.
_LEAST_DISC_TILT: Final = 15.0


def find_mark(photo: Photo, hint: MarkHint) -> Mark | None:
    """Look for the mark in a photo decoded at about `SEARCH_PX`; None rather than a wrong scale."""
    if hint.kind in ("qr", "ruler"):
        # Sharpening costs as much as reading, and half a ruler may be whole on a finer decode: both only on
        # the finest that will be looked at.
        finest = max(photo.pixels.shape) >= SEARCH_PX[hint.kind][-1] or photo.full_per_pixel <= 1
        codes = read_codes(photo, hard=finest)
        if hint.kind == "qr":
            return label_mark(codes, photo, hint)
        return ruler_mark(codes, photo, hint, one_end=finest)
    return _disc(photo, hint) if hint.kind == "disc" else find_sheet(photo, hint)


def _disc(photo: Photo, hint: MarkHint) -> Mark | None:
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
    tilt = float(np.degrees(np.arccos(min(1.0, disc.minor_px / disc.major_px))))
    return Mark(
        kind="disc",
        corners=clockwise(corners),
        mm_per_pixel=hint.size_mm / (disc.major_px * photo.full_per_pixel),
        confidence=disc.confidence,
        tilt_degrees=tilt if tilt >= _LEAST_DISC_TILT else None,
    )
