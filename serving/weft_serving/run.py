"""Starting the service: every reason not to start is found, and told in one line, before the port answers."""

import shutil
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from weft.bundle import BUNDLED, Bundle, load_bundle
from weft.card import Task
from weft.engine_names import NATIVE
from weft.errors import BundleError, StoreError
from weft.limits import FRAME_BYTES, PHOTO_BYTES
from weft.memory import give_back
from weft_serving.kept_objects import is_object
from weft_serving.line.haste import rest_memory
from weft_serving.private import open_to_others
from weft_serving.settings import Settings

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from weft_serving.line.lines import Lines
    from weft_serving.store import Store

_ROOM_BYTES: Final = 20_000_000  # some 10,000 estimates
_FILES: Final = 128  # that are no connections: libraries, bundles, the database, streams of lines


def run_service(settings: Settings, *, say: Callable[[str], object]) -> None:
    """Load, prove, migrate, listen; returns when stopped.

    Raises:
        StoreError: The port, the database or the photo folder cannot be used.
        BundleError: A bundle is missing or does not hold.
        LineError: A line's file, its rules, or the plant's MQTT or OPC UA cannot be used.
    """
    most = most_connections(settings)
    check_disk(settings)
    listening = listen(settings.host, settings.port)
    try:
        with ThreadPoolExecutor(thread_name_prefix="weft-load") as loading:
            tasks: list[Task] = ["weight", "composition", *(["belt"] if settings.lines else [])]
            bundles = [loading.submit(_load, settings, task) for task in tasks]
            # What loads the models holds no lock of Python's for most of the time: import the rest beside it.
            from weft_serving.app import create_app
            from weft_serving.door.stopping import Server
            from weft_serving.store import open_store
            from weft_serving.watch.logs import log_to_stderr

            weight, fibre, *belt = (bundle.result() for bundle in bundles)
        store = open_store(settings.database_url)
        lines = _open_lines(settings, store, belt[0]) if belt else None
        app = create_app(settings, weight=weight, fibre=fibre, store=store, lines=lines)
        told = greeting(listening, settings, weight=weight, fibre=fibre, lines=lines)
        for line in [*told, *told_of_connections(settings, most)]:
            say(line)
        log_to_stderr()
        server = Server(_configure(app, settings, most), app, lines, drain_seconds=settings.drain_seconds)
        rest_memory()
        give_back()
        server.run(sockets=[listening])
    finally:
        listening.close()


def _load(settings: Settings, task: Task) -> Bundle:
    return load_bundle(find_bundle(settings, task), task=task, threads=1, engine=settings.engine_of(task))


def _open_lines(settings: Settings, store: "Store", belt: Bundle) -> "Lines":
    from weft_serving.line.lines import open_lines

    return open_lines(settings, store, belt)


def _configure(app: "FastAPI", settings: Settings, most: int) -> "uvicorn.Config":
    import uvicorn

    from weft_serving.door.connection import StreamConnection, connection_type

    return uvicorn.Config(
        app,
        http=connection_type(
            idle_seconds=settings.idle_seconds, most=most, burst_bytes=settings.in_flight_bytes
        ),
        ws=StreamConnection,
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=settings.trusted_proxies,
        log_config=None,
        access_log=False,  # its lines hold ids and addresses; ours do not
        server_header=False,
        ws_max_size=max(PHOTO_BYTES, FRAME_BYTES) + 3_000_000,  # a little too large is answered
        ws_per_message_deflate=False,  # photos do not shrink, and a packed bomb has no way in
    )


def _told_of_others(settings: Settings) -> list[str]:
    """What the operator made so that others may read it; what is made here is for this user alone."""
    scheme, _, file = settings.database_url.partition(":///")
    places = [Path(file)] if scheme.startswith("sqlite") else []
    if settings.keep_photos and not is_object(settings.keep_photos):
        places.append(Path(settings.keep_photos))
    return [
        f"  other users of this machine may read {place}; if they shall not: chmod go= {place}"
        for place in open_to_others(places)
    ]


def check_disk(settings: Settings) -> None:
    """Raise StoreError where the folder of a SQLite database is all but full."""
    scheme, _, file = settings.database_url.partition(":///")
    folder = Path(file).parent
    if not scheme.startswith("sqlite") or not folder.is_dir():
        return  # the store says what is wrong with it
    free = shutil.disk_usage(folder).free
    if free < _ROOM_BYTES:
        raise StoreError(
            f"only {free:,} bytes are free in {folder}, where the database lies, needed are at least "
            f"{_ROOM_BYTES:,}; make room or name another with --database"
        )


def most_connections(settings: Settings) -> int:
    """The setting, or as many as the system lets this process open, whichever is less."""
    if sys.platform == "win32":
        return settings.connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.connections + _FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):  # some systems state a limit that they do not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_files = settings.connections if soft == resource.RLIM_INFINITY else soft - _FILES
    if open_files < 1:
        raise StoreError(
            f"this process may open {soft} files, too few to serve; allow at least {_FILES + 1} (ulimit -n)"
        )
    return min(settings.connections, open_files)


def told_of_connections(settings: Settings, most: int) -> list[str]:
    """What the operator has to know where there cannot be as many as the settings say."""
    if most >= settings.connections:
        return []
    return [
        f"  at most {most:,} connections at once, not {settings.connections:,}: this process may open "
        f"no more files; allow {settings.connections + _FILES:,} (ulimit -n)"
    ]


def find_bundle(settings: Settings, task: Task) -> Path:
    """The named file, else the one in the folder of bundles, else the package's own."""
    chosen, name, option = {
        "weight": (settings.weight, "weight.onnx", "--weight FILE"),
        "composition": (settings.fibre, "fibre.onnx", "--fibre FILE"),
        "belt": (settings.belt, "belt.onnx", "WEFT_BELT"),
    }[task]
    if chosen is not None:
        return chosen
    if settings.bundles is not None:
        if not settings.bundles.is_dir():
            raise BundleError(f"WEFT_BUNDLES: {settings.bundles} is no folder; name one that holds {name}")
        if (settings.bundles / name).exists():
            return settings.bundles / name
    if not (BUNDLED / name).exists():
        raise BundleError(f"this install brings no {name}; name a bundle with {option} or set WEFT_BUNDLES")
    return BUNDLED / name


def listen(host: str, port: int) -> socket.socket:
    """An open socket; StoreError where the port is taken or the address is not ours."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise StoreError(f"cannot listen on {host} ({error.strerror}); choose another --host") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(1024)
    except OSError as error:
        made.close()
        raise StoreError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port or PORT"
        ) from error
    return made


def greeting(
    listening: socket.socket, settings: Settings, *, weight: Bundle, fibre: Bundle, lines: "Lines | None"
) -> list[str]:
    """Where the service is, what answers there, and two lines to try."""
    port = listening.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    base = f"http://{host}:{port}"
    said = [f"Weft is at {base}/ (its API at {base}/docs)"]
    belt = [lines.bundle] if lines is not None and lines.bundle is not None else []
    engines = {} if lines is None else lines.engines
    for bundle in (weight, fibre, *belt):
        card = bundle.card
        by = "" if bundle.engine == NATIVE else f", computed by {bundle.engine}"
        said.append(f"  {card.task}: {card.name} {card.version}, trained on {card.trained_on} data{by}")
    for name, engine in engines.items():
        said.append(f"  line {name}: {base}/lines/{name} (rules {engine.rules.version})")
    if engines:
        said.append(
            "  without cameras: weft simulate belt --line FILE --seconds 60 --seed 1 --out runs/belt && "
            f"weft replay runs/belt --line {next(iter(engines))} --url {base.replace('http', 'ws')}"
        )
    kept = f"photos are kept in {settings.keep_photos}" if settings.keep_photos else "photos are not kept"
    said.append(f"  {kept}")
    said += _told_of_others(settings)
    said.append(
        "Try, with the simulated parcel that comes along, or a photo of your own (-F photos=@photo.jpg):"
    )
    said.append(
        f"  curl -s {base}/static/example-parcel.jpg | curl -F 'photos=@-;filename=parcel.jpg' -F mark=qr "
        f"-F mark_mm=60 {base}/v1/estimates"
    )
    said.append("or with the simulated scan:")
    said.append(
        f"  curl -s {base}/static/example-scan.csv | curl -F 'file=@-;filename=scan.csv' "
        f"{base}/v1/compositions"
    )
    return said
