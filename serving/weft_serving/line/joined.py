"""The sorting lines' part of the service: streams, state, rules, pages and figures.

A service without lines has it too, and says there how to start one; but its modules, a quarter of all that a
start imports, come in only when somebody asks for it.
"""

import asyncio
from collections.abc import MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI

from weft_serving.door.guard import Receive, Send
from weft_serving.store import Store

if TYPE_CHECKING:
    from weft_serving.line.lines import Lines

_ADDRESSES: Final = ("/lines", "/v1/lines")
_PARTS: Final = ("routes", "exposition", "lines", "past.archive", "show.page", "stream.socket")


def join(app: FastAPI, lines: "Lines") -> None:
    """Add the lines to the app."""
    from weft_serving.line import routes
    from weft_serving.line.exposition import LineFigures
    from weft_serving.line.show import page
    from weft_serving.line.stream import socket

    app.state.sorting_lines = lines
    app.state.lines = lines.engines
    app.state.service.metrics.registry.register(LineFigures(lines.engines))
    for part in (socket, routes):
        app.include_router(part.router)
    page.install(app, lines.pages, lines.archive)


def join_when_asked(app: FastAPI, store: Store) -> None:
    """Add a part without lines once one of its addresses, or the description of the API, is asked for."""
    turn = asyncio.Lock()
    not_found, describe = app.router.default, app.openapi

    def join_none() -> None:
        from weft_serving.line.lines import Lines
        from weft_serving.line.past.archive import LineArchive

        if not hasattr(app.state, "sorting_lines"):
            join(app, Lines(LineArchive(store), None, None))

    async def late(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        if not path.startswith(_ADDRESSES) or hasattr(app.state, "sorting_lines"):
            await not_found(scope, receive, send)
            return
        async with turn:
            for part in _PARTS:  # off the event loop: a quarter of a second
                await asyncio.to_thread(import_module, f"weft_serving.line.{part}")
            join_none()
        await app.router(scope, receive, send)

    def openapi() -> dict[str, Any]:
        join_none()
        return describe()

    app.router.default = late
    app.openapi = openapi
