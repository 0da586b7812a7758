"""What `weft identify` asks, and how it says the answer: a table, a label, a cube's map."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from weft.bundle import Bundle
    from weft.identifier import Composition, Identifier


def identified(
    identifier: "Identifier", scan: Path | None, photo_file: Path | None, **stated: Any
) -> "tuple[Composition, str]":
    """The answer, and what was read in one line."""
    from weft.errors import PhotoError
    from weft.scans import read_scan_path
    from weft.spectra import Cube

    photo, beside = None, ""
    if photo_file is not None:
        try:
            photo = identifier.photo(photo_file.read_bytes())
        except PhotoError as error:
            raise type(error)(f"{photo_file}: {error}") from error
        beside = f"photo {photo_file.name}, {photo.full_width_px} x {photo.full_height_px} pixels"
    if scan is None:
        if photo is None:
            raise click.UsageError("name a SCAN, or a --photo, or both")
        if given := [f"--{name}" for name, value in stated.items() if value is not None]:
            raise click.UsageError(
                f"got a photo alone and {', '.join(given)}, which belong to a scan; name a SCAN too, "
                "or leave them out"
            )
        return identifier.identify_photo(photo), beside
    read = read_scan_path(scan, **stated)
    if isinstance(read, Cube):
        found = identifier.identify_cube(read, photo)
        height, width = read.foreground.shape
        what = f"{width} x {height} pixels, {read.foreground.mean():.0%} of them foreground"
    else:
        found, what = identifier.identify(read, photo), read.quantity.replace("_", " ")
    first, last = read.wavelength_nm[0], read.wavelength_nm[-1]
    span = f"{len(read.wavelength_nm)} points from {first:.0f} to {last:.0f} nm"
    return found, ", ".join(part for part in (f"{scan.name}: {what}", span, beside) if part)


def declared(
    found: "Composition",
    bundle: "Bundle",
    *,
    declare: Literal["eu", "cn"] | None,
    language: Literal["en", "de", "fr", "zh"] | None,
    carded: bool,
    decorative: tuple[str, ...],
    antistatic: tuple[str, ...],
) -> tuple[list[str], dict[str, Any]]:
    """Lines and JSON of a label that was asked for; both empty where none was."""
    from weft import declaration

    if declare is None:
        return [], {}
    language = language or declaration.LANGUAGES[declare][0]
    exempt: dict[str, declaration.Exemption] = dict.fromkeys(decorative, "decorative")
    exempt |= dict.fromkeys(antistatic, "antistatic")
    made = declaration.declare(
        found.shares,
        standard=declare,
        trained_on=bundle.card.trained_on,
        warnings=found.warnings,
        carded=carded,
        exempt=exempt,
    )
    text, title = made.text(language), declaration.TITLES[declare]
    said = {"standard": declare, "language": language, "holds": made.holds, "reasons": made.reasons}
    said |= {"label": text if made.holds else None, "draft": None if made.holds else text}
    if made.holds:
        return [f"label under {title}: {text}"], {"declaration": said}
    lines = [f"cannot be declared under {title}, because", *(f"  {reason}" for reason in made.reasons)]
    return [*lines, f"draft, not to be used: {text}"], {"declaration": said}


def table(found: "Composition") -> list[str]:
    """A line per fibre, largest first, with a bar of 25 characters; what is under 1 % on one line."""
    ordered = sorted(found.shares, key=lambda item: -item.share)
    shown = [item for item in ordered if item.share >= 0.01]
    width = max(len(item.fibre) for item in shown)
    covers = {area["fibre"]: area["pixel_share"] for area in areas(found) or ()}
    lines: list[str] = []
    for item in shown:
        margin = "" if item.low is None or item.high is None else f"  {item.low:4.0%} to {item.high:4.0%}"
        area = f"  {covers[item.fibre]:4.0%} of the area" if item.fibre in covers else ""
        bar = "█" * round(item.share * 25)
        lines.append(
            f"{item.fibre:<{width}}  {item.code:<4} {item.share:4.0%}  {bar:<25}{margin}{area}".rstrip()
        )
    if rest := ordered[len(shown) :]:
        lines.append(f"{', '.join(item.fibre for item in rest)}: under 1% each")
    return [*lines, f"unknown {found.unknown:.2f} (0 a textile the model knows, 1 something else)"]


def areas(found: "Composition") -> list[dict[str, Any]] | None:
    """Which part of a cube's mapped pixels each fibre is the main one of; None where there is no map."""
    if found.map is None:
        return None
    known = found.map[found.map >= 0]
    return [
        {"fibre": item.fibre, "pixel_share": float((known == place).mean()) if known.size else 0.0}
        for place, item in enumerate(found.shares)
    ]


def write_map(path: Path, found: "Composition") -> None:
    import numpy as np

    if found.map is None:
        raise click.UsageError("--map belongs to a cube; this scan is one spectrum")
    try:
        with path.open("wb") as file:
            np.save(file, found.map)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from error
