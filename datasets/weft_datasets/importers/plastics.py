"""NIR reflectance of plastics, none a textile fibre: every row is 100 % unknown, `klass` is the polymer.

Traps: reflectance is in % and goes up to 300 % on shiny parts, which `make_scan` would refuse from a user;
here the unit is known, so it is converted as it stands. `sample` is the physical thing; the sample
called `2mm` is a set of plates of several polymers, which stay together on one side of a split.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from weft.spectra import fraction_to_absorbance
from weft_datasets.columns import UNKNOWN
from weft_datasets.importers.source import add_spectra, need, numeric_headings
from weft_datasets.manifest import Manifest, make_manifest


def read(source: Path) -> Manifest:
    (table,) = need(source, "reflectance_pct.csv.gz")
    given = pd.read_csv(table, dtype={"sample": str, "session": str})
    grid = numeric_headings(given.columns)
    day = given["session"]
    rows = pd.DataFrame(
        {
            "capture": given["file"].str.removesuffix(".txt"),
            "subject": given["sample"],
            UNKNOWN: 100.0,
            "klass": given["polymer"].str.lower(),
            "instrument": "Plastic Scanner reference spectrometer",
            "session": day,
            "captured_at": day.str[:4] + "-" + day.str[4:6] + "-" + day.str[6:],
        }
    )
    fraction = given[list(grid)].to_numpy(np.float64) / 100.0
    rows = add_spectra(
        rows,
        fraction_to_absorbance(fraction),
        axis=np.array(list(grid.values())),
        unit="nm",
        quantity="absorbance",
    ).assign(quantity="reflectance_percent")
    notes = {"source": "Plastic-Scanner/Data", "licence": "none stated"}
    return make_manifest(rows, root=source, name="plastics", notes=notes)
