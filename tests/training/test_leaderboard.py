"""The table of results says what was measured, and says so when a target was missed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from weft.errors import RunError
from weft_training.cli import leaderboard as verb
from weft_training.leaderboard import (
    LINES,
    Board,
    find_lines,
    finished_run,
    read_results,
    result_of,
    write_results,
)
from weft_training.recipe import load_recipe
from weft_training.run import create_run

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
FOOD_ONE, FOOD_ALL, FOOD_INTERVALS = LINES[:3]
NIRSCAN = find_lines(["nirscan"])[0]


def food(error: float, *, subjects: int = 60) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = []
    for number in range(subjects):
        grams = float(np.exp(generator.normal(5, 0.6)))
        for mode, photos in (("one", 1), ("one", 1), ("all", 2)):
            said = grams * np.exp(generator.normal(0, error))
            rows.append((f"s{number}", number % 5, grams, said, said * 0.8, said * 1.2, photos, mode))
    names = ["subject", "fold", "grams", "predicted_grams", "q_low_grams", "q_high_grams", "n_photos", "mode"]
    return pd.DataFrame(rows, columns=names).assign(capture="c")


def test_a_line_that_reaches_its_target_says_so_and_one_that_misses_it_too() -> None:
    good, bad = result_of(FOOD_ONE, food(0.1), "f"), result_of(FOOD_ONE, food(0.9), "f")

    assert good.reached is True
    assert bad.reached is False
    assert good.figures["one.alde"] < 0.23 < bad.figures["one.alde"]
    low, high = good.intervals["one.alde"]
    assert low < good.figures["one.alde"] < high
    assert (good.subjects, good.captures) == (60, 120)


def test_intervals_are_held_against_the_binomial_band_of_their_number_of_subjects() -> None:
    result = result_of(FOOD_INTERVALS, food(0.1, subjects=100), "f")

    assert result.intervals["one.coverage"] == (0.84, 0.95)
    assert result.reached is all(0.84 <= value <= 0.95 for value in result.figures.values())
    assert set(result.figures) == {"one.coverage", "all.coverage"}


def test_a_line_without_a_promise_is_neither_reached_nor_missed() -> None:
    bundled = find_lines(["bundled-fibre-on-nirscan"])[0]
    swatches = [f"s{number}" for number in range(6)]
    frame = pd.DataFrame({"subject": swatches, "cotton_share": [1.0, 0.0] * 3, "wool_share": [0.0, 1.0] * 3})
    frame = frame.assign(
        predicted_cotton_share=frame["cotton_share"], predicted_wool_share=frame["wool_share"]
    )

    result = result_of(bundled, frame.assign(capture="c", fold=0), "f")

    assert result.reached is None
    assert result.figures == {"subject.balanced_accuracy": 1}


def test_predictions_that_lack_the_figure_are_refused() -> None:
    frame = food(0.1)

    with pytest.raises(RunError, match=r"food-all: the predictions carry no all\.alde"):
        result_of(FOOD_ALL, frame[frame["mode"] == "one"], "f")


def test_the_page_shows_missed_lines_as_missed_and_the_command_to_measure_again(tmp_path: Path) -> None:
    frame = food(0.9)
    write_results(tmp_path / "results.md", [(FOOD_ONE, result_of(FOOD_ONE, frame, "f"), frame)])

    page = (tmp_path / "results.md").read_text()
    row = next(line for line in page.splitlines() if "`weft leaderboard food-one`" in line)
    assert "**missed**" in row
    assert "| 60 |" in row
    assert "0.624 train median" in row
    assert page.count("not measured yet") == len(LINES) - 1
    assert "images/result-food-one.png" in page
    assert (tmp_path / "images" / "result-food-one.png").read_bytes().startswith(b"\x89PNG")


def test_one_line_is_measured_again_without_touching_the_others(tmp_path: Path) -> None:
    out = tmp_path / "results.md"
    bad, good = food(0.9), food(0.05)
    write_results(out, [(line, result_of(line, bad, "f"), bad) for line in (FOOD_ONE, FOOD_ALL)])
    before = read_results(out)

    write_results(out, [(FOOD_ONE, result_of(FOOD_ONE, good, "f"), good)])

    after = read_results(out)
    assert after["food-all"] == before["food-all"]
    assert after["food-one"].figures["one.alde"] < before["food-one"].figures["one.alde"]


def test_every_line_has_its_row_in_the_order_of_the_list(tmp_path: Path) -> None:
    write_results(tmp_path / "results.md", [])

    page = (tmp_path / "results.md").read_text()
    places = [page.index(f"`weft leaderboard {line.name}`") for line in LINES]
    assert places == sorted(places)


def test_an_unknown_line_is_answered_with_those_there_are() -> None:
    with pytest.raises(RunError, match="no line 'food'; there are food-one, food-all"):
        find_lines(["food"])


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    told = CliRunner().invoke(
        verb,
        ["food-one", "--data", str(tmp_path), "--runs", str(tmp_path), "--out", str(tmp_path / "results.md")],
    )

    assert told.exit_code == 1
    assert "food-one: there is no " in told.output
    assert "--data" in told.output


def test_a_run_of_other_settings_is_not_read_as_the_line(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "configs" / "smoke-fibre.yaml")
    run = create_run(recipe, tmp_path)
    with pytest.raises(RunError, match="1 runs of that name are unfinished"):
        finished_run(tmp_path, recipe)
    run.write_json("metrics.json", {})

    assert finished_run(tmp_path, recipe).folder == run.folder
    other = recipe.model_copy(update={"seed": recipe.seed + 1})
    with pytest.raises(RunError, match="have other settings; leave --from-runs out"):
        finished_run(tmp_path, other)


def test_where_a_run_was_tracked_does_not_make_it_another(tmp_path: Path) -> None:
    recipe = load_recipe(ROOT / "configs" / "smoke-fibre.yaml")
    run = create_run(recipe, tmp_path)
    run.write_json("metrics.json", {})
    moved = recipe.model_copy(update={"track": recipe.track.model_copy(update={"experiment": "another"})})

    assert finished_run(tmp_path, moved).folder == run.folder


def test_lines_of_one_recipe_train_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def train(board: Board, line: object) -> tuple[pd.DataFrame, str]:
        trained.append(str(line))
        return food(0.1), "f"

    monkeypatch.setattr(Board, "_trained", train)
    board = Board(data=tmp_path, configs=tmp_path, runs=tmp_path, say=lambda text: None)

    results = [board.measure(line)[0] for line in (FOOD_ONE, FOOD_ALL, FOOD_INTERVALS)]

    assert len(trained) == 1
    assert [result.line for result in results] == ["food-one", "food-all", "food-intervals"]


def test_the_list_of_lines_is_the_one_that_was_promised() -> None:
    told = CliRunner().invoke(verb, ["--list"])

    assert told.exit_code == 0
    assert "food-one: weighed food, one photo; 5 folds by object" in told.output
    assert "; ALDE at most 0.23" in told.output
    assert "cotton-pet" in told.output


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")
def test_the_nirscan_line_reaches_its_target_on_the_measured_swatches(tmp_path: Path) -> None:
    board = Board(data=DATA, configs=ROOT / "configs", runs=tmp_path, say=lambda text: None)

    result, predictions = board.measure(NIRSCAN)

    assert result.reached is True, result.figures
    assert "Cotton_C03" not in set(predictions["subject"])
    assert predictions.groupby("fold")["subject"].nunique().max() == 1
