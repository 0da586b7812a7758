"""A shift of one line, summed up from what was stored: where which fibre went, and what went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from weft.errors import LineError
from weft.line.records import Alarm, Decision, Outcome
from weft_serving.line.past.archive import LineArchive
from weft_serving.line.past.balance import Total, parts_of, whole_of
from weft_serving.line.past.checks import Checks, Judge
from weft_serving.line.past.purity import Purity, measure
from weft_serving.store import Store

_BINS: Final = 48  # at most, over the shift
_BIN_S: Final = (60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 7 * 86400)


@dataclass(slots=True)
class LaneSum:
    lane: str
    total: Total = field(default_factory=Total)
    pieces: int = 0
    without_mass: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=dict[Outcome, int])  # of pieces that ended here
    missed: dict[Outcome, int] = field(default_factory=dict[Outcome, int])  # wanted here, late or held
    missed_grams: float = 0.0
    weighed_chance: float = 0.0  # grams times the chance by which its pieces were decided
    chance_grams: float = 0.0
    measured: Purity | None = None

    @property
    def expected(self) -> float | None:
        """Purity by mass as it was reckoned with when deciding; None for the rest."""
        return self.weighed_chance / self.chance_grams if self.chance_grams > 0 else None


@dataclass(slots=True)
class RulesUse:
    version: str
    first: datetime
    last: datetime
    pieces: int = 0


@dataclass(slots=True)
class Bin:
    start: datetime
    pieces: dict[str, int] = field(default_factory=dict[str, int])  # by lane
    grams: float = 0.0


@dataclass(frozen=True, slots=True)
class Latency:
    """In milliseconds, from a piece's last line to the decision."""

    half: float
    p99: float
    most: float
    counts: tuple[int, ...]  # histogram
    edges_ms: tuple[float, ...]


@dataclass(slots=True)
class Shift:
    """All of one report. Lanes come by mass, the rest last; so do fibres."""

    line: str
    start: datetime
    end: datetime
    bin_s: int
    pieces: int = 0
    simulated: int = 0
    first: datetime | None = None
    last: datetime | None = None
    total: Total = field(default_factory=Total)
    lanes: dict[str, LaneSum] = field(default_factory=dict[str, LaneSum])
    balance: dict[tuple[str, str], Total] = field(default_factory=dict[tuple[str, str], Total])
    fibres: dict[str, Total] = field(default_factory=dict[str, Total])
    rules: dict[str, RulesUse] = field(default_factory=dict[str, RulesUse])
    bundles: dict[str, int] = field(default_factory=dict[str, int])
    bins: dict[int, Bin] = field(default_factory=dict[int, Bin])
    alarms: Sequence[Alarm] = ()
    latency: Latency | None = None
    drawn: int = 0
    checked: int = 0
    rest: str = ""

    def recovery(self, lane: str, fibre: str) -> float | None:
        """The share of a fibre's whole mass that this lane got, 0..1."""
        whole = self.fibres[fibre].grams
        part = self.balance.get((lane, fibre))
        return part.grams / whole if part is not None and whole > 0 else None

    def alarm_s(self, alarm: Alarm) -> float:
        """Seconds of the shift during which it was on."""
        return max(
            0.0, (min(alarm.until or self.end, self.end) - max(alarm.since, self.start)).total_seconds()
        )


def make_shift(store: Store, line: str, start: datetime, end: datetime) -> Shift:
    """Read the pieces seen from `start` to before `end` once, in order.

    Raises:
        LineError: The times are the wrong way round, or nothing of this line was stored between them.
        StoreError: The database cannot be read.
    """
    if not start < end:
        raise LineError(f"the report would end ({end}) before it begins ({start}); name an earlier --from")
    archive = LineArchive(store)
    shift = Shift(line, start, end, bin_s=_bin_s(end - start))
    latency_ms: list[float] = []
    for decision in archive.decisions(line, start, end):
        _add(shift, decision)
        latency_ms.append(decision.latency_ms)
    shift.alarms = archive.alarms(line, start, end)
    if not shift.pieces and not shift.alarms:
        known = ", ".join(archive.lines()) or "none"
        begun, ended = (moment.isoformat(" ", "minutes") for moment in (start, end))
        raise LineError(
            f"nothing of line {line!r} is stored from {begun} to {ended}; lines with pieces: {known}"
        )
    judge = Judge(archive, line)
    used = (judge.rules(version) for version in shift.rules)
    shift.rest = next((rules.rest for rules in used if rules is not None), "")
    _measure(shift, Checks(store), judge)
    shift.latency = _latency(latency_ms)
    _order(shift)
    return shift


def _add(shift: Shift, decision: Decision) -> None:
    piece = decision.piece
    shift.pieces += 1
    shift.simulated += decision.simulated
    shift.first = shift.first or piece.seen_at
    shift.last = piece.seen_at
    lane = shift.lanes.setdefault(decision.lane, LaneSum(decision.lane))
    lane.pieces += 1
    lane.outcomes[decision.outcome] = lane.outcomes.get(decision.outcome, 0) + 1
    if decision.wanted != decision.lane:
        wanted = shift.lanes.setdefault(decision.wanted, LaneSum(decision.wanted))
        wanted.missed[decision.outcome] = wanted.missed.get(decision.outcome, 0) + 1
        wanted.missed_grams += piece.mass.grams if piece.mass else 0.0
    if piece.mass is None:
        lane.without_mass += 1
    else:
        whole = whole_of(piece.mass, decision.lane)
        lane.total.add(whole)
        shift.total.add(whole)
        if decision.chance is not None and decision.lane == decision.wanted:
            lane.weighed_chance += piece.mass.grams * decision.chance
            lane.chance_grams += piece.mass.grams
    for part in parts_of(decision):
        shift.balance.setdefault((decision.lane, part.fibre), Total()).add(part)
        shift.fibres.setdefault(part.fibre, Total()).add(part)
    version = decision.rules_version
    use = shift.rules.setdefault(version, RulesUse(version, piece.seen_at, piece.seen_at))
    use.last, use.pieces = piece.seen_at, use.pieces + 1
    shift.bundles[piece.bundle_sha256] = shift.bundles.get(piece.bundle_sha256, 0) + 1
    place = int((piece.seen_at - shift.start).total_seconds() // shift.bin_s)
    found = shift.bins.setdefault(place, Bin(shift.start + timedelta(seconds=place * shift.bin_s)))
    found.pieces[decision.lane] = found.pieces.get(decision.lane, 0) + 1
    found.grams += piece.mass.grams if piece.mass else 0.0


def _measure(shift: Shift, checks: Checks, judge: Judge) -> None:
    """Purity by hand, from the drawn pieces of this shift."""
    drawn = [
        each for each in checks.drawn(shift.line) if shift.start <= each.decision.piece.seen_at < shift.end
    ]
    shift.drawn = len(drawn)
    found = [check for each in drawn if (check := judge.check(each)) is not None]
    shift.checked = len(found)
    for lane in shift.lanes.values():
        mine = [check for check in found if check.lane == lane.lane]
        lane.measured = measure(lane.lane, mine) if mine else None


def _latency(found_ms: list[float]) -> Latency | None:
    if not found_ms:
        return None
    half, p99 = np.percentile(found_ms, [50, 99])
    counts, edges = np.histogram(found_ms, 24, (0.0, max(1.0, float(np.percentile(found_ms, 99.9)))))
    return Latency(
        half=float(half),
        p99=float(p99),
        most=max(found_ms),
        counts=tuple(int(count) for count in counts),
        edges_ms=tuple(float(edge) for edge in edges),
    )


def _order(shift: Shift) -> None:
    lanes = sorted(shift.lanes.values(), key=lambda lane: (lane.lane == shift.rest, -lane.total.grams))
    shift.lanes = {lane.lane: lane for lane in lanes}
    shift.fibres = dict(sorted(shift.fibres.items(), key=lambda item: -item[1].grams))
    shift.bins = dict(sorted(shift.bins.items()))


def _bin_s(length: timedelta) -> int:
    return next((each for each in _BIN_S if length.total_seconds() / each <= _BINS), _BIN_S[-1])
