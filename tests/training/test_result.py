"""A result says what was measured beside what, and says so when a target was missed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weft.errors import RunError
from weft_training.coverage import nested_intervals
from weft_training.leaderboard import LINES, find_lines
from weft_training.leaderboard_lines import Measured, Result, Rival
from weft_training.leaderboard_page import said
from weft_training.result import compare, result_of, strongest
from weft_training.result_files import as_json_text, read_results, write_results

FOOD_ONE, FOOD_ALL, FOOD_INTERVALS = find_lines(["food-one", "food-all", "food-intervals"])


def food(error: float, *, subjects: int = 60, seed: int = 0) -> pd.DataFrame:
    """Predictions of made foods; the things are the same for every seed, what is said of them is not."""
    things, generator = np.random.default_rng(0), np.random.default_rng(seed)
    rows = []
    for number in range(subjects):
        grams = float(np.exp(things.normal(5, 0.6)))
        for mode, photos in (("one", 1), ("one", 1), ("all", 2)):
            guess = grams * np.exp(generator.normal(0, error))
            rows.append((f"s{number}", number % 5, grams, guess, guess * 0.8, guess * 1.2, photos, mode))
    names = ["subject", "fold", "grams", "predicted_grams", "q_low_grams", "q_high_grams", "n_photos", "mode"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(capture=[f"c{number}" for number in range(len(frame))], marked=True)


def write(out: Path, frame: pd.DataFrame, *lines: object, beside: pd.DataFrame | None = None) -> None:
    found = []
    for line in lines:
        others = [] if beside is None else [compare(line, rival, frame, beside) for rival in line.rivals]
        found.append((line, result_of(line, frame, "f", comparisons=others), Measured(frame, "f")))
    write_results(out, LINES, found)


def test_a_line_that_reaches_its_targets_says_so_and_one_that_misses_one_too() -> None:
    good, bad = result_of(FOOD_ONE, food(0.1), "f"), result_of(FOOD_ONE, food(0.9), "f")

    assert good.reached is True
    assert bad.reached is False
    assert good.figures["one.alde"] < 0.18 < bad.figures["one.alde"]
    assert good.figures["one.within_x2"] == 100
    low, high = good.intervals["one.alde"]
    assert low < good.figures["one.alde"] < high
    assert (good.subjects, good.captures) == (60, 120)
    assert ": reached" in said(FOOD_ONE, good)
    assert ": MISSED" in said(FOOD_ONE, bad)


def test_intervals_are_held_against_their_band_in_all_and_in_every_third() -> None:
    frame = nested_intervals(food(0.1, subjects=120), 0.9)
    assert frame is not None
    result = result_of(FOOD_INTERVALS, frame, "f")

    coverages = {key: value for key, value in result.figures.items() if ".coverage" in key}
    assert len(coverages) == 8
    assert set(coverages) == set(result.intervals)
    assert result.reached is all(
        result.intervals[key][0] - 1e-9 <= value <= result.intervals[key][1] + 1e-9
        for key, value in coverages.items()
    )
    # Upper ends brought down to the prediction: half of the truths lie above.
    short = frame.assign(high_grams=frame["predicted_grams"])
    assert result_of(FOOD_INTERVALS, short, "f").reached is False


def test_intervals_that_fail_in_one_third_miss_however_well_they_do_in_all() -> None:
    frame = nested_intervals(food(0.1, subjects=120), 0.9)
    assert frame is not None
    heaviest = frame["predicted_grams"] > frame["predicted_grams"].quantile(0.8)
    broken = frame.assign(low_grams=frame["low_grams"].where(~heaviest, frame["predicted_grams"]))

    figures = result_of(FOOD_INTERVALS, broken, "f").figures

    assert figures["one.coverage.top_third"] < 0.8 < figures["one.coverage.low_third"]
    assert result_of(FOOD_INTERVALS, broken, "f").reached is False


def test_a_comparison_holds_both_models_against_the_same_subjects() -> None:
    ours, theirs = food(0.1), food(0.3, seed=1)

    found = compare(FOOD_ONE, FOOD_ONE.rivals[1], ours, theirs)

    value, low, high = found.differences["one.alde"]
    ratio = result_of(FOOD_ONE, ours, "f").figures["one.alde"] / found.figures["one.alde"]
    assert value == pytest.approx(100 * (ratio - 1))
    assert low < value < high < 0
    points = found.differences["one.within_x2"]  # an accuracy: in points, not in percent of theirs
    assert points[0] == pytest.approx(100 - found.figures["one.within_x2"])
    assert "one.coverage" not in found.figures


def test_an_oracle_is_shown_but_never_the_strongest_simple_model() -> None:
    ours = food(0.1)
    others = [
        compare(FOOD_ONE, Rival("median", "median"), ours, food(0.6, seed=1)),
        compare(FOOD_ONE, Rival("ridge", "ridge"), ours, food(0.3, seed=2)),
        compare(FOOD_ONE, Rival("told", "told", oracle=True), ours, food(0.01, seed=3)),
    ]

    best = strongest(FOOD_ONE, result_of(FOOD_ONE, ours, "f", comparisons=others))

    assert best is not None
    assert best.name == "ridge"


def test_a_line_without_a_promise_is_neither_reached_nor_missed() -> None:
    bundled = find_lines(["bundled-fibre-on-nirscan"])[0]
    swatches = [f"s{number}" for number in range(6)]
    frame = pd.DataFrame({"subject": swatches, "cotton_share": [1.0, 0.0] * 3, "wool_share": [0.0, 1.0] * 3})
    frame = frame.assign(
        predicted_cotton_share=frame["cotton_share"], predicted_wool_share=frame["wool_share"]
    )

    result = result_of(bundled, frame.assign(capture="c", fold=0), "f")

    promised = [figure for figure in bundled.figures if figure.target is not None]
    assert result.reached is (True if promised else None)
    assert result.figures["subject.balanced_accuracy"] == 100


def test_predictions_that_lack_a_promised_figure_are_refused() -> None:
    frame = food(0.1)

    with pytest.raises(RunError, match=r"food-all: the predictions carry no all\.alde"):
        result_of(FOOD_ALL, frame[frame["mode"] == "one"], "f")


def test_the_page_shows_missed_figures_as_missed_and_the_command_to_measure_again(tmp_path: Path) -> None:
    write(tmp_path / "results.md", food(0.9), FOOD_ONE, beside=food(0.3, seed=1))

    page = (tmp_path / "results.md").read_text()
    row = next(
        line for line in page.splitlines() if line.startswith("| [weighed food, one photo](#food-one)")
    )
    assert "**missed**" in row
    assert "| 60 |" in row
    assert "`weft leaderboard food-one`" in page
    assert "frozen MobileNetV2 + ridge on ln g" in page
    assert "| worse |" in page
    assert page.count("not measured yet") == len(LINES) - 1
    for name in ("beside", "detail"):
        assert f"images/result-food-one.{name}.png" in page
        drawn = tmp_path / "images" / f"result-food-one.{name}.png"
        assert drawn.read_bytes().startswith(b"\x89PNG")


def test_one_line_is_measured_again_without_touching_the_others(tmp_path: Path) -> None:
    out = tmp_path / "results.md"
    write(out, food(0.9), FOOD_ONE, FOOD_ALL, beside=food(0.3, seed=1))
    before = read_results(out, LINES)

    write(out, food(0.05), FOOD_ONE)

    after = read_results(out, LINES)
    assert after["food-all"] == before["food-all"]
    assert after["food-one"].figures["one.alde"] < before["food-one"].figures["one.alde"]
    assert after["food-one"].comparisons == ()
    assert not (tmp_path / "images" / "result-food-one.beside.png").exists()  # of the older measurement


def test_results_of_an_older_form_count_as_not_measured(tmp_path: Path) -> None:
    old = {"food-one": {"line": "food-one", "figures": {"one.alde": 0.18}, "intervals": {}, "subjects": 129}}
    (tmp_path / "results.json").write_text(json.dumps(old))

    assert read_results(tmp_path / "results.md", LINES) == {}
    write_results(tmp_path / "results.md", LINES, [])
    assert (tmp_path / "results.md").read_text().count("not measured yet") == len(LINES)


def test_every_line_has_its_row_in_the_order_of_the_list(tmp_path: Path) -> None:
    write_results(tmp_path / "results.md", LINES, [])

    page = (tmp_path / "results.md").read_text()
    places = [page.index(f"| {line.task} |") for line in LINES]
    assert places == sorted(places)


def test_simulated_lines_say_so_wherever_they_are_shown(tmp_path: Path) -> None:
    parcels = find_lines(["parcels-qr"])[0]
    write(tmp_path / "results.md", food(0.1), parcels)

    page = (tmp_path / "results.md").read_text()
    assert f"[{parcels.task}](#parcels-qr) (simulated)" in page
    assert "**Simulated data.**" in page


def test_measured_lines_are_told_as_json_too() -> None:
    result = result_of(FOOD_ONE, food(0.1), "f")

    told = json.loads(as_json_text([result]))["food-one"]

    assert told["figures"]["one.alde"] == result.figures["one.alde"]
    assert isinstance(result, Result)
