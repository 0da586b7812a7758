"""`weft line`: check, plan, calibrate, report and verify a sorting line. Each verb is a thin shell."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weft.errors import StoreError

if TYPE_CHECKING:
    from weft_serving.store import Store

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def line() -> None:
    """Describe, check and look back on a sorting line."""


@line.command()
@click.argument("file", type=_FILE)
@click.option("--bundle", type=_FILE, help="Belt bundle that it will run with.  [default: as `weft serve`]")
def check(file: Path, bundle: Path | None) -> None:
    """Show the line of FILE and what its lanes take; end with an error where it cannot run so."""
    from weft.errors import RuleError
    from weft.line.rule_table import findings_text
    from weft_serving.line.plan_verb import check_line

    try:
        click.echo(check_line(file, bundle))
    except RuleError as error:
        click.echo(findings_text(error.findings), err=True)
        raise click.ClickException(f"{file}: these lanes cannot be decided by") from error


@line.command()
@click.argument("file", type=_FILE)
@click.option(
    "--pieces",
    type=click.Path(path_type=Path, exists=True),
    help="JSONL or CSV with their truth; else those of the bundle.",
)
@click.option("--bundle", type=_FILE, help="Belt bundle that it will run with.  [default: as `weft serve`]")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Page to write, HTML.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def plan(file: Path, pieces: Path | None, bundle: Path | None, out: Path | None, as_json: bool) -> None:
    """Try the lanes of FILE on pieces of known composition: purity against recovery, before they run."""
    import json

    from weft.line.plan import as_json as figures
    from weft.line.plan_drawing import draw_plan
    from weft_serving.line.plan_verb import plan_line, plan_table

    try:
        found = plan_line(file, pieces, bundle)
        if out is not None:
            out.write_text(draw_plan(found), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(figures(found), indent=2) if as_json else plan_table(found))
    if out is not None and not as_json:
        click.echo(f"{out}: the curves")


@line.command()
@click.argument("target", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--line", "file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--white", is_flag=True, help="The target is a white card: balance the colours on it too.")
def calibrate(target: Path, file: Path, white: bool) -> None:
    """Lay the colour camera over the NIR camera, from TARGET: a recording of one card on the belt.

    Prints the `colour:` part to put into the line's file.
    """
    from weft.line.description import read_description
    from weft_serving.line.see.calibrate import calibrate as run
    from weft_serving.line.see.calibrate import corrected_yaml

    found = run(target, read_description(file), white_target=white)
    fit = found.registration
    click.echo(
        f"# moved {fit.shift_mm:+.1f} mm along, {fit.left_shift_mm:+.1f} mm across, scale x {fit.scale:.4f}; "
        f"the two pictures agree over {fit.overlap:.1%} of the target (before: {fit.overlap_before:.1%})"
    )
    click.echo(corrected_yaml(found), nl=False)


_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
_NEW_FILE = click.Path(path_type=Path, dir_okay=False)


def _kept_store(database: str | None) -> "Store":
    """The database that a service writes. Looking back must not make an empty one of a mistyped name."""
    from weft_serving.settings import read_settings
    from weft_serving.store import open_store

    url = read_settings(os.environ, database_url=database).database_url
    kind, _, file = url.partition(":///")
    if kind == "sqlite" and file and not Path(file).is_file():
        raise StoreError(f"{file}: no such database; name with --database the one that `weft serve` writes")
    return open_store(url)


def _span(start: datetime | None, end: datetime | None, hours: float) -> tuple[datetime, datetime]:
    """Both with a zone, this machine's where none was given; by default the last hours until now."""
    until = (end or datetime.now(UTC)).astimezone()
    return (start.astimezone(until.tzinfo) if start else until - timedelta(hours=hours)), until


@line.command()
@click.option("--line", "name", required=True, help="The line's name.")
@click.option(
    "--from",
    "start",
    type=_MOMENT,
    metavar="TIME",
    help="Such as 2026-11-22T06:00.  [default: 8 h before --to]",
)
@click.option("--to", "end", type=_MOMENT, metavar="TIME", help="Up to this moment.  [default: now]")
@click.option("--database", metavar="URL", help="As for `weft serve`.  [default: sqlite:///weft.db]")
@click.option("--out", type=_NEW_FILE, required=True, help="Page to write, HTML.")
@click.option("--csv", "csv_out", type=_NEW_FILE, help="Its tables: NAME.csv, NAME-lanes.csv, ...")
def report(
    name: str,
    start: datetime | None,
    end: datetime | None,
    database: str | None,
    out: Path,
    csv_out: Path | None,
) -> None:
    """Sum up a shift: mass balance by fibre and lane, purity, alarms, latency."""
    from weft_serving.line.past.report import make_shift
    from weft_serving.line.past.report_page import write_report

    store = _kept_store(database)
    try:
        shift = make_shift(store, name, *_span(start, end, 8.0))
        written = write_report(shift, out, csv_out)
    finally:
        store.close()
    alarms = f"{len(shift.alarms)} alarm{'' if len(shift.alarms) == 1 else 's'}"
    simulated = ", simulated" if shift.simulated else ""
    click.echo(
        f"{', '.join(map(str, written))}: {shift.pieces:,} pieces, {shift.total.grams / 1000:.1f} kg "
        f"(± {shift.total.margin / 1000:.1f}), {alarms}{simulated}"
    )


@line.command()
@click.option("--line", "name", required=True, help="The line's name.")
@click.option("--draw", type=click.IntRange(1, 10_000), help="Draw so many pieces of each lane by lot.")
@click.option("--lane", "lanes", multiple=True, help="Draw of this lane alone; may be given several times.")
@click.option(
    "--from",
    "start",
    type=_MOMENT,
    metavar="TIME",
    help="Draw pieces seen since.  [default: 24 h before --to]",
)
@click.option("--to", "end", type=_MOMENT, metavar="TIME", help="And before this moment.  [default: now]")
@click.option("--seed", type=int, help="Draw the same pieces again from the same database.")
@click.option(
    "--sheet", type=_NEW_FILE, help="Write all that is drawn and unchecked: CSV, and HTML beside it."
)
@click.option("--checked", type=_FILE, help="The sheet, filled in.")
@click.option("--manifest", type=_NEW_FILE, help="Write all hand-checked pieces as training data, Parquet.")
@click.option("--database", metavar="URL", help="As for `weft serve`.  [default: sqlite:///weft.db]")
def verify(name: str, database: str | None, **asked: Any) -> None:
    """Measure purity by hand: draw pieces by lot, give back what they truly are, read the result.

    Without options it says how pure each lane was found.
    """
    from weft_serving.line.past.verify_verb import Asked, verify_line

    store = _kept_store(database)
    try:
        asked["start"], asked["end"] = _span(asked["start"], asked["end"], 24.0)
        for said in verify_line(store, name, Asked(**asked)):
            click.echo(said)
    finally:
        store.close()
