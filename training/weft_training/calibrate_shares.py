"""Margins around fibre shares from out-of-fold predictions. Plain numpy; knows nothing of nets."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.cells import SUBJECTS_OF_A_GROUP
from weft_training.calibrate import (
    group_margin,
    subject_quantile,
    subject_weights,
    subjects_needed,
)

SHARE_EDGES: Final = (0.1, 0.9)  # bands of the predicted share: about absent, in a blend, about pure
KINDS: Final = ("blend", "pure")  # of the predicted composition: pure from SHARE_EDGES[-1] of one fibre on

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShareCalibration:
    """Margins around predicted shares, by kind of answer, fibre and band of the share: (kinds, F, bands).

    `coverage` is that of whole answers: the part of garments whose shares all lie inside, among answers that
    say a blend, among those that say a pure fibre, and among true blends. A margin is 1 where too few
    subjects were seen: that interval is 0..1, which says "no idea" and is true.
    """

    coverage: float
    fibres: tuple[str, ...]
    edges_share: tuple[float, ...]  # band = number of edges <= predicted share
    margin: tuple[tuple[tuple[float, ...], ...], ...]  # kinds as in `KINDS`
    subjects: int

    def intervals(self, shares: Floats) -> tuple[Floats, Floats]:
        """Lower and upper share, (B, F) from predicted shares (B, F)."""
        band = np.searchsorted(self.edges_share, shares, side="right")
        kind = kinds_of(shares)[:, None]
        margin = np.asarray(self.margin)[kind, np.arange(len(self.fibres)), band]
        return np.clip(shares - margin, 0, 1), np.clip(shares + margin, 0, 1)


def kinds_of(shares: Floats) -> NDArray[np.int64]:
    """(B,) place in `KINDS` of compositions (B, F)."""
    return (shares.max(-1) >= SHARE_EDGES[-1]).astype(np.int64)


def calibrate_shares(
    predictions: pd.DataFrame, fibres: Sequence[str], coverage: float
) -> ShareCalibration | None:
    """Margins by kind of answer: blends err more, and would else be paid for by the many pure garments.

    A margin is a fibre's own where subjects carry it, else pooled over the fibres of this kind, else over all
    answers. A margin over all swatches would be tiny for a rare fibre (it is nearly always absent, and
    rightly so) and wrong just where the fibre is found; hence the bands. The coverage is that of whole
    answers: of all shares of a garment together (0.89 of simulated ones kept aside; 0.47 where each fibre was
    promised by itself).

    Returns:
        None under `subjects_needed` subjects of known composition.
    """
    known = known_rows(predictions)
    subjects = int(known["subject"].nunique())
    if subjects < subjects_needed(coverage):
        return None
    needed = SUBJECTS_OF_A_GROUP if subjects >= SUBJECTS_OF_A_GROUP else subjects_needed(coverage)
    weights = subject_weights(known["subject"])
    predicted = known[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    truth = known[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    miss = np.abs(predicted - truth)  # (B, F)
    band = np.searchsorted(SHARE_EDGES, predicted, side="right")  # (B, F)
    kind = kinds_of(predicted)
    everyone = _margins(miss, band, weights, coverage, needed)
    margins = np.empty((len(KINDS), len(fibres), len(SHARE_EDGES) + 1))
    for number in range(len(KINDS)):
        here = kind == number
        own = _margins(miss[here], band[here], weights[here], coverage, needed)
        margin = np.nan_to_num(np.where(np.isnan(own), everyone, own), nan=1.0)
        if round(float(weights[here].sum())) < needed:
            here = np.ones(len(kind), bool)
        margins[number] = _whole_answers(margin, miss[here], band[here], weights[here], coverage)
    # A blend that is taken for a pure fibre would pay for the pure ones' narrow margins: 0.83 of true blends
    # held, 0.89 with both kinds of margin grown for them.
    blends = truth.max(1) < SHARE_EDGES[-1]
    mine = margins[kind[:, None], np.arange(len(fibres)), band][blends]  # (blends, F)
    margins += _growth(mine, miss[blends], weights[blends], coverage, needed)
    return ShareCalibration(
        coverage=coverage,
        fibres=tuple(fibres),
        edges_share=SHARE_EDGES,
        margin=tuple(
            tuple(tuple(float(value) for value in row) for row in table) for table in np.minimum(margins, 1.0)
        ),
        subjects=subjects,
    )


def margins_of_group(
    miss: Floats, predicted: Floats, weights: Floats, coverage: float, needed: int
) -> Floats:
    """(F, bands) margins so that all shares of an answer of this group lie inside together.

    Args:
        miss: (B, F) |predicted - true|, of which `predicted` are the shares.
        needed: Subjects that a fibre's own margin needs; else it is pooled over the fibres of the group.
    """
    band = np.searchsorted(SHARE_EDGES, predicted, side="right")
    margin = np.nan_to_num(_margins(miss, band, weights, coverage, needed), nan=1.0)
    return _whole_answers(margin, miss, band, weights, coverage)


def judge_shares(predictions: pd.DataFrame, fibres: Sequence[str], coverage: float) -> float | None:
    """Part of scans with all true shares inside, each fold's margins calibrated on the other folds only.

    None where the other folds of any fold hold too few subjects.
    """
    nested = nested_margins(predictions, fibres, coverage)
    if nested is None:
        return None
    return share_figures(nested, fibres)["share_coverage"]


def share_figures(known: pd.DataFrame, fibres: Sequence[str]) -> dict[str, float]:
    """`share_coverage` of rows that carry `low_<fibre>_share` and `high_<fibre>_share`, and of true blends
    and pure fibres by themselves; `share_width` is the mean width of an interval."""
    low, high = (known[[f"{end}_{fibre}_share" for fibre in fibres]].to_numpy() for end in ("low", "high"))
    truth = known[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    blends = truth.max(1) < SHARE_EDGES[-1]
    found: dict[str, float] = {}
    for name, here in (("", blends | ~blends), (".blends", blends), (".pure", ~blends)):
        if here.any():
            hits = share_hits(known[here], fibres, low[here], high[here])
            found[f"share_coverage{name}"] = float(hits.mean())
            found[f"share_width{name}"] = float((high[here] - low[here]).mean())
    return found


def nested_margins(predictions: pd.DataFrame, fibres: Sequence[str], coverage: float) -> pd.DataFrame | None:
    """The known rows with `low_<fibre>_share` and `high_<fibre>_share` calibrated on the other folds only."""
    known = known_rows(predictions)
    parts: list[pd.DataFrame] = []
    for fold in sorted(known["fold"].unique()):
        calibration = calibrate_shares(known[known["fold"] != fold], fibres, coverage)
        if calibration is None:
            return None
        rows = known[known["fold"] == fold]
        low, high = calibration.intervals(rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy())
        ends = {
            f"{word}_{fibre}_share": end[:, column]
            for word, end in (("low", low), ("high", high))
            for column, fibre in enumerate(fibres)
        }
        parts.append(rows.assign(**ends))
    return pd.concat(parts).loc[known.index] if parts else None


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


def _margins(miss: Floats, band: NDArray[np.int64], weights: Floats, coverage: float, needed: int) -> Floats:
    """(F, bands) from (B, F) misses: a fibre's own, else pooled over fibres, else NaN."""
    fibres = miss.shape[1]
    margin = np.full((fibres, len(SHARE_EDGES) + 1), np.nan)
    for number in range(margin.shape[1]):
        here = band == number
        # Pooled over fibres a capture still weighs what it weighs, shared by its fibres in this band.
        shared = weights[:, None] * here / np.maximum(here.sum(1, keepdims=True), 1)
        pooled = group_margin(miss[here], shared[here], coverage, needed)
        for column in range(fibres):
            own = group_margin(miss[here[:, column], column], weights[here[:, column]], coverage, needed)
            margin[column, number] = pooled if np.isnan(own) else own
    return margin


def _whole_answers(
    margin: Floats, miss: Floats, band: NDArray[np.int64], weights: Floats, coverage: float
) -> Floats:
    """Margins (F, bands) grown until all shares of a garment hold together.

    Most shares are 0 and easily right, so that nine in ten of all hold while one of a blend's nearly always
    fails.
    """
    mine = margin[np.arange(len(margin)), band]  # (B, F)
    return margin + _growth(mine, miss, weights, coverage, needed=0)


def _growth(margin: Floats, miss: Floats, weights: Floats, coverage: float, needed: int) -> float:
    """What margins (B, F) lack for whole answers; 0 where fewer than `needed` subjects tell."""
    if round(float(weights.sum())) < max(needed, 1):
        return 0.0
    return max(0.0, subject_quantile((miss - margin).max(1), weights, coverage))
