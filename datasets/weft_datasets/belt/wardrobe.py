"""Dyes of simulated garments: their visible bands, tails that reach into the NIR, and the colour they give.

What a dye does to the picture and to the NIR comes from one table, so that a record's colour name and the
ground under its spectrum belong together. Colour is CIE 1931, 2 degrees, under D65.
"""

import numpy as np
from numpy.typing import NDArray

from weft.line.colours import Lab, lab, name_of
from weft_datasets.absorption import Floats
from weft_datasets.instruments import INNER_NM

Bands = tuple[tuple[float, float, float], ...]  # centre and width in nm, K in m2/kg of cloth

# How often garments come in it, and which bands its dyes have. Deep shades are many dyes over each other.
WARDROBE: dict[str, tuple[float, Bands]] = {
    "white": (0.17, ()),
    "black": (0.18, ((430, 60, 280), (520, 60, 300), (600, 60, 300), (665, 45, 220))),
    "navy": (0.12, ((500, 60, 50), (570, 55, 160), (640, 55, 180), (420, 30, 20))),
    "grey": (0.11, ((430, 70, 9), (540, 70, 8), (650, 70, 8))),
    "blue": (0.10, ((560, 50, 10), (630, 60, 24))),
    "red": (0.07, ((440, 50, 40), (530, 40, 70), (500, 40, 40))),
    "pink": (0.05, ((530, 35, 4),)),
    "beige": (0.06, ((420, 70, 3.5), (500, 80, 1.2))),
    "brown": (0.04, ((430, 70, 60), (530, 60, 28), (620, 60, 9))),
    "green": (0.04, ((420, 40, 28), (650, 50, 34))),
    "yellow": (0.02, ((425, 40, 30),)),
    "orange": (0.01, ((450, 50, 50), (520, 25, 18))),
    "purple": (0.02, ((560, 45, 40),)),
    "turquoise": (0.01, ((650, 55, 24),)),
}
DEPTH = 0.35  # of ln K, from garment to garment
TAIL = (0.004, 60.0)  # K beyond 780 nm as a part of the visible dye's sum, and its 1/e length in nm at most

# CIE daylight D65, 380-780 nm by 10.
_D65 = np.array(
    [
        49.98, 54.65, 82.75, 91.49, 93.43, 86.68, 104.86, 117.01, 117.81, 114.86, 115.92,
        108.81, 109.35, 107.80, 104.79, 107.69, 104.41, 104.05, 100.00, 96.33, 95.79, 88.69,
        90.01, 89.60, 87.70, 83.29, 83.70, 80.03, 80.21, 82.28, 78.28, 69.72, 71.61,
        74.35, 61.60, 69.89, 75.09, 63.59, 46.42, 66.81, 63.38,
    ]
)  # fmt: skip
_WHITE = np.array([0.95047, 1.0, 1.08883])
_TO_RGB = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)


def drawn_dye(rng: np.random.Generator, *, name: str | None = None) -> Floats:
    """K of one garment's dyes over INNER, m2/kg of cloth."""
    odds = np.array([often for often, _ in WARDROBE.values()])
    name = str(rng.choice(list(WARDROBE), p=odds / odds.sum())) if name is None else name
    dye = np.zeros_like(INNER_NM)
    depth = np.exp(rng.normal(0.0, DEPTH))
    total = 0.0
    for centre, width, strength in WARDROBE[name][1]:
        k = depth * strength * np.exp(rng.normal(0.0, 0.15))
        dye += k * np.exp(-0.5 * ((INNER_NM - centre - rng.normal(0.0, 6.0)) / width) ** 2)
        total += k
    # The bands end in exponential tails of aggregated dye; a Gaussian's own has no say beyond 780 nm.
    tail = rng.exponential(TAIL[0]) * total * np.exp(-(INNER_NM - 780.0) / rng.uniform(20.0, TAIL[1]))
    return np.where(INNER_NM < 780.0, dye, tail)


def _observer(nm: Floats) -> Floats:
    """CIE 1931 matching functions, (3, V), in the analytic form of Wyman, Sloan and Shirley (2013)."""

    def lobe(height: float, centre: float, left: float, right: float) -> Floats:
        width = np.where(nm < centre, left, right)
        return height * np.exp(-0.5 * ((nm - centre) / width) ** 2)

    x = lobe(1.056, 599.8, 37.9, 31.0) + lobe(0.362, 442.0, 16.0, 26.7) + lobe(-0.065, 501.1, 20.4, 26.2)
    y = lobe(0.821, 568.8, 46.9, 40.5) + lobe(0.286, 530.9, 16.3, 31.1)
    z = lobe(1.217, 437.0, 11.8, 36.0) + lobe(0.681, 459.0, 26.0, 13.8)
    return np.array([x, y, z])


def linear_rgb(visible: Floats, nm: Floats) -> NDArray[np.float32]:
    """Linear sRGB, shape (3,), of a reflectance (V,) over `nm` in daylight; a perfect white is 1."""
    light = _observer(nm) * np.interp(nm, np.arange(380.0, 781.0, 10.0), _D65)
    xyz = light @ visible / light.sum(axis=1) * _WHITE
    return np.clip(_TO_RGB @ xyz, 0.0, None).astype(np.float32)


def colour_of(rgb: NDArray[np.float32]) -> tuple[str, Lab]:
    """Name and CIE L*a*b* of linear light, shape (3,)."""
    found = Lab(*(float(value) for value in lab(rgb)))
    return name_of(found), found
