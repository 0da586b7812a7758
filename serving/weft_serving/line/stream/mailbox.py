"""What waits to be sent to one connection of a line: bounded, commands first, what is lost is counted."""

import asyncio
from collections import deque
from contextlib import suppress
from threading import Lock
from typing import Any, Final, Literal

from weft.line.records import Alarm, Decision, LineState
from weft_serving.line.sinks import Evidence
from weft_serving.line.timing import Command, Withdrawal

Kind = Literal["command", "decision", "alarm", "state"]
Message = dict[str, Any]
_COMMANDS: Final = 256  # commands, withdrawals, problems; a second of a belt asks for a dozen
_OTHERS: Final = 1_000


class Mailbox:
    """A line's sink and listener for one connection. Filled from any thread, emptied in the event loop.

    A reader who is too slow loses the oldest messages, never the newest, and is told how many. Of the state
    and of the acknowledgement only the last one waits: it says all that the earlier ones said.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, tell: frozenset[Kind]) -> None:
        self._loop = loop
        self._tell = tell
        self._lock = Lock()
        self._ready = asyncio.Event()
        self._commands: deque[Message] = deque()
        self._others: deque[tuple[Kind, Decision | Alarm]] = deque()
        self._state: LineState | None = None
        self._taken: Message | None = None
        self._lost = 0

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        self._add_other("decision", decision)

    def alarmed(self, alarm: Alarm) -> None:
        self._add_other("alarm", alarm)

    def stood(self, state: LineState) -> None:
        if "state" in self._tell:
            self._state = state
            self._wake()

    def command(self, given: Command | Withdrawal) -> None:
        """Queue a command or its withdrawal, which overtake all that is not as urgent."""
        if "command" in self._tell:
            kind = "command" if isinstance(given, Command) else "withdrawal"
            self.say({"type": kind, **given._asdict()})

    def say(self, message: Message) -> None:
        """Queue a message for this connection alone, such as a problem with what it sent."""
        with self._lock:
            if len(self._commands) >= _COMMANDS:
                self._commands.popleft()
                self._lost += 1
            self._commands.append(message)
        self._wake()

    def acknowledge(self, taken: Message) -> None:
        self._taken = taken
        self._wake()

    def close(self) -> None:
        """Nothing to deliver: the connection goes with the service."""

    async def next(self) -> Message:
        """The most urgent message; waits for one."""
        while True:
            self._ready.clear()
            found = self._pop()
            if found is not None:
                return found
            await self._ready.wait()

    def _add_other(self, kind: Kind, record: Decision | Alarm) -> None:
        if kind not in self._tell:
            return
        with self._lock:
            if len(self._others) >= _OTHERS:
                self._others.popleft()
                self._lost += 1
            self._others.append((kind, record))
        self._wake()

    def _pop(self) -> Message | None:
        with self._lock:
            if self._commands:
                return self._commands.popleft()
            if self._lost:
                lost, self._lost = self._lost, 0
                return {"type": "lost", "messages": lost}
            if self._taken is not None:
                taken, self._taken = self._taken, None
                return taken
            if self._others:
                kind, record = self._others.popleft()
                return {"type": kind, kind: record.model_dump(mode="json")}
            if self._state is not None:
                state, self._state = self._state, None
                return {"type": "state", "state": state.model_dump(mode="json")}
            return None

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended: so has the connection
            self._loop.call_soon_threadsafe(self._ready.set)
