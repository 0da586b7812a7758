"""Figures drawn from predictions, as PNG bytes. Numbers only; pictures of worst cases are in `worst`.

Drawn on matplotlib's objects, never through pyplot: no global state, no display, safe in a training process.
"""

import io
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import binom

from weft.card import Task
from weft_training.calibrate_shares import known_rows
from weft_training.coverage import judge_coverage, nested_intervals
from weft_training.metrics import auroc, confusion, fibres_of, per_subject, with_interval

INK: Final = "#22313f"
BLUE: Final = "#2b6f9e"
ORANGE: Final = "#c8692b"
GREY: Final = "#9aa5ad"
LEVELS: Final = (0.5, 0.6, 0.7, 0.8, 0.9)  # higher ones need more subjects than most sets have
MOST_POINTS: Final = 3000  # more only blacken the figure
MODES: Final = {"one": "one photo", "all": "all photos of a subject"}


def figures_of(
    predictions: pd.DataFrame, task: Task, *, coverage: float, simulated: bool, only: str | None = None
) -> dict[str, bytes]:
    """Every figure that the rows allow (or the one called `only`), by name, as PNG.

    Weight rows may carry `low_grams`, `high_grams`; else, with `q_low_grams` and folds, intervals are
    calibrated across folds. Simulated results say so in every title.
    """
    builders: dict[str, Callable[[], Figure | None]]
    if task == "weight":
        if "low_grams" not in predictions and {"q_low_grams", "fold"} <= set(predictions.columns):
            nested = nested_intervals(predictions, coverage)
            predictions = predictions if nested is None else nested
        builders = {
            "predicted-against-true": lambda: predicted_against_true(predictions, coverage=coverage),
            "error-by-mass": lambda: error_by_mass(predictions),
            "reliability": lambda: reliability(predictions, coverage=coverage),
        }
    else:
        builders = {
            "confusion": lambda: confusion_of(predictions),
            "mae-by-fibre": lambda: mae_by_fibre(predictions),
            "shares-against-truth": lambda: shares_against_truth(predictions),
            "unknown": lambda: unknown_scores(predictions),
        }
    figures = {name: build() for name, build in builders.items() if only in (None, name)}
    return {name: png(figure, simulated=simulated) for name, figure in figures.items() if figure is not None}


def png(figure: Figure, *, simulated: bool = False) -> bytes:
    """The figure as PNG, its title marked where the data were simulated."""
    if simulated:
        title = figure.get_suptitle()
        figure.suptitle(f"{title} (simulated data)", fontsize=12, color=INK)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def canvas(
    title: str, columns: int = 1, *, width: float = 5.2, height: float = 4.6
) -> tuple[Figure, list[Axes]]:
    """An empty figure with one row of panels."""
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    figure.suptitle(title, fontsize=12, color=INK)
    panels = [figure.add_subplot(1, columns, number + 1) for number in range(columns)]
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(colors=INK, labelsize=9)
    return figure, panels


def predicted_against_true(predictions: pd.DataFrame, *, coverage: float) -> Figure:
    """Grams on log axes with intervals where there are any; the dashed lines are half and twice the truth."""
    modes = _modes(predictions)
    title = "Predicted against true mass"
    if "low_grams" in predictions:
        title += f", with {coverage:.0%} intervals"
    figure, panels = canvas(title, len(modes))
    ends = np.array([predictions["grams"].min() / 1.5, predictions["grams"].max() * 1.5])
    for panel, (mode, rows) in zip(panels, modes.items(), strict=True):
        rows = _thinned(rows)
        if "low_grams" in rows:
            held = rows["grams"].between(rows["low_grams"], rows["high_grams"])
            for here, colour, word in (
                (held, BLUE, "interval holds the truth"),
                (~held, ORANGE, "misses it"),
            ):
                panel.vlines(
                    rows.loc[here, "grams"],
                    rows.loc[here, "low_grams"],
                    rows.loc[here, "high_grams"],
                    color=colour,
                    alpha=min(0.6, 30 / max(len(rows), 1) + 0.1),
                    linewidth=1,
                    label=word,
                )
            for handle in panel.legend(fontsize=8, frameon=False, loc="upper left").legend_handles:
                if handle is not None:
                    handle.set_alpha(1)
        panel.plot(rows["grams"], rows["predicted_grams"], ".", color=INK, markersize=3, alpha=0.6)
        for factor, style in ((1, "-"), (0.5, "--"), (2, "--")):
            panel.plot(ends, ends * factor, style, color=GREY, linewidth=1, zorder=0)
        _grams_axis(panel, "x", ends)
        _grams_axis(panel, "y", ends)
        panel.set_xlabel("true grams", fontsize=9)
        panel.set_ylabel("predicted grams", fontsize=9)
        panel.set_title(_counted(mode, rows), fontsize=10, color=INK)
    return figure


def error_by_mass(predictions: pd.DataFrame) -> Figure:
    """Signed relative error over true mass, with the median and middle half in bins of equal count."""
    modes = _modes(predictions)
    figure, panels = canvas("Error by mass", len(modes), height=4.0)
    for panel, (mode, rows) in zip(panels, modes.items(), strict=True):
        error = np.log2((rows["predicted_grams"] / rows["grams"]).to_numpy(np.float64))
        truth = rows["grams"].to_numpy(np.float64)
        shown = _thinned(rows.assign(error=error))
        panel.plot(shown["grams"], shown["error"], ".", color=GREY, markersize=3, alpha=0.6)
        bins = np.array_split(np.argsort(truth, kind="stable"), int(np.clip(len(truth) // 12, 1, 8)))
        centre = [np.median(truth[part]) for part in bins]
        quartiles = np.array([np.quantile(error[part], (0.25, 0.5, 0.75)) for part in bins])
        panel.fill_between(centre, quartiles[:, 0], quartiles[:, 2], color=BLUE, alpha=0.25, linewidth=0)
        panel.plot(centre, quartiles[:, 1], "o-", color=BLUE, markersize=4, label="median, middle half")
        panel.axhline(0, color=INK, linewidth=1)
        _grams_axis(panel, "x", np.array([truth.min() / 1.2, truth.max() * 1.2]))
        top = max(1.1, float(np.abs(error).max()) * 1.1)
        panel.set_ylim(-top, top)
        ticks = [tick for tick in (-3, -2, -1, -0.5, 0, 0.5, 1, 2, 3) if abs(tick) <= top]
        panel.set_yticks(ticks, [f"x{2.0**tick:.3g}" for tick in ticks])
        panel.set_xlabel("true grams", fontsize=9)
        panel.set_ylabel("predicted / true", fontsize=9)
        panel.set_title(_counted(mode, rows), fontsize=10, color=INK)
        panel.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def reliability(predictions: pd.DataFrame, *, coverage: float) -> Figure | None:
    """Coverage by nominal level (where quantiles and folds are there) and by band of the predicted mass."""
    by_level = {"q_low_grams", "fold"} <= set(predictions.columns) and bool(
        judge_coverage(predictions, coverage)
    )
    if "low_grams" not in predictions and not by_level:
        return None
    figure, panels = canvas(
        "Reliability of intervals", int(by_level) + int("low_grams" in predictions), height=4.2
    )
    if by_level:
        _by_level(panels[0], predictions)
    if "low_grams" in predictions:
        _by_band(panels[-1], predictions, coverage)
    return figure


def _by_level(panel: Axes, predictions: pd.DataFrame) -> None:
    panel.plot([0.4, 1], [0.4, 1], color=GREY, linewidth=1)
    verdicts = [judge_coverage(predictions, level) for level in LEVELS]
    for (mode, word), colour in zip(MODES.items(), (BLUE, ORANGE), strict=True):
        found = [verdict[mode] for verdict in verdicts if mode in verdict]
        if found:
            nominal = [verdict.nominal for verdict in found]
            lows, highs = [v.band_low for v in found], [v.band_high for v in found]
            panel.fill_between(nominal, lows, highs, color=GREY, alpha=0.2, linewidth=0)
            panel.plot(nominal, [verdict.coverage for verdict in found], "o-", color=colour, label=word)
    panel.set_xlim(0.45, 1)
    panel.set_ylim(0.35, 1.02)
    panel.set_xlabel("nominal coverage", fontsize=9)
    panel.set_ylabel("measured, on other folds' calibration", fontsize=9)
    panel.set_title("by level; grey: 95 % binomial band", fontsize=10, color=INK)
    panel.legend(fontsize=8, frameon=False, loc="upper left")


def _by_band(panel: Axes, predictions: pd.DataFrame, coverage: float) -> None:
    modes = _modes(predictions.dropna(subset=["low_grams"]))
    width = 0.8 / max(len(modes), 1)
    centres = predictions.groupby("subject")["predicted_grams"].median()
    count = int(np.clip(len(centres) // 15, 1, 3))
    edges = np.quantile(centres, np.arange(1, count) / count)
    for number, ((mode, rows), colour) in enumerate(zip(modes.items(), (BLUE, ORANGE), strict=False)):
        band = np.searchsorted(edges, rows["predicted_grams"], side="right")
        held = rows["grams"].between(rows["low_grams"], rows["high_grams"])
        for here in range(count):
            part = held[band == here].groupby(rows.loc[band == here, "subject"]).mean()
            if len(part):
                low, high = (end / len(part) for end in binom.interval(0.95, len(part), coverage))
                at = here + (number - (len(modes) - 1) / 2) * width
                panel.bar(
                    at, part.mean(), width * 0.9, color=colour, alpha=0.8, label=mode if here == 0 else None
                )
                panel.vlines(at, low, high, color=INK, linewidth=1.5)
    panel.axhline(coverage, color=INK, linewidth=1, linestyle="--")
    names = ["", *[f"{edge:.3g}" for edge in edges], ""]
    labels = [
        f"{low} - {high}" if low and high else f"from {low}" if low else f"under {high}"
        for low, high in pairwise(names)
    ]
    panel.set_xticks(range(count), labels if count > 1 else ["all"], fontsize=8)
    panel.set_ylim(0, 1.02)
    panel.set_xlabel("predicted grams", fontsize=9)
    panel.set_ylabel("share of truths inside", fontsize=9)
    panel.set_title("by predicted mass; line: 95 % binomial band", fontsize=10, color=INK)
    panel.legend(fontsize=8, framealpha=0.9, edgecolor="none", loc="lower left")


def confusion_of(predictions: pd.DataFrame) -> Figure | None:
    """Main fibre, true against predicted, per scan and per subject."""
    known, fibres = known_rows(predictions), fibres_of(predictions)
    if known.empty or not fibres:
        return None
    figure, panels = canvas(
        "Main fibre", 2, width=max(4.4, 0.55 * len(fibres) + 2.4), height=max(4.2, 0.4 * len(fibres) + 2)
    )
    for panel, (word, rows) in zip(panels, (("scans", known), ("subjects", per_subject(known))), strict=True):
        truth = rows[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64).argmax(1)
        guess = rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy(np.float64).argmax(1)
        classes, table = confusion(truth, guess, np.ones(len(truth)))
        names = [fibres[int(number)] for number in classes]
        share = table / np.maximum(table.sum(1, keepdims=True), 1)
        panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.argwhere(table > 0):
            colour = "white" if share[row, column] > 0.6 else INK
            panel.text(
                column, row, f"{table[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8
            )
        panel.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        panel.set_yticks(range(len(names)), names, fontsize=8)
        panel.set_xlabel("predicted", fontsize=9)
        panel.set_ylabel("true", fontsize=9)
        panel.set_title(f"{len(rows)} {word}", fontsize=10, color=INK)
    return figure


def mae_by_fibre(predictions: pd.DataFrame) -> Figure | None:
    """Mean error of each share in points, with its bootstrap interval over subjects."""
    known, fibres = known_rows(predictions), fibres_of(predictions)
    if known.empty or not fibres:
        return None
    figure, (panel,) = canvas(
        "Mean error of each share", width=6.4, height=max(2.6, 0.35 * len(fibres) + 1.4)
    )
    subjects = known["subject"].to_numpy()
    for place, fibre in enumerate(fibres):
        gap = 100 * (known[f"predicted_{fibre}_share"] - known[f"{fibre}_share"]).abs().to_numpy(np.float64)
        found = with_interval("mae", lambda w, g=gap: float(np.average(g, weights=w)), subjects, 300)
        panel.barh(place, found["mae"], color=BLUE, alpha=0.85)
        panel.hlines(
            place, found.get("mae_ci_low", found["mae"]), found.get("mae_ci_high", found["mae"]), color=INK
        )
    panel.set_yticks(range(len(fibres)), list(fibres), fontsize=9)
    panel.invert_yaxis()
    panel.set_xlabel("percentage points; line: 95 % bootstrap over subjects", fontsize=9)
    return figure


def shares_against_truth(predictions: pd.DataFrame) -> Figure | None:
    """Predicted against true share of the (at most four) commonest fibres."""
    known, fibres = known_rows(predictions), fibres_of(predictions)
    if known.empty or not fibres:
        return None
    common = sorted(fibres, key=lambda fibre: -known[f"{fibre}_share"].sum())[:4]
    figure, panels = canvas("Predicted against true share", len(common), width=3.4, height=3.6)
    for panel, fibre in zip(panels, common, strict=True):
        rows = _thinned(known)
        panel.plot([0, 100], [0, 100], color=GREY, linewidth=1)
        # Labels pile up on 0 and 100: a little sideways spread shows how many there are.
        aside = np.random.default_rng(0).uniform(-1.2, 1.2, len(rows))
        truth, predicted = (100 * rows[f"{start}{fibre}_share"] for start in ("", "predicted_"))
        panel.plot(truth + aside, predicted, ".", color=BLUE, markersize=3, alpha=0.5)
        panel.set_xlim(-4, 104)
        panel.set_ylim(-4, 104)
        panel.set_xlabel("true %", fontsize=9)
        panel.set_title(fibre, fontsize=10, color=INK)
    panels[0].set_ylabel("predicted %", fontsize=9)
    return figure


def unknown_scores(predictions: pd.DataFrame) -> Figure | None:
    """How `unknown` is distributed over textiles and over what is none; None without both kinds."""
    if not {"unknown_truth", "predicted_unknown"} <= set(predictions.columns):
        return None
    strange = predictions["unknown_truth"].to_numpy(np.float64) >= 0.5
    score = predictions["predicted_unknown"].to_numpy(np.float64)
    if strange.all() or not strange.any():
        return None
    area = auroc(strange, score, np.ones(len(score)))
    figure, (panel,) = canvas(f"How well unknowns are told apart: AUROC {area:.3f}", width=6.4, height=3.6)
    for here, colour, word in ((~strange, BLUE, "known fibres"), (strange, ORANGE, "unknown")):
        weights = np.full(int(here.sum()), 1 / here.sum())
        panel.hist(score[here], bins=np.linspace(0, 1, 26), weights=weights, color=colour, alpha=0.6,
                   label=f"{word} ({int(here.sum())})")  # fmt: skip
    panel.set_xlabel("predicted unknown", fontsize=9)
    panel.set_ylabel("share of scans", fontsize=9)
    panel.legend(fontsize=8, frameon=False)
    return figure


def _modes(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    found = {word: predictions[predictions["mode"] == mode] for mode, word in MODES.items()}
    return {word: rows for word, rows in found.items() if len(rows)}


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    return rows if len(rows) <= MOST_POINTS else rows.sample(MOST_POINTS, random_state=0)


def _counted(mode: str, rows: pd.DataFrame) -> str:
    return f"{mode}: {rows['subject'].nunique()} subjects, {len(rows)} estimates"


def _grams_axis(panel: Axes, which: str, ends: NDArray[Any] | Sequence[float]) -> None:
    low, high = float(ends[0]), float(ends[1])
    steps = (1, 2, 5) if high / low < 200 else (1,)
    ticks = [step * 10.0**power for power in range(-1, 6) for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) < 3:
        ticks = [float(f"{value:.2g}") for value in np.geomspace(low, high, 5)]
    axis = panel.xaxis if which == "x" else panel.yaxis
    (panel.set_xscale if which == "x" else panel.set_yscale)("log")
    (panel.set_xlim if which == "x" else panel.set_ylim)(low, high)
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
