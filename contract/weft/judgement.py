"""What a weight graph says of single photos, turned into advice by the thresholds on its card."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.card import WeightCard
from weft.quality import Advice, in_order

FAULTS: Final = "faults"  # graph output (B, N, K): chance 0..1 of each word of `card.weight.advice`
STRANGENESS: Final = "strangeness"  # graph output (B, N): how unlike the training photos
PHOTO_GRAMS: Final = "photo_grams"  # graph output (B, N): what each photo says by itself
_MORE_PHOTOS: Final = (3, 5)  # `disagree_above` is of 2, 3 to 4, and more photos


class Verdict(NamedTuple):
    usable: bool
    advice: tuple[Advice, ...]
    strangeness: float | None  # None: this graph does not say


def judge(section: WeightCard, answers: Mapping[str, NDArray[Any]], row: int, place: int) -> Verdict:
    """Judge one photo of one subject; nothing is said by a graph that does not judge photos.

    Args:
        answers: The graph's outputs.
        row: Which subject, 0..B-1.
        place: Which of its photos as they were stacked, 0..N-1.
    """
    advice: list[Advice] = []
    usable = True
    if FAULTS in answers:
        chances = answers[FAULTS][row, place]  # (K,)
        for rule, chance in zip(section.advice, chances.tolist(), strict=True):
            if chance > rule.advise_above:
                advice.append(rule.word)
            usable = usable and chance <= rule.refuse_above
    shift = section.shift
    strangeness = float(answers[STRANGENESS][row, place]) if STRANGENESS in answers else None
    # Written so that a NaN is strange.
    if shift and strangeness is not None and not strangeness <= shift.strange_above:
        advice.append("unfamiliar")
        usable = usable and shift.then == "widen"
    return Verdict(usable, in_order(advice), strangeness)


def disagree(section: WeightCard, answers: Mapping[str, NDArray[Any]], row: int, photos: int) -> bool:
    """Whether a subject's photos say masses further apart than those of one thing do.

    Args:
        photos: How many of the subject's photos were stacked.
    """
    if section.shift is None or PHOTO_GRAMS not in answers or photos < 2:
        return False
    above = section.shift.disagree_above[bisect_right(_MORE_PHOTOS, photos)]
    each = np.log(np.maximum(answers[PHOTO_GRAMS][row, :photos], 1e-3))
    return above is not None and not float(each.max() - each.min()) <= above
