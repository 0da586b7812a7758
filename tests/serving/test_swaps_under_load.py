"""A served process whose bundles change under load, and one that is killed while they change."""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from weft.bundle import check_seal
from weft.bundle_files import install_bundle, previous_of

SERVE = [sys.executable, "-c", "from weft_serving.cli import serve; serve()"]
TOKEN = "correct-horse-battery"
FORM = "multipart/form-data; boundary=b"
SWAPS = 10

pytestmark = pytest.mark.slow


@pytest.fixture
def both(tiny_weight_bundle: Path, heavier_weight_bundle: Callable[..., Path]) -> tuple[bytes, bytes]:
    """The tiny bundle, and one that says 1,000 g more of everything."""
    return tiny_weight_bundle.read_bytes(), heavier_weight_bundle(more_grams=1000.0).read_bytes()


@pytest.fixture
def folder(tmp_path: Path, both: tuple[bytes, bytes], tiny_fibre_bundle: Path) -> Path:
    made = tmp_path / "bundles"
    made.mkdir()
    (made / "weight.onnx").write_bytes(both[0])
    (made / "fibre.onnx").write_bytes(tiny_fibre_bundle.read_bytes())
    return made


class Served:
    def __init__(self, folder: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
        told = {"WEFT_BUNDLES": str(folder), "WEFT_ADMIN_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
        # Every answer counts here, and none may be refused for want of room.
        told |= {"WEFT_WAITING": "100", "WEFT_MAX_WAIT_MS": "60000"}
        self.process = subprocess.Popen(
            [*SERVE, "--port", "0"], cwd=folder.parent, env=kept | told,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert found is not None
        self.port = int(found[1])
        assert self.get("/readyz") == {"status": "ok"}

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as reply:
            return json.load(reply)

    def post(self, path: str, body: bytes, kind: str, **headers: str) -> tuple[int, Any]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            line.request("POST", path, body, {"Content-Type": kind} | headers)
            reply = line.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            line.close()

    def post_bundle(self, data: bytes) -> tuple[int, Any]:
        return self.post(
            "/v1/bundles/weight", data, "application/octet-stream", Authorization=f"Bearer {TOKEN}"
        )

    def in_service(self) -> str:
        return self.get("/v1/bundles")["bundles"][0]["sha256"]

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(sign)
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    made = Served(folder)
    yield made
    made.stop()


class Clients:
    """Several that ask all the time, over HTTP and over a stream; they keep what they were told."""

    def __init__(self, served: Served, photo: bytes) -> None:
        self.answers: list[tuple[str, float]] = []  # sha256 and grams
        self.failed: list[str] = []
        self._served = served
        self._photo = photo
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(self._post,)) for _ in range(3)]
        self._threads += [threading.Thread(target=self._guarded, args=(self._stream,)) for _ in range(2)]

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _guarded(self, ask: Callable[[], None]) -> None:
        try:
            ask()
        except Exception as error:  # whatever a client hits is what the test is about
            self.failed.append(repr(error))

    def _post(self) -> None:
        part = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n'
        body = part + self._photo + b"\r\n--b--\r\n"
        while not self._stop.is_set():
            status, answer = self._served.post("/v1/estimates", body, FORM)
            if status == 200:
                self.answers.append((answer["bundle"]["sha256"], answer["grams"]))
            else:
                self.failed.append(f"{status} {answer}")

    def _stream(self) -> None:
        with connect(f"ws://127.0.0.1:{self._served.port}/v1/stream") as line:
            line.send(json.dumps({"task": "weight"}))
            while not self._stop.is_set():
                line.send(self._photo)
                answer = json.loads(line.recv(timeout=60))
                if "grams" in answer:
                    self.answers.append((answer["bundle"]["sha256"], answer["grams"]))
                else:
                    self.failed.append(str(answer))


def test_ten_swaps_under_load_fail_no_answer_and_mix_none(
    served: Served, folder: Path, both: tuple[bytes, bytes], jpeg: Any
) -> None:
    shas = [check_seal(data, source="test") for data in both]
    with Clients(served, jpeg()) as clients:
        for swap in range(1, SWAPS + 1):
            data, sha256 = both[swap % 2], shas[swap % 2]
            before = len(clients.answers)
            if swap % 3:
                status, told = served.post_bundle(data)
                assert (status, told["sha256"]) == (200, sha256)
            else:
                install_bundle(folder / "weight.onnx", data)  # as `weft promote` does
            until = time.monotonic() + 30
            while served.in_service() != sha256 or len(clients.answers) < before + 20:
                assert time.monotonic() < until, "the swap did not happen in time"
                time.sleep(0.02)

    assert clients.failed == []
    assert len(clients.answers) >= 20 * SWAPS
    grams = {sha256: {said for name, said in clients.answers if name == sha256} for sha256 in shas}
    assert {name for name, _ in clients.answers} == set(shas)
    assert [len(said) for said in grams.values()] == [1, 1]  # each bundle says one thing of this photo
    assert max(grams[shas[1]]) == pytest.approx(max(grams[shas[0]]) + 1000, abs=0.2)


def test_killed_during_a_change_the_file_is_one_bundle_or_the_other_whole(
    folder: Path, both: tuple[bytes, bytes]
) -> None:
    file = folder / "weight.onnx"
    shas = {check_seal(data, source="test") for data in both}
    rng = random.Random(7)
    for _ in range(4):
        served = Served(folder)
        posting = threading.Event()

        def post_again_and_again(served: Served = served, posting: threading.Event = posting) -> None:
            try:
                for number in range(1000):
                    served.post_bundle(both[number % 2])
                    posting.set()
            except (OSError, http.client.HTTPException):
                return  # killed

        thread = threading.Thread(target=post_again_and_again)
        thread.start()
        assert posting.wait(30)
        time.sleep(rng.uniform(0.0, 0.3))
        served.stop(signal.SIGKILL)
        thread.join(30)

        assert check_seal(file.read_bytes(), source="weight.onnx") in shas
        assert check_seal(previous_of(file).read_bytes(), source="weight.previous.onnx") in shas
    again = Served(folder)
    assert again.in_service() in shas
    again.stop()
