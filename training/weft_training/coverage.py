"""Whether intervals hold what they promise, on subjects that their calibration never saw."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import binom

from weft.cells import CELLS, SUBJECTS_OF_A_GROUP, name_of_cell
from weft_training.calibrate import TABLES_ONLY, calibrate_weight, cells_of, subject_weights

THIRDS: Final = ("low_third", "mid_third", "top_third")  # of the predicted mass


@dataclass(frozen=True, slots=True)
class CoverageVerdict:
    """Coverage of intervals that never saw the subjects they are judged on."""

    nominal: float
    coverage: float  # mean over subjects of the share of a subject's captures that are covered
    subjects: int
    band_low: float  # 95 % binomial band for this number of subjects
    band_high: float
    width_ratio: float  # median of upper / lower end
    width_grams: float  # median of upper - lower end

    @property
    def inside(self) -> bool | None:
        """Whether the coverage lies in its band; None where the subjects are too few to judge by."""
        if self.subjects < SUBJECTS_OF_A_GROUP:
            return None
        # 1e-9: 101 of 120 subjects, summed in floats, must not miss 101 / 120.
        return self.band_low - 1e-9 <= self.coverage <= self.band_high + 1e-9


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
    return {
        str(mode): _verdict(rows, subject_weights(rows["subject"]), coverage)
        for mode, rows in intervals.groupby("mode")
    }


def judge_thirds(intervals: pd.DataFrame, coverage: float) -> dict[str, dict[str, CoverageVerdict]]:
    """By mode, then by third of the predicted mass; the thirds hold equally many subjects."""
    found: dict[str, dict[str, CoverageVerdict]] = {}
    for mode, rows in intervals.groupby("mode"):
        middle = rows.groupby("subject")["predicted_grams"].median()
        third = np.searchsorted(np.quantile(middle, [1 / 3, 2 / 3]), rows["predicted_grams"], side="right")
        weights = subject_weights(rows["subject"])
        found[str(mode)] = {
            name: _verdict(rows[third == place], weights[third == place], coverage)
            for place, name in enumerate(THIRDS)
            if round(weights[third == place].sum()) > 0
        }
    return found


def judge_cells(intervals: pd.DataFrame, coverage: float) -> dict[str, CoverageVerdict]:
    """By group of the calibration, mark or none x number of photos: "marked.3-4"; masses together."""
    cell = cells_of(intervals)
    found: dict[str, CoverageVerdict] = {}
    for number in range(len(CELLS)):
        rows = intervals[cell == number]
        if len(rows):
            found[name_of_cell(number)] = _verdict(rows, subject_weights(rows["subject"]), coverage)
    return found


def interval_figures(intervals: pd.DataFrame, coverage: float) -> dict[str, float]:
    """`one.coverage`, `one.coverage.low_third`, `group.marked.3-4.coverage`, ... with their widths.

    The ends of the binomial band (`..._band_low`, `..._band_high`) are left out where the subjects are too
    few to judge by.
    """
    verdicts = {f"{mode}.{{}}": verdict for mode, verdict in judge_intervals(intervals, coverage).items()}
    for mode, thirds in judge_thirds(intervals, coverage).items():
        verdicts |= {f"{mode}.{{}}.{third}": verdict for third, verdict in thirds.items()}
    judged = intervals[~intervals["mode"].isin(TABLES_ONLY)]
    verdicts |= {f"group.{cell}.{{}}": verdict for cell, verdict in judge_cells(judged, coverage).items()}
    found: dict[str, float] = {}
    for name, verdict in verdicts.items():
        found[name.format("coverage")] = verdict.coverage
        found[name.format("width_ratio")] = verdict.width_ratio
        found[name.format("width_grams")] = verdict.width_grams
        if verdict.inside is not None:
            found[name.format("coverage") + "_band_low"] = verdict.band_low
            found[name.format("coverage") + "_band_high"] = verdict.band_high
    return found


def _verdict(rows: pd.DataFrame, weights: np.ndarray, coverage: float) -> CoverageVerdict:
    """`weights` are of all captures of a mode: a capture in twelve that strayed into this third counts as a
    twelfth of its subject, as it does in the calibration."""
    held = rows["grams"].between(rows["low_grams"], rows["high_grams"]).to_numpy(float)
    subjects = max(1, round(float(weights.sum())))
    low, high = binom.interval(0.95, subjects, coverage)
    return CoverageVerdict(
        nominal=coverage,
        coverage=float(np.average(held, weights=weights)),
        subjects=subjects,
        band_low=float(low) / subjects,
        band_high=float(high) / subjects,
        width_ratio=float((rows["high_grams"] / rows["low_grams"]).median()),
        width_grams=float((rows["high_grams"] - rows["low_grams"]).median()),
    )
