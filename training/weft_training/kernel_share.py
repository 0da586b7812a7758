"""How much of an answer the kernel says, chosen by what both parts say of subjects that neither has seen.

Stacking (Wolpert 1992) with one number; the share by which a fold is judged comes from the other folds alone.
"""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft_training.recipe import Recipe, WeightRecipe

FIRST: Final = 0.5  # until there are other folds to choose by
PARTS: Final = ["net_grams", "kernel_grams"]  # what either says alone, in a run's predictions
# Neither part falls silent: of few subjects the best share is a matter of luck, and all near it is flat.
_SHARES: Final = np.linspace(0.2, 0.8, 13)
_JUDGED: Final = ("one", "all")  # modes


def chooses_share(recipe: Recipe) -> bool:
    return isinstance(recipe, WeightRecipe) and recipe.model.kernel_share == "auto"


def share_of(predictions: pd.DataFrame) -> float:
    """The share that errs least on single photos and on all together; one vote a subject in each mode."""
    rows = predictions[predictions["mode"].isin(_JUDGED)]
    if rows.empty:
        return FIRST
    net, kernel, truth = np.log(rows[[*PARTS, "grams"]].to_numpy(np.float64)).T
    error = np.abs(net + _SHARES[:, None] * (kernel - net) - truth)  # (shares, rows)
    votes = 1 / rows.groupby(["mode", "subject"])["grams"].transform("size").to_numpy(np.float64)
    return float(_SHARES[(error @ votes).argmin()])


def with_own_share(predictions: pd.DataFrame) -> pd.DataFrame:
    """Out-of-fold predictions as the parts together say them, each fold by the share of the others.

    Args:
        predictions: With `PARTS` and `fold`; quantiles keep their distance from the middle.
    """
    found = predictions.copy()
    folds = predictions["fold"].to_numpy()
    for fold in np.unique(folds):
        here = folds == fold
        share = share_of(predictions[~here])
        found.loc[here, ["predicted_grams", "q_low_grams", "q_high_grams"]] = _blended(
            predictions[here], share
        )
    return found


def _blended(rows: pd.DataFrame, share: float) -> NDArray[np.float64]:
    """(rows, 3) grams: middle, low, high."""
    said = np.log(rows[["predicted_grams", "q_low_grams", "q_high_grams"]].to_numpy(np.float64))
    net, kernel = np.log(rows[PARTS].to_numpy(np.float64)).T
    return np.exp(said - said[:, :1] + ((1 - share) * net + share * kernel)[:, None])
