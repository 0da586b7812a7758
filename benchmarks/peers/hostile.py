"""What each peer answers to bodies that no photo is in, and what memory they cost it."""

import asyncio
import http.client
import io
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from typing import Any

from benchmarks.peers.bodies import SPEAKS, Packed
from benchmarks.peers.compare import Files, Say, ready, right_answers, work_for
from benchmarks.peers.peer import Peer, Running
from PIL import Image

from weft.errors import BenchError
from weft_serving.bench.bill import shared_mib

_PATIENCE_S = 60.0
_SAMPLE_S = 0.02


def bodies(frame: bytes) -> dict[str, bytes]:
    """What stands where the photo should."""
    rubbish = bytes((n * 7919 + n // 251) % 256 for n in range(100_000))
    return {
        "rubbish": rubbish,
        "truncated": frame[: len(frame) // 2],
        "empty": b"",
        "JPEG that claims 65,000 x 65,000": _claiming(frame, 65_000),
        "PNG of 20,000 x 20,000": _zeros(20_000),
        "PNG of 13,000 x 13,000": _zeros(13_000),
        "50 MB of zeros": bytes(50_000_000),
        "a PDF": b"%PDF-1.7\n" + rubbish[:20_000],
        "a text as Content-Type text/plain": b"",
    }


def _claiming(frame: bytes, side: int) -> bytes:
    at = frame.index(b"\xff\xc0")
    return frame[: at + 5] + struct.pack(">HH", side, side) + frame[at + 9 :]


def _zeros(side: int) -> bytes:
    """A PNG that keeps its word: a few hundred kB that unpack to side x side pixels."""
    packer = zlib.compressobj(1)
    row = bytes(1 + 3 * side)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1)).save(buffer, "PNG")

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def attack(peers: Sequence[Peer], spec: dict[str, Any], files: Files, *, say: Say) -> dict[str, Any]:
    """Status and MiB of growth for each peer (as documented) and body, and whether it answers afterwards."""
    made: dict[str, Any] = {}
    thrown = bodies(files["frame"][0])
    for peer in peers:
        try:
            made[peer.name] = _attack_one(peer, spec, files, thrown)
        except (BenchError, OSError) as error:
            made[peer.name] = {"failed": str(error)[:300]}
        say(f"  {peer.name}: {made[peer.name]}")
    return made


def _attack_one(peer: Peer, spec: dict[str, Any], files: Files, thrown: dict[str, bytes]) -> dict[str, Any]:
    right = right_answers(spec, "reduced" if peer.ours else "documented", {"frame": files["frame"]})
    work = work_for(peer, "frame", files["frame"], right["frame"])
    running = Running(peer, spec, "documented")
    try:
        asyncio.run(ready(running, peer, work))
        found: dict[str, Any] = {}
        for name, body in thrown.items():
            packed = SPEAKS[peer.speaks](body)
            if "text/plain" in name:
                packed = Packed(packed.path, b"weigh this, please", {"Content-Type": "text/plain"})
            found[name] = _throw(running, packed)
        asyncio.run(ready(running, peer, work))  # raises where it no longer answers
        return found | {"answers_afterwards": True}
    finally:
        running.close()


def _throw(running: Running, packed: Packed) -> dict[str, Any]:
    before = shared_mib(running.pid)
    most, done = [before], threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            most.append(shared_mib(running.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        status: int | str = _status(running, packed)
    except (OSError, http.client.HTTPException) as error:
        status = f"no answer ({type(error).__name__})"
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {"status": status, "mib": round(max(most) - before), "seconds": round(seconds, 2)}


def _status(running: Running, packed: Packed) -> int:
    line = http.client.HTTPConnection(running.address.host, running.address.port, timeout=_PATIENCE_S)
    try:
        line.request("POST", packed.path, packed.body, packed.headers)
        return line.getresponse().status
    finally:
        line.close()
