"""The end of a service: it says that it is not ready, then takes nothing new and finishes what it has.

SIGTERM leaves `drain_seconds` for balancers to look elsewhere; SIGINT (Ctrl-C) does not. Then answers
under way have 8 s, streams are told why they end, and the process ends with status 0. A second signal
ends it at once.
"""

import os
import signal
import socket
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Final

import uvicorn
from fastapi import FastAPI

if TYPE_CHECKING:
    from weft_serving.line.lines import Lines

_FINISH_S: Final = 8
_END_S: Final = 10.0  # from the end of draining to the end of the process, whatever still runs


class Server(uvicorn.Server):
    """uvicorn's server with our way to stop."""

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, lines: "Lines | None", *, drain_seconds: float
    ) -> None:
        config.timeout_graceful_shutdown = _FINISH_S
        super().__init__(config)
        self._app = app
        self._lines = lines
        self._drain_s = drain_seconds
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Not uvicorn's: that would raise the signal again at the end, and the status would not be 0."""
        if self._stop_at is not None:
            os._exit(128 + sig)
        drain_s = self._drain_s if sig == signal.SIGTERM else 0.0
        self._app.state.draining = True
        self._stop_at = time.monotonic() + drain_s
        last = threading.Timer(drain_s + _END_S, os._exit, (0,))
        last.daemon = True
        last.start()

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # It would wait for the pages' event streams for as long as it may.
        for page in [] if self._lines is None else self._lines.pages.values():
            page.close()
        await super().shutdown(sockets)
