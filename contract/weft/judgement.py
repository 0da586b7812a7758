"""What a weight graph says of single photos, turned into advice by the thresholds on its card."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from numpy.typing import NDArray

from weft.card import WeightCard
from weft.quality import Advice, in_order

FAULTS: Final = "faults"  # graph output (B, N, K): chance 0..1 of each word of `card.weight.advice`


class Verdict(NamedTuple):
    usable: bool
    advice: tuple[Advice, ...]


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
    return Verdict(usable, in_order(advice))
