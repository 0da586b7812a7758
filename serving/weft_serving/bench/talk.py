"""Requests as bytes, built once, and the reading of answers: as little client as HTTP and WebSocket need.

A client library would take as much CPU time as the server under test: on two cores, half of what is measured.
"""

import asyncio
import base64
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from weft.errors import BenchError

_BOUNDARY: Final = b"weft-bench-boundary"
_HEAD_BYTES: Final = 65_536
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"


def read_address(url: str) -> Address:
    wrong = f"--url is {url!r}; need one like http://127.0.0.1:8000"
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        port = parts.port or 80
    except ValueError as error:
        raise BenchError(wrong) from error
    if parts.scheme not in ("", "http") or not parts.hostname:
        raise BenchError(wrong)
    return Address(parts.hostname, port)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    grams: float | None
    retry_after_s: float = 0.0  # 0: nothing was said of that
    problem: str = ""


Dial = Callable[[], Awaitable[socket.socket]]


class Reader(Protocol):
    """What makes an answer of a status and a body."""

    def __call__(self, status: int | None, body: bytes, *, retry_after_s: float = 0.0) -> Answer: ...


def form(photo: bytes, fields: dict[str, str]) -> bytes:
    """A multipart body with one photo."""
    parts = [
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (_BOUNDARY, name.encode(), value.encode())
        for name, value in fields.items()
    ]
    head = b'--%s\r\nContent-Disposition: form-data; name="photos"; filename="photo.jpg"\r\n' % _BOUNDARY
    parts.append(head + b"Content-Type: image/jpeg\r\n\r\n" + photo + b"\r\n--%s--\r\n" % _BOUNDARY)
    return b"".join(parts)


def post(address: Address, path: str, body: bytes, *, content_type: str = "") -> bytes:
    """A whole request."""
    kind = content_type or f"multipart/form-data; boundary={_BOUNDARY.decode()}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {address.name}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def message(payload: bytes, *, opcode: int = 2) -> bytes:
    """A WebSocket message in one frame. Its mask is zero: allowed, and masks nothing that was built once."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x80 | opcode, 0x80 | size)
    elif size < 65_536:
        head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


async def dial(address: Address, *, seat: int | None = None) -> socket.socket:
    """A connected socket. `seat`: clients on this machine come from addresses of their own, as outside."""
    line = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET)
    line.setblocking(False)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if seat is not None and address.host == "127.0.0.1" and os.path.exists("/proc/self/stat"):  # Linux
        line.bind((f"127.0.{1 + seat // 250}.{1 + seat % 250}", 0))
    try:
        await asyncio.wait_for(
            asyncio.get_running_loop().sock_connect(line, (address.host, address.port)), 10
        )
    except (OSError, TimeoutError) as error:
        line.close()
        raise BenchError(f"nothing answers at {address.name} ({error}); start `weft serve` there") from error
    return line


class HttpLine:
    """One kept connection, dialled anew where the server said that it closes it. One answer at a time."""

    def __init__(self, line: socket.socket, read: Reader | None = None, redial: Dial | None = None) -> None:
        self._line = line
        self._read_answer = read or read_answer
        self._redial = redial
        self._spent = False
        self._loop = asyncio.get_running_loop()

    async def ask(self, request: bytes | memoryview) -> Answer:
        if self._spent and self._redial is not None:
            self._line.close()
            self._line, self._spent = await self._redial(), False
        await self.send(request)
        return await self.answer()

    async def send(self, data: bytes | memoryview) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused on the way: the answer says why
            await self._loop.sock_sendall(self._line, data)

    async def answer(self) -> Answer:
        try:
            status, head, body = await asyncio.wait_for(self._read(), _PATIENCE_S)
        except (TimeoutError, OSError) as error:
            raise BenchError(f"no answer came ({type(error).__name__}); see the server's log") from error
        self._spent = b"\r\nconnection: close" in head.lower()
        return self._read_answer(status, body, retry_after_s=_retry_after_s(head.lower()))

    async def _read(self) -> tuple[int, bytes, bytes]:
        got = b""
        while (end := got.find(b"\r\n\r\n")) < 0:
            piece = await self._loop.sock_recv(self._line, _HEAD_BYTES)
            if not piece or len(got) > _HEAD_BYTES:
                raise BenchError("the server closed the connection without an answer; see its log")
            got += piece
        head, body = got[: end + 2], got[end + 4 :]
        at = head.lower().find(b"\r\ncontent-length:")
        length = int(head[at + 17 : head.index(b"\r\n", at + 2)]) if at >= 0 else None
        while (len(body) < length) if length is not None else not body.endswith(b"0\r\n\r\n"):
            piece = await self._loop.sock_recv(self._line, _HEAD_BYTES)
            if not piece:
                raise BenchError("the server closed the connection within an answer; see its log")
            body += piece
        return int(head[9:12]), head, body if length is not None else _joined(body)

    def close(self) -> None:
        self._line.close()


class SocketLine:
    """One WebSocket to /v1/stream, greeted; a message in, its answer out."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self._got = b""

    async def greet(self, address: Address) -> None:
        key = base64.b64encode(os.urandom(16)).decode()
        head = (
            f"GET /v1/stream HTTP/1.1\r\nHost: {address.name}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await self._loop.sock_sendall(self._line, head.encode())
        while (end := self._got.find(b"\r\n\r\n")) < 0:
            await self._more()
        if not self._got.startswith(b"HTTP/1.1 101"):
            told = self._got[:80].split(b"\r\n")[0].decode("latin-1")
            raise BenchError(f"/v1/stream answered {told!r}, need 101; is this `weft serve`?")
        self._got = self._got[end + 4 :]
        await self._loop.sock_sendall(self._line, message(b'{"task": "weight"}', opcode=1))

    async def ask(self, framed: bytes | memoryview) -> Answer:
        await self._loop.sock_sendall(self._line, framed)
        return read_answer(None, await asyncio.wait_for(self._text(), _PATIENCE_S))

    async def _text(self) -> bytes:
        while True:
            opcode, payload = await self._frame()
            if opcode == 9:
                await self._loop.sock_sendall(self._line, message(payload, opcode=10))
            elif opcode == 8:
                raise BenchError(f"the server closed the stream ({payload[2:].decode()!r}); see its log")
            elif opcode in (1, 2):
                return payload

    async def _frame(self) -> tuple[int, bytes]:
        await self._least(2)
        size, head = self._got[1] & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            await self._least(head)
            size = int.from_bytes(self._got[2:head], "big")
        await self._least(head + size)
        opcode, payload = self._got[0] & 0x0F, self._got[head : head + size]
        self._got = self._got[head + size :]
        return opcode, payload

    async def _least(self, count: int) -> None:
        while len(self._got) < count:
            await self._more()

    async def _more(self) -> None:
        piece = await self._loop.sock_recv(self._line, _HEAD_BYTES)
        if not piece:
            raise BenchError("the server closed the stream without an answer; see its log")
        self._got += piece

    def close(self) -> None:
        self._line.close()


def _joined(chunks: bytes) -> bytes:
    """The body of an answer sent in chunks, all of them here."""
    body = b""
    while (size := int(chunks[: (end := chunks.index(b"\r\n"))].split(b";")[0], 16)) > 0:
        body += chunks[end + 2 : end + 2 + size]
        chunks = chunks[end + 4 + size :]
    return body


def _retry_after_s(head: bytes) -> float:
    at = head.find(b"\r\nretry-after:")
    return 0.0 if at < 0 else float(head[at + 14 : head.index(b"\r\n", at + 2)])


def read_answer(status: int | None, body: bytes, *, retry_after_s: float = 0.0) -> Answer:
    """Of an estimate or a problem; over a stream the status stands in the problem."""
    try:
        told: dict[str, Any] = json.loads(body)
        found = told.get("status", 200) if status is None else status
        detail = "" if found == 200 else str(told.get("detail", ""))[:200]
        return Answer(int(found), told.get("grams"), retry_after_s, detail)
    except (ValueError, AttributeError, TypeError) as error:
        raise BenchError(f"the answer is no JSON object ({body[:60]!r}); is this `weft serve`?") from error
