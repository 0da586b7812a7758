"""One figure of two models on the same subjects, and how sure their difference is.

Two intervals that overlap say little: an object that is hard for one model is hard for the other. So the same
draw of subjects is given to both, and what is judged is the difference within each draw (a paired bootstrap:
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 16).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft_training.calibrate_shares import known_rows
from weft_training.metrics import (
    RESAMPLES,
    Weighted,
    auroc,
    balanced_accuracy,
    fibres_of,
    macro_f1,
    mass_errors,
    mean_of,
    per_subject,
    with_interval,
)

PURE: Final = "pure."  # figures of a composition on (nearly) pure textiles only
SUBJECT: Final = "subject."  # and per subject, its scans averaged
_PURE_SHARE: Final = 0.85


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one model's figure differs from another's, with the 95 % interval over subjects."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """The interval excludes no difference."""
        return self.low > 0 or self.high < 0


def statistic_of(predictions: pd.DataFrame, key: str) -> tuple[Weighted, NDArray[Any]]:
    """A figure as a function of the weights of its rows, and the subject of each of these rows.

    Args:
        key: As in `metrics_of`: `one.alde`, `all.mape`, `subject.balanced_accuracy`, `mae_points.cotton`; of
            compositions also with `pure.` before it.

    Raises:
        KeyError: The predictions carry no such figure.
    """
    if "mode" in predictions:
        mode, _, name = key.partition(".")
        rows = predictions[predictions["mode"] == mode]
        if rows.empty:
            raise KeyError(key)
        return mean_of(mass_errors(rows)[name]), rows["subject"].to_numpy()
    if key == "unknown_auroc":
        return _unknown_statistic(predictions), predictions["subject"].to_numpy()
    rows = known_rows(predictions)
    name = key.removeprefix(PURE)
    if name != key:
        truth = rows[[f"{fibre}_share" for fibre in fibres_of(rows)]].to_numpy(np.float64)
        rows = rows[truth.max(1) >= _PURE_SHARE]
    if rows.empty:
        raise KeyError(key)
    if name.startswith(SUBJECT):
        rows = per_subject(rows)
    return _share_statistic(rows, name.removeprefix(SUBJECT)), rows["subject"].to_numpy()


def figure_of(predictions: pd.DataFrame, key: str, *, resamples: int = RESAMPLES) -> dict[str, float]:
    """The figure under its key, with `_ci_low` and `_ci_high` as in `metrics_of`."""
    statistic, subjects = statistic_of(predictions, key)
    return with_interval(key, statistic, subjects, resamples)


def difference_of(
    ours: pd.DataFrame, theirs: pd.DataFrame, key: str, *, relative: bool, resamples: int = RESAMPLES
) -> Difference:
    """Our figure less theirs, on the same draws of subjects.

    Args:
        relative: In percent of theirs (of errors: -25 is a quarter less), else in the figure's own unit.

    Raises:
        ValueError: The two tables are not of the same subjects.
    """
    pair = [statistic_of(predictions, key) for predictions in (ours, theirs)]
    names = [np.unique(subjects) for _, subjects in pair]
    if not np.array_equal(*names):
        raise ValueError(f"{key}: the models were asked of {len(names[0])} and {len(names[1])} subjects")
    places = [np.searchsorted(names[0], subjects) for _, subjects in pair]
    count = len(names[0])

    def gap(draw: NDArray[np.float64]) -> float:
        mine, other = (statistic(draw[place]) for (statistic, _), place in zip(pair, places, strict=True))
        if not relative:
            return mine - other
        return 100 * (mine / other - 1) if other else float("nan")

    return _drawn(gap, count, resamples)


def difference_of_means(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], *, relative: bool, resamples: int = RESAMPLES
) -> Difference:
    """The mean of ours less that of theirs, (subjects,) one value each, in the same order of subjects."""

    def gap(draw: NDArray[np.float64]) -> float:
        mine, other = float(np.average(ours, weights=draw)), float(np.average(theirs, weights=draw))
        if not relative:
            return mine - other
        return 100 * (mine / other - 1) if other else float("nan")

    return _drawn(gap, len(ours), resamples)


def _drawn(gap: Weighted, count: int, resamples: int) -> Difference:
    generator = np.random.default_rng(0)  # the same rows give the same interval
    draws = generator.multinomial(count, np.full(count, 1 / count), size=max(resamples, 1))
    found = np.array([gap(draw.astype(np.float64)) for draw in draws])
    value = gap(np.ones(count))
    if not np.isfinite(found).any():  # nothing to be better than: theirs is without error in every draw
        return Difference(value, float("nan"), float("nan"))
    low, high = np.nanquantile(found, (0.025, 0.975))
    return Difference(value, float(low), float(high))


def _share_statistic(rows: pd.DataFrame, name: str) -> Weighted:
    fibres = fibres_of(rows)
    truth = rows[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    predicted = rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    main, guess = truth.argmax(1), predicted.argmax(1)
    if name == "balanced_accuracy":
        return lambda weights: balanced_accuracy(main, guess, weights)
    if name == "least_recall":
        return _least_recall(rows, main, guess)
    if name == "macro_f1":
        return lambda weights: macro_f1(main, guess, weights)
    start, _, fibre = name.partition(".")
    if start != "mae_points" or (fibre and fibre not in fibres):
        raise KeyError(name)
    gap = 100 * np.abs(predicted - truth)
    return mean_of(gap[:, fibres.index(fibre)] if fibre else gap.mean(1))


def _least_recall(rows: pd.DataFrame, main: NDArray[Any], guess: NDArray[Any]) -> Weighted:
    """Recall of the worst class, on the worst instrument where the rows name several."""
    instrument = rows["instrument"].to_numpy(str) if "instrument" in rows else np.full(len(rows), "")
    cells = pd.Series(instrument).str.cat(pd.Series(main).astype(str), sep="/").to_numpy()
    _, cell = np.unique(cells, return_inverse=True)
    hit = main == guess

    def least(weights: NDArray[np.float64]) -> float:
        total = np.bincount(cell, weights=weights)
        right = np.bincount(cell, weights=weights * hit)
        return float((right[total > 0] / total[total > 0]).min())

    return least


def _unknown_statistic(predictions: pd.DataFrame) -> Weighted:
    truth = predictions["unknown_truth"].to_numpy(np.float64) >= 0.5
    score = predictions["predicted_unknown"].to_numpy(np.float64)
    if not truth.any() or truth.all():
        raise KeyError("unknown_auroc")
    return lambda weights: auroc(truth, score, weights)
