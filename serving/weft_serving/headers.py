"""Connections whose request headers do not come in time are closed.

uvicorn bounds only the pause between two requests: clients that send half a header, or nothing at all, would
hold every file descriptor of the process for ever. The body's time is the guard's matter.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def headers_within(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol with a bound on the time from a connection, or a request's first byte, on."""

    class HeadersInTime(HttpToolsProtocol):
        _hurry: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._begin()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._begin()

        def on_headers_complete(self) -> None:
            self._end()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end()
            super().connection_lost(exc)

        def _begin(self) -> None:
            self._end()
            self._hurry = self.loop.call_later(seconds, self.transport.close)

        def _end(self) -> None:
            if self._hurry is not None:
                self._hurry.cancel()
                self._hurry = None

    return HeadersInTime
