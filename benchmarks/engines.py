"""What one photo costs in each engine, alone and in batches, beside bare ONNX Runtime; and what each holds.

Run: OMP_NUM_THREADS=1 python benchmarks/engines.py [--json] [--rounds 15] [BUNDLE]

Rounds alternate between the cases, since a machine's pace changes more between minutes than within one. A
case is an engine, a number of photos in one call, and threads. Bounds are not asked: this measures time.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort

from weft.bundle import BUNDLED
from weft.engine_names import ENGINES, EngineName
from weft.engines import fits_here, start_engine

SIDES = (240, 320)  # what a frame of 640 x 480 is decoded to
BATCHES = (1, 4, 8)


class Case(NamedTuple):
    engine: str  # or "bare": onnxruntime's own session with its defaults
    batch: int
    threads: int


def inputs(batch: int) -> dict[str, Any]:
    rng = np.random.default_rng(batch)
    return {
        "photos": rng.integers(0, 256, (batch, 1, 3, *SIDES), np.uint8),
        "size": np.full((batch, 1, 2), SIDES),
        "mask": np.ones((batch, 1), np.bool_),
        "mm_per_pixel": np.zeros((batch, 1), np.float32),
        "mark_at": np.zeros((batch, 1, 3), np.float32),
        "season": np.zeros(batch, np.int64),
        "wrap": np.zeros(batch, np.int64),
    }


def runner(engine: str, model: bytes, threads: int) -> Any:
    if engine == "bare":
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        takes = {item.name for item in session.get_inputs()}
        return lambda asked: session.run(None, {name: asked[name] for name in asked if name in takes})
    name: EngineName = next(name for name in ENGINES if name == engine)
    started = start_engine(name, model, threads=threads, source="benchmark")
    takes = {port for port, _, _ in started.inputs()}
    return lambda asked: started.run({name: asked[name] for name in asked if name in takes}, large=False)


def measure(model: bytes, rounds: int, threads: list[int]) -> list[dict[str, Any]]:
    engines = ["bare", *(name for name in ENGINES if fits_here(name))]
    cases = [Case(*case) for case in ((e, b, t) for t in threads for e in engines for b in BATCHES)]
    runners = {(e, t): runner(e, model, t) for e in engines for t in threads}
    asked = {batch: inputs(batch) for batch in BATCHES}
    taken: dict[Case, list[tuple[float, float]]] = {case: [] for case in cases}
    for number in range(1 + rounds):
        for case in cases:
            run, question = runners[case.engine, case.threads], asked[case.batch]
            repeats = max(1, 4 // case.batch)
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(repeats):
                run(question)
            photos = repeats * case.batch
            spent = (
                1000 * (time.process_time() - cpu) / photos,
                1000 * (time.perf_counter() - wall) / photos,
            )
            if number:  # the first round warms up
                taken[case].append(spent)
    bare = {case: np.array(taken[case])[:, 0] for case in cases if case.engine == "bare"}
    rows: list[dict[str, Any]] = []
    for case in cases:
        cpu, wall = np.array(taken[case]).T
        ratio = np.array(bare[Case("bare", 1, case.threads)]) / cpu
        low, middle, high = np.percentile(ratio, (5, 50, 95))
        rows.append(
            case._asdict()
            | {"cpu_ms": float(np.median(cpu)), "wall_ms": float(np.median(wall))}
            | {"times_bare": float(middle), "low": float(low), "high": float(high)}
        )
    return rows


def held(engine: str, path: Path) -> dict[str, float]:
    """Start (CPU ms) and memory (MiB) of a process that loads one engine and weighs one photo at a time."""
    code = (
        "import sys, time, benchmarks_engines as b, pathlib\n"
        "data = pathlib.Path(sys.argv[2]).read_bytes(); before = b.memory(); t = time.process_time()\n"
        "run = b.runner(sys.argv[1], data, 1); started = 1000 * (time.process_time() - t)\n"
        "[run(b.inputs(1)) for _ in range(20)]\n"
        "print(started, b.memory() - before)"
    )
    loader = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('benchmarks_engines', sys.argv[3]);"
    )
    loader += "m = u.module_from_spec(s); sys.modules[s.name] = m; s.loader.exec_module(m)\n"
    command = [sys.executable, "-c", loader + code, engine, str(path), __file__]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {"start_cpu_ms": float(said[0]), "memory_mib": float(said[1])}


def memory() -> float:
    """Most memory that this process has held, MiB; `ru_maxrss` would be that of whoever started it."""
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(peak.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", default=BUNDLED / "weight.onnx")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows = measure(chosen.bundle.read_bytes(), chosen.rounds, chosen.threads)
    engines = dict.fromkeys(row["engine"] for row in rows)
    about = {engine: held(engine, chosen.bundle) for engine in engines}
    if chosen.json:
        print(json.dumps({"cases": rows, "engines": about}, indent=2))
        return
    print(f"{'engine':<15}{'photos':>7}{'threads':>8}{'CPU ms':>8}{'wall ms':>8}  times bare, one photo")
    for row in rows:
        spread = f"{row['times_bare']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
        print(
            f"{row['engine']:<15}{row['batch']:>7}{row['threads']:>8}{row['cpu_ms']:>8.2f}"
            f"{row['wall_ms']:>8.2f}  {spread}"
        )
    for engine, said in about.items():
        print(f"{engine}: starts in {said['start_cpu_ms']:.0f} ms of CPU, holds {said['memory_mib']:.0f} MiB")


if __name__ == "__main__":
    main()
