"""What one request costs in CPU time, by stage, beside the least that it could cost.

    python benchmarks/request_cost.py                 about two minutes; --json for machines
    python benchmarks/request_cost.py --only frame_http --requests 2000

Floor: decode at the model's scale and run the bare model, in a loop on one thread. Served: `weft serve` with
its database as its own process, sent the same file over and over by this process; its CPU time, user and
system of all threads, is what /proc says before and after. Floor and served take turns; medians of the
rounds.
Stages: each part of the path by itself in this process, in the order a request goes through them. Linux only.
"""

import argparse
import asyncio
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime as ort
from PIL import Image
from websockets.asyncio.client import connect

import weft_serving
from weft.bundle import BUNDLED, Bundle, load_bundle
from weft.photos import decode_photo
from weft.quality import advise
from weft.weigher import Subject, Weigher, stack

KINDS: Final = ("photo", "frame_http", "frame_ws")
_PARCEL: Final = Path(weft_serving.__file__).parent / "pages/static/example-parcel.jpg"
_SIZES: Final = {"photo": (4000, 3000), "frame_http": (640, 480), "frame_ws": (640, 480)}
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_BOUNDARY: Final = b"weft-request-cost"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--only", choices=KINDS, action="append", help="may be given more than once")
    parser.add_argument("--requests", type=int, default=800, help="of a round with frames; photos: a tenth")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    bundle = load_bundle(BUNDLED / "weight.onnx", task="weight", threads=1)
    found: dict[str, Any] = {}
    for kind in chosen.only or KINDS:
        file = jpeg(*_SIZES[kind])
        requests = chosen.requests if kind != "photo" else max(1, chosen.requests // 10)
        found[kind] = measure(kind, file, bundle, requests, chosen.clients, chosen.rounds)
        found[kind]["stages_ms"] = stages(file, bundle)
    if chosen.json:
        print(json.dumps(found, indent=1))
        return
    for kind, told in found.items():
        print(
            f"{kind}: {told['cpu_ms']:.2f} ms CPU a request, floor {told['floor_cpu_ms']:.2f}, "
            f"ratio {told['ratio']:.3f}, {told['rps']:.0f} a second"
        )
        for stage, ms in told["stages_ms"].items():
            print(f"  {stage:<28} {ms:8.3f} ms")


def jpeg(width: int, height: int) -> bytes:
    """The simulated parcel that comes along, at another size, with a camera's grain."""
    with Image.open(_PARCEL) as parcel:
        pixels = np.asarray(parcel.convert("RGB").resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = np.random.default_rng(0).integers(-4, 5, pixels.shape, np.int16)
    buffer = io.BytesIO()
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def measure(
    kind: str, file: bytes, bundle: Bundle, requests: int, clients: int, rounds: int
) -> dict[str, float]:
    """Medians over the rounds; floor and service in turn."""
    floors: list[float] = []
    costs: list[float] = []
    rates: list[float] = []
    with serving() as (port, pid):
        drive(kind, file, port, requests // 4 + clients, clients)  # warm
        for _ in range(rounds):
            floors.append(floor_ms(file, bundle, max(20, requests // 4)))
            before, started = cpu_seconds(pid), time.perf_counter()
            drive(kind, file, port, requests, clients)
            rates.append(requests / (time.perf_counter() - started))
            costs.append((cpu_seconds(pid) - before) * 1000 / requests)
    ratio = statistics.median(cost / floor for cost, floor in zip(costs, floors, strict=True))
    return {
        "cpu_ms": statistics.median(costs),
        "floor_cpu_ms": statistics.median(floors),
        "ratio": ratio,
        "rps": statistics.median(rates),
    }


def floor_ms(file: bytes, bundle: Bundle, times: int) -> float:
    section = bundle.card.weight
    assert section is not None
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(bundle.source, options, providers=["CPUExecutionProvider"])
    takes = {item.name for item in session.get_inputs()}
    feed = stack([Subject([Weigher(bundle).prepare(file)])])
    feed = {name: value for name, value in feed.items() if name in takes}

    def once() -> None:
        decode_photo(file, longest_px=section.decode_px)
        session.run(None, feed)

    return cpu_ms(once, times)


def cpu_ms(work: Callable[[], object], times: int) -> float:
    work()
    started = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - started) * 1000 / times


def stages(file: bytes, bundle: Bundle) -> dict[str, float]:
    """Parts of the path, each alone; `weigh` holds `stack`, `model` and what is said of the photos."""
    from weft_serving.answers import answer_weight

    weigher = Weigher(bundle)
    decode_px = weigher.card.weight.decode_px if weigher.card.weight else 0
    prepared = weigher.prepare_all([file])
    stacked = stack([Subject(prepared)])
    estimate = weigher.weigh(prepared)
    parts: dict[str, Callable[[], object]] = {
        "decode": lambda: decode_photo(file, longest_px=decode_px),
        "advise": lambda: advise(decoded),
        "prepare (decode, advise)": lambda: weigher.prepare_all([file]),
        "stack": lambda: stack([Subject(prepared)]),
        "model": lambda: bundle.run(stacked),
        "weigh": lambda: weigher.weigh(prepared),
        "answer": lambda: answer_weight(estimate),
    }
    decoded = decode_photo(file, longest_px=decode_px)
    return {name: cpu_ms(work, 200) for name, work in parts.items()}


@contextmanager
def serving() -> Generator[tuple[int, int]]:
    """Port and process id of a service on the bundled models and an empty SQLite file."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", "from weft_serving.cli import serve; serve()", "--port", "0"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
        process = subprocess.Popen(
            command, cwd=folder, env=environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            port = re.search(r"http://\S+?:(\d+)", process.stdout.readline())
            if port is None:
                raise SystemExit("weft serve did not start; run it by hand to see why")
            yield int(port[1]), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def drive(kind: str, file: bytes, port: int, requests: int, clients: int) -> None:
    """Send the file `requests` times over `clients` connections, each of which waits for its answer."""

    async def all_of_them() -> None:
        left = iter(range(requests))
        client = _stream if kind == "frame_ws" else _http
        await asyncio.gather(*(client(file, port, left) for _ in range(clients)))

    asyncio.run(all_of_them())


async def _http(file: bytes, port: int, left: Iterator[int]) -> None:
    # Written by hand: a client library costs more CPU than the server that is measured.
    body = (
        b"--" + _BOUNDARY + b'\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n" + file + b"\r\n--" + _BOUNDARY + b"--\r\n"
    )
    head = (
        b"POST /v1/estimates HTTP/1.1\r\nHost: weft\r\nContent-Type: multipart/form-data; boundary="
        + _BOUNDARY
        + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in left:
        while True:
            writer.write(head + body)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", answer)[1])  # type: ignore[index]
            told = await reader.readexactly(length)
            if answer.startswith(b"HTTP/1.1 200"):
                break
            if not answer.startswith(b"HTTP/1.1 503"):
                raise SystemExit(f"the service refused: {told.decode()}")
            await asyncio.sleep(0.05)
    writer.close()


async def _stream(file: bytes, port: int, left: Iterator[int]) -> None:
    async with connect(f"ws://127.0.0.1:{port}/v1/stream", compression=None, max_size=None) as socket:
        await socket.send('{"task": "weight"}')
        for _ in left:
            await socket.send(file)
            told = json.loads(await socket.recv())
            if "grams" not in told:
                raise SystemExit(f"the service refused: {told}")


if __name__ == "__main__":
    main()
