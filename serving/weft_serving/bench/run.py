"""One whole run of `weft bench`: files and right answers made, floor and server started, measured, ended."""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from weft.bundle import BUNDLED, load_bundle
from weft.engine_names import EngineChoice
from weft.errors import BenchError
from weft.marks import MarkHint
from weft.weigher import Weigher
from weft_serving.bench import PARTS
from weft_serving.bench.bill import can_bill
from weft_serving.bench.floor import Floor
from weft_serving.bench.load import Work
from weft_serving.bench.measure import Found, Plan, Say, measure, time_starts
from weft_serving.bench.overload import overload
from weft_serving.bench.report import surroundings, tell
from weft_serving.bench.scenes import make_frames, make_photos
from weft_serving.bench.served import Served
from weft_serving.bench.talk import dial, read_address

_MARK = {"mark": "qr", "mark_mm": "60"}
# What changes how a server runs, not which programs and files it finds.
_VARIABLES = ("WEFT_", "OTEL_", "MALLOC_", "OMP_", "OPENBLAS_", "KMP_", "ORT_", "PYTHONMALLOC", "LD_PRELOAD")
_QUICK = Plan(clients=4, rounds=2, seconds=0.6, takes=2, starts=1)


def run_bench(
    *,
    bundle: Path | None,
    photo: Path | None,
    clients: int | None,
    rounds: int | None,
    seconds: float | None,
    only: str | None,
    overload_seconds: float | None,
    engine: EngineChoice,
    settings: Sequence[str],
    url: str | None,
    quick: bool,
    say: Say,
) -> dict[str, Any]:
    """Measure, and tell it as `--json` prints it.

    Raises:
        BenchError: A server that cannot be measured or answers wrong, an option that makes no sense.
        BundleError: The bundle does not hold.
    """
    parts = _chosen(only or ("photo,frame_http,frame_ws,start" if quick else None))
    variables = _variables(settings) | ({} if engine == "onnxruntime" else {"WEFT_ENGINE": engine})
    if url is not None and variables:
        raise BenchError(
            "--set and --engine are for a server that the bench starts; leave them out with --url"
        )
    plan = planned(quick=quick, clients=clients, rounds=rounds, seconds=seconds, overload_s=overload_seconds)
    path = bundle or BUNDLED / "weight.onnx"
    if url is not None:
        asyncio.run(dial(read_address(url))).close()  # told before anything is made
    say("making what is sent")
    files: dict[str, Sequence[bytes]] = {"frame": make_frames(8)}
    if any(part.startswith("photo") for part in parts):
        files["photo"] = [_read(photo)] if photo is not None else make_photos(1 if quick else 4)
    works = _works(path, engine, files, parts)
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as folder:
        kept = {name: Path(folder) / f"{name}.jpg" for name in files}
        for name, file in kept.items():
            file.write_bytes(files[name][0])
        floor = Floor(path, list(kept.values()))
        try:
            found = asyncio.run(_measure(plan, works, kept, floor, url, bundle, variables, parts, say))
        finally:
            floor.close()
    about = {"engine": engine, "settings": variables} | surroundings(bundle=path, files=files, plan=plan)
    return tell(found, plan, about=about)


def planned(*, quick: bool, **asked: float | None) -> Plan:
    """The usual or the quick plan, with what was asked for (None: not) in its place."""
    chosen: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    return replace(_QUICK if quick else Plan(), **chosen)


async def _measure(
    plan: Plan,
    works: dict[str, Work],
    kept: dict[str, Path],
    floor: Floor,
    url: str | None,
    bundle: Path | None,
    variables: dict[str, str],
    parts: Sequence[str],
    say: Say,
) -> Found:
    measured = {name: work for name, work in works.items() if name in parts}
    files = {name: kept[name.split("_")[0]] for name in measured}
    if url is not None:
        say(f"measuring {url}, which runs already: its CPU time, memory and start are not ours to see")
        return await measure(
            plan, measured, files=files, floor=floor, address=read_address(url), pid=None, say=say
        )
    server = Served(bundle, variables)
    try:
        await server.wait(works["frame_http"])
        found = await measure(
            plan, measured, files=files, floor=floor, address=server.address, pid=server.pid, say=say
        )
        if "overload" in parts:
            found.overload = await _overload(plan, works["frame_http"], server, say)
    except BenchError:
        server.check()
        raise
    finally:
        server.close()
    if "start" in parts:
        say(f"starting the server {plan.starts} times")
        found.first_answer_s = await time_starts(bundle, variables, works["frame_http"], plan.starts)
    return found


async def _overload(plan: Plan, work: Work, server: Served, say: Say) -> dict[str, Any]:
    pid = server.pid if can_bill() else None
    made = await overload(
        work, clients=plan.clients, seconds=plan.overload_s, address=server.address, pid=pid, say=say
    )
    return made.told()


def _works(
    bundle: Path, engine: EngineChoice, files: dict[str, Sequence[bytes]], parts: Sequence[str]
) -> dict[str, Work]:
    """What is sent, with what the bundle itself answers to it: decoded and run here, without any server."""
    weigher = Weigher(load_bundle(bundle, task="weight", threads=1, engine=engine))
    bound = weigher.bundle.bound("grams")

    def grams(each: Sequence[bytes], hint: MarkHint | None = None) -> list[float | None]:
        found = [weigher.weigh(weigher.prepare_all([data], hint)).grams for data in each]
        if None in found:
            raise BenchError("the bundle gives no grams for a photo to be sent; name another with --photo")
        return found

    photos, frames = files.get("photo", ()), files["frame"]
    works = {
        "photo": Work("photo", photos, grams(photos), bound),
        "frame_http": Work("frame_http", frames, grams(frames), bound),
        "frame_ws": Work("frame_ws", frames, grams(frames), bound, stream=True),
    }
    if "photo_mark" in parts:
        hint = MarkHint("qr", 60)
        works["photo_mark"] = Work("photo_mark", photos, grams(photos, hint), bound, fields=_MARK)
    return works


def _chosen(only: str | None) -> list[str]:
    parts: list[str] = (
        list(PARTS) if only is None else [part.strip() for part in only.split(",") if part.strip()]
    )
    unknown = [part for part in parts if part not in PARTS]
    if unknown or not parts:
        raise BenchError(f"--only: got {only!r}, need some of {','.join(PARTS)}")
    return parts


def _variables(settings: Sequence[str]) -> dict[str, str]:
    given = dict(setting.split("=", 1) for setting in settings if "=" in setting)
    if len(given) < len(settings):
        raise BenchError(f"--set: got {' '.join(settings)}, need NAME=VALUE, such as WEFT_WORKERS=2")
    if other := [name for name in given if not name.startswith(_VARIABLES)]:
        raise BenchError(f"--set: got {other[0]}, need a variable that begins with {', '.join(_VARIABLES)}")
    return given


def _read(photo: Path) -> bytes:
    try:
        return photo.read_bytes()
    except OSError as error:
        raise BenchError(f"{photo}: cannot be read ({error.strerror}); name a JPEG with --photo") from error
