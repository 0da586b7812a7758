"""How errors lie within their margins: a normal curve, or as pieces of known composition showed.

Conformal margins are as wide as the tenth worst answer in a hundred makes them, and most answers err far
less: a normal curve that fits the margins says of a clean answer that it may well be wrong. What pieces of
known composition showed instead is kept as parts of the margin against levels of the normal curve, apart for
parts and traces, in answers that say a pure fibre and in blends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weft.line.records import Share

Floats = NDArray[np.float64]

_PURE_FROM: Final = 0.9  # largest share of an answer that says a pure fibre
_PART_FROM: Final = 0.1  # a smaller share is a trace
_FEWEST: Final = 60  # errors behind a curve of one's own
_LEVELS: Final = 201
_FURTHEST: Final = 20.0  # parts of a margin; a wrong fibre altogether
# One error more at either end, beyond the margin: no piece was so wrong, and yet the next one may be.
_UNSEEN: Final = 3.0
_Kind = tuple[bool, bool]  # answer says a pure fibre, share is a part and no trace


@dataclass(frozen=True, slots=True)
class Outcome:
    """A piece whose truth is known, and what was said of it."""

    shares: tuple[Share, ...]
    truth: Mapping[str, float]  # by weight; empty: no textile
    grams: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    level: Floats  # (K,) ascending, of the normal curve
    parts: Mapping[_Kind, Floats]  # each (K,) ascending: -1 is the lower margin, 1 the upper one

    def parts_of_margin(self, normals: Floats, share: float, largest: float) -> Floats:
        """Errors in parts of the margin for normal scores, (S,)."""
        return np.interp(normals, self.level, self.parts[_kind(share, largest)])


@cache
def normal_spread(coverage: float) -> Spread:
    """Each margin's interval holds just as often as `coverage`, and errors inside are normal."""
    level = np.array([-6.0, 6.0])
    straight = level / NormalDist().inv_cdf((1 + coverage) / 2)
    return Spread(level, {(pure, part): straight for pure in (False, True) for part in (False, True)})


def learned_spread(outcomes: Sequence[Outcome], coverage: float) -> Spread:
    """As these pieces erred; where fewer than 60 errors of a kind are known, as `normal_spread`."""
    found: dict[_Kind, list[float]] = {}
    for each in outcomes:
        largest = max((item.share for item in each.shares), default=0.0)
        for item in each.shares:
            error = each.truth.get(item.fibre, 0.0) - item.share
            margin = item.high - item.share if error > 0 else item.share - item.low
            part = (
                error / margin if margin > 1e-6 else 0.0 if abs(error) < 1e-6 else _FURTHEST * np.sign(error)
            )
            found.setdefault(_kind(item.share, largest), []).append(float(part))
    curve = NormalDist()
    chances = (np.arange(_LEVELS) + 0.5) / _LEVELS
    tails = np.array([1e-4, 3e-4, 1e-3])  # grows finer towards the ends, where lanes are decided
    chances = np.sort(np.concatenate([chances, tails, 1 - tails]))
    level = np.array([curve.inv_cdf(float(each)) for each in chances])
    usual = normal_spread(coverage)
    parts: dict[_Kind, Floats] = {}
    for kind, straight in usual.parts.items():
        errors = found.get(kind, [])
        if len(errors) < _FEWEST:
            parts[kind] = np.interp(level, usual.level, straight)
            continue
        clipped = np.clip([*errors, -_UNSEEN, _UNSEEN], -_FURTHEST, _FURTHEST)
        parts[kind] = np.quantile(clipped, chances, method="hazen")
    return Spread(level, parts)


def _kind(share: float, largest: float) -> _Kind:
    return largest >= _PURE_FROM, share >= _PART_FROM
