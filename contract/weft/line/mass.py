"""What a piece on the belt weighs, about: the area it covers, times what cloth of its fibre weighs.

A belt is no scale: a shirt lies in two layers or in eight. The margin is as wide as that makes it.
"""

import math
from collections.abc import Sequence

from weft.card import MassCard
from weft.line.records import Mass, Share


def estimate_mass(card: MassCard | None, *, area_cm2: float, shares: Sequence[Share]) -> Mass | None:
    """Grams of a piece, with the card's interval; None where its fibre or the card says nothing of it.

    Args:
        area_cm2: That it covers on the belt, all layers together.
    """
    if card is None or area_cm2 <= 0:
        return None
    known = [
        (item.share, card.grams_per_cm2[item.fibre]) for item in shares if item.fibre in card.grams_per_cm2
    ]
    total = sum(share for share, _ in known)
    if total < 0.5:  # mostly of fibres without a figure
        return None
    # In the logarithm, as the card's figures are fitted: the weight of a blend lies between its fibres'.
    per_cm2 = math.exp(sum(share * math.log(grams) for share, grams in known) / total)
    grams = area_cm2 * per_cm2
    return Mass(grams=grams, low_grams=grams * card.low_ratio, high_grams=grams * card.high_ratio)
