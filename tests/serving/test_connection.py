"""Connections on real sockets: early answers, hostile headers, crowds, and the end of the service."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from weft_serving.door.connection import StreamConnection, connection_type

FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n'
Serve = Callable[..., tuple[int, Any]]


@pytest.fixture
def serve(start: Callable[..., TestClient]) -> Iterator[Serve]:
    """Put a service behind a real port; gives the port and the service."""
    with ExitStack() as running:

        def served(
            *, idle_seconds: float = 20, most: int = 100, burst_bytes: int = 9_000_000, **settings: Any
        ) -> tuple[int, Any]:
            app: Any = start(**settings).app
            config = uvicorn.Config(
                app,
                http=connection_type(idle_seconds=idle_seconds, most=most, burst_bytes=burst_bytes),
                ws=StreamConnection,
                log_config=None,
                lifespan="off",
                proxy_headers=False,
            )
            listening = socket.create_server(("127.0.0.1", 0))
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()

            def stop() -> None:
                server.should_exit = server.force_exit = True
                thread.join(20)

            running.callback(stop)
            return listening.getsockname()[1], app.state.service

        yield served


def dial(port: int, *, client: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(client, 0))


def head(length: int, *more: str) -> bytes:
    lines = ["POST /v1/estimates HTTP/1.1", "Host: x", f"Content-Type: {FORM}", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *more, "", ""]).encode()


def read_reply(line: socket.socket) -> tuple[int, dict[str, str], bytes]:
    got = b""
    while b"\r\n\r\n" not in got:
        piece = line.recv(65_536)
        assert piece, got
        got += piece
    top, body = got.split(b"\r\n\r\n", 1)
    fields = dict(row.lower().split(": ", 1) for row in top.decode().split("\r\n")[1:])
    while len(body) < int(fields["content-length"]):
        body += line.recv(65_536)
    return int(top[9:12]), fields, body


def is_well(port: int) -> bool:
    with dial(port) as neighbour:
        neighbour.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        return read_reply(neighbour)[0] == 200


def ends(line: socket.socket) -> bool:
    """Whether the other side closes, after whatever it may still send."""
    try:
        while line.recv(65_536):
            pass
    except ConnectionResetError:
        pass
    return True


def full(service: Any) -> None:
    service.pool._running = 1000


def test_a_large_upload_is_refused_before_it_is_sent_and_a_sender_that_goes_on_is_heard_out(
    serve: Serve,
) -> None:
    port, service = serve()
    full(service)
    with dial(port) as line:
        line.sendall(head(3_400_000) + PART)
        status, fields, body = read_reply(line)  # with 3.4 MB still to send
        assert (status, fields["connection"]) == (503, "close")
        assert int(fields["retry-after"]) >= 1
        assert json.loads(body)["type"] == "/problems/busy"
        for _ in range(33):  # no reset: the client would lose the answer
            line.sendall(b"\0" * 100_000)
        line.shutdown(socket.SHUT_WR)
        assert line.recv(1) == b""
    assert is_well(port)


def test_a_sender_that_reads_only_when_all_is_sent_still_finds_the_refusal(serve: Serve) -> None:
    port, service = serve()
    full(service)
    with dial(port) as line:
        line.sendall(head(3_400_000) + b"\0" * 3_400_000)
        assert read_reply(line)[0] == 503


def test_a_small_refused_body_leaves_the_connection_open_for_the_next_request(serve: Serve) -> None:
    port, service = serve()
    full(service)
    with dial(port) as line:
        line.sendall(head(60_000) + PART)
        status, fields, _ = read_reply(line)
        assert status == 503
        assert "connection" not in fields
        line.sendall(b"\0" * (60_000 - len(PART)) + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_reply(line)[0] == 200


def test_who_asks_before_sending_is_refused_without_sending(serve: Serve) -> None:
    port, service = serve()
    full(service)
    with dial(port) as line:
        line.sendall(head(3_400_000, "Expect: 100-continue"))
        assert read_reply(line)[0] == 503
        assert ends(line)


def test_health_figures_and_estimates_are_read_while_there_is_no_room_for_photos(
    serve: Serve, jpeg: Any
) -> None:
    port, service = serve()
    photo = PART + jpeg() + b"\r\n--b--\r\n"
    with dial(port) as line:
        line.sendall(head(len(photo)) + photo)
        made = json.loads(read_reply(line)[2])
        full(service)
        for path in ("/healthz", "/readyz", "/metrics", f"/v1/estimates/{made['id']}", "/"):
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert read_reply(line)[0] == 200, path


def test_nothing_is_done_for_a_client_that_hangs_up_while_it_waits(serve: Serve, jpeg: Any) -> None:
    port, service = serve(workers=1)
    gate, held = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        gate.wait(20)

    service.models.weight.weigher.prepare_all = lambda *_: hold()
    photo = PART + jpeg() + b"\r\n--b--\r\n"
    with dial(port) as first, dial(port) as second:
        first.sendall(head(len(photo)) + photo)
        assert held.wait(20)
        second.sendall(head(len(photo)) + photo)
        until = time.monotonic() + 20
        while service.pool.jobs < 2 and time.monotonic() < until:
            time.sleep(0.01)
        second.close()
        while service.pool.left < 1 and time.monotonic() < until:
            time.sleep(0.01)
        assert (service.pool.jobs, service.pool.left) == (1, 1)
        gate.set()


def test_a_deadline_that_cannot_be_read_is_a_422(serve: Serve) -> None:
    port, _ = serve()
    with dial(port) as line:
        line.sendall(head(10, "X-Envoy-Expected-Rq-Timeout-Ms: soon"))
        status, _, body = read_reply(line)
        assert status == 422
        assert "'soon'; send a whole number of milliseconds" in json.loads(body)["detail"]


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 1_000_000,
        b"GET /healthz HTTP/1.1\r\n" + b"X: 1\r\n" * 100_000 + b"\r\n",
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
    ids=["one header of a megabyte", "100,000 headers", "an address of a megabyte", "70 kB of headers"],
)
def test_headers_beyond_64_kb_get_a_431(serve: Serve, sent: bytes) -> None:
    port, _ = serve()
    with dial(port) as line:
        line.sendall(sent)
        status, _, body = read_reply(line)
        assert status == 431
        assert "more than 65,536 bytes" in json.loads(body)["detail"]
    assert is_well(port)


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: -5",
        "Content-Length: 5, 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "no header",
    ],
)
@pytest.mark.parametrize(
    "earlier", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first", "second"]
)
def test_what_is_no_http_gets_a_problem_too(serve: Serve, lines: str, earlier: bytes) -> None:
    port, _ = serve()
    with dial(port) as line:
        if earlier:
            line.sendall(earlier)
            assert read_reply(line)[0] == 200
        line.sendall(f"POST /v1/estimates HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\nhello".encode())
        status, headers, body = read_reply(line)
        assert status == 400
        assert headers["content-type"] == "application/problem+json"
        assert json.loads(body)["type"] == "/problems/bad-request"
        assert "send it by an HTTP library" in json.loads(body)["detail"]
        assert ends(line)
    assert is_well(port)


def test_a_chunk_that_is_none_ends_the_connection_with_a_problem(serve: Serve) -> None:
    port, service = serve()
    with dial(port) as line:
        chunked = (
            f"POST /v1/estimates HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked"
        )
        line.sendall(f"{chunked}\r\n\r\n5\r\nhello\r\n".encode())
        time.sleep(0.1)
        line.sendall(b"no length\r\n")
        assert read_reply(line)[0] == 400
        assert ends(line)
    assert is_well(port)
    assert service.pool.jobs == 0


def test_endless_trailers_after_a_chunked_body_end_the_connection(serve: Serve) -> None:
    port, _ = serve()
    with dial(port) as line:
        line.sendall(
            f"POST /v1/estimates HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n".encode()
        )
        try:
            for _ in range(100):
                line.sendall(b"X: " + b"a" * 10_000 + b"\r\n")
        except OSError:
            pass
        assert ends(line)
    assert is_well(port)


@pytest.mark.parametrize("pixels", [(480, 640), (1200, 1600)], ids=["frame", "photo"])
def test_a_client_whose_bodies_fill_the_memory_gives_way_to_a_neighbour(
    serve: Serve, jpeg: Any, pixels: tuple[int, int]
) -> None:
    port, _ = serve(workers=2, in_flight_bytes=1_500_000)
    photo = PART + jpeg(height=pixels[0], width=pixels[1]) + b"\r\n--b--\r\n"
    greedy = [dial(port, client="127.0.0.2") for _ in range(3)]
    try:
        for line in greedy:
            line.sendall(head(3_400_000) + PART + b"\0" * 490_000)  # and no more
        time.sleep(0.3)
        with dial(port) as neighbour:
            began = time.monotonic()
            neighbour.sendall(head(len(photo)) + photo)
            status, _, body = read_reply(neighbour)
        assert (status, time.monotonic() - began < 5) == (200, True), body
        refused = []
        for line in greedy:
            line.settimeout(0.5)
            with suppress(TimeoutError):
                refused.append(read_reply(line))
        assert 1 <= len(refused) <= 2
        assert {status for status, _, _ in refused} == {503}
        assert "too many uploads" in json.loads(refused[0][2])["detail"]
    finally:
        for line in greedy:
            line.close()


def test_a_crowd_of_idle_connections_gives_way_to_one_that_asks(serve: Serve) -> None:
    port, _ = serve(most=20)
    idle = [dial(port) for _ in range(60)]
    try:
        assert is_well(port)
        closed = 0
        for line in idle[:39]:  # the oldest went first
            line.settimeout(20)
            closed += ends(line)
        assert closed == 39
        idle[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_reply(idle[-1])[0] == 200
    finally:
        for line in idle:
            line.close()


def test_who_takes_all_connections_loses_his_own_to_a_neighbour(serve: Serve) -> None:
    port, _ = serve(most=10)
    begun = head(1000) + PART  # and no more
    with dial(port, client="127.0.0.3") as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_reply(kept)[0] == 200  # and is idle from now on, for longer than any other
        greedy = [dial(port, client="127.0.0.2") for _ in range(9)]
        for line in greedy:
            line.sendall(begun)
        time.sleep(0.3)
        with dial(port, client="127.0.0.2") as more:
            assert read_reply(more)[0] == 503  # all of them are at work, and they are more than his share
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_reply(kept)[0] == 200
        kept.sendall(begun)
        time.sleep(0.1)
        assert is_well(port)
        status, _, body = read_reply(greedy[0])
        assert (status, ends(greedy[0])) == (503, True)
        assert "as many connections are open as this server takes" in json.loads(body)["detail"]
        for line in greedy:
            line.close()


def test_an_idle_crowd_of_one_client_costs_no_other_its_connection(serve: Serve) -> None:
    port, _ = serve(most=10)
    with dial(port, client="127.0.0.3") as kept:
        crowd = [dial(port, client="127.0.0.2") for _ in range(30)]
        assert ends(crowd[0])
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_reply(kept)[0] == 200
        for line in crowd:
            line.close()


def test_who_brings_too_much_at_once_is_told_so(serve: Serve) -> None:
    port, _ = serve(burst_bytes=50_000)
    with dial(port) as line:
        line.sendall(head(200_000) + PART + b"\0" * 100_000)
        status, _, body = read_reply(line)
        assert status == 503
        assert b"too many uploads" in body
        assert ends(line)
    assert is_well(port)


def test_one_byte_at_a_time_holds_a_connection_for_no_longer_than_allowed(serve: Serve) -> None:
    port, _ = serve(idle_seconds=0.3)
    with dial(port) as slow:
        until = time.monotonic() + 20
        try:
            for byte in b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 400:
                slow.sendall(bytes([byte]))
                time.sleep(0.05)
                assert time.monotonic() < until
        except OSError:
            pass
        else:
            pytest.fail("it was never closed")
    assert is_well(port)


def test_signals_drain_then_stop_and_a_second_one_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from weft_serving.door import stopping

    app: Any = type("App", (), {"state": type("State", (), {"draining": False})()})()
    server = stopping.Server(uvicorn.Config(app, log_config=None), app, None, drain_seconds=2)
    ended: list[int] = []
    monkeypatch.setattr(stopping.os, "_exit", ended.append)
    monkeypatch.setattr(stopping.threading, "Timer", lambda *_: threading.Thread(target=lambda: None))

    server.handle_exit(signal.SIGTERM, None)

    assert app.state.draining
    assert not server.should_exit  # it still answers while balancers look elsewhere
    server.handle_exit(signal.SIGINT, None)
    assert ended == [130]
