"""Simulated things that are no textile fibre: plastics, tiles, nothing at all, and solids that do not exist.

The last are for fibres never seen: random bands where C-H, N-H and O-H may absorb, unlike every fibre.
"""

import functools
from dataclasses import dataclass

import numpy as np

from weft_datasets.absorption import (
    FIBRE_MATERIALS,
    Floats,
    Material,
    Spread,
    coefficient,
    drawn,
    material,
)
from weft_datasets.instruments import INNER_NM
from weft_datasets.plastics import OTHER_MATERIALS
from weft_datasets.scatter import absorption_per_mass, layer_reflectance, scatter_per_mass, with_surface
from weft_datasets.swatches import drawn_colour

PLASTICS: dict[str, float] = {
    "polyethylene": 0.25,
    "polystyrene": 0.17,
    "pvc": 0.15,
    "abs": 0.10,
    "pmma": 0.08,
    "polycarbonate": 0.09,
    "rubber": 0.08,
    "silicone": 0.08,
}
KINDS: dict[str, float] = {"plastic": 0.55, "invented": 0.25, "flat": 0.14, "nothing": 0.06}
ALIKE = 0.85  # correlation of absorption slopes above which an invented solid is taken for a fibre
_TRIES = 20
_INSIDE = (INNER_NM >= 1100.0) & (INNER_NM <= 1700.0)


@dataclass(frozen=True, slots=True)
class Stranger:
    kind: str
    name: str
    absorption: Floats  # K in m2/kg, over `INNER_NM`
    scatter: Floats
    weight: float
    shine: float


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


def drawn_stranger(rng: np.random.Generator, *, spread: Spread) -> Stranger:
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    absorption = np.full_like(INNER_NM, 1e-3)
    name = kind
    if kind == "plastic":
        name = str(rng.choice(list(PLASTICS), p=list(PLASTICS.values())))
        rows = drawn(OTHER_MATERIALS[name], rng, spread=spread)
        absorption = absorption_per_mass(coefficient(rows, INNER_NM), density=rows.density) + drawn_colour(
            rng
        )
    elif kind == "invented":
        absorption = _unlike_any_fibre(rng) + drawn_colour(rng)
    elif kind == "flat":  # tile, metal, painted or carbon-filled thing
        name = str(rng.choice(["white", "grey", "black"]))
        level = {"white": 1e-3, "grey": 1.0, "black": 60.0}[name] * np.exp(rng.normal(0.0, 0.7))
        absorption = level * (INNER_NM / 1300.0) ** rng.normal(0.0, 0.5)
    thick = kind == "flat" or rng.random() < 0.6
    level = float(np.exp(rng.normal(np.log(5.0), 0.7)))
    return Stranger(
        kind=kind,
        name=name,
        absorption=absorption,
        scatter=scatter_per_mass(INNER_NM, level=level, slope=float(rng.uniform(0.0, 1.5))),
        weight=float(rng.uniform(1.5, 4.0) if thick else rng.uniform(0.1, 1.0)),
        shine=float(rng.uniform(0.005, 0.06)),
    )


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
    return found  # twenty in a row alike: does not happen, and one odd label would not matter


def reflectance(stranger: Stranger, rng: np.random.Generator) -> Floats:
    """One scan's true reflectance over `INNER_NM`, shape (L,)."""
    if stranger.kind == "nothing":  # lamp off, lid shut, nothing before the window
        return np.full_like(INNER_NM, rng.uniform(0.0, 0.01))
    backing = np.full_like(INNER_NM, rng.uniform(0.02, 0.95))
    inner = layer_reflectance(stranger.absorption, stranger.scatter, weight=stranger.weight, backing=backing)
    return with_surface(inner, shine=stranger.shine * float(np.exp(rng.normal(0.0, 0.3))))
