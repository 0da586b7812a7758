"""Alarms of one line: begun with a cause, ended by themselves when the cause has gone, told once each way."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Final, NamedTuple, Protocol

from weft.line.records import Alarm, AlarmCode

QUIET_S: Final = 1.0  # a fault of single frames is over when none came for this long

Report = Callable[[AlarmCode, str | None], None]  # a cause begins or goes on, None ends


class Clock(Protocol):
    """The two clocks of a line. Tests bring their own."""

    def seconds(self) -> float:
        """Never jumps and counts from anywhere: for what takes how long."""
        ...

    def now(self) -> datetime:
        """UTC, for people: somebody may set it at any time."""
        ...


class SteadyTime:
    """The time by which references age: read from the wall once, then counted by the steady clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at, self._seconds = clock.now(), clock.seconds()

    def now(self) -> datetime:
        return self._at + timedelta(seconds=self._clock.seconds() - self._seconds)

    def of(self, moment: datetime) -> datetime:
        """A moment that somebody has just read from the wall, on this time."""
        return moment + (self.now() - self._clock.now())


_CAUSES: Final = 3  # told of one alarm that several sources hold up


class _Source(NamedTuple):
    cause: str
    ends_after_s: float | None  # without another report; None: until it is ended
    last_s: float


class _Active:
    def __init__(self, since: datetime) -> None:
        self.since = since
        self.count = 0
        self.sources: dict[str, _Source] = {}
        self.last_cause = ""


class AlarmBoard:
    """What is wrong now. Several sources (two cameras, two sinks) may hold up one alarm; safe for threads.

    It calls nobody: what has to be told is taken with `drain`, so that whoever reports may hold locks.
    """

    def __init__(self, line: str, clock: Clock) -> None:
        self._line = line
        self._clock = clock
        self._lock = Lock()
        self._active: dict[AlarmCode, _Active] = {}
        self._untold: list[Alarm] = []

    def begin(self, code: AlarmCode, source: str, cause: str, *, ends_after_s: float | None = None) -> None:
        """Begin an alarm, or let another source hold it up too: either is told.

        With `ends_after_s` every repetition counts, and without one it ends; else it is a state, which may be
        reported as often as one likes until it is ended.
        """
        with self._lock:
            active = self._active.get(code)
            if active is None:
                active = self._active[code] = _Active(self._clock.now())
            new = source not in active.sources
            if ends_after_s is not None or new:
                active.count += 1
            active.last_cause = cause
            active.sources[source] = _Source(cause, ends_after_s, self._clock.seconds())
            if new:
                self._untold.append(self._alarm(code, active))

    def end(self, code: AlarmCode, source: str) -> None:
        """One source is well again; the alarm ends with its last source."""
        with self._lock:
            active = self._active.get(code)
            if active is not None and active.sources.pop(source, None) is not None and not active.sources:
                self._finish(code, active)

    def report(self, source: str) -> Report:
        """The callback for a part that knows itself when its trouble begins and ends."""

        def tell(code: AlarmCode, cause: str | None) -> None:
            if cause is None:
                self.end(code, source)
            else:
                self.begin(code, source, cause)

        return tell

    def expire(self) -> None:
        """End what has not been repeated for long enough."""
        now_s = self._clock.seconds()
        with self._lock:
            for code, active in list(self._active.items()):
                for name, source in list(active.sources.items()):
                    if source.ends_after_s is not None and now_s - source.last_s >= source.ends_after_s:
                        del active.sources[name]
                if not active.sources:
                    self._finish(code, active)

    def drain(self) -> list[Alarm]:
        """Beginnings and ends that nobody has been told of, in order."""
        with self._lock:
            told, self._untold = self._untold, []
            return told

    def active(self) -> tuple[Alarm, ...]:
        with self._lock:
            return tuple(self._alarm(code, active) for code, active in self._active.items())

    def first_of(self, codes: frozenset[AlarmCode], source: str) -> AlarmCode | None:
        """One of these alarms that is on and held up by `source`."""
        with self._lock:
            for code, active in self._active.items():
                if code in codes and source in active.sources:
                    return code
        return None

    def _finish(self, code: AlarmCode, active: _Active) -> None:
        del self._active[code]
        self._untold.append(self._alarm(code, active, until=self._clock.now()))

    def _alarm(self, code: AlarmCode, active: _Active, until: datetime | None = None) -> Alarm:
        # Of two silent cameras both are named, each once.
        causes = dict.fromkeys(source.cause for source in active.sources.values())
        cause = "; also: ".join(list(causes)[:_CAUSES]) or active.last_cause
        return Alarm(
            line=self._line, code=code, cause=cause, since=active.since, until=until, count=active.count
        )
