"""The verb `weft bench`: a thin shell; what is heavy is imported inside."""

from pathlib import Path
from typing import Any

import click

from weft.engine_names import CHOICES, NATIVE
from weft_serving.bench import PARTS

_FILE = click.Path(path_type=Path, dir_okay=False)
_OUT = click.Path(path_type=Path, dir_okay=False, writable=True)


@click.command()
@click.option("--bundle", type=_FILE, help="Weight bundle to serve.  [default: the package's]")
@click.option("--photo", type=_FILE, help="Photo to send.  [default: 12 megapixels, made by code]")
@click.option(
    "--clients", type=click.IntRange(1, 1_000), help="That ask at once.  [default: 16, with --quick 4]"
)
@click.option(
    "--rounds", type=click.IntRange(1, 100), help="Floor and server in turn.  [default: 5, with --quick 2]"
)
@click.option(
    "--seconds", type=click.FloatRange(0.2, 600), help="Of load a round.  [default: 5, with --quick 0.6]"
)
@click.option("--overload-seconds", type=click.FloatRange(1), help="Of overload.  [default: 60]")
@click.option("--only", metavar="PARTS", help=f"Some of {','.join(PARTS)}.")
@click.option(
    "--engine",
    type=click.Choice(CHOICES),
    default=NATIVE,
    show_default=True,
    help="That the server runs the bundle on.",
)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A variable of `weft serve`.")
@click.option("--url", help="Measure a server that runs already: no CPU time, memory or start then.")
@click.option("--quick", is_flag=True, help="Two short rounds: whether it works, not how fast.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", type=_OUT, help="Write a page with plots.")
def bench(as_json: bool, html: Path | None, **chosen: Any) -> None:
    """Measure a server here: CPU time a request against the floor, latency, start, memory."""
    import json
    import os
    import signal
    import sys

    from weft_serving.bench.report import lines
    from weft_serving.bench.run import run_bench

    if html is not None and not os.access(html if html.exists() else html.parent, os.W_OK):
        raise click.ClickException(f"--html: {html} cannot be written; name a file in a folder that can")

    def stop(signum: int, frame: object) -> None:
        sys.exit(128 + signum)

    before = signal.signal(signal.SIGTERM, stop)  # its servers end with it, also where it is told to stop
    try:
        told = run_bench(say=lambda text: click.echo(text, err=True), **chosen)
        if html is not None:
            from weft_serving.bench.page import page

            html.write_text(page(told), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(str(error)) from error
    finally:
        signal.signal(signal.SIGTERM, before)
    click.echo(json.dumps(told, indent=2, allow_nan=False) if as_json else "\n".join(lines(told)))
    if html is not None:
        click.echo(f"plots: {html}", err=True)
