"""What predictions say by what was given: the scan alone, the photo alone, or both. Knows nothing of nets.

A table of predictions carries the answer to all that its capture has (`predicted_...`), and beside it
`by_scan_...` and `by_photo_...`, the latter NaN where `has_photo` is false.
"""

from collections.abc import Sequence
from typing import Final, Literal

import pandas as pd

Given = Literal["scan", "photo", "both"]
GIVEN: Final[tuple[Given, ...]] = ("scan", "photo", "both")
WORDS: Final[dict[Given, str]] = {"scan": "scan alone", "photo": "photo alone", "both": "scan and photo"}


def answered_from(
    predictions: pd.DataFrame, given: Given, fibres: Sequence[str], *, photographed: bool = True
) -> pd.DataFrame:
    """The predictions as they would be had only `given` been sent, with the usual names of columns.

    Args:
        photographed: Only the rows that have a photo, so that all three are of the same ones; without it
            `scan` has every row.
    """
    rows = predictions
    if photographed or given != "scan":
        rows = rows[rows["has_photo"].to_numpy(bool)]
    own = [name for name in rows.columns if name != "has_photo" and not str(name).startswith("by_")]
    if given == "both":
        return rows[own]
    said = {f"predicted_{fibre}_share": rows[f"by_{given}_{fibre}_share"] for fibre in fibres}
    return rows[own].assign(**said, predicted_unknown=rows[f"by_{given}_unknown"])
