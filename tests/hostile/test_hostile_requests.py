"""Every hostile request ends as it should, at bounded cost, while the neighbour's photo is weighed."""

import os
import re
import resource
import runpy
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

CORPUS = runpy.run_path(str(Path(__file__).with_name("make_requests.py")))
ATTACKS: dict[str, Any] = CORPUS["ATTACKS"]
PHOTOS = runpy.run_path(str(Path(__file__).with_name("make_photos.py")))
MOST_KB = 600_000  # above the start: a 60-megapixel PNG within the limits is held whole


class Neighbour(threading.Thread):
    """Weighs one photo after the other, as if nothing were the matter, and notes how long each took."""

    def __init__(self, base: str) -> None:
        super().__init__(daemon=True)
        self._request = CORPUS["PHOTO"] + PHOTOS["jpeg"]() + CORPUS["END"]
        self._base = base
        self._over = threading.Event()
        self.seconds: list[float] = []
        self.failed: list[str] = []

    def run(self) -> None:
        while not self._over.wait(0.05):
            began = time.monotonic()
            asked = urllib.request.Request(
                f"{self._base}/v1/estimates", self._request, {"Content-Type": CORPUS["FORM"]}
            )
            try:
                with urllib.request.urlopen(asked, timeout=20) as reply:
                    assert reply.status == 200
                self.seconds.append(time.monotonic() - began)
            except OSError as error:
                self.failed.append(str(error))

    def stop(self) -> None:
        self._over.set()
        self.join(30)


class Server:
    def __init__(self, process: subprocess.Popen[str], base: str) -> None:
        self.process = process
        self.base = base
        self.address = ("127.0.0.1", int(base.rsplit(":", 1)[1]))
        self.files = Path(f"/proc/{process.pid}/fd")

    def kilobytes(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)))


@contextmanager
def started(weight: Path, fibre: Path, folder: Path, **variables: str) -> Iterator[Server]:
    """A service with the default settings but for these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from weft_serving.cli import serve; serve()", "--port", "0"),
            *("--weight", str(weight), "--fibre", str(fibre)),
        ],
        cwd=folder,
        env=kept | {"PYTHONUNBUFFERED": "1", "WEFT_DRAIN_SECONDS": "0"} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    yield Server(process, re.findall(r"http://\S+?:\d+", process.stdout.readline())[0])
    process.terminate()
    process.wait(20)
    process.stdout.close()


@pytest.fixture(scope="module")
def server(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("attacked")
    with started(tiny_weight_bundle, tiny_fibre_bundle, folder, WEFT_IDLE_SECONDS="5") as server:
        yield server


@pytest.fixture(scope="module")
def neighbour(server: Server) -> Iterator[Neighbour]:
    beside = Neighbour(server.base)
    beside.start()
    yield beside
    beside.stop()
    assert beside.failed == []
    assert len(beside.seconds) > 10
    assert max(beside.seconds) < 10  # an attack decodes for up to 2 s on one of the two threads


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_request_ends_as_it_should_and_costs_little(
    server: Server, neighbour: Neighbour, name: str
) -> None:
    case = ATTACKS[name]
    before = server.kilobytes("VmRSS")

    status = CORPUS["attack"](server.address, case.pieces, most_seconds=60)

    assert status in case.status
    assert server.process.poll() is None
    assert server.kilobytes("VmHWM") - before < MOST_KB
    assert neighbour.is_alive()


def test_a_hundred_plugs_pulled_leave_nothing_behind(server: Server, neighbour: Neighbour) -> None:
    while not (neighbour.seconds or neighbour.failed):  # all is open then that stays open
        time.sleep(0.1)
    before = len(list(server.files.iterdir()))

    for _ in range(100):
        CORPUS["reset"](server.address)

    until = time.monotonic() + 10
    while len(list(server.files.iterdir())) > before + 3 and time.monotonic() < until:
        time.sleep(0.1)
    assert len(list(server.files.iterdir())) <= before + 3
    assert neighbour.is_alive()


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process open as many files as it ever may, and 10,000 connections at least."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 11_000:
        pytest.skip(f"this process may open {hard} files, needed are 11,000 (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
def test_ten_thousand_idle_connections_are_held_cheaply_and_closed_in_time(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    with started(tiny_weight_bundle, tiny_fibre_bundle, tmp_path) as server, ExitStack() as lines:
        neighbour = Neighbour(server.base)
        neighbour.start()
        time.sleep(1)
        rest, kilobytes = len(list(server.files.iterdir())), server.kilobytes("VmRSS")

        for number in range(10_000):
            line = lines.enter_context(socket.socket())
            line.bind((f"127.1.1.{1 + number % 200}", 0))
            line.connect(server.address)
        opened = time.monotonic()
        time.sleep(1)
        held = len(list(server.files.iterdir())) - rest
        grown = server.kilobytes("VmRSS") - kilobytes
        while len(list(server.files.iterdir())) > rest + 5 and time.monotonic() < opened + 40:
            time.sleep(0.1)
        closed_s = time.monotonic() - opened
        neighbour.stop()

    slowest = 1000 * max(neighbour.seconds)
    print(
        f"{held} held, {grown / held:.1f} kB each, slowest answer {slowest:.0f} ms, gone in {closed_s:.0f} s"
    )
    assert held > 9_900
    assert grown / held < 20
    assert closed_s < 25  # WEFT_IDLE_SECONDS is 20
    assert (neighbour.failed, len(neighbour.seconds) > 20) == ([], True)
    assert slowest < 5000
