"""Bounds on every request's body: bytes, time and the sum over all requests, held while it streams in.

An ASGI middleware, so that no route can forget it. It also reads what is left of a body before a refusal goes
out: a server that closes on unread bytes resets the connection, and the client never sees why.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from starlette.responses import JSONResponse

from weft.limits import REQUEST_BYTES
from weft_serving.problems import (
    BadBodyError,
    BodyTooLargeError,
    BusyError,
    ContentTypeError,
    Refusal,
    SlowBodyError,
    make_problem,
    reply,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON_BYTES: Final = 2_000_000  # 10,000 points as text, twice over
_DRAIN_BYTES: Final = 128_000_000
_DRAIN_SECONDS: Final = 10.0


class BodyGuard:
    """Wrap an app so that `receive` never hands it more, or more slowly, than the limits allow."""

    def __init__(self, app: App, *, body_seconds: float, idle_seconds: float, in_flight_bytes: int) -> None:
        self._app = app
        self._body_seconds = body_seconds
        self._idle_seconds = idle_seconds
        self._most_in_flight = in_flight_bytes
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self, scope, receive)
        guarded_send = _DrainingSend(body, send)
        try:
            try:
                body.check_headers()
            except Refusal as error:
                await _refuse(scope, error, guarded_send)
                return
            await self._app(scope, body.receive, guarded_send)
        finally:
            self.in_flight -= body.counted

    def take(self, count: int) -> None:
        if self.in_flight + count > self._most_in_flight:
            raise BusyError("too many uploads are arriving at once; send it again in a moment")
        self.in_flight += count

    @property
    def seconds(self) -> tuple[float, float]:
        return self._idle_seconds, self._body_seconds


async def _refuse(scope: Scope, error: Refusal, send: Send) -> None:
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
        self._receive = receive
        self._started = time.monotonic()
        kind = self._headers.get(b"content-type", b"").lower()
        tensors = _is_open(scope) and b"inference-header-content-length" in self._headers
        large = tensors or kind.startswith(b"multipart/form-data")
        self._limit = REQUEST_BYTES if large else JSON_BYTES
        self.counted = 0
        self.asked = False
        self.ended = not (b"content-length" in self._headers or b"transfer-encoding" in self._headers)

    @property
    def waits_for_permission(self) -> bool:
        """The client sends nothing before it is asked to go on."""
        return not self.asked and self._headers.get(b"expect", b"").lower() == b"100-continue"

    def check_headers(self) -> None:
        encoding = self._headers.get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            raise ContentTypeError("the body is compressed; send it without Content-Encoding")
        length = self._headers.get(b"content-length")
        if length is None:
            return
        if not length.isdigit() or len(length) > 18:
            raise BadBodyError("Content-Length is no number of bytes; send the body's length or leave it out")
        if int(length) > self._limit:
            raise self._too_large(int(length))
        self.ended = int(length) == 0

    async def receive(self) -> Message:
        if self.ended:
            return await self._receive()  # only the news of a disconnect can come now
        self.asked = True
        idle, whole = self._guard.seconds
        left = whole - (time.monotonic() - self._started)
        try:
            message = await asyncio.wait_for(self._receive(), max(0.001, min(idle, left)))
        except TimeoutError as error:
            raise SlowBodyError(
                f"the body paused for more than {idle:g} s or took more than {whole:g} s; send it again"
            ) from error
        if message["type"] == "http.disconnect":
            self.ended = True
            return message
        self.ended = not message.get("more_body", False)
        size = len(message.get("body", b""))
        self._guard.take(size)
        self.counted += size
        if self.counted > self._limit:
            raise self._too_large(self.counted)
        return message

    async def drain(self) -> None:
        """Read and forget the rest, within bounds, so that the refusal can be read."""
        if self.ended or self.waits_for_permission:
            return
        read = 0
        until = time.monotonic() + _DRAIN_SECONDS
        while not self.ended and read < _DRAIN_BYTES:
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                message = await asyncio.wait_for(self._receive(), min(left, 2.0))
            except TimeoutError:
                return
            read += len(message.get("body", b""))
            self.ended = message["type"] == "http.disconnect" or not message.get("more_body", False)

    def _too_large(self, got: int) -> BodyTooLargeError:
        what = "with files or binary tensors" if self._limit == REQUEST_BYTES else "without files"
        return BodyTooLargeError(
            f"the body has {got:,} bytes or more, at most {self._limit:,} are taken {what}; send less at once"
        )


class _DrainingSend:
    def __init__(self, body: _Body, send: Send) -> None:
        self._body = body
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._body.drain()
        await self._send(message)
