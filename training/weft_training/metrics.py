"""Figures of a model from its predictions. Plain numpy and pandas; knows nothing of nets.

Rows are captures; every headline figure comes with the 95 % bootstrap interval over *subjects* (`..._ci_low`,
`..._ci_high`), since captures of one subject are not independent.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.card import Task
from weft_training.belt_calibrate import nested_votes
from weft_training.calibrate_shares import known_rows, nested_margins, share_figures
from weft_training.coverage import interval_figures, nested_intervals
from weft_training.given import GIVEN, answered_from

MASS_EDGES_GRAMS: Final = (0, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)
COVERAGE: Final = 0.9  # nominal level that is reported where the caller names none
RESAMPLES: Final = 500
_HEADLINES: Final = "balanced_accuracy"

Floats = NDArray[np.float64]
Weighted = Callable[[Floats], float]  # statistic of row weights (rows,)


def metrics_of(
    predictions: pd.DataFrame, task: Task, *, coverage: float = COVERAGE, resamples: int = RESAMPLES
) -> dict[str, float]:
    """All figures, by name; a figure that the rows do not carry is left out, never NaN.

    Weight: `one.alde`, `one.mape` (%), `one.within_x2` (share), `one.mae_grams`, `one.mae_grams.200-500`,
    `one.coverage`, `one.width_ratio`, `one.width_grams`, and the same under `all.`. Composition:
    `balanced_accuracy`, `subject.balanced_accuracy`, `macro_f1`, `mae_points`, `mae_points.cotton`,
    `unknown_auroc`, ...
    """
    if task == "weight":
        found = weight_metrics(predictions, coverage=coverage, resamples=resamples)
    else:
        if task == "belt":
            predictions = nested_votes(predictions, fibres_of(predictions), coverage)
        found = composition_metrics(predictions, coverage=coverage, resamples=resamples)
        if "has_photo" in predictions:
            found |= _by_given(predictions, coverage, resamples)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def weight_metrics(predictions: pd.DataFrame, *, coverage: float, resamples: int) -> dict[str, float]:
    """Figures of a weight model, by mode; intervals as given (`low_grams`), else calibrated across folds."""
    found: dict[str, float] = {}
    for mode, rows in predictions.groupby("mode"):
        for name, value in _mass_figures(rows, resamples).items():
            found[f"{mode}.{name}"] = value
    intervals = (
        predictions.dropna(subset=["low_grams", "high_grams"])
        if "low_grams" in predictions
        else nested_intervals(predictions, coverage)
        if {"q_low_grams", "fold"} <= set(predictions.columns)
        else None
    )
    return found if intervals is None else found | interval_figures(intervals, coverage)


def _mass_figures(rows: pd.DataFrame, resamples: int) -> dict[str, float]:
    errors = mass_errors(rows)
    found: dict[str, float] = {"subjects": rows["subject"].nunique(), "captures": len(rows)}
    subjects = rows["subject"].to_numpy()
    for name, values in errors.items():
        found |= with_interval(name, mean_of(values), subjects, resamples)
    truth = rows["grams"].to_numpy(np.float64)
    for low, high in zip(MASS_EDGES_GRAMS, (*MASS_EDGES_GRAMS[1:], np.inf), strict=True):
        here = (truth >= low) & (truth < high)
        if here.any():
            name = f"{low}-{high}" if np.isfinite(high) else f"{low}-up"
            found[f"mae_grams.{name}"] = float(errors["mae_grams"][here].mean())
            found[f"alde.{name}"] = float(errors["alde"][here].mean())
    return found


def mass_errors(rows: pd.DataFrame) -> dict[str, Floats]:
    """By figure, what it is the mean of, (rows,): `alde`, `mape` (%), `within_x2` (0 or 1), `mae_grams`."""
    truth, predicted = (rows[name].to_numpy(np.float64) for name in ("grams", "predicted_grams"))
    log_gap = np.abs(np.log(predicted / truth))
    gap = np.abs(predicted - truth)
    return {
        "alde": log_gap,
        "mape": 100 * gap / truth,
        # 1e-9: exactly twice is within twice
        "within_x2": (log_gap <= np.log(2) + 1e-9).astype(np.float64),
        "mae_grams": gap,
    }


def composition_metrics(predictions: pd.DataFrame, *, coverage: float, resamples: int) -> dict[str, float]:
    """Figures of a fibre model, per scan and (`subject.`) per subject with its scans averaged."""
    known = known_rows(predictions)
    fibres = fibres_of(predictions)
    found: dict[str, float] = {}
    if len(known):
        found |= _share_figures(known, fibres, resamples)
        for name, value in _share_figures(per_subject(known), fibres, resamples).items():
            found[f"subject.{name}"] = value
        found |= _share_coverage(known, fibres, coverage)
    if {"unknown_truth", "predicted_unknown"} <= set(predictions.columns):
        truth = predictions["unknown_truth"].to_numpy(np.float64) >= 0.5
        score = predictions["predicted_unknown"].to_numpy(np.float64)
        if truth.any() and not truth.all():
            subjects = predictions["subject"].to_numpy()
            found |= with_interval("unknown_auroc", lambda w: auroc(truth, score, w), subjects, resamples)
    return found


def _by_given(predictions: pd.DataFrame, coverage: float, resamples: int) -> dict[str, float]:
    """`scan.`, `photo.` and `both.`: figures of the rows that have a photo, had only that been sent."""
    found: dict[str, float] = {}
    for given in GIVEN:
        rows = answered_from(predictions, given, fibres_of(predictions))
        of_it = composition_metrics(rows, coverage=coverage, resamples=resamples) if len(rows) else {}
        found |= {f"{given}.{name}": value for name, value in of_it.items() if _HEADLINES in name}
        found |= {f"{given}.unknown": float((rows["predicted_unknown"] >= 0.5).mean())} if len(rows) else {}
    return found


def _share_coverage(known: pd.DataFrame, fibres: Sequence[str], coverage: float) -> dict[str, float]:
    """As given (`low_cotton_share`, ...), else calibrated across folds; empty where neither is possible."""
    ends = [f"low_{fibre}_share" for fibre in fibres]
    rows = (
        known.dropna(subset=ends)
        if set(ends) <= set(known.columns)
        else nested_margins(known, fibres, coverage)
        if "fold" in known
        else None
    )
    return {} if rows is None or rows.empty else share_figures(rows, fibres)


def _share_figures(rows: pd.DataFrame, fibres: Sequence[str], resamples: int) -> dict[str, float]:
    truth = rows[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    predicted = rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    subjects = rows["subject"].to_numpy()
    main, guess = truth.argmax(1), predicted.argmax(1)
    gap = 100 * np.abs(predicted - truth)
    found: dict[str, float] = {"subjects": rows["subject"].nunique(), "captures": len(rows)}
    found |= with_interval(
        "balanced_accuracy", lambda w: balanced_accuracy(main, guess, w), subjects, resamples
    )
    found |= with_interval("macro_f1", lambda w: macro_f1(main, guess, w), subjects, resamples)
    found |= with_interval("mae_points", mean_of(gap.mean(1)), subjects, resamples)
    for column, fibre in enumerate(fibres):
        found |= with_interval(f"mae_points.{fibre}", mean_of(gap[:, column]), subjects, resamples)
    return found


def fibres_of(predictions: pd.DataFrame) -> list[str]:
    """Fibres of a table of predictions: those with a truth and a predicted column, in its order."""
    named = [str(name) for name in predictions.columns if _is_share(str(name))]
    fibres = [name.removeprefix("predicted_").removesuffix("_share") for name in named]
    return [fibre for fibre in fibres if f"{fibre}_share" in predictions]


def per_subject(predictions: pd.DataFrame) -> pd.DataFrame:
    """One row a subject: its truth and the mean of its captures' predictions."""
    numbers = [name for name in predictions.select_dtypes("number") if name not in {"subject", "capture"}]
    return predictions.groupby("subject", as_index=False)[numbers].mean()


def with_interval(name: str, statistic: Weighted, subjects: NDArray[Any], resamples: int) -> dict[str, float]:
    """The figure and its 95 % bootstrap interval over subjects (none under 2 subjects or 0 resamples)."""
    found = {name: float(statistic(np.ones(len(subjects))))}
    _, index = np.unique(subjects, return_inverse=True)
    count = int(index.max()) + 1 if len(index) else 0
    if count < 2 or resamples < 1:
        return found
    generator = np.random.default_rng(0)  # the same rows give the same interval
    draws = generator.multinomial(count, np.full(count, 1 / count), size=resamples)
    values = np.array([statistic(draw[index].astype(np.float64)) for draw in draws])
    low, high = np.nanquantile(values, (0.025, 0.975))
    return found | {f"{name}_ci_low": float(low), f"{name}_ci_high": float(high)}


def mean_of(values: Floats) -> Weighted:
    """The weighted mean of (rows,) values, as a function of the weights."""
    return lambda weights: float(np.average(values, weights=weights))


def confusion(truth: NDArray[Any], guess: NDArray[Any], weights: Floats) -> tuple[NDArray[Any], Floats]:
    """Classes (K,) that occur, and weight (K, K) by truth and guess."""
    classes, codes = np.unique(np.concatenate([truth, guess]), return_inverse=True)
    count = len(classes)
    flat = codes[: len(truth)] * count + codes[len(truth) :]
    return classes, np.bincount(flat, weights=weights, minlength=count**2).reshape(count, count)


def balanced_accuracy(truth: NDArray[Any], guess: NDArray[Any], weights: Floats) -> float:
    """Mean recall over the classes that occur in the truth."""
    _, table = confusion(truth, guess, weights)
    total = table.sum(1)
    return float((np.diag(table)[total > 0] / total[total > 0]).mean())


def macro_f1(truth: NDArray[Any], guess: NDArray[Any], weights: Floats) -> float:
    """Mean F1 over the classes that occur in truth or guess."""
    _, table = confusion(truth, guess, weights)
    total = table.sum(0) + table.sum(1)
    return float((2 * np.diag(table)[total > 0] / total[total > 0]).mean())


def auroc(truth: NDArray[np.bool_], score: Floats, weights: Floats) -> float:
    """Chance that a positive scores above a negative, ties counting half; NaN without both kinds."""
    _, rank = np.unique(score, return_inverse=True)
    size = int(rank.max()) + 1
    positive = np.bincount(rank, weights=weights * truth, minlength=size)
    negative = np.bincount(rank, weights=weights * ~truth, minlength=size)
    if positive.sum() == 0 or negative.sum() == 0:
        return float("nan")
    below = np.cumsum(negative) - negative / 2
    return float((positive * below).sum() / positive.sum() / negative.sum())


def _is_share(name: str) -> bool:
    return name.startswith("predicted_") and name.endswith("_share")
