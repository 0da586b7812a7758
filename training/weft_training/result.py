"""A measured line: its figures, what stands beside it, and how results are kept between measurements.

`docs/results.md` is written from `docs/results.json` beside it, so that one line can be measured again
without the others. Numbers and plots of numbers only: no capture of the data gets into the documents.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from weft.errors import RunError
from weft_training.calibrate_shares import known_rows
from weft_training.coverage import interval_figures
from weft_training.leaderboard_lines import Comparison, Figure, Line, Measured, Result, Rival, Table
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


def write_results(
    out: Path,
    lines: Sequence[Line],
    measured: Sequence[tuple[Line, Result, Measured]],
) -> None:
    """Put measured lines into `out` (Markdown), its JSON beside it and its plots in `images`; others stay."""
    from weft_training.leaderboard_page import render_page
    from weft_training.result_plots import draw

    out.parent.mkdir(parents=True, exist_ok=True)
    stored = read_results(out, lines)
    images = out.parent / "images"
    for line, result, found in measured:
        stored[line.name] = result
        images.mkdir(exist_ok=True)
        for old in images.glob(f"result-{line.name}.*png"):
            old.unlink()
        for name, png in draw(line, result, found).items():
            (images / f"result-{line.name}.{name}.png").write_bytes(png)
    ordered = {line.name: asdict(stored[line.name]) for line in lines if line.name in stored}
    out.with_suffix(".json").write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    drawn = {
        line.name: sorted(path.name for path in images.glob(f"result-{line.name}.*.png")) for line in lines
    }
    out.write_text(render_page(lines, stored, drawn), encoding="utf-8")


def as_json_text(results: Sequence[Result]) -> str:
    """Measured lines as JSON, by name."""
    return json.dumps({result.line: asdict(result) for result in results}, indent=1)


def read_results(out: Path, lines: Sequence[Line]) -> dict[str, Result]:
    """What was measured before, by line; results of an older form, or without a promised figure, are gone."""
    path = out.with_suffix(".json")
    if not path.is_file():
        return {}
    plain: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    found: dict[str, Result] = {}
    for line in lines:
        item = plain.get(line.name)
        promised = {figure.key for figure in line.figures if figure.target is not None}
        if item is None or "tables" not in item or not promised <= set(item["figures"]):
            continue
        found[line.name] = _read(item)
    return found


def _read(item: Mapping[str, Any]) -> Result:
    comparisons = tuple(
        Comparison(**one | {name: _pairs(one[name]) for name in ("intervals", "differences")})
        for one in item["comparisons"]
    )
    tables = tuple(
        Table(**one | {"head": tuple(one["head"]), "rows": tuple(tuple(row) for row in one["rows"])})
        for one in item["tables"]
    )
    return Result(**dict(item) | {"intervals": _pairs(item["intervals"]), "comparisons": comparisons,
                                  "tables": tables})  # fmt: skip


def _pairs(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(values) for key, values in stored.items()}


def _found(line: Line, predictions: pd.DataFrame, key: str) -> dict[str, float]:
    try:
        return figure_of(predictions, key)
    except KeyError as error:
        raise RunError(f"{line.name}: the predictions carry no {key}; look at the run's manifest") from error


def _is_of_intervals(figure: Figure) -> bool:
    return figure.key.split(".")[1:2] != [] and figure.key.split(".")[1] in _OF_INTERVALS
