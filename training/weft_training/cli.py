"""The training verbs of `weft`: each a thin shell over one function. Heavy imports stand inside the verbs.

`weft` itself prints a WeftError as one line: `weft.cli`.
"""

from pathlib import Path
from typing import Any

import click

_FOLDER = click.Path(path_type=Path, file_okay=False)
_LAST = "last"


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--runs", type=_FOLDER, default=Path("runs"), show_default=True, help="Folder of runs.")
@click.option(
    "--resume",
    is_flag=False,
    flag_value=_LAST,
    metavar="[RUN]",
    help="Go on with this run, or with the newest unfinished one of this recipe. Write it last.",
)
def train(recipe: Path, overrides: tuple[str, ...], runs: Path, resume: str | None) -> None:
    """Train by RECIPE, with KEY=VALUE laid over it (optim.epochs=3), and export the result."""
    from weft_training.recipe import load_recipe

    settings = load_recipe(recipe, overrides)  # before torch: a misspelt key is said at once
    from weft_training.train import train_run

    report = train_run(settings, runs=runs, resume=resume, last=_LAST)
    if report is not None:  # several processes: one of them reports
        click.echo(report)


@click.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: bundle.onnx in RUN.")
def export(run: Path, out: Path | None) -> None:
    """Write the final net of RUN as one sealed bundle."""
    from weft_training.run import open_run

    opened = open_run(run)
    from weft_training.export import export_run  # torch takes seconds; keep --help instant

    report = export_run(opened, out if out is not None else run / "bundle.onnx")
    proof = report.card.proof
    click.echo(
        f"{report.path}: within {proof.measured:.1e} of torch on {proof.cases} inputs "
        f"(bound {proof.bound:.0e})"
    )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--out", type=_FOLDER, help="Folder of the report.  [default: runs/evaluation/BUNDLE-on-MANIFEST]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@click.option(
    "--strangers", is_flag=True, help="MANIFEST is a folder of photos of other things: are they told so?"
)
def evaluate(bundle: Path, manifest: Path, out: Path | None, as_json: bool, strangers: bool) -> None:
    """Measure BUNDLE on MANIFEST, as it would be served; write report.html and metrics.json."""
    if strangers:
        _meet_strangers(bundle, manifest)
        return
    folder = out if out is not None else Path("runs/evaluation") / f"{bundle.stem}-on-{manifest.stem}"
    from weft_training.evaluate import evaluate as measure

    found = measure(bundle, manifest, folder, quiet=as_json)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        import json

        click.echo(json.dumps(found.metrics, indent=2, sort_keys=True))
        return
    for words, value, interval in found.headlines:
        click.echo(f"{words}: {value}" + (f"  ({interval})" if interval else ""))
    click.echo(found.page)


def _meet_strangers(bundle: Path, folder: Path) -> None:
    from weft_training.strange_photos import measure_strangers

    beside = bundle.parent / "predictions.parquet"  # of the run that made it
    found = measure_strangers(bundle, folder, held_out=beside if beside.is_file() else None)
    against = "" if found.auroc is None else f"; AUROC {found.auroc:.3f} against its own photos, held out"
    click.echo(
        f"{found.called_unfamiliar:.1%} of {found.photos} photos are called unfamiliar, at a false-alarm "
        f"rate of at most {found.false_alarm_rate:.1%}{against}"
    )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("known", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The new bundle's file."
)
@click.option("--name", help="Of the new bundle.  [default: as BUNDLE]")
@click.option("--version", help="Of the new bundle.  [default: BUNDLE's with -recalibrated]")
def recalibrate(bundle: Path, known: Path, out: Path, name: str | None, version: str | None) -> None:
    """Move the fibre BUNDLE by the swatches in KNOWN: a table with compositions, or a manifest."""
    from weft_training.recalibrate import recalibrate as move

    report = move(bundle, known, out, name=name, version=version)
    found = report.card.recalibration
    assert found is not None, "what was recalibrated says so"
    click.echo(
        f"{report.path}: {found.kind} from {found.swatches} swatches; those left out err by "
        f"{found.mae_points_after:.2f} points instead of {found.mae_points_before:.2f}"
    )
    click.echo(f"mind: {report.card.limits[-1]}")


@click.command()
@click.argument("name")
@click.argument("version")
@click.option(
    "--bundles", type=_FOLDER, envvar="WEFT_BUNDLES", required=True, help="The server's folder of bundles."
)
@click.option("--runs", type=_FOLDER, default=Path("runs"), show_default=True, help="Folder of runs.")
@click.option("--uri", help="MLflow's address, where it is not the database in the folder of runs.")
@click.option("--on-trial", is_flag=True, help="As challenger: compared on live traffic, answering nobody.")
def promote(name: str, version: str, bundles: Path, runs: Path, uri: str | None, on_trial: bool) -> None:
    """Put VERSION (a number, or `challenger`) of NAME into service; a running server takes it up."""
    from weft_training.promote import promote as install

    done = install(name, version, bundles=bundles, runs=runs, uri=uri, on_trial=on_trial)
    place = "on trial" if on_trial else "now champion"
    click.echo(f"{done.path}: {done.name} {done.version}, {place} (sha256 {done.sha256[:16]})")


@click.command()
@click.argument("lines", nargs=-1, metavar="[LINE]...")
@click.option("--data", type=_FOLDER, default=Path("../shared/data"), show_default=True)
@click.option("--configs", type=_FOLDER, default=Path("configs"), show_default=True)
@click.option("--runs", type=_FOLDER, default=Path("runs"), show_default=True, help="Folder of runs.")
@click.option("--from-runs", type=_FOLDER, help="Read finished runs from here and train nothing.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("docs/results.md"),
    show_default=True,
)
@click.option("--list", "listed", is_flag=True, help="Name the lines and their targets.")
@click.option("--json", "as_json", is_flag=True, help="Print what was measured as JSON.")
def leaderboard(lines: tuple[str, ...], out: Path, listed: bool, as_json: bool, **places: Path) -> None:
    """Measure LINEs (default: all) of the table of results and write it; a line that fails stops no other."""
    from weft_training.leaderboard import LINES, Board, find_lines, measure_lines
    from weft_training.leaderboard_page import said
    from weft_training.result_files import as_json_text, write_results

    chosen = find_lines(lines)
    if listed:
        for line in chosen:
            click.echo(said(line))
        return
    board = Board(**places, say=lambda text: click.echo(text, err=True))
    measured: list[Any] = []

    def keep(line: Any, result: Any, found: Any) -> None:
        write_results(out, LINES, [(line, result, found)])  # each at once: a later line may be killed
        measured.append(result)
        click.echo(said(line, result), err=as_json)

    failed = measure_lines(board, chosen, keep)
    if as_json:
        click.echo(as_json_text(measured))
    else:
        click.echo(out)
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(chosen)} lines failed: {', '.join(failed)}")


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option(
    "--space",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What may change.  [default: search/RECIPE beside it]",
)
@click.option(
    "--trials", type=click.IntRange(1), default=30, show_default=True, help="Of all workers together."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes here.")
@click.option(
    "--storage", help="URL of SQLAlchemy that workers share.  [default: sqlite in the study's folder]"
)
@click.option("--study", help="Its name in the storage.  [default: the recipe's]")
@click.option(
    "--again", type=click.IntRange(0), default=2, show_default=True, help="Other splits for the best."
)
@click.option("--heartbeat", type=click.IntRange(1), default=20, hidden=True, help="Seconds.")
@click.option("--runs", type=_FOLDER, default=Path("runs"), show_default=True, help="Folder of runs.")
@click.option("--resume", is_flag=True, help="Go on with a study, or join it from another machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def search(
    recipe: Path,
    overrides: tuple[str, ...],
    space: Path | None,
    runs: Path,
    resume: bool,
    as_json: bool,
    **more: Any,
) -> None:
    """Try settings of RECIPE out of fold, by subject, and write the best for `weft train`."""
    from weft_training.recipe import load_recipe

    settings = load_recipe(recipe, overrides)
    from weft_training.search_run import search_recipe

    found = search_recipe(
        settings, space or recipe.parent / "search" / recipe.name, runs=runs, resume=resume, **more
    )
    if as_json:
        import json

        click.echo(json.dumps(found.json, indent=2))
        return
    for line in (*found.lines, f"recipe: {found.best}", f"report: {found.page}"):
        click.echo(line)
