"""A printed QR label of known side."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from weft.marks.codes import RULER_END, Code
from weft.marks.mark import Mark, MarkHint, clockwise
from weft.marks.plane import SQUARE, homography, scale_at
from weft.photos import Photo

# Beyond about 65 degrees the corners, read to a fraction of a pixel, no longer carry the size.
MOST_TILT: Final = 0.4
# Two labels whose scales differ by more than this cannot both be the mark.
SAME_SCALE: Final = 1.15
# Shorter side, in pixels of the decode, under which a tilt is a guess: a pixel is then 10 degrees or more.
_TILT_PX: Final = 30.0


def label_mark(codes: Sequence[Code], photo: Photo, hint: MarkHint) -> Mark | None:
    """The label among the codes that were read; None where labels of differing scale are.

    The ends of a ruler are codes too, but never the label.
    """
    codes = [code for code in codes if not RULER_END.fullmatch(code.text)]
    ours = [code for code in codes if code.text.startswith(f"WEFT:{hint.size_mm:g}:")]
    marks = [mark for mark in (square_mark(code, photo, hint) for code in ours or codes) if mark is not None]
    if not marks:
        return None
    scales = [mark.mm_per_pixel for mark in marks]
    if max(scales) > SAME_SCALE * min(scales):
        return None  # a shop's own code beside ours: which of them has the stated size cannot be known
    return max(marks, key=lambda mark: mark.confidence)


def square_mark(code: Code, photo: Photo, hint: MarkHint) -> Mark | None:
    """The mark that one code is if its side has the hint's size; None where it is too aslant to say."""
    matrix = homography(SQUARE * hint.size_mm, code.corners)
    scale = scale_at(matrix, np.array([hint.size_mm, hint.size_mm]) / 2)
    short_px = scale.px_per_mm * scale.shortened * hint.size_mm
    if scale.shortened < MOST_TILT:
        return None
    return Mark(
        kind="qr",
        corners=clockwise(code.corners * photo.full_per_pixel),
        mm_per_pixel=1 / (scale.px_per_mm * photo.full_per_pixel),
        confidence=_sure(code, short_px),
        tilt_degrees=scale.tilt_degrees if short_px >= _TILT_PX else None,
    )


def _sure(code: Code, short_px: float) -> float:
    """By the roughness of the measured edges against the shorter side, see docs/marks.md."""
    return float(np.clip(1 - 4 * (code.off_px + 0.2) / short_px, 0.05, 0.99))
