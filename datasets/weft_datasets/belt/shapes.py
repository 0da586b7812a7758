"""Outlines of garments as they come to lie on a belt: cut, folded, crumpled, turned.

A shape is a map of how many times the smooth cloth lies over itself, shape (h, w), 0 where the belt shows:
rows run upstream (growing belt_mm), columns to the right (growing x_mm).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from weft_datasets.render.noise import field

Layers = NDArray[np.uint8]
Outline = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """Half an outline, from the middle of the upper edge down its right side, in units of its own."""

    half: Outline  # (x >= 0, y down)
    sides: int = 2  # of cloth over each other when it lies smooth


_TROUSERS: Outline = ((0, 0), (0.42, 0), (0.55, 1.0), (0.52, 2.3), (0.22, 2.3), (0.1, 0.85), (0, 0.8))
_SLEEVED: Outline = (
    (0, 0.05),
    (0.18, 0),
    (0.5, 0.1),
    (1.15, 0.95),
    (0.98, 1.08),
    (0.52, 0.5),
    (0.52, 1.35),
    (0, 1.35),
)
_SHORT_SLEEVED: Outline = (
    (0, 0.06),
    (0.18, 0),
    (0.5, 0.1),
    (0.86, 0.42),
    (0.72, 0.58),
    (0.5, 0.42),
    (0.5, 1.4),
    (0, 1.4),
)
_RECTANGLE: Outline = ((0, 0), (0.5, 0), (0.5, 1.6), (0, 1.6))

CUTS: dict[str, Cut] = {
    "t-shirt": Cut(_SHORT_SLEEVED),
    "shirt": Cut(_SLEEVED),
    "jeans": Cut(_TROUSERS),
    "trousers": Cut(_TROUSERS),
    "shorts": Cut(((0, 0), (0.45, 0), (0.62, 1.0), (0.1, 1.05), (0, 0.6))),
    "skirt": Cut(((0, 0), (0.4, 0), (0.7, 1.3), (0, 1.35))),
    "dress": Cut(
        ((0, 0.08), (0.16, 0), (0.45, 0.1), (0.4, 0.4), (0.33, 0.85), (0.66, 2.1), (0, 2.15))
    ),
    "pullover": Cut(_SLEEVED),
    "fleece": Cut(_SLEEVED),
    "hoodie": Cut(_SLEEVED),
    "coat": Cut(
        ((0, 0.05), (0.2, 0), (0.55, 0.1), (1.1, 1.1), (0.92, 1.2), (0.6, 0.6), (0.68, 1.9), (0, 1.9))
    ),
    "light jacket": Cut(_SLEEVED),
    "socks": Cut(((0, 0), (0.25, 0), (0.28, 1.1), (0.75, 1.45), (0.7, 1.75), (0, 1.65))),
    "underwear": Cut(((0, 0), (0.7, 0), (0.72, 0.25), (0.16, 0.85), (0, 0.9))),
    "swimwear": Cut(((0, 0.2), (0.2, 0), (0.3, 0.02), (0.38, 0.8), (0.5, 1.3), (0.1, 1.75), (0, 1.8))),
    "scarf": Cut(((0, 0), (0.5, 0), (0.5, 5.0), (0, 5.0)), sides=1),
    "cap": Cut(((0, 0), (0.35, 0.08), (0.55, 0.45), (0.5, 0.75), (0, 0.9))),
    "gloves": Cut(((0, 0), (0.3, 0.0), (0.55, 0.5), (0.35, 0.7), (0.3, 1.2), (0, 1.25))),
    "towel": Cut(_RECTANGLE, sides=1),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShapeHabits:
    fold: float = 0.30  # how often a garment that need not be folded is
    widest: float = 0.7  # of the belt's width: what is wider in both directions is folded until it is not
    longest: float = 1.1
    ruffle_mm: float = 10.0  # how far an outline strays
    skew: float = 0.12  # how far a garment is pulled out of square


HABITS = ShapeHabits()


def drawn_shape(
    rng: np.random.Generator,
    kind: str,
    *,
    area_m2: float,
    cell_mm: float,
    belt_mm: float,
    habits: ShapeHabits = HABITS,
) -> Layers:
    """One garment of `area_m2` cloth, all sides, tossed on the belt; each cell `cell_mm` square."""
    cut = CUTS[kind]
    flat = _filled(cut, area_m2 / cut.sides * 1e6 / cell_mm**2)
    layers = _folded(flat, rng, belt_mm / cell_mm, habits)
    found = _tossed(layers, rng, cell_mm, habits)
    # Who loads the belt turns round what would hang over its edges.
    return np.ascontiguousarray(found.T) if found.shape[1] * cell_mm > 0.92 * belt_mm else found


def _filled(cut: Cut, cells: float) -> Layers:
    """The outline and its mirror image, of that many cells."""
    right = np.array(cut.half)
    closed = np.concatenate([right, right[::-1] * [-1, 1]])
    x, y = closed.T
    area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
    scaled = closed * np.sqrt(cells / area)
    scaled = scaled - scaled.min(axis=0)
    width, height = (int(side) + 1 for side in scaled.max(axis=0))
    picture = Image.new("L", (width, height))
    ImageDraw.Draw(picture).polygon([(float(a), float(b)) for a, b in scaled], fill=1)
    return np.asarray(picture).copy()


def _folded(flat: Layers, rng: np.random.Generator, belt_cells: float, habits: ShapeHabits) -> Layers:
    """Folded along its rows or columns until it fits the belt, and now and then once more."""
    once = rng.random() < habits.fold
    while True:
        tall, wide = (side / belt_cells for side in flat.shape)
        too_large = min(tall, wide) > habits.widest or max(tall, wide) > habits.longest
        if not (too_large or once):
            return flat
        once = once and too_large
        along = 0 if tall > wide else 1
        where = int(flat.shape[along] * rng.uniform(0.42, 0.62))
        flat = _fold(flat if along == 0 else flat.T, where)
        flat = np.ascontiguousarray(flat if along == 0 else flat.T)


def _fold(layers: Layers, row: int) -> Layers:
    """The rows from `row` on laid back over those before it."""
    still, turned = layers[:row], layers[row:][::-1]
    out = np.zeros((max(len(still), len(turned)), layers.shape[1]), np.uint8)
    out[len(out) - len(still) :] += still
    out[len(out) - len(turned) :] += turned
    return out


def _tossed(layers: Layers, rng: np.random.Generator, cell_mm: float, habits: ShapeHabits) -> Layers:
    """Turned by any angle, pulled out of square, its outline ruffled; cut to what it covers."""
    turn = rng.uniform(0.0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    pull = np.array([[1.0, rng.normal(0.0, habits.skew)], [0.0, 1.0]])
    back = np.linalg.inv(np.array([[c, -s], [s, c]]) @ pull)
    tall, wide = layers.shape
    half = np.abs(np.linalg.inv(back)) @ [tall / 2, wide / 2] + 2 * habits.ruffle_mm / cell_mm
    rows, columns = np.mgrid[-half[0] : half[0], -half[1] : half[1]].astype(np.float32)
    source = [back[i, 0] * rows + back[i, 1] * columns + (tall / 2, wide / 2)[i] for i in (0, 1)]
    for axis in source:
        axis += np.float32(habits.ruffle_mm / cell_mm) * _noise(rng, rows.shape, 60.0 / cell_mm)
    found = map_coordinates(layers, source, order=0, mode="constant")
    if not found.any():
        raise AssertionError("a garment cannot vanish")
    across, along = np.flatnonzero(found.any(axis=0)), np.flatnonzero(found.any(axis=1))
    return np.ascontiguousarray(found[along[0] : along[-1] + 1, across[0] : across[-1] + 1])


def _noise(rng: np.random.Generator, shape: tuple[int, ...], cells: float) -> NDArray[np.float32]:
    """A smooth field of about that many cells a feature, from a place of its own in the fixed noise."""
    zoom = 5.0 / cells
    row, column = rng.integers(0, 512, 2)
    rows = (np.arange(shape[0]) * zoom + row) % 512
    columns = (np.arange(shape[1]) * zoom + column) % 512
    grid = np.meshgrid(rows, columns, indexing="ij")
    return map_coordinates(field(5.0), grid, order=1, mode="grid-wrap").astype(np.float32)
