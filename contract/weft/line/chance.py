"""The chance that a piece truly is what a lane takes, from the margins around its shares.

What is assumed of margins alone. They are conformal and joint: with the stated coverage all true shares of
a piece lie inside at once. Each share is read as having its median at the estimate and its own central
interval of that coverage at its margins, a normal curve to either side, cut off at 0 and 1. Read so, one
share's margin holds just as often as stated, while in truth it holds more often, all together do: the spread
is overstated, and what lies well inside a rule is given less chance than it has. Errors of different fibres
lean against each other as shares that sum to 1 must.

With pieces of known composition (`weft.line.spread`) the normal curve gives way to how errors, in parts of
their margins, truly lie; and each lane's chance to how often its rule then held (`Calibrated`).
"""

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from statistics import NormalDist
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.line.account import Mix
from weft.line.lanes import Lane
from weft.line.records import Piece, Share
from weft.line.rule_tree import (
    Amount,
    Either,
    Every,
    Facts,
    Rule,
    either,
    every,
    facts_of,
    holds,
    named_fibres,
)
from weft.line.spread import Outcome, Spread, normal_spread

Floats = NDArray[np.float64]

DRAWS: Final = 2_048  # S: compositions drawn for one piece; the error of a chance of 0.95 is half a point
_SEED: Final = 20_161_105
_MOST_FIBRES: Final = 40
_FEWEST: Final = 50  # pieces of known composition to calibrate a lane on
# Pieces over which a lane is to keep its limit. On simulated belts of seeds 7000 to 7003, 70 left 13 % of
# the cotton to the rest, at 99 % purity where 95 % were asked for; 150 leaves 4 %, and more gains nothing.
_STRETCH: Final = 150
_LEAST: Final = 0.5  # chance of a piece that may be planned with: more likely right than wrong
_PRIOR: Final = 5.0  # pieces that the chance before calibration counts as in each step


def draw_shares(
    shares: Sequence[Share], spread: Spread, fibres: Collection[str] | None = None
) -> dict[str, Floats]:
    """S compositions that the margins allow, by fibre, each (S,); the same margins give the same draws.

    Args:
        fibres: Those that are asked for; None: all.
    """
    if not shares:
        return {}
    share = np.array([item.share for item in shares])  # (F,)
    below = np.maximum(share - [item.low for item in shares], 0)
    above = np.maximum([item.high for item in shares] - share, 0)
    latent = _leaning(_normals()[:, : len(shares)], below + above)  # (S, F)
    pure = float(share.max())
    drawn: dict[str, Floats] = {}
    for at, item in enumerate(shares):
        if fibres is None or item.fibre in fibres:
            parts = spread.parts_of_margin(latent[:, at], item.share, pure)  # (S,)
            errors = parts * np.where(parts < 0, below[at], above[at])
            drawn[item.fibre] = np.clip(item.share + errors, 0, 1)
    return drawn


def chance_of(rule: Rule, draws: Mapping[str, Floats], facts: Facts) -> float:
    """Share of the draws that fulfil the rule, never quite 0 or 1 where a composition decides."""
    if not draws and _composition(rule) is not None:
        return 0.0
    found = holds(rule, lambda name: _share(draws, name), facts)
    if found.ndim == 0:
        return float(found)
    return (float(np.count_nonzero(found)) + 0.5) / (len(found) + 1) if found.any() else 0.0


def chance(lane: Lane, piece: Piece, *, coverage: float = 0.9) -> float:
    """The chance that the piece fulfils the lane's rule, by its margins alone."""
    draws = draw_shares(piece.shares, normal_spread(coverage), named_fibres(lane.rule))
    return chance_of(lane.rule, draws, facts_of(piece))


class _Step(NamedTuple):
    """Pieces whose chances lie next to each other."""

    first: float  # chance by margins, of the least likely
    last: float
    weight: float
    right: float  # weight of those for which the rule truly held
    said: float  # weight times chance

    @property
    def share(self) -> float:
        return self.right / self.weight

    @property
    def worth(self) -> float:
        return (self.right + _PRIOR * self.said / self.weight) / (self.weight + _PRIOR)

    def joined(self, upper: "_Step") -> "_Step":
        sums = (one + other for one, other in zip(self[2:], upper[2:], strict=True))
        return _Step(self.first, upper.last, *sums)


class Calibrated:
    """What a lane's chances were worth on pieces whose truth is known: a line of rising steps.

    Pieces are ordered by their chance, and neighbours joined until the share that was right rises with it
    (isotonic regression by weight). Five more pieces that obey the chance itself count in each step: nothing
    is certain because three pieces were, and a lane for a rare fibre is not lost for want of known ones.
    """

    def __init__(self, said: Floats, right: NDArray[np.bool_], grams: Floats) -> None:
        """Arguments of shape (N,): chance before, whether the rule truly held, weight of the piece."""
        order = np.argsort(said, kind="stable")
        weights = (grams[order] / grams.mean()).tolist()
        steps: list[_Step] = []
        for level, held, weight in zip(said[order].tolist(), right[order].tolist(), weights, strict=True):
            steps.append(_Step(level, level, weight, weight * held, weight * level))
            while len(steps) > 1 and steps[-2].share >= steps[-1].share:
                upper, lower = steps.pop(), steps.pop()
                steps.append(lower.joined(upper))
        self._at = np.array([end for step in steps for end in (step.first, step.last)])
        self._worth = np.maximum.accumulate([step.worth for step in steps for _ in range(2)])
        self._weights = np.array([step.weight for step in steps])

    def mix(self, limit: float) -> Mix | None:
        """The most of these pieces, from the surest on, whose mix keeps the limit; None: no mix does.

        It keeps it by one standard deviation, of what so many pieces can tell and of the luck of 70 that
        come: five times in six it is to hold for what a lane gets in minutes, not in the long run alone.
        """
        weight, worth = np.cumsum(self._weights[::-1]), self._worth[1::2][::-1]
        mixed = np.cumsum(self._weights[::-1] * (1 - worth)) / weight
        luck = np.sqrt(mixed * (1 - mixed) * (1 / weight + 1 / _STRETCH))
        kept = np.flatnonzero((mixed + luck <= limit) & (worth >= _LEAST))
        return Mix(float(worth[kept[-1]]), float(mixed[kept[-1]])) if len(kept) else None

    def __call__(self, said: float) -> float:
        return float(np.interp(said, self._at, self._worth))


def calibrate(lanes: Sequence[Lane], outcomes: Sequence[Outcome], spread: Spread) -> dict[str, Calibrated]:
    """By lane; without those whose rules name no fibre, and empty where fewer than 50 pieces are known."""
    ruled = {lane.name: rule for lane in lanes if (rule := _composition(lane.rule)) is not None}
    if len(outcomes) < _FEWEST:
        return {}
    facts, names = Facts(), {name for rule in ruled.values() for name in named_fibres(rule)}
    said: dict[str, list[float]] = {name: [] for name in ruled}
    right: dict[str, list[bool]] = {name: [] for name in ruled}
    for each in outcomes:
        draws, truth = draw_shares(each.shares, spread, names), _truth(each)
        for name, rule in ruled.items():
            said[name].append(chance_of(rule, draws, facts))
            right[name].append(bool(each.truth) and bool(holds(rule, truth, facts)))
    grams = np.array([each.grams for each in outcomes])
    return {name: Calibrated(np.array(said[name]), np.array(right[name]), grams) for name in ruled}


def _truth(outcome: Outcome) -> Any:
    return lambda name: outcome.truth.get(name, 0.0)  # type: ignore[no-any-return]


def _share(draws: Mapping[str, Floats], name: str) -> Any:
    return draws.get(name, 0.0)


def _composition(rule: Rule) -> Rule | None:
    """The rule without what it asks besides the composition; None where nothing is left."""
    if isinstance(rule, Every | Either):
        parts = [part for each in rule.parts if (part := _composition(each)) is not None]
        join = every if isinstance(rule, Every) else either
        return join(parts) if parts else None
    return rule if isinstance(rule, Amount) else None


def _leaning(normals: Floats, width: Floats) -> Floats:
    """Normal scores (S, F) whose errors, times their widths (F,), nearly cancel; each stays normal."""
    variance = width**2
    total = float(variance.sum())
    if total <= 0:
        return normals
    part = variance / total  # (F,)
    pull = (normals @ width)[:, None] * (width / total)
    # One share alone has nothing to lean against, and one that is certain nothing to lean.
    left = np.where(part < 1 - 1e-9, 1 - part, 1.0)
    return np.where(part < 1 - 1e-9, (normals - pull) / np.sqrt(left), normals)


@cache
def _normals() -> Floats:
    """(S, 40), each column the S quantiles of the normal curve in an order of its own."""
    curve = NormalDist()
    levels = np.array([curve.inv_cdf((place + 0.5) / DRAWS) for place in range(DRAWS)])
    rng = np.random.default_rng(_SEED)
    return np.stack([rng.permutation(levels) for _ in range(_MOST_FIBRES)], axis=1)
