"""What is not an object: the ground under the parcel and the wall behind it, both endless planes."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from weft_datasets.render import noise
from weft_datasets.render.material import Albedo, dyed

Floats = NDArray[np.float32]
GROUNDS = ("wood", "tiles", "carpet", "asphalt", "concrete", "parquet", "lino")


@dataclass(frozen=True, slots=True)
class Room:
    ground: str
    colour: Albedo
    second: Albedo  # joints, pattern
    period_mm: float
    turn: float  # radians, of the pattern
    shift: tuple[float, float]
    shine: float
    wall: Albedo
    wall_mm: float  # distance of the wall from the origin, along `facing` backwards
    skirting_mm: float
    facing: float  # radians; the wall stands opposite

    @classmethod
    def draw(cls, rng: Generator, *, radius: float) -> "Room":
        """A room for a parcel that reaches `radius` mm; what kind does not depend on the parcel."""
        ground = str(rng.choice(GROUNDS, p=[0.22, 0.2, 0.16, 0.12, 0.1, 0.12, 0.08]))
        outdoors = ground in ("asphalt", "concrete")
        colour, second, period, shine = _look(rng, ground)
        tone = float(rng.uniform(0.35, 0.8))
        wall = tuple(float(np.clip(tone * rng.normal(1, 0.06), 0.05, 0.9)) for _ in range(5))
        near = rng.random() < 0.55
        return cls(
            ground,
            colour,
            second,
            period,
            float(rng.uniform(0, np.pi)),
            (float(rng.uniform(0, 5000)), float(rng.uniform(0, 5000))),
            shine,
            wall,  # pyright: ignore[reportArgumentType]
            radius + (float(rng.uniform(60, 700)) if near else float(rng.uniform(2500, 6000))),
            0.0 if outdoors else float(rng.uniform(50, 120)),
            float(rng.uniform(-np.pi, np.pi)),
        )

    def strike(self, place: Floats, rays: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """How far along rays (n, 3) ground or wall lies, in ray lengths (n,), and whether it is the wall."""
        with np.errstate(divide="ignore", invalid="ignore"):
            ground = np.where(rays[:, 2] < -1e-6, -place[2] / rays[:, 2], np.inf)
            away = np.float32([-np.cos(self.facing), -np.sin(self.facing), 0])
            toward = rays @ away
            wall = np.where(toward > 1e-6, (self.wall_mm - place @ away) / toward, np.inf)
        far = np.minimum(np.minimum(ground, wall), 30_000)
        return far.astype(np.float32), wall < ground

    def wall_albedo(self, points: Floats, bands: tuple[int, ...]) -> Floats:
        """Albedo (n, C) at points (n, 3) of the wall."""
        base = np.float32(self.wall)[list(bands)]
        along = points @ np.float32([-np.sin(self.facing), np.cos(self.facing), 0])
        rough = 1 + 0.03 * noise.read(noise.cloud(), along * 0.2, points[:, 2] * 0.2)
        skirting = points[:, 2] < self.skirting_mm
        edge = np.abs(points[:, 2] - self.skirting_mm) < 4
        tone = np.where(edge & (self.skirting_mm > 0), 0.45, np.where(skirting, 1.12, 1.0))
        return base * (rough * tone)[:, None].astype(np.float32)

    def ground_albedo(self, points: Floats, bands: tuple[int, ...]) -> Floats:
        """Albedo (n, C) at points (n, 3) of the ground."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        u = (points[:, 0] * c + points[:, 1] * s + self.shift[0]).astype(np.float32)
        v = (points[:, 1] * c - points[:, 0] * s + self.shift[1]).astype(np.float32)
        mix, tone = _PATTERNS[self.ground](u, v, np.float32(self.period_mm))
        index = list(bands)
        base, second = np.float32(self.colour)[index], np.float32(self.second)[index]
        return (base + mix[:, None] * (second - base)) * tone[:, None]


def _look(rng: Generator, ground: str) -> tuple[Albedo, Albedo, float, float]:
    """Colour, second colour, period in mm and shine."""
    tone = float(np.exp(rng.normal(0, 0.35)))

    def tinted(r: float, g: float, b: float, nir: float) -> Albedo:
        k = [float(np.clip(x * tone * rng.normal(1, 0.06), 0.01, 0.85)) for x in (r, g, b)]
        return (k[0], k[1], k[2], nir, nir * 0.8)

    def darker(colour: Albedo, by: float) -> Albedo:
        a, b, c, d, e = (x * by for x in colour)
        return (a, b, c, d, e)

    def muted(colour: Albedo) -> Albedo:
        grey = sum(colour[:3]) / 3
        r, g, b = (0.06 + 0.55 * (0.5 * x + 0.5 * grey) for x in colour[:3])
        return (r, g, b, colour[3], colour[4])

    if ground in ("wood", "parquet"):
        wood = tinted(0.36, 0.22, 0.11, 0.55)
        return wood, darker(wood, 0.35), float(rng.uniform(70, 190)), float(rng.uniform(0.03, 0.2))
    if ground == "tiles":
        tile = tinted(0.45, 0.42, 0.38, 0.5)
        return tile, darker(tile, float(rng.choice([0.45, 1.4]))), float(rng.uniform(150, 600)), 0.18
    if ground == "carpet":
        wool = muted(dyed(rng))
        figure = darker(wool, float(rng.uniform(0.4, 0.8))) if rng.random() < 0.6 else muted(dyed(rng))
        return wool, figure, float(rng.uniform(120, 700)), 0.0
    if ground == "asphalt":
        grey = tinted(0.10, 0.10, 0.10, 0.13)
        return grey, tinted(0.24, 0.23, 0.21, 0.2), 40.0, 0.03
    if ground == "concrete":
        grey = tinted(0.32, 0.31, 0.29, 0.36)
        return grey, darker(grey, 0.5), float(rng.uniform(500, 2000)), 0.03
    lino = tinted(0.35, 0.35, 0.34, 0.45)
    return lino, darker(lino, 0.6), 120.0, 0.12


def _hash(a: Floats, b: Floats) -> Floats:
    """A fixed random number in 0..1 for each pair of whole numbers."""
    return noise.read(_uniform(), a * 17 + b * 5, b * 29 + a * 3)


def _uniform() -> Floats:
    source = noise.field(0.0)
    return np.clip(source / 4 + 0.5, 0, 1)


def _wood(u: Floats, v: Floats, period: Floats) -> tuple[Floats, Floats]:
    row = np.floor(v / period)
    start = u + _hash(row, row) * 1700
    plank = np.floor(start / 1400)
    tone = 0.72 + 0.56 * _hash(row, plank)
    grain = noise.read(noise.cloud(), start * 0.06 + 97 * row, v * 1.1)
    gap = (np.mod(v / period, 1) * period < 2.5) | (np.mod(start / 1400, 1) * 1400 < 2.5)
    return gap.astype(np.float32), (tone * (1 + 0.14 * grain)).astype(np.float32)


def _parquet(u: Floats, v: Floats, period: Floats) -> tuple[Floats, Floats]:
    block_u, block_v = np.floor(u / period / 4), np.floor(v / period / 4)
    swap = np.mod(block_u + block_v, 2) > 0.5
    a, b = np.where(swap, v, u), np.where(swap, u, v)
    stave = np.floor(b / period)
    tone = 0.75 + 0.5 * _hash(stave + block_u * 7, block_v)
    grain = noise.read(noise.cloud(), a * 0.08 + 53 * stave, b * 1.2)
    gap = (np.mod(b / period, 1) * period < 1.6) | (np.mod(a / period / 4, 1) * period * 4 < 1.6)
    return gap.astype(np.float32), (tone * (1 + 0.12 * grain)).astype(np.float32)


def _tiles(u: Floats, v: Floats, period: Floats) -> tuple[Floats, Floats]:
    joint = (np.mod(u / period, 1) * period < 5) | (np.mod(v / period, 1) * period < 5)
    tone = 0.92 + 0.16 * _hash(np.floor(u / period), np.floor(v / period))
    cloudy = noise.read(noise.cloud(), u * 0.25, v * 0.25)
    return joint.astype(np.float32), (tone * (1 + 0.05 * cloudy)).astype(np.float32)


def _carpet(u: Floats, v: Floats, period: Floats) -> tuple[Floats, Floats]:
    figure = noise.read(noise.field(9.0), u * 60 / period, v * 60 / period)
    mix = np.clip(figure * 3 - 1.5, 0, 0.8) if period < 250 else np.zeros_like(u)
    pile = noise.read(noise.field(1.0), u * 0.45, v * 0.45)
    return mix.astype(np.float32), (1 + 0.16 * pile).astype(np.float32)


def _asphalt(u: Floats, v: Floats, period: Floats) -> tuple[Floats, Floats]:
    stone = noise.read(noise.field(1.0), u * 0.3, v * 0.3)
    patch = noise.read(noise.cloud(), u * 0.08, v * 0.08)
    return np.clip(stone * 0.5 - 0.2, 0, 1).astype(np.float32), (1 + 0.15 * patch).astype(np.float32)


def _concrete(u: Floats, v: Floats, period: Floats) -> tuple[Floats, Floats]:
    joint = (np.mod(u / period, 1) * period < 7) | (np.mod(v / period, 1) * period < 7)
    stain = noise.read(noise.cloud(), u * 0.12, v * 0.12)
    fine = noise.read(noise.field(1.0), u * 0.4, v * 0.4)
    return joint.astype(np.float32), (1 + 0.12 * stain + 0.06 * fine).astype(np.float32)


def _lino(u: Floats, v: Floats, period: Floats) -> tuple[Floats, Floats]:
    fleck = noise.read(noise.field(2.0), u * 0.4, v * 0.4)
    return (fleck > 1.6).astype(np.float32), (1 + 0.04 * fleck).astype(np.float32)


_PATTERNS = {
    "wood": _wood, "parquet": _parquet, "tiles": _tiles, "carpet": _carpet,
    "asphalt": _asphalt, "concrete": _concrete, "lino": _lino,
}  # fmt: skip
