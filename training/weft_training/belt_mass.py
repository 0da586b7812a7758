"""Grams from the area that a piece covers and its main fibre: medians, and how far single pieces lie off."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.card import MassCard
from weft_training.calibrate import subject_quantile, subject_weights, subjects_needed
from weft_training.data import Captures
from weft_training.metrics import fibres_of

_OWN: Final = 20  # pieces of a main fibre, from which on it has a median of its own

Floats = NDArray[np.float64]


def fit_mass(captures: Captures, predictions: pd.DataFrame, *, coverage: float) -> MassCard | None:
    """Medians of grams per cm2 by main fibre, and conformal ratios across the folds of the predictions.

    The main fibre is the one that was predicted, as it will be on the line. None where the manifest has no
    column `area_cm2` beside `grams`, or fewer pieces have both than either end of the interval needs.
    """
    frame = captures.manifest.frame
    if not {"grams", "area_cm2"} <= set(frame.columns):
        return None
    stated = frame[["capture", "grams", "area_cm2"]].dropna()
    rows = predictions.merge(stated, on="capture", how="inner")
    rows = rows[(rows["unknown_truth"] < 0.5) & (rows["area_cm2"] > 0) & (rows["grams"] > 0)]
    side = (1 + coverage) / 2  # half of what may be missed on either side
    pieces = int(rows["subject"].nunique())
    if pieces < subjects_needed(side):
        return None
    fibres = fibres_of(predictions)
    main = rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy().argmax(1)
    density = np.log(rows["grams"].to_numpy(np.float64) / rows["area_cm2"].to_numpy(np.float64))
    fold = rows["fold"].to_numpy()
    off = np.empty(len(rows))
    for held in np.unique(fold):
        out = fold == held
        off[out] = density[out] - _medians(density[~out], main[~out], len(fibres))[main[out]]
    weights = subject_weights(rows["subject"])
    low, high = -subject_quantile(-off, weights, side), subject_quantile(off, weights, side)
    medians = _medians(density, main, len(fibres))
    return MassCard(
        grams_per_cm2={fibre: float(np.exp(medians[at])) for at, fibre in enumerate(fibres)},
        low_ratio=min(1.0, float(np.exp(low))),
        high_ratio=max(1.0, float(np.exp(high))),
        coverage=coverage,
        pieces=pieces,
    )


def _medians(density: Floats, main: NDArray[np.int64], fibres: int) -> Floats:
    """(F,) log grams per cm2; of all pieces where a fibre has too few."""
    found = np.full(fibres, np.median(density))
    for fibre in range(fibres):
        if (main == fibre).sum() >= _OWN:
            found[fibre] = np.median(density[main == fibre])
    return found
