"""The verbs that ask a bundle: `weft estimate`, `weft identify`, `weft inspect`. Imports stay inside them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weft.engine_names import CHOICES, NATIVE, EngineChoice

if TYPE_CHECKING:
    from weft.bundle import Bundle
    from weft.card import BeltCard, WeightCard
    from weft.marks import MarkHint
    from weft.weigher import Estimate, PhotoFinding, Prepared, Weigher

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_ENGINE = click.option(
    "--engine",
    type=click.Choice(CHOICES),
    default=NATIVE,
    show_default=True,
    help="What computes the graph; another than the default has to be on the bundle's card.",
)
_SUBJECTS_TO_JUDGE = 20  # under this the coverage of intervals says little


@click.command()
@click.argument("photos", type=_FILE, nargs=-1, required=True)
@click.option("--bundle", type=_FILE, help="Weight bundle; the one in the package if left out.")
@click.option(
    "--mark",
    type=click.Choice(["qr", "disc", "sheet", "ruler"]),
    help="A scale mark to look for: a QR label, a coin or dot, a white A4 sheet, the printed ruler.",
)
@click.option(
    "--mark-mm",
    type=click.FloatRange(1, 2000),
    help="Side of the QR square, the disc's diameter; a sheet's longer side (297), a ruler's length (250).",
)
@click.option("--season", type=click.Choice(["summer", "winter"]), help="When the clothes were worn.")
@click.option("--wrap", type=click.Choice(["bag", "box", "loose"]), help="What they are packed in.")
@_ENGINE
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON, as the service would.")
def estimate(photos: tuple[Path, ...], bundle: Path | None, as_json: bool, **known: Any) -> None:
    """Weigh what is in PHOTOS, all of them of the same thing."""
    from weft.bundle import BUNDLED, load_bundle
    from weft.marks import wanted
    from weft.weigher import Weigher

    kind = known["mark"]
    try:
        hint = wanted(kind, known["mark_mm"])
    except ValueError as error:
        raise click.UsageError(f"give --mark and --mark-mm together: {error}") from error
    path = bundle or BUNDLED / "weight.onnx"
    weigher = Weigher(load_bundle(path, task="weight", engine=known["engine"]))
    prepared = prepared_from(photos, weigher, hint)
    found = weigher.weigh(prepared, season=known["season"], wrap=known["wrap"])
    if as_json:
        each = [
            {"path": str(path), **asdict(photo)} for path, photo in zip(photos, found.photos, strict=True)
        ]
        click.echo(_json({**asdict(found), "photos": each, "bundle": _about(weigher.bundle)}))
        return
    click.echo(_weight(found))
    for path, photo in zip(photos, found.photos, strict=True):
        absent = f"; no {kind} found" if kind and photo.mark is None else ""
        click.echo(f"  {path}: {_finding(photo)}{absent}")
    for warning in found.warnings:
        click.echo(f"  mind: {warning}")
    card = weigher.card
    click.echo(f"  by {card.name} {card.version}, trained on {card.trained_on} data: {card.dataset}")


def prepared_from(
    photos: "tuple[Path, ...]", weigher: "Weigher", hint: "MarkHint | None"
) -> "tuple[Prepared, ...]":
    """As `Weigher.prepare_all`, with the first file's name before the error where none can be used."""
    from weft.errors import PhotoError

    try:
        return weigher.prepare_all([path.read_bytes() for path in photos], hint)
    except PhotoError as error:
        raise type(error)(f"{photos[0]}: {error}") from error


def _weight(found: "Estimate") -> str:
    if found.grams is None:
        return "no estimate"
    if found.low_grams is None or found.high_grams is None or found.coverage is None:
        return f"{found.grams:.0f} g (no honest margin is available)"
    return (
        f"{found.grams:.0f} g ({found.low_grams:.0f} to {found.high_grams:.0f} g with {found.coverage:.0%})"
    )


def _finding(photo: "PhotoFinding") -> str:
    from weft.quality import WHAT_TO_DO

    said = "; ".join(WHAT_TO_DO[word] for word in photo.advice)
    used = ("used" if photo.usable else "not used") + (f": {said}" if said else "")
    if photo.mark is None:
        return used
    mark = photo.mark
    tilt = "" if mark.tilt_degrees is None else f", tilted by {mark.tilt_degrees:.0f} degrees"
    return (
        f"{used}; {mark.kind} gives {mark.mm_per_pixel:.3f} mm per pixel ({mark.confidence:.0%} sure{tilt})"
    )


@click.command()
@click.argument("scan", type=_FILE, required=False)
@click.option("--photo", type=_FILE, help="A photo of the same thing, or alone, if the bundle takes one.")
@click.option("--white", type=_FILE, help="White reference of a cube of raw counts.")
@click.option("--dark", type=_FILE, help="Dark reference of a cube of raw counts.")
@click.option(
    "--unit", type=click.Choice(["nm", "cm-1", "um"]), help="Of the wavelengths, if the file is mute."
)
@click.option(
    "--quantity", help="reflectance, reflectance_percent, absorbance or transmittance_percent, likewise."
)
@click.option(
    "--map", "map_file", type=click.Path(path_type=Path, dir_okay=False), help="Write a cube's map (.npy)."
)
@click.option("--bundle", type=_FILE, help="Fibre bundle; the one in the package if left out.")
@click.option("--declare", type=click.Choice(["eu", "cn"]), help="Also as a label, or why there is none.")
@click.option("--language", type=click.Choice(["en", "de", "fr", "zh"]), help="Of the label: eu en, cn zh.")
@click.option("--carded", is_flag=True, help="The product was carded: more foreign fibre is let pass (eu).")
@click.option("--decorative", multiple=True, metavar="FIBRE", help="Purely decorative; need not be counted.")
@click.option("--antistatic", multiple=True, metavar="FIBRE", help="Antistatic; need not be counted.")
@click.option("--json", "as_json", is_flag=True, help="Answer as JSON, as the service would.")
def identify(scan: Path | None, bundle: Path | None, as_json: bool, **stated: Any) -> None:
    """Name the fibres of SCAN: a NIRscan CSV, two columns of text, JCAMP-DX, or an ENVI cube (.hdr, .zip)."""
    from weft.bundle import BUNDLED, load_bundle
    from weft.identified import areas, declared, identified, table, write_map
    from weft.identifier import Identifier

    label = {name: stated.pop(name) for name in ("declare", "language", "carded", "decorative", "antistatic")}
    if label["declare"] is None and any(label.values()):
        raise click.UsageError("these options are about a label: add --declare eu or --declare cn")
    photo, map_file = stated.pop("photo"), stated.pop("map_file")
    if scan is None and map_file is not None:
        raise click.UsageError("--map belongs to a cube; name one as SCAN, or leave --map out")
    identifier = Identifier(load_bundle(bundle or BUNDLED / "fibre.onnx", task="composition"))
    found, what = identified(identifier, scan, photo, **stated)
    if map_file is not None:
        write_map(map_file, found)
    lines, label_said = declared(found, identifier.bundle, **label)  # first: it may refuse
    if as_json:
        shares = [asdict(item) for item in found.shares]
        paths = {"path": None if scan is None else str(scan)}
        paths |= {} if photo is None else {"photo_path": str(photo)}
        answer = {**paths, "shares": shares, "unknown": found.unknown, "warnings": found.warnings}
        answer |= {"photo_heard": found.photo_heard}
        answer |= {"map": areas(found), "bundle": _about(identifier.bundle)}
        click.echo(_json(answer | label_said))
        return
    click.echo(what)
    for line in table(found):
        click.echo(f"  {line}")
    for warning in found.warnings:
        click.echo(f"  mind: {warning}")
    for line in lines:
        click.echo(f"  {line}")
    card = identifier.bundle.card
    click.echo(f"  by {card.name} {card.version}, trained on {card.trained_on} data: {card.dataset}")


@click.command()
@click.argument("bundle", type=_FILE)
@_ENGINE
@click.option("--json", "as_json", is_flag=True, help="The card and the graph as JSON.")
def inspect(bundle: Path, as_json: bool, engine: EngineChoice) -> None:
    """Show what BUNDLE is, takes and is worth. Its seal, card and proof are checked on the way."""
    from weft.bundle import load_bundle

    loaded = load_bundle(bundle, engine=engine)
    graph = {"inputs": loaded.inputs(), "outputs": loaded.outputs()}
    if as_json:
        tables = {
            side: [{"name": name, "type": kind, "shape": shape} for name, kind, shape in items]
            for side, items in graph.items()
        }
        about = {"path": str(bundle), "sha256": loaded.sha256}
        click.echo(_json({**about, **tables, "card": loaded.card.model_dump(mode="json")}))
        return
    for title, rows in _sections(loaded).items():
        click.echo(click.style(title, bold=True))
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            click.echo(f"  {name:<{width}}  {text}")


def _shift(section: "WeightCard | None") -> list[tuple[str, str]]:
    if section is None or section.shift is None:
        return []
    follows = {"refuse": "is refused", "widen": "widens the interval to all masses it was trained on"}
    words = (
        f"a photo stranger than {section.shift.strange_above:.3g} {follows[section.shift.then]}; "
        f"at most {section.shift.false_alarm_rate:.1%} of {section.shift.subjects} held-out subjects' photos"
    )
    return [("unfamiliar", words)]


def _vote(section: "BeltCard | None") -> list[tuple[str, str]]:
    """How pixels become an answer; a trial by its length, margins in points."""
    if section is None:
        return []
    plain = {
        name: value for name, value in section.vote if name not in {"edges_share", "edges_scatter", "margin"}
    }
    rows = [("vote", _shown(plain))]
    bands = "/".join(f"{edge:.0%}" for edge in (0, *section.vote.edges_share))
    kinds = [
        f"{kind}, scatter {most}"
        for kind, edges in zip(("blend", "pure"), section.vote.edges_scatter, strict=True)
        for most in (*(f"to {edge:.2g}" for edge in edges), "above")
    ]
    for kind, table in zip(kinds, section.vote.margin or (), strict=False):
        points = ", ".join(
            f"{fibre} {'/'.join(f'{100 * margin:.0f}' for margin in row)}"
            for fibre, row in zip(section.fibres, table, strict=True)
        )
        rows.append((kind, f"margins in points, for shares from {bands}: {points}"))
    if section.trial is not None:
        rows.append(("trial", f"{len(section.trial.unknown)} pieces that were left out of training"))
    return rows


def _sections(bundle: "Bundle") -> dict[str, list[tuple[str, str]]]:
    card, proof = bundle.card, bundle.card.proof
    part = card.weight or card.composition or card.belt
    margin = "none: no honest interval is available"
    if card.coverage is not None:
        margin = f"{card.coverage:.0%}, calibrated on {card.calibration_subjects} subjects"
        if card.calibration_subjects < _SUBJECTS_TO_JUDGE:
            margin += ": too few to judge whether it holds"
    sections: dict[str, list[tuple[str, str]]] = {
        f"{card.name} {card.version}": [
            ("task", card.task),
            ("trained on", f"{card.trained_on} data, {card.subjects} subjects: {card.dataset}"),
            ("margin", margin),
            *_shift(card.weight),
            ("made", f"{card.created_at} from code {card.code_revision}"),
            ("data", card.dataset_fingerprint),
            *(("limit", text) for text in card.limits),
            *(("licence", text) for text in card.licence_notes),
        ],
        "Takes": [
            (name.replace("_", " "), _shown(value))
            for name, value in dict(part or {}).items()
            if name not in {"shift", "vote", "trial"}
        ]
        + _vote(card.belt),
        "Inputs": [(name, f"{kind} {_shape(shape)}") for name, kind, shape in bundle.inputs()],
        "Outputs": [(name, f"{kind} {_shape(shape)}") for name, kind, shape in bundle.outputs()],
        "Metrics": [(name, f"{value:.4g}") for name, value in card.metrics.items()],
        "Proof": [
            ("holds here", f"answers of {bundle.engine} lie within {_bound(bundle)} of the trained model"),
            ("at export", f"{proof.measured:.2g} at most, over {proof.cases} inputs on {proof.engine}"),
            *(
                (name, f"{_bounds(other.bound)}; {other.measured_on}")
                for name, other in proof.engines.items()
            ),
        ],
        "Seal": [("sha256", bundle.sha256)],
        "Recipe": [("", line) for line in card.recipe.splitlines()],
    }
    return {title: rows for title, rows in sections.items() if rows}


def _bound(bundle: "Bundle") -> str:
    other = bundle.card.proof.engines.get(bundle.engine)
    return f"{bundle.card.proof.bound:g}" if other is None else _bounds(other.bound)


def _bounds(bound: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in bound.items())


def _shown(value: Any) -> str:
    """A field of the card on one line; a long grid by its ends."""
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return _shown(dict(value))
    if isinstance(value, dict):
        return ", ".join(f"{str(name).replace('_', ' ')} {_shown(each)}" for name, each in value.items())
    if isinstance(value, tuple):
        items: tuple[Any, ...] = value
        if len(items) > 24:
            return f"{_shown(items[0])} to {_shown(items[-1])}, {len(items)} points"
        return ("-" if len(items) == 2 and isinstance(items[0], float) else ", ").join(
            map(_shown, items)
        ) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _shape(shape: list[Any]) -> str:
    return "(" + ", ".join(str(side) for side in shape) + ")"


def _about(bundle: "Bundle") -> dict[str, str]:
    card = bundle.card
    return {
        "name": card.name,
        "version": card.version,
        "sha256": bundle.sha256,
        "trained_on": card.trained_on,
    }


def _json(answer: dict[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=2)
