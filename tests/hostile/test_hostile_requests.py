"""Every hostile request ends as it should, at bounded cost, while the neighbour's photo is weighed."""

import os
import re
import runpy
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
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

    def kilobytes(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)))


@pytest.fixture(scope="module")
def server(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from weft_serving.cli import serve; serve()", "--port", "0"),
            *("--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle)),
        ],
        cwd=tmp_path_factory.mktemp("attacked"),
        env=kept | {"PYTHONUNBUFFERED": "1", "WEFT_IDLE_SECONDS": "5"},
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
    files = Path(f"/proc/{server.process.pid}/fd")
    before = len(list(files.iterdir()))

    for _ in range(100):
        CORPUS["reset"](server.address)

    until = time.monotonic() + 10
    while len(list(files.iterdir())) > before + 3 and time.monotonic() < until:
        time.sleep(0.1)
    assert len(list(files.iterdir())) <= before + 3
    assert neighbour.is_alive()
