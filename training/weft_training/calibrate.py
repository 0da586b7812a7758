"""Conformal intervals from out-of-fold predictions. Plain numpy; knows nothing of nets.

What is exchangeable is the subject, not the photo: twenty photos of one parcel are one draw. Every subject
therefore carries the same weight, spread evenly over its captures (hierarchical conformal prediction, Lee,
Barber and Willett 2023); with one capture a subject it is the order statistic ceil((n + 1) * coverage) of n.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

SUBJECTS_NEEDED: Final = 20  # under this an interval is reported as not available
MAX_BANDS: Final = 3  # each further band costs width: at 25 subjects the order statistic is the 24th
SHARE_EDGES: Final = (0.1, 0.9)  # bands of the predicted share: about absent, in a blend, about pure
GROUPS: Final = ("one", "several")  # photos seen together; the first axis of the factors

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WeightCalibration:
    """Factors on the net's own quantiles, by number of photos and band of the predicted mass.

    `low = min(q_low * low_factor, value)` and `high = max(q_high * high_factor, value)`; the factors are
    (2, bands) with rows as in `GROUPS`.
    """

    coverage: float
    edges_grams: tuple[float, ...]  # inner edges, ascending; band = number of edges <= predicted grams
    low_factor: tuple[tuple[float, ...], ...]
    high_factor: tuple[tuple[float, ...], ...]
    subjects: int

    def intervals(self, predictions: pd.DataFrame) -> tuple[Floats, Floats]:
        """Lower and upper grams of every row; an interval always holds its value."""
        grams = _column(predictions, "predicted_grams")
        band = np.searchsorted(self.edges_grams, grams, side="right")
        group = (_column(predictions, "n_photos") > 1).astype(int)
        low = _column(predictions, "q_low_grams") * np.asarray(self.low_factor)[group, band]
        high = _column(predictions, "q_high_grams") * np.asarray(self.high_factor)[group, band]
        return np.minimum(low, grams), np.maximum(high, grams)


@dataclass(frozen=True, slots=True)
class ShareCalibration:
    """Margins around predicted shares, by fibre and band of the predicted share: (F, bands).

    `coverage` is that of whole answers: the part of garments whose shares all lie inside. A margin is 1 where
    too few subjects were seen: that interval is 0..1, which says "no idea" and is true.
    """

    coverage: float
    fibres: tuple[str, ...]
    edges_share: tuple[float, ...]  # band = number of edges <= predicted share
    margin: tuple[tuple[float, ...], ...]
    subjects: int

    def intervals(self, shares: Floats) -> tuple[Floats, Floats]:
        """Lower and upper share, (B, F) from predicted shares (B, F)."""
        band = np.searchsorted(self.edges_share, shares, side="right")
        margin = np.asarray(self.margin)[np.arange(len(self.fibres)), band]
        return np.clip(shares - margin, 0, 1), np.clip(shares + margin, 0, 1)


@dataclass(frozen=True, slots=True)
class CoverageVerdict:
    """Coverage of intervals that never saw the subject they are judged on."""

    mode: str
    nominal: float
    coverage: float  # mean over subjects of the share of a subject's captures that are covered
    subjects: int
    band_low: float  # 95 % binomial band for this number of subjects
    band_high: float
    width_ratio: float  # median of upper / lower end
    width_grams: float  # median of upper - lower end

    @property
    def inside(self) -> bool:
        return self.band_low <= self.coverage <= self.band_high


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


def calibrate_weight(predictions: pd.DataFrame, coverage: float) -> WeightCalibration | None:
    """Conformalised quantile regression in log space, from out-of-fold rows.

    Bands of the predicted mass: as many as keep `SUBJECTS_NEEDED` subjects each, at most `MAX_BANDS`. Several
    photos together get factors of their own where enough subjects have several, else those of one photo.

    Returns:
        None under `SUBJECTS_NEEDED` subjects: no honest interval is available.
    """
    one = predictions[predictions["mode"] == "one"]
    several = predictions[(predictions["mode"] == "all") & (predictions["n_photos"] > 1)]
    subjects = int(one["subject"].nunique())
    for bands in range(min(MAX_BANDS, subjects // SUBJECTS_NEEDED), 0, -1):
        edges = _edges(one, bands)
        first = _log_margins(one, edges, coverage)
        if first is None:
            continue
        second = _log_margins(several, edges, coverage)
        margins = np.array([first, first if second is None else second])
        return WeightCalibration(
            coverage=coverage,
            edges_grams=tuple(float(edge) for edge in edges),
            low_factor=_rows(np.exp(-margins)),
            high_factor=_rows(np.exp(margins)),
            subjects=subjects,
        )
    return None


def calibrate_shares(
    predictions: pd.DataFrame, fibres: Sequence[str], coverage: float
) -> ShareCalibration | None:
    """Margins in bands of the predicted share: a fibre's own where subjects carry it, else pooled over all.

    A margin over all swatches would be tiny for a rare fibre (it is nearly always absent, and rightly so) and
    wrong just where the fibre is found; hence the bands. The coverage is that of whole answers: of all shares
    of a garment together (0.89 of simulated ones kept aside; 0.47 where each fibre was promised by itself).

    Returns:
        None under `SUBJECTS_NEEDED` subjects of known composition.
    """
    known = known_rows(predictions)
    if known["subject"].nunique() < SUBJECTS_NEEDED:
        return None
    weights = subject_weights(known["subject"])
    predicted = np.column_stack([_column(known, f"predicted_{fibre}_share") for fibre in fibres])
    truth = np.column_stack([_column(known, f"{fibre}_share") for fibre in fibres])
    miss = np.abs(predicted - truth)
    band = np.searchsorted(SHARE_EDGES, predicted, side="right")  # (B, F)
    margin = np.ones((len(fibres), len(SHARE_EDGES) + 1))
    for number in range(margin.shape[1]):
        here = band == number
        # Pooled over fibres a capture still weighs what it weighs, shared by its fibres in this band.
        shared = weights[:, None] * here / np.maximum(here.sum(1, keepdims=True), 1)
        pooled = _margin(miss[here], shared[here], coverage)
        for column in range(len(fibres)):
            own = _margin(miss[here[:, column], column], weights[here[:, column]], coverage)
            found = pooled if own is None else own
            margin[column, number] = 1.0 if found is None else found
    # Most shares are 0 and easily right, so that nine in ten of all hold while one of a blend's nearly always
    # fails. What is promised is the whole answer: every margin grows until all shares of a garment hold.
    beyond = (miss - margin[np.arange(len(fibres)), band]).max(1)  # (B,)
    margin = margin + max(0.0, subject_quantile(beyond, weights, coverage))
    return ShareCalibration(
        coverage=coverage,
        fibres=tuple(fibres),
        edges_share=SHARE_EDGES,
        margin=_rows(np.minimum(margin, 1.0)),
        subjects=int(known["subject"].nunique()),
    )


def judge_shares(predictions: pd.DataFrame, fibres: Sequence[str], coverage: float) -> float | None:
    """Part of scans with all true shares inside, each fold's margins calibrated on the other folds only.

    None where the other folds of any fold hold too few subjects.
    """
    known = known_rows(predictions)
    held: list[pd.Series] = []
    for fold in sorted(known["fold"].unique()):
        calibration = calibrate_shares(known[known["fold"] != fold], fibres, coverage)
        if calibration is None:
            return None
        rows = known[known["fold"] == fold]
        low, high = calibration.intervals(rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy())
        held.append(share_hits(rows, fibres, low, high))
    return float(pd.concat(held).mean()) if held else None


def share_hits(rows: pd.DataFrame, fibres: Sequence[str], low: Floats, high: Floats) -> pd.Series:
    """Of each subject, the part of its scans whose true shares all lie inside (B, F) margins."""
    truth = rows[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    inside = (low - 1e-6 <= truth) & (truth <= high + 1e-6)  # the graph computes in float32
    return pd.Series(inside.all(1), index=rows.index).astype(float).groupby(rows["subject"]).mean()


def known_rows(predictions: pd.DataFrame) -> pd.DataFrame:
    """The rows whose composition is known: not those of things that are no textile fibre."""
    if "unknown_truth" not in predictions:
        return predictions
    return predictions[predictions["unknown_truth"].fillna(0) < 0.5]


def nested_intervals(predictions: pd.DataFrame, coverage: float) -> pd.DataFrame | None:
    """The rows with `low_grams` and `high_grams` calibrated on the other folds only.

    None where the other folds of any fold hold too few subjects.
    """
    parts: list[pd.DataFrame] = []
    for fold in sorted(predictions["fold"].unique()):
        calibration = calibrate_weight(predictions[predictions["fold"] != fold], coverage)
        if calibration is None:
            return None
        held = predictions[predictions["fold"] == fold]
        low, high = calibration.intervals(held)
        parts.append(held.assign(low_grams=low, high_grams=high))
    return pd.concat(parts).loc[predictions.index] if parts else None


def judge_coverage(predictions: pd.DataFrame, coverage: float) -> dict[str, CoverageVerdict]:
    """Nested coverage by mode ("one", "all"); empty where no honest interval is available."""
    nested = nested_intervals(predictions, coverage)
    return {} if nested is None else judge_intervals(nested, coverage)


def judge_intervals(intervals: pd.DataFrame, coverage: float) -> dict[str, CoverageVerdict]:
    """Judge rows that carry `low_grams` and `high_grams`, by mode."""
    verdicts: dict[str, CoverageVerdict] = {}
    for mode, rows in intervals.groupby("mode"):
        held = rows["grams"].between(rows["low_grams"], rows["high_grams"])
        by_subject = held.groupby(rows["subject"]).mean()
        subjects = len(by_subject)
        low, high = binom.interval(0.95, subjects, coverage)
        verdicts[str(mode)] = CoverageVerdict(
            mode=str(mode),
            nominal=coverage,
            coverage=float(by_subject.mean()),
            subjects=subjects,
            band_low=float(low) / subjects,
            band_high=float(high) / subjects,
            width_ratio=float((rows["high_grams"] / rows["low_grams"]).median()),
            width_grams=float((rows["high_grams"] - rows["low_grams"]).median()),
        )
    return verdicts


def _edges(rows: pd.DataFrame, bands: int) -> Floats:
    centre = rows.groupby("subject")["predicted_grams"].median()
    return np.unique(np.quantile(centre, np.arange(1, bands) / bands))


def _log_margins(rows: pd.DataFrame, edges: Floats, coverage: float) -> Floats | None:
    """(bands,) margin in log space; None where a band has too few subjects."""
    truth = np.log(_column(rows, "grams"))
    below = np.log(_column(rows, "q_low_grams")) - truth
    above = truth - np.log(_column(rows, "q_high_grams"))
    band = np.searchsorted(edges, _column(rows, "predicted_grams"), side="right")
    weights = subject_weights(rows["subject"])
    margins: list[float] = []
    for number in range(len(edges) + 1):
        here = band == number
        margin = _margin(np.maximum(below, above)[here], weights[here], coverage)
        if margin is None:
            return None
        margins.append(margin)
    return np.asarray(margins)


def _margin(scores: Floats, weights: Floats, coverage: float) -> float | None:
    # Half a subject is no subject: bands at the medians of subjects may hold a capture's share less than 20.
    if round(float(weights.sum())) < SUBJECTS_NEEDED:
        return None
    margin = subject_quantile(scores, weights, coverage)
    return margin if np.isfinite(margin) else None


def _rows(values: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in values)


def _column(frame: pd.DataFrame, name: str) -> Floats:
    return frame[name].to_numpy(np.float64)
