"""Telling sinks and those who switch valves, in order, from whichever thread has time, never under a lock."""

from collections import deque
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from weft.line.records import Alarm, Decision, LineState
from weft_serving.line.alarms import AlarmBoard
from weft_serving.line.sinks import Evidence, Sink
from weft_serving.line.timing import Command, Withdrawal

To = TypeVar("To")
Listener = Callable[[Command | Withdrawal], object]
_FAULT_ENDS_S = 5.0


class Teller:
    """Keeps the order of what is told. A sink that raises is an alarm, not the end of the line."""

    def __init__(self, board: AlarmBoard) -> None:
        self._board = board
        self._sinks: tuple[Sink, ...] = ()
        self._listeners: tuple[Listener, ...] = ()
        self._untold: deque[Callable[[], None]] = deque()
        self._telling = Lock()
        self._joining = Lock()

    @property
    def sinks(self) -> tuple[Sink, ...]:
        return self._sinks

    def subscribe(self, sink: Sink) -> Callable[[], None]:
        """Tell a sink everything from now on; call what is returned to end that."""
        with self._joining:
            self._sinks = (*self._sinks, sink)

        def leave() -> None:
            with self._joining:
                self._sinks = tuple(one for one in self._sinks if one is not sink)

        return leave

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Commands go to the listener from now on; call what is returned to end that."""
        with self._joining:
            self._listeners = (*self._listeners, listener)

        def leave() -> None:
            with self._joining:
                self._listeners = tuple(one for one in self._listeners if one is not listener)

        return leave

    def command(self, order: Command | Withdrawal) -> None:
        self._untold.append(lambda: self._each(self._listeners, lambda listener: listener(order)))

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        self._untold.append(lambda: self._each(self._sinks, lambda sink: sink.decided(decision, evidence)))

    def stood(self, state: LineState) -> None:
        self._untold.append(lambda: self._each(self._sinks, lambda sink: sink.stood(state)))

    def deliver(self) -> None:
        """Tell what is waiting, unless another thread is at it: then that one tells this too."""
        for alarm in self._board.drain():
            self._untold.append(self._alarmed(alarm))
        while self._untold and self._telling.acquire(blocking=False):
            try:
                while self._untold:
                    self._untold.popleft()()
            finally:
                self._telling.release()

    def _alarmed(self, alarm: Alarm) -> Callable[[], None]:
        return lambda: self._each(self._sinks, lambda sink: sink.alarmed(alarm))

    def _each(self, receivers: tuple[To, ...], tell: Callable[[To], object]) -> None:
        for receiver in receivers:
            try:
                tell(receiver)
            except Exception as error:  # whatever it is: the belt goes on
                name = type(receiver).__name__
                self._board.begin(
                    "engine-fault",
                    f"sink {name}",
                    f"{name} broke with {type(error).__name__} ({error}); the line goes on without it for "
                    "now; see the log and report it",
                    ends_after_s=_FAULT_ENDS_S,
                )
