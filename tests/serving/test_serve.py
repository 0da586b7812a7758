"""The command `weft serve`, as a real process on a real port."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

FORM = "multipart/form-data; boundary=b"
PART_WITHOUT_ITS_END = '--b\r\nContent-Disposition: form-data; name="wrap"\r\n\r\nbag\r\n--bX'
SERVE = [sys.executable, "-m", "weft", "serve"]


class Server:
    def __init__(self, process: subprocess.Popen[str], lines: list[str]) -> None:
        self.process = process
        self.lines = lines
        self.base = re.findall(r"http://\S+?:\d+", lines[0])[0]
        self.port = int(self.base.rsplit(":", 1)[1])


@pytest.fixture
def variables() -> dict[str, str]:
    """Of the server's environment; a test may parametrize them."""
    return {}


@pytest.fixture
def server(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path, variables: dict[str, str]
) -> Iterator[Server]:
    process = subprocess.Popen(
        [*SERVE, "--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle), "--port", "0"],
        cwd=tmp_path, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(8)]
    yield Server(process, lines)
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("WEFT_") and name != "PORT"
    }
    return kept | {"PYTHONUNBUFFERED": "1", "WEFT_DRAIN_SECONDS": "0"} | more


def send_and_wait(line: ClientConnection, message: bytes) -> None:
    line.send(message)
    line.recv(timeout=20)


def ask_for_ever(url: str) -> None:
    while True:
        get(url)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as reply:
        return json.load(reply)


def test_it_answers_soon_prints_lines_that_work_and_stops_when_told(server: Server, tmp_path: Path) -> None:
    assert get(f"{server.base}/readyz") == {"status": "ok"}
    curls = [line.strip() for line in server.lines if line.strip().startswith("curl")]
    answers = [
        json.loads(subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, check=True).stdout)
        for line in curls
    ]

    assert answers[0]["grams"] > 0
    assert sum(share["share"] for share in answers[1]["shares"]) == pytest.approx(1, abs=1e-3)
    server.process.send_signal(signal.SIGINT)
    _, told = server.process.communicate(timeout=20)
    assert server.process.returncode == 0
    assert "Traceback" not in told
    assert "Aborted" not in told


@pytest.mark.parametrize("variables", [{"WEFT_DRAIN_SECONDS": "2"}])
def test_a_stop_says_so_first_then_finishes_what_is_in_flight_and_ends_well(
    server: Server, jpeg: Any
) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n'
        + jpeg()
        + b"\r\n--b--\r\n"
    )
    head = f"POST /v1/estimates HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as upload,
        connect(server.base.replace("http", "ws") + "/v1/stream") as line,
    ):
        line.send(json.dumps({"task": "weight"}))
        send_and_wait(line, jpeg(1))
        upload.sendall(head.encode() + body[:1000])
        get(f"{server.base}/readyz")
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            ask_for_ever(f"{server.base}/readyz")
        with pytest.raises(ConnectionClosed) as closed:
            line.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason[:23]) == (1012, "the service is stopping")
        upload.sendall(body[1000:])
        assert upload.recv(65_536).startswith(b"HTTP/1.1 200")
    _, told = server.process.communicate(timeout=20)
    assert server.process.returncode == 0
    assert "Traceback" not in told


def test_hostile_connections_do_not_stop_it(server: Server, jpeg: Any) -> None:
    head = f"POST /v1/estimates HTTP/1.1\r\nHost: {server.base[7:]}\r\nContent-Type: {FORM}\r\n"
    chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
    part = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n'

    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as endless:
        endless.sendall(chunked.encode() + b"%x\r\n%s\r\n" % (len(part), part))
        piece = b"%x\r\n%s\r\n" % (1_000_000, b"\0" * 1_000_000)
        for _ in range(70):  # would go on for ever
            endless.sendall(piece)
        endless.sendall(b"0\r\n\r\n")
        assert b" 413 " in endless.recv(4096).split(b"\r\n")[0]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as gone:
        gone.sendall((head + "Content-Length: 50000000\r\n\r\n").encode() + part)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as noise:
        noise.sendall(b"\x16\x03\x01 hello TLS?\r\n\r\n")
        assert noise.recv(4096).startswith(b"HTTP/1.1 400")

    too_long = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    too_long.request("POST", "/v1/estimates", b"\0" * 61_000_000, {"Content-Type": FORM})
    reply = too_long.getresponse()
    assert (reply.status, reply.headers["content-type"]) == (413, "application/problem+json")
    too_long.close()

    body = b"--b\r\n" + part[5:] + jpeg() + b"\r\n--b--\r\n"
    fine = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    fine.request("POST", "/v1/estimates", body, {"Content-Type": FORM})
    assert fine.getresponse().status == 200
    fine.close()


@pytest.mark.parametrize("variables", [{"WEFT_IDLE_SECONDS": "1"}])
def test_half_a_header_does_not_hold_a_connection_for_ever_and_every_log_line_is_json(server: Server) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as silent,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as half,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as second,
    ):
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: x")
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert second.recv(4096).startswith(b"HTTP/1.1 200")
        second.sendall(b"GET /healthz HTTP/1.1\r\nHost: x")
        for line in (silent, half):
            assert line.recv(4096) == b""
        while second.recv(4096):
            pass
    body = PART_WITHOUT_ITS_END.encode()
    told = urllib.request.Request(f"{server.base}/v1/estimates", body, {"Content-Type": FORM})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(told, timeout=20)

    server.process.send_signal(signal.SIGINT)
    _, errors = server.process.communicate(timeout=20)
    lines = [json.loads(line) for line in errors.splitlines()]
    assert lines[-1]["event"] == "request"
    assert lines[-1]["status"] == 400
    assert all({"time", "level", "event"} <= set(line) for line in lines)


def test_the_stream_works_over_a_real_socket_and_its_messages_are_bounded(server: Server, jpeg: Any) -> None:
    url = server.base.replace("http", "ws") + "/v1/stream"
    with connect(url) as line:
        line.send(json.dumps({"task": "weight"}))
        for message in (jpeg(1), b"bad", jpeg(2)):
            line.send(message)
        answers = [json.loads(line.recv(timeout=20)) for _ in range(3)]
    assert [answer.get("status") for answer in answers] == [None, 415, None]
    assert [answer["number"] for answer in answers] == [1, 2, 3]

    with connect(url, max_size=None) as line:
        line.send(json.dumps({"task": "weight"}))
        line.send(b"\0" * 31_000_000)
        assert json.loads(line.recv(timeout=20))["status"] == 413
        with pytest.raises(ConnectionClosed):
            send_and_wait(line, b"\0" * 70_000_000)
    assert get(f"{server.base}/healthz") == {"status": "ok"}


def refused(*options: str, cwd: Path, **variables: str) -> str:
    made = subprocess.run(
        [*SERVE, *options], cwd=cwd, env=environment(**variables), capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 1, made.stdout + made.stderr
    assert made.stderr.startswith("Error: ")
    assert made.stderr.count("\n") == 1
    return made.stderr


def test_what_would_go_wrong_later_refuses_the_start_in_one_line(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    both = ["--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle), "--port", "0"]
    flipped = bytearray(tiny_weight_bundle.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (tmp_path / "flipped.onnx").write_bytes(flipped)

    told = refused("--weight", str(tmp_path / "flipped.onnx"), *both[2:], cwd=tmp_path)
    assert "does not match its seal" in told
    assert "a bundle for composition" in refused("--weight", str(tiny_fibre_bundle), *both[2:], cwd=tmp_path)
    assert "cannot be used" in refused(*both, "--database", "sqlite:////no/such/place/x.db", cwd=tmp_path)
    assert "is no folder" in refused("--port", "0", cwd=tmp_path, WEFT_BUNDLES="/no/such/place")
    assert "PORT: " in refused(*both[:4], cwd=tmp_path, PORT="eighty")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"cannot listen on 127.0.0.1:{port}" in refused(*both[:4], cwd=tmp_path, PORT=str(port))
    assert not (tmp_path / "weft.db").exists()


def test_what_only_an_operator_can_mend_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weft.errors import StoreError
    from weft_serving import run
    from weft_serving.settings import Settings, read_settings

    with pytest.raises(StoreError, match=r"WEFT_TRUSTED_PROXIES: .*balancer"):
        read_settings({"WEFT_TRUSTED_PROXIES": "10.0.0.0/8, balancer"})
    assert read_settings({"WEFT_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}).trusted_proxies is not None
    monkeypatch.setattr(run.shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    with pytest.raises(StoreError, match="only 4,096 bytes are free"):
        run.check_disk(Settings(database_url=f"sqlite:///{tmp_path}/weft.db"))
    run.check_disk(Settings(database_url="postgresql://weft@db/weft"))
    assert run.told_of_connections(Settings(), 10_000) == []
    (told,) = run.told_of_connections(Settings(), 896)
    assert "at most 896 connections at once, not 10,000" in told
    assert "allow 10,128 (ulimit -n)" in told


@pytest.mark.parametrize(
    ("variable", "value", "need"),
    [
        ("WEFT_IN_FLIGHT_BYTES", "1", "greater than or equal to 60000000"),
        ("WEFT_IDLE_SECONDS", "inf", "a finite number"),
        ("WEFT_IDLE_SECONDS", "1e9", "less than or equal to 3600"),
        ("WEFT_MAX_WAIT_MS", "nan", "a finite number"),
        ("WEFT_BODY_SECONDS", "1e300", "less than or equal to 86400"),
        ("WEFT_RECENT_SECONDS", "-1", "greater than or equal to 0"),
        ("WEFT_KEEP_PHOTOS_HOURS", "inf", "a finite number"),
        ("WEFT_PIECES_DAYS", "1e300", "less than or equal to 36500"),
    ],
)
def test_a_setting_that_no_service_could_run_with_is_refused_with_what_is_needed(
    variable: str, value: str, need: str
) -> None:
    from weft.errors import StoreError
    from weft_serving.settings import read_settings

    with pytest.raises(StoreError, match=rf"^{variable}: .*{need}; got '{value}'$"):
        read_settings({variable: value})


def test_bundles_are_taken_from_the_operators_folder(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    from weft_serving.run import find_bundle
    from weft_serving.settings import Settings

    (tmp_path / "weight.onnx").write_bytes(tiny_weight_bundle.read_bytes())
    chosen = Settings(bundles=tmp_path, fibre=tiny_fibre_bundle)

    assert find_bundle(chosen, "weight") == tmp_path / "weight.onnx"
    assert find_bundle(chosen, "composition") == tiny_fibre_bundle


def test_the_service_loads_without_anything_of_training() -> None:
    code = (
        "import sys, threading, weft_serving.app, weft_serving.run, weft_serving.cli, weft_serving.harvest\n"
        "heavy = {'torch', 'torchvision', 'timm', 'mlflow', 'cv2', 'pandas', 'pyarrow', 'alembic',"
        " 'weft_training', 'weft_datasets', 'onnx'}\n"
        "print(sorted(heavy & set(sys.modules)), threading.active_count())"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )

    assert made.stdout.strip() == "[] 1"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the process's CPU time from /proc")
def test_it_is_ready_after_little_work(server: Server) -> None:
    # CPU time, not the clock, which tells more about a busy machine; 1.4 s were measured
    assert get(f"{server.base}/readyz") == {"status": "ok"}
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    assert seconds < 4
