"""Weighed food with a coin (ECUSTFD): phone photos from the top and the side, grams, and a coin of 25.0 mm.

Traps: one sheet a type in density.xls; some views are named in lower case (`egg002s`); the sheet `mix` weighs
the parts of a plate one by one, so a mixed object weighs their sum. In 13 photos the annotated coin box is
empty or lies over the food: those keep their photo but get no `mark_mm_per_pixel_truth`.
"""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pandas as pd
import xlrd

from weft.errors import ManifestError
from weft_datasets.columns import some
from weft_datasets.importers.source import need
from weft_datasets.manifest import Manifest, make_manifest

COIN_MM: Final = 25.0
COIN_ASPECT: Final = (0.75, 1.34)  # width over height; real coins measure 0.79-1.30, boxes over food 2.7-3.1
COIN_PX: Final = 20
SAME_STAND: Final = 0.55  # of the median of its object and view; boxes over round food lie at 0.24-0.40
NAME: Final = re.compile(r"(?P<subject>.+?)(?P<view>[TS])\((?P<number>\d+)\)", re.IGNORECASE)
VIEWS: Final = {"t": "top", "s": "side"}


def read(source: Path) -> Manifest:
    """Raises ManifestError where a photo has no weight or a name of another form."""
    table, photos, annotations = need(source, "density.xls", "JPEGImages", "Annotations")
    weights = dict(_weights(table))
    rows: list[dict[str, object]] = []
    nameless: list[str] = []
    for photo in sorted(photos.iterdir()):
        if photo.suffix.lower() not in (".jpg", ".jpeg"):
            continue
        match = NAME.fullmatch(photo.stem)
        if match is None or match["subject"] not in weights:
            nameless.append(photo.name)
            continue
        klass, grams = weights[match["subject"]]
        scale, note = _coin(annotations / f"{photo.stem}.xml")
        rows.append(
            {
                "capture": photo.stem,
                "subject": match["subject"],
                "kind": "photo",
                "path": photo.relative_to(source).as_posix(),
                "grams": grams,
                "klass": klass,
                "view": VIEWS[match["view"].lower()],
                "mark": "disc",
                "mark_mm": COIN_MM,
                "mark_mm_per_pixel_truth": scale,
                "label_note": note,
            }
        )
    if nameless:
        raise ManifestError(
            f"{len(nameless)} photos have no weight in {table.name} or a name unlike <id><T or S>(n).JPG: "
            f"{some(nameless)}"
        )
    notes = {
        "source": "Liang-yc/ECUSTFD-resized-",
        "licence": "free public food image dataset (as stated by its authors)",
    }
    return make_manifest(_without_food(pd.DataFrame(rows)), root=source, name="ecustfd", notes=notes)


def _weights(table: Path) -> Iterator[tuple[str, tuple[str, float]]]:
    for sheet in xlrd.open_workbook(table).sheets():
        headings = [str(cell).strip().lower() for cell in sheet.row_values(0)] if sheet.nrows else []
        if not headings:
            continue
        try:
            at_id, at_type = headings.index("id"), headings.index("type")
            at_weight = next(i for i, heading in enumerate(headings) if heading.startswith("weight"))
        except (ValueError, StopIteration):
            raise ManifestError(
                f"{table.name}: sheet '{sheet.name}' has the columns {', '.join(headings)}; "
                f"needed are id, type and weight(g)"
            ) from None
        parts: dict[str, list[tuple[str, float]]] = {}
        for number in range(1, sheet.nrows):
            row = sheet.row_values(number)
            if str(row[at_id]).strip():
                parts.setdefault(str(row[at_id]).strip(), []).append(
                    (str(row[at_type]).strip(), float(row[at_weight]))
                )
        for subject, given in parts.items():
            klass = given[0][0] if len(given) == 1 else "mix"
            yield subject, (klass, math.fsum(grams for _, grams in given))


def _coin(annotation: Path) -> tuple[float | None, str | None]:
    """Millimetres a pixel from the annotated box, or None with the reason.

    A coin seen aslant is an ellipse whose long axis is still the diameter, so the longer side counts.
    """
    if not annotation.is_file():
        return None, "no annotation of the coin"
    for thing in ET.parse(annotation).getroot().iter("object"):
        if thing.findtext("name") != "coin":
            continue
        left, top, right, bottom = (
            float(thing.findtext(f"bndbox/{side}", "nan")) for side in ("xmin", "ymin", "xmax", "ymax")
        )
        width, height = right - left, bottom - top
        if min(width, height) < COIN_PX or not COIN_ASPECT[0] <= width / height <= COIN_ASPECT[1]:
            return None, f"annotated coin box is {width:g} x {height:g} px, not a coin"
        return COIN_MM / max(width, height), None
    return None, "no coin annotated"


def _without_food(rows: pd.DataFrame) -> pd.DataFrame:
    """Drop the scale where the coin box is far larger than in the object's other photos."""
    scale = rows["mark_mm_per_pixel_truth"]
    usual = rows.groupby(["subject", "view"])["mark_mm_per_pixel_truth"].transform("median")
    over = scale < SAME_STAND * usual
    note = rows["label_note"].where(~over, "annotated coin box lies over the food")
    return rows.assign(mark_mm_per_pixel_truth=scale.where(~over), label_note=note)
