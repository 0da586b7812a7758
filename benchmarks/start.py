"""From the start of the process to its first right answer, and what of that is imports.

    python benchmarks/start.py --json

Starts `weft serve` with the bundled models, each time on a database that is there already and, for
comparison, on a new one; connects as soon as the port answers and sends one frame, whose grams have to
be the bundle's own. Medians; CPU time beside the clock, since the clock tells more about what else the
machine does.
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from weft.bundle import BUNDLED, load_bundle
from weft.errors import BenchError
from weft.weigher import Weigher
from weft_serving.bench.bill import bill
from weft_serving.bench.load import Work
from weft_serving.bench.scenes import make_frames
from weft_serving.bench.talk import Address, HttpLine, dial

# What a start imports, in the order in which it does, without doing anything with it.
IMPORTS: Final = (
    "import gc; gc.disable(); import weft_serving.cli, weft_serving.run, weft_serving.app, "
    "weft_serving.watch.logs, weft_serving.door.stopping, weft_serving.door.connection, weft_serving.store"
)


async def start(work: Work, database: str) -> tuple[float, float, float]:
    """Seconds to the first right answer, CPU seconds until then, and MiB resident then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = Address("127.0.0.1", probe.getsockname()[1])
    request = work.requests(address)[0]
    command = [sys.executable, "-m", "weft", "serve", "--port", str(address.port), "--database", database]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=kept | {"WEFT_DRAIN_SECONDS": "0"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                line = HttpLine(await dial(address))
                break
            except BenchError:
                if process.poll() is not None or time.perf_counter() - begun > 60:
                    raise
                await asyncio.sleep(0.003)
        work.check(0, await line.ask(request))
        took_s = time.perf_counter() - begun
        line.close()
        spent = bill(process.pid)
        return took_s, spent.cpu_s, spent.resident_mib
    finally:
        process.terminate()
        process.wait(20)


def import_cpu_s() -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", IMPORTS], check=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


async def measure(times: int) -> dict[str, Any]:
    frames = make_frames(1)
    weigher = Weigher(load_bundle(BUNDLED / "weight.onnx", task="weight", threads=1))
    grams = weigher.weigh(weigher.prepare_all(frames)).grams
    work = Work("first", frames, [grams], 1e-3)
    with tempfile.TemporaryDirectory() as folder:
        new = [await start(work, f"sqlite:///{Path(folder) / f'{n}.db'}") for n in range(times)]
        again = [await start(work, f"sqlite:///{Path(folder) / f'{n}.db'}") for n in range(times)]
    imports = statistics.median(import_cpu_s() for _ in range(times))
    cpu_s = statistics.median(each[1] for each in again)
    return {
        "first_answer_s": round(statistics.median(each[0] for each in again), 3),
        "first_answer_cpu_s": round(cpu_s, 3),
        "imports_cpu_s": round(imports, 3),
        "imports_share": round(imports / cpu_s, 2),
        "memory_mib": round(statistics.median(each[2] for each in again), 1),
        "new_database_first_answer_s": round(statistics.median(each[0] for each in new), 3),
        "new_database_cpu_s": round(statistics.median(each[1] for each in new), 3),
        "starts": times,
        "load_average": round(os.getloadavg()[0], 2),
        "measured": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    told = asyncio.run(measure(options.starts))
    print(json.dumps(told, indent=1) if options.json else "\n".join(f"{k:28} {v}" for k, v in told.items()))


if __name__ == "__main__":
    main()
