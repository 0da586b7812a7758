"""Groups of estimates whose intervals are calibrated, and judged, by themselves: mark or none x photos."""

from bisect import bisect_right
from typing import Final

SUBJECTS_OF_A_GROUP: Final = 20  # under this a group is merged with its neighbour, and coverage is not judged
PHOTOS_FROM: Final = (1, 2, 3, 5)  # numbers of photos seen together: 1, 2, 3 to 4, 5 and more
CELLS: Final = tuple(
    (marked, photos) for marked in (False, True) for photos in range(len(PHOTOS_FROM))
)  # the order of the margins' first axis


def cell_of(photos: int, *, marked: bool) -> int:
    """Place in `CELLS` of an estimate from so many usable photos, one or more of them with a scale mark."""
    return marked * len(PHOTOS_FROM) + bisect_right(PHOTOS_FROM, photos) - 1


def name_of_cell(cell: int) -> str:
    """The word of figures and tables: marked.3-4, unmarked.5-up."""
    marked, photos = CELLS[cell]
    low, *rest = PHOTOS_FROM[photos:]
    high = f"-{rest[0] - 1}" * (rest[0] - 1 > low) if rest else "-up"
    return f"{'marked' if marked else 'unmarked'}.{low}{high}"


def words_of_cell(name: str) -> str:
    """`marked.3-4` -> `3-4 photos, mark`."""
    mark, photos = name.split(".")
    seen = "one photo" if photos == "1" else f"{photos.replace('-up', ' and more')} photos"
    return f"{seen}, {'mark' if mark == 'marked' else 'no mark'}"
