"""Triangles to pixels: one z-buffer in numpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CANDIDATES = 4_000_000  # pixels of bounding boxes tried at once; bounds memory at about 300 MB


@dataclass(frozen=True, slots=True)
class Hits:
    """What each pixel sees; P = width x height, row by row."""

    face: NDArray[np.int32]  # (P,) index of the triangle, -1 where none
    near: NDArray[np.float32]  # (P,) nearness there, -inf where none
    weight: NDArray[np.float32]  # (P, 3) barycentric weights on the screen


def rasterise(
    screen: NDArray[np.float32],
    near: NDArray[np.float32],
    faces: NDArray[np.int32],
    *,
    width: int,
    height: int,
) -> Hits:
    """Find the nearest front-facing triangle of every pixel.

    Args:
        screen: Corners in pixels, x right and y down, pixel centres at whole numbers, shape (V, 2).
        near: Larger is nearer, and linear on the screen: 1/z of a camera, -z of a parallel light; shape (V,).
            A triangle with a corner that is not finite is dropped.
        faces: Corner indices, counterclockwise seen from outside, shape (T, 3).
    """
    hits = Hits(
        np.full(width * height, -1, np.int32),
        np.full(width * height, -np.inf, np.float32),
        np.zeros((width * height, 3), np.float32),
    )
    corner = screen[faces]  # (T, 3, 2)
    edge1, edge2 = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    twice = (
        edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    )  # below 0: counterclockwise, as y points down
    a, b, c = corner[:, 0], corner[:, 1], corner[:, 2]  # min(axis=1) over three is ten times slower
    low = np.ceil(np.clip(np.minimum(np.minimum(a, b), c), -1, 1e6))
    high = np.floor(np.clip(np.maximum(np.maximum(a, b), c), -1e6, [width - 1, height - 1]))
    low = np.maximum(low, 0)
    kept = (
        (twice < -1e-3)
        & np.isfinite(near[faces].sum(axis=1))
        & (high[:, 0] >= low[:, 0])
        & (high[:, 1] >= low[:, 1])
    )
    index = np.flatnonzero(kept)
    if index.size == 0:
        return hits
    low_px, span = low[index].astype(np.int32), (high - low + 1)[index].astype(np.int32)
    count = span[:, 0].astype(np.int64) * span[:, 1]
    parts = np.searchsorted(np.cumsum(count), np.arange(_CANDIDATES, int(count.sum()), _CANDIDATES))
    for part in np.split(np.arange(index.size), parts):
        if part.size:
            _draw(hits, _Boxes(index[part], low_px[part], span[part]), corner, near[faces], width)
    return hits


@dataclass(frozen=True, slots=True)
class _Boxes:
    """Bounding boxes of some triangles, in pixels."""

    index: NDArray[np.intp]  # (t,) which triangles
    low: NDArray[np.int32]  # (t, 2) their first column and row
    span: NDArray[np.int32]  # (t, 2) how many of each


def _draw(
    hits: Hits, boxes: _Boxes, corner: NDArray[np.float32], near: NDArray[np.float32], width: int
) -> None:
    """Enter triangles into `hits`; `corner` (T, 3, 2) and `near` (T, 3) are those of all of them."""
    index, low, span = boxes.index, boxes.low, boxes.span
    count = span[:, 0] * span[:, 1]
    which = np.repeat(np.arange(index.size, dtype=np.int32), count)
    local = np.arange(which.size, dtype=np.int32) - np.repeat(np.cumsum(count) - count, count).astype(
        np.int32
    )
    across = span[:, 0][which]
    row = local // across
    column = local - row * across

    # Relative to the box's corner: keeps float32 exact enough.
    a, b, c = ((corner[index, k] - low).astype(np.float32) for k in range(3))
    turn = (b[:, 1] - c[:, 1]) * (a[:, 0] - c[:, 0]) + (c[:, 0] - b[:, 0]) * (a[:, 1] - c[:, 1])
    ax, ay = (b[:, 1] - c[:, 1]) / turn, (c[:, 0] - b[:, 0]) / turn
    bx, by = (c[:, 1] - a[:, 1]) / turn, (a[:, 0] - c[:, 0]) / turn
    a0, b0 = -(ax * c[:, 0] + ay * c[:, 1]), -(bx * c[:, 0] + by * c[:, 1])
    across_f, down_f = column.astype(np.float32), row.astype(np.float32)
    first = a0[which] + ax[which] * across_f + ay[which] * down_f
    second = b0[which] + bx[which] * across_f + by[which] * down_f
    inside = np.flatnonzero((first >= -1e-5) & (second >= -1e-5) & (first + second <= 1 + 1e-5))

    which, first, second = which[inside], first[inside], second[inside]
    third = 1 - first - second
    corners = near[index]  # (t, 3)
    depth = corners[which, 0] * first + corners[which, 1] * second + corners[which, 2] * third
    pixel = (low[which, 1] + row[inside]) * width + low[which, 0] + column[inside]
    np.maximum.at(hits.near, pixel, depth)
    won = np.flatnonzero(hits.near[pixel] == depth)
    pixel = pixel[won]
    hits.face[pixel] = index[which[won]]
    hits.weight[pixel] = np.stack([first[won], second[won], third[won]], axis=1)
