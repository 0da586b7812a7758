"""Materials: albedo in every band the camera may have, pattern, gloss."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from weft_datasets.render import noise

BANDS = ("red", "green", "blue", "nir", "swir")  # nir about 850 nm, swir about 1450 nm (water absorbs)
Albedo = tuple[float, float, float, float, float]  # 0..1, linear light, in the order of BANDS
Floats = NDArray[np.float32]

PATTERNS = ("plain", "stripes", "check", "denim", "knit", "blotches", "card", "film")


@dataclass(frozen=True, slots=True)
class Material:
    base: Albedo
    accent: Albedo  # the pattern's second colour
    pattern: str = "plain"
    period_mm: float = 40.0
    shine: float = 0.03  # mirror-like part, 0..1
    polish: float = 12.0  # exponent: higher is sharper
    bump: float = 0.25  # slope of the fine relief
    bump_mm: float = 60.0  # size of one noise repeat / 8: coarse for film, fine for cloth


# Linear RGB of ordinary dyes, by eye.
_DYES: tuple[tuple[float, float, float], ...] = (
    (0.010, 0.012, 0.045), (0.012, 0.012, 0.013), (0.09, 0.09, 0.095), (0.25, 0.25, 0.26), (0.72, 0.71, 0.68),
    (0.52, 0.43, 0.30), (0.45, 0.02, 0.025), (0.14, 0.012, 0.025), (0.10, 0.11, 0.04), (0.03, 0.07, 0.17),
    (0.11, 0.20, 0.36), (0.70, 0.35, 0.38), (0.35, 0.60, 0.48), (0.60, 0.34, 0.04), (0.16, 0.075, 0.035),
    (0.02, 0.20, 0.09), (0.03, 0.16, 0.48), (0.75, 0.55, 0.08), (0.30, 0.12, 0.36), (0.62, 0.15, 0.03),
    (0.01, 0.05, 0.06), (0.62, 0.60, 0.55), (0.04, 0.04, 0.05),
)  # fmt: skip


def dyed(rng: Generator, *, dark: float = 0.0) -> Albedo:
    """A cloth's albedo; dyes are made for the eye, so even black cloth is bright in the near infrared."""
    rgb = np.array(_DYES[int(rng.integers(len(_DYES)))])
    if rng.random() < dark:
        rgb = np.array(_DYES[int(rng.choice([0, 1, 2, 7, 8, 9, 14, 20, 22]))])
    rgb = np.clip(rgb * np.exp(rng.normal(0, 0.18, 3)) * np.exp(rng.normal(0, 0.25)), 0.008, 0.85)
    nir = float(np.clip(rng.normal(0.62, 0.08) + 0.1 * (rgb.mean() - 0.3), 0.35, 0.85))
    swir = float(np.clip(nir * rng.uniform(0.55, 0.9), 0.2, 0.8))
    return (float(rgb[0]), float(rgb[1]), float(rgb[2]), nir, swir)


def cloth(rng: Generator, *, season: str) -> Material:
    """The fabric of one garment; winter's are darker and coarser on average."""
    winter = season == "winter"
    base = dyed(rng, dark=0.35 if winter else 0.1)
    chance = [0.56, 0.12, 0.09, 0.08, 0.05, 0.10] if not winter else [0.54, 0.06, 0.09, 0.10, 0.18, 0.03]
    pattern = str(rng.choice(["plain", "stripes", "check", "denim", "knit", "blotches"], p=chance))
    accent = dyed(rng)
    if pattern == "denim":
        k = float(rng.uniform(0.3, 1.6))
        base = (0.045 * k, 0.09 * k, 0.19 * k, 0.6, 0.45)
        accent = (0.16 * k, 0.24 * k, 0.36 * k, 0.62, 0.47)
    period = {"stripes": rng.uniform(14, 60), "check": rng.uniform(25, 90), "knit": rng.uniform(7, 14)}
    return Material(
        base,
        accent,
        pattern,
        float(period.get(pattern, rng.uniform(40, 110))),
        shine=float(rng.choice([0.01, 0.03, 0.12], p=[0.5, 0.4, 0.1])),
        polish=float(rng.uniform(6, 25)),
        bump=float(rng.uniform(0.12, 0.35)),
        bump_mm=float(rng.uniform(90, 220)),
    )


def plain(
    colour: tuple[float, float, float], *, nir: float, swir: float | None = None, **more: float
) -> Material:
    """One colour all over; `more` sets shine, polish, bump, bump_mm."""
    base = (*colour, nir, nir * 0.8 if swir is None else swir)
    return replace(Material(base, base), **more)  # pyright: ignore[reportArgumentType]


def card(rng: Generator) -> Material:
    """Corrugated cardboard, brown mostly."""
    tone = float(rng.uniform(0.75, 1.25))
    colour = (0.42 * tone, 0.27 * tone, 0.15 * tone)
    if rng.random() < 0.12:
        colour = (0.62 * tone, 0.60 * tone, 0.57 * tone)
    darker = tuple(0.82 * c for c in colour)
    base: Albedo = (*colour, 0.62, 0.45)
    return Material(base, (*darker, 0.58, 0.42), "card", 7.0, shine=0.03, polish=8, bump=0.06, bump_mm=200)


@dataclass(frozen=True, slots=True)
class Table:
    """Materials as columns, to be looked up by pixel."""

    base: Floats  # (M, C)
    accent: Floats  # (M, C)
    pattern: NDArray[np.int16]  # (M,) index into PATTERNS
    period: Floats  # (M,) mm
    shine: Floats
    polish: Floats
    bump: Floats
    bump_mm: Floats

    @classmethod
    def of(cls, materials: list[Material], bands: tuple[int, ...]) -> "Table":
        def column(name: str) -> Floats:
            return np.array([getattr(material, name) for material in materials], np.float32)

        pattern = np.array([PATTERNS.index(material.pattern) for material in materials], np.int16)
        return cls(
            column("base")[:, bands],
            column("accent")[:, bands],
            pattern,
            *(column(name) for name in ("period_mm", "shine", "polish", "bump", "bump_mm")),
        )


def colours(table: Table, index: NDArray[np.intp], uv: Floats) -> Floats:
    """Albedo of points (n,) of given materials at uv (n, 2) mm -> (n, C)."""
    mix = np.zeros(len(index), np.float32)
    pattern, period = table.pattern[index], table.period[index]
    for number, name in enumerate(PATTERNS):
        here = np.flatnonzero(pattern == number)
        if here.size and name != "plain":
            mix[here] = _mix(name, uv[here], period[here])
    albedo = table.base[index] + mix[:, None] * (table.accent[index] - table.base[index])
    grain = 1 + 0.06 * noise.read(noise.cloud(), uv[:, 0] * 1.3, uv[:, 1] * 1.3)
    return albedo * grain[:, None]


def _mix(name: str, uv: Floats, period: Floats) -> Floats:
    """Share of the accent colour, (n,)."""
    u, v = uv[:, 0], uv[:, 1]
    if name == "stripes":
        warp = 0.15 * noise.read(noise.cloud(), u * 0.5, v * 0.5)
        return (np.mod(v / period + warp, 1) < 0.38).astype(np.float32)
    if name == "check":
        return (np.mod(u / period, 1) < 0.3) * np.float32(0.5) + (np.mod(v / period, 1) < 0.3) * np.float32(
            0.5
        )
    if name == "denim":
        twill = noise.read(noise.field(1.0), u * 1.2 + v * 1.2, (u - v) * 0.25)
        return np.clip(0.35 + 0.25 * twill + 0.3 * noise.read(noise.cloud(), u, v), 0, 1)
    if name == "knit":
        return (
            0.35 + 0.35 * np.sin(2 * np.pi * u / period + 0.6 * np.sin(2 * np.pi * v / period))
        ) * np.float32(0.8)
    if name == "blotches":
        return np.clip(3 * noise.read(noise.field(9.0), u * 60 / period, v * 60 / period) - 1, 0, 1)
    if name == "card":
        return np.clip(0.5 + 0.35 * noise.read(noise.field(2.0), u * 0.15, v * 3.0), 0, 1)
    return np.clip(0.45 + 0.5 * noise.read(noise.creases(), u * 0.9, v * 0.9), 0, 1)  # film: milky folds
