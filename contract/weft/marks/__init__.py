"""The scale mark: something of known size in the photo, from which a pixel's size in millimetres follows."""

from weft.marks.find import find_mark
from weft.marks.mark import NOWHERE, SEARCH_PX, USUAL_MM, Corners, Mark, MarkAt, MarkHint, MarkKind, wanted

__all__ = [
    "NOWHERE",
    "SEARCH_PX",
    "USUAL_MM",
    "Corners",
    "Mark",
    "MarkAt",
    "MarkHint",
    "MarkKind",
    "find_mark",
    "wanted",
]
