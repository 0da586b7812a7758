"""WS /v1/lines/{line}: cameras send frames; commands, decisions, alarms and the state come back.

The first message is JSON text and says what will come; the answer to it is the line's description and what
has been taken of this session before. Then each binary message is a frame (`weft.line.frames`). A frame that
is refused gets a problem and raises an alarm; nothing that a message holds ends the stream.
"""

import asyncio
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import WebSocket, WebSocketDisconnect
from fastapi.routing import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from weft import __version__
from weft.errors import FrameError, WeftError
from weft.line.description import LineDescription
from weft.line.frames import Frame, Sensor, unpack
from weft.line.records import LineState
from weft_serving.door.greeting import read_greeting
from weft_serving.line.sinks import Sink
from weft_serving.line.stream.mailbox import Kind, Mailbox
from weft_serving.line.timing import Command, Withdrawal
from weft_serving.problems import (
    BusyError,
    InvalidRequestError,
    NotFoundError,
    TokenNeededError,
    make_problem,
    problem_of,
)
from weft_serving.watch.observe import log_fault

router = APIRouter()
_GREETING_SECONDS: Final = 30.0
_GREETING_CHARACTERS: Final = 10_000
_CLOSE_POLICY: Final = 1008
_CLOSE_BUSY: Final = 1013
_CONNECTIONS: Final = 256  # a line has a handful of cameras, controllers and screens
_LEFT_S: Final = 2.0
_SESSIONS: Final = 256  # of which it is remembered what was taken
_EXAMPLE: Final = '{"sensor": "nir"}, {"sensor": "colour"}, {"sensor": "all"} or {"listen": true}'
# White and dark are frames of the NIR camera.
_OF: Final[Mapping[str, frozenset[Sensor]]] = {
    "nir": frozenset({"nir", "white", "dark"}),
    "colour": frozenset({"colour"}),
    "all": frozenset({"nir", "colour", "white", "dark"}),
}
Ended = Callable[[], None]


class Line(Protocol):
    """What a connection needs of a line in service. Everything here returns at once."""

    @property
    def description(self) -> LineDescription: ...

    @property
    def dropped_frames(self) -> int: ...

    def take(self, frame: Frame) -> None: ...

    def refuse(self, sensor: str | None, error: FrameError) -> None: ...

    def state(self) -> LineState: ...

    def subscribe(self, sink: Sink) -> Ended: ...

    def listen(self, callback: Callable[[Command | Withdrawal], None]) -> Ended: ...


class Greeting(BaseModel):
    """The first message: what this connection will send, and what it wants to be told."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sensor: Literal["nir", "colour", "all"] | None = None  # None: sends no frames
    listen: bool = False
    tell: Annotated[list[Kind], Field(max_length=8)] = ["command", "decision", "alarm", "state"]
    session: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")] | None = None  # the same after a reconnect
    token: Annotated[str, Field(max_length=1_000)] | None = None

    @model_validator(mode="after")
    def sends_or_listens(self) -> "Greeting":
        if self.sensor is None and not self.listen:
            raise ValueError("neither a sensor nor listen: true")
        return self


class Sessions:
    """The highest number taken of each sensor in each session: who comes back resends only the rest."""

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[str, str], dict[Sensor, int]] = OrderedDict()

    def taken(self, line: str, session: str | None) -> dict[Sensor, int]:
        """Filled by the connection itself. Without a session nothing outlives the connection."""
        if session is None:
            return {}
        found = self._taken.setdefault((line, session), {})
        self._taken.move_to_end((line, session))
        while len(self._taken) > _SESSIONS:
            self._taken.popitem(last=False)
        return found


class Senders:
    """Which program sends the frames of which camera. Two at once would make one belt of two."""

    def __init__(self) -> None:
        self._sending: dict[tuple[str, str], tuple[object, float]] = {}

    def claim(self, line: str, sensor: Sensor, who: object) -> None:
        """Raises InvalidRequestError while somebody else sends; who has been silent for 2 s has left."""
        camera = "colour" if sensor == "colour" else "nir"
        now = time.monotonic()
        other, last = self._sending.get((line, camera), (who, now))
        if other != who and now - last < _LEFT_S:
            raise InvalidRequestError(
                f"another program sends {camera} frames to line {line}, the last {now - last:.1f} s ago; "
                "stop one of the two"
            )
        self._sending[line, camera] = (who, now)

    def leave(self, who: object) -> None:
        """Its connection has ended: the next one may send at once."""
        self._sending = {key: sent for key, sent in self._sending.items() if sent[0] != who}


class Connections:
    """Who is connected to the lines of one service; kept in `app.state`."""

    def __init__(self) -> None:
        self.open = 0
        self.sessions = Sessions()
        self.senders = Senders()


@router.websocket("/v1/lines/{line}")
async def stream_line(socket: WebSocket, line: str) -> None:
    await socket.accept()
    lines: Mapping[str, Line] = getattr(socket.app.state, "lines", {})
    if not hasattr(socket.app.state, "line_connections"):
        socket.app.state.line_connections = Connections()
    connections: Connections = socket.app.state.line_connections
    try:
        if connections.open >= _CONNECTIONS:
            raise BusyError(f"{_CONNECTIONS} connections to lines are open, the most here; close one")
        connections.open += 1
        try:
            # Read before anything is refused: a client that is still sending might never see why.
            greeting = read_greeting(
                await asyncio.wait_for(socket.receive(), _GREETING_SECONDS),
                Greeting.model_validate_json,
                characters=_GREETING_CHARACTERS,
                example=_EXAMPLE,
            )
            found = lines.get(line)
            if found is None:
                known = ", ".join(lines) or "none; start it with --lines"
                raise NotFoundError(f"no line is called {line[:60]!r}; in service: {known}")
            _check_token(socket, greeting)
            await _serve(socket, found, greeting, connections)
        finally:
            connections.open -= 1
    except WebSocketDisconnect:
        return
    except TimeoutError:
        late = InvalidRequestError(f"no first message within {_GREETING_SECONDS:g} s; send {_EXAMPLE}")
        await _close(socket, late, _CLOSE_POLICY)
    except WeftError as error:
        await _close(socket, error, _CLOSE_BUSY if isinstance(error, BusyError) else _CLOSE_POLICY)


def _check_token(socket: WebSocket, greeting: Greeting) -> None:
    needed = getattr(socket.app.state.service.settings, "line_token", None)
    if needed is None:
        return
    if not hmac.compare_digest((greeting.token or "").encode(), needed.get_secret_value().encode()):
        raise TokenNeededError("the token is missing or not this server's; send WEFT_LINE_TOKEN's as `token`")


async def _serve(socket: WebSocket, line: Line, greeting: Greeting, connections: Connections) -> None:
    taken = connections.sessions.taken(line.description.name, greeting.session)
    mailbox = Mailbox(asyncio.get_running_loop(), tell=frozenset(greeting.tell))
    intake = _Intake(line, greeting, taken, mailbox, connections.senders)
    await _send(socket, _welcome(line, taken))
    with ExitStack() as ends:
        ends.callback(connections.senders.leave, intake.who)
        ends.callback(line.subscribe(mailbox))
        ends.callback(line.listen(mailbox.command))
        async with asyncio.TaskGroup() as both:
            receiving = both.create_task(_receive(socket, intake))
            sending = both.create_task(_deliver(socket, mailbox))
            # Whichever ends first, the other one has nothing left to do.
            sending.add_done_callback(lambda _: receiving.cancel())
            receiving.add_done_callback(lambda _: sending.cancel())


def _welcome(line: Line, taken: Mapping[Sensor, int]) -> dict[str, Any]:
    state = line.state()
    return {
        "type": "welcome",
        "line": line.description.name,
        "server": __version__,
        "description": line.description.model_dump(mode="json"),
        "state": state.model_dump(mode="json"),
        "taken": dict(taken),
        "server_ns": time.time_ns(),
    }


async def _deliver(socket: WebSocket, mailbox: Mailbox) -> None:
    try:
        while True:
            await _send(socket, await mailbox.next())
    except WebSocketDisconnect:
        return
    except Exception as error:
        log_fault("line", error)


async def _receive(socket: WebSocket, intake: "_Intake") -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        intake.take(message)


class _Intake:
    """Frames of one connection on their way into the line."""

    def __init__(
        self,
        line: Line,
        greeting: Greeting,
        taken: dict[Sensor, int],
        mailbox: Mailbox,
        senders: Senders,
    ) -> None:
        self._line = line
        self._senders = senders
        self.who: object = greeting.session or self  # who comes back with its session is the same program
        self._sensor = greeting.sensor
        self._taken = taken
        self._mailbox = mailbox
        self._messages = 0

    def take(self, message: Any) -> None:
        """Hand one frame to the line, or tell what is wrong with it."""
        self._messages += 1
        try:
            self._take(message)
        except FrameError as error:
            self._line.refuse(None if self._sensor == "all" else self._sensor, error)
            self._tell(make_problem(error.slug, str(error), instance=self._where))
        except WeftError as error:
            self._tell(problem_of(error, instance=self._where))
        except Exception as error:  # a fault of ours in one frame must not stop the belt
            log_fault("line", error)
            detail = "this frame hit a fault of ours; the stream goes on, please report it"
            self._tell(make_problem("internal", detail, instance=self._where))
        self._mailbox.acknowledge(
            {
                "type": "taken",
                "messages": self._messages,  # looked at, the refused ones too
                "taken": dict(self._taken),
                "dropped": self._line.dropped_frames,
            }
        )

    def _take(self, message: Any) -> None:
        data: bytes | None = message.get("bytes")
        if data is None:
            raise InvalidRequestError(
                "the message was text; after the first one send frames, which are binary"
            )
        if self._sensor is None:
            raise InvalidRequestError(f"this connection only listens; greet with {_EXAMPLE} to send frames")
        frame = unpack(data)
        if frame.sensor not in _OF[self._sensor]:
            raise FrameError(
                f"a frame of {frame.sensor} came where the greeting said {self._sensor}; "
                'open a connection for each camera, or greet with {"sensor": "all"}'
            )
        self._senders.claim(self._line.description.name, frame.sensor, self.who)
        self._line.take(frame)
        # The highest, not the last: what a camera sends again does not take back what was acknowledged.
        self._taken[frame.sensor] = max(frame.number, self._taken.get(frame.sensor, 0))

    def _tell(self, problem: Any) -> None:
        told = problem.model_dump(exclude_none=True, exclude={"type"})
        self._mailbox.say({"type": "problem", "message": self._messages, "problem": problem.type, **told})

    @property
    def _where(self) -> str:
        return f"/v1/lines/{self._line.description.name}"


async def _send(socket: WebSocket, message: Mapping[str, Any]) -> None:
    await socket.send_text(json.dumps(message, allow_nan=False, ensure_ascii=False))


async def _close(socket: WebSocket, error: WeftError, code: int) -> None:
    told = problem_of(error, instance=str(socket.url.path)[:200])
    fields = told.model_dump(exclude_none=True, exclude={"type"})
    await _send(socket, {"type": "problem", "problem": told.type, **fields})
    await socket.close(code, error.slug)
