"""Purity against recovery of each lane, before it runs: the rules tried on pieces whose truth is known.

Purity of a lane: of the grams that are in it, the share that truly belongs there. Recovery: of the grams that
truly belong there, the share that is in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from weft.errors import LineError
from weft.line.decide import Choice, Decider, Option, grams_of, most_valuable
from weft.line.lanes import Lane, LaneRules
from weft.line.outcomes import KnownPiece
from weft.line.records import Flag
from weft.line.rule_tree import Facts

Floats = NDArray[np.float64]

_Z: Final = 1.96  # of a 95 % interval
_MOST_POINTS: Final = 160


@dataclass(frozen=True, slots=True)
class Yield:
    """What came into a lane."""

    pieces: int
    grams: float
    purity: float | None  # None: nothing came
    purity_low: float | None  # 95 % interval by the number of pieces (Wilson)
    purity_high: float | None
    recovery: float | None  # None: nothing belongs there


@dataclass(frozen=True, slots=True, eq=False)
class LanePlan:
    lane: Lane
    belonging: int  # pieces that truly do
    held: Yield  # as the line will run
    free: Yield  # by expected value alone, without the constraint
    expected_contamination: float  # of what is in it, as the chances said
    value: float  # earned, of what is in it, at the stated prices
    chance: Floats  # (K,) falling: thresholds of the curve
    purity: Floats  # (K,) of all pieces above each
    recovery: Floats  # (K,)

    @property
    def lost(self) -> float | None:
        """Recovery that the constraint costs."""
        if self.held.recovery is None or self.free.recovery is None:
            return None
        return max(0.0, self.free.recovery - self.held.recovery)

    @property
    def verdict(self) -> Literal["kept", "luck", "passed"] | None:
        """Kept its limit, passed it by what may be luck, or passed it beyond doubt; None: an empty lane."""
        needed = 1 - self.lane.max_contamination
        if self.held.purity is None or self.held.purity_high is None:
            return None
        if self.held.purity >= needed:
            return "kept"
        return "luck" if self.held.purity_high >= needed else "passed"


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    rules: LaneRules
    lanes: tuple[LanePlan, ...]
    pieces: int
    kilograms: float
    rest_kilograms: float
    simulated: bool  # any of the pieces


def plan_lanes(rules: LaneRules, pieces: Sequence[KnownPiece], deciders: Sequence[Decider]) -> Plan:
    """Send the pieces through the rules in their order, and sweep each lane's threshold.

    Args:
        deciders: One; or several that take turns, each calibrated without the pieces that it decides.
    """
    if not pieces:
        raise LineError("no piece of known composition to plan by; give a table of them, or a belt bundle")
    wanted: list[Option | None] = []  # by value, though the rest may be worth more
    held: list[Choice] = []
    for place, known in enumerate(pieces):
        decider = deciders[place % len(deciders)]
        wanted.append(most_valuable(decider.options(known.piece)))
        held.append(decider.decide(known.piece))
    grams = np.array([known.grams for known in pieces])
    lanes = tuple(_lane_plan(lane, pieces, wanted, held, rules.rest_price_per_kg) for lane in rules.lanes)
    rest = np.array([choice.lane == rules.rest for choice in held])
    return Plan(
        rules,
        lanes,
        len(pieces),
        float(grams.sum()) / 1_000,
        float(grams[rest].sum()) / 1_000,
        any(known.simulated for known in pieces),
    )


def belongs(lane: Lane, known: KnownPiece) -> bool:
    """Whether a piece truly is what the lane takes, however it was seen."""
    flags: tuple[Flag, ...] = tuple(flag for flag in known.piece.flags if flag in lane.asks_for)
    return lane.takes(known.truth, Facts(known.colour, flags, known.grams, known.piece.area_cm2, 0.0))


def as_json(plan: Plan) -> dict[str, Any]:
    return {
        "rules_version": plan.rules.version,
        "simulated": plan.simulated,
        "pieces": plan.pieces,
        "kilograms": plan.kilograms,
        "rest_kilograms": plan.rest_kilograms,
        "lanes": {
            each.lane.name: {
                "take": each.lane.take,
                "belonging": each.belonging,
                "pieces": each.held.pieces,
                "purity": each.held.purity,
                "purity_low": each.held.purity_low,
                "purity_high": each.held.purity_high,
                "needed_purity": 1 - each.lane.max_contamination,
                "recovery": each.held.recovery,
                "recovery_by_value_alone": each.free.recovery,
                "recovery_lost": each.lost,
                "verdict": each.verdict,
                "expected_contamination": each.expected_contamination,
                "value": each.value,
            }
            for each in plan.lanes
        },
    }


def _lane_plan(
    lane: Lane,
    pieces: Sequence[KnownPiece],
    wanted: Sequence[Option | None],
    held: Sequence[Choice],
    rest_price_per_kg: float,
) -> LanePlan:
    right = np.array([belongs(lane, known) for known in pieces])
    grams = np.array([known.grams for known in pieces])
    here = np.array([option is not None and option.lane.name == lane.name for option in wanted])
    worth = np.array([option.value if option else 0.0 for option in wanted])
    rest_worth = rest_price_per_kg / 1_000 * np.array([grams_of(known.piece) for known in pieces])
    taken = np.array([choice.lane == lane.name for choice in held])
    chance = np.array([option.chance if option else 0.0 for option in wanted])
    doubt = np.array([1 - choice.chance if choice.chance is not None else 0.0 for choice in held])
    order = np.flatnonzero(here)[np.argsort(-chance[here], kind="stable")]
    whole = float(grams[right].sum())
    inside, good = np.cumsum(grams[order]), np.cumsum(grams[order] * right[order])
    shown = _thinned(chance[order])
    sold = float(grams[taken & right].sum()) * lane.price_per_kg
    spoilt = float(grams[taken & ~right].sum()) * lane.spoil_per_kg
    return LanePlan(
        lane,
        int(right.sum()),
        _yield(taken, right, grams),
        _yield(here & (worth >= rest_worth), right, grams),
        float(doubt[taken] @ grams[taken] / grams[taken].sum()) if taken.any() else 0.0,
        (sold - spoilt) / 1_000,
        chance[order][shown],
        (good / inside)[shown],
        (good / whole)[shown] if whole else np.zeros(len(shown)),
    )


def _thinned(chance: Floats) -> NDArray[np.intp]:
    """The last piece at each distinct chance, since a threshold parts no equals; 160 of them at most."""
    if not len(chance):
        return np.empty(0, np.intp)
    last = np.flatnonzero(np.append(chance[:-1] != chance[1:], True))
    return last[np.unique(np.linspace(0, len(last) - 1, min(len(last), _MOST_POINTS)).astype(np.intp))]


def _yield(taken: NDArray[np.bool_], right: NDArray[np.bool_], grams: Floats) -> Yield:
    inside, whole = float(grams[taken].sum()), float(grams[right].sum())
    good, count = float(grams[taken & right].sum()), int(taken.sum())
    low, high = _wilson(int((taken & right).sum()), count) if count else (None, None)
    return Yield(count, inside, good / inside if inside else None, low, high, good / whole if whole else None)


def _wilson(hits: int, count: int) -> tuple[float, float]:
    middle = (hits + _Z**2 / 2) / (count + _Z**2)
    reach = _Z / (count + _Z**2) * math.sqrt(hits * (count - hits) / count + _Z**2 / 4)
    return max(0.0, middle - reach), min(1.0, middle + reach)
