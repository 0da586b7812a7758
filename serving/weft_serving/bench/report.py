"""What was found, as one JSON object and as lines for a terminal."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from weft.cores import usable_cores
from weft_serving.bench.measure import Found, Plan

ABOUT: Final = {
    "photo": "photo of 12 megapixels",
    "photo_mark": "the same, with a mark to look for",
    "frame_http": "frame of 640 x 480, HTTP",
    "frame_ws": "frame of 640 x 480, WebSocket",
}
# No figure of these is to be read as a speed of the machine: they are medians of what one run saw.
_PACKAGES: Final = ("weft", "onnxruntime", "simplejpeg", "uvicorn", "fastapi")


def tell(found: Found, plan: Plan, *, about: dict[str, Any]) -> dict[str, Any]:
    """The object that `--json` prints: figures first, then what they were measured on."""
    told: dict[str, Any] = {name: part.told() for name, part in found.parts.items()}
    if found.last_byte_s:
        waits = found.last_byte_s
        told["last_byte_to_answer_ms"] = round(1000 * median(waits), 2)
        told["last_byte"] = {
            "mbit_per_s": plan.mbit_per_s,
            "photos": len(waits),
            "shortest_ms": round(1000 * min(waits), 2),
            "longest_ms": round(1000 * max(waits), 2),
            "cpu_ms": None if found.last_byte_cpu_ms is None else round(found.last_byte_cpu_ms, 1),
        }
    if found.first_answer_s:
        told["first_answer_s"] = round(median(found.first_answer_s), 3)
        told["starts_s"] = [round(each, 3) for each in found.first_answer_s]
    if found.peak_mib is not None:
        told["memory_mib"] = round(found.peak_mib, 1)
    if found.overload is not None:
        told["overload"] = found.overload
    return told | about


def surroundings(*, bundle: Path, files: dict[str, Sequence[bytes]], plan: Plan) -> dict[str, Any]:
    """What a figure is worth nothing without."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": usable_cores(),
            "processor": _processor(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "load_before": round(os.getloadavg()[0], 2),
        },
        "versions": {name: version(name) for name in _PACKAGES},
        "bundle": bundle.name,
        "plan": {
            "clients": plan.clients,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "mbit_per_s": plan.mbit_per_s,
        },
        "bytes": {name: round(sum(map(len, each)) / len(each)) for name, each in files.items()},
    }


def lines(told: dict[str, Any]) -> list[str]:
    """The table, with the floor's parts."""
    machine = told["machine"]
    made = [
        f"Weft {told['versions']['weft']} on {machine['cores']} cores ({machine['processor']}), "
        f"{told['measured_at'][:10]}, {told['bundle']}, engine {told['engine']}; "
        f"{told['plan']['clients']} clients, medians of {told['plan']['rounds']} rounds; "
        f"load before: {machine['load_before']:g}",
        "",
    ]
    rows = [f"{words:36}" + _row(told[name]) for name, words in ABOUT.items() if name in told]
    if rows:
        made.append(f"{'':36}{'CPU ms':>9}{'floor':>9}{'ratio':>8}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}")
        made += [*rows, "p50 and p99 are of requests that come at random, at half of capacity", ""]
    for name, words in ABOUT.items():
        if "floor" in told.get(name, {}):
            parts = (f"{part} {ms:g}" for part, ms in told[name]["floor"].items() if ms)
            alone = f"with one core at work {told[name]['floor_alone_cpu_ms']:g}"
            made.append(f"floor, {words}: {' + '.join(parts)} ms; {alone}")
    if turned := sum(told[name]["turned_away"] for name in ABOUT if name in told):
        made.append(f"{turned} requests were turned away with 503 and Retry-After; figures are of the others")
    if "last_byte_to_answer_ms" in told:
        last = told["last_byte"]
        made.append(
            f"last byte of a photo at {last['mbit_per_s']:g} Mbit/s to its answer: "
            f"{told['last_byte_to_answer_ms']:g} ms ({last['shortest_ms']:g} to {last['longest_ms']:g})"
        )
    if "first_answer_s" in told:
        made.append(f"process start to first right answer: {told['first_answer_s']:g} s")
    if "memory_mib" in told:
        made.append(f"most memory under this load: {told['memory_mib']:g} MiB")
    if "overload" in told:
        made.append(_overload(told["overload"]))
    return made


def _overload(found: dict[str, Any]) -> str:
    turned = f", {found['turned_away']:,} turned away"
    turned += f" within {found['turned_away_p99_ms']:g} ms (p99)" if found["turned_away"] else ""
    memory = found.get("memory_mib")
    grown = (
        ""
        if memory is None
        else f"; memory {memory[0]:g} MiB before, {memory[1]:g} at most, {memory[2]:g} after"
    )
    return (
        f"{found['times_capacity']:g} times capacity for {found['seconds']:g} s: {found['answered']:,} of "
        f"{found['offered']:,} answered, {100 * found['throughput_of_capacity']:.0f} % of capacity"
        f"{turned}{grown}; normal after {found['normal_after_s']:g} s"
    )


def _row(part: dict[str, Any]) -> str:
    widths = {"cpu_ms": 9, "floor_cpu_ms": 9, "ratio": 8, "rps": 9, "p50_ms": 9, "p99_ms": 9}
    return "".join(
        f"{'-' if part[key] is None else f'{part[key]:g}':>{width}}" for key, width in widths.items()
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
