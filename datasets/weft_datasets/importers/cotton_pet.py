"""FT-NIR absorbance of cotton/PET blends by wavenumber, each fabric scanned at many spots and sessions.

Traps: the share in a file's name is nominal; the author's correction is up to 10 points away and is the truth
here (`cotton_percent_nominal` keeps the other). `fabric` is the physical thing, not the scan.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from weft_datasets.importers.source import add_spectra, need, numeric_headings
from weft_datasets.manifest import Manifest, make_manifest


def read(source: Path) -> Manifest:
    (table,) = need(source, "nir_absorbance.csv.gz")
    given = pd.read_csv(table)
    grid = numeric_headings(given.columns)
    day = given["date"].astype(str).str.zfill(6)  # yymmdd
    rows = pd.DataFrame(
        {
            "capture": given["file"].str.removesuffix(".txt"),
            "subject": given["fabric"],
            "cotton_pct": given["cotton_pct_corrected"],
            "polyester_pct": 100.0 - given["cotton_pct_corrected"],
            "klass": "cotton/polyester",
            "instrument": "FT-NIR",
            "session": given["session"],
            "captured_at": "20" + day.str[:2] + "-" + day.str[2:4] + "-" + day.str[4:],
            "specimen": given["specimen"],
            "spot": given["spot"],
            "cotton_percent_nominal": given["cotton_pct_filename"],
        }
    )
    rows = add_spectra(
        rows,
        given[list(grid)].to_numpy(np.float64),
        axis=np.array(list(grid.values())),
        unit="cm-1",
        quantity="absorbance",
    )
    notes = {
        "source": "sebnemyyl/Characterization-of-cotton-polyester-textiles-using-IR-spectroscopy",
        "licence": "none stated",
        "labels": "cotton share as corrected by the author",
    }
    return make_manifest(rows, root=source, name="cotton-pet", notes=notes)
