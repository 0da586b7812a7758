"""The outline of a mask as a polygon of few points."""

import heapq
from typing import Final

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_CELLS: Final = 96  # the longer side of the mask that is walked around
_FINE: Final = 0.75  # cells: what lies closer to a line is the grid's own staircase


def outline(mask: Bools, *, points: int) -> Floats:
    """Corners of the largest patch of a mask (rows, columns), shape (n, 2) as (row, column), n <= points.

    In pixels: (0, 0) is the outer corner of the first. The last corner joins the first. Holes are not drawn.
    """
    step = max(1, -(-max(mask.shape) // _CELLS))
    small = coarse(mask, step) >= 0.5
    if not small.any():
        small = coarse(mask, step) > 0
    ring = max(_rings(small), key=lambda found: abs(_area(found)))
    return np.minimum(_simplified(ring, points) * step, np.array(mask.shape))


def coarse(mask: NDArray[np.generic], step: int) -> Floats:
    """Mean over squares of `step` pixels, the last ones padded with zeros."""
    rows, columns = (-(-side // step) for side in mask.shape)
    padded = np.zeros((rows * step, columns * step), np.float64)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded.reshape(rows, step, columns, step).mean(axis=(1, 3))


def _rings(mask: Bools) -> list[Floats]:
    """Every closed line along the edges of pixels that has foreground on its right, each (n, 2)."""
    padded = np.pad(mask, 1)
    ends: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # Each pixel's side towards a neighbour that is empty: the neighbour's offset, the side's two corners.
    for away, tail, head in (
        ((-1, 0), (0, 0), (0, 1)),
        ((0, 1), (0, 1), (1, 1)),
        ((1, 0), (1, 1), (1, 0)),
        ((0, -1), (1, 0), (0, 0)),
    ):
        beside = np.roll(padded, (-away[0], -away[1]), axis=(0, 1))[1:-1, 1:-1]
        for row, column in np.argwhere(mask & ~beside).tolist():
            begin = (row + tail[0], column + tail[1])
            ends.setdefault(begin, []).append((row + head[0], column + head[1]))
    rings: list[Floats] = []
    while ends:
        start = at = next(iter(ends))
        ring: list[tuple[int, int]] = []
        while at in ends:
            ring.append(at)
            ways = ends[at]
            at = ways.pop()
            if not ways:
                del ends[ring[-1]]
            if at == start:
                break
        rings.append(np.array(ring, np.float64))
    return rings


def _area(ring: Floats) -> float:
    """Signed, by the shoelace."""
    row, column = ring.T
    return 0.5 * float((row * np.roll(column, -1) - column * np.roll(row, -1)).sum())


def _simplified(ring: Floats, points: int) -> Floats:
    """Douglas and Peucker's corners, the most telling first until there are enough."""
    far = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    closed = np.concatenate([ring, ring[:1]])
    kept = [0, far]
    waiting = [_furthest(closed, 0, far), _furthest(closed, far, len(ring))]
    heapq.heapify(waiting)
    while waiting and len(kept) < points:
        off, place, first, last = heapq.heappop(waiting)
        if -off < _FINE:
            break
        kept.append(place)
        heapq.heappush(waiting, _furthest(closed, first, place))
        heapq.heappush(waiting, _furthest(closed, place, last))
    return ring[sorted(kept)]


def _furthest(closed: Floats, first: int, last: int) -> tuple[float, int, int, int]:
    """Minus the distance of the corner between two that is furthest from their line, its place, the two."""
    if last - first < 2:
        return 0.0, first, first, last
    along = closed[last] - closed[first]
    off = closed[first + 1 : last] - closed[first]
    length = float(np.hypot(along[0], along[1]))
    away = np.abs(off @ (along[1], -along[0])) / length if length > 1e-9 else np.hypot(off[:, 0], off[:, 1])
    worst = int(away.argmax())
    return -float(away[worst]), first + 1 + worst, first, last
