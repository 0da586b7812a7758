"""How pure a lane truly was, from pieces that were drawn by lot and checked by hand.

By piece the interval is Clopper and Pearson's: exact, and never shorter than stated. By mass it is a
bootstrap over pieces, which has nothing to draw from where every checked piece was right, or none: then only
the one by piece is given.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
_DRAWS: Final = 10_000
_SEED: Final = 20_161_105


@dataclass(frozen=True, slots=True)
class Checked:
    """One hand-checked piece."""

    lane: str
    right: bool  # truly what its lane takes; for the rest: truly what no lane takes
    grams: float | None


@dataclass(frozen=True, slots=True)
class Purity:
    """Shares 0..1; `low` and `high` at `CONFIDENCE`."""

    lane: str
    checked: int
    right: int
    share: float
    low: float
    high: float
    mass_share: float | None  # None: no piece's mass is known
    mass_low: float | None  # None: all were right, or none
    mass_high: float | None


def measure(lane: str, pieces: Sequence[Checked]) -> Purity:
    """Of at least one checked piece of a lane."""
    right = sum(piece.right for piece in pieces)
    low, high = clopper_pearson(right, len(pieces))
    weighed = [piece for piece in pieces if piece.grams is not None]
    grams = np.array([piece.grams for piece in weighed], np.float64)
    good = np.array([piece.right for piece in weighed], bool)
    by_mass = float(grams[good].sum() / grams.sum()) if len(weighed) else None
    mass_low, mass_high = _bootstrap(grams, good) if good.any() and not good.all() else (None, None)
    return Purity(
        lane=lane,
        checked=len(pieces),
        right=right,
        share=right / len(pieces),
        low=low,
        high=high,
        mass_share=by_mass,
        mass_low=mass_low,
        mass_high=mass_high,
    )


def clopper_pearson(right: int, of: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a share, from `right` among `of`; (0, 1) where nothing was checked."""
    tail = (1 - confidence) / 2
    low = 0.0 if right == 0 else _root(lambda p: _at_least(right, of, p) - tail)
    high = 1.0 if right == of else _root(lambda p: tail - _at_least(of - right, of, 1 - p))
    return low, high


def _at_least(k: int, n: int, p: float) -> float:
    """The chance of k or more in n draws with chance p each."""
    if p <= 0 or p >= 1:
        return float(p >= 1)
    at, odds = math.log(p), math.log1p(-p)
    whole = math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * at + (n - i) * odds)
        for i in range(k, n + 1)
    )


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _bootstrap(grams: NDArray[np.float64], good: NDArray[np.bool_]) -> tuple[float, float]:
    """Percentiles of the share by mass over pieces drawn anew. Arguments of shape (P,)."""
    rng = np.random.default_rng(_SEED)
    found = np.empty(_DRAWS)
    for start in range(0, _DRAWS, 500):  # 500 x P at once, not 10,000 x P
        drawn = rng.integers(0, len(grams), (500, len(grams)))
        found[start : start + 500] = (grams * good)[drawn].sum(axis=1) / grams[drawn].sum(axis=1)
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
