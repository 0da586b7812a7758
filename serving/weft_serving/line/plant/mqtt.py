"""A line's decisions, alarms and state over MQTT 5, so that a broker which goes away costs no record.

Topics, payloads and what is retained: `mqtt_messages`. Records go through the outbox and leave it when the
broker has acknowledged them; state and rules are sent as they are now; a command that is late is not sent.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import aiomqtt

from weft.line.records import Alarm, Decision, LineState, RulesInForce
from weft_serving.line.plant.intake import Intake, Tell
from weft_serving.line.plant.mqtt_broker import Broker
from weft_serving.line.plant.mqtt_client import Client, connected
from weft_serving.line.plant.mqtt_messages import (
    ALARMS,
    COMMAND_EXPIRES_S,
    Message,
    alarm_draft,
    command_message,
    command_of,
    kept_message,
    no_alarm,
    online_message,
    rules_message,
    state_message,
)
from weft_serving.line.plant.outbox import OUTBOX_BYTES, Letter, Outbox
from weft_serving.line.sinks import Evidence

_log: Final = logging.getLogger(__name__)
_BATCH: Final = 40  # letters on their way at once; paho lets 20 go unanswered, aiomqtt walks through all
_RETRY_S: Final = (0.2, 5.0)  # first and longest pause between two tries
_TICK_S: Final = 1.0  # how often a disk that was full is tried again
_LAST_WORDS_S: Final = 3.0  # for what still waits when the line is closed; the rest stays on disk
_JOIN_S: Final = 12.0
_T = TypeVar("_T")


class MqttSink:
    """One line's words to one broker, from a thread of its own.

    `alarm` is called from that thread: "broker-down" or "disk-full" with the cause, and with None at the end.

    Raises:
        LineError: The outbox cannot be used.
    """

    def __init__(
        self, line: str, broker: Broker, outbox: Path, *, alarm: Tell, most_bytes: int = OUTBOX_BYTES
    ) -> None:
        self._line = line
        self._broker = broker
        self._alarm = alarm
        self._outbox = Outbox(outbox, most_bytes=most_bytes)
        self._intake = Intake(line, self._outbox, alarm)
        self._active: dict[str, Alarm] = {}  # by code
        self._latest: dict[str, Message] = {}  # by topic: what is retained and not in the outbox
        self._unsent: set[str] = set()  # topics of it
        self._commands: deque[tuple[float, Decision]] = deque(maxlen=1_000)
        self._client: Client | None = None
        self._down = False
        self._closed = False
        self._disk = ThreadPoolExecutor(1, f"outbox-{line}")
        self._loop = asyncio.SelectorEventLoop()  # paho's sockets are watched; a proactor cannot
        self._wake, self._posted, self._fresh, self._stop = (asyncio.Event() for _ in range(4))
        self._thread = threading.Thread(target=self._run, name=f"mqtt-{line}", daemon=True)
        self._thread.start()

    @property
    def on_disk(self) -> int:
        """How many of the decisions and alarms handed over so far can no longer be lost."""
        return self._intake.on_disk

    @property
    def waiting(self) -> int:
        """How many records on disk the broker has not acknowledged."""
        return self._outbox.waiting

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        self._intake.hand(decision)
        self._rouse(self._wake)
        if decision.outcome in {"fired", "held"}:
            self._commands.append((time.monotonic(), decision))
            self._rouse(self._fresh)

    def alarmed(self, alarm: Alarm) -> None:
        if alarm.until is None:
            self._active[alarm.code] = alarm
        else:
            self._active.pop(alarm.code, None)
        self._intake.hand(alarm)
        self._rouse(self._wake)

    def stood(self, state: LineState) -> None:
        self._replace(state_message(state))

    def ruled(self, version: str, rules: Mapping[str, Any], at: datetime) -> None:
        """Tell what the lanes take from now on; `rules` as plain JSON values."""
        self._replace(rules_message(RulesInForce(line=self._line, version=version, at=at, rules=dict(rules))))

    def close(self) -> None:
        """Deliver what can be delivered within three seconds; the rest stays on disk for the next start."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_JOIN_S)

    def _replace(self, message: Message) -> None:
        self._latest[message.tail] = message
        self._unsent.add(message.tail)
        self._rouse(self._fresh)

    def _rouse(self, event: asyncio.Event) -> None:
        if not self._closed and not event.is_set():  # who is roused looks at what came after clearing it
            with contextlib.suppress(
                RuntimeError
            ):  # the thread has ended: what was handed over is lost to us
                self._loop.call_soon_threadsafe(event.set)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        finally:
            self._disk.shutdown()
            self._outbox.close()

    async def _main(self) -> None:
        self._loop.set_exception_handler(_quiet)
        filing = asyncio.create_task(self._kept_alive(self._file))
        sending = asyncio.create_task(self._kept_alive(self._connect))
        await self._stop.wait()
        await _ended(filing)
        await self._on_disk(self._intake.file)
        self._posted.set()
        await self._last_words()
        await _ended(sending)

    async def _kept_alive(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """A fault of ours is told of and the work begun again: the line must not go quiet without a word."""
        while True:
            try:
                await work()
            except Exception as error:
                _log.exception("line %s: MQTT broke and is begun again", self._line)
                self._alarm("engine-fault", f"MQTT broke ({error!r}) and was begun again; report it")
                await asyncio.sleep(_RETRY_S[1])
                self._alarm("engine-fault", None)

    async def _on_disk(self, call: Callable[..., _T], *given: Any) -> _T:
        return await self._loop.run_in_executor(self._disk, call, *given)

    async def _file(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK_S):
                    await self._wake.wait()
            self._wake.clear()
            await self._on_disk(self._intake.file)
            self._posted.set()

    async def _connect(self) -> None:
        pause_s = _RETRY_S[0]
        while True:
            try:
                async with connected(
                    self._broker, self._line, f"weft-{self._line}-{self._outbox.name}"
                ) as client:
                    await _first_of(client.refused(), self._greet(client))
                    self._client = client
                    talks = (self._listen(client), self._send_kept(client), self._send_fresh(client))
                    await _first_of(client.refused(), *talks)
            except (aiomqtt.MqttError, OSError) as error:
                pause_s = _RETRY_S[0] if not self._down else min(2 * pause_s, _RETRY_S[1])
                self._lost(error)
            finally:
                self._client = None
            await asyncio.sleep(pause_s)

    def _lost(self, error: Exception) -> None:
        if self._down:
            return
        self._down = True
        why = str(error) or type(error).__name__
        if "Disconnected" in why or "not currently connected" in why:  # aiomqtt's words for its own users
            why = "the connection broke"
        self._alarm(
            "broker-down",
            f"the broker {self._broker.shown} is not there ({why}); records wait on disk and go out when it "
            "is back, no command is given over MQTT meanwhile; check the broker, the network and our rights",
        )

    async def _greet(self, client: Client) -> None:
        """All that is retained, anew: the broker may have forgotten it."""
        self._commands.clear()  # none that was due while nobody was there
        await client.say(online_message(self._line, online=True))
        await client.hear(ALARMS + "+")
        self._unsent |= set(self._latest)
        self._fresh.set()
        for alarm in list(self._active.values()):
            await client.say(kept_message(self._line, alarm_draft(alarm), retain=True))

    async def _listen(self, client: Client) -> None:
        """Take back alarms that an earlier run left retained: kill -9 leaves nobody to do it."""
        async for heard in client.messages:
            code = str(heard.topic).rsplit("/", 1)[-1]
            if heard.retain and heard.payload and code not in self._active:
                await client.say(no_alarm(self._line, code))

    async def _send_kept(self, client: Client) -> None:
        while True:
            self._posted.clear()
            letters = await self._on_disk(self._outbox.oldest, _BATCH)
            await asyncio.gather(*(self._send_letter(client, letter) for letter in letters))
            await self._on_disk(self._outbox.delivered, letters)
            if self._down:  # only now: a broker that lets us in and takes nothing is not back
                self._down = False
                self._alarm("broker-down", None)
            if not letters:
                await self._posted.wait()

    async def _send_letter(self, client: Client, letter: Letter) -> None:
        draft = letter.draft
        if draft.kind != "alarm":
            await client.say(kept_message(self._line, draft))
            return
        code, _, began = draft.label.partition("/")
        lasting = self._active.get(code)
        # one that is over by now would never be taken back if it were retained
        retain = lasting is not None and alarm_draft(lasting).label == draft.label
        await client.say(kept_message(self._line, draft, retain=retain))
        if began.endswith("/end") and code not in self._active:
            await client.say(no_alarm(self._line, code))

    async def _send_fresh(self, client: Client) -> None:
        while True:
            await self._fresh.wait()
            self._fresh.clear()
            messages = [self._latest[self._unsent.pop()] for _ in range(len(self._unsent))]
            while self._commands:
                at, decision = self._commands.popleft()
                command = command_of(decision)
                if command is not None and time.monotonic() - at < COMMAND_EXPIRES_S:
                    messages.append(command_message(command))
            await asyncio.gather(*(client.say(message) for message in messages))

    async def _last_words(self) -> None:
        until = self._loop.time() + _LAST_WORDS_S
        while self._client and (self._outbox.waiting or self._unsent) and self._loop.time() < until:
            await asyncio.sleep(0.02)
        if self._client:
            with contextlib.suppress(aiomqtt.MqttError):
                await self._client.say(online_message(self._line, online=False))


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """aiomqtt watches a socket that has just been closed, where a broker goes while we connect: no news."""
    if isinstance(context.get("exception"), OSError):
        _log.debug("MQTT: %s", context["message"])
    else:
        loop.default_exception_handler(context)


async def _ended(task: asyncio.Task[None]) -> None:
    while not task.done():  # Python 3.11's wait_for, which aiomqtt uses, may swallow a cancellation
        task.cancel()
        await asyncio.wait([task], timeout=0.2)
    if not task.cancelled():
        task.exception()  # told of where it came first


async def _first_of(*talks: Coroutine[Any, Any, None]) -> None:
    """Run until one ends, and end the others; raises what ended it."""
    tasks = [asyncio.create_task(talk) for talk in talks]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            await _ended(task)
