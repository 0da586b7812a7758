"""Even regions of a picture and the four-sided outlines among them. numpy only."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.marks.plane import Floats

_LEVELS: Final = np.arange(40, 250, 14)  # brightness above which a region is looked for
_STEPS: Final = (3.0, 6.0, 12.0)  # gradient, levels a pixel, below which one is
_PALE: Final = (0.06, 0.12, 0.2, 0.3)  # chroma below which one is: paper half in a shadow is still white
AREA: Final = (0.004, 0.6)  # least and most share of the photo
_MOST_REGIONS: Final = 24  # of one mask
_BOXY: Final = 0.9  # share of its outline's hull that the best four corners must span


class Runs(NamedTuple):
    """The true stretches of a mask's rows, and which connected region each belongs to, shape (n,) each."""

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]  # one beyond the last
    region: NDArray[np.int64]


def outlines(rgb: NDArray[np.floating[Any]]) -> list[Floats]:
    """Four corners (4, 2) of every about four-sided region of an image (H, W, 3); repeats included.

    They turn clockwise as seen in the photo.
    """
    found: list[Floats] = []
    for mask in _masks(rgb):
        runs = connected(mask)
        for region in _whole_regions(runs, mask.shape):
            corners = _four_corners(_hull(region))
            if corners is not None:
                found.append(corners)
    return found


def _masks(rgb: NDArray[np.floating[Any]]) -> Iterator[NDArray[np.bool_]]:
    grey = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    brightest = rgb.max(axis=2)
    chroma = (brightest - rgb.min(axis=2)) / np.maximum(brightest, 20)
    for most in _PALE:
        yield chroma < most
    for level in _LEVELS:
        yield grey > level
    right, down = np.zeros_like(grey), np.zeros_like(grey)
    right[:, 1:-1] = (grey[:, 2:] - grey[:, :-2]) / 2
    down[1:-1] = (grey[2:] - grey[:-2]) / 2
    steep = np.hypot(right, down)
    for step in _STEPS:
        yield steep < step


def connected(mask: NDArray[np.bool_]) -> Runs:
    """Label the regions of a mask (H, W) that hang together along their sides."""
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    row, start = np.nonzero(change == 1)
    end = np.nonzero(change == -1)[1]
    span = width + 1
    first = np.searchsorted(row * span + end, (row + 1) * span + start, side="right")
    beyond = np.searchsorted(row * span + start, (row + 1) * span + end, side="left")
    count = np.maximum(beyond - first, 0)
    above = np.repeat(np.arange(len(row)), count)
    below = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    region = np.arange(len(row))
    while True:
        lowest = np.minimum(region[above], region[below])
        before = region.copy()
        np.minimum.at(region, region[above], lowest)
        np.minimum.at(region, region[below], lowest)
        region = region[region]
        if np.array_equal(region, before):
            return Runs(row, start, end, region)


def _whole_regions(runs: Runs, shape: tuple[int, ...]) -> Iterator[Floats]:
    """Outline points (n, 2) of the largest regions that do not touch the photo's border."""
    height, width = shape
    if not len(runs.row):
        return
    area = np.bincount(runs.region, weights=runs.end - runs.start)
    border = (runs.row == 0) | (runs.row == height - 1) | (runs.start == 0) | (runs.end == width)
    area[np.unique(runs.region[border])] = 0
    kept = np.flatnonzero((area > AREA[0] * height * width) & (area < AREA[1] * height * width))
    for number in kept[np.argsort(area[kept])[::-1][:_MOST_REGIONS]]:
        mine = runs.region == number
        row, start, end = runs.row[mine], runs.start[mine], runs.end[mine]
        top = int(row.min())
        left = np.full(int(row.max()) - top + 1, width)
        right = np.zeros_like(left)
        np.minimum.at(left, row - top, start)
        np.maximum.at(right, row - top, end)
        y = np.arange(len(left)) + top
        yield np.concatenate(
            [np.stack([x, line], axis=1) for x in (left, right) for line in (y, y + 1)]
        ).astype(np.float64)


def _hull(points: Floats) -> Floats:
    """Convex hull, clockwise in the photo, by Andrew's monotone chain."""
    ordered = np.unique(points, axis=0).tolist()

    def half(way: list[list[float]]) -> list[list[float]]:
        kept: list[list[float]] = []
        for x, y in way:
            while len(kept) > 1:
                (x1, y1), (x2, y2) = kept[-2], kept[-1]
                if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > 0:
                    break
                kept.pop()
            kept.append([x, y])
        return kept[:-1]

    return np.array(half(ordered) + half(ordered[::-1]), np.float64)


def _four_corners(hull: Floats) -> Floats | None:
    """The hull without the corners that matter least; None where four do not span most of it."""
    corners = hull
    whole = area_of(hull)
    while len(corners) > 4:
        before, after = np.roll(corners, 1, axis=0) - corners, np.roll(corners, -1, axis=0) - corners
        cut = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0])
        corners = np.delete(corners, int(cut.argmin()), axis=0)
    return corners if len(corners) == 4 and area_of(corners) > _BOXY * whole else None


def area_of(corners: Floats) -> float:
    """Of a polygon (n, 2)."""
    x, y = corners.T
    return abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) / 2
