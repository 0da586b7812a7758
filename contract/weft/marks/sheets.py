"""A white sheet of the A series on a darker ground."""

from weft.marks.mark import Mark, MarkHint
from weft.photos import Photo


def find_sheet(photo: Photo, hint: MarkHint) -> Mark | None:
    """The one sheet of a photo."""
    return None
