"""Simulated garments: what they are made of, how spun, dyed and finished, and how light leaves them.

A swatch is drawn once a subject; `reflectance` draws how one scan was taken: layers, backing, place.
"""

from dataclasses import dataclass

import numpy as np

from weft_datasets.absorption import (
    FIBRE_MATERIALS,
    WATER,
    Floats,
    Material,
    coefficient,
)
from weft_datasets.instruments import INNER_NM
from weft_datasets.makes import Spread, drawn
from weft_datasets.plastics import OTHER_MATERIALS
from weft_datasets.scatter import absorption_per_mass, layer_reflectance, scatter_per_mass, with_surface

Shares = dict[str, float]

# How often a pure fibre is drawn: flatter than the market, of which cotton and polyester are 80 %.
PURE: Shares = {
    "cotton": 18.0,
    "polyester": 16.0,
    "nylon": 15.0,
    "wool": 12.0,
    "acrylic": 12.0,
    "viscose": 8.0,
    "acetate": 9.0,
    "silk": 4.0,
    "flax": 3.0,
    "polypropylene": 7.0,
    "elastane": 2.0,
}  # fmt: skip
# Blends as shops sell them: fibres, range of the first's share in %, how often.
BLENDS: tuple[tuple[tuple[str, ...], tuple[float, float], float], ...] = (
    (("cotton", "polyester"), (10, 90), 20),
    (("viscose", "polyester"), (20, 80), 6),
    (("wool", "polyester"), (20, 80), 6),
    (("wool", "nylon"), (50, 90), 5),
    (("wool", "acrylic"), (20, 80), 5),
    (("acrylic", "polyester"), (20, 80), 3),
    (("cotton", "acrylic"), (30, 70), 3),
    (("cotton", "nylon"), (30, 85), 4),
    (("viscose", "nylon"), (30, 85), 3),
    (("nylon", "polyester"), (15, 85), 6),
    (("acetate", "polyester"), (30, 80), 2),
    (("acetate", "nylon"), (40, 80), 1),
    (("flax", "cotton"), (30, 70), 3),
    (("flax", "viscose"), (30, 70), 3),
    (("cotton", "viscose"), (30, 70), 3),
    (("silk", "cotton"), (30, 70), 2),
    (("cotton", "elastane"), (90, 98), 6),
    (("polyester", "elastane"), (80, 97), 6),
    (("nylon", "elastane"), (75, 92), 5),
    (("viscose", "elastane"), (90, 97), 3),
)
BLEND_SHARE = 0.42
THIRD_FIBRE_SHARE = 0.12  # of blends get a third fibre
FIBRE_UM = {"cotton": 15.0, "flax": 18.0, "viscose": 13.0, "wool": 21.0, "silk": 12.0, "elastane": 35.0}
LABEL_ERROR = 0.012  # of a share: labels may be 3 points off (EU 1007/2011) and mostly are not
FINISHED = 0.15  # of garments carry a coating, print or softener of another polymer
FINISHES = (OTHER_MATERIALS["pmma"], OTHER_MATERIALS["silicone"], FIBRE_MATERIALS["elastane"])
BLACK = (15.0, 80.0)  # K in m2/kg of carbon black or heavy pigment in a garment that shows no fibre any more


@dataclass(frozen=True, slots=True)
class Swatch:
    """One garment's cloth. Spectra over `INNER_NM`, shape (L,)."""

    shares: Shares  # by weight, sum 1, as its label says
    absorption: dict[str, Floats]  # fibre -> K in m2/kg, dry
    water: Floats  # K of bound water in m2/kg of water
    regain: dict[str, float]  # fibre -> moisture at 65 % relative humidity
    scatter: dict[str, Floats]  # fibre -> S in m2/kg
    colour: Floats  # K of dye, pigment and finish in m2/kg of cloth
    weight: float  # kg/m2, one layer
    cover: float  # share of the surface under yarn; below 1 the backing is seen through the holes
    apart: float  # 0: fibres spun into one yarn, light meets them all; 1: yarns side by side, each for itself
    plated: float  # how far the face's shares lie from the back's; 0: the same on both sides
    hidden: float  # part of the elastane that lies in the core of its yarns and is hardly lit
    shine: float


def drawn_shares(rng: np.random.Generator) -> Shares:
    """A label: whole per cents, sum 1."""
    if rng.random() >= BLEND_SHARE:
        names = list(PURE)
        odds = np.array(list(PURE.values()))
        return {names[int(rng.choice(len(names), p=odds / odds.sum()))]: 1.0}
    odds = np.array([row[2] for row in BLENDS], float)
    fibres, (low, high), _ = BLENDS[int(rng.choice(len(BLENDS), p=odds / odds.sum()))]
    first = float(round(rng.uniform(low, high)))
    percent = {fibres[0]: first, fibres[1]: 100.0 - first}
    if rng.random() < THIRD_FIBRE_SHARE:
        third = str(rng.choice(["elastane", "nylon", "acrylic", "viscose", "polyester"]))
        if third not in percent:
            taken = float(rng.integers(2, 6 if third == "elastane" else 25))
            taken = min(taken, percent[fibres[0]] - 1.0)
            percent[fibres[0]] -= taken
            percent[third] = taken
    return {name: value / 100.0 for name, value in percent.items()}


def drawn_colour(rng: np.random.Generator) -> Floats:
    """K of dyes in m2/kg: visible bands whose tails reach past 900 nm, and carbon black, nearly flat."""
    colour = np.zeros_like(INNER_NM)
    for _ in range(int(rng.integers(0, 4))):
        centre = rng.uniform(400.0, 720.0)
        width = rng.uniform(60.0, 130.0)
        colour += rng.exponential(12.0) * np.exp(-0.5 * ((INNER_NM - centre) / width) ** 2)
        # Tails of aggregated dye are exponential (Urbach) rather than Gaussian.
        colour += rng.exponential(0.25) * np.exp(
            -np.maximum(INNER_NM - 780.0, 0.0) / rng.uniform(40.0, 160.0)
        )
    if rng.random() < 0.10:
        colour += rng.exponential(2.0) * (INNER_NM / 1300.0) ** -rng.uniform(0.2, 1.0)
    # Everything textile yellows a little towards the blue.
    return colour + rng.exponential(1.0) * np.exp(-(INNER_NM - 340.0) / 90.0)


def drawn_finish(rng: np.random.Generator, *, spread: Spread) -> Floats:
    """K of 1-5 % of a coating, print or softener, in m2/kg of cloth."""
    rows = FINISHES[int(rng.integers(len(FINISHES)))]
    return float(rng.uniform(0.01, 0.05)) * _absorption(rows, rng, spread=spread, warming_k=0.0)


def _scatter(name: str, rng: np.random.Generator) -> Floats:
    micron = FIBRE_UM.get(name, 16.0) * np.exp(rng.normal(0.0, 0.25))
    scatter = scatter_per_mass(INNER_NM, level=10.0 * 15.0 / micron, slope=rng.uniform(0.0, 0.6))
    if name not in {"cotton", "flax", "wool", "silk"} and rng.random() < 0.7:  # delustred with TiO2
        scatter = scatter + scatter_per_mass(
            INNER_NM, level=rng.exponential(4.0), slope=rng.uniform(1.0, 2.0)
        )
    return scatter


def _absorption(rows: Material, rng: np.random.Generator, *, spread: Spread, warming_k: float) -> Floats:
    made = drawn(rows, rng, spread=spread, warming_k=warming_k)
    solid = coefficient(made, INNER_NM, lorentz=rng.uniform(0.15, 0.45))
    return absorption_per_mass(solid, density=made.density)


def drawn_swatch(
    rng: np.random.Generator, *, spread: Spread, black: bool = False, shares: Shares | None = None
) -> Swatch:
    """A garment; `black` ones hold so much pigment that next to nothing of their fibres is to be seen.

    Args:
        shares: What its label says; None: drawn.
    """
    shares = drawn_shares(rng) if shares is None else shares
    warming = float(rng.normal(2.0, 6.0))
    colour = drawn_colour(rng)
    if black:
        colour = colour + rng.uniform(*BLACK) * (INNER_NM / 1300.0) ** -rng.uniform(0.0, 0.8)
    if rng.random() < FINISHED:
        colour = colour + drawn_finish(rng, spread=spread)
    plated = float(rng.uniform(0.2, 1.0)) if len(shares) > 1 and rng.random() < 0.12 else 0.0
    return Swatch(
        shares=shares,
        absorption={
            n: _absorption(FIBRE_MATERIALS[n], rng, spread=spread, warming_k=warming) for n in shares
        },
        water=_absorption(WATER, rng, spread=spread, warming_k=warming),
        regain={n: FIBRE_MATERIALS[n].regain for n in shares},
        scatter={n: _scatter(n, rng) for n in shares},
        colour=colour,
        weight=float(np.clip(np.exp(rng.normal(np.log(0.16), 0.6)), 0.02, 0.6)),
        cover=float(rng.uniform(0.15, 0.95)) if rng.random() < 0.25 else 1.0,
        apart=float(rng.uniform(0.0, 0.25) if rng.random() < 0.6 else rng.uniform(0.0, 1.0)),
        plated=plated,
        hidden=float(rng.uniform(0.0, 0.6)),
        shine=float(rng.uniform(0.002, 0.03)),
    )


def drawn_backing(rng: np.random.Generator, *, spread: Spread) -> Floats:
    """What lies under the cloth: white tile, dark table, or a plastic belt."""
    kind = rng.random()
    if kind < 0.3:
        return np.full_like(INNER_NM, rng.uniform(0.85, 0.98))
    if kind < 0.88:
        return np.full_like(INNER_NM, rng.uniform(0.02, 0.30)) * (INNER_NM / 1300.0) ** rng.normal(0.0, 0.3)
    belt = _absorption(OTHER_MATERIALS[str(rng.choice(["pvc", "rubber"]))], rng, spread=spread, warming_k=0.0)
    scatter = scatter_per_mass(
        INNER_NM, level=float(rng.uniform(1.0, 6.0)), slope=float(rng.uniform(0.3, 1.5))
    )
    return layer_reflectance(belt, scatter, weight=3.0, backing=np.full_like(INNER_NM, 0.3))


def reflectance(swatch: Swatch, rng: np.random.Generator, *, spread: Spread, humidity: float) -> Floats:
    """One scan's true reflectance over `INNER_NM`, shape (L,); `humidity` is relative, 0..1."""
    spot = _seen_shares(swatch, rng)
    backing = drawn_backing(rng, spread=spread)
    # As often as not a cloth is folded until nothing shines through.
    layers = float(rng.choice([1, 2, 4, 8], p=[0.35, 0.25, 0.3, 0.1]))
    weight = swatch.weight * layers
    absorption: list[Floats] = []
    for name in swatch.shares:
        # Sorption isotherm, near linear from 20 to 80 % humidity.
        moisture = swatch.regain[name] * (0.25 + 1.15 * humidity)
        absorption.append(swatch.absorption[name] + moisture * swatch.water + swatch.colour)
    scatter = list(swatch.scatter.values())
    if swatch.plated:
        # Half of the layer, the face, is richer in one fibre; which side is up is chance.
        lean = 0.5 * swatch.plated * min(spot[0], 1.0 - spot[0]) * rng.choice([-1.0, 1.0])
        face = _moved(spot, lean)
        back = mixed_layer(_moved(spot, -lean), absorption, scatter, swatch.apart, 0.5 * weight, backing)
        inner = mixed_layer(face, absorption, scatter, swatch.apart, 0.5 * weight, back)
    else:
        inner = mixed_layer(spot, absorption, scatter, swatch.apart, weight, backing)
    cover = 1.0 - (1.0 - swatch.cover) ** layers
    inner = cover * inner + (1.0 - cover) * backing
    return with_surface(inner, shine=swatch.shine * float(np.exp(rng.normal(0.0, 0.3))))


def _seen_shares(swatch: Swatch, rng: np.random.Generator) -> Floats:
    """What the light meets, (fibres,): the label's shares, with its error and the spot's, less the hidden."""
    spot = np.array(list(swatch.shares.values()))
    if len(spot) == 1:
        return spot
    spot = np.clip(spot + rng.normal(0.0, LABEL_ERROR, len(spot)), 0.005, 1.0)
    # A spot of 5-20 mm2 is not the whole garment, the less so the larger its pattern.
    spot = rng.dirichlet(spot / spot.sum() * (400.0 - 280.0 * swatch.apart))
    hidden = np.array([swatch.hidden if name == "elastane" else 0.0 for name in swatch.shares])
    spot = spot * (1.0 - hidden)
    return spot / spot.sum()


def _moved(shares: Floats, by: float) -> Floats:
    """The first fibre's share raised by `by`, the others' lowered in proportion."""
    first = shares[0] + by
    return np.append(first, shares[1:] * (1.0 - first) / (1.0 - shares[0]))


def mixed_layer(
    shares: Floats,
    absorption: list[Floats],
    scatter: list[Floats],
    apart: float,
    weight: float,
    backing: Floats,
) -> Floats:
    """Reflectance of a layer of several fibres: between one mixed yarn and yarns that each reflect alone.

    Light runs some millimetres sideways in cloth, further than a yarn is thick, so that even side by side
    most of it meets several: hence the share `apart`.
    """
    shares = np.asarray(shares)
    together = layer_reflectance(
        shares @ np.array(absorption), shares @ np.array(scatter), weight=weight, backing=backing
    )
    if apart == 0.0 or len(shares) == 1:
        return together
    alone = np.zeros_like(INNER_NM)
    for share, k, s in zip(shares, absorption, scatter, strict=True):
        alone += share * layer_reflectance(k, s, weight=weight, backing=backing)
    return (1.0 - apart) * together + apart * alone
