"""Figures for the operators (Prometheus) and one log line a request; nothing personal in either."""

import json
import logging
import re
import time
import traceback
import uuid
from collections.abc import Generator, Iterable, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, cast

from fastapi import Request, Response
from fastapi.routing import APIRouter
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    generate_latest,
)

from weft.weigher import PhotoFinding
from weft_serving.guard import App, Message, Receive, Scope, Send
from weft_serving.problems import make_problem, reply

log = logging.getLogger("weft.serving")
router = APIRouter(tags=["operation"])
_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID: Final = re.compile(r"[\w.\-]{8,64}")


class Metrics:
    """One registry per service, so that two services in one process (tests) do not share figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "weft_requests",
            "Requests by route, method and status",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "weft_request_seconds",
            "Time to the whole answer",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "weft_stage_seconds",
            "Time of one stage of the work",
            ["stage"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.photos = Counter("weft_photos", "Photos by what was found", ["finding"], registry=self.registry)
        self.stream_messages = Counter(
            "weft_stream_messages", "Stream answers", ["task", "outcome"], registry=self.registry
        )
        self.streams = Gauge("weft_streams", "Open streams", registry=self.registry)
        self.jobs = Gauge("weft_jobs", "Jobs running or waiting", registry=self.registry)
        self.recent_bytes = Gauge(
            "weft_recent_bytes", "Pixels held for photos to come", registry=self.registry
        )
        self.open_streams = 0
        self.bundles = Info("weft_bundle", "The loaded bundles", ["task"], registry=self.registry)

    @contextmanager
    def stage(self, name: str) -> Generator[None, None, None]:
        """Time one stage: `prepare`, `weigh`, `read_scan`, `identify`, `store`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stages.labels(name).observe(time.perf_counter() - started)

    def count_photos(self, findings: Iterable[PhotoFinding]) -> None:
        """Count new photos once they are judged: some of the advice comes from the graph."""
        for finding in findings:
            self.photos.labels("usable" if finding.usable else "unusable").inc()
            for advice in finding.advice:
                self.photos.labels(advice).inc()

    @contextmanager
    def stream_open(self) -> Generator[None, None, None]:
        self.open_streams += 1
        self.streams.set(self.open_streams)
        try:
            yield
        finally:
            self.open_streams -= 1
            self.streams.set(self.open_streams)


@router.get("/metrics", response_class=Response)
def read_metrics(request: Request) -> Response:
    """Prometheus text."""
    metrics: Metrics = request.app.state.service.metrics
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


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
