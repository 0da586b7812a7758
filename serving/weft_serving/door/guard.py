"""Bounds on every request's body: bytes, time and the sum over all requests, held while it streams in.

An ASGI middleware, so that no route can forget it. It also says who asks (`caller`), and refuses work for
which there is no room before its body is read. A refusal goes out at once; what is still to come of a large
body is announced as unwanted (`Connection: close`) and read away by the connection (see `connection`).
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, NamedTuple

from starlette.responses import JSONResponse

from weft.limits import REQUEST_BYTES
from weft_serving.door.caller import DEADLINE_HEADER, Caller, call_for, key_of, read_deadline
from weft_serving.door.holding import Holding, too_many
from weft_serving.door.pool import Pool
from weft_serving.problems import (
    BadBodyError,
    BodyTooLargeError,
    ContentTypeError,
    Refusal,
    SlowBodyError,
    make_problem,
    note,
    reply,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_BYTES: Final = 2_000_000  # 10,000 points as text, twice over
_UNKNOWN: Final = 999_999_999_999  # the length of a chunked body
_SMALL_REST: Final = 262_144  # bytes of a body that cost less to read away than a new connection costs
# What waits for the threads, and as which route it is counted.
_QUEUED: Final = (
    (re.compile(r"/v1/estimates"), "/v1/estimates"),
    (re.compile(r"/v1/estimates/[^/]+/photos"), "/v1/estimates/{estimate_id}/photos"),
    (re.compile(r"/v1/compositions"), "/v1/compositions"),
    (re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?/infer"), "/v2/models/{model}/infer"),
)


class _Route(NamedTuple):
    """As much of a route as `Observe` looks at, for what never reaches the router."""

    path: str


class BodyGuard:
    """Wrap an app so that `receive` never hands it more, or more slowly, than the limits allow."""

    def __init__(
        self, app: App, *, pool: Pool, body_seconds: float, idle_seconds: float, in_flight_bytes: int
    ) -> None:
        self._app = app
        self._pool = pool
        self._body_seconds = body_seconds
        self._idle_seconds = idle_seconds
        self.holding = Holding(in_flight_bytes, pool)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            call_for(Caller(key_of(scope.get("client"))))
            await self._app(scope, receive, send)
            return
        body = _Body(self, scope, receive)
        guarded_send = _EarlySend(body, send)
        try:
            try:
                body.check_headers()
                call_for(body.caller)
                scope["weft.caller"] = body.caller
                if scope["method"] == "POST":
                    self._check_room(scope)
            except Refusal as error:
                await _refuse(scope, error, guarded_send)
                return
            await self._app(scope, body.receive, guarded_send)
        finally:
            self.holding.answered(body)

    def _check_room(self, scope: Scope) -> None:
        for path, template in _QUEUED:
            if path.fullmatch(scope["path"]):
                scope["route"] = _Route(template)  # the router's own takes its place
                self._pool.check_room()
                return

    @property
    def seconds(self) -> tuple[float, float]:
        return self._idle_seconds, self._body_seconds


async def _refuse(scope: Scope, error: Refusal, send: Send) -> None:
    note(scope, error)
    made = make_problem(
        error.slug, str(error), instance=str(scope["path"])[:200], request=scope.get("weft.request")
    )
    retry = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    # Clients of the open inference protocol read one field.
    response = (
        JSONResponse({"error": str(error)}, made.status, retry) if _is_open(scope) else reply(made, retry)
    )
    await send(
        {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
    )
    await send({"type": "http.response.body", "body": bytes(response.body)})


def _is_open(scope: Scope) -> bool:
    return str(scope["path"]).startswith("/v2/")


class _Body:
    """One request's body on its way in."""

    def __init__(self, guard: BodyGuard, scope: Scope, receive: Receive) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._headers = {name.lower(): value.strip() for name, value in headers}
        self._guard = guard
        self._scope = scope
        self._receive = receive
        self._started = time.monotonic()
        kind = self._headers.get(b"content-type", b"").lower()
        tensors = _is_open(scope) and b"inference-header-content-length" in self._headers
        bundle = scope["method"] in {"POST", "PUT"} and str(scope["path"]).startswith("/v1/bundles/")
        large = tensors or bundle or kind.startswith((b"multipart/form-data", b"image/"))
        self._limit = REQUEST_BYTES if large else JSON_BYTES
        length = self._headers.get(b"content-length", b"")
        self._length = int(length) if length.isdigit() and len(length) <= 18 else _UNKNOWN
        self._small = self._length <= _SMALL_REST
        self.received = 0
        self.asked = False
        self.caller = Caller(key_of(scope.get("client")))
        self.key = self.caller.key
        self.held = 0  # of what was received, still in memory
        self._patience: asyncio.Timeout | None = None  # while a piece of it is waited for
        self._given_up = False
        self.ended = not (b"content-length" in self._headers or b"transfer-encoding" in self._headers)

    @property
    def waits_for_permission(self) -> bool:
        """The client sends nothing before it is asked to go on."""
        return not self.asked and self._headers.get(b"expect", b"").lower() == b"100-continue"

    @property
    def rest_is_small(self) -> bool:
        """Whether little is left of it, as far as is known."""
        return not self.waits_for_permission and self._length - self.received <= _SMALL_REST

    def check_headers(self) -> None:
        self.caller.deadline_s = read_deadline(self._headers.get(DEADLINE_HEADER))
        encoding = self._headers.get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            raise ContentTypeError("the body is compressed; send it without Content-Encoding")
        if b"content-length" not in self._headers:
            return
        if self._length == _UNKNOWN:
            raise BadBodyError("Content-Length is no number of bytes; send the body's length or leave it out")
        if self._length > self._limit:
            raise self._too_large(self._length)
        self.ended = self._length == 0

    async def receive(self) -> Message:
        if self.ended:
            return await self._receive()  # only the news of a disconnect can come now
        self.asked = True
        message = await self._next_piece()
        if message["type"] == "http.disconnect":
            self.ended = True
            return message
        self.ended = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self._guard.holding.take(self, size)
        self.received += size
        if self.received > self._limit:
            raise self._too_large(self.received)
        if self.ended:
            self._guard.holding.ended(self)
            self._scope["weft.received"] = time.perf_counter()
        return message

    async def _next_piece(self) -> Message:
        idle, whole = self._guard.seconds
        self._check_wanted()
        try:
            async with asyncio.timeout(None) as self._patience:
                if not self._small:
                    await self._guard.holding.wait_to_read(self)
                    self._check_wanted()
                left = whole - (time.monotonic() - self._started)
                self._patience.reschedule(asyncio.get_running_loop().time() + max(0.001, min(idle, left)))
                message = await self._receive()
        except TimeoutError as error:
            self._check_wanted()
            raise SlowBodyError(
                f"the body paused for more than {idle:g} s or took more than {whole:g} s; send it again"
            ) from error
        finally:
            self._patience = None
        self._check_wanted()
        return message

    def give_up(self) -> None:
        """Refuse it, wherever it stands: another client needs the memory that it takes."""
        self._given_up = True
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    def _check_wanted(self) -> None:
        if self._given_up:
            raise too_many()

    def _too_large(self, got: int) -> BodyTooLargeError:
        large = self._limit == REQUEST_BYTES
        what = "with files or binary tensors" if large else "without files"
        other = "" if large else ", or files as multipart/form-data or image/jpeg, which may be larger"
        return BodyTooLargeError(
            f"the body has {got:,} bytes or more, at most {self._limit:,} are taken {what}; "
            f"send less at once{other}"
        )


class _EarlySend:
    """Sends answers that come before the end of a body as what they are."""

    def __init__(self, body: _Body, send: Send) -> None:
        self._body = body
        self._send = send

    async def __call__(self, message: Message) -> None:
        body = self._body
        if message["type"] == "http.response.start" and not body.ended and not body.rest_is_small:
            message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
        await self._send(message)
