"""Figures for the operators, as Prometheus reads them; nothing personal among them."""

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

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

router = APIRouter(tags=["operation"])
_BUCKETS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


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
