"""Whether a patch of foreground is more than one piece: pieces that touch or lie on each other are flagged.

Nothing is parted here: what is whose cannot be told, and a wrong guess fires half a piece into a lane.
The patch is a grid of cells, each tied to its neighbours, weakly where it narrows and where the cloth changes
its tint. It is cut in two where that costs least (the normalised cut of Shi and Malik, 2000), and the cut is
judged: two pieces make two rounder parts that look different on both sides of it.
Letters: n cells of a patch, K groups of bands of a tint.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.line.records import Flag

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

_CELLS: Final = 60  # of a patch: the cut then takes a millisecond; 150 find no more and take seven
_CELL_MM: Final = 10.0  # and no smaller ones
_LEAST_CELLS: Final = 8
_SMALLEST: Final = 0.1  # part of a patch that can be a piece of its own: prints are smaller
_FAR: Final = 8.0  # usual differences; more is no further apart
_FLOOR: Final = (0.02, 0.006)  # usual difference of neighbours, of brightness and of each colour, at least
# Fitted with benchmarks/line_pieces.py --fit on 690 patches of simulated belts, 60 of them several pieces:
# weights of `Evidence` but its length, and the intercept.
_WEIGHTS: Final = (-0.757, 0.036, 0.308, 0.712, 4.275, 39.28)
_INTERCEPT: Final = -19.6
_THRESHOLD: Final = 0.2  # 1 of 100 pieces that lie alone comes above it; they are many more
_LONG_CUT: Final = 0.55  # of the smaller part's side: so long a border is where one lies on the other


class Evidence(NamedTuple):
    """What speaks for two pieces, each the larger the more, but `cost`."""

    cost: float  # of the cut, ln
    contrast: float  # across the cut, in usual differences of neighbours
    apart: float  # the two parts' means, in their spreads
    tint: float  # difference of their means, ln
    size: float  # ln of the patch's dm2
    rounder: float  # how much more of their hulls the parts fill than the whole fills of its own
    length: float  # of the cut, over the side of the smaller part: for telling how they lie


def crowding(found: Evidence | None) -> list[Flag]:
    """Flags of a patch."""
    if found is None or chance(found) < _THRESHOLD:
        return []
    return ["overlapping" if found.length > _LONG_CUT else "touching"]


def chance(found: Evidence) -> float:
    """0..1 that the patch is more than one piece."""
    score = _INTERCEPT + float(np.dot(_WEIGHTS, found[: len(_WEIGHTS)]))
    return float(1 / (1 + np.exp(-np.clip(score, -30, 30))))


def evidence(
    mask: Bools, voting: Bools, tint: NDArray[np.float32], *, mm: tuple[float, float]
) -> Evidence | None:
    """What the best cut through a patch shows; None where it is too small or too dark to be cut.

    Args:
        mask: Its pixels, (rows, columns).
        voting: Those off the border, (rows, columns).
        tint: Of the voting pixels, (P, K).
        mm: Size of a pixel along and across the belt.
    """
    grid = _grid(mask, voting, tint, mm)
    if len(grid.filled) < _LEAST_CELLS or not len(grid.ties):
        return None
    one, other = grid.ties.T
    known = grid.known[one] & grid.known[other]
    off = np.abs(grid.tint[one] - grid.tint[other])  # (ties, K)
    if int(known.sum()) < _LEAST_CELLS:
        return None
    usual = 1.4826 * np.median(off[known], axis=0)
    usual = np.maximum(usual, [_FLOOR[0], *[_FLOOR[1]] * (off.shape[1] - 1)])
    far2 = np.where(known, (np.minimum(off / usual, _FAR) ** 2).mean(axis=1), 1.0)  # (ties,)
    tied = np.minimum(grid.filled[one], grid.filled[other])
    cut = _cheapest_cut(grid, tied * np.exp(-far2 / 6) + 0.002)
    if cut is None:
        return None
    side, cost = cut
    across = side[one] != side[other]
    first, second = grid.tint[side & grid.known], grid.tint[~side & grid.known]
    if len(first) < 2 or len(second) < 2:
        return None
    means = np.abs(first.mean(axis=0) - second.mean(axis=0))
    total = len(first) + len(second)
    spread = np.sqrt((first.var(axis=0) * len(first) + second.var(axis=0) * len(second)) / total)
    apart = np.minimum(means / np.maximum(spread, usual), 10)
    seen = across & known
    cell_mm2 = grid.cell_mm[0] * grid.cell_mm[1]
    whole, small = (float(grid.filled[part].sum()) * cell_mm2 for part in (slice(None), side))
    fills = [_fill(grid.place[part], grid.filled[part]) for part in (side, ~side, np.ones_like(side))]
    return Evidence(
        cost=float(np.log(cost + 1e-4)),
        contrast=float(np.sqrt(far2[seen].mean())) if seen.any() else 1.0,
        apart=float(np.sort(apart[1:])[-2:].mean()),
        tint=float(np.log(np.sort(means[1:])[-2:].mean() + 1e-3)),
        size=float(np.log(whole / 1e4)),
        rounder=(fills[0] * small + fills[1] * (whole - small)) / whole - fills[2],
        length=float((grid.tie_mm * tied)[across].sum()) / float(np.sqrt(small)),
    )


class _Grid(NamedTuple):
    """Cells of a patch."""

    place: Ints  # (n, 2) row and column
    filled: Floats  # (n,) part of the cell
    known: Bools  # (n,) some of its pixels have a tint
    tint: Floats  # (n, K) mean, and differences from group to group
    ties: Ints  # (ties, 2) cells that are neighbours
    tie_mm: Floats  # (ties,) how long their common side is
    cell_mm: tuple[float, float]


def _grid(mask: Bools, voting: Bools, tint: NDArray[np.float32], mm: tuple[float, float]) -> _Grid:
    side = max(float(np.sqrt(mask.sum() * mm[0] * mm[1] / _CELLS)), _CELL_MM)
    tall, wide = (max(1, round(side / size)) for size in mm)  # pixels of a cell
    rows, columns = -(-mask.shape[0] // tall), -(-mask.shape[1] // wide)

    def cell_of(pixels: Bools) -> Ints:
        row, column = np.nonzero(pixels)
        return row // tall * columns + column // wide

    filled = np.bincount(cell_of(mask), minlength=rows * columns) / (tall * wide)
    cell = cell_of(voting)
    seen = np.bincount(cell, minlength=rows * columns)
    mean = np.column_stack([np.bincount(cell, group, minlength=rows * columns) for group in tint.T])
    mean = mean / np.maximum(seen, 1)[:, None]
    there = filled > 0.25
    number = np.full(rows * columns, -1)
    number[there] = np.arange(int(there.sum()))
    number = number.reshape(rows, columns)
    cell_mm = tall * mm[0], wide * mm[1]
    ties, tie_mm = list[Ints](), list[Floats]()
    for one, other, length in (
        (number[:-1], number[1:], cell_mm[1]),
        (number[:, :-1], number[:, 1:], cell_mm[0]),
    ):
        both = (one >= 0) & (other >= 0)
        ties.append(np.stack([one[both], other[both]], axis=1))
        tie_mm.append(np.full(int(both.sum()), length))
    return _Grid(
        place=np.argwhere(there.reshape(rows, columns)),
        filled=np.minimum(filled[there], 1.0),
        known=seen[there] > 0,
        tint=np.column_stack([mean.mean(axis=1), np.diff(mean, axis=1)])[there],
        ties=np.concatenate(ties),
        tie_mm=np.concatenate(tie_mm),
        cell_mm=cell_mm,
    )


def _cheapest_cut(grid: _Grid, weight: Floats) -> tuple[Bools, float] | None:
    """The smaller side of the best cut along the second eigenvector, (n,), and its normalised cost."""
    cells = len(grid.filled)
    ties = np.zeros((cells, cells))
    ties[grid.ties[:, 0], grid.ties[:, 1]] = weight
    ties += ties.T
    degree = ties.sum(axis=1) + 1e-6
    scale = 1 / np.sqrt(degree)
    second = np.linalg.eigh(scale[:, None] * ties * scale)[1][:, -2] * scale
    order = np.argsort(second)
    along = ties[np.ix_(order, order)]
    # Moving a cell over cuts its ties to the rest and heals those to the cells moved before it.
    cut = np.cumsum(along.sum(axis=1) - 2 * np.tril(along, -1).sum(axis=1))
    volume = np.cumsum(degree[order])
    cost = cut / volume + cut / np.maximum(volume[-1] - volume, 1e-9)
    area = np.cumsum(grid.filled[order]) / grid.filled.sum()
    large = (area > _SMALLEST) & (area < 1 - _SMALLEST)
    if not large.any():
        return None
    best = int(np.argmin(np.where(large, cost, np.inf)))
    side = np.zeros(cells, np.bool_)
    side[order[: best + 1]] = True
    return (side if area[best] <= 0.5 else ~side), max(float(cost[best]), 0.0)


def _fill(place: Ints, filled: Floats) -> float:
    """Part of their convex hull that cells fill; the hull by its corners in 32 directions."""
    corners = (place[:, None] + np.array([[0, 0], [0, 1], [1, 0], [1, 1]])).reshape(-1, 2).astype(np.float64)
    angle = np.arange(32) * (np.pi / 16) + 0.05
    outermost = corners[np.argmax(corners @ np.stack([np.cos(angle), np.sin(angle)]), axis=0)]
    row, column = outermost.T
    hull = 0.5 * abs(float((row * np.roll(column, -1) - column * np.roll(row, -1)).sum()))
    return float(filled.sum()) / max(hull, 1e-9)
