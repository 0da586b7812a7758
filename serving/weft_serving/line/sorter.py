"""From a piece to its decision, and what becomes of it until it has passed its ejector.

The policy on the air: a pulse is never knowingly fired into a piece of another lane. Where the air of one
piece reaches another that is still on the belt there, and that one is not wanted in the same lane, nothing is
fired. A command that is already out is withdrawn when such a neighbour is found in time.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Final, NamedTuple

from weft.line.decide import Choice, Decider
from weft.line.description import LineDescription
from weft.line.records import AlarmCode, Decision, Outcome, Piece, Place
from weft_serving.line.alarms import AlarmBoard, Clock
from weft_serving.line.sinks import Evidence
from weft_serving.line.tally import Figures, Tally
from weft_serving.line.telling import Teller
from weft_serving.line.timing import (
    Command,
    Shot,
    Travel,
    Withdrawal,
    aim,
    margin_counts,
    reaches_across,
)

_GUARD_S: Final = 0.06  # before its firing a pulse is held against what is under the camera
_LATE_ENDS_S: Final = 10.0
# While one of these is on, nothing is fired; by who holds it up. References that were offered and refused
# do not hold: those in use go on.
_HOLDING: Final[Mapping[str, frozenset[AlarmCode]]] = {
    "nir": frozenset({"encoder-still", "camera-silent", "engine-fault"}),
    "references": frozenset({"reference-missing", "reference-stale", "reference-saturated"}),
}


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A piece as it comes from the cameras' threads."""

    piece: Piece
    generation: int  # of its last line: older than the sorter's, and the belt under it has been lost
    seconds: float  # of our clock, when its last line came
    spoiled: AlarmCode | None  # what was wrong while it was under the camera
    simulated: bool


class _Neighbour(NamedTuple):
    """A piece as others' pulses meet it."""

    number: int
    place: Place
    lane: str
    shot: Shot | None  # None: it stays on the belt to its end

    def harmed_by(self, shot: Shot, lane: str) -> bool:
        """Whether a pulse for that lane would blow it too, and it does not belong there."""
        if not shot.reaches(self.place):
            return False
        gone = self.shot is not None and self.shot.ejector.position_mm < shot.ejector.position_mm
        return not (gone or (self.shot is not None and self.lane == lane))


@dataclass(slots=True, eq=False)
class Decided:
    """A piece between the camera and the last ejector, and what is said of it as things stand."""

    decision: Decision
    evidence: Evidence | None  # None: it has not been told yet
    choice: Choice
    decider: Decider  # that chose: rules may change before it reaches its ejector
    shot: Shot | None  # None: nothing is fired at it

    @property
    def neighbour(self) -> _Neighbour:
        piece = self.decision.piece
        return _Neighbour(piece.number, piece.place, self.decision.lane, self.shot)


class _Verdict(NamedTuple):
    outcome: Outcome
    reason: str
    shot: Shot | None


class Sorter:
    """Decides, commands, withdraws, counts. Safe for threads; it tells through the teller, never itself."""

    def __init__(
        self, description: LineDescription, travel: Travel, *, clock: Clock, board: AlarmBoard, teller: Teller
    ) -> None:
        self._description = description
        self._ejectors = {ejector.name: ejector for ejector in description.ejectors}
        self._last_mm = max(ejector.position_mm for ejector in description.ejectors)
        self._travel = travel
        self._clock = clock
        self._board = board
        self._teller = teller
        self._lock = RLock()
        self._belt: deque[Decided] = deque()
        self._decider: Decider | None = None
        self._tally = Tally()
        self.generation = 0

    def use(self, decider: Decider) -> None:
        """Decide by this one's rules from the next piece on."""
        with self._lock:
            self._decider = decider

    def chance(self, lane: str, piece: Piece) -> float:
        """Of the rules in force, calibrated; 0 for a lane they do not have."""
        assert self._decider is not None
        return self._decider.chance(lane, piece)

    def figures(self, now_s: float) -> Figures:
        """What has been counted, by the lanes of the rules in force."""
        with self._lock:
            assert self._decider is not None
            rules = self._decider.rules
            return self._tally.figures(now_s, (*(lane.name for lane in rules.lanes), rules.rest))

    def decide(self, sighting: Sighting) -> Decided:
        """Decide about one piece and command its ejector, if that is in time and does no harm.

        The command is out when this returns; nobody else is told before `tell`.
        """
        with self._lock:
            assert self._decider is not None
            decider, rules = self._decider, self._decider.rules
            choice = decider.decide(sighting.piece)
            now_s = self._clock.seconds()
            now = self._travel.encoder_at(now_s)
            verdict = self._judge(sighting, choice, now, rest=rules.rest)
            lane = rules.rest if verdict.outcome in {"late", "held"} else choice.lane
            neighbour = _Neighbour(sighting.piece.number, sighting.piece.place, lane, verdict.shot)
            if self._withdraw_into(neighbour, now):  # what is withdrawn stays on the belt, in this one's way
                verdict = self._judge(sighting, choice, now, rest=rules.rest)
            shot = verdict.shot
            if verdict.outcome in {"late", "held"}:
                decider.missed(choice)
            decision = Decision(
                piece=sighting.piece,
                lane=rules.rest if verdict.outcome in {"late", "held"} else choice.lane,
                wanted=choice.lane,
                reason=verdict.reason,
                rules_version=rules.version,
                expected_value=choice.expected_value,
                chance=None if choice.chance is None else min(1.0, choice.chance),
                ejector=choice.ejector,
                fire_encoder=None if shot is None else shot.fire_encoder,
                hold_encoder=None if shot is None else shot.hold_encoder,
                decided_encoder=now,
                latency_ms=max(0.0, now_s - sighting.seconds) * 1e3,
                outcome=verdict.outcome,
                simulated=sighting.simulated,
            )
            if shot is not None:
                number = sighting.piece.number
                self._teller.command(Command(number, shot.ejector.name, shot.fire_encoder, shot.hold_encoder))
            self._tally.add(decision, now_s)
            decided = Decided(decision, None, choice, decider, shot)
            self._belt.append(decided)
            self._forget(now)
        self._teller.deliver()
        self._watch_time(decision)
        return decided

    def tell(self, decided: Decided, evidence: Evidence) -> None:
        """Tell the sinks of a decision, as it stands now, and of every change from here on."""
        with self._lock:
            decided.evidence = evidence
            self._teller.decided(decided.decision, evidence)

    def withdraw_all(self, code: AlarmCode, now: int, *, anew: bool) -> None:
        """Take back every command that has not been carried out: the counts may not lead to the pieces.

        Args:
            now: Count at which the belt was when that began.
            anew: What follows counts in another measure.
        """
        with self._lock:
            self.generation += 1
            for item in list(self._belt):
                if item.shot is not None and now < item.shot.fire_encoder:
                    self._withdraw(item, f"held: {code} before its ejector", now)
            if anew:
                self._belt.clear()

    def lose(self, code: AlarmCode) -> None:
        """A part that saw the belt broke: what it may have missed must not be hit by what is out already."""
        self.withdraw_all(code, self._travel.encoder_at(self._clock.seconds()), anew=False)

    def guard(self, open_places: Iterable[Place]) -> None:
        """Withdraw what is about to be fired into a piece of which nothing is known yet.

        For the thread that decides, between two pieces: any other may find the piece just decided still open.
        """
        with self._lock:
            now = self._travel.encoder_at(self._clock.seconds())
            ahead = _GUARD_S * self._travel.speed.mm_per_s * self._description.belt.counts_per_mm
            for item in list(self._belt):
                shot = item.shot
                if shot is None or not 0 <= shot.fire_encoder - now <= ahead:
                    continue
                if any(shot.reaches(place) for place in open_places):
                    self._withdraw(item, "held: a piece still under the camera lies in its air", now)

    def _judge(self, sighting: Sighting, choice: Choice, now: int, *, rest: str) -> _Verdict:
        if choice.lane == rest:
            return _Verdict("passed", choice.reason, None)
        alarm = sighting.spoiled
        for source, codes in _HOLDING.items():
            alarm = alarm or self._board.first_of(codes, source)
        if alarm is not None:
            return _Verdict("held", f"held: {alarm} while it passed; wanted {choice.lane}", None)
        if sighting.generation != self.generation:
            return _Verdict("held", f"held: the encoder lost it; wanted {choice.lane}", None)
        if choice.ejector is None:
            return _Verdict("passed", choice.reason, None)
        place = sighting.piece.place
        ejector = self._ejectors[choice.ejector]
        if not reaches_across(ejector, place):
            return _Verdict("held", f"held: {ejector.name} does not reach it; wanted {choice.lane}", None)
        shot = aim(self._description, ejector, place, self._travel.speed.mm_per_s, now)
        if shot.fire_encoder - self._margin(shot) < now:
            behind_mm = (now + self._margin(shot) - shot.fire_encoder) / self._description.belt.counts_per_mm
            return _Verdict(
                "late", f"late by {behind_mm:.0f} mm for {ejector.name}; wanted {choice.lane}", None
            )
        for other in self._belt:
            if other.neighbour.harmed_by(shot, choice.lane):
                why = f"held: piece {other.neighbour.number} lies in its air; wanted {choice.lane}"
                return _Verdict("held", why, None)
        return _Verdict("fired", choice.reason, shot)

    def _margin(self, shot: Shot) -> float:
        return margin_counts(self._description, shot.ejector, self._travel.speed.mm_per_s)

    def _withdraw_into(self, neighbour: _Neighbour, now: int) -> bool:
        """Withdraw the pulses that would harm a piece that has just become known, or is left on the belt."""
        withdrawn = False
        for item in list(self._belt):
            if (
                item.shot is None
                or now >= item.shot.fire_encoder
                or item.neighbour.number == neighbour.number
            ):
                continue
            if neighbour.harmed_by(item.shot, item.decision.lane):
                self._withdraw(item, f"held: piece {neighbour.number} lies in its air", now)
                withdrawn = True
        return withdrawn

    def _withdraw(self, item: Decided, why: str, now: int) -> None:
        assert item.shot is not None
        old = item.decision
        item.decision = old.model_copy(
            update={
                "lane": item.decider.rules.rest,
                "reason": f"{why}; wanted {old.wanted}",
                "outcome": "held",
                "fire_encoder": None,
                "hold_encoder": None,
            }
        )
        self._teller.command(Withdrawal(old.piece.number, item.shot.ejector.name))
        item.shot = None
        item.decider.missed(item.choice)
        self._tally.correct(old, item.decision)
        if item.evidence is not None:
            self._teller.decided(item.decision, item.evidence)
        # It stays on the belt now: what is fired further down must not hit it.
        self._withdraw_into(item.neighbour, now)

    def _forget(self, now: int) -> None:
        """Drop what has passed the last ejector."""
        gone_mm = now / self._description.belt.counts_per_mm - self._last_mm - 500
        while self._belt and self._belt[0].decision.piece.place.last_mm < gone_mm:
            self._belt.popleft()

    def _watch_time(self, decision: Decision) -> None:
        slow = decision.latency_ms > self._description.decide_within_ms
        if decision.outcome != "late" and not slow:
            return
        self._board.begin(
            "late-decisions",
            "sorter",
            f"piece {decision.piece.number} was decided {decision.latency_ms:.0f} ms after its last line"
            + (", too late to be fired" if decision.outcome == "late" else "")
            + "; give the line more cores, less belt speed or ejectors further down",
            ends_after_s=_LATE_ENDS_S,
        )
