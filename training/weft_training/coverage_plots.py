"""Coverage of intervals by group of their calibration, drawn. Numbers only."""

import pandas as pd
from matplotlib.figure import Figure

from weft.cells import words_of_cell
from weft_training.calibrate import TABLES_ONLY
from weft_training.coverage import CoverageVerdict, judge_cells, judge_thirds
from weft_training.plots import BLUE, GREY, INK, ORANGE, canvas

_WORDS = {"low_third": "lightest third", "mid_third": "middle third", "top_third": "heaviest third"}
_MODES = {"one": "one photo", "all": "all photos"}


def verdicts_by_group(nested: pd.DataFrame, coverage: float) -> dict[str, CoverageVerdict]:
    """By mark and number of photos, then by third of the predicted mass; in the order they are shown in.

    Args:
        nested: Rows with `low_grams` and `high_grams` that were calibrated on other folds.
    """
    rows = nested[~nested["mode"].isin(TABLES_ONLY)]
    found = {words_of_cell(name): verdict for name, verdict in judge_cells(rows, coverage).items()}
    for mode, thirds in judge_thirds(rows[rows["mode"].isin(list(_MODES))], coverage).items():
        found |= {f"{_MODES[mode]}, {_WORDS[third]}": verdict for third, verdict in thirds.items()}
    return found


def by_group(nested: pd.DataFrame, coverage: float) -> Figure:
    """Measured coverage of every group in its 95 % binomial band; arguments of `verdicts_by_group`."""
    verdicts = verdicts_by_group(nested, coverage)
    title = f"Coverage of {coverage:.0%} intervals by group"
    figure, (panel,) = canvas(title, width=7.4, height=1.4 + 0.3 * len(verdicts))
    for place, verdict in enumerate(verdicts.values()):
        panel.hlines(place, verdict.band_low, verdict.band_high, color=GREY, linewidth=7, alpha=0.5)
        colour = ORANGE if verdict.inside is False else BLUE
        panel.plot(verdict.coverage, place, "o", color=colour, markersize=6)
        panel.annotate(
            f"{verdict.subjects} subjects, x{verdict.width_ratio:.2f}", (1.012, place), va="center",
            xycoords=("axes fraction", "data"), color=INK, fontsize=8, annotation_clip=False,
        )  # fmt: skip
    panel.axvline(coverage, color=INK, linestyle="--", linewidth=1)
    panel.set_yticks(range(len(verdicts)), list(verdicts), fontsize=9)
    panel.set_ylim(len(verdicts) - 0.5, -0.5)
    panel.set_xlim(min(0.7, *(verdict.coverage - 0.02 for verdict in verdicts.values())), 1.0)
    figure.supxlabel(
        "subjects whose truth the interval holds; grey: 95 % binomial band; x: upper / lower end, median",
        fontsize=9, color=INK,
    )  # fmt: skip
    return figure
