"""Clothes lying on each other: height fields built by dropping one piece after the other."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from weft_datasets.render import noise
from weft_datasets.render.material import Material, cloth

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pile:
    heights: Floats  # (K, K) mm, columns along x
    owner: NDArray[np.int16]  # (K, K) index into `materials`, -1 where no piece lies
    materials: tuple[Material, ...]
    half_mm: float  # the field spans -half_mm..half_mm in both directions


def drop_pile(rng: Generator, litres: float, *, pieces: int, season: str, cells: int = 150) -> Pile:
    """A loose heap of about `litres`: wide for many pieces, draped over each other."""
    radius = 100 * (litres / float(rng.uniform(1.1, 1.9))) ** (
        1 / 3
    )  # mm; the constant sets how flat it lies
    half = 2.0 * radius + 180
    axis = np.linspace(-half, half, cells, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    heights = np.zeros((cells, cells), np.float32)
    owner = np.full((cells, cells), -1, np.int16)
    materials = tuple(cloth(rng, season=season) for _ in range(pieces))
    for number in range(pieces):
        reach = radius * float(np.sqrt(rng.random())) * (0.75 if pieces > 1 else 0)
        angle = float(rng.uniform(0, 2 * np.pi))
        inside, height = _piece(rng, x - reach * np.cos(angle), y - reach * np.sin(angle), radius, pieces)
        cell_litres = (axis[1] - axis[0]) ** 2 / 1e6
        amount = float(height.sum()) * cell_litres
        height *= min(litres / pieces / max(amount, 1e-6), 6.0)
        under = np.maximum(gaussian_filter(heights, 3.0), heights * 0.92)
        heights = np.where(inside, under + height, heights)
        owner[inside] = number
    return Pile(gaussian_filter(heights, 0.7), owner, materials, half)


def _piece(
    rng: Generator, x: Floats, y: Floats, radius: float, pieces: int
) -> tuple[NDArray[np.bool_], Floats]:
    """Where a crumpled garment lies, and how high (mm, to be scaled), for points relative to its middle."""
    turn = float(rng.uniform(0, 2 * np.pi))
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    corner = rng.uniform(0, 512, 4)
    warp = 45 * float(rng.uniform(0.4, 1.2))
    u = u + warp * noise.read_smooth(noise.cloud(), u * 0.35 + corner[0], v * 0.35 + corner[1])
    v = v + warp * noise.read_smooth(noise.cloud(), u * 0.35 + corner[2], v * 0.35 + corner[3])
    long = float(np.clip(rng.uniform(150, 300), 0, 1.1 * radius + 60)) * (1.15 if pieces < 4 else 1.0)
    wide = long * float(rng.uniform(0.45, 0.8))
    edge = _outline(u, v, long, wide, str(rng.choice(["rectangle", "shirt", "trousers"])))
    inside = edge > 0
    rise = np.sqrt(np.clip(edge / float(rng.uniform(30, 60)), 0, 1))
    fold = noise.read_smooth(noise.creases(), u * 0.28 + corner[1], v * 0.13 + corner[2])
    wave = noise.read_smooth(noise.cloud(), u * 0.5 + corner[0], v * 0.35 + corner[3])
    return inside, (rise * np.clip(30 + 10 * fold + 7 * wave, 5, 80)).astype(np.float32)


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
    """Clothes seen through an opening of half sides `half` mm: heights (K, K) about 0 at the rim, owner, materials."""
    x, y = np.meshgrid(np.linspace(-half[0], half[0], cells), np.linspace(-half[1], half[1], cells))
    x, y = x.astype(np.float32), y.astype(np.float32)
    heights, owner = np.zeros((cells, cells), np.float32), np.zeros((cells, cells), np.int16)
    pieces = int(rng.integers(4, 9))
    materials = tuple(cloth(rng, season=season) for _ in range(pieces))
    for number in range(pieces):
        spot = rng.uniform(-0.8, 0.8, 2) * half
        inside, height = _piece(rng, x - spot[0], y - spot[1], max(half), pieces)
        under = gaussian_filter(heights, 3.0)
        heights = np.where(inside, under * 0.8 + height, heights)
        owner[inside] = number
    heights = gaussian_filter(heights - heights.mean(), 0.8)
    dome = np.cos(np.pi / 2 * x / half[0]) * np.cos(np.pi / 2 * y / half[1])
    heights = heights * min(1.0, 0.12 * min(half) / (heights.std() + 1e-6)) + swell_mm * np.sqrt(dome.clip(0))
    return heights.astype(np.float32), owner, materials
