"""Fabrics on a TI DLP NIRscan Nano: absorbance, several scans a swatch, shares by the seller's label.

Traps: `swatch` is the physical thing, `label` is not; the PVC background is no fibre and has empty shares;
`label_note` says which labels are in doubt (C03 is probably rayon); times are day/month/year, unpadded.
"""

import re
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from weft_datasets.columns import UNKNOWN
from weft_datasets.importers.source import add_spectra, need, numeric_headings
from weft_datasets.manifest import Manifest, make_manifest

SHARES: Final = ("cotton_pct", "polyester_pct", "nylon_pct", "wool_pct", "acrylic_pct", "acetate_pct")
TIME: Final = re.compile(r"(\d+)/(\d+)/(\d+) @ (\d+):(\d+):(\d+)")


def read(source: Path) -> Manifest:
    """`photo_path` is filled for the swatches that were also photographed."""
    (table,) = need(source, "absorbance.csv.gz")
    given = pd.read_csv(table)
    grid = numeric_headings(given.columns)
    background = given["kind"] == "background"
    rows = pd.DataFrame(
        {
            "capture": given["file"].str.removesuffix(".csv"),
            "subject": given["swatch"],
            **{share: given[share].where(~background) for share in SHARES},
            UNKNOWN: np.where(background, 100.0, 0.0),
            "klass": given["label"].str.lower(),
            "view": given["condition"].str.lower(),
            "instrument": "TI DLP NIRscan Nano " + given["serial"].astype(str),
            "captured_at": [_iso(text) for text in given["scan_time"]],
            "photo_path": [_photo(source, swatch) for swatch in given["swatch"]],
            "label_note": given["label_note"],
            "system_temp_c": given["system_temp_c"],
            "humidity_percent": given["humidity_pct"],
        }
    )
    rows = add_spectra(
        rows,
        given[list(grid)].to_numpy(np.float64),
        axis=np.array(list(grid.values())),
        unit="nm",
        quantity="absorbance",
    )
    notes = {
        "source": "SanctusDei/Textile-classification-based-on-near-infrared-spectroscopy",
        "licence": "for research purposes (as stated by its author)",
        "labels": "shares by the seller's label, not by a laboratory",
    }
    return make_manifest(rows, root=source, name="nirscan-fabrics", notes=notes)


def _iso(text: str) -> str | None:
    match = TIME.fullmatch(str(text).strip())
    if match is None:
        return None
    day, month, year, hour, minute, second = map(int, match.groups())
    return f"20{year:02d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def _photo(source: Path, swatch: str) -> str | None:
    """`Cotton_C01` was photographed as `photos/C01.jpg`."""
    photo = Path("photos") / f"{swatch.rsplit('_', 1)[-1]}.jpg"
    return photo.as_posix() if (source / photo).is_file() else None
