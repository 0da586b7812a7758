"""OpenTelemetry traces, an extra (`weft[otel]`): a span a request with its stages, nothing personal in them.

Off, nothing of OpenTelemetry is loaded and a request pays one comparison.
"""

import logging
import time
from collections.abc import Sequence
from contextvars import Token
from typing import TYPE_CHECKING, Any, Final, cast

from weft_serving.door.guard import Scope
from weft_serving.watch.logs import Repeats, log_line

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Span

_FLUSH_MS: Final = 3_000
_SILENCE_SECONDS: Final = 60.0  # a collector that is away is told of once a minute


class RequestSpan:
    """One request on its way; `end` belongs to the task that began it."""

    def __init__(self, span: "Span", token: "Token[Context]", method: str) -> None:
        self._span = span
        self._token = token
        self._method = method

    def end(self, route: str, status: int) -> None:
        from opentelemetry import context, trace

        # The path itself holds ids, and what strangers put there: only the template goes out.
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attribute("http.route", route)
        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(trace.StatusCode.ERROR)
        self._span.end()
        context.detach(self._token)


class Tracing:
    """Makes the spans. Made by `open_tracing`, or by a test with an exporter of its own."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("weft.serving")
        self._parents = TraceContextTextMapPropagator()

    def begin(self, scope: Scope, method: str) -> RequestSpan:
        """The span of a request; the caller's `traceparent` is taken over, its `tracestate` is not."""
        from opentelemetry import context, trace

        headers = dict(cast("list[tuple[bytes, bytes]]", scope["headers"]))
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        span = self._tracer.start_span(
            method,
            context=self._parents.extract({"traceparent": parent}, context=context.Context()),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": method, "weft.request": str(scope["weft.request"])},
        )
        return RequestSpan(span, context.attach(trace.set_span_in_context(span)), method)

    def tell(self, stage: str, seconds: float, ago: float) -> None:
        """A stage that ended `ago` seconds before, in the context of its request; else nothing is told."""
        from opentelemetry import trace

        if not trace.get_current_span().is_recording():
            return
        ended = time.time_ns() - round(ago * 1e9)
        span = self._tracer.start_span(stage, start_time=ended - round(seconds * 1e9))
        span.end(ended)

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        self._provider.force_flush(_FLUSH_MS)
        self._provider.shutdown()


def open_tracing(endpoint: str | None) -> Tracing | None:
    """Traces to an OTLP collector over HTTP; None where no endpoint is set.

    The SDK reads the other `OTEL_*` variables itself: headers, service name, sampler.

    Args:
        endpoint: As in `OTEL_EXPORTER_OTLP_ENDPOINT`: http://collector:4318.
    """
    if not endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        # The variable is often set for every program of a cluster: no reason not to start.
        log_line("no-traces", level=logging.WARNING, why="OpenTelemetry is not installed; weft[otel] has it")
        return None
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces")
    return trace_to(cast("Any", BatchSpanProcessor)(_Patient(exporter)))


def trace_to(processor: Any) -> Tracing:
    """Traces through a span processor of the SDK."""
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: "weft"}), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return Tracing(provider)


class _Patient:
    """Says that spans are lost, once a minute and without a traceback, and goes on."""

    def __init__(self, exporter: "SpanExporter") -> None:
        self._exporter = exporter
        self._repeats = Repeats(_SILENCE_SECONDS)
        self._lost = 0

    def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
        from opentelemetry.sdk.trace.export import SpanExportResult

        result = self._exporter.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if self._repeats.due("export", time.monotonic()) is not None:
                log_line("traces-lost", level=logging.WARNING, spans=self._lost)
                self._lost = 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
