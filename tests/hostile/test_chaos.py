"""A disk that fills, a database that goes away, a clock that jumps: told, survived, nothing lost."""

import contextlib
import http.client
import json
import os
import re
import runpy
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

POSTGRES = runpy.run_path(str(Path(__file__).parents[1] / "postgres.py"))
CORPUS = runpy.run_path(str(Path(__file__).with_name("make_requests.py")))
BODY: bytes = CORPUS["PHOTO"] + runpy.run_path(str(Path(__file__).with_name("make_photos.py")))["jpeg"]()
BODY += CORPUS["END"]
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
pytestmark = pytest.mark.slow


class Server:
    """A served process, and the ids of the estimates that it acknowledged."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.acknowledged: list[str] = []

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = CORPUS["FORM"]
    ) -> tuple[int, Any, dict[str, str]]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as line:
            line.request(method, path, body, {} if body is None else {"Content-Type": kind})
            reply = line.getresponse()
            return reply.status, json.loads(reply.read()), dict(reply.headers)

    def weigh(self) -> tuple[int, Any, dict[str, str]]:
        status, told, headers = self.ask("POST", "/v1/estimates", BODY)
        if status == 200:
            self.acknowledged.append(told["id"])
        return status, told, headers

    def check_all_kept(self) -> None:
        missing = [made for made in self.acknowledged if self.ask("GET", f"/v1/estimates/{made}")[0] != 200]
        assert missing == []

    def wait_until(self, status: int, *, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while (came := self.weigh()[0]) != status:
            assert time.monotonic() < until, f"still {came}, not {status}, after {seconds} s"
            time.sleep(0.1)


@pytest.fixture
def serve(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path
) -> Iterator[Callable[..., Server]]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    started: list[subprocess.Popen[str]] = []

    def start(**variables: str) -> Server:
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", "from weft_serving.cli import serve; serve()", "--port", "0"),
                *("--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle)),
            ],
            cwd=tmp_path,
            env=kept | {"PYTHONUNBUFFERED": "1"} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        return Server(process, int(re.findall(r"http://\S+?:(\d+)", process.stdout.readline())[0]))

    yield start
    for process in started:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m", "none", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_and_room_brings_it_back(serve: Callable[..., Server], small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4_000_000))
    server = serve(WEFT_DATABASE_URL=f"sqlite:///{small_disk}/weft.db")
    server.wait_until(200)

    with contextlib.suppress(OSError):  # all that is left
        (small_disk / "rest").write_bytes(bytes(40_000_000))
    server.wait_until(503)
    status, told, headers = server.weigh()

    assert (status, told["type"]) == (503, "/problems/bad-store")
    assert int(headers["retry-after"]) >= 1
    server.check_all_kept()
    (small_disk / "rest").unlink()
    ballast.unlink()
    server.wait_until(200)
    server.check_all_kept()


class Wire:
    """A TCP relay to a database that can be cut and mended."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: list[socket.socket] = []
        self._cut = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            far = socket.create_connection(self._target)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self) -> None:
        self._cut = True
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self.cut()
        self._listening.close()


@pytest.fixture
def far_database() -> Iterator[tuple[Wire, str]]:
    with POSTGRES["empty_database"]() as url:
        parts = urlsplit(url)
        wire = Wire(parts.hostname or "127.0.0.1", parts.port or 5432)
        yield wire, f"postgresql://{parts.username}@127.0.0.1:{wire.port}{parts.path}"
        wire.close()


@pytest.mark.postgres
def test_a_database_that_goes_away_and_comes_back_loses_nothing(
    serve: Callable[..., Server], far_database: tuple[Wire, str]
) -> None:
    wire, url = far_database
    server = serve(WEFT_DATABASE_URL=url)
    for _ in range(3):
        assert server.weigh()[0] == 200

    wire.cut()
    status, told, headers = server.weigh()
    assert (status, told["type"]) == (503, "/problems/bad-store")
    assert int(headers["retry-after"]) >= 1
    assert server.ask("GET", "/readyz")[0] == 503
    assert server.ask("GET", "/healthz")[0] == 200

    wire.mend()
    server.wait_until(200)
    assert server.ask("GET", "/readyz")[0] == 200
    server.check_all_kept()


@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
@pytest.mark.parametrize("jump", ["+400d", "-400d"])
def test_a_clock_that_jumps_ends_no_estimate(serve: Callable[..., Server], tmp_path: Path, jump: str) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    server = serve(
        LD_PRELOAD=str(FAKETIME),
        FAKETIME_TIMESTAMP_FILE=str(clock),
        FAKETIME_NO_CACHE="1",
        DONT_FAKE_MONOTONIC="1",  # as clocks jump: the wall's, never the monotonic one
    )
    _, first, _ = server.weigh()

    clock.write_text(jump)
    status, second, _ = server.ask("POST", f"/v1/estimates/{first['id']}/photos", BODY)
    weighed, third, _ = server.ask(
        "POST", f"/v1/estimates/{first['id']}/weighing", b'{"grams": 4200}', "application/json"
    )

    assert status == 200
    assert len(second["photos"]) == 2
    assert weighed == 200
    assert third["weighing"]["grams"] == 4200
    assert abs(int(third["weighing"]["weighed_at"][:4]) - int(time.strftime("%Y"))) == 1
    assert server.weigh()[0] == 200
    server.check_all_kept()
