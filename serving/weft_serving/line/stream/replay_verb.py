"""The verb `weft replay`: a recorded belt, sent to a line as its cameras would send it."""

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("place", type=click.Path(path_type=Path, exists=True))
@click.option("--line", required=True, help="Name of the line, as its file has it.")
@click.option(
    "--url", default="ws://127.0.0.1:8000", show_default=True, help="Where `weft serve --lines` listens."
)
@click.option(
    "--speed", type=click.FloatRange(0.01, 100), default=1.0, show_default=True, help="1 is as recorded."
)
@click.option("--loop", is_flag=True, help="Begin again at the end, until stopped.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long.")
@click.option(
    "--references",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with white.hdr and dark.hdr.  [default: the recording's own]",
)
@click.option(
    "--until-done/--no-wait", default=True, help="Wait for the decisions on the last pieces, or end at once."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def replay(
    place: Path,
    line: str,
    url: str,
    speed: float,
    loop: bool,
    seconds: float | None,
    references: Path | None,
    until_done: bool,
    as_json: bool,
) -> None:
    """Stream PLACE, a recording's folder or an ENVI cube, to a line at true speed.

    A server with WEFT_LINE_TOKEN asks for it: set the same variable here.
    """
    from weft_serving.line.stream.messages import Message
    from weft_serving.line.stream.replay import Played, Playing
    from weft_serving.line.stream.replay import replay as play

    def told(so_far: Played, message: Message) -> None:
        last[:] = [so_far]
        if not as_json and (said := _said(message)) is not None:
            click.echo(said, err=True)

    last: list[Played] = []
    playing = Playing(
        speed=speed,
        loop=loop,
        seconds=seconds,
        until_done=until_done,
        references=references,
        token=os.environ.get("WEFT_LINE_TOKEN"),
    )
    address = f"{url.rstrip('/').replace('http', 'ws', 1) if url.startswith('http') else url.rstrip('/')}"
    with suppress(KeyboardInterrupt):  # the usual way to end a loop
        last[:] = [asyncio.run(play(place, f"{address}/v1/lines/{line}", playing, told=told))]
    if not last:
        return
    found = last[0]
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
    else:
        click.echo("\n".join(summary(found.as_json())))


def _said(message: Any) -> str | None:
    from weft.line.records import Alarm
    from weft_serving.line.stream.messages import Lost, Refused

    match message:
        case Alarm():
            return f"{'alarm' if message.until is None else 'over'}: {message.code}: {message.cause}"
        case Refused():
            return f"refused: {message.detail}"
        case Lost():
            return f"{message.messages} messages were lost: this computer reads too slowly"
        case _:
            return None


def summary(found: dict[str, Any]) -> list[str]:
    """A replay in a few lines."""
    kind = "simulated" if found["simulated"] else "recorded"
    said = [
        f"line {found['line']}: {found['seconds']:.1f} s of {kind} belt in {found['took_s']:.1f} s, "
        f"{found['frames']:,} frames with {found['lines']:,} NIR lines"
    ]
    if found["late_frames"]:
        said.append(
            f"could not keep up: {found['late_frames']:,} frames went out more than 0.1 s late, the worst "
            f"{found['behind_s']:.1f} s; stream from a faster computer, or with a smaller --speed"
        )
    if found["dropped_frames"]:
        said.append(f"the line dropped {found['dropped_frames']:,} frames: it could not keep up")
    if found["refused"]:
        said.append(f"{found['refused']:,} frames were refused: {'; '.join(found['refusals'][:3])}")
    outcomes = ", ".join(f"{count:,} {name}" for name, count in sorted(found["outcomes"].items()) if count)
    said.append(f"{found['pieces']:,} pieces: {outcomes or 'none'}")
    lanes = sorted(found["lanes"].items(), key=lambda item: -item[1])
    said += [f"  {lane}: {count:,}" for lane, count in lanes if count]
    if found["latency_p50_ms"] is not None:
        said.append(
            f"from a piece's last line to its decision: {found['latency_p50_ms']:.0f} ms in the middle, "
            f"{found['latency_p99_ms']:.0f} ms at the 99th percentile"
        )
    said += [f"alarm {code}: {cause}" for code, cause in found["alarms"].items()]
    return said
