"""Cardboard boxes, taped shut or open with clothes in them."""

import numpy as np
from numpy.random import Generator

from weft_datasets.render import clothes
from weft_datasets.render.material import Material, card, plain
from weft_datasets.render.mesh import Mesh, Skin, sheet, slab, turn_x, turn_z

_THICK = 5.0  # mm of a flap
_FILLED = 0.97  # how far up the clothes reach, at the rim


def shut_box(rng: Generator, litres: float) -> list[Mesh]:
    """A taped carton of `litres`, sides bulging a little."""
    bulge = float(rng.uniform(0, 0.02))
    wide, deep, tall = _sides(rng, litres, bulge=bulge)
    board = card(rng)
    meshes = slab((wide, deep, tall), Skin((board,)), cells=14, bulge=bulge * wide)
    tape = plain(_tape(rng), nir=0.6, shine=0.25, polish=40, bump=0.05)
    seam = plain((0.05, 0.035, 0.02), nir=0.2)
    width = float(rng.choice([48.0, 50.0, 66.0, 75.0]))
    meshes[0] = _painted(meshes[0], (wide, deep), board, [(tape, (-1, 1), (-width / 2, width / 2)),
                                                          (seam, (-1, 1), (-1.2, 1.2))])  # fmt: skip
    drop = float(rng.uniform(40, 90))
    for number in (4, 5):  # tape runs down the short sides
        size = (deep, tall) if number == 4 else (tall, deep)
        down = (tall / 2 - drop, tall / 2)
        patch = ((-width / 2, width / 2), down) if number == 4 else (down, (-width / 2, width / 2))
        meshes[number] = _painted(meshes[number], size, board, [(tape, *patch)])
    if rng.random() < 0.6:
        meshes[2] = _printed(rng, meshes, board, wide, tall)
    return meshes


def open_box(rng: Generator, litres: float, *, season: str) -> list[Mesh]:
    """A carton with its four flaps folded out, clothes up to about the rim."""
    swell, bulge = float(rng.uniform(-0.02, 0.14)), float(rng.uniform(0, 0.02))
    wide, deep, tall = _sides(rng, litres, bulge=bulge, swell=swell)
    board = card(rng)
    inner = Material(
        tuple(0.9 * c for c in board.base), board.accent, "card", 7.0, shine=0.02, bump=0.05, bump_mm=200
    )  # pyright: ignore[reportArgumentType]
    sides = slab((wide, deep, tall), Skin((board,)), cells=12, bulge=bulge * wide)[1:]
    half = (wide / 2 - _THICK, deep / 2 - _THICK)
    heights, owner, materials = clothes.fill_top(rng, half, swell_mm=swell * deep, season=season)
    heights = np.maximum(heights, -0.2 * tall) + tall * _FILLED
    top = sheet(heights, half, Skin(materials, owner, (-half[0], -half[1]), half, clothes.FRAY_MM))
    meshes = [*sides, top]
    for number, (along, across) in enumerate(((wide, deep), (deep, wide), (wide, deep), (deep, wide))):
        reach = float(deep / 2 if number % 2 == 0 else min(deep, wide) / 2) * 0.95
        fold = float(np.deg2rad(rng.uniform(-75, 35)))  # above or below the level
        flap = slab((along * 0.98, reach, _THICK), Skin((inner,)), cells=6)
        shift = np.float32([0, -reach / 2, -_THICK])
        tilt = turn_x(-fold)
        spin = turn_z(number * np.pi / 2)
        edge = spin @ np.float32([0, -across / 2, tall])
        meshes += [part.moved(by=shift).moved(turn=tilt).moved(turn=spin, by=edge) for part in flap]
    return meshes


def _sides(
    rng: Generator, litres: float, *, bulge: float, swell: float | None = None
) -> tuple[float, float, float]:
    """Width, depth and height in mm of a box that holds `litres`.

    Args:
        bulge: How far the sides stand out in their middle, in widths.
        swell: Open, and the clothes rise by that many depths in the middle.
    """
    deep, tall = float(rng.uniform(0.6, 1.0)), float(rng.uniform(0.45, 1.0))
    filled = 1.0 if swell is None else _FILLED + clothes.MEAN_SWELL * swell * deep / tall
    faces = 2 + 2 / deep + (2 if swell is None else 1) / tall  # their area over the volume, in widths
    filled += bulge * faces * (2 / np.pi) ** 2
    side = 100 * (litres / (deep * tall * filled)) ** (1 / 3)
    return side, side * deep, side * tall


def _tape(rng: Generator) -> tuple[float, float, float]:
    tones = [(0.36, 0.24, 0.12), (0.50, 0.40, 0.26), (0.65, 0.63, 0.58), (0.40, 0.06, 0.05)]
    return tones[int(rng.choice(4, p=[0.45, 0.3, 0.2, 0.05]))]


def _painted(
    mesh: Mesh,
    size: tuple[float, float],
    board: Material,
    patches: list[tuple[Material, tuple[float, float], tuple[float, float]]],
) -> Mesh:
    """A face of `size` mm with patches (material, u range, v range); a range of (-1, 1) is the whole side."""
    rows, columns = 600, 600
    chart = np.zeros((rows, columns), np.int16)
    u = (np.arange(columns) + 0.5) / columns * size[0] - size[0] / 2
    v = (np.arange(rows) + 0.5) / rows * size[1] - size[1] / 2
    for number, (_, across, up) in enumerate(patches, start=1):
        in_u = np.ones(columns, bool) if across == (-1, 1) else (u >= across[0]) & (u <= across[1])
        in_v = np.ones(rows, bool) if up == (-1, 1) else (v >= up[0]) & (v <= up[1])
        chart[np.ix_(in_v, in_u)] = number
    skin = Skin(
        (board, *(patch[0] for patch in patches)),
        chart,
        (-size[0] / 2, -size[1] / 2),
        (size[0] / 2, size[1] / 2),
    )
    return Mesh(mesh.vertices, mesh.normals, mesh.uv, mesh.faces, skin)


def _printed(rng: Generator, meshes: list[Mesh], board: Material, wide: float, tall: float) -> Mesh:
    """The front side with some dark print on it: bars of no meaning and no fixed size."""
    ink = plain((0.05, 0.045, 0.04), nir=0.2)
    patches = []
    for _ in range(int(rng.integers(2, 6))):
        u, v = rng.uniform(-0.4, 0.3) * wide, rng.uniform(-0.35, 0.35) * tall
        patches.append((ink, (u, u + rng.uniform(0.03, 0.2) * wide), (v, v + rng.uniform(0.01, 0.05) * tall)))
    return _painted(meshes[2], (wide, tall), board, patches)
