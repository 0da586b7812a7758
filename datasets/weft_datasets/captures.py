"""From a manifest's row to what a model is asked: the photo, prepared as the service does it, or the scan."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pandas as pd

from weft.errors import WrongPhotosError
from weft.marks import MarkHint, MarkKind
from weft.scans import read_scan_path
from weft.spectra import Scan, make_scan
from weft.weigher import PhotoFinding, Prepared, Weigher
from weft_datasets.manifest import Manifest

Row = Mapping[str, Any] | pd.Series


def prepared_photo(weigher: Weigher, manifest: Manifest, row: Row) -> Prepared:
    """A photo through the service's own door; a stack of bands (.npy) goes to the graph as it is.

    Raises:
        PhotoError: The file is no photo that the bundle can be asked about.
        OSError: The file cannot be read.
    """
    file = manifest.file(row["path"])
    if file.suffix == ".npy":
        have = manifest.notes.get("bands", ())
        needed = weigher.card.weight.bands if weigher.card.weight is not None else ()
        lacking = [band for band in needed if band not in have]
        if lacking:
            raise WrongPhotosError(
                f"the bundle needs the bands {', '.join(lacking)}, which the manifest lacks"
            )
        pixels = np.load(file, allow_pickle=False)[..., [have.index(band) for band in needed]]
        return Prepared(pixels, 0.0, PhotoFinding(True, (), None))
    kind, size_mm = row.get("mark"), row.get("mark_mm")
    hint = MarkHint(kind, float(size_mm)) if kind in get_args(MarkKind) and size_mm > 0 else None
    return weigher.prepare(file.read_bytes(), hint)


def scan_of(manifest: Manifest, place: int) -> Scan:
    """The spectrum in row `place`: from its columns, else from its file (a cube answers with its mean).

    Raises:
        ScanError: The row's numbers or file are no spectrum.
    """
    row = manifest.frame.iloc[place]
    if "absorbance" in row and row["absorbance"] is not None and np.size(row["absorbance"]) > 1:
        instrument = row.get("instrument")
        return make_scan(
            values=row["absorbance"],
            wavelength_nm=row["wavelength_nm"],
            quantity="absorbance",
            instrument=instrument if isinstance(instrument, str) else None,
        )
    found = read_scan_path(manifest.file(row["path"]))
    return found if isinstance(found, Scan) else found.mean_scan()
