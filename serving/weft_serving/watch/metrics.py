"""Figures for the operators, as Prometheus reads them; nothing personal among them.

Every label has few values, all ours: routes as templates, words of advice, slugs. What is counted at every
request is bound once to its label, as looking one up costs as much as counting.
"""

import math
import time
from collections.abc import Callable, Generator
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
    ProcessCollector,
    generate_latest,
)

from weft.card import Card
from weft.errors import PhotoError, ScanError, WeftError
from weft.quality import ADVICE
from weft.weigher import Estimate, PhotoFinding

router = APIRouter(tags=["operation"])
_SECONDS: Final = (
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
    0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30,
)  # fmt: skip
_GRAMS: Final = (100, 200, 500, 1_000, 2_000, 3_500, 5_000, 7_500, 10_000, 15_000, 20_000, 30_000)
_WIDTHS: Final = (1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.25, 2.5, 2.75, 3, 3.5, 4, 5, 7, 10, 20, 50)
_MOST_WIDTH: Final = 1_000.0  # an interval down to 0 g would make the sum infinite
_BATCHES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_UNKNOWN: Final = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)
_STRANGE: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5)
_LAGS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
# Receiving the body, waiting for a thread, decoding, looking for the mark, judging light and sharpness,
# waiting for a batch, the graph, the database; the others hold several of these or stand beside them.
STAGES: Final = (
    "receive", "queue", "arrive", "decode", "mark", "judge", "batch", "run", "store",
    "prepare", "weigh", "read_scan", "identify", "explain",
)  # fmt: skip
Tell = Callable[[str, float, float], None]  # a stage, the seconds it took, and how long ago it ended


class Metrics:
    """One registry per service, so that two services in one process (tests) do not share figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count_requests()
        self._count_work()
        self._count_answers()
        self._count_house()
        self.tell: Tell | None = None  # of tracing, where it is on

    def _count_requests(self) -> None:
        self.requests = self._counter(
            "requests", "Requests by route, method and status", "route", "method", "status"
        )
        self.seconds = self._histogram(
            "request_seconds", "Time to the whole answer, the upload included", _SECONDS, "route"
        )
        self.answers = self._histogram(
            "answer_seconds",
            "Time from a body's last byte to the answer, where it was one",
            _SECONDS,
            "route",
        )
        self.problems = self._counter("problems", "Problems told, by kind", "kind")
        self.refused = self._counter("refused", "Requests refused with 503, by reason", "reason")
        self.stream_messages = self._counter("stream_messages", "Stream answers", "task", "outcome")
        self.streams = self._gauge("streams", "Open streams")
        self.open_streams = 0

    def _count_work(self) -> None:
        self.stages = self._histogram("stage_seconds", "Time of one stage of the work", _SECONDS, "stage")
        self._stages = {name: self.stages.labels(name) for name in STAGES}
        self.jobs = self._gauge("jobs", "Jobs running or waiting")
        self.waiting = self._gauge("waiting_jobs", "Jobs waiting for a thread")
        self.batches = self._histogram("batch_subjects", "Parcels in one call of the graph", _BATCHES)
        self.recent_bytes = self._gauge("recent_bytes", "Pixels held for photos to come")

    def _count_answers(self) -> None:
        self.photos = self._counter("photos", "Photos by what was found", "finding")
        self._photos = {word: self.photos.labels(word) for word in ("usable", "unusable", *ADVICE)}
        self.decode_errors = self._counter(
            "decode_errors", "Photos and scans that could not be read, by kind of problem", "reason"
        )
        self.estimates = self._counter("estimates", "Parcels estimated, by what was said", "said")
        self._estimates = {said: self.estimates.labels(said) for said in ("interval", "grams", "nothing")}
        self.weighings = self._counter("weighings", "Scale readings that came in for an estimate")
        self.grams = self._histogram("estimate_grams", "Estimated mass of parcels", _GRAMS)
        self.widths = self._histogram(
            "interval_width_ratio", "Upper over lower end of an estimate's interval", _WIDTHS
        )
        self.strangeness = self._histogram(
            "photo_strangeness_ratio",
            "Distance from the training photos over the card's limit; above 1 is unfamiliar",
            _STRANGE,
        )
        self.scans = self._counter(
            "scans", "Scans identified, by whether the model knows such a textile", "said"
        )
        self._scans = {said: self.scans.labels(said) for said in ("known", "unknown")}
        self.unknown = self._histogram(
            "scan_unknown", "How much a scan looks like no known textile, 0 to 1", _UNKNOWN
        )

    def _count_house(self) -> None:
        self.bundles = Info("weft_bundle", "The loaded bundles", ["task"], registry=self.registry)
        self.lag = self._histogram("event_loop_lag_seconds", "How late the event loop wakes up", _LAGS)
        ProcessCollector(registry=self.registry)  # CPU, memory, open files

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        return Counter(f"weft_{name}", said, labels, registry=self.registry)

    def _gauge(self, name: str, said: str) -> Gauge:
        return Gauge(f"weft_{name}", said, registry=self.registry)

    def _histogram(self, name: str, said: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"weft_{name}", said, labels, buckets=buckets, registry=self.registry)

    def stage(self, name: str) -> "_Timed":
        """Time one of `STAGES`: `with metrics.stage("store"):`."""
        return _Timed(self, name)

    def spent(self, stage: str, seconds: float, *, ago: float = 0.0) -> None:
        """Count one of `STAGES` that ended `ago` seconds before; told in the context of its request."""
        self._stages[stage].observe(seconds)
        if self.tell is not None:
            self.tell(stage, seconds, ago)

    def count_estimate(self, estimate: Estimate, card: Card, *, first: int = 0) -> None:
        """Count one parcel's answer, and its photos from place `first` on: the earlier ones were counted."""
        shift = None if card.weight is None else card.weight.shift
        for finding in estimate.photos[first:]:
            self._count_photo(finding, 0.0 if shift is None else shift.strange_above)
        grams, low, high = estimate.grams, estimate.low_grams, estimate.high_grams
        if grams is None:
            self._estimates["nothing"].inc()
            return
        self.grams.observe(grams)
        if low is None or high is None:
            self._estimates["grams"].inc()
            return
        self._estimates["interval"].inc()
        self.widths.observe(min(_MOST_WIDTH, high / low) if low > 0 else _MOST_WIDTH)

    def _count_photo(self, finding: PhotoFinding, strange_above: float) -> None:
        self._photos["usable" if finding.usable else "unusable"].inc()
        for advice in finding.advice:
            self._photos[advice].inc()
        if finding.fault is not None:
            self.decode_errors.labels(finding.fault).inc()
        if strange_above > 0 and finding.strangeness is not None and math.isfinite(finding.strangeness):
            self.strangeness.observe(finding.strangeness / strange_above)

    def count_scan(self, unknown: float, *, threshold: float) -> None:
        self._scans["unknown" if unknown >= threshold else "known"].inc()
        self.unknown.observe(unknown)

    def count_problem(self, error: WeftError) -> None:
        """A refusal that went out; of busy ones `reason` says what there was too much of."""
        self.problems.labels(error.slug).inc()
        if isinstance(error, PhotoError | ScanError):
            self.decode_errors.labels(error.slug).inc()

    @contextmanager
    def stream_open(self) -> Generator[None, None, None]:
        self.open_streams += 1
        self.streams.set(self.open_streams)
        try:
            yield
        finally:
            self.open_streams -= 1
            self.streams.set(self.open_streams)


class _Timed:
    """A class, as a generator's context costs three times as much."""

    __slots__ = ("_metrics", "_name", "_started")

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics = metrics
        self._name = name
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._metrics.spent(self._name, time.perf_counter() - self._started)


@router.get("/metrics", response_class=Response)
def read_metrics(request: Request) -> Response:
    """Prometheus text."""
    metrics: Metrics = request.app.state.service.metrics
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
