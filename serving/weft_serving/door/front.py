"""What stands before FastAPI: what observes and guards every request, and the short way to the busiest route.

A frame takes 8 ms of computing. FastAPI's and Starlette's layers (five middlewares, a router that asks route
by route, dependencies, two exit stacks) add 0.4 ms to each. So our own layers stand outside of theirs,
and what carries photos goes from our guard straight to its endpoint. FastAPI knows the same endpoint: it is
in `/docs`, and answers the same there.
"""

from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response

from weft.errors import WeftError
from weft_serving.door.guard import App, Receive, Scope, Send
from weft_serving.problems import refuse
from weft_serving.service import Service

Endpoint = Callable[[Request, Service], Awaitable[Response]]


class Fronted(FastAPI):
    """FastAPI behind layers of our own; `stand_before` says which."""

    def stand_before(self, make: Callable[[App], App]) -> None:
        self._front = make(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        await self._front(scope, receive, send)


class ShortWay:
    """Sends POSTs to some paths straight to their endpoints, and everything else on."""

    def __init__(self, app: App, service: Service, endpoints: Mapping[str, Endpoint]) -> None:
        self._app = app
        self._service = service
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = None
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request, self._service)
        except WeftError as error:
            response = await refuse(request, error)
        await response(scope, receive, send)
