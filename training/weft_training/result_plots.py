"""Pictures of a measured line: its figure among the simple models, the detail, the curve over photos."""

from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from weft_training.coverage_plots import by_group
from weft_training.leaderboard_lines import Line, Measured, Result
from weft_training.metrics import COVERAGE, mean_of, with_interval
from weft_training.plots import BLUE, GREY, INK, ORANGE, canvas, figures_of, png
from weft_training.result_tables import curve_of


def draw(line: Line, result: Result, measured: Measured) -> dict[str, bytes]:
    """Name -> PNG; a picture that the predictions do not allow is left out."""
    predictions = measured.predictions
    task: Literal["weight", "composition"] = "weight" if "mode" in predictions else "composition"
    found: dict[str, bytes] = {}
    if result.comparisons:
        found["beside"] = png(beside(line, result), simulated=line.simulated)
    if line.plot:
        detail = figures_of(predictions, task, coverage=COVERAGE, simulated=line.simulated, only=line.plot)
        if line.plot in detail:
            found["detail"] = detail[line.plot]
    if "photos" in line.tables:
        curve = curve_of(predictions)
        if curve.shape[1] > 1:
            found["photos"] = png(by_photos(curve), simulated=line.simulated)
    if "intervals" in line.tables and "low_grams" in predictions:
        found["groups"] = png(by_group(predictions, COVERAGE), simulated=line.simulated)
    return found | measured.pictures


def beside(line: Line, result: Result) -> Figure:
    """The line's first figure with those of simple models and oracles, 95 % intervals and the target."""
    first = line.figures[0]
    key = first.key
    rows = [("Weft", result.figures[key], result.intervals.get(key), BLUE, "o")]
    for one in sorted(result.comparisons, key=lambda one: one.oracle):
        shape = "D" if one.oracle else "s"
        rows.append(
            (one.words, one.figures[key], one.intervals.get(key), ORANGE if one.oracle else INK, shape)
        )
    figure, (panel,) = canvas(line.task[0].upper() + line.task[1:], width=7.2, height=1.3 + 0.36 * len(rows))
    for place, (_, value, ends, colour, shape) in enumerate(rows):
        if ends is not None:
            panel.hlines(place, *ends, color=colour, linewidth=2)
        panel.plot(value, place, shape, color=colour, markersize=7)
    if first.target is not None:
        panel.axvline(first.target, color=GREY, linestyle="--", linewidth=1.2)
        panel.annotate(
            f" target {first.target:g}", (first.target, -0.62), color=INK, fontsize=8, annotation_clip=False
        )
    panel.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=9)
    panel.set_ylim(len(rows) - 0.5, -0.7)
    panel.grid(axis="x", color=GREY, alpha=0.3, linewidth=0.5)
    unit = f", {first.unit}" if first.unit else ""
    better = "less is better" if first.sense == "at most" else "more is better"
    # Below the whole figure: the names at the left leave the panel too little room.
    figure.supxlabel(
        f"{first.words}{unit}; {better}; bars: 95 % bootstrap over {result.subjects} subjects",
        fontsize=9,
        color=INK,
    )
    return figure


def by_photos(curve: pd.DataFrame) -> Figure:
    """Error by the number of photos asked about together, with its bootstrap band over subjects.

    Args:
        curve: Of `curve_of`.
    """
    counts = [int(count) for count in curve.columns]
    found = [
        with_interval("alde", mean_of(curve[count].to_numpy(np.float64)), curve.index.to_numpy(), 500)
        for count in counts
    ]
    figure, (panel,) = canvas("Error by number of photos", width=6.0, height=3.6)
    values = [one["alde"] for one in found]
    lows, highs = ([one.get(f"alde_ci_{end}", one["alde"]) for one in found] for end in ("low", "high"))
    panel.fill_between(counts, lows, highs, color=BLUE, alpha=0.2, linewidth=0, label="95 % over subjects")
    panel.plot(counts, values, "o-", color=BLUE, label=f"{len(curve)} subjects, random sets, any order")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.set_ylim(0, max(highs) * 1.15)
    panel.set_xlabel("photos of one subject asked about together", fontsize=9)
    panel.set_ylabel("ALDE, mean |ln(predicted / true)|", fontsize=9)
    panel.grid(axis="y", color=GREY, alpha=0.3, linewidth=0.5)
    panel.legend(fontsize=8, frameon=False, loc="lower left")
    return figure
