"""A photo of 12 megapixels over a slow link: how long after its last byte is it answered?

    python benchmarks/arriving.py                    a minute; --json for machines
    python benchmarks/arriving.py --photos FOLDER    photos of your own instead of made ones

Served: `weft serve` as its own process, sent one photo at a time over a socket at --mbit-per-s, once decoding
while photos arrive and once not (WEFT_ARRIVING=0); the two take turns. Floor: the bare model on the decoded
photo, which nobody can begin before the last byte. CPU: decoding in pieces of 64 kB and the whole at once
take turns in this process; and how much of it is left when the last piece has come. Medians.
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from weft.bundle import BUNDLED, load_bundle
from weft.photo_arriving import ArrivingPhoto
from weft.photos import decode_photo
from weft.weigher import Subject, Weigher, stack
from weft_serving.bench.load import Work, send_slowly
from weft_serving.bench.scenes import make_photos
from weft_serving.bench.served import Served

PIECE_BYTES = 65_536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    parser.add_argument("--photos", type=Path, help="folder of JPEGs")
    parser.add_argument("--takes", type=int, default=5, help="photos of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mbit-per-s", type=float, default=40.0)
    chosen = parser.parse_args()
    photos = (
        [file.read_bytes() for file in sorted(chosen.photos.iterdir())] if chosen.photos else make_photos(3)
    )
    found = cpu(photos, rounds=chosen.rounds) | asyncio.run(
        served(photos, takes=chosen.takes, rounds=chosen.rounds, mbit_per_s=chosen.mbit_per_s)
    )
    if chosen.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:34} {value:8.2f}")


def cpu(photos: list[bytes], *, rounds: int) -> dict[str, float]:
    """Milliseconds of CPU a photo, of this process."""
    weigher = Weigher(load_bundle(BUNDLED / "weight.onnx", task="weight", threads=1))
    section = weigher.card.weight
    assert section is not None
    px = section.decode_px
    whole: list[float] = []
    pieces: list[float] = []
    rest: list[float] = []
    run: list[float] = []
    prepared = [weigher.prepare_all([data]) for data in photos]
    for _ in range(rounds):
        for data, ready in zip(photos, prepared, strict=True):
            whole.append(_timed(lambda data=data: decode_photo(data, longest_px=px)))
            total, last = _in_pieces(data, px)
            pieces.append(total)
            rest.append(last)
            inputs = stack([Subject(ready)])
            run.append(_timed(lambda inputs=inputs: weigher.bundle.run(inputs)))
    told = {"decode_whole_cpu_ms": whole, "decode_arriving_cpu_ms": pieces, "decode_rest_cpu_ms": rest}
    return {name: statistics.median(times) for name, times in (told | {"floor_run_cpu_ms": run}).items()} | {
        "photo_mb": statistics.mean(len(data) for data in photos) / 1e6
    }


def _timed(work: Any) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def _in_pieces(data: bytes, px: int) -> tuple[float, float]:
    """CPU of all of it, and of what is left when the last piece has come."""
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
    start = time.process_time()
    arriving = ArrivingPhoto(longest_px=px)
    for piece in pieces[:-1]:
        arriving.feed(piece)
    before = time.process_time()
    arriving.feed(pieces[-1])
    if arriving.finish().photo is None:
        raise SystemExit("a photo was not decoded while it arrived; send JPEGs of 2,560 pixels or more")
    end = time.process_time()
    return 1000 * (end - start), 1000 * (end - before)


async def served(photos: list[bytes], *, takes: int, rounds: int, mbit_per_s: float) -> dict[str, float]:
    """Milliseconds from the last byte to the answer, by the clock."""
    weigher = Weigher(load_bundle(BUNDLED / "weight.onnx", task="weight", threads=1))
    grams = [weigher.weigh(weigher.prepare_all([data])).grams for data in photos]
    work = Work("photo", photos, grams, bound=1e-3)
    waits: dict[str, list[float]] = {"arriving": [], "whole": []}
    servers = {"arriving": Served(None, {}), "whole": Served(None, {"WEFT_ARRIVING": "0"})}
    try:
        for server in servers.values():
            await server.wait(work)
            await send_slowly(server.address, work, mbit_per_s=mbit_per_s, takes=1)  # warms
        for _ in range(rounds):
            for name, server in servers.items():
                waits[name] += await send_slowly(server.address, work, mbit_per_s=mbit_per_s, takes=takes)
    finally:
        for server in servers.values():
            server.close()
    return {
        f"last_byte_to_answer_{name}_ms{kind}": 1000 * pick(times)
        for name, times in waits.items()
        for kind, pick in (("", statistics.median), ("_worst", max))
    }


if __name__ == "__main__":
    main()
