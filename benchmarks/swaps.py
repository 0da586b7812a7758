"""What a swap costs those who ask meanwhile: latency and memory of a served process, before and during.

    python benchmarks/swaps.py --bundle A.onnx --bundle B.onnx --photo PHOTO.jpg

Two clients ask all the time; ten swaps with pauses, twenty in a row, then B on trial beside A. Linux only.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SERVE = [sys.executable, "-c", "from weft_serving.cli import serve; serve()", "--port", "0"]
TOKEN = "of-this-measurement"
HEAD = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n'


class Served:
    def __init__(self, folder: Path) -> None:
        told = {"WEFT_BUNDLES": str(folder), "WEFT_ADMIN_TOKEN": TOKEN, "WEFT_RECENT_SECONDS": "0"}
        told |= {"WEFT_MAX_WAIT_MS": "60000", "PYTHONUNBUFFERED": "1", "WEFT_SHADOW_SHARE": "1"}
        self.process = subprocess.Popen(
            SERVE, cwd=folder, env=dict(os.environ) | told, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.process.stdout is not None
        found = re.search(r"127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        if found is None:
            raise SystemExit("the server did not start; start it by hand to see why")
        self.port = int(found[1])

    def change(self, path: str, data: bytes, method: str = "POST") -> float:
        """Seconds that it took."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        started = time.perf_counter()
        line.request(method, f"/v1/bundles/{path}", data, {"Authorization": f"Bearer {TOKEN}"})
        reply = line.getresponse()
        told = json.loads(reply.read())
        if reply.status != 200:
            raise SystemExit(f"{path}: {told['detail']}")
        return time.perf_counter() - started

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


class Clients:
    def __init__(self, served: Served, photo: bytes, number: int) -> None:
        self._served, self._body = served, HEAD + photo + b"\r\n--b--\r\n"
        self._milliseconds: list[float] = []
        self._said: set[tuple[str, float]] = set()
        self._failed = 0
        self.stop = threading.Event()
        for _ in range(number):
            threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self._served.port, timeout=120)
        while not self.stop.is_set():
            started = time.perf_counter()
            line.request(
                "POST", "/v1/estimates", self._body, {"Content-Type": "multipart/form-data; boundary=b"}
            )
            reply = line.getresponse()
            told = json.loads(reply.read())
            self._milliseconds.append((time.perf_counter() - started) * 1000)
            if reply.status == 200:
                self._said.add((told["bundle"]["sha256"][:8], told["grams"]))
            else:
                self._failed += 1

    def report(self, what: str) -> None:
        took, self._milliseconds = np.array(self._milliseconds), []
        half, most = np.percentile(took, (50, 99))
        print(
            f"{what}: {len(took)} answers, p50 {half:.0f} ms, p99 {most:.0f} ms, most {took.max():.0f} ms; "
            f"{self._failed} failed; {self._served.resident_mib:.0f} MiB; said {sorted(self._said)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, action="append", required=True, help="A weight bundle; twice.")
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=2)
    given = parser.parse_args()
    both = [path.read_bytes() for path in given.bundle]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "weight.onnx").write_bytes(both[0])
        served = Served(Path(folder))
        try:
            measure(served, Clients(served, given.photo.read_bytes(), given.clients), both)
        finally:
            served.process.terminate()
            served.process.communicate()


def measure(served: Served, clients: Clients, both: list[bytes]) -> None:
    time.sleep(13)
    clients.report("no swap")
    took: list[float] = []
    for swap in range(1, 11):
        took.append(served.change("weight", both[swap % 2]))
        time.sleep(0.6)
    clients.report(f"ten swaps, each {np.median(took):.1f} s")
    for swap in range(1, 21):
        served.change("weight", both[swap % 2])
    time.sleep(4)
    clients.report("twenty in a row")
    served.change("weight/challenger", both[1], "PUT")
    time.sleep(10)
    clients.report("with a challenger")
    clients.stop.set()
    time.sleep(1)


if __name__ == "__main__":
    main()
