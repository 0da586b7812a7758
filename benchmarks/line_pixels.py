"""How many NIR pixels a second come from raw counts to fibre shares, beside the bare model on ready batches.

    python benchmarks/line_pixels.py                the table
    python benchmarks/line_pixels.py --json         one line of JSON
    taskset -c 0,1 python benchmarks/line_pixels.py on two cores of a larger machine

Both sides run in turn, a second each, so that what else the machine does hits both. Counts are made up by
the simulated camera (rates do not depend on what is seen, but on how much of it is belt), lines lie band by
band, as a camera sends them.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

for name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
):  # before numpy: the threads here are the parallel ones
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from weft.bundle import BUNDLED, load_bundle  # noqa: E402
from weft.line.description import NirCamera  # noqa: E402
from weft.line.reader import BeltReader  # noqa: E402
from weft_datasets.belt.camera import drawn_camera  # noqa: E402
from weft_serving.line.see.nir import NirPath  # noqa: E402
from weft_serving.line.see.references import make_references  # noqa: E402

FULL_RATE: Final = 640 * 670  # spectra a second of a Specim FX17
LINES: Final = 64  # in a block: a tenth of a second
SECONDS: Final = 1.0
THREADS: Final = 2

Counts = NDArray[np.uint16]


def camera(wavelength_nm: NDArray[np.float64]) -> NirCamera:
    return NirCamera(
        position_mm=0,
        field_of_view_mm=1000,
        pixels=640,
        wavelength_nm=tuple(wavelength_nm.tolist()),
        lines_per_s=670,
    )


def lines(rng: np.random.Generator, unit: Any, *, foreground: float) -> Counts:
    """Lines of a dark belt with that part of it under something bright, shape (h, W, L), BIL in memory."""
    columns, bands = unit.gain.shape
    wave = np.linspace(0, 1, bands, dtype=np.float32)
    light = np.tile(np.float32(0.08) * (1 + 0.1 * wave), (LINES, columns, 1))
    bright = 0.5 + 0.15 * np.sin(9 * wave) * rng.uniform(0.5, 1, (LINES, columns, 1))
    covered = np.zeros((LINES, columns), np.bool_)
    covered[:, : round(foreground * columns)] = True
    light[covered] = bright[covered].astype(np.float32)
    flat = light.reshape(-1, bands)
    counts = unit.counts(flat, np.tile(np.arange(columns), LINES), rng).reshape(light.shape)
    return np.ascontiguousarray(counts.transpose(0, 2, 1)).transpose(0, 2, 1)


class Rate(NamedTuple):
    by_clock: float  # spectra a second
    by_work: float  # spectra a second of processor time: what other programs take is left out


def rates(sides: dict[str, Callable[[], int]], *, rounds: int) -> dict[str, list[Rate]]:
    """What each side came to in each round."""
    found: dict[str, list[Rate]] = {name: [] for name in sides}
    for side in sides.values():
        side()  # the first call allocates
    for _ in range(rounds):
        for name, side in sides.items():
            start, work, spectra = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - start < SECONDS:
                spectra += side()
            spent = time.process_time() - work
            found[name].append(Rate(spectra / (time.perf_counter() - start), spectra / spent))
    return found


def bare(reader: BeltReader, *, batch: int) -> Callable[[], int]:
    """The model alone on batches of reflectance that lie ready, one thread for each of two."""
    ready = np.random.default_rng(0).uniform(0.05, 0.9, (batch, len(reader.wavelength_nm))).astype(np.float32)
    pool = ThreadPoolExecutor(THREADS)
    feeds = [ready, *(ready.copy() for _ in range(THREADS - 1))]

    def run() -> int:
        list(pool.map(lambda feed: [reader.bundle.run({"reflectance": feed}) for _ in range(8)], feeds))
        return 8 * batch * THREADS

    return run


def whole(path: NirPath, counts: Counts) -> Callable[[], int]:
    """The path from raw counts, block after block."""
    place = [0.0]

    def run() -> int:
        travel = place[0] + 1.5 * np.arange(1, len(counts) + 1)
        place[0] = float(travel[-1])
        path.read(counts, travel)
        return counts.shape[0] * counts.shape[1]

    return run


def measure(bundle: Path, *, rounds: int) -> dict[str, Any]:
    reader = BeltReader(load_bundle(bundle, task="belt", threads=1))
    rng = np.random.default_rng(0)
    described = camera(reader.wavelength_nm)
    unit = drawn_camera(rng, described)
    references = make_references(
        unit.white(rng), unit.dark_lines(rng), described, taken_at=datetime.now(UTC), max_age_s=3600
    )

    def path(*, every_pixel: bool) -> NirPath:
        made = NirPath(
            described, references, reader, mm_per_line=1.5, threads=THREADS, every_pixel=every_pixel
        )
        for _ in range(5):  # an empty belt first, as on a line
            whole(made, lines(rng, unit, foreground=0.0))()
        return made

    some = lines(rng, unit, foreground=0.3)
    sides = {f"bare_{batch}": bare(reader, batch=batch) for batch in (2_560, 10_240)} | {
        "every_pixel": whole(path(every_pixel=True), some),
        "foreground_30": whole(path(every_pixel=False), some),
    }
    found = rates(sides, rounds=rounds)
    middle = {name: float(np.median([rate.by_clock for rate in values])) for name, values in found.items()}
    work = {name: float(np.median([rate.by_work for rate in values])) for name, values in found.items()}
    best = max(("bare_2560", "bare_10240"), key=lambda name: middle[name])
    return {
        "spectra_per_second": middle["every_pixel"],
        "spectra_per_second_30_foreground": middle["foreground_30"],
        "bare_spectra_per_second": middle[best],
        "ratio": middle["every_pixel"] / middle[best],
        "ratio_by_processor_time": work["every_pixel"] / max(work[name] for name in sides if "bare" in name),
        "full_rate": FULL_RATE,
        "of_full_rate": middle["every_pixel"] / FULL_RATE,
        "bands": len(reader.wavelength_nm),
        "threads": THREADS,
        "rounds": rounds,
        "bundle_sha256": reader.bundle.sha256,
        "simulated": True,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="NIR pixels a second from raw counts to fibre shares")
    parser.add_argument("--bundle", type=Path, default=BUNDLED / "belt.onnx")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.bundle, rounds=given.rounds)
    if given.json:
        print(json.dumps(found))
        return
    print(f"{found['bands']} bands, {THREADS} threads, simulated counts; median of {given.rounds} rounds")
    print("| what | spectra/s | of the bare model | of 640 x 670 lines/s |")
    print("|---|---|---|---|")
    for what, key in (
        ("bare model on ready batches", "bare_spectra_per_second"),
        ("raw counts to shares, every pixel read", "spectra_per_second"),
        ("raw counts to shares, 30 % of it foreground", "spectra_per_second_30_foreground"),
    ):
        rate, bare_rate = found[key], found["bare_spectra_per_second"]
        print(f"| {what} | {rate:,.0f} | {rate / bare_rate:.0%} | {rate / FULL_RATE:.1f} x |")
    print(f"every pixel, by processor time: {found['ratio_by_processor_time']:.0%} of the bare model")


if __name__ == "__main__":
    main()
