"""What garments on a belt are labelled with: nearer to a plant's infeed than the flat draw of `swatches`.

Shares of the market: cotton and polyester are some 80 % of what is worn and sorted, and cotton-polyester is
by far the commonest blend. Blends carry the whole numbers that shops sell.
"""

from typing import Literal

import numpy as np

from weft_datasets.swatches import Shares, drawn_shares

MaterialClass = Literal["cotton", "polyester", "blend", "other", "stranger"]

# How often a piece on the belt is of a class; the rest is `swatches.drawn_shares`, none of these.
CLASS_ODDS: dict[str, float] = {"cotton": 0.36, "polyester": 0.24, "blend": 0.21, "other": 0.19}
ELASTANE_IN = {"cotton": 0.25, "polyester": 0.12}  # share of pure ones that stretch
# Cotton's part in cotton-polyester, in %, and how often: T-shirts and workwear, shirts, sweatshirts.
SOLD_BLENDS: tuple[tuple[float, float], ...] = (
    (50.0, 32.0),
    (60.0, 22.0),
    (65.0, 5.0),
    (35.0, 26.0),
    (40.0, 8.0),
    (70.0, 4.0),
    (80.0, 3.0),
)
PURE_FROM = 0.95
BLEND_FROM = 0.20  # of each


def class_of(shares: Shares) -> MaterialClass:
    """The class that a plant sorts it by; no shares at all are a stranger."""
    if not shares:
        return "stranger"
    cotton, polyester = shares.get("cotton", 0.0), shares.get("polyester", 0.0)
    if cotton >= PURE_FROM - 1e-9:
        return "cotton"
    if polyester >= PURE_FROM - 1e-9:
        return "polyester"
    if min(cotton, polyester) >= BLEND_FROM - 1e-9 and cotton + polyester >= PURE_FROM - 1e-9:
        return "blend"
    return "other"


def drawn_label(rng: np.random.Generator) -> Shares:
    """Shares by weight of one garment, whole per cents, sum 1."""
    name = str(rng.choice(list(CLASS_ODDS), p=list(CLASS_ODDS.values())))
    if name in ELASTANE_IN:
        stretch = float(rng.integers(1, 6)) if rng.random() < ELASTANE_IN[name] else 0.0
        shares = {name: (100.0 - stretch) / 100.0}
        return {**shares, "elastane": stretch / 100.0} if stretch else shares
    if name == "blend":
        odds = np.array([often for _, often in SOLD_BLENDS])
        cotton = SOLD_BLENDS[int(rng.choice(len(SOLD_BLENDS), p=odds / odds.sum()))][0]
        return {"cotton": cotton / 100.0, "polyester": (100.0 - cotton) / 100.0}
    while True:
        shares = drawn_shares(rng)
        if class_of(shares) == "other":
            return shares
