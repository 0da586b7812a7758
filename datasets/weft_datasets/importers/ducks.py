"""Duck carcasses under one fixed camera over a line, twenty frames each.

Traps: weights are in kg; subject k stands in row (k - 1) mod 10, column (k - 1) div 10 of the ten data rows.
"""

from pathlib import Path

import pandas as pd
import xlrd

from weft.errors import ManifestError
from weft_datasets.columns import some
from weft_datasets.importers.source import need
from weft_datasets.manifest import Manifest, make_manifest

ROWS = 10


def read(source: Path) -> Manifest:
    """Raises ManifestError where a carcass has no weight."""
    table, frames = need(source, "weight.xls", "frames")
    weights = _weights(table)
    rows: list[dict[str, object]] = []
    unweighed: list[str] = []
    for folder in sorted(frames.iterdir()):
        if not folder.is_dir():
            continue
        number = int(folder.name) if folder.name.isdigit() else 0
        if number not in weights:
            unweighed.append(folder.name)
            continue
        photos = sorted(folder.glob("*.jpg"), key=lambda photo: (len(photo.stem), photo.stem))
        rows += [
            {
                "capture": f"duck{number:02d}-{photo.stem}",
                "subject": f"duck{number:02d}",
                "kind": "photo",
                "path": photo.relative_to(source).as_posix(),
                "grams": round(weights[number] * 1000.0, 3),
                "klass": "duck",
                "view": "top",
                "site": "line",
            }
            for photo in photos
        ]
    if unweighed:
        raise ManifestError(f"{table.name} weighs {len(weights)} subjects, none of them {some(unweighed)}")
    notes = {"source": "RuoyuChen10/Image_weighing", "licence": "MIT"}
    return make_manifest(pd.DataFrame(rows), root=source, name="ducks", notes=notes)


def _weights(table: Path) -> dict[int, float]:
    sheet = xlrd.open_workbook(table).sheet_by_index(0)
    # A title and a row of group names stand above; data rows are those whose first cell is a number.
    data = [sheet.row_values(i) for i in range(sheet.nrows) if isinstance(sheet.cell_value(i, 0), float)]
    if len(data) != ROWS:
        raise ManifestError(
            f"{table.name} has {len(data)} rows of weights, needed are {ROWS}; is it the right table?"
        )
    return {
        column * ROWS + row + 1: cell
        for row, cells in enumerate(data)
        for column, cell in enumerate(cells)
        if isinstance(cell, float)
    }
