"""Bags of clothes: tied at the top, lying on their side, or open."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from weft_datasets.render import clothes, noise
from weft_datasets.render.material import Albedo, Material, cloth, dyed, plain
from weft_datasets.render.mesh import Mesh, Skin, grid_mesh, sheet, tube, turn_x, volume_litres

Floats = NDArray[np.float32]
_ROWS, _COLUMNS = 92, 128


@dataclass(frozen=True, slots=True)
class _Body:
    """A bag before it has a size: radius 1 at its widest."""

    points: Floats  # (R, K, 3), rows upwards, last column repeats the first
    angle: Floats  # (K,)
    rise: Floats  # (R,) 0 at the ground, 1 at the neck, beyond it the tuft


def tied_bag(rng: Generator, litres: float, *, season: str) -> list[Mesh]:
    """A sack gathered and knotted, standing or, one time in three, lying."""
    body = _gathered(rng)
    points = body.points
    if rng.random() < 0.33:
        points = _laid_down(rng, points)
    scale = (litres / _litres(points)) ** (1 / 3)
    points = points * scale
    girth = scale * body.angle
    arc = body.rise * np.ptp(points[..., 2]) * 1.2
    uv = np.stack(np.meshgrid(girth, arc), axis=2)
    return [grid_mesh(points, uv, _film(rng, season, uv), ring=True)]


def _gathered(rng: Generator) -> _Body:
    tall = float(rng.uniform(1.0, 2.1))  # height of the body against its largest radius
    neck, tuft = float(rng.uniform(0.07, 0.13)), float(rng.uniform(0.2, 0.5))
    belly = float(rng.uniform(0.22, 0.5))
    s = np.array([0, 0.12, 0.2, 0.2 + 0.4 * belly, 0.2 + 0.75 * belly, 0.74, 0.86, 0.93, 0.96, 1.0])
    radius = np.array([0.01, 0.66, 0.82, 0.97, 1.0, 0.74, 0.36, neck, neck * 1.25, tuft * 0.7])
    height = np.array(
        [0, 0.004, 0.06, 0.26, 0.5 * (0.4 + belly), 0.8, 0.955, 1.03, 1.07, 1.07 + 0.4 * tuft / tall]
    )
    height[4] = max(height[4], 0.36)
    along = np.concatenate([np.linspace(0, 0.2, 16), np.linspace(0.2, 1, _ROWS - 15)[1:]])
    r, z = PchipInterpolator(s, radius)(along), PchipInterpolator(s, height)(along)
    angle = np.linspace(0, 2 * np.pi, _COLUMNS + 1)
    r = r[:, None] * (1 + _lumps(rng, angle, z)) * _gather(rng, angle, along)
    power, flat = float(rng.uniform(2.0, 3.0)), float(rng.uniform(0.7, 1.0))
    ring = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    lean = rng.normal(0, 0.1, 2)
    points = np.empty((len(along), len(angle), 3))
    points[..., 0] = r * ring * np.cos(angle) + lean[0] * (z**2)[:, None]
    points[..., 1] = r * ring * np.sin(angle) * flat + lean[1] * (z**2)[:, None]
    ears = 1 + 0.25 * np.cos(angle - rng.uniform(0, 6.28)) * (along > 0.95)[:, None]
    points[..., 2] = (z[:, None] * ears) * tall
    return _Body(points, angle, along)


def _lumps(rng: Generator, angle: Floats, z: Floats) -> Floats:
    """Garments pressing through the film, and its creases: relative change of radius, (R, K)."""
    around = angle[None] / (2 * np.pi) * 512
    rows = np.broadcast_to(z[:, None] * 160, (len(z), len(angle)))
    columns = np.broadcast_to(around, rows.shape)
    corner = rng.uniform(0, 512, 4)
    big = noise.read_smooth(noise.field(24.0), columns / 2 * 2 + corner[0], rows * 1.4 + corner[1])
    small = noise.read_smooth(noise.creases(), columns + corner[2], rows * 1.1 + corner[3])
    on_ground = np.clip(z / 0.1, 0.15, 1)[:, None]
    return (rng.uniform(0.03, 0.075) * big + rng.uniform(0.015, 0.04) * small) * on_ground


def _gather(rng: Generator, angle: Floats, along: Floats) -> Floats:
    """Radial folds that run into the knot: factor on the radius, (R, K)."""
    folds = np.zeros((len(along), len(angle)))
    for count in rng.integers(5, 17, 3):
        phase = rng.uniform(0, 6.28) + rng.normal(0, 1.2) * along[:, None]
        folds += 1 - 2 * np.abs(np.cos(count / 2 * angle[None] + phase)) ** 0.7
    strength = np.interp(along, [0.45, 0.8, 0.93, 0.955, 1.0], [0, 0.06, 0.12, 0.04, 0.2])
    return 1 + strength[:, None] * folds / 1.5


def _laid_down(rng: Generator, points: Floats) -> Floats:
    middle = np.array([0, 0, points[..., 2].max() / 2])
    turned = (points - middle) @ turn_x(float(np.deg2rad(rng.uniform(62, 96)))).T
    turned[..., 2] -= turned[..., 2].min()
    sag = float(rng.uniform(0.18, 0.38)) * float(np.median(turned[..., 2]))
    turned[..., 2] = np.where(turned[..., 2] < sag, 0.03 * turned[..., 2], turned[..., 2] - 0.97 * sag)
    turned[..., :2] -= turned[..., :2].mean(axis=(0, 1))
    return turned


def _litres(points: Floats) -> float:
    """Volume in litres of a closed grid whose lengths are read as mm."""
    return volume_litres([grid_mesh(points, points[..., :2], Skin(()), ring=True)])


def _film(rng: Generator, season: str, uv: Floats) -> Skin:
    """Refuse sack, carrier bag, clear bag with its clothes showing, or cloth sack."""
    kind = str(
        rng.choice(
            ["black", "coloured", "white", "clear", "cloth", "blue"], p=[0.24, 0.2, 0.18, 0.18, 0.1, 0.1]
        )
    )
    gloss = {
        "shine": float(rng.uniform(0.1, 0.32)),
        "polish": float(rng.uniform(14, 60)),
        "bump": float(rng.uniform(0.12, 0.4)),
        "bump_mm": float(rng.uniform(170, 420)),
    }
    if kind == "black":  # carbon black: dark in the infrared too
        tone = float(rng.uniform(0.008, 0.03))
        return Skin((plain((tone, tone, tone * 1.1), nir=0.04, **gloss),))
    if kind == "white":
        tone = float(rng.uniform(0.55, 0.8))
        return Skin((plain((tone, tone, tone * 0.97), nir=0.75, **gloss),))
    if kind == "blue":
        return Skin((plain((0.02, 0.08, float(rng.uniform(0.25, 0.5))), nir=0.6, **gloss),))
    if kind == "cloth":
        return Skin((cloth(rng, season=season),))
    if kind == "coloured":
        tint = dyed(rng)
        return Skin((Material(tint, tint, "plain", 40, **gloss),))
    return _see_through(rng, season, uv, gloss)


def _see_through(rng: Generator, season: str, uv: Floats, gloss: dict[str, float]) -> Skin:
    """Clear film: patches of the clothes behind it, paled by the film."""
    pieces = int(rng.integers(6, 14))
    veil = float(rng.uniform(0.12, 0.5))
    materials = []
    for _ in range(pieces):
        piece = cloth(rng, season=season)
        pale = _veiled(piece.base, veil)
        milky = _veiled(piece.base, min(veil + 0.22, 0.9))
        materials.append(Material(pale, milky, "film", 40, **{**gloss, "shine": gloss["shine"] + 0.08}))
    rows, columns = np.mgrid[0:120, 0:160].astype(np.float32)
    corner = rng.uniform(0, 512, 2)
    warp = 14 * noise.read_smooth(noise.cloud(), columns * 1.1 + corner[0], rows * 1.1 + corner[1])
    spots = rng.uniform(0, 1, (pieces * 2, 2)) * [160, 120]
    # Wrapped around the seam, so that no patch ends there.
    across = np.abs(columns[..., None] + warp[..., None] - spots[:, 0])
    across = np.minimum(across, 160 - across)
    owner = (
        np.argmin(across**2 + 1.6 * (rows[..., None] - warp[..., None] - spots[:, 1]) ** 2, axis=2) % pieces
    )
    flat = uv.reshape(-1, 2)
    low, high = flat.min(axis=0), flat.max(axis=0)
    return Skin(tuple(materials), owner.astype(np.int16), (low[0], low[1]), (high[0], high[1]))


def _veiled(albedo: Albedo, veil: float) -> Albedo:
    a, b, c, d, e = (value * (1 - veil) + 0.6 * veil for value in albedo)
    return (a, b, c, d, e)


def open_bag(rng: Generator, litres: float, *, season: str) -> list[Mesh]:
    """A carrier with handles, filled to the rim: woven plastic, paper or canvas."""
    wide, deep, tall = 1.0, float(rng.uniform(0.5, 0.85)), float(rng.uniform(0.7, 1.3))
    power, swell = float(rng.uniform(3.5, 6)), float(rng.uniform(-0.02, 0.16))
    points, angle, along = _carrier_shape(rng, (wide, deep, tall), power)
    level = points[:-3]  # up to the rim
    x, y = level[..., 0], level[..., 1]
    area = 0.5 * (x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1)
    inside = np.trapezoid(area, level[:, 0, 2]) + area[-1] * (clothes.MEAN_SWELL * swell - 0.05 * tall)
    side = 100 * float(litres / inside) ** (1 / 3)
    wide, deep, tall, points = wide * side, deep * side, tall * side, points * side
    uv = np.stack(np.meshgrid(angle * (wide + deep) / 4, along * tall), axis=2)
    half = (wide * 0.49, deep * 0.49)
    heights, owner, materials = clothes.fill_top(rng, half, swell_mm=swell * side, season=season)
    top = sheet(
        heights + 0.95 * tall, half, Skin(materials, owner, (-half[0], -half[1]), half, clothes.FRAY_MM)
    )
    x, y = (top.vertices[:, k] / half[k] for k in (0, 1))
    within = np.abs(x) ** power + np.abs(y) ** power < 1.0  # the sheet is a rectangle, the bag is rounder
    top = replace(top, faces=top.faces[within[top.faces].all(axis=1)])
    meshes = [grid_mesh(points, uv, _carrier(rng), ring=True), top]
    return meshes + (_handles(rng, wide, deep, tall) if rng.random() < 0.7 else [])


def _carrier_shape(
    rng: Generator, size: tuple[float, float, float], power: float
) -> tuple[Floats, Floats, Floats]:
    """A soft tub with a lip turned inwards: points (R, K, 3), angle (K,), height along it 0..1 (R,)."""
    wide, deep, tall = size
    taper = float(rng.uniform(0.86, 1.04))
    angle = np.linspace(0, 2 * np.pi, _COLUMNS + 1)
    ring = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    along = np.concatenate([[0, 0, 0.01, 0.03], np.linspace(0.06, 1, 60), [1.0, 0.98, 0.9]])
    shape = np.interp(along, [0, 0.1, 1], [taper * 0.97, taper, 1.0])
    shape[0], shape[-3:] = 0.02, shape[-4] - np.array([0.015, 0.02, 0.02])
    bulge = 0.06 * np.sin(np.pi * along)[:, None] * (1 + 0.6 * np.cos(2 * angle)[None])
    crease = _lumps(rng, angle, along) * np.interp(along, [0, 0.1, 0.9, 1], [0.1, 0.5, 0.5, 0.25])[:, None]
    r = shape[:, None] * (1 + bulge + crease) * ring[None]
    points = np.empty((len(along), len(angle), 3))
    points[..., 0], points[..., 1] = r * np.cos(angle) * wide / 2, r * np.sin(angle) * deep / 2
    points[..., 2] = along[:, None] * tall
    return points, angle, along


def _carrier(rng: Generator) -> Skin:
    kind = str(rng.choice(["woven", "paper", "canvas", "printed"]))
    if kind == "paper":
        tone = float(rng.uniform(0.8, 1.15))
        return Skin(
            (plain((0.45 * tone, 0.29 * tone, 0.16 * tone), nir=0.65, shine=0.03, bump=0.15, bump_mm=300.0),)
        )
    if kind == "canvas":
        return Skin((cloth(rng, season="summer"),))
    base, accent = dyed(rng), dyed(rng)
    period = float(rng.uniform(120, 400))
    pattern = "plain" if kind == "woven" else str(rng.choice(["stripes", "check", "blotches"]))
    return Skin((Material(base, accent, pattern, period, shine=0.15, polish=20, bump=0.25, bump_mm=200),))


def _handles(rng: Generator, wide: float, deep: float, tall: float) -> list[Mesh]:
    material = plain((0.1, 0.1, 0.11), nir=0.5, shine=0.05)
    arc = np.linspace(0, np.pi, 18)
    found = []
    for sign in (-1, 1):
        rise, fall = float(rng.uniform(40, 140)), float(rng.uniform(-0.5, 1.0))
        path = np.stack(
            [
                np.cos(arc) * wide * 0.2,
                sign * (deep * 0.5 + np.sin(arc) * rise * fall * 0.5),
                tall + np.sin(arc) * rise - 8,
            ],
            axis=1,
        )
        found.append(tube(path, 6.0, Skin((material,)), sides=8))
    return found
