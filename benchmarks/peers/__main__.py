"""Weft beside its peers, on the same model and files. Run from the repository:

python -m benchmarks.peers install all
python -m benchmarks.peers run --out out/peers.json
python -m benchmarks.peers show out/peers.json --picture docs/images/peers.png
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click
from benchmarks.peers.compare import compare, read_found
from benchmarks.peers.hostile import attack
from benchmarks.peers.peer import Peer, Table, install, installed, read_table, weft
from benchmarks.peers.table import draw, markdown

from weft.errors import WeftError
from weft_serving.bench.measure import Plan
from weft_serving.bench.report import surroundings
from weft_serving.bench.scenes import make_frames, make_photos

_FILE = click.Path(path_type=Path, dir_okay=False)
_TABLE = click.option("--table", type=_FILE, help="Peers and models.  [default: peers.yaml beside this file]")


@click.group()
def peers() -> None:
    """Weft beside its peers."""


@peers.command("install")
@click.argument("names", nargs=-1, required=True)
@click.option("--python", default=sys.executable, help="Python to make them with.  [default: this one]")
@_TABLE
def install_peers(names: tuple[str, ...], python: str, table: Path | None) -> None:
    """Make the environments of NAMES, or of `all`, under out/peers."""
    told = read_table(*([table] if table else []))
    failed = 0
    for peer in _named(told, names):
        try:
            install(peer, told.common, python=python)
            click.echo(f"{peer.name}: installed")
        except WeftError as error:
            failed += 1
            click.echo(str(error), err=True)
    sys.exit(min(failed, 1))


@peers.command()
@click.argument("names", nargs=-1)
@click.option("--model", default="weight", show_default=True, help="Of the table's models.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option(
    "--seconds", type=click.FloatRange(0.5), default=4.0, show_default=True, help="Of load for each cell."
)
@click.option("--hostile/--no-hostile", default=True, show_default=True, help="Throw hostile bodies as well.")
@click.option("--speed/--no-speed", default=True, show_default=True, help="Measure speed.")
@click.option("--out", type=_FILE, required=True, help="JSON to write; what it holds of other peers stays.")
@_TABLE
def run(
    names: tuple[str, ...],
    model: str,
    rounds: int,
    seconds: float,
    hostile: bool,
    speed: bool,
    out: Path,
    table: Path | None,
) -> None:
    """Measure NAMES, or all that are installed, and Weft."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started ends with it
    told = read_table(*([table] if table else []))
    if model not in told.models:
        raise click.ClickException(f"--model is {model!r}; the table has {', '.join(told.models)}")
    spec = told.models[model]
    wanted = _named(told, names or ("all",))
    measured = weft(spec) if spec["kind"] == "weft" else []
    measured += [peer for peer in wanted if installed(peer)]
    files = {"photo": make_photos(3), "frame": make_frames(8)}
    plan = Plan(rounds=rounds, seconds=seconds)
    about: dict[str, Any] = surroundings(bundle=Path(spec["file"]), files=files, plan=plan)
    about |= {
        "model": model,
        "not_installed": [peer.title for peer in wanted if not installed(peer)],
        "installed": {peer.name: list(peer.install) for peer in measured if not peer.ours},
        "command": f"python -m benchmarks.peers {' '.join(sys.argv[1:])}",
    }
    earlier = read_found(out) if out.exists() else {}
    try:
        if speed:  # written after each visit: a long run that is stopped is not lost
            for found in compare(measured, spec, files, rounds=rounds, seconds=seconds, say=_say):
                about |= found
                _write(out, earlier, about)
        if hostile:
            about["hostile"] = attack(measured, spec, files, say=_say)
    except WeftError as error:
        raise click.ClickException(str(error)) from error
    click.echo(markdown(_write(out, earlier, about)))


def _say(words: str) -> None:
    click.echo(words, err=True)


def _write(out: Path, earlier: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    made = dict(found)
    for part in ("rows", "hostile", "installed", "floor"):
        made[part] = earlier.get(part, {}) | found.get(part, {})
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(made, indent=1) + "\n")
    return made


@peers.command()
@click.argument("found", type=_FILE)
@click.option("--picture", type=_FILE, help="PNG or SVG to draw.")
def show(found: Path, picture: Path | None) -> None:
    """Print FOUND as Markdown, and draw it."""
    told = read_found(found)
    if picture is not None:
        draw(told, picture)
    click.echo(markdown(told))


def _named(table: Table, names: tuple[str, ...]) -> list[Peer]:
    if "all" in names:
        return list(table.peers.values())
    unknown = [name for name in names if name not in table.peers]
    if unknown:
        raise click.ClickException(
            f"no peer is called {', '.join(unknown)}; there are {', '.join(table.peers)}"
        )
    return [table.peers[name] for name in names]


if __name__ == "__main__":
    peers()
