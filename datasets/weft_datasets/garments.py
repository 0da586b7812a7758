"""Typical garments: how large, how heavy, how bulky, when worn. What simulated parcels are made of.

Masses and grams per square metre follow Ecobalyse's textile products (MTES-MCT, MIT / Etalab 2.0: T-shirt
170 g at 200 g/m2, jeans 450 g at 250, pullover 500 g, coat 950 g at 450, socks 43 g); spreads, and the kinds
it lacks (fleece, down jacket, cap, gloves, scarf), follow single weighed items of DarkaMaul/fluffy-octo-train
(Apache-2.0). Bulk densities start from Ecobalyse's end-of-life volumes (T-shirt 94 g/l, jeans 112, pullover
49, coat 63), drawn towards their mean: those are volumes of single pieces; in a parcel they fill each other's
hollows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

SEASONS = ("summer", "winter")
LIGHTEST_GRAMS, HEAVIEST_GRAMS = 500.0, 25_000.0


@dataclass(frozen=True, slots=True)
class Garment:
    """One kind of garment; `area_m2` is fabric, both sides and all layers."""

    name: str
    area_m2: float
    grams_per_m2: float
    spread: float  # standard deviation of ln(grams) from piece to piece
    grams_per_litre: float  # lying loosely among others
    share_summer: float  # how often it turns up in a parcel of that season, relative to the others
    share_winter: float

    @property
    def grams(self) -> float:
        """Median mass."""
        return self.area_m2 * self.grams_per_m2


GARMENTS: tuple[Garment, ...] = (
    Garment("t-shirt", 0.85, 200, 0.22, 92, 26, 10),
    Garment("shirt", 1.25, 200, 0.20, 82, 12, 8),
    Garment("jeans", 1.80, 250, 0.22, 104, 8, 11),
    Garment("trousers", 1.70, 240, 0.25, 98, 7, 8),
    Garment("shorts", 0.90, 220, 0.25, 98, 10, 1),
    Garment("skirt", 1.10, 200, 0.30, 86, 6, 3),
    Garment("dress", 1.50, 200, 0.30, 84, 8, 3),
    Garment("pullover", 2.00, 250, 0.25, 76, 3, 14),
    Garment("fleece", 1.50, 230, 0.25, 72, 1, 7),
    Garment("hoodie", 1.70, 300, 0.20, 80, 3, 9),
    Garment("coat", 2.10, 450, 0.30, 78, 0.3, 5),
    Garment("light jacket", 1.60, 200, 0.35, 80, 2.5, 4),
    Garment("down jacket", 3.20, 180, 0.30, 66, 0, 3),
    Garment("socks", 0.17, 250, 0.30, 96, 8, 8),
    Garment("underwear", 0.19, 180, 0.35, 96, 8, 6),
    Garment("swimwear", 0.45, 220, 0.30, 98, 3, 0),
    Garment("scarf", 0.80, 180, 0.35, 80, 0.5, 4),
    Garment("cap", 0.25, 280, 0.30, 88, 1.5, 2),
    Garment("gloves", 0.22, 320, 0.35, 92, 0, 2),
    Garment("towel", 0.98, 450, 0.35, 100, 3, 3),
    Garment("bed linen", 3.50, 140, 0.30, 108, 2, 2),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One garment in a parcel."""

    garment: Garment
    grams: float

    @property
    def litres(self) -> float:
        """Volume lying loosely among others."""
        return self.grams / self.garment.grams_per_litre


def draw_pieces(rng: Generator, *, season: str) -> list[Piece]:
    """Garments of one parcel: drawn by season until a mass drawn log-uniformly in 0.5-25 kg is reached."""
    share = np.array([g.share_summer if season == "summer" else g.share_winter for g in GARMENTS])
    share = share / share.sum()
    target = float(np.exp(rng.uniform(np.log(LIGHTEST_GRAMS), np.log(HEAVIEST_GRAMS))))
    while True:
        pieces = _fill(rng, target, share)
        if LIGHTEST_GRAMS <= sum(piece.grams for piece in pieces) <= HEAVIEST_GRAMS:
            return pieces


def _fill(rng: Generator, target: float, share: np.ndarray) -> list[Piece]:
    pieces: list[Piece] = []
    total = 0.0
    for _ in range(2000):
        garment = GARMENTS[int(rng.choice(len(GARMENTS), p=share))]
        grams = garment.grams * float(np.exp(garment.spread * rng.standard_normal()))
        if total + grams / 2 > target:
            if target - total < 0.08 * target or total > 0.92 * target:
                break
            continue  # too heavy for what is left: try a smaller piece
        pieces.append(Piece(garment, grams))
        total += grams
    return pieces
