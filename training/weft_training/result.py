"""A measured line: its figures, and what stands beside it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import pandas as pd

from weft.errors import RunError
from weft_training.calibrate_shares import known_rows
from weft_training.coverage import interval_figures
from weft_training.leaderboard_lines import Comparison, Figure, Line, Result, Rival, Table
from weft_training.metrics import COVERAGE
from weft_training.paired import difference_of, figure_of
from weft_training.run import code_revision

_OF_INTERVALS: Final = ("coverage", "width_ratio", "width_grams")


def result_of(
    line: Line,
    predictions: pd.DataFrame,
    fingerprint: str,
    *,
    comparisons: Sequence[Comparison] = (),
    tables: Sequence[Table] = (),
) -> Result:
    """Figures of a line from its predictions, which carry `low_grams` where intervals are asked for.

    Raises:
        RunError: The predictions carry no such figure.
    """
    figures: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    covered = interval_figures(predictions, COVERAGE) if "low_grams" in predictions else {}
    for figure in line.figures:
        found = covered if _is_of_intervals(figure) else _found(line, predictions, figure.key)
        if figure.key not in found:
            if figure.target is None:
                continue  # widths and coverages are shown where there are intervals
            raise RunError(f"{line.name}: the predictions carry no {figure.key}; look at the run's manifest")
        figures[figure.key] = found[figure.key] * figure.factor
        ends = "_band" if figure.sense == "inside the band" else "_ci"
        if f"{figure.key}{ends}_low" in found:
            low, high = (found[f"{figure.key}{ends}_{end}"] * figure.factor for end in ("low", "high"))
            intervals[figure.key] = (low, high)
    if "mode" in predictions:
        shown = predictions[predictions["mode"] == line.figures[0].key.partition(".")[0]]
    else:
        of_all = line.figures[0].key == "unknown_auroc"  # strangers count there, and nowhere else
        shown = predictions if of_all else known_rows(predictions)
    return Result(
        line=line.name,
        figures=figures,
        intervals=intervals,
        subjects=int(shown["subject"].nunique()),
        captures=len(shown),
        reached=reached(line, figures, intervals),
        date=datetime.now(UTC).date().isoformat(),
        revision=code_revision(),
        fingerprint=fingerprint,
        comparisons=tuple(comparisons),
        tables=tuple(tables),
    )


def compare(line: Line, rival: Rival, ours: pd.DataFrame, theirs: pd.DataFrame) -> Comparison:
    """The rival's figures on the same rows, and our difference to it with its paired interval."""
    figures: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    differences: dict[str, tuple[float, float, float]] = {}
    for figure in line.figures:
        if not figure.beside:
            continue
        key = figure.key
        found = figure_of(theirs, key)
        figures[key] = found[key] * figure.factor
        if f"{key}_ci_low" in found:
            intervals[key] = (found[f"{key}_ci_low"] * figure.factor, found[f"{key}_ci_high"] * figure.factor)
        relative = figure.sense == "at most"
        gap = difference_of(ours, theirs, key, relative=relative)
        factor = 1.0 if relative else figure.factor
        differences[key] = (gap.value * factor, gap.low * factor, gap.high * factor)
    return Comparison(rival.name, rival.words, rival.oracle, figures, intervals, differences)


def reached(
    line: Line, figures: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]
) -> bool | None:
    """Whether all promised figures keep their promise; None where nothing was promised."""
    verdicts = [kept(figure, figures, intervals) for figure in line.figures if figure.target is not None]
    return all(verdicts) if verdicts else None


def kept(figure: Figure, figures: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> bool:
    """Whether one promised figure is reached, as measured: targets are not met by rounding."""
    value, target = figures[figure.key], figure.target
    assert target is not None, "asked of promised figures only"
    if figure.sense == "inside the band":
        low, high = intervals.get(figure.key, (1.0, 0.0))  # no band: too few subjects to say so
        return low - 1e-9 <= value <= high + 1e-9
    return value <= target if figure.sense == "at most" else value >= target - 1e-9


def strongest(line: Line, result: Result) -> Comparison | None:
    """The best of the simple models, oracles apart, at the line's first figure."""
    first = line.figures[0]
    simple = [one for one in result.comparisons if not one.oracle and first.key in one.figures]
    if not simple:
        return None
    best = min if first.sense == "at most" else max
    return best(simple, key=lambda one: one.figures[first.key])


def _found(line: Line, predictions: pd.DataFrame, key: str) -> dict[str, float]:
    try:
        return figure_of(predictions, key)
    except KeyError as error:
        raise RunError(f"{line.name}: the predictions carry no {key}; look at the run's manifest") from error


def _is_of_intervals(figure: Figure) -> bool:
    return figure.key.split(".")[1:2] != [] and figure.key.split(".")[1] in _OF_INTERVALS
