"""What a line shows over OPC UA: paths below its object, types that a controller reads, units in the names.

A path is the tail of a node's identifier: line "demo" shows `ns=2;s=demo.Lanes.cotton.Pieces`. A value of
None has a bad quality (Bad_NoData): there is no such value now.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

from weft.line.records import Alarm, AlarmCode, Decision, LaneCount, LineState

Type = Literal["Boolean", "UInt32", "Int64", "Double", "String", "DateTime"]


class Value(NamedTuple):
    type: Type  # a name of `asyncua.ua.VariantType`
    value: bool | int | float | str | datetime | None


Values = Mapping[str, Value]  # by path

_COUNTER_END: Final = 2**32
_STATE: Final[dict[str, Type]] = {
    "At": "DateTime",
    "Running": "Boolean",
    "SpeedMmPerS": "Double",
    "Encoder": "Int64",
    "Pieces": "Int64",
    "PiecesPerMin": "Double",
    "KgPerHour": "Double",
    "RulesVersion": "String",
    "BundleSha": "String",
    "TrainedOn": "String",
    "LatencyP50Ms": "Double",
    "LatencyP99Ms": "Double",
    "DeadlineMs": "Double",
    "ReferenceAgeS": "Double",
    "DroppedFrames": "Int64",
}
_LANE: Final[dict[str, Type]] = {
    "Pieces": "Int64",
    "Grams": "Double",
    "Fired": "Int64",
    "Late": "Int64",
    "Held": "Int64",
}
_ALARM: Final[dict[str, Type]] = {
    "Active": "Boolean",
    "Cause": "String",
    "Since": "DateTime",
    "Until": "DateTime",
    "Count": "UInt32",
}
_DECISION: Final[dict[str, Type]] = {
    "Piece": "Int64",
    "Lane": "String",
    "Wanted": "String",
    "Outcome": "String",
    "Ejector": "String",
    "FireEncoder": "Int64",
    "HoldEncoder": "Int64",
    "Grams": "Double",
    "LatencyMs": "Double",
    "Simulated": "Boolean",
    "Sequence": "UInt32",  # written last: equal before and after reading means that all belongs together
}


def first_values(lanes: tuple[str, ...]) -> dict[str, Value]:
    """Every variable of a line of which nothing is known yet; no alarm lasts."""
    found = {path: Value(kind, None) for path, kind in _STATE.items()}
    found |= {f"LastDecision.{name}": Value(kind, None) for name, kind in _DECISION.items()}
    found |= {f"Lanes.{lane}.{name}": Value(kind, None) for lane in lanes for name, kind in _LANE.items()}
    for code in get_args(AlarmCode):
        found |= {f"Alarms.{code}.{name}": Value(kind, None) for name, kind in _ALARM.items()}
        found |= {
            f"Alarms.{code}.Active": Value("Boolean", False),
            f"Alarms.{code}.Count": Value("UInt32", 0),
        }
    return found | {"Running": Value("Boolean", False), "AlarmsActive": Value("UInt32", 0)}


def state_values(state: LineState) -> dict[str, Value]:
    given = (
        state.at,
        state.running,
        state.speed_mm_per_s,
        state.encoder,
        state.pieces,
        state.pieces_per_min,
        state.kg_per_h,
        state.rules_version,
        state.bundle_sha256,
        state.trained_on,
        state.latency_p50_ms,
        state.latency_p99_ms,
        state.deadline_ms,
        state.reference_age_s,
        state.dropped_frames,
    )
    found = _typed("", _STATE, given)
    for lane in state.lanes:
        found |= _lane_values(lane)
    return found


def no_lane(lane: str) -> dict[str, Value]:
    """A lane that the rules no longer know."""
    return {f"Lanes.{lane}.{name}": Value(kind, None) for name, kind in _LANE.items()}


def alarm_values(alarm: Alarm) -> dict[str, Value]:
    given = (alarm.until is None, alarm.cause, alarm.since, alarm.until, min(alarm.count, _COUNTER_END - 1))
    return _typed(f"Alarms.{alarm.code}.", _ALARM, given)


def decision_values(decision: Decision, sequence: int) -> dict[str, Value]:
    mass = decision.piece.mass
    given = (
        decision.piece.number,
        decision.lane,
        decision.wanted,
        decision.outcome,
        decision.ejector or "",
        decision.fire_encoder,
        decision.hold_encoder,
        mass.grams if mass else None,
        decision.latency_ms,
        decision.simulated,
        sequence % _COUNTER_END,
    )
    return _typed("LastDecision.", _DECISION, given)


def _lane_values(lane: LaneCount) -> dict[str, Value]:
    given = (lane.pieces, lane.grams, lane.fired, lane.late, lane.held)
    return _typed(f"Lanes.{lane.lane}.", _LANE, given)


def _typed(
    prefix: str, types: Mapping[str, Type], given: tuple[bool | int | float | str | datetime | None, ...]
) -> dict[str, Value]:
    return {
        prefix + name: Value(kind, value) for (name, kind), value in zip(types.items(), given, strict=True)
    }
