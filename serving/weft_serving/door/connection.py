"""What uvicorn leaves open: bounds on connections, from their first byte to the last one of a refused body.

- A connection that brings no whole header in time is closed, one whose headers are too large gets a 431.
- Beyond the most connections, the one that has been idle for longest is closed for the new one: of the same
  client, if he has more than his share of them, else of all; where none is idle, one of whoever has the most.
- What comes at once, before any request has been looked at, is bounded too: beyond that, whoever brings more
  than his share of it is refused.
- An answer may go out before its request's body has come. What still comes is read and forgotten, within
  bounds: a server that closes on unread bytes resets the connection, and the client may never see why.
- When a connection ends, its `Caller` is told, so that nothing more is done for it.
"""
# uvicorn says that `cycle` is always there; before the first request it is None.
# pyright: reportUnnecessaryComparison=false

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from weft_serving.door.caller import key_of
from weft_serving.door.holding import too_many

_HEADER_BYTES: Final = 65_536
_LINGER_PAUSE_S: Final = 5.0
_LINGER_S: Final = 30.0
_LINGER_BYTES: Final = 64_000_000  # a little over the largest request


class _Client:
    def __init__(self) -> None:
        self.all: dict[Connection, None] = {}
        self.idle: dict[Connection, None] = {}  # the one that has been so for longest first


class Crowd:
    """The connections of one service, by client."""

    def __init__(self, most: int, *, burst_bytes: int) -> None:
        self.most = most
        self._most_burst_bytes = burst_bytes
        self._burst: Counter[str] = Counter()  # bytes of bodies by client, in the present turn of the loop
        self._burst_bytes = 0
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._clients: dict[str, _Client] = {}

    def enter(self, one: "Connection", *, open_now: int) -> bool:
        """Take a new connection in, if need be for another one; False where there is no place for it."""
        client = self._clients.setdefault(one.key, _Client())
        client.all[one] = None
        if open_now > self.most and not self._make_room(client):
            self.leave(one)
            return False
        return True

    def rest(self, one: "Connection") -> None:
        if client := self._clients.get(one.key):
            self._idle[one] = client.idle[one] = None

    def work(self, one: "Connection") -> None:
        self._idle.pop(one, None)
        if client := self._clients.get(one.key):
            client.idle.pop(one, None)

    def leave(self, one: "Connection") -> None:
        self.work(one)
        if client := self._clients.get(one.key):
            client.all.pop(one, None)
            if not client.all:
                del self._clients[one.key]

    def bring(self, one: "Connection", count: int) -> bool:
        """Count bytes of a body; False where they are too many to be looked at in one turn of the loop.

        Requests that were read in this turn begin in the next one: until then nothing else counts them.
        """
        if not self._burst_bytes:
            one.loop.call_soon(self._end_burst)
        self._burst_bytes += count
        self._burst[one.key] += count
        if self._burst_bytes <= self._most_burst_bytes:
            return True
        return self._burst[one.key] <= self._most_burst_bytes / len(self._clients)

    def _end_burst(self) -> None:
        self._burst.clear()
        self._burst_bytes = 0

    def _make_room(self, client: _Client) -> bool:
        if len(client.all) > self.most / len(self._clients):
            victim = next(iter(client.idle), None)
        else:
            victim = next(iter(self._idle), None) or self._of_the_greediest()
        if victim is None:
            return False
        self.leave(victim)
        victim.give_way()
        return True

    def _of_the_greediest(self) -> "Connection | None":
        greediest = max(self._clients.values(), key=lambda client: len(client.all))
        return next((one for one in greediest.all if one.is_sending), None)


def connection_type(*, idle_seconds: float, most: int, burst_bytes: int) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol with our bounds.

    Args:
        idle_seconds: From a connection, or a request's first byte, to the end of its headers.
        most: Connections at once.
        burst_bytes: Most bytes of bodies that come at once.
    """
    crowd = Crowd(most, burst_bytes=burst_bytes)
    return type("BoundConnection", (Connection,), {"idle_seconds": idle_seconds, "crowd": crowd})


class Connection(HttpToolsProtocol):
    idle_seconds: float
    crowd: Crowd

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.key = ""
        self._hurry: asyncio.TimerHandle | None = None
        self._unseen_bytes = 0  # received since the last piece of a body
        self._header_bytes = 0
        self._whole = True  # no request is under way on the wire
        self._lingering: _Lingering | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._closing = _ClosingTransport(transport, self.finish)
        self.key = key_of(self.client)
        if not self.crowd.enter(self, open_now=len(self.connections)):
            transport.write(_FULL)
            transport.close()
            return
        self._rest()
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self.crowd.leave(self)
        if self._lingering is not None:
            self._lingering.end()
        if self.cycle is not None and not self.cycle.response_complete:
            who = self.cycle.scope.get("weft.caller")
            if who is not None:
                who.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingering is not None:
            self._lingering.forget(len(data))
            return
        self._unseen_bytes += len(data)
        super().data_received(data)
        if self._unseen_bytes > _HEADER_BYTES and not self._over:
            self._refuse_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._whole = False
        self._header_bytes = 0
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)  # with those that may follow a chunked body
        if self._header_bytes <= _HEADER_BYTES:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._end()
        self.crowd.work(self)
        self._unseen_bytes = 0
        if self._over:
            return
        if self._header_bytes > _HEADER_BYTES:
            self._refuse_headers()
            return
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.transport = self._closing  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        self._unseen_bytes = 0
        if self._over:
            return
        if self.crowd.bring(self, len(body)):
            super().on_body(body)
        elif self.is_sending:  # of what was answered already nobody reads on
            self.cycle.body = bytearray()
            self.give_way(_TOO_MANY)

    def on_message_complete(self) -> None:
        self._whole = True
        self._unseen_bytes = 0
        if self._over:
            return
        super().on_message_complete()
        if self.cycle is not None and self.cycle.response_complete:  # it was answered before its end
            self._end()
            self._rest()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_response_complete(self) -> None:
        if self.cycle.response_complete:
            self.cycle.body = bytearray()  # unread, it would stay until the connection's next request
        super().on_response_complete()
        if self._lingering is not None:
            self._unset_keepalive_if_required()  # it has bounds of its own
        elif self._whole:
            self._rest()
        else:
            self._begin()  # the rest of its body may not take for ever

    def finish(self) -> None:
        """Close once what was sent has gone out and what is still coming has been read."""
        if self._whole or self._lingering is not None or self.transport.is_closing():
            self.transport.close()
            return
        self._end()
        self._lingering = _Lingering(self.loop, self.transport)
        self.flow.resume_reading()

    @property
    def is_sending(self) -> bool:
        """A request is on its way, and nothing of its answer has gone out."""
        return not (self._whole or self._over or (self.cycle is not None and self.cycle.response_started))

    def give_way(self, answer: bytes | None = None) -> None:
        """Close for somebody who needs the place more; `answer` says why, left out: for a connection's."""
        if self.is_sending:
            self.transport.write(answer or _FULL)
        self.transport.close()

    def handle_websocket_upgrade(self) -> None:
        self.crowd.leave(self)  # streams have a bound of their own
        super().handle_websocket_upgrade()

    @property
    def _over(self) -> bool:
        """Nothing that still comes is looked at."""
        return self._lingering is not None or self.transport.is_closing()

    def _refuse_headers(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # they came after a body; its answer may be half out
            return
        self.transport.write(_TOO_LARGE)
        self.finish()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says in plain text to what is no HTTP; a request under way gets no second answer."""
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
            return
        self.transport.write(_UNREADABLE)
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # who reads its body has to be told
        else:
            self.finish()

    def _rest(self) -> None:
        if not self.transport.is_closing():
            self.crowd.rest(self)

    def _begin(self) -> None:
        self._end()
        self._hurry = self.loop.call_later(self.idle_seconds, self.transport.close)

    def _end(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None


class _ClosingTransport:
    """As much of a transport as uvicorn's answer uses; closing it is left to the connection."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class _Lingering:
    """Reads and forgets what a client still sends after its answer, until it stops."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._left_bytes = _LINGER_BYTES
        self._until = loop.time() + _LINGER_S
        self._came = True
        if transport.can_write_eof():
            transport.write_eof()
        self._look_again = loop.call_later(_LINGER_PAUSE_S, self._look)

    def forget(self, count: int) -> None:
        self._came = True
        self._left_bytes -= count
        if self._left_bytes < 0:
            self._transport.close()

    def end(self) -> None:
        self._look_again.cancel()

    def _look(self) -> None:
        if not self._came or self._loop.time() > self._until:
            self._transport.close()
            return
        self._came = False
        self._look_again = self._loop.call_later(_LINGER_PAUSE_S, self._look)


class StreamConnection(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket, which says why it ends when the service stops."""

    def shutdown(self) -> None:
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012})
            self.conn.send_close(1012, "the service is stopping; connect again in a moment")
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        super().shutdown()


def _raw(status: str, slug: str, title: str, detail: str) -> bytes:
    """An answer for where no request could be read."""
    body = f'{{"type": "/problems/{slug}", "title": "{title}", "status": {status[:3]}, "detail": "{detail}"}}'
    retry = "Retry-After: 2\r\n" if status.startswith("503") else ""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
        f"{retry}Connection: close\r\n\r\n{body}"
    ).encode("ascii")


_UNREADABLE: Final = _raw(
    "400 Bad Request",
    "bad-request",
    "Request cannot be read",
    "a line, a header or a length of this is not as HTTP has it (RFC 9112); send it by an HTTP library",
)
_TOO_LARGE: Final = _raw(
    "431 Request Header Fields Too Large",
    "headers-too-large",
    "Headers are too large",
    f"the headers have more than {_HEADER_BYTES:,} bytes; send shorter ones",
)
_TOO_MANY: Final = _raw("503 Service Unavailable", "busy", "Too busy", str(too_many()))
_FULL: Final = _raw(
    "503 Service Unavailable",
    "busy",
    "Too busy",
    "as many connections are open as this server takes; close those that you do not need, "
    "or come back in a moment",
)
