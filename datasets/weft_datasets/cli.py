"""`weft import`, `weft check`, `weft simulate`: thin shells over one function each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

FILE = click.Path(path_type=Path)


@click.command("import")
@click.argument("kind")
@click.argument("source", type=FILE)
@click.option("--out", type=FILE, required=True, help="The manifest to write, a Parquet file.")
@click.option("--axis", type=click.Choice(["nm", "um", "cm-1"]), help="folder: unit of the wavelengths.")
@click.option("--quantity", help="folder: what spectra are, where no column or file says it.")
@click.option(
    "--column", "columns", multiple=True, metavar="OURS=YOURS", help="folder: a column by its name."
)
@click.option("--name", help="folder: name of the data set.  [default: the table's name]")
@click.option("--licence", help="folder: under which licence the data may be used.")
def import_(kind: str, source: Path, out: Path, **said: Any) -> None:
    """Turn SOURCE into a manifest. `folder` reads your own table of captures (docs/data.md).

    \b
    KIND is one of
      ecustfd     weighed food with a coin of 25 mm
      ducks       duck carcasses on a line, in kg
      nirscan     fabrics on a TI DLP NIRscan Nano
      cotton-pet  FT-NIR of cotton/PET blends
      fastex      ATR-FTIR of reference fibres
      plastics    NIR of plastics, none a textile fibre
      garments    phone photos of garments, neither weighed nor scanned
      folder      your own: a CSV or Parquet of captures
    """
    from weft_datasets.columns import value_faults
    from weft_datasets.importers import import_source
    from weft_datasets.manifest import write_manifest

    if kind != "folder" and any(said.values()):
        raise click.UsageError(
            f"--axis, --quantity, --column, --name and --licence are for folder, not {kind}"
        )
    manifest = _folder(source, said) if kind == "folder" else import_source(kind, source)
    written = write_manifest(manifest, out)
    frame = written.frame
    click.echo(f"{out}: {len(frame)} captures ({written.kind}) of {frame['subject'].nunique()} subjects")
    for remark in written.notes.get("remarks", []):
        click.echo(f"  note: {remark}")
    for fault in value_faults(frame):
        click.echo(f"  fault: {fault}", err=True)
    click.echo(f"next: weft check {out}")


def _folder(source: Path, said: Mapping[str, Any]) -> Any:
    from weft_datasets.importers.folder import Said, read

    columns: dict[str, str] = {}
    for pair in said["columns"]:
        ours, between, yours = pair.partition("=")
        if not between or not ours.strip() or not yours.strip():
            raise click.UsageError(f"--column {pair}: write OURS=YOURS, such as --column subject=garment_id")
        columns[ours.strip()] = yours.strip()
    return read(
        source,
        Said(
            axis=said["axis"],
            quantity=said["quantity"],
            columns=columns,
            name=said["name"],
            licence=said["licence"],
        ),
    )


@click.command()
@click.argument("manifest", type=FILE)
@click.option("--html", type=FILE, help="Also write the findings as one page with pictures.")
def check(manifest: Path, html: Path | None) -> None:
    """Say what would spoil a training on MANIFEST; exit 1 if anything would."""
    from weft_datasets.check import check_manifest
    from weft_datasets.manifest import read_manifest
    from weft_datasets.page import write_page

    read = read_manifest(manifest, strict=False)
    report = check_manifest(read)
    if html is not None:
        write_page(read, report, html)
    click.echo(report.text())
    if html is not None:
        click.echo(f"page: {html}")
    if report.spoils:
        raise SystemExit(1)


@click.group()
def simulate() -> None:
    """Make labelled data without any hardware; the same seed gives the same bytes."""


@simulate.command()
@click.option("--out", type=FILE, required=True, help="An empty folder, or one to be made.")
@click.option("--subjects", type=click.IntRange(1), required=True, help="Parcels to pack.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--photos", type=(click.IntRange(1, 9), click.IntRange(1, 9)), default=(1, 3), show_default=True
)
@click.option("--size-px", type=click.IntRange(64, 4096), default=320, show_default=True)
@click.option("--bands", default="red,green,blue", show_default=True, help="Order of the bands, by comma.")
@click.option(
    "--faults", is_flag=True, help="Also a photo of each fault: cut off, several, none, covered, screen."
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@click.option("--sheet", type=FILE, help="Also write a contact sheet, PNG or JPEG.")
def parcels(out: Path, *, bands: str, sheet: Path | None, **options: Any) -> None:
    """Photos of packed parcels, weighed, with a printed QR label of known size."""
    from weft_datasets.contact_sheet import write_contact_sheet
    from weft_datasets.simulate_parcels import write_parcels

    names = tuple(band.strip() for band in bands.split(",") if band.strip())
    try:
        manifest = write_parcels(out, bands=names, **options)
        if sheet is not None:
            write_contact_sheet(manifest, sheet)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    _made(manifest, out)


@simulate.command()
@click.argument("manifest", type=FILE)
@click.option("--out", type=FILE, required=True, help="An empty folder, or one to be made.")
@click.option("--photos", type=click.IntRange(1), default=400, show_default=True, help="To spoil, at most.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--size-px", type=click.IntRange(64, 4096), default=320, show_default=True)
def faults(manifest: Path, out: Path, **options: Any) -> None:
    """Real photos of MANIFEST and the same ones cut off, covered and taken from a screen (docs/advice.md)."""
    from weft_datasets.manifest import read_manifest
    from weft_datasets.spoil import write_spoilt

    made = write_spoilt(read_manifest(manifest), out, **options)
    counts = made.frame["fault"].fillna("good").value_counts().to_dict()
    click.echo(f"{out}: {', '.join(f'{count} {word}' for word, count in counts.items())}")


@simulate.command()
@click.option("--out", type=FILE, required=True, help="An empty folder, or one to be made.")
@click.option("--subjects", type=click.IntRange(1), required=True, help="Swatches to weave.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--scans", type=(click.IntRange(1), click.IntRange(1)), default=(1, 4), show_default=True)
@click.option(
    "--grid", type=(float, float, float), metavar="FROM TO STEP", help="nm; else each instrument's."
)
@click.option("--only", multiple=True, help="A thing that is no textile, such as leather; these alone.")
@click.option("--without", multiple=True, help="A thing that is no textile to leave out, such as pvc.")
def spectra(out: Path, **options: Any) -> None:
    """Spectra of fabrics and of things that are none, from a table of absorption bands."""
    from weft_datasets.simulate_spectra import write_spectra

    try:
        manifest = write_spectra(out, **options)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    _made(manifest, out)


@simulate.command()
@click.option("--out", type=FILE, required=True, help="An empty folder, or one to be made.")
@click.option("--subjects", type=click.IntRange(1), required=True, help="Swatches to weave.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--telling",
    type=click.FloatRange(0, 1),
    default=0.8,
    show_default=True,
    help="How often a swatch has the look of its fibre.",
)
@click.option(
    "--dark", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Share too dark to scan."
)
def pairs(out: Path, **options: Any) -> None:
    """Swatches with scans and a photo each: how far a look tells the fibre is a setting, not a claim."""
    from weft_datasets.simulate_pairs import write_pairs

    try:
        manifest = write_pairs(out, **options)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    _made(manifest, out)


@simulate.command()
@click.option("--line", type=FILE, required=True, help="A line's file, such as configs/lines/demo.yaml.")
@click.option("--seconds", type=click.FloatRange(0.1, 3_600), required=True, help="How long the belt runs.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--out", type=FILE, required=True, help="An empty folder, or one to be made.")
@click.option("--sheet", type=FILE, help="Also draw its first six seconds with the truth in, PNG.")
def belt(line: Path, out: Path, *, sheet: Path | None, **options: Any) -> None:
    """A moving belt of garments: raw NIR lines, colour frames, references, truth (docs/line/simulator.md)."""
    from weft.line.description import read_description
    from weft_datasets.belt.record import write_recording
    from weft_datasets.belt.sheet import write_sheet

    try:
        made = write_recording(line, out, **options)
        if sheet is not None:
            write_sheet(read_description(line), sheet, seconds=min(made.seconds, 6.0), seed=options["seed"])
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{out}: {made.pieces} pieces, {made.grams / 1000:.1f} kg in {made.seconds:g} s, "
        f"{made.lines} NIR lines, {made.frames} frames, simulated"
    )
    click.echo(f"next: weft replay {out} --line NAME --speed 1.0")


def _made(manifest: Any, out: Path) -> None:
    frame = manifest.frame
    click.echo(
        f"{out}: {len(frame)} captures ({manifest.kind}) of {frame['subject'].nunique()} subjects, simulated"
    )
    click.echo(f"next: weft check {manifest.root / 'manifest.parquet'}")
