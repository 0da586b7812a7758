"""The scale mark: something of known size in the photo, from which a pixel's size in millimetres follows."""

from weft.marks.find import find_mark
from weft.marks.mark import SEARCH_PX, USUAL_MM, Corners, Mark, MarkHint, MarkKind, wanted

__all__ = ["SEARCH_PX", "USUAL_MM", "Corners", "Mark", "MarkHint", "MarkKind", "find_mark", "wanted"]
