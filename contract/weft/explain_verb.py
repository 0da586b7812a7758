"""`weft explain`: what in a photo or a scan the answer was read from. Imports stay inside, as in `verbs`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from weft.explain_photo import PhotoExplanation
    from weft.explain_scan import ScanExplanation

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OF_PHOTOS = frozenset({"photo", "mark", "mark_mm", "season", "wrap"})
_OF_SCANS = frozenset({"fibre", "unit", "quantity"})
_PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"}


@click.command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option("--bundle", type=_FILE, help="Bundle to explain; the one in the package if left out.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Picture.  [default: beside here]"
)
@click.option(
    "--photo", type=click.IntRange(1), default=1, show_default=True, help="Which of several photos."
)
@click.option("--mark", type=click.Choice(["qr", "disc", "sheet", "ruler"]), help="As for `weft estimate`.")
@click.option("--mark-mm", type=click.FloatRange(1, 2000), help="As for `weft estimate`.")
@click.option("--season", type=click.Choice(["summer", "winter"]))
@click.option("--wrap", type=click.Choice(["bag", "box", "loose"]))
@click.option("--fibre", help="Of a scan: the fibre to explain.  [default: the main one]")
@click.option("--unit", type=click.Choice(["nm", "cm-1", "um"]), help="As for `weft identify`.")
@click.option("--quantity", help="As for `weft identify`.")
@click.option("--json", "as_json", is_flag=True, help="Print the parts or wavelengths as JSON.")
def explain(files: tuple[Path, ...], as_json: bool, **asked: Any) -> None:
    """Show which parts of a photo, or which wavelengths of a scan, carried the answer.

    FILES are photos of one thing, or one scan. A picture is written: PNG for a photo, SVG for a scan.
    """
    photos = [path.suffix.lower() in _PHOTOS for path in files]
    _check_out(asked["out"], ".png" if all(photos) else ".svg")
    if all(photos) or len(files) == 1:
        _check_options(_OF_SCANS if all(photos) else _OF_PHOTOS, "photo" if all(photos) else "scan")
    if all(photos):
        _explain_photo(files, as_json, **asked)
    elif len(files) == 1:
        _explain_scan(files[0], as_json, **asked)
    else:
        raise click.UsageError("give the photos of one thing, or one scan")


def _check_options(others: frozenset[str], kind: str) -> None:
    """An option that says nothing about this kind of file is a slip, not to be passed over."""
    context = click.get_current_context()
    stray = [name for name in others if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    if stray:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(stray))
        raise click.UsageError(f"{named} says nothing about a {kind}; leave it out")


def _check_out(out: Path | None, ending: str) -> None:
    """Before the minute of work, not after it."""
    if out is None:
        return
    if out.suffix.lower() != ending:
        raise click.UsageError(
            f"--out {out}: the picture of this is {ending[1:].upper()}; name a {ending} file"
        )
    if not out.parent.is_dir():
        raise click.UsageError(f"--out {out}: there is no folder {out.parent}; make it or name another")


def _explain_photo(files: tuple[Path, ...], as_json: bool, **asked: Any) -> None:
    from weft.bundle import BUNDLED, load_bundle
    from weft.explain_drawing import draw_parts
    from weft.explain_photo import explain_photo
    from weft.marks import wanted
    from weft.verbs import prepared_from
    from weft.weigher import Subject, Weigher

    try:
        hint = wanted(asked["mark"], asked["mark_mm"])
    except ValueError as error:
        raise click.UsageError(f"give --mark and --mark-mm together: {error}") from error
    weigher = Weigher(load_bundle(asked["bundle"] or BUNDLED / "weight.onnx", task="weight"))
    prepared = prepared_from(files, weigher, hint)
    subject = Subject(prepared, asked["season"], asked["wrap"])
    place = asked["photo"] - 1

    def told(done: int, total: int) -> None:
        click.echo(f"\rpainted over {done} of {total} parts", nl=done == total, err=True)

    found = explain_photo(weigher, subject, place, progress=told)
    photo = prepared[place].photo
    assert photo is not None, "it could be weighed"
    out = asked["out"] or Path(f"{files[place].stem}-explained.png")
    out.write_bytes(draw_parts(photo.pixels, found))
    if as_json:
        card = weigher.card
        answer: dict[str, Any] = {"path": str(files[place]), "picture": str(out), **asdict(found)}
        answer["parts"] = [part._asdict() for part in found.parts]
        click.echo(json.dumps(answer | {"bundle": {"name": card.name, "version": card.version}}, indent=2))
        return
    for line in said_of_photo(found):
        click.echo(line)
    click.echo(out)


def said_of_photo(found: "PhotoExplanation") -> list[str]:
    """The estimate and the five parts that carried most of it."""
    lines = [f"{found.grams:.0f} g; what single parts of photo {found.photo + 1} carried of it:"]
    for part in sorted(found.parts, key=lambda part: -abs(part.grams))[:5]:
        across = f"{part.left:.0%} to {part.left + part.width:.0%} from the left"
        down = f"{part.top:.0%} to {part.top + part.height:.0%} from the top"
        lines.append(f"  {part.grams:+7.1f} g  {across}, {down}")
    return lines


def _explain_scan(file: Path, as_json: bool, **asked: Any) -> None:
    from weft.bundle import BUNDLED, load_bundle
    from weft.explain_drawing import draw_influence
    from weft.explain_scan import explain_scan
    from weft.identifier import Identifier
    from weft.scans import read_scan_path
    from weft.spectra import Cube

    read = read_scan_path(file, unit=asked["unit"], quantity=asked["quantity"])
    scan = read.mean_scan() if isinstance(read, Cube) else read
    identifier = Identifier(load_bundle(asked["bundle"] or BUNDLED / "fibre.onnx", task="composition"))
    found = explain_scan(identifier, scan, asked["fibre"])
    out = asked["out"] or Path(f"{file.stem}-explained.svg")
    out.write_text(draw_influence(scan, found), encoding="utf-8")
    if as_json:
        card = identifier.bundle.card
        answer: dict[str, Any] = {
            "path": str(file),
            "picture": str(out),
            "fibre": found.fibre,
            "share": found.share,
            "wavelength_nm": found.wavelength_nm.tolist(),
            "log_odds": found.log_odds.round(5).tolist(),
            "points": found.points.round(4).tolist(),
            "peaks": [
                {"nm": peak.nm, "log_odds": peak.log_odds, "band": peak.band and peak.band._asdict()}
                for peak in found.peaks
            ],
            "bands": [band._asdict() for band in found.bands],
            "bundle": {"name": card.name, "version": card.version},
        }
        click.echo(json.dumps(answer, indent=2))
        return
    for line in said_of_scan(found):
        click.echo(line)
    click.echo(out)


def said_of_scan(found: "ScanExplanation") -> list[str]:
    """The share and the stretches that carried it, with the known band beside each."""
    lines = [f"{found.fibre} {found.share:.0%}; it was read from:"]
    for peak in found.peaks:
        beside = (
            f"beside {peak.band.nm:.0f} nm, {peak.band.bond}"
            if peak.band
            else f"no known band of {found.fibre} is near"
        )
        lines.append(f"  {peak.nm:5.0f} nm  log odds {peak.log_odds:+.2f}  {beside}")
    return lines if found.peaks else [*lines, "  no single stretch; see the picture"]
