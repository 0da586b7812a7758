"""Traces: a span a request with its stages below, the caller's trace taken over, nothing personal."""

import http.server
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

sdk = pytest.importorskip("opentelemetry.sdk.trace.export", reason="weft[otel] is not installed")
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: E402

from weft_serving.watch.tracing import open_tracing, trace_to  # noqa: E402

Jpeg = Callable[..., bytes]
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(start: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[TestClient, InMemorySpanExporter]:
    """A traced service, and what it has told."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr("weft_serving.app.open_tracing", lambda _: trace_to(SimpleSpanProcessor(exporter)))
    return start(), exporter


def test_a_request_is_a_span_and_its_stages_are_below_it(
    spans: tuple[TestClient, InMemorySpanExporter], photos: Any, jpeg: Jpeg
) -> None:
    client, exporter = spans
    reply = client.post("/v1/estimates", files=photos(jpeg(1)), data={"parcel": "SECRET-17"})
    assert reply.status_code == 200

    told = {span.name: span for span in exporter.get_finished_spans()}
    whole = told.pop("POST /v1/estimates")
    assert {"receive", "queue", "decode", "judge", "run", "store", "prepare", "weigh"} <= set(told)
    assert whole.attributes is not None
    assert dict(whole.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/estimates",
        "http.response.status_code": 200,
        "weft.request": reply.headers["x-request-id"],
    }
    for span in told.values():
        assert span.parent is not None
        assert span.parent.span_id == whole.context.span_id
        assert whole.start_time - 5_000_000 <= span.start_time <= span.end_time <= whole.end_time + 5_000_000


def test_the_callers_trace_is_taken_over_and_what_else_it_sends_is_not(
    spans: tuple[TestClient, InMemorySpanExporter],
) -> None:
    client, exporter = spans
    headers = {
        "traceparent": PARENT,
        "tracestate": "anna=secret",
        "baggage": "who=anna",
        "user-agent": "anna/1",
    }
    client.get("/healthz?who=anna", headers=headers)

    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    assert "anna" not in span.to_json()


@pytest.mark.parametrize("parent", ["", "rubbish", "00-zz-zz-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_parent_that_cannot_be_read_begins_a_trace_of_its_own(
    spans: tuple[TestClient, InMemorySpanExporter], parent: str
) -> None:
    client, exporter = spans
    assert client.get("/healthz", headers={"traceparent": parent}).status_code == 200

    (span,) = exporter.get_finished_spans()
    assert span.parent is None


def test_requests_at_the_same_time_keep_their_stages_apart(
    spans: tuple[TestClient, InMemorySpanExporter], photos: Any, jpeg: Jpeg
) -> None:
    client, exporter = spans
    threads = [
        threading.Thread(target=lambda seed=seed: client.post("/v1/estimates", files=photos(jpeg(seed))))
        for seed in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    finished = exporter.get_finished_spans()
    wholes = {span.context.span_id for span in finished if span.name == "POST /v1/estimates"}
    decoded = [span.parent.span_id for span in finished if span.name == "decode" and span.parent is not None]
    assert len(wholes) == 6
    assert sorted(decoded) == sorted(wholes)


def test_a_fault_of_ours_is_an_error_in_the_trace_without_its_words(
    spans: tuple[TestClient, InMemorySpanExporter], photos: Any, jpeg: Jpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, exporter = spans

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("anna@example.org")

    monkeypatch.setattr("weft_serving.estimates.prepare_photos", broken)
    assert client.post("/v1/estimates", files=photos(jpeg(1))).status_code == 500

    (span,) = [span for span in exporter.get_finished_spans() if span.name == "POST /v1/estimates"]
    assert not span.status.is_ok
    assert "anna" not in span.to_json()


class Collector(http.server.BaseHTTPRequestHandler):
    """The few lines of an OTLP receiver that a test needs."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.taken.append((self.path, self.headers["content-type"], body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def collector() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.taken = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_spans_reach_a_collector_over_a_socket(
    start: Any, collector: Any, photos: Any, jpeg: Jpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # ms; 5 s else
    client = start(otlp_endpoint=f"http://127.0.0.1:{collector.server_port}/")
    client.post("/v1/estimates", files=photos(jpeg(1)))
    until = time.monotonic() + 20
    while b"POST /v1/estimates" not in b"".join(body for _, _, body in collector.taken):
        assert time.monotonic() < until, "nothing has reached the collector"
        time.sleep(0.02)

    sent: list[Any] = []
    services: set[str] = set()
    for path, kind, body in collector.taken:
        assert (path, kind) == ("/v1/traces", "application/x-protobuf")
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            services |= {
                at.value.string_value for at in resource.resource.attributes if at.key == "service.name"
            }
            sent += [span for scope in resource.scope_spans for span in scope.spans]
    assert services == {"weft"}
    (whole,) = [span for span in sent if span.name == "POST /v1/estimates"]
    assert {span.name for span in sent if span.parent_span_id == whole.span_id} >= {"decode", "run", "store"}


def test_without_an_endpoint_there_are_no_traces() -> None:
    assert open_tracing(None) is None
    assert open_tracing("") is None


def test_off_nothing_of_it_is_loaded() -> None:
    script = (
        "import sys; import weft_serving.app\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"  # FastAPI takes the bare interface where it is
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_where_the_extra_is_missing_the_service_runs_without_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    assert open_tracing("http://127.0.0.1:4318") is None
