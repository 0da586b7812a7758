"""Margins around votes: as around shares, and by how far a piece's pixels lie from their vote.

A piece whose pixels agree is seldom wrong and one whose pixels scatter often: of simulated pieces that were
said to be blends nine in ten lie within 11 points where the pixels scatter least, and within 75 where most.
One margin for both would be too wide for nearly all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.card import VoteCard
from weft.cells import SUBJECTS_OF_A_GROUP
from weft.line.reader import intervals
from weft_training.calibrate import subject_weights, subjects_needed
from weft_training.calibrate_shares import KINDS, SHARE_EDGES, kinds_of, known_rows, margins_of_group

SCATTER_QUANTILES: Final = (
    0.4,
    0.6,
    0.75,
    0.87,
    0.95,
)  # of the pieces of a kind, where bands of scatter part
_OF_A_BAND: Final = 30  # pieces at least on either side of an edge

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VoteCalibration:
    """Margins of votes by kind of answer, band of scatter, fibre and band of the share, as on a card."""

    edges_scatter: tuple[tuple[float, ...], tuple[float, ...]]
    margin: tuple[tuple[tuple[float, ...], ...], ...]
    subjects: int

    def laid_over(self, rules: VoteCard) -> VoteCard:
        """The rules with these margins."""
        found = {
            "edges_share": SHARE_EDGES,
            "edges_scatter": self.edges_scatter,
            "margin": self.margin,
        }
        return VoteCard.model_validate(rules.model_dump() | found)


def calibrate_votes(
    predictions: pd.DataFrame, fibres: Sequence[str], coverage: float
) -> VoteCalibration | None:
    """Conformal margins from out-of-fold votes; all shares of a piece lie inside together with `coverage`.

    It holds within each kind of answer and band of scatter by itself, for tidy pieces and for noisy ones. It
    is not grown for true blends, as `calibrate_shares` does: 0.865 of them hold where 0.90 of all pieces do
    (0.93 of cotton-polyester), and to reach 0.90 margins would be twice as wide.

    Returns:
        None under `subjects_needed` pieces of known composition.
    """
    known = known_rows(predictions)
    subjects = int(known["subject"].nunique())
    if subjects < subjects_needed(coverage):
        return None
    weights = subject_weights(known["subject"])
    predicted = known[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    miss = np.abs(predicted - known[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64))
    scatter, kind = known["scatter"].to_numpy(np.float64), kinds_of(predicted)
    edges: list[tuple[float, ...]] = []
    margin: list[tuple[tuple[float, ...], ...]] = []
    for number in range(len(KINDS)):
        of_kind = kind == number
        if of_kind.sum() < max(_OF_A_BAND, subjects_needed(coverage)):
            of_kind = np.ones_like(of_kind)  # too few said so: the margins of all
        found = _edges(scatter[of_kind])
        edges.append(tuple(float(edge) for edge in found))
        band = np.searchsorted(found, scatter, side="right")
        for place in range(len(found) + 1):
            here = of_kind & (band == place)
            table = margins_of_group(
                miss[here], predicted[here], weights[here], coverage, SUBJECTS_OF_A_GROUP
            )
            margin.append(tuple(tuple(float(value) for value in row) for row in np.minimum(table, 1.0)))
    return VoteCalibration(edges_scatter=(edges[0], edges[1]), margin=tuple(margin), subjects=subjects)


def nested_votes(predictions: pd.DataFrame, fibres: Sequence[str], coverage: float) -> pd.DataFrame:
    """Votes with `low_<fibre>_share` and `high_<fibre>_share`, each fold's calibrated on the others only.

    As they came where there are no folds, or too few pieces in the others of one.
    """
    if "fold" not in predictions:
        return predictions
    parts: list[pd.DataFrame] = []
    for fold in sorted(predictions["fold"].unique()):
        found = calibrate_votes(predictions[predictions["fold"] != fold], fibres, coverage)
        if found is None:
            return predictions
        rows = predictions[predictions["fold"] == fold]
        shares = rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
        low, high = intervals(shares, rows["scatter"].to_numpy(np.float64), found.laid_over(_RULES))
        ends = {
            f"{word}_{fibre}_share": end[:, column]
            for word, end in (("low", low), ("high", high))
            for column, fibre in enumerate(fibres)
        }
        parts.append(rows.assign(**ends))
    return pd.concat(parts).loc[predictions.index]


def _edges(scatter: Floats) -> Floats:
    """Where the bands of scatter part; none where too few pieces would be left in one."""
    if len(scatter) < _OF_A_BAND / (1 - SCATTER_QUANTILES[-1]):
        return np.empty(0)
    return np.unique(np.quantile(scatter, SCATTER_QUANTILES))


_RULES: Final = VoteCard(  # margins alone are looked up in it
    fewest_pixels=1, stray_distance=1.0, part_distance=1.0, part_separation=1.0, part_share=0.4
)
