"""Speed: every peer in turn, round by round, on the same model and the same files; the floor beside them."""

import asyncio
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.bodies import SPEAKS, as_request, read_number
from benchmarks.peers.peer import HERE, Peer, Running

from weft.errors import BenchError
from weft_serving.bench.bill import bill, shared_mib
from weft_serving.bench.floor import Floor
from weft_serving.bench.load import Crew, Work
from weft_serving.bench.measure import Plan, floor_round
from weft_serving.bench.talk import HttpLine, dial

# Columns of the table: what is sent, how the peer decodes, how many clients ask at once.
CELLS = {
    "photo_documented": ("photo", "documented", 4),
    "frame_documented": ("frame", "documented", 16),
    "photo_reduced": ("photo", "reduced", 16),
    "frame_reduced": ("frame", "reduced", 16),
}
_SETTLE_S = 0.4
Say = Callable[[str], object]
Files = dict[str, Sequence[bytes]]


def right_answers(spec: dict[str, Any], decode: str, files: Files) -> dict[str, list[float]]:
    """What the model says of each file by the adapters' own code, asked here without a server."""
    found = importlib.util.spec_from_file_location("peer_model", HERE / "adapters" / "model.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    model = module.Model(spec, decode)
    return {name: [model.grams(data) for data in each] for name, each in files.items()}


def compare(
    peers: Sequence[Peer], spec: dict[str, Any], files: Files, *, rounds: int, seconds: float, say: Say
) -> Iterator[dict[str, Any]]:
    """After each visit: rows by name, with medians, all rounds and, where something failed, its words."""
    rows: dict[str, dict[str, Any]] = {peer.name: {"title": peer.title} for peer in peers}
    floors: dict[str, list[float]] = {"photo": [], "frame": []}
    expected = {decode: right_answers(spec, decode, files) for decode in ("documented", "reduced")}
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{name}.jpg" for name in files}
        for name, path in paths.items():
            path.write_bytes(files[name][0])
        for turn in range(rounds):
            say(f"round {turn + 1} of {rounds}")
            if spec["kind"] == "weft":
                _floor(Path(spec["file"]), paths, files, floors, seconds)
            for peer in peers:
                for decode in ("documented", "reduced"):
                    _visit(peer, spec, decode, files, expected, rows[peer.name], seconds, say)
                made = {name: _summed(row) for name, row in rows.items() if len(row) > 1}
                floor = {name: round(median(each), 2) for name, each in floors.items() if each}
                yield {"rounds_done": turn + (peer is peers[-1]), "floor": floor, "rows": made}


def _floor(
    bundle: Path, paths: dict[str, Path], files: Files, floors: dict[str, list[float]], seconds: float
) -> None:
    floor = Floor(bundle, list(paths.values()))
    try:
        for name, path in paths.items():
            bare = Work(name, files[name], [None] * len(files[name]), 0.0)
            found = asyncio.run(floor_round(floor, bare, path, Plan(seconds=seconds)))
            floors[name].append(found.total)
    finally:
        floor.close()


def _visit(
    peer: Peer,
    spec: dict[str, Any],
    decode: str,
    files: Files,
    expected: dict[str, dict[str, list[float]]],
    row: dict[str, Any],
    seconds: float,
    say: Say,
) -> None:
    """Start a peer, measure its two cells, end it; a failure is written into the row."""
    try:
        running = Running(peer, spec, decode)
    except (BenchError, OSError) as error:
        row.setdefault("failed", []).append(str(error))
        return
    right = expected["reduced" if peer.ours else decode]
    works = {name: work_for(peer, name, files[name], right[name]) for name in files}
    try:
        after = asyncio.run(ready(running, peer, works["frame"]))
        row.setdefault("ready_s", []).append(after)
        for cell, (name, how, clients) in CELLS.items():
            if how == decode:
                found = asyncio.run(_cell(running, works[name], clients, seconds))
                row.setdefault(cell, []).append(found)
                told = f"{found['cpu_ms']:.1f} ms ({found['rps']:.1f}/s), {found['mib']:.0f} MiB"
                say(f"  {peer.name} {cell}: {told}")
    except (BenchError, OSError, ValueError, KeyError) as error:
        row.setdefault("failed", []).append(f"{decode}: {error}"[:300])
        say(f"  {peer.name} {decode}: {error}")
    finally:
        running.close()


def work_for(peer: Peer, name: str, bodies: Sequence[bytes], expected: Sequence[float]) -> Work:
    pack = SPEAKS[peer.speaks]
    return Work(
        f"{peer.title}, {name}", bodies, expected, peer.bound,
        pack=lambda address, body: as_request(pack(body), address), read=read_number,
    )  # fmt: skip


async def ready(running: Running, peer: Peer, work: Work) -> float:
    """Seconds from the process's start to its first right answer."""
    request = work.requests(running.address)[0]
    while True:
        running.check()
        line = None
        try:
            line = HttpLine(await dial(running.address), read_number)
            work.check(0, await line.ask(request))
            return time.perf_counter() - running.started
        except (BenchError, OSError, TimeoutError, ValueError) as error:
            if time.perf_counter() - running.started > peer.starts:
                raise BenchError(f"no right answer within {peer.starts:g} s of its start: {error}") from error
            await asyncio.sleep(0.02)
        finally:
            if line is not None:
                line.close()


async def _cell(running: Running, work: Work, clients: int, seconds: float) -> dict[str, float]:
    crew = await Crew.hire(running.address, work, clients)
    try:
        await crew.at_once(min(1.0, seconds))
        before = bill(running.pid)
        seen: list[float] = []
        watch = asyncio.create_task(_watch_memory(running.pid, seen))
        load = await crew.at_once(seconds)
        watch.cancel()
        await asyncio.sleep(_SETTLE_S)
        after = bill(running.pid)
    finally:
        crew.dismiss()
    ordered = sorted(load.latencies_s)
    return {
        "cpu_ms": 1000 * (after.cpu_s - before.cpu_s) / len(ordered),
        "rps": load.rps,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "mib": max(seen),
    }


async def _watch_memory(pid: int, seen: list[float]) -> None:
    while True:
        seen.append(await asyncio.to_thread(shared_mib, pid))
        await asyncio.sleep(0.5)


def _summed(row: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"title": row["title"]}
    for cell in CELLS:
        if cell in row:
            made[cell] = {
                key: round(median(each[key] for each in row[cell]), 1 if key != "cpu_ms" else 2)
                for key in ("cpu_ms", "rps", "p50_ms", "mib")
            } | {"rounds_cpu_ms": [round(each["cpu_ms"], 2) for each in row[cell]]}
    if "ready_s" in row:
        made["ready_s"] = round(median(row["ready_s"]), 2)
    mib = [each["mib"] for cell in CELLS for each in row.get(cell, [])]
    if mib:
        made["memory_mib"] = [round(min(mib)), round(max(mib))]
    if "failed" in row:
        made["failed"] = sorted(set(row["failed"]))
    return made


def read_found(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BenchError(
            f"{path}: cannot be read ({error}); make it with `python -m benchmarks.peers run`"
        ) from error
