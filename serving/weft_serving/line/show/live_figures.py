"""What the page draws of the last hour: throughput, latency, and each lane's expected purity and recovery.

Kept in steps that a piece is added to once, so that a day of running costs no more than a minute of it.
"""

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from weft.line.records import Decision

STEP_S: Final = 10.0
STEPS: Final = 360  # an hour
_MOST_LATENCIES: Final = 200  # of one step, enough for a 99th percentile
_CORRIGIBLE: Final = 256  # pieces whose decision may still be withdrawn


@dataclass(slots=True)
class _LaneSum:
    pieces: int = 0
    grams: float = 0.0
    good_grams: float = 0.0  # expected: grams times the chance that the piece is what the lane takes
    possible_grams: float = 0.0  # the same over all pieces, wherever they went


@dataclass(slots=True)
class _Step:
    begun_s: float
    pieces: int = 0
    grams: float = 0.0
    latency_ms: list[float] = field(default_factory=list[float])
    lanes: dict[str, _LaneSum] = field(default_factory=dict[str, _LaneSum])


@dataclass(frozen=True, slots=True)
class _Counted:
    step: _Step
    lane: str
    grams: float
    good_grams: float


class Figures:
    """For one thread; times are seconds of one clock that never jumps."""

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque(maxlen=STEPS)
        self._counted: OrderedDict[int, _Counted] = OrderedDict()

    def add(self, decision: Decision, chances: Mapping[str, float], at_s: float) -> None:
        """Count a piece, or move it to another lane when its decision came before.

        Args:
            chances: For each lane with a rule, the chance that the piece is what it takes.
        """
        number = decision.piece.number
        before = self._counted.pop(number, None)
        grams = decision.piece.mass.grams if decision.piece.mass else 0.0
        good = grams * chances.get(decision.lane, 0.0)
        if before is not None:
            old = before.step.lanes[before.lane]
            old.pieces -= 1
            old.grams -= before.grams
            old.good_grams -= before.good_grams
            step = before.step
        else:
            step = self._step(at_s)
            step.pieces += 1
            step.grams += grams
            if len(step.latency_ms) < _MOST_LATENCIES:
                step.latency_ms.append(decision.latency_ms)
            for lane, chance in chances.items():
                step.lanes.setdefault(lane, _LaneSum()).possible_grams += grams * chance
        new = step.lanes.setdefault(decision.lane, _LaneSum())
        new.pieces += 1
        new.grams += grams
        new.good_grams += good
        self._counted[number] = _Counted(step, decision.lane, grams, good)
        while len(self._counted) > _CORRIGIBLE:
            self._counted.popitem(last=False)

    def lanes(self, at_s: float) -> dict[str, dict[str, float | int | None]]:
        """Of the last hour, for each lane: pieces, grams, purity and recovery (0..1; None: nothing yet)."""
        sums: dict[str, _LaneSum] = {}
        for step in self._steps:
            if at_s - step.begun_s > STEP_S * STEPS:
                continue
            for name, part in step.lanes.items():
                total = sums.setdefault(name, _LaneSum())
                total.pieces += part.pieces
                total.grams += part.grams
                total.good_grams += part.good_grams
                total.possible_grams += part.possible_grams
        return {
            name: {
                "pieces": total.pieces,
                "grams": round(total.grams, 1),
                "purity": _ratio(total.good_grams, total.grams),
                "recovery": _ratio(total.good_grams, total.possible_grams),
            }
            for name, total in sums.items()
        }

    def history(self, at_s: float, *, last: int = STEPS) -> list[dict[str, Any]]:
        """The last steps that anything happened in, oldest first, `age_s` counted from their beginning."""
        return [_point(step, at_s) for step in list(self._steps)[-last:]]

    def _step(self, at_s: float) -> _Step:
        if not self._steps or at_s - self._steps[-1].begun_s >= STEP_S:
            self._steps.append(_Step(begun_s=at_s - at_s % STEP_S))
        return self._steps[-1]


def _ratio(part: float, whole: float) -> float | None:
    return round(min(1.0, max(0.0, part / whole)), 4) if whole > 1e-6 else None


def _point(step: _Step, at_s: float) -> dict[str, Any]:
    found = step.latency_ms
    return {
        "step": round(step.begun_s / STEP_S),  # steps without a piece are left out
        "age_s": round(at_s - step.begun_s, 1),
        "pieces_per_min": round(step.pieces * 60.0 / STEP_S, 1),
        "kg_per_h": round(step.grams * 3.6 / STEP_S, 2),
        "latency_p50_ms": round(float(np.percentile(found, 50)), 1) if found else None,
        "latency_max_ms": round(max(found), 1) if found else None,
    }
