"""Which parts of a photo carried its estimate: each is painted over in turn, and the scale asked again.

Occlusion (Zeiler and Fergus 2014), from coarse to fine: a grid over the whole photo, then a finer one where
most was at stake. A part is painted over with the colour of its surroundings, as if what lies there were not;
grey patches would be things of their own, and a mean would carry the colour of a parcel onto the floor beside
it, so it is the median. It works on any bundle and draws nothing at random. What it cannot show: a part that
looks like its surroundings, such as the middle of a plain bag, changes nothing when painted over, and two
parts that say the same stand in for each other.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.errors import WrongPhotosError
from weft.weigher import Subject, Weigher, stack

Pixels = NDArray[np.uint8]
Progress = Callable[[int, int], None]  # parts done, parts in all

_CELLS: Final = 6  # along the longer side
_CELLS_OF_MANY: Final = 4  # where more than three photos go through the net each time
_REFINED: Final = 0.25  # share of the coarse parts that is looked at again, in quarters
_AT_ONCE: Final = 8  # photos in one run of the graph: keeps its memory small
_FEATHER: Final = 0.15  # of a part's side: a hard edge would be a thing of its own


class Part(NamedTuple):
    """A rectangle of the photo, in shares of its width and height from the top left."""

    left: float
    top: float
    width: float
    height: float
    grams: float  # the estimate less the estimate without this part: positive where it raised it


@dataclass(frozen=True, slots=True)
class PhotoExplanation:
    grams: float  # the estimate that is explained, all usable photos together
    photo: int  # place of the explained photo, from 0
    parts: tuple[Part, ...]  # they cover the photo once
    runs: int  # times a part was painted over


def explain_photo(
    weigher: Weigher, subject: Subject, photo: int = 0, *, progress: Progress | None = None
) -> PhotoExplanation:
    """Grams carried by each part of one of the subject's photos; at most 72 parts are tried.

    Raises:
        WrongPhotosError: There is no such photo, or it was not usable and had no say.
    """
    if not 0 <= photo < len(subject.photos):
        raise WrongPhotosError(f"there is no photo {photo + 1}; this subject has {len(subject.photos)}")
    subject = _as_weighed(weigher, subject)
    shown = subject.photos[photo]
    if shown.pixels is None or not shown.finding.usable:
        raise WrongPhotosError(
            f"photo {photo + 1} was not usable and had no say in the estimate; name another"
        )
    usable = sum(other.finding.usable for other in subject.photos)
    height, width = shown.pixels.shape[:2]
    cells = _CELLS if usable <= 3 else _CELLS_OF_MANY
    rows, columns = (max(1, round(cells * side / max(height, width))) for side in (height, width))
    coarse = _grid((0.0, 0.0, 1.0, 1.0), rows, columns)
    again = max(1, round(_REFINED * len(coarse)))
    total, done = len(coarse) + 4 * again, 0
    (whole,) = _weighed(weigher, subject, photo, [shown.pixels])

    def carried(boxes: Sequence[tuple[float, float, float, float]]) -> Iterator[Part]:
        nonlocal done
        step = max(1, _AT_ONCE // usable)
        for start in range(0, len(boxes), step):
            chosen = boxes[start : start + step]
            painted = [paint_over(shown.pixels, box) for box in chosen]  # pyright: ignore[reportArgumentType]
            for box, grams in zip(chosen, _weighed(weigher, subject, photo, painted), strict=True):
                yield Part(*box, whole - grams)
            done += len(chosen)
            if progress is not None:
                progress(done, total)

    first = list(carried(coarse))
    # Ties by place, so that the same photo is explained the same way.
    order = sorted(range(len(first)), key=lambda place: (-abs(first[place].grams), place))
    refined = set(order[:again])
    fine = list(carried([box for place in sorted(refined) for box in _grid(coarse[place], 2, 2)]))
    kept = [part for place, part in enumerate(first) if place not in refined]
    return PhotoExplanation(whole, photo, (*kept, *fine), done)


def paint_over(pixels: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    """The photo with a box (left, top, width, height; shares) in the median colour of a ring around it.

    Returns:
        A copy, (H, W, C); the box's edges run over into the photo.
    """
    rows, columns = pixels.shape[:2]
    left, top = round(box[0] * columns), round(box[1] * rows)
    right, bottom = round((box[0] + box[2]) * columns), round((box[1] + box[3]) * rows)
    wide, high = right - left, bottom - top
    reach = max(wide, high, max(rows, columns) // _CELLS)  # as far for a quarter as for a whole part
    ring = np.zeros((rows, columns), bool)
    ring[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach] = True
    ring[top:bottom, left:right] = False
    around = pixels[ring] if ring.any() else pixels.reshape(-1, pixels.shape[2])
    weight = _ramp(high)[:, None, None] * _ramp(wide)[None, :, None]  # (high, wide, 1)
    painted = pixels.copy()
    inside = pixels[top:bottom, left:right].astype(np.float32)
    mixed = inside + weight * (np.median(around, axis=0).astype(np.float32) - inside)
    painted[top:bottom, left:right] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return painted


def _as_weighed(weigher: Weigher, subject: Subject) -> Subject:
    """The subject with what the model itself says of its photos: it may give one no say."""
    (estimate,) = weigher.weigh_many([subject])
    pairs = zip(subject.photos, estimate.photos, strict=True)
    return replace(subject, photos=[replace(photo, finding=finding) for photo, finding in pairs])


def _weighed(weigher: Weigher, subject: Subject, photo: int, versions: Sequence[Pixels]) -> list[float]:
    """Grams of the subject with each version of one of its photos."""
    subjects: list[Subject] = []
    for pixels in versions:
        photos = list(subject.photos)
        photos[photo] = replace(photos[photo], pixels=pixels)
        subjects.append(replace(subject, photos=photos))
    grams = [float(value) for value in weigher.bundle.run(stack(subjects))["grams"]]
    if not all(map(math.isfinite, grams)):
        raise WrongPhotosError("the model gives no number for this photo; there is nothing to explain")
    return grams


def _grid(
    box: tuple[float, float, float, float], rows: int, columns: int
) -> list[tuple[float, float, float, float]]:
    left, top, width, height = box
    wide, high = width / columns, height / rows
    return [
        (left + column * wide, top + row * high, wide, high)
        for row, column in product(range(rows), range(columns))
    ]


def _ramp(length: int) -> NDArray[np.float32]:
    """(length,) from near 0 at both ends to 1 inside."""
    edge = max(1.0, _FEATHER * length)
    at = np.arange(length, dtype=np.float32) + 0.5
    return np.clip(np.minimum(at, length - at) / edge, 0, 1).astype(np.float32)
