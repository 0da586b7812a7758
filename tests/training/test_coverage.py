"""Intervals must cover what they promise, judged on subjects that they have not seen."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from weft_training.coverage import (
    THIRDS,
    interval_figures,
    judge_cells,
    judge_coverage,
    judge_thirds,
    nested_intervals,
)
from weft_training.coverage_plots import by_group, verdicts_by_group

Maker = Callable[..., pd.DataFrame]


def test_the_reported_coverage_comes_from_folds_that_the_calibration_did_not_see(made_weights: Maker) -> None:
    frame = made_weights(100)
    spoilt = frame.assign(
        predicted_grams=np.where(frame["fold"] == 0, frame["grams"] * 40, frame.predicted_grams)
    )
    spoilt = spoilt.assign(
        q_low_grams=spoilt.predicted_grams * 0.9, q_high_grams=spoilt.predicted_grams * 1.1
    )

    verdict = judge_coverage(spoilt, 0.9)["one"]

    assert verdict.coverage < 0.8  # none of fold 0 is covered by what the other folds allow
    assert not verdict.inside


def test_an_honest_model_is_inside_the_binomial_band(made_weights: Maker) -> None:
    verdicts = judge_coverage(made_weights(120, seed=4), 0.9)

    assert verdicts["one"].subjects == 120
    assert verdicts["one"].inside
    assert verdicts["all"].inside
    assert (verdicts["one"].band_low, verdicts["one"].band_high) == (101 / 120, 114 / 120)


def test_nested_intervals_keep_the_rows_in_their_order(made_weights: Maker) -> None:
    frame = made_weights(60).sample(frac=1, random_state=0)

    nested = nested_intervals(frame, 0.9)

    assert nested is not None
    assert nested["capture"].tolist() == frame["capture"].tolist()


def test_under_nine_subjects_in_the_other_folds_nothing_is_judged(made_weights: Maker) -> None:
    assert judge_coverage(made_weights(10), 0.9) == {}


def test_under_twenty_subjects_the_coverage_is_told_and_not_judged(made_weights: Maker) -> None:
    frame = made_weights(16)
    nested = nested_intervals(frame, 0.9)
    assert nested is not None

    figures = interval_figures(nested, 0.9)

    assert judge_coverage(frame, 0.9)["one"].inside is None
    assert "one.coverage" in figures
    assert not [name for name in figures if "band" in name]


def test_thirds_of_the_predicted_mass_are_judged_each_with_its_own_band(made_weights: Maker) -> None:
    frame = made_weights(120).query("mode == 'all'")  # one estimate a subject
    low, high = (frame["predicted_grams"] * factor for factor in (0.7, 1.4))
    heavy = frame["predicted_grams"] > frame["predicted_grams"].quantile(2 / 3)
    nothing = low.where(~heavy, frame["predicted_grams"])
    intervals = frame.assign(low_grams=nothing, high_grams=high.where(~heavy, nothing))  # none for the heavy

    thirds = judge_thirds(intervals, 0.9)["all"]

    assert [thirds[name].subjects for name in THIRDS] == [40, 40, 40]
    assert thirds["low_third"].coverage > 0.8
    assert thirds["top_third"].coverage == 0
    assert thirds["top_third"].inside is False
    assert thirds["top_third"].band_low == 32 / 40


def test_every_group_is_judged_by_its_mark_and_number_of_photos(made_weights: Maker) -> None:
    nested = nested_intervals(made_weights(80, photos=9, few=True), 0.9)
    assert nested is not None

    cells = judge_cells(nested, 0.9)

    assert set(cells) == {f"{mark}.{n}" for mark in ("marked", "unmarked") for n in ("1", "2", "3-4", "5-up")}
    assert all(verdict.subjects == 80 for verdict in cells.values())
    assert cells["marked.5-up"].width_ratio < cells["marked.2"].width_ratio < cells["marked.1"].width_ratio


def test_the_figures_name_mode_third_and_group(made_weights: Maker) -> None:
    nested = nested_intervals(made_weights(80, photos=9, few=True), 0.9)
    assert nested is not None

    figures = interval_figures(nested, 0.9)

    for name in ("one.coverage", "all.coverage.top_third", "group.marked.3-4.coverage"):
        assert figures[name + "_band_low"] < figures[name] < figures[name + "_band_high"] + 0.06
        assert figures[name.replace("coverage", "width_ratio")] > 1


def test_the_groups_are_drawn_with_their_bands(made_weights: Maker) -> None:
    nested = nested_intervals(made_weights(60, photos=6, few=True), 0.9)
    assert nested is not None

    verdicts = verdicts_by_group(nested, 0.9)
    figure = by_group(nested, 0.9)

    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(verdicts)
    assert list(verdicts)[:2] == ["one photo, no mark", "2 photos, no mark"]
    assert {"5 and more photos, mark", "all photos, heaviest third"} <= set(verdicts)
