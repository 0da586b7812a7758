"""A white sheet of the A series, known by its shape: four straight edges, sides as 1 to root 2.

Even bright regions with four corners are candidates; their edges are measured between the pixels; the shape
that the four corners have under any usual lens must be that of the sheet. A frontal tile, a window or a photo
print differs in shape, and a joint or a frame runs on beyond the corner, which the edge of a sheet does not.
Where two candidates are left, none is the mark. What shape alone cannot tell: a sheet of another size of the
same series, or anything white of these proportions.
"""

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from weft.marks.mark import Mark, MarkHint, clockwise
from weft.marks.plane import FOCAL, SQUARE, Floats, edges_across, homography, scale_at, shape_of
from weft.marks.regions import area_of, outlines
from weft.photos import Photo

COARSE_PX: Final = 480  # longest side on which regions are looked for
_LONGER: Final = math.sqrt(2)
_SHAPE: Final = 0.035  # log of the sides' ratio that may be left at the best focal length
_USUAL_FOCAL: Final = (
    0.74  # of the longest side, a phone's main lens; 1.5 times that uses up most of `_SHAPE`
)
_UNUSUAL: Final = 1.6
_SQUARE_ON: Final = 0.045  # cosine of the corner, likewise
_SAMPLES: Final = 28  # on each side
_EDGE: Final = 10.0  # levels that paper must rise above what it lies on
_SEEN: Final = 0.75  # of the samples of each side, whose edge must be found
_STRAIGHT: Final = 0.0045  # of the side's length, median distance of the edge from a line
_RUNS_ON: Final = 3  # of eight prolonged edges, that make it a grid
_SHORTEST_PX: Final = 40.0
_MOST_TILT: Final = 0.42
_PALE: Final = (
    0.6,
    0.42,
)  # least brightness against the photo's bright parts, most chroma of paper in bad light


class Quad(NamedTuple):
    """Four straight edges. `corners` (4, 2) in pixels of the decode, clockwise; `off_px` their roughness."""

    corners: Floats
    off_px: float
    rise: float


def find_sheet(photo: Photo, hint: MarkHint) -> Mark | None:
    """The one sheet of a photo whose longer side has the hint's size; None where none is or two could be."""
    image = Image.fromarray(photo.pixels)
    grey = np.asarray(image.convert("L"), np.float32)
    shrink = min(1.0, COARSE_PX / max(image.size))
    size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
    coarse = np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)
    quads: list[Quad] = []
    for corners in outlines(coarse):
        if _known(quads, corners / shrink):
            continue
        quad = _measured(grey, corners / shrink)
        if quad is not None and not _known(quads, quad.corners):
            quads.append(quad)
    sheets = [(quad, mark) for quad in quads if (mark := _sheet(quad, grey, photo, hint)) is not None]
    if len(sheets) != 1:
        return None
    quad, mark = sheets[0]
    # Tiles and panes come in numbers, sheets that are a mark do not.
    return None if any(_twin(other, quad) for other in quads if other is not quad) else mark


def _twin(other: Quad, quad: Quad) -> bool:
    """Whether it has about the same size, shape and direction elsewhere."""
    by, mine = (each.corners - each.corners.mean(axis=0) for each in (other, quad))
    size = math.sqrt(area_of(quad.corners))
    apart = min(float(np.hypot(*(np.roll(by, turn, axis=0) - mine).T).max()) for turn in range(4))
    return apart < 0.3 * size


def _known(quads: list[Quad], corners: Floats) -> bool:
    """Whether nearly the same outline was measured already."""
    middle, size = corners.mean(axis=0), math.sqrt(area_of(corners))
    return any(
        float(np.hypot(*(quad.corners.mean(axis=0) - middle))) < 0.03 * size
        and abs(math.sqrt(area_of(quad.corners)) / max(size, 1e-6) - 1) < 0.03
        for quad in quads
    )


def _measured(grey: NDArray[np.floating[Any]], corners: Floats) -> Quad | None:
    """The outline moved onto straight edges that rise inwards; None where a side has none."""
    rise = off = 0.0
    for reach in (0.03, 0.012):
        lines: list[tuple[Floats, float]] = []
        rises: list[float] = []
        offs: list[float] = []
        for number in range(4):
            here, there = corners[number], corners[(number + 1) % 4]
            side = there - here
            length = float(np.hypot(*side))
            if length < _SHORTEST_PX / 2:
                return None
            inward = np.array([-side[1], side[0]]) / length  # clockwise corners, y down
            start = here + np.linspace(0.06, 0.94, _SAMPLES)[:, None] * side
            away, step = edges_across(
                grey, start, np.repeat(inward[None], _SAMPLES, axis=0), reach_px=max(2.5, reach * length)
            )
            found = step > _EDGE
            if found.mean() < _SEEN:
                return None
            line, rough = _line((start + away[:, None] * inward)[found])
            if rough > max(0.35, _STRAIGHT * length):
                return None
            lines.append(line)
            offs.append(rough)
            rises.append(float(np.median(step[found])))
        corners = np.array([_crossing(lines[number - 1], lines[number]) for number in range(4)])
        if not np.isfinite(corners).all() or area_of(corners) < _SHORTEST_PX**2:
            return None
        rise, off = min(rises), max(offs)
    height, width = grey.shape
    if (corners < 1).any() or (corners > [width - 1, height - 1]).any():
        return None
    return Quad(corners, off, rise)


def _line(points: Floats) -> tuple[tuple[Floats, float], float]:
    """Unit normal and offset of the line through points (n, 2), outliers weighed down; median distance."""
    weight = np.ones(len(points))
    normal, offset, away = np.zeros(2), 0.0, np.zeros(len(points))
    for _ in range(5):
        middle = (weight[:, None] * points).sum(axis=0) / weight.sum()
        by = points - middle
        normal = np.linalg.eigh((weight[:, None] * by).T @ by)[1][:, 0]
        offset = float(normal @ middle)
        away = points @ normal - offset
        weight = 1 / (1 + (away / max(0.3, float(np.median(np.abs(away))))) ** 2)
    return (normal, offset), float(np.median(np.abs(away)))


def _crossing(one: tuple[Floats, float], other: tuple[Floats, float]) -> Floats:
    matrix = np.stack([one[0], other[0]])
    if abs(float(np.linalg.det(matrix))) < 0.1:
        return np.full(2, np.nan)
    return np.linalg.solve(matrix, np.array([one[1], other[1]])).astype(np.float64)


def _sheet(quad: Quad, grey: NDArray[np.floating[Any]], photo: Photo, hint: MarkHint) -> Mark | None:
    """The mark that these edges are, if their shape, their paper and their corners are a sheet's."""
    shape = _shape(quad.corners, photo)
    if shape is None or not _is_paper(quad, grey, photo) or _runs_on(quad, grey):
        return None
    first_is_longer, mismatch = shape
    long, short = hint.size_mm, hint.size_mm / _LONGER
    sides = [long, short] if first_is_longer else [short, long]
    matrix = homography(SQUARE * sides, quad.corners)
    scale = scale_at(matrix, np.array(sides) / 2)
    short_px = scale.px_per_mm * scale.shortened * short
    if scale.shortened < _MOST_TILT or short_px < _SHORTEST_PX:
        return None
    return Mark(
        kind="sheet",
        corners=clockwise(quad.corners * photo.full_per_pixel),
        mm_per_pixel=1 / (scale.px_per_mm * photo.full_per_pixel),
        confidence=float(np.clip(1 - 0.5 * mismatch - 3 * quad.off_px / short_px, 0.05, 0.99)),
        tilt_degrees=scale.tilt_degrees,
    )


def _shape(corners: Floats, photo: Photo) -> tuple[bool, float] | None:
    """Whether the side 0-1 is the longer one, and how far off the shape is, 0..1; None for another shape.

    Seen without perspective any parallelogram could be a tilted sheet; how its sides converge says how much
    it is tilted, if the focal length is about known.
    """
    height, width = photo.pixels.shape[:2]
    middle = np.array([width, height]) / 2
    best: tuple[float, bool] | None = None
    for focal in np.geomspace(*FOCAL, 13):
        ratio, corner = shape_of(corners, middle=middle, focal_px=float(focal) * max(width, height))
        odd = _UNUSUAL * abs(math.log(float(focal) / _USUAL_FOCAL))
        for longer in (True, False):
            away = abs(math.log(ratio / (_LONGER if longer else 1 / _LONGER))) / _SHAPE
            off = max(away, abs(corner) / _SQUARE_ON) + odd
            if off < 1 and (best is None or off < best[0]):
                best = (off, longer)
    return None if best is None else (best[1], best[0])


def _is_paper(quad: Quad, grey: NDArray[np.floating[Any]], photo: Photo) -> bool:
    """Bright for this photo and about colourless."""
    u, v = np.meshgrid(np.linspace(0.1, 0.9, 15), np.linspace(0.1, 0.9, 15))
    a, b, c, d = (corner[:, None, None] for corner in quad.corners)
    x, y = a * (1 - u) * (1 - v) + b * u * (1 - v) + c * u * v + d * (1 - u) * v
    inside = photo.pixels[y.astype(np.int64), x.astype(np.int64)].reshape(-1, 3).astype(np.float64)
    colour = np.median(inside, axis=0)
    bright = float(np.quantile(grey[::4, ::4], 0.95))
    return (
        float(colour.mean()) > _PALE[0] * bright and float(np.ptp(colour) / max(colour.max(), 20)) < _PALE[1]
    )


def _runs_on(quad: Quad, grey: NDArray[np.floating[Any]]) -> bool:
    """Whether its edges go on beyond its corners, as joints of tiles and bars of windows do."""
    on = 0
    for number in range(4):
        here, there = quad.corners[number], quad.corners[(number + 1) % 4]
        side = there - here
        length = float(np.hypot(*side))
        normal = np.array([-side[1], side[0]]) / length
        for start, way in ((there, side), (here, -side)):
            points = start + np.linspace(0.06, 0.3, 10)[:, None] * way
            height, width = grey.shape
            inside = ((points > 2) & (points < [width - 2, height - 2])).all(axis=1)
            if inside.sum() < 5:
                continue
            lines = np.repeat(normal[None], int(inside.sum()), axis=0)
            step = np.maximum(
                *(edges_across(grey, points[inside], sign * lines, reach_px=2.0)[1] for sign in (1.0, -1.0))
            )
            on += bool((step > max(5.0, 0.35 * quad.rise)).mean() > 0.7)
    return on >= _RUNS_ON
