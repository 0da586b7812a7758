"""A camera's or a controller's side of `WS /v1/lines/{line}`: it stays connected, and loses nothing silently.

    async with LineClient("ws://127.0.0.1:8000/v1/lines/demo", sensor="nir") as client:
        await client.send(lines_frame(lines, number=0, encoder=counts, timestamp_ns=time.time_ns()))
        async for message in client:
            if isinstance(message, Command):
                open_the_valve(message.ejector, message.fire_encoder, message.hold_encoder)

A connection that breaks is opened anew, after a wait that grows to 5 s. The server then says what it has of
this client's frames; the rest is sent again in the order of the cameras, and nothing twice.
"""

import asyncio
import json
import random
import threading
import uuid
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from weft.errors import LineError
from weft.line.description import LineDescription
from weft.line.frames import Frame, Sensor, pack
from weft.line.records import LineState
from weft_serving.line.stream.messages import Connected, Lost, Message, read_message, read_record

Tell = Literal["command", "decision", "alarm", "state"]
ALL: Final[tuple[Tell, ...]] = ("command", "decision", "alarm", "state")
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
_GREETING_S: Final = 30.0
_UNREAD: Final = 10_000  # messages that wait for a reader


_Answer = TypeVar("_Answer")


@dataclass(slots=True, eq=False)
class _Packed:
    sensor: Sensor
    number: int
    data: bytes
    sent: bool = False


class LineClient:
    """One connection to a line, kept open. Use it as `async with`, from one event loop.

    Args:
        url: `ws://host:port/v1/lines/NAME`, or wss.
        sensor: What `send` will be given: "nir" (with white and dark), "colour" or "all"; None only listens.
        tell: What comes back beside problems.
        token: The server's WEFT_LINE_TOKEN, where it has one.
        buffer_bytes: Of frames not yet acknowledged; with more, `send` waits and `offer` drops the oldest.
        patience_s: Give up when the server could not be reached for so long; None: never.
    """

    def __init__(
        self,
        url: str,
        *,
        sensor: Literal["nir", "colour", "all"] | None = None,
        tell: Sequence[Tell] = ALL,
        token: str | None = None,
        buffer_bytes: int = 200_000_000,
        patience_s: float | None = None,
    ) -> None:
        self._url = url
        self._greeting = {
            "sensor": sensor,
            "listen": True,
            "tell": list(tell),
            "session": uuid.uuid4().hex,
            "token": token,
        }
        self._most_bytes = buffer_bytes
        self._patience_s = patience_s
        self._frames: deque[_Packed] = deque()  # not acknowledged, in the order they were given
        self._bytes = 0
        self._sent = self._answered = 0  # messages of this connection; those that the server has looked at
        self._messages: deque[Message] = deque()
        self._lost = 0
        self._changed = asyncio.Condition()
        self._running: asyncio.Task[None] | None = None
        self._fault: LineError | None = None
        self._closed = False
        self.description: LineDescription | None = None  # the server's, once connected
        self.state: LineState | None = None  # as it was when connected
        self.connections = 0  # opened so far; more than one: it had to come back
        self.dropped_here = 0  # frames given up by `offer`, because none got through
        self.dropped_there = 0  # frames that the line itself gave up, of all its cameras

    async def __aenter__(self) -> Self:
        """Connect. Raises LineError where the server refuses, or cannot be reached within `patience_s`."""
        self._running = asyncio.create_task(self._run())
        async with self._changed:
            await self._changed.wait_for(lambda: self.connections > 0 or self._fault is not None)
        if self._fault is not None:
            await self.close(drain_s=0)
            raise self._fault
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await self.close(drain_s=5.0 if kind is None else 0.0)

    @property
    def unacknowledged(self) -> int:
        """Frames that the line has not yet said to have taken."""
        return len(self._frames)

    async def send(self, frame: Frame) -> None:
        """Queue a frame; waits while `buffer_bytes` are on their way. LineError once it has given up."""
        packed = _Packed(frame.sensor, frame.number, pack(frame))
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._ended or not self._frames or self._bytes + len(packed.data) <= self._most_bytes
            )
            self._check()
            self._add(packed)
            self._changed.notify_all()

    async def offer(self, frame: Frame) -> bool:
        """Queue a frame without waiting, as a camera has to, dropping the oldest that has not gone out.

        False where even so there is no room: this frame is dropped. `dropped_here` counts all of them.
        """
        packed = _Packed(frame.sensor, frame.number, pack(frame))
        async with self._changed:
            self._check()
            fits = self._make_room(len(packed.data))
            if fits:
                self._add(packed)
                self._changed.notify_all()
            return fits

    async def drain(self, seconds: float) -> bool:
        """Wait until every frame is acknowledged; False where that took longer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._ended or not self._frames)
        return not self._frames

    async def close(self, *, drain_s: float = 5.0) -> None:
        """Wait for what is on its way, then hang up."""
        if drain_s > 0:
            await self.drain(drain_s)
        self._closed = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        async with self._changed:
            self._changed.notify_all()

    async def __aiter__(self) -> AsyncIterator[Message]:
        """Messages as they come, until closed. Raises LineError once it has given up."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._messages or self._ended)
                if self._lost:
                    found: Message = Lost(self._lost)
                    self._lost = 0
                elif self._messages:
                    found = self._messages.popleft()
                elif self._fault is not None:
                    raise self._fault
                else:
                    return
            yield found

    @property
    def _ended(self) -> bool:
        return self._closed or self._fault is not None

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault
        if self._closed:
            raise ValueError("the client is closed")

    def _make_room(self, size: int) -> bool:
        unsent = (each for each in list(self._frames) if not each.sent)
        while self._frames and self._bytes + size > self._most_bytes:
            oldest = next(unsent, None)
            self.dropped_here += 1
            if oldest is None:
                return False
            self._forget(oldest)
        return True

    def _add(self, packed: _Packed) -> None:
        self._frames.append(packed)
        self._bytes += len(packed.data)

    async def _run(self) -> None:
        """Keep a connection until closed, refused or out of patience."""
        clock = asyncio.get_running_loop().time
        wait, since = _FIRST_WAIT_S, clock()
        while True:
            before = self.connections
            reason = "hung up"
            try:
                await self._hold_one()
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            except (LineError, InvalidURI) as error:
                return await self._give_up(str(error))
            if self.connections > before:
                wait, since = _FIRST_WAIT_S, clock()
            if self._patience_s is not None and clock() - since >= self._patience_s:
                return await self._give_up(
                    f"cannot be reached since {clock() - since:.1f} s ({reason}); see whether the server runs"
                )
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # many clients do not come back at once
            wait = min(2 * wait, _LONGEST_WAIT_S)

    async def _give_up(self, reason: str) -> None:
        self._fault = LineError(f"{self._url}: {reason}")
        async with self._changed:
            self._changed.notify_all()

    async def _hold_one(self) -> None:
        """One connection from its greeting to its end."""
        # Compression would cost more than the network does: raw counts hardly shrink.
        async with connect(
            self._url, max_size=None, compression=None, ping_interval=5, ping_timeout=15
        ) as socket:
            with suppress(ConnectionClosed):  # a server that is full says so and hangs up: read why
                await socket.send(json.dumps(self._greeting))
            await self._begin(json.loads(await asyncio.wait_for(socket.recv(), _GREETING_S)))
            writing = asyncio.create_task(self._write(socket))
            try:
                while True:
                    told = json.loads(await socket.recv())
                    await self._take(told)
            finally:
                writing.cancel()
                await asyncio.wait([writing])
                if not writing.cancelled():
                    writing.exception()  # the end of the connection, which the reading has met too

    async def _begin(self, welcome: Mapping[str, Any]) -> None:
        """Take the server's first answer: what it has of our frames need not go out again."""
        if welcome["type"] == "problem":
            if welcome["status"] >= 500:  # busy: it may have room in a moment
                raise OSError(welcome["detail"])
            raise LineError(f"refused: {welcome['detail']}")
        self.description = read_record(LineDescription, welcome["description"])
        async with self._changed:
            taken: Mapping[str, int] = welcome["taken"]
            had = [each for each in self._frames if each.sent and each.number <= taken.get(each.sensor, -1)]
            for packed in had:
                self._forget(packed)
            resent = sum(each.sent for each in self._frames)
            for packed in self._frames:
                packed.sent = False
            self._sent = self._answered = 0
            self.connections += 1
            self.state = read_record(LineState, welcome["state"])
            self._note(Connected(self.description, self.state, resent))
            self._changed.notify_all()

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._frames) > self._sent - self._answered)
                packed = self._frames[self._sent - self._answered]
                packed.sent = True
                self._sent += 1
            await socket.send(packed.data)

    async def _take(self, told: Mapping[str, Any]) -> None:
        async with self._changed:
            if told["type"] == "taken":
                for _ in range(told["messages"] - self._answered):
                    self._forget(self._frames[0])
                self._answered = told["messages"]
                self.dropped_there = told["dropped"]
            elif (message := read_message(told)) is not None:
                self._note(message)
            self._changed.notify_all()

    def _forget(self, packed: _Packed) -> None:
        self._frames.remove(packed)
        self._bytes -= len(packed.data)

    def _note(self, message: Message) -> None:
        if len(self._messages) >= _UNREAD:
            self._messages.popleft()
            self._lost += 1
        self._messages.append(message)


class BlockingLineClient:
    """The same for a program without an event loop: `LineClient` in a thread of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="weft-line-client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._client = self._call(self._open())
        except BaseException:
            self._stop()
            raise
        self._messages = aiter(self._client)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._call(self._client.close(drain_s=5.0 if kind is None else 0.0))
        self._stop()

    def send(self, frame: Frame) -> None:
        """See `LineClient.send`."""
        self._call(self._client.send(frame))

    def offer(self, frame: Frame) -> bool:
        """See `LineClient.offer`."""
        return self._call(self._client.offer(frame))

    def __iter__(self) -> Iterator[Message]:
        """Messages as they come; blocks for the next one."""
        with suppress(StopAsyncIteration):
            while True:
                yield self._call(self._next())

    async def _open(self) -> LineClient:
        return await LineClient(self._url, **self._options).__aenter__()

    async def _next(self) -> Message:
        return await anext(self._messages)

    def _call(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
