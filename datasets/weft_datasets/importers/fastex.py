"""ATR-FTIR of reference fibres (FasTEX): transmittance in % from 4000 to 550 cm-1, several replicas a sample.

Traps: `Sample_ID` is the physical thing. Transmittance goes above 100 % where the baseline drifts. A subtype
that does not settle the fibre (an unspecified regenerated cellulose) gets no shares rather than a guess; the
source's own `Type` stands in `klass`.
"""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from weft_datasets.importers.source import add_spectra, need, numeric_headings
from weft_datasets.manifest import Manifest, make_manifest

BY_TYPE: Final = {
    "Acrylic": "acrylic",
    "Aramid": "aramid",
    "Cellulose acetate": "acetate",
    "Modacrylic": "modacrylic",
    "Polyamide": "nylon",
    "Polyester": "polyester",
}
BY_SUBTYPE: Final = {
    "Alpaca": "alpaca",
    "Cellulose Triacetate": "triacetate",
    "Cotton": "cotton",
    "Jute": "jute",
    "Linen": "flax",
    "Lyocell": "lyocell",
    "Modal": "modal",
    "PE": "polyethylene",
    "PP": "polypropylene",
    "Silk": "silk",
    "Viscose": "viscose",
    "Wool": "wool",
}


def read(source: Path) -> Manifest:
    (table,) = need(source, "raw_transmittance.csv.gz")
    given = pd.read_csv(table)
    grid = numeric_headings(given.columns)
    fibres = [
        BY_SUBTYPE.get(subtype, BY_TYPE.get(kind))
        for kind, subtype in zip(given["Type"], given["Subtype"], strict=True)
    ]
    found = sorted({fibre for fibre in fibres if fibre})
    shares = {
        f"{name}_pct": [None if fibre is None else 100.0 * (fibre == name) for fibre in fibres]
        for name in found
    }
    rows = pd.DataFrame(
        {
            "capture": given["Sample_ID"] + "-" + given["Replica"].astype(str),
            "subject": given["Sample_ID"],
            **shares,
            "klass": given["Type"].str.lower(),
            "instrument": "ATR-FTIR",
            "label_note": [
                None if fibre else f"fibre not settled by the source: {kind}, {subtype}"
                for fibre, kind, subtype in zip(fibres, given["Type"], given["Subtype"], strict=True)
            ],
            "subtype": given["Subtype"],
            "origin": given["Origin"],
        }
    )
    rows = add_spectra(
        rows,
        given[list(grid)].to_numpy(np.float64),
        axis=np.array(list(grid.values())),
        unit="cm-1",
        quantity="transmittance_percent",
    )
    notes = {"source": "reeha-parkar/FasTEX-KCL", "licence": "MIT"}
    return make_manifest(rows, root=source, name="fastex", notes=notes)
