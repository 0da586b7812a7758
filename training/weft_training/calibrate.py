"""Conformal intervals of masses from out-of-fold predictions. Plain numpy; knows nothing of nets.

What is exchangeable is the subject, not the photo: twenty photos of one parcel are one draw. Every subject
therefore carries the same weight, spread evenly over its captures (hierarchical conformal prediction, Lee,
Barber and Willett 2023); with one capture a subject it is the order statistic ceil((n + 1) * coverage) of n.
The scores of all folds are pooled (cross-conformal, Vovk 2015), so that no subject is spent on calibration.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.cells import CELLS, PHOTOS_FROM, SUBJECTS_OF_A_GROUP

SUBJECTS_NEEDED: Final = 9  # under this there is no interval: the 90 % order statistic of 8 does not exist
MAX_BANDS: Final = 3  # each further band costs width: at 25 subjects the order statistic is the 24th
TABLES_ONLY: Final = ("mismarked",)  # predictions with a scale made wrong on purpose calibrate nothing

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WeightCalibration:
    """How far the net's own quantiles are moved apart, in log space, by group.

    `low = min(q_low * exp(-margin), value)` and `high = max(q_high * exp(margin), value)`; margins are
    (cells, bands) with cells as in `CELLS` and bands of the *predicted* mass.
    """

    coverage: float
    edges_grams: tuple[float, ...]  # inner edges, ascending; band = number of edges <= predicted grams
    log_margin: tuple[tuple[float, ...], ...]
    subjects: int

    def intervals(self, predictions: pd.DataFrame) -> tuple[Floats, Floats]:
        """Lower and upper grams of every row; an interval always holds its value."""
        grams = _column(predictions, "predicted_grams")
        band = np.searchsorted(self.edges_grams, grams, side="right")
        margin = np.asarray(self.log_margin)[cells_of(predictions), band]
        low = _column(predictions, "q_low_grams") * np.exp(-margin)
        high = _column(predictions, "q_high_grams") * np.exp(margin)
        return np.minimum(low, grams), np.maximum(high, grams)


def cells_of(predictions: pd.DataFrame) -> NDArray[np.int64]:
    """(rows,) place in `CELLS`; a table without `marked` knows of no scale mark."""
    photos = np.searchsorted(PHOTOS_FROM, predictions["n_photos"].to_numpy(np.int64), side="right") - 1
    marked = predictions["marked"].to_numpy(bool) if "marked" in predictions else np.zeros(len(photos), bool)
    return marked * len(PHOTOS_FROM) + photos


def subject_weights(subjects: Sequence[Any] | NDArray[Any]) -> Floats:
    """(rows,) one over the number of captures of the row's subject: every subject weighs 1 in all."""
    _, index, counts = np.unique(np.asarray(subjects), return_inverse=True, return_counts=True)
    return 1.0 / counts[index]


def subject_quantile(scores: Floats, weights: Floats, coverage: float) -> float:
    """Score that a capture of a new subject stays under with probability >= `coverage`; inf if too few.

    Args:
        scores: (rows,) one a capture, all of them or those of one band.
        weights: (rows,) `subject_weights` of all captures. A subject with one capture in twelve in this band
            counts as a twelfth of a subject here: in full it would give its strays, which are in the wrong
            band because they are wrong, too much to say (0.953 instead of 0.9 on the weighed food).
    """
    weight = weights / (weights.sum() + 1)  # the new subject weighs 1 too
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weight[order])
    # 1e-9: 1/20 summed nineteen times must not miss 0.95 by a rounding.
    at = int(np.searchsorted(reached, coverage - 1e-9))
    return float(scores[order[at]]) if at < len(order) else float("inf")


def subjects_needed(coverage: float) -> int:
    """Fewest subjects whose order statistic exists, and never under `SUBJECTS_NEEDED`."""
    return max(SUBJECTS_NEEDED, math.ceil(round(coverage / (1 - coverage), 9)))


def calibrate_weight(predictions: pd.DataFrame, coverage: float) -> WeightCalibration | None:
    """Conformalised quantile regression in log space, from out-of-fold rows, by group.

    Groups are cells (mark or none, number of photos) x bands of the predicted mass. A group of fewer than
    `SUBJECTS_OF_A_GROUP` subjects is merged, always in this order, until one is large enough: all bands of
    its cell; the cell of fewer photos, whose intervals are the wider ones; one photo with or without a mark.
    There are as many bands as leave that last group large enough in each, at most `MAX_BANDS`. Under
    `SUBJECTS_OF_A_GROUP` subjects in all, one band and groups of `subjects_needed` do.

    Returns:
        None under `subjects_needed` subjects: no honest interval is available.
    """
    if "mode" in predictions:
        predictions = predictions[~predictions["mode"].isin(TABLES_ONLY)]
    one = predictions[predictions["n_photos"] == 1]
    subjects = int(one["subject"].nunique())
    needed = SUBJECTS_OF_A_GROUP if subjects >= SUBJECTS_OF_A_GROUP else subjects_needed(coverage)
    for bands in range(max(1, min(MAX_BANDS, subjects // SUBJECTS_OF_A_GROUP)), 0, -1):
        edges = _edges(one, bands)
        last = _band_margins(one, edges, coverage, needed)
        if np.isnan(last).any():
            continue
        return WeightCalibration(
            coverage=coverage,
            edges_grams=tuple(float(edge) for edge in edges),
            log_margin=_rows(_cell_margins(predictions, edges, coverage, needed=needed, last=last)),
            subjects=subjects,
        )
    return None


def group_margin(scores: Floats, weights: Floats, coverage: float, needed: int) -> float:
    """`subject_quantile` of a group that holds `needed` subjects, else NaN."""
    # Half a subject is no subject: bands at the medians of subjects may hold a capture's share less.
    if round(float(weights.sum())) < needed:
        return float("nan")
    margin = subject_quantile(scores, weights, coverage)
    return margin if np.isfinite(margin) else float("nan")


def _cell_margins(
    predictions: pd.DataFrame, edges: Floats, coverage: float, *, needed: int, last: Floats
) -> Floats:
    """(cells, bands), every hole filled by the order that `calibrate_weight` names."""
    cell = cells_of(predictions)
    found = np.empty((len(CELLS), len(last)))
    for number, (_, photos) in enumerate(CELLS):
        rows = predictions[cell == number]
        own = _band_margins(rows, edges, coverage, needed)
        merged = _band_margins(rows, edges[:0], coverage, needed)  # (1,)
        fewer = found[number - 1] if photos else last
        found[number] = np.where(np.isnan(own), np.where(np.isnan(merged), fewer, merged), own)
    return found


def _band_margins(rows: pd.DataFrame, edges: Floats, coverage: float, needed: int) -> Floats:
    """(bands,) margin in log space; NaN where a band has too few subjects."""
    truth = np.log(_column(rows, "grams"))
    below = np.log(_column(rows, "q_low_grams")) - truth
    above = truth - np.log(_column(rows, "q_high_grams"))
    band = np.searchsorted(edges, _column(rows, "predicted_grams"), side="right")
    weights = subject_weights(rows["subject"])
    scores = np.maximum(below, above)
    return np.array(
        [
            group_margin(scores[band == number], weights[band == number], coverage, needed)
            for number in range(len(edges) + 1)
        ]
    )


def _edges(rows: pd.DataFrame, bands: int) -> Floats:
    centre = rows.groupby("subject")["predicted_grams"].median()
    return np.unique(np.quantile(centre, np.arange(1, bands) / bands)) if bands > 1 else np.empty(0)


def _rows(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in values)


def _column(frame: pd.DataFrame, name: str) -> Floats:
    return frame[name].to_numpy(np.float64)
