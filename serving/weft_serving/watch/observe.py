"""The outermost layer: request ids, counts, one log line a request, faults turned into problems."""

import asyncio
import os
import re
import time
from collections.abc import MutableMapping
from typing import Any, Final, cast

from prometheus_client import Counter, Histogram

from weft.errors import WeftError
from weft_serving.door.guard import App, Message, Receive, Scope, Send
from weft_serving.problems import BusyError, make_problem, reply
from weft_serving.watch.logs import Shedding, log, log_fault, log_line
from weft_serving.watch.metrics import Metrics
from weft_serving.watch.tracing import Tracing

__all__ = ["Observe", "log", "log_fault", "log_line"]
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID: Final = re.compile(r"[\w.\-]{8,64}")
_HARMLESS: Final = (b"x-content-type-options", b"nosniff")


class Observe:
    """Gives every request an id, counts and logs it, and turns a fault of ours into a problem.

    Args:
        tracing: Told of every request; None: no traces are made, and nothing is spent on them.
    """

    def __init__(self, app: App, *, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing
        self._requests: dict[tuple[str, str, int], Counter] = {}
        self._times: dict[str, tuple[Histogram, Histogram]] = {}
        self._shedding: Shedding | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        scope["weft.request"] = request_id = _request_id(scope)
        started = time.perf_counter()
        status = 0
        span = None if self._tracing is None else self._tracing.begin(scope, _method(scope))

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                    _HARMLESS,
                ]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            log_fault(request_id, error)
            if scope["type"] == "http" and status == 0:
                await _answer_fault(scope, receive, watched)
        finally:
            route = self._note(scope, status, started)
            if span is not None:
                span.end(route, status)

    def _note(self, scope: Scope, status: int, started: float) -> str:
        """Count and log a request that has ended; its route as a template."""
        ended = time.perf_counter()
        route = _template(scope) or ("files" if 0 < status < 400 else "unmatched")
        method = _method(scope)
        self._count(route, method, status)
        if scope["type"] == "http":
            self._time(route, status, (started, scope.get("weft.received"), ended))
        problem: WeftError | None = scope.get("weft.problem")
        if problem is not None:
            self._metrics.count_problem(problem)
            if isinstance(problem, BusyError):
                self._shed(problem.reason)
                return route
        log_line(
            "request",
            request=scope["weft.request"],
            method=method,
            route=route,
            status=status,
            milliseconds=round((ended - started) * 1000, 1),
            problem=None if problem is None else problem.slug,
        )
        return route

    def _time(self, route: str, status: int, times: tuple[float, float | None, float]) -> None:
        """`times`: when it began, when its body was there (None: it had none), when it ended."""
        started, received, ended = times
        whole, answer = self._times.get(route) or self._bind(route)
        whole.observe(ended - started)
        if received is not None:
            self._metrics.spent("receive", received - started, ago=ended - received)
        if 0 < status < 400:
            answer.observe(ended - (started if received is None else received))

    def _count(self, route: str, method: str, status: int) -> None:
        key = (route, method, status)
        counter = self._requests.get(key)
        if counter is None:
            counter = self._requests[key] = self._metrics.requests.labels(route, method, str(status))
        counter.inc()

    def _bind(self, route: str) -> tuple[Histogram, Histogram]:
        found = self._metrics.seconds.labels(route), self._metrics.answers.labels(route)
        self._times[route] = found
        return found

    def _shed(self, reason: str) -> None:
        self._metrics.refused.labels(reason).inc()
        if self._shedding is None:
            self._shedding = Shedding(asyncio.get_running_loop().call_later)
        self._shedding.add(reason)


def _request_id(scope: Scope) -> str:
    """The proxy's X-Request-Id where it is a harmless one, else our own."""
    for name, value in cast("list[tuple[bytes, bytes]]", scope["headers"]):
        if (
            name == b"x-request-id"
            and _REQUEST_ID.fullmatch(text := value.decode("latin-1"))
            and text.isascii()
        ):
            return text
    return os.urandom(8).hex()


def _method(scope: Scope) -> str:
    if scope["type"] == "websocket":
        return "WS"
    method = str(scope["method"])
    return method if method in _METHODS else "OTHER"


def _template(scope: MutableMapping[str, Any]) -> str | None:
    """`/v1/estimates/{id}`, never the path itself: ids would make endless series."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else None


async def _answer_fault(scope: Scope, receive: Receive, send: Send) -> None:
    made = make_problem(
        "internal",
        "this request hit a fault of ours; please report the request's id",
        instance=str(scope["path"])[:200],
        request=scope["weft.request"],
    )
    await reply(made)(scope, receive, send)
