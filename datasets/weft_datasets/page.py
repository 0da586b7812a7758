"""The findings of `weft check` as one HTML file: no script, nothing to fetch, pictures inside it.

Thumbnails are encoded anew from pixels, so nothing of a photo's EXIF is in the page.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from weft.errors import InputError
from weft.photos import decode_photo
from weft_datasets import charts
from weft_datasets.check import Finding, Report
from weft_datasets.doubts import labels, snv, subjects_by_label
from weft_datasets.duplicates import read_bands
from weft_datasets.manifest import Manifest

THUMB_PX: Final = 150
SHEET: Final = 60  # photos on the contact sheet
MOST_CURVES: Final = 10


@dataclass(frozen=True)
class Picture:
    source: str | None  # a data URI; None where the photo cannot be read
    caption: str


@dataclass(frozen=True)
class Shown:
    spoils: bool
    sentence: str
    groups: tuple[tuple[Picture, ...], ...]
    drawings: tuple[str, ...]


def write_page(manifest: Manifest, report: Report, out: Path) -> None:
    """Write the page to `out`; photos are decoded again, as only the few that are shown are kept."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("weft_datasets"), autoescape=True)
    findings = sorted(report.findings, key=lambda finding: not finding.spoils)
    frame = manifest.frame
    things = frame.drop_duplicates("subject")
    grams = things["grams"].dropna().to_numpy(np.float64) if "grams" in frame else np.zeros(0)
    grams = grams[grams > 0]
    said = labels(frame)
    named = subjects_by_label(frame)
    page = environment.get_template("check.html").render(
        report=report,
        findings=[_shown(manifest, finding) for finding in findings],
        masses=charts.mass_histogram(grams) if len(grams) else "",
        labels=charts.bars(dict(list(named.items())[:24])) if named else "",
        curves=charts.lines(_means(frame, said)) if manifest.kind == "spectrum" else "",
        sheet=_sheet(manifest, things) if manifest.kind == "photo" else [],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")


def _shown(manifest: Manifest, finding: Finding) -> Shown:
    rows = manifest.frame.set_index("capture")
    if manifest.kind == "photo":
        groups = tuple(
            tuple(_picture(manifest, rows.loc[capture], capture) for capture in group)
            for group in finding.captures
        )
        return Shown(finding.spoils, finding.sentence, groups, ())
    drawings = [
        charts.lines([_curve(rows, c) for c in group if _has_curve(rows, c)], high=170)
        for group in finding.captures
    ]
    return Shown(finding.spoils, finding.sentence, (), tuple(drawings))


def _has_curve(rows: pd.DataFrame, capture: str) -> bool:
    row = rows.loc[capture]
    return row["absorbance"] is not None and len(row["absorbance"]) == len(row["wavelength_nm"]) > 1


def _curve(rows: pd.DataFrame, capture: str) -> tuple[str, NDArray[np.float64], NDArray[np.float64]]:
    row = rows.loc[capture]
    name = capture if row["subject"] in capture else f"{capture} ({row['subject']})"
    return name, np.asarray(row["wavelength_nm"], float), snv(np.asarray(row["absorbance"], float)[None])[0]


def _means(
    frame: pd.DataFrame, said: pd.Series
) -> list[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """Mean shape of each of the commonest labels, over its scans on the grid of the first."""
    if "absorbance" not in frame:
        return []
    curves = []
    for name, rows in sorted(frame.groupby(said).groups.items(), key=lambda item: -len(item[1]))[
        :MOST_CURVES
    ]:
        usable = [
            (np.asarray(nm, float), np.asarray(values, float))
            for nm, values in zip(
                frame.loc[rows, "wavelength_nm"], frame.loc[rows, "absorbance"], strict=True
            )
            if nm is not None and values is not None and len(nm) == len(values) and np.isfinite(values).all()
        ]
        if not usable:
            continue
        grid = usable[0][0]
        same = [values for nm, values in usable if np.array_equal(nm, grid)]
        curves.append((f"{name} ({len(same)})", grid, snv(np.stack(same)).mean(axis=0)))
    return curves


def _sheet(manifest: Manifest, things: pd.DataFrame) -> list[Picture]:
    """One photo of each of at most `SHEET` subjects, light to heavy."""
    ordered = things.sort_values(["grams", "subject"]) if "grams" in things else things.sort_values("subject")
    places = np.unique(np.linspace(0, len(ordered) - 1, min(SHEET, len(ordered))).astype(int))
    return [_picture(manifest, row, str(row["capture"])) for _, row in ordered.iloc[places].iterrows()]


def _picture(manifest: Manifest, row: pd.Series, capture: str) -> Picture:
    grams = row.get("grams")
    caption = f"{capture}, {grams:g} g" if grams is not None and pd.notna(grams) else capture
    try:
        pixels = _pixels(manifest, str(row["path"]))
    except (InputError, OSError, ValueError, KeyError):
        return Picture(None, caption)
    image = Image.fromarray(pixels)
    image.thumbnail((THUMB_PX, THUMB_PX))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return Picture("data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode(), caption)


def _pixels(manifest: Manifest, path: str) -> NDArray[np.uint8]:
    file = manifest.file(path)
    if file.suffix != ".npy":
        return decode_photo(file.read_bytes(), longest_px=THUMB_PX).pixels
    bands = manifest.notes.get("bands")
    pixels = read_bands(file, len(bands) if bands else None)
    return np.ascontiguousarray(
        pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1].repeat(3, axis=2)
    )
