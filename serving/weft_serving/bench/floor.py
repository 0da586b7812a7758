"""The floor: what decoding, the network and receiving bytes cost with nothing around them.

A process of its own, `python -m weft_serving.bench.floor`, whose CPU time is billed as the server's is. It
takes one JSON command a line and answers each with one. Two cores may be halves of one, where work costs more
CPU time while both are busy, so that a part can be timed on several threads at once. The parts are


- decode: `weft.photos.decode_photo` at the bundle's scale, the file already in memory;
- run: a plain onnxruntime session on one thread, all outputs, its inputs already stacked;
- receive: sockets read straight into the memory of each body, and a fixed answer of a hundred bytes;
- search: what looking for a scale mark adds to decoding.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from weft.errors import BenchError
from weft_serving.bench.talk import Address

_REPLY_BODY: Final = b'{"grams": null}'
_REPLY: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_REPLY_BODY),
    _REPLY_BODY,
)


class Floor:
    """The process as its parent sees it."""

    def __init__(self, bundle: Path, files: Sequence[Path]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "weft_serving.bench.floor", str(bundle), *map(str, files)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = Address("127.0.0.1", int(self._answer()["port"]))

    def work(self, file: Path, *, seconds: float, at_once: int) -> tuple[float, float]:
        """CPU milliseconds of decoding the file and of running the model, on so many threads at once."""
        decode, run = self._ask({"part": "work", "file": str(file), "seconds": seconds, "at_once": at_once})[
            "ms"
        ]
        return float(decode), float(run)

    def search(self, file: Path, *, seconds: float, at_once: int) -> float:
        """CPU milliseconds that looking for a mark adds to decoding."""
        command = {"part": "search", "file": str(file), "seconds": seconds, "at_once": at_once}
        with_it, without = self._ask(command)["ms"]
        return float(with_it) - float(without)

    def cpu_s(self) -> float:
        """CPU time so far; receiving is billed by the difference of two."""
        return float(self._ask({"part": "cpu"})["cpu_s"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer below says why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the floor's process has ended; what it said stands above")
        return json.loads(line)


class _Receiver(asyncio.BufferedProtocol):
    """One connection: a head, then as many bytes as it says, straight into their place."""

    def __init__(self) -> None:
        self._head = bytearray(65_536)
        self._body = memoryview(b"")
        self._filled = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._body[self._filled :] if self._body.nbytes else memoryview(self._head)

    def buffer_updated(self, nbytes: int) -> None:
        if not self._body.nbytes:
            end = self._head.index(b"\r\n\r\n", 0, nbytes) + 4  # our own client sends heads in one piece
            at = self._head.index(b"Content-Length: ", 0, end) + 16
            self._body = memoryview(bytearray(int(self._head[at : self._head.index(b"\r", at)])))
            self._body[: nbytes - end] = self._head[end:nbytes]
            self._filled = nbytes - end
        else:
            self._filled += nbytes
        if self._filled == self._body.nbytes:
            self._body, self._filled = memoryview(b""), 0
            self._transport.write(_REPLY)


class _Parts:
    """What the commands time."""

    def __init__(self, bundle: Path, files: Sequence[Path]) -> None:
        import numpy as np
        import onnxruntime as ort

        from weft.bundle import load_bundle
        from weft.marks import MarkHint
        from weft.photos import decode_photo
        from weft.weigher import Subject, Weigher, prepare_pixels, stack

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(str(bundle), options, providers=["CPUExecutionProvider"])
        takes = {item.name for item in session.get_inputs()}
        weigher = Weigher(load_bundle(bundle, task="weight", threads=1))
        assert weigher.card.weight is not None
        px = weigher.card.weight.decode_px
        hint = MarkHint("qr", 60)
        self._decode: dict[str, Callable[[], object]] = {}
        self._run: dict[str, Callable[[], object]] = {}
        self._search: dict[str, Callable[[], object]] = {}
        for path in files:
            data = path.read_bytes()
            stacked = stack([Subject(weigher.prepare_all([data]))])
            feed = {name: np.ascontiguousarray(value) for name, value in stacked.items() if name in takes}
            self._decode[str(path)] = partial(decode_photo, data, longest_px=px)
            self._run[str(path)] = partial(session.run, None, feed)
            self._search[str(path)] = partial(prepare_pixels, data, decode_px=px, hint=hint)

    def ms(self, part: str, file: str, seconds: float, at_once: int) -> list[float]:
        """CPU milliseconds of two things done in turn, as a request does: each finds the other's caches."""
        pair = {
            "work": (self._decode[file], self._run[file]),
            "search": (self._search[file], self._decode[file]),  # it decodes again, at its own scale
        }[part]
        return _timed(pair, seconds, at_once)


def _timed(
    pair: tuple[Callable[[], object], Callable[[], object]], seconds: float, at_once: int
) -> list[float]:
    first, second = pair
    first()
    second()
    until = time.monotonic() + seconds

    def again(_: int) -> tuple[float, float, int]:
        spent, count = [0.0, 0.0], 0
        while time.monotonic() < until or count < 3:
            start = time.thread_time()
            first()
            between = time.thread_time()
            second()
            spent[0] += between - start
            spent[1] += time.thread_time() - between
            count += 1
        return spent[0], spent[1], count

    with ThreadPoolExecutor(at_once) as threads:
        made = list(threads.map(again, range(at_once)))
    count = sum(each[2] for each in made)
    return [1000 * sum(each[n] for each in made) / count for n in (0, 1)]


async def _serve(bundle: Path, files: Sequence[Path]) -> None:
    parts = _Parts(bundle, files)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Receiver, "127.0.0.1", 0)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command: dict[str, Any] = json.loads(line)
        bill = command["part"] == "cpu"
        told = {"cpu_s": time.process_time()} if bill else {"ms": parts.ms(**command)}
        print(json.dumps(told), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
