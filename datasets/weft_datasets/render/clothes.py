"""Clothes lying on each other: height fields built by dropping one piece after the other."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from weft_datasets.render import noise
from weft_datasets.render.material import Material, cloth

Floats = NDArray[np.float32]
FRAY_MM = 3.0  # how much the borders of pieces wander; hides the grid they are drawn on
MEAN_SWELL = 0.58  # mean height of `fill_top` over its swell at the middle


@dataclass(frozen=True, slots=True)
class Pile:
    heights: Floats  # (K, K) mm, columns along x, below 0 where no piece lies
    owner: NDArray[np.int16]  # (K, K) index into `materials`; where no piece lies, the nearest one's
    materials: tuple[Material, ...]
    half_mm: float  # the field spans -half_mm..half_mm in both directions


def drop_pile(rng: Generator, litres: float, *, pieces: int, season: str, cells: int = 208) -> Pile:
    """A loose heap of about `litres`: wide for many pieces, draped over each other."""
    radius = 100 * (litres / float(rng.uniform(1.1, 1.9))) ** (
        1 / 3
    )  # mm; the constant sets how flat it lies
    half = 2.0 * radius + 180
    axis = np.linspace(-half, half, cells, dtype=np.float32)
    step = float(axis[1] - axis[0])
    heights = np.zeros((cells, cells), np.float32)
    owner = np.full((cells, cells), -1, np.int16)
    materials = tuple(cloth(rng, season=season) for _ in range(pieces))
    for number in range(pieces):
        reach = radius * float(np.sqrt(rng.random())) * (0.75 if pieces > 1 else 0)
        angle = float(rng.uniform(0, 2 * np.pi))
        middle = (reach * math.cos(angle), reach * math.sin(angle))
        span = int((min(1.9 * radius, 620) + 60) / step)  # no piece reaches farther
        x0, y0 = (int((m + half) / step) for m in middle)
        window = np.s_[max(y0 - span, 0) : y0 + span, max(x0 - span, 0) : x0 + span]
        x, y = np.meshgrid(axis[window[1]] - middle[0], axis[window[0]] - middle[1])
        inside, rise, relief = _piece(rng, x, y, radius, litres / pieces)
        wanted = litres / pieces * 1e6 / step**2
        thick = float(np.clip((wanted - float((rise * relief).sum())) / max(float(rise.sum()), 1.0), 8, 140))
        below = heights[window]
        under = np.maximum(gaussian_filter(below, 34 / step), below * 0.85)
        heights[window] = np.where(inside, under + rise * (thick + relief), below)
        owner[window][inside] = number
    # Below the ground where nothing lies: the outline is then a smooth level line, not a staircase of cells.
    heights = gaussian_filter(np.where(owner < 0, -9.0, heights), 7 / step)
    return Pile(heights.astype(np.float32), _spread(owner), materials, half)


def _spread(owner: NDArray[np.int16]) -> NDArray[np.int16]:
    """The nearest piece, also where none lies."""
    nearest = distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    return owner[tuple(nearest)]


def _piece(
    rng: Generator, x: Floats, y: Floats, radius: float, litres: float
) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """One crumpled garment of `litres` in a heap of `radius` mm, for points relative to its middle.

    Returns:
        Where it lies; how it rises from its edge, 0..1; its folds in mm.
    """
    turn = float(rng.uniform(0, 2 * np.pi))
    c, s = math.cos(turn), math.sin(turn)
    u, v = x * c + y * s, y * c - x * s
    corner = [float(value) for value in rng.uniform(0, 512, 4)]
    warp = 45 * float(rng.uniform(0.4, 1.2))
    u = u + warp * noise.read_smooth(noise.cloud(), u * 0.35 + corner[0], v * 0.35 + corner[1])
    v = v + warp * noise.read_smooth(noise.cloud(), u * 0.35 + corner[2], v * 0.35 + corner[3])
    large = max(litres / 2.2, 1.0) ** (1 / 3)  # one that stands for several that cannot all be shown
    long = min(float(rng.uniform(170, 300)) * large, 1.15 * radius + 60)
    wide = long * float(rng.uniform(0.5, 0.85))
    edge = _outline(u, v, long, wide, str(rng.choice(["rectangle", "shirt", "trousers"])))
    rise = np.sqrt(np.clip(edge / (float(rng.uniform(40, 90)) * large), 0, 1))
    fold = noise.read_smooth(noise.creases(), u * 0.28 + corner[1], v * 0.13 + corner[2])
    wave = noise.read_smooth(noise.cloud(), u * 0.5 + corner[0], v * 0.35 + corner[3])
    return edge > 0, rise.astype(np.float32), np.clip(9 * fold + 6 * wave, -25, 25).astype(np.float32)


def _outline(u: Floats, v: Floats, long: float, wide: float, kind: str) -> Floats:
    """Distance inwards from a garment's outline (mm, negative outside)."""
    body = np.minimum(wide - np.abs(u), long - np.abs(v))
    if kind == "shirt":
        sleeve = np.minimum(wide * 1.7 - np.abs(u), long * 0.22 - np.abs(v - long * 0.7 + np.abs(u) * 0.25))
        return np.maximum(body, sleeve)
    if kind == "trousers":
        gap = np.abs(u) - np.clip((-v) / long, 0, 1) * wide * 0.35
        return np.minimum(body, np.where(v < 0, gap, body))
    return body


def fill_top(
    rng: Generator, half: tuple[float, float], *, swell_mm: float, season: str, cells: int = 72
) -> tuple[Floats, NDArray[np.int16], tuple[Material, ...]]:
    """Clothes seen through an opening of half sides `half` mm.

    Returns:
        Heights (K, K) in mm, about 0 at the rim; owner (K, K), an index into the materials; those.
    """
    x, y = np.meshgrid(np.linspace(-half[0], half[0], cells), np.linspace(-half[1], half[1], cells))
    x, y = x.astype(np.float32), y.astype(np.float32)
    heights, owner = np.zeros((cells, cells), np.float32), np.zeros((cells, cells), np.int16)
    pieces = int(rng.integers(4, 9))
    materials = tuple(cloth(rng, season=season) for _ in range(pieces))
    for number in range(pieces):
        spot = rng.uniform(-0.8, 0.8, 2) * half
        inside, rise, relief = _piece(rng, x - spot[0], y - spot[1], max(half), 2.0)
        under = gaussian_filter(heights, 3.0)
        heights = np.where(inside, under * 0.8 + rise * (25 + relief), heights)
        owner[inside] = number
    heights = gaussian_filter(heights - heights.mean(), 0.8)
    dome = np.cos(np.pi / 2 * x / half[0]) * np.cos(np.pi / 2 * y / half[1])
    heights = heights * min(1.0, 0.12 * min(half) / (heights.std() + 1e-6)) + swell_mm * np.sqrt(dome.clip(0))
    return heights.astype(np.float32), owner, materials
