"""`weft label`: print the scale marks."""

import re
from pathlib import Path
from typing import Any, Final

import click

_KINDS: Final = (".pdf", ".svg")
_PATH = click.Path(path_type=Path, dir_okay=False)
_CODES = click.Path(path_type=Path, exists=True, dir_okay=False)
_PICTURES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".webp", ".eps", ".ps", ".bmp"}
)


@click.command()
@click.argument("codes", nargs=-1)
@click.option("--side-mm", type=float, default=60.0, show_default=True, help="Side of the QR square, in mm.")
@click.option("--codes-from", type=_CODES, help="A file with a code a line.")
@click.option("--copies", type=click.IntRange(1, 1000), default=1, show_default=True, help="Of each code.")
@click.option(
    "--paper",
    type=click.Choice(["label", "a4"]),
    help="A page as large as the label, or A4 with as many as fit. One code: label; several: a4.",
)
@click.option(
    "--ruler", type=float, is_flag=False, flag_value=250.0, metavar="[MM]", help="The ruler instead; 250 mm."
)
@click.option(
    "--dot", type=float, is_flag=False, flag_value=60.0, metavar="[MM]", help="A dot instead; 60 mm."
)
@click.option("--out", type=_PATH, help="Where to; .pdf or .svg writes that one, no ending both.")
def label(codes: tuple[str, ...], out: Path | None, **asked: Any) -> None:
    """Print QR labels for CODES as scale marks, as PDF and SVG of true size; or a ruler, or a dot."""
    from weft.marks.prints import dot_page, label_pages, make_label, ruler_page

    if out is not None and out.suffix.lower() in _PICTURES:  # it would become x.png.pdf, unseen
        raise click.UsageError(f"--out {out}: a mark is true to size only as .pdf or .svg; name one of these")
    if str(out) == "-":
        raise click.UsageError("--out -: labels are files to print, not text; name one, such as labels.pdf")
    named = [*codes, *(_lines(asked["codes_from"]) if asked["codes_from"] else ())]
    if (asked["ruler"] is not None) + (asked["dot"] is not None) + bool(named) != 1:
        raise click.UsageError("name the codes to print, or --ruler, or --dot: one of the three")
    if asked["ruler"] is not None:
        length = float(asked["ruler"])
        _write([ruler_page(length)], out or Path(f"ruler-{length:g}mm"))
        click.echo(
            f"measure it: {length:g} mm from outer edge to outer edge; --mark ruler --mark-mm {length:g}"
        )
        return
    if asked["dot"] is not None:
        across = float(asked["dot"])
        _write([dot_page(across)], out or Path(f"dot-{across:g}mm"))
        click.echo(f"measure it: {across:g} mm across; --mark disc --mark-mm {across:g}")
        return
    labels = [
        make_label(code, asked["side_mm"]) for code in dict.fromkeys(named) for _ in range(asked["copies"])
    ]
    sheet = (asked["paper"] or ("label" if len(labels) == 1 else "a4")) == "a4"
    name = re.sub(r"[^\w.-]+", "-", labels[0].code).strip("-.") if len(labels) == 1 else "labels"
    _write(label_pages(labels, sheet=sheet), out or Path(name or "label"))
    finest = min(labels, key=lambda each: each.module_mm)
    side = finest.side_mm
    click.echo(
        f"{len(labels)} of {side:g} mm, {len(finest.modules)} modules of {finest.module_mm:.2f} mm: read in "
        f"scenes up to {finest.read_within_mm / 1000:.1f} m wide in photos of 8 megapixels"
    )
    click.echo(f"measure one: {side:g} mm from edge to edge of the code; --mark qr --mark-mm {side:g}")


def _lines(path: Path) -> list[str]:
    try:
        found = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path}: no text in UTF-8; write one code a line") from error
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from error
    if not any(found):
        raise click.UsageError(f"{path}: no code in it; write one a line")
    return [line for line in found if line]


def _write(pages: list[Any], out: Path) -> None:
    """As `out` says: .pdf, .svg, or both. An SVG holds one page, so further ones get a number."""
    from weft.marks.drawing import pdf, svg

    known = out.suffix.lower() in _KINDS
    wanted = (out.suffix.lower(),) if known else _KINDS
    stem = out.with_suffix("") if known else out
    written: list[Path] = []
    try:
        if ".pdf" in wanted:
            written.append(stem.parent / f"{stem.name}.pdf")
            written[-1].write_bytes(pdf(pages))
        for number, page in enumerate(pages if ".svg" in wanted else (), 1):
            written.append(stem.parent / f"{stem.name}{f'-{number}' if number > 1 else ''}.svg")
            written[-1].write_text(svg(page), encoding="utf-8")
    except ValueError as error:
        raise click.UsageError(f"{written[-1]}: {error}") from error
    except OSError as error:
        raise click.FileError(str(written[-1]), error.strerror) from error
    click.echo(
        f"{', '.join(map(str, written))}: {len(pages)} page{'s' if len(pages) > 1 else ''}, print at 100 %"
    )
