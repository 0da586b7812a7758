"""The printed ruler: a strip with a QR code at either end, whose words say which end and how long it is.

`weft label --ruler` prints it. A ruler of L mm measures L from the outer edge of its left code to the outer
edge of its right one; the codes are L/5 a side, so each alone still gives a scale. The codes carry a checksum
and the length, so that nothing else is taken for a ruler.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from weft.marks.codes import RULER_END, Code
from weft.marks.mark import Mark, MarkHint, clockwise
from weft.marks.plane import SQUARE, Floats, homography, project, scale_at
from weft.marks.qr import MOST_TILT, SAME_SCALE, square_mark
from weft.photos import Photo

CODE_SHARE: Final = 0.2  # of the ruler's length that one code's side has
# What the eight corners of a flat ruler keep under: root mean square distance from one plane, in code sides.
_FLAT: Final = 0.03
_TILT_PX: Final = 30.0
# Of the confidence, where one end alone was read: its place may be farther away than what is weighed.
_ONE_END: Final = 0.7


def end_text(length_mm: float, end: Literal["A", "B"]) -> str:
    """What the code at the left (A) or right (B) end of a ruler says: nine signs, version 1 at level H."""
    return f"WEFTR{length_mm:.0f}{end}"


def ruler_mark(codes: Sequence[Code], photo: Photo, hint: MarkHint, *, one_end: bool) -> Mark | None:
    """The ruler of the hint's length; None where there is none, it is bent, or several disagree.

    Args:
        one_end: Whether one end alone will do.
    """
    ends: dict[str, list[Code]] = {"A": [], "B": []}
    for code in codes:
        found = RULER_END.fullmatch(code.text)
        if found and abs(float(found[1]) - hint.size_mm) < 0.6:
            ends[found[2]].append(code)
    if max(len(ends["A"]), len(ends["B"])) > 1:
        return None  # two rulers: which end belongs to which is a guess
    if ends["A"] and ends["B"]:
        return _whole(ends["A"][0], ends["B"][0], photo, hint)
    for code in ends["A"] + ends["B"] if one_end else []:
        part = square_mark(code, photo, MarkHint("qr", hint.size_mm * CODE_SHARE))
        if part is not None:
            sure = _ONE_END * part.confidence
            return Mark("ruler", part.corners, part.mm_per_pixel, sure, part.tilt_degrees)
    return None


def _whole(left: Code, right: Code, photo: Photo, hint: MarkHint) -> Mark | None:
    side = hint.size_mm * CODE_SHARE
    flat: Floats = np.concatenate([SQUARE * side, SQUARE * side + [hint.size_mm - side, 0]])
    seen = np.concatenate([left.corners, right.corners])
    matrix = homography(flat, seen)
    scale = scale_at(matrix, np.array([hint.size_mm, side]) / 2)
    away_px = float(np.sqrt(((project(matrix, flat) - seen) ** 2).sum(axis=1).mean()))
    if scale.shortened < MOST_TILT or away_px > _FLAT * side * scale.px_per_mm + 1:
        return None
    alone = [square_mark(code, photo, MarkHint("qr", side)) for code in (left, right)]
    scales = [mark.mm_per_pixel for mark in alone if mark is not None]
    full = 1 / (scale.px_per_mm * photo.full_per_pixel)
    # Perspective makes the far code smaller; more than this is a ruler whose halves were printed apart.
    if scales and not min(scales) / SAME_SCALE < full < max(scales) * SAME_SCALE:
        return None
    short_px = scale.px_per_mm * scale.shortened * side
    outline = project(matrix, SQUARE * [hint.size_mm, side])
    return Mark(
        kind="ruler",
        corners=clockwise(outline * photo.full_per_pixel),
        mm_per_pixel=full,
        confidence=float(np.clip(1 - 2 * (away_px + 0.2) / (side * scale.px_per_mm), 0.05, 0.99)),
        tilt_degrees=scale.tilt_degrees if short_px >= _TILT_PX else None,
    )
