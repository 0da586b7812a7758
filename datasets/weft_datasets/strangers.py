"""Simulated things that are no textile fibre one can name: plastics, tiles, black garments, nothing at all.

Invented solids stand for fibres never seen: random bands where C-H, N-H and O-H may absorb, unlike every
fibre. Leather, paper and wood can be asked for but are never drawn unasked: they are protein and cellulose,
and as "unknown" they would teach a net to refuse wool and cotton.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weft_datasets import swatches
from weft_datasets.absorption import (
    FIBRE_MATERIALS,
    WATER,
    Floats,
    Material,
    coefficient,
    material,
)
from weft_datasets.instruments import INNER_NM
from weft_datasets.makes import Spread, drawn
from weft_datasets.plastics import OTHER_MATERIALS
from weft_datasets.scatter import absorption_per_mass, layer_reflectance, scatter_per_mass, with_surface

# How often each is drawn.
STRANGERS: dict[str, float] = {
    "polyethylene": 11.0,
    "polystyrene": 7.0,
    "pvc": 9.0,
    "abs": 5.0,
    "pmma": 5.0,
    "polycarbonate": 6.0,
    "rubber": 5.0,
    "silicone": 4.0,
    "invented": 27.0,
    "white": 3.0,
    "grey": 3.0,
    "black": 4.0,
    "black textile": 5.0,
    "nothing": 4.0,
    "saturated": 4.0,
}
ASKED_ONLY = ("leather", "paper", "wood")
WATER_OF = {"leather": (0.10, 0.20), "paper": (0.04, 0.09), "wood": (0.06, 0.14)}  # g in 1 g
FLAT_LEVEL = {"white": 1e-3, "grey": 1.0, "black": 60.0}  # K in m2/kg
ALIKE = 0.85  # correlation of absorption slopes above which an invented solid is taken for a fibre
_TRIES = 20
_INSIDE = (INNER_NM >= 1100.0) & (INNER_NM <= 1700.0)


@dataclass(frozen=True, slots=True)
class Stranger:
    name: str
    absorption: Floats  # K in m2/kg, over `INNER_NM`
    scatter: Floats
    weight: float
    shine: float
    cloth: swatches.Swatch | None = None  # what lies under so much black, or is lit far too brightly


def odds_of(only: Sequence[str] = (), without: Sequence[str] = ()) -> Mapping[str, float]:
    """How often each stranger is drawn where only some, or all but some, are wanted.

    Raises:
        ValueError: There is no such stranger, or none is left.
    """
    lacking = sorted({*only, *without} - {*STRANGERS, *ASKED_ONLY})
    if lacking:
        raise ValueError(
            f"no stranger is called {', '.join(lacking)}; there are {', '.join([*STRANGERS, *ASKED_ONLY])}"
        )
    names = only or tuple(STRANGERS)
    odds = {name: STRANGERS.get(name, 10.0) for name in names if name not in without}
    if not odds:
        raise ValueError("no stranger is left to draw; leave fewer out")
    return odds


def drawn_stranger(
    rng: np.random.Generator, *, spread: Spread, odds: Mapping[str, float] = STRANGERS
) -> Stranger:
    share = np.array(list(odds.values()))
    name = str(rng.choice(list(odds), p=share / share.sum()))
    cloth = None
    absorption = np.full_like(INNER_NM, 1e-3)
    if name in ("black textile", "saturated"):
        cloth = swatches.drawn_swatch(rng, spread=spread, black=name == "black textile")
    elif name == "invented":
        absorption = _unlike_any_fibre(rng) + swatches.drawn_colour(rng)
    elif name in FLAT_LEVEL:  # tile, metal, painted or carbon-filled thing
        level = FLAT_LEVEL[name] * np.exp(rng.normal(0.0, 0.7))
        absorption = level * (INNER_NM / 1300.0) ** rng.normal(0.0, 0.5)
    elif name != "nothing":
        rows = drawn(OTHER_MATERIALS[name], rng, spread=spread)
        absorption = absorption_per_mass(coefficient(rows, INNER_NM), density=rows.density)
        absorption = absorption + _bound_water(name, rng) + swatches.drawn_colour(rng)
    thick = name in FLAT_LEVEL or rng.random() < 0.6
    level = float(np.exp(rng.normal(np.log(5.0), 0.7)))
    return Stranger(
        name=name,
        absorption=absorption,
        scatter=scatter_per_mass(INNER_NM, level=level, slope=float(rng.uniform(0.0, 1.5))),
        weight=float(rng.uniform(1.5, 4.0) if thick else rng.uniform(0.1, 1.0)),
        shine=float(rng.uniform(0.005, 0.06)),
        cloth=cloth,
    )


def reflectance(stranger: Stranger, rng: np.random.Generator, *, spread: Spread) -> Floats:
    """One scan's true reflectance over `INNER_NM`, shape (L,)."""
    if stranger.name == "nothing":  # lamp off, lid shut, nothing before the window
        return np.full_like(INNER_NM, rng.uniform(0.0, 0.01))
    if stranger.cloth is not None:
        seen = swatches.reflectance(stranger.cloth, rng, spread=spread, humidity=float(rng.uniform(0.2, 0.8)))
        if stranger.name == "saturated":  # the detector is full: what is brightest is cut off flat
            full = float(np.quantile(seen, rng.uniform(0.0, 0.35)))
            seen = np.minimum(seen, full) * rng.uniform(0.9, 1.4) / full
        return seen
    backing = np.full_like(INNER_NM, rng.uniform(0.02, 0.95))
    inner = layer_reflectance(stranger.absorption, stranger.scatter, weight=stranger.weight, backing=backing)
    return with_surface(inner, shine=stranger.shine * float(np.exp(rng.normal(0.0, 0.3))))


def invented(rng: np.random.Generator) -> Material:
    """A solid with random bands in the places where bonds to hydrogen absorb."""
    first = rng.uniform(1630.0, 1790.0, int(rng.integers(2, 5)))
    strong = rng.uniform(0.05, 0.4, len(first))
    rows = [(nm, rng.uniform(60, 140), k, "CH") for nm, k in zip(first, strong, strict=True)]
    # A C-H bond's second overtone lies at 0.683-0.700 of the first's wavelength, ten times weaker.
    rows += [(nm * rng.uniform(0.683, 0.70), rng.uniform(90, 170), k * rng.uniform(0.06, 0.14), "CH")
             for nm, k in zip(first, strong, strict=True)]  # fmt: skip
    rows += [
        (rng.uniform(1340, 1450), rng.uniform(90, 150), rng.uniform(0.005, 0.05), "CH") for _ in range(3)
    ]
    if rng.random() < 0.5:
        rows += [(rng.uniform(1400, 1600), rng.uniform(60, 280), rng.uniform(0.02, 0.3), "OH")
                 for _ in range(int(rng.integers(1, 4)))]  # fmt: skip
    rows += [(rng.uniform(1850, 2500), rng.uniform(60, 160), rng.uniform(0.1, 1.5), "CH") for _ in range(8)]
    return material("invented", tuple(rows), density=1.2)


def slopes(absorption: Floats) -> Floats:
    """Standardised first derivative of ln K between 1100 and 1700 nm."""
    rise = np.diff(np.log(absorption[_INSIDE] + 0.02))
    return (rise - rise.mean()) / rise.std()


@functools.cache
def _known_slopes() -> tuple[Floats, ...]:
    solids = FIBRE_MATERIALS.values()
    return tuple(slopes(absorption_per_mass(coefficient(m, INNER_NM), density=m.density)) for m in solids)


def _unlike_any_fibre(rng: np.random.Generator) -> Floats:
    for _ in range(_TRIES):
        rows = invented(rng)
        found = absorption_per_mass(coefficient(rows, INNER_NM), density=rows.density)
        if max(float(np.mean(slopes(found) * k)) for k in _known_slopes()) < ALIKE:
            return found
    return found  # pyright: ignore[reportPossiblyUnboundVariable]  twenty alike in a row do not happen


def _bound_water(name: str, rng: np.random.Generator) -> Floats:
    low, high = WATER_OF.get(name, (0.0, 0.0))
    return rng.uniform(low, high) * absorption_per_mass(coefficient(WATER, INNER_NM), density=WATER.density)
