"""Request ids, one JSON log line a request, faults turned into problems; nothing personal in any of it."""

import json
import logging
import re
import time
import traceback
import uuid
from collections.abc import MutableMapping
from typing import Any, Final, cast

from weft_serving.guard import App, Message, Receive, Scope, Send
from weft_serving.metrics import Metrics
from weft_serving.problems import make_problem, reply

log = logging.getLogger("weft.serving")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID: Final = re.compile(r"[\w.\-]{8,64}")


class Observe:
    """Outermost: gives every request an id, counts and logs it, and turns a fault of ours into a problem."""

    def __init__(self, app: App, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        scope["weft.request"] = request_id = _request_id(scope)
        started = time.perf_counter()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            log_fault(request_id, error)
            if scope["type"] == "http" and status == 0:
                await _answer_fault(scope, receive, watched)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = _template(scope) or ("files" if 0 < status < 400 else "unmatched")
        method = str(scope.get("method", "WS"))
        method = method if method in _METHODS or method == "WS" else "OTHER"
        self._metrics.requests.labels(route, method, str(status)).inc()
        if scope["type"] == "http":
            self._metrics.seconds.labels(route).observe(seconds)
        log_line(
            "request",
            request=scope["weft.request"],
            method=method,
            route=route,
            status=status,
            milliseconds=round(seconds * 1000, 1),
        )


def log_line(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """One JSON object a line. Callers pass ids, counts and times; no file names, parcel codes, addresses."""
    log.log(level, "%s", json.dumps({"event": event, **fields}, ensure_ascii=False))


def _request_id(scope: Scope) -> str:
    """The proxy's X-Request-Id where it is a harmless one, else our own."""
    for name, value in cast("list[tuple[bytes, bytes]]", scope["headers"]):
        if (
            name == b"x-request-id"
            and _REQUEST_ID.fullmatch(text := value.decode("latin-1"))
            and text.isascii()
        ):
            return text
    return uuid.uuid4().hex[:16]


def _template(scope: MutableMapping[str, Any]) -> str | None:
    """`/v1/estimates/{id}`, never the path itself: ids would make endless series."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else None


def log_fault(request_id: str, error: Exception) -> None:
    # Where, not what: a library's message may quote a file name or a value.
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    log_line("fault", level=logging.ERROR, request=request_id, kind=type(error).__name__, at=places)


async def _answer_fault(scope: Scope, receive: Receive, send: Send) -> None:
    made = make_problem(
        "internal",
        "this request hit a fault of ours; please report the request's id",
        instance=str(scope["path"])[:200],
        request=scope["weft.request"],
    )
    await reply(made)(scope, receive, send)
