"""A line in service: frames in, decisions out in time, whatever goes wrong. One of these for each belt.

Frames are judged where they arrive, worked on in one thread for each camera, and everything is told by
whichever of these threads has something to tell. Without `start` nothing runs by itself: `step` does it all
in the caller's thread, in order, so that tests are the same each time.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from weft.errors import FrameError, LineReferenceError, RuleError
from weft.line.decide import Decider
from weft.line.description import LineDescription
from weft.line.frames import Frame
from weft.line.lanes import Lane
from weft.line.outcomes import trial_outcomes
from weft.line.reader import BeltReader
from weft.line.records import AlarmCode, LineState, Piece
from weft.line.rules import LaneRules, rules_from_text
from weft_serving.line.alarms import QUIET_S, AlarmBoard, Clock, Report, SteadyTime
from weft_serving.line.arriving import Arrivals
from weft_serving.line.haste import hasten_thread, switch_often
from weft_serving.line.inbox import Job
from weft_serving.line.see.reference_folder import ReferenceFolder
from weft_serving.line.see.references import References
from weft_serving.line.see.seeing import REFERENCE_CODES, Seeing
from weft_serving.line.see.sighting import Colours, Sightings
from weft_serving.line.sinks import Sink
from weft_serving.line.sorter import Sorter
from weft_serving.line.telling import Listener, Teller
from weft_serving.line.timing import Travel

_TICK_S: Final = 0.02
_STATE_S: Final = 1.0
_COVERAGE: Final = 0.9  # of margins as wide as can be, where the bundle has none
_WALL_JUMP_S: Final = 0.5
_RULES_END_S: Final = 60.0  # rules that were refused are not news for longer
_REFERENCES: Final = "references"


class SystemClock:
    """The machine's clocks."""

    def seconds(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a line works with beside its description and rules."""

    reader: BeltReader
    clock: Clock
    references: References | None = None  # None: from the description's folder, else with the stream
    threads: int = 2  # that read pixels


class LineEngine:
    """One line. Safe for threads; but for `change_rules` and `close`, everything returns at once."""

    def __init__(self, description: LineDescription, rules: LaneRules, tools: Tools) -> None:
        self.description = description
        self._tools = tools
        self._clock = tools.clock
        self._steady = SteadyTime(tools.clock)
        self._board = AlarmBoard(description.name, tools.clock)
        self._teller = Teller(self._board)
        self._travel = Travel(description)
        self._sorter = Sorter(
            description, self._travel, clock=tools.clock, board=self._board, teller=self._teller
        )
        self._arrivals = Arrivals(
            description, clock=tools.clock, board=self._board, travel=self._travel, sorter=self._sorter
        )
        self._colours = Colours(description)
        self._sightings = Sightings(description, tools.reader, self._colours)
        self._seeing = Seeing(
            description,
            tools.reader,
            self._sightings,
            self._colours,
            self._sorter,
            travel=self._travel,
            clock=tools.clock,
            steady=self._steady,
            board=self._board,
            threads=tools.threads,
        )
        self._changing = threading.Lock()
        self._rules = rules
        self._sorter.use(self._decider(rules))
        if tools.references is not None:
            self._seeing.use_references(tools.references)
        folder = description.references.folder
        self._folder = (
            None
            if folder is None or tools.references is not None
            else ReferenceFolder(folder, description.nir, max_age_s=description.references.max_age_s)
        )
        self._wall = (tools.clock.now(), tools.clock.seconds())
        self._state_at = self._slow_at = -1e9
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._look_after()

    @property
    def rules(self) -> LaneRules:
        return self._rules

    @property
    def dropped_frames(self) -> int:
        return self._arrivals.dropped_frames

    @property
    def waiting_rows(self) -> int:
        """Of the NIR camera, that no thread has taken up yet."""
        return self._arrivals.nir_inbox.rows

    def take(self, frame: Frame) -> None:
        """A frame came. What is wrong with it becomes an alarm, never an error."""
        self._arrivals.take(frame)

    def refuse(self, sensor: str | None, error: FrameError) -> None:
        """A message came that is no frame."""
        self._arrivals.refuse(sensor, str(error))

    def subscribe(self, sink: Sink) -> Callable[[], None]:
        """Tell a sink everything from now on; call what is returned to end that."""
        return self._teller.subscribe(sink)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Commands and withdrawals go to the listener at once; call what is returned to end that."""
        return self._teller.listen(listener)

    def go_on_from(self, last_number: int) -> None:
        """Number pieces after those of an earlier run; before the first frame."""
        self._sightings.go_on_from(last_number)

    def chance(self, lane: Lane, piece: Piece) -> float:
        """How likely a piece truly is what a lane takes, as the decisions reckon it."""
        return self._sorter.chance(lane.name, piece)

    def alarm_of(self, source: str) -> Report:
        """The callback by which a sink tells of its own trouble."""
        return self._board.report(source)

    def check_rules(self, text: str) -> LaneRules:
        """Read rules for this line. Raises RuleError with all findings; that is an alarm too for a while."""
        try:
            return rules_from_text(text, self.description, self._tools.reader.fibres)
        except RuleError as error:
            cause = f"new rules were refused, version {self._rules.version} stays: {error}"
            self._board.begin("bad-rules", "rules", cause, ends_after_s=_RULES_END_S)
            raise

    def change_rules(self, rules: LaneRules) -> None:
        """Decide by these from the next piece on. Takes about a second; the belt does not wait for it."""
        with self._changing:
            self._sorter.use(self._decider(rules))
            self._rules = rules
            self._board.end("bad-rules", "rules")

    def state(self) -> LineState:
        figures = self._sorter.figures(self._clock.seconds())
        speed, running = self._travel.speed.mm_per_s, self._arrivals.running
        references = self._seeing.references
        card = self._tools.reader.bundle.card
        first = min(self.description.ejectors, key=lambda ejector: ejector.position_mm)
        away_mm = first.position_mm - self.description.nir.position_mm
        return LineState(
            line=self.description.name,
            at=self._clock.now(),
            running=running,
            rules_version=self._rules.version,
            bundle_sha256=self._tools.reader.bundle.sha256,
            trained_on=card.trained_on,
            encoder=self._travel.encoder,
            speed_mm_per_s=speed if running else 0.0,
            pieces=figures.pieces,
            pieces_per_min=figures.pieces_per_min,
            kg_per_h=figures.kg_per_h,
            latency_p50_ms=None if figures.latency_ms is None else figures.latency_ms[0],
            latency_p99_ms=None if figures.latency_ms is None else figures.latency_ms[1],
            deadline_ms=away_mm / speed * 1e3 - first.delay_ms if speed > 0 else None,
            reference_age_s=None if references is None else references.age_s(self._steady.now()),
            lanes=figures.lanes,
            alarms=self._board.active(),
            dropped_frames=self.dropped_frames,
        )

    def step(self) -> None:
        """Do all that waits, in the caller's thread. Not beside `start`."""
        while (job := self._arrivals.colour_inbox.get(0)) is not None:
            self._see_colour(job)
        while (job := self._arrivals.nir_inbox.get(0)) is not None:
            self._see_nir(job)
        self._tick()
        self._see_nir(None)
        self._teller.deliver()

    def start(self) -> None:
        """Run by itself until `close`."""
        switch_often()
        for name, run in (("nir", self._run_nir), ("colour", self._run_colour), ("watch", self._run_watch)):
            thread = threading.Thread(target=run, name=f"weft-{self.description.name}-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Stop, tell what is left, and close the sinks."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=10)
        self._teller.deliver()
        self._seeing.close()
        for sink in self._teller.sinks:
            sink.close()

    def _run_nir(self) -> None:
        hasten_thread()
        while not self._stopping.is_set():
            self._see_nir(self._arrivals.nir_inbox.get(_TICK_S))
            self._teller.deliver()

    def _run_colour(self) -> None:
        while not self._stopping.is_set():
            job = self._arrivals.colour_inbox.get(_TICK_S * 5)
            if job is not None:
                self._see_colour(job)

    def _run_watch(self) -> None:
        hasten_thread()
        while not self._stopping.wait(_TICK_S):
            try:
                self._tick()
                self._teller.deliver()
            except Exception as error:
                self._fault("watch", error)

    def _see_nir(self, job: Job | None) -> None:
        try:
            if job is None:
                self._seeing.settle()
            else:
                self._seeing.do(job)
        except Exception as error:  # a fault of ours in one frame must not stop the belt
            self._fault("nir", error)
            self._sorter.lose("engine-fault")
            if job is not None:
                self._seeing.recover(job)
        self._sorter.guard(self._seeing.open)

    def _see_colour(self, job: Job) -> None:
        assert job.frame is not None
        try:
            travel_mm = self.description.travel_mm(int(job.frame.encoder[0]))
            self._colours.add(job.frame, travel_mm)
        except FrameError as error:
            self._arrivals.refuse("colour", str(error))
        except Exception as error:
            self._fault("colour", error)

    def _fault(self, part: str, error: Exception) -> None:
        self._board.begin(
            "engine-fault",
            part,
            f"the part that does {part} broke with {type(error).__name__} ({error}) and was started again; "
            "what it did not see goes to the rest; please report it",
            ends_after_s=QUIET_S,
        )

    def _tick(self) -> None:
        """What time alone brings: silence, age, the end of alarms, the state once a second."""
        now_s = self._clock.seconds()
        self._arrivals.watch()
        self._board.expire()
        if now_s - self._slow_at >= _STATE_S / 2:
            self._slow_at = now_s
            self._look_after()
        if now_s - self._state_at >= _STATE_S:
            self._state_at = now_s
            self._teller.stood(self.state())

    def _look_after(self) -> None:
        self._watch_wall()
        self._look_into_folder()
        references = self._seeing.references
        if references is None:
            cause = "no white and dark references yet; send both, or name their folder in the line's file"
            self._hold_references("reference-missing", cause)
            return
        try:
            references.check_age(self._steady.now())
        except LineReferenceError as error:
            self._hold_references(error.code, str(error))
            return
        self._hold_references(None, "")
        doubt = self._seeing.doubt()
        if doubt is None:
            self._board.end("reference-stale", "doubt")
        else:
            self._board.begin("reference-stale", "doubt", doubt)

    def _look_into_folder(self) -> None:
        if self._folder is None:
            return
        try:
            made = self._folder.news()
        except LineReferenceError as error:
            self._board.begin(error.code, "reference folder", str(error))
            return
        if made is not None:
            for code in REFERENCE_CODES:
                self._board.end(code, "reference folder")
            self._arrivals.refer(replace(made, taken_at=self._steady.of(made.taken_at)))

    def _hold_references(self, code: AlarmCode | None, cause: str) -> None:
        for other in REFERENCE_CODES:
            if other != code:
                self._board.end(other, _REFERENCES)
        if code is not None:
            self._board.begin(code, _REFERENCES, cause)

    def _watch_wall(self) -> None:
        """Somebody sets this machine's clock: nothing here is reckoned with it, but times in records are."""
        now, seconds = self._clock.now(), self._clock.seconds()
        jump_s = (now - self._wall[0]).total_seconds() - (seconds - self._wall[1])
        self._wall = (now, seconds)
        if abs(jump_s) > _WALL_JUMP_S:
            self._board.begin(
                "clock-jump",
                "host",
                f"this machine's clock jumped by {jump_s:+.1f} s; decisions and ages do not depend on it, "
                "times in the records do; let NTP or PTP slew it",
                ends_after_s=10 * QUIET_S,
            )

    def _decider(self, rules: LaneRules) -> Decider:
        reader = self._tools.reader
        coverage = reader.bundle.card.coverage
        return Decider(
            rules,
            description=self.description,
            coverage=_COVERAGE if coverage is None else coverage,
            outcomes=trial_outcomes(reader),
        )
