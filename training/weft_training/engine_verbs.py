"""The verbs `weft admit` and `weft quantize`; what is heavy is imported inside them."""

from pathlib import Path
from typing import Any

import click

from weft.engine_names import OTHERS

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OUT = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("bundle", type=_FILE)
@click.argument("manifest", type=_FILE, required=False)
@click.option("--engine", type=click.Choice(OTHERS), required=True)
@click.option("--out", type=_OUT, required=True, help="The new bundle's file.")
@click.option(
    "--most",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.02,
    show_default=True,
    help="The most an answer may differ: grams relative, shares absolute.",
)
@click.option(
    "--most-loss",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="The most the error on MANIFEST may grow, percent.",
)
def admit(bundle: Path, manifest: Path | None, engine: Any, out: Path, most: float, most_loss: float) -> None:
    """Measure how another engine answers for BUNDLE, and write its bound on the card of a new one."""
    from weft_training.admit import admit as measure

    found = measure(bundle, engine, out, manifest_path=manifest, most=most, most_loss_percent=most_loss)
    click.echo(f"{found.path}: {engine} is admitted, measured on {found.proof.cases} inputs")
    for name, far in found.proof.measured.items():
        click.echo(f"  {name} differs by up to {far:.2g}, bound {found.proof.bound[name]:.2g}")
    click.echo(f"  {found.loss}" if found.loss is not None else "  accuracy: not measured; name a manifest")
    click.echo(f"  {found.speed}")


@click.command()
@click.argument("bundle", type=_FILE)
@click.option("--to", "precision", type=click.Choice(["int8", "fp16"]), required=True)
@click.option("--manifest", type=_FILE, required=True, help="To calibrate on and to measure the loss on.")
@click.option(
    "--most-loss",
    type=click.FloatRange(0, 100),
    default=1.0,
    show_default=True,
    help="The most the error may grow, percent; the upper end of its interval counts.",
)
@click.option("--out", type=_OUT, required=True, help="The new bundle's file.")
def quantize(bundle: Path, precision: Any, manifest: Path, most_loss: float, out: Path) -> None:
    """Write BUNDLE with an int8 or fp16 backbone, if that costs little; say whether it is faster here."""
    from weft_training.quantize import quantize as write

    done = write(bundle, precision, manifest, out, most_loss_percent=most_loss)
    click.echo(f"{done.path}: {done.shrunk:.0%} of the bytes, bound {done.card.proof.bound:.2g}")
    click.echo(f"  {done.loss}")
    click.echo(f"  {done.speed}")
