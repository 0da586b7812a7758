"""A board measures lines under their protocol, once a recipe, and lets no broken line stop the others."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from weft.errors import RunError
from weft_datasets.manifest import make_manifest
from weft_training.cli import leaderboard as verb
from weft_training.leaderboard import Board, find_lines, finished_run, measure_lines
from weft_training.leaderboard_lines import Figure, Line, Measured, Result, Rival, Table
from weft_training.recipe import load_recipe
from weft_training.run import create_run

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
FOOD_ONE, FOOD_ALL, FOOD_UNSEEN, FOOD_SCALE, FOOD_INTERVALS = find_lines(
    ["food-one", "food-all", "food-unseen", "food-scale", "food-intervals"]
)
NIRSCAN = find_lines(["nirscan"])[0]


def board(folder: Path, **more: object) -> Board:
    return Board(data=folder, configs=ROOT / "configs", runs=folder, say=lambda text: None, **more)  # type: ignore[arg-type]


def parcels_line(path: Path, **more: object) -> Line:
    """A line on the eight made parcels of the fixture `photos_recipe`."""
    fields = {
        "name": "made",
        "task": "made parcels",
        "split": "2 folds",
        "kind": "parcels",
        "source": "",
        "recipe": path.name,
        "figures": (Figure("one.alde", "ALDE"), Figure("all.alde", "ALDE, all")),
        "rivals": (Rival("train_median", "median"),),
        "overrides": ("split.scheme=folds", "data.marks=none"),
    }
    return Line(**fields | more)  # type: ignore[arg-type]


def test_a_line_trains_by_its_protocol_and_its_rivals_answer_the_same_photos(photos_recipe: Path) -> None:
    here = photos_recipe.parent
    line = parcels_line(photos_recipe)
    made = Board(data=here, configs=here, runs=here / "runs", say=lambda text: None)

    result, measured = made.measure(line)

    assert set(result.figures) == {"one.alde", "all.alde"}
    (median,) = result.comparisons
    assert set(median.figures) == {"one.alde", "all.alde"}
    frame = measured.predictions
    one = frame[frame["mode"] == "one"]
    grams = one.drop_duplicates("subject").set_index("subject")["grams"]
    fold = one.drop_duplicates("subject").set_index("subject")["fold"]
    said = one["fold"].map(lambda number: float(np.exp(np.log(grams[fold != number]).median())))
    assert median.figures["one.alde"] == pytest.approx(np.abs(np.log(said / one["grams"])).mean())


def test_lines_of_one_recipe_train_once_and_other_protocols_train_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def train(board: Board, line: Line, *more: str) -> Measured:
        trained.append(" ".join((*line.overrides, *more)))
        rows = [(f"s{n}", mode, 100.0 + n) for n in range(12) for mode in ("one", "all")]
        frame = pd.DataFrame(rows, columns=["subject", "mode", "grams"])
        return Measured(frame.assign(predicted_grams=frame["grams"], capture="c", n_photos=1), "f")

    monkeypatch.setattr(Board, "_trained", train)
    monkeypatch.setattr(Board, "_rival", lambda board, line, name, whole: whole.predictions)
    made = board(tmp_path)

    results = [made.measure(line)[0] for line in (FOOD_ONE, FOOD_ALL, FOOD_UNSEEN, FOOD_SCALE)]

    scale = " ".join(FOOD_SCALE.overrides)
    assert trained == ["", " ".join(FOOD_UNSEEN.overrides), scale, f"{scale} data.marks=none"]
    assert [result.line for result in results] == ["food-one", "food-all", "food-unseen", "food-scale"]


def test_a_line_of_marked_photos_is_about_photos_with_the_mark_in_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every subject has two photos; the mark is in view in the first photo of every other subject.
    photos = pd.DataFrame({"capture": [f"s{n}-{photo}" for n in range(20) for photo in range(2)]})
    photos = photos.assign(
        subject=photos["capture"].str[:-2],
        kind="photo",
        path="x.jpg",
        mark=[("qr" if row % 4 == 0 else None) for row in range(40)],
        mark_mm=60.0,
    )
    one = photos[["capture", "subject"]].assign(mode="one", n_photos=1)
    together = one.drop_duplicates("subject").assign(mode="all", n_photos=2)
    said = pd.concat([one, together]).assign(grams=1000.0)
    in_view = (said["capture"].str.endswith("-0")) & (said["subject"].str[1:].astype(int) % 2 == 0)
    said = said.assign(predicted_grams=np.where(in_view, 1100.0, 9000.0))
    manifest = make_manifest(photos, root=tmp_path, name="photos", notes={})
    monkeypatch.setattr(Board, "_trained", lambda board, line, *more: Measured(said, "f", manifest, {}))
    line = parcels_line(Path("weight-parcels.yaml"), rivals=(), marked=True)

    result, measured = board(tmp_path).measure(line)

    assert result.figures["one.alde"] == result.figures["all.alde"] == pytest.approx(np.log(1.1))
    assert (result.subjects, result.captures) == (10, 10)
    assert len(measured.predictions) == 20


def test_a_line_brings_its_own_measure_tables_and_pictures(tmp_path: Path) -> None:
    frame = pd.DataFrame({"subject": ["a", "b"], "cotton_share": [1.0, 0.0], "wool_share": [0.0, 1.0]})
    frame = frame.assign(
        predicted_cotton_share=[0.9, 0.1], predicted_wool_share=[0.1, 0.9], capture=["a", "b"]
    )
    table = Table("Other instruments", ("instrument", "right"), (("a second unit", "2 of 2"),))
    line = parcels_line(
        Path("none"),
        recipe=None,
        rivals=(),
        figures=(Figure("balanced_accuracy", "balanced accuracy", "%", "at least", 90, factor=100),),
        measure=lambda board, line: Measured(frame, "f", tables=(table,)),
    )

    result, _ = board(tmp_path).measure(line)

    assert result.figures == {"balanced_accuracy": 100}
    assert result.reached is True
    assert result.tables == (table,)


def test_a_line_that_fails_says_so_and_the_others_go_on(tmp_path: Path) -> None:
    def broken(board: Board, line: Line) -> Measured:
        raise RuntimeError("out of paper")

    frame = pd.DataFrame({"subject": ["a", "b"], "cotton_share": [1.0, 0.0], "wool_share": [0.0, 1.0]})
    frame = frame.assign(
        predicted_cotton_share=[0.9, 0.1], predicted_wool_share=[0.1, 0.9], capture=["a", "b"]
    )
    figures = (Figure("balanced_accuracy", "balanced accuracy"),)
    lines = [
        parcels_line(Path("x"), name=name, recipe=None, rivals=(), figures=figures, measure=measure)
        for name, measure in (("bad", broken), ("good", lambda board, line: Measured(frame, "f")))
    ]
    done: list[str] = []

    failed = measure_lines(board(tmp_path), lines, lambda line, result, found: done.append(result.line))

    assert failed == {"bad": "RuntimeError: out of paper"}
    assert done == ["good"]


def test_an_unknown_line_is_answered_with_those_there_are() -> None:
    with pytest.raises(RunError, match="no line 'food'; there are food-one, food-all"):
        find_lines(["food"])


def test_data_that_are_not_there_are_named_and_the_verb_ends_with_an_error(tmp_path: Path) -> None:
    places = ["--data", str(tmp_path), "--runs", str(tmp_path), "--out", str(tmp_path / "results.md")]

    told = CliRunner().invoke(verb, ["food-one", "ducks-one", *places])

    assert told.exit_code == 1
    assert "food-one: FAILED: food-one: there is no " in told.output
    assert "--data" in told.output
    assert "2 of 2 lines failed: food-one, ducks-one" in told.output


def test_parcels_that_were_not_simulated_yet_are_asked_for_by_the_recipes_own_command(
    photos_recipe: Path,
) -> None:
    text = photos_recipe.read_text().replace("parcels.parquet", "absent.parquet")
    photos_recipe.write_text("# Data: weft simulate parcels --out here\n" + text)
    made = Board(
        data=photos_recipe.parent,
        configs=photos_recipe.parent,
        runs=photos_recipe.parent,
        say=lambda text: None,
    )

    failed = measure_lines(made, [parcels_line(photos_recipe)], lambda line, result, found: None)

    assert "make it with `weft simulate parcels --out here`" in failed["made"]


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
    assert recipe.track is not None
    moved = recipe.model_copy(update={"track": recipe.track.model_copy(update={"experiment": "another"})})

    assert finished_run(tmp_path, moved).folder == run.folder


def test_a_run_that_was_measured_on_other_data_is_not_compared(photos_recipe: Path) -> None:
    here = photos_recipe.parent
    line = parcels_line(photos_recipe, rivals=())
    Board(data=here, configs=here, runs=here / "runs", say=lambda text: None).measure(line)
    read = Board(data=here, configs=here, runs=here, from_runs=here / "runs", say=lambda text: None)
    assert isinstance(read.measure(line)[0], Result)

    frame = pd.read_parquet(here / "parcels.parquet")
    (here / frame["path"][0]).write_bytes((here / frame["path"][2]).read_bytes())
    again = Board(data=here, configs=here, runs=here, from_runs=here / "runs", say=lambda text: None)
    with pytest.raises(RunError, match="was measured on other data"):
        again.measure(line)


def test_the_list_of_lines_is_the_one_that_was_promised() -> None:
    told = CliRunner().invoke(verb, ["--list"])

    assert told.exit_code == 0
    assert (
        "food-one: weighed food, one photo; 5 folds by object; ALDE, one photo at most 0.18; " in told.output
    )
    assert "within x2, one photo at least 98 %" in told.output
    for name in ("food-all", "food-unseen", "food-intervals", "ducks-all", "parcels-qr", "cotton-pet"):
        assert f"\n{name}: " in told.output


@pytest.mark.real_data
@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not there")
def test_the_nirscan_line_reaches_every_pure_swatch_of_the_measured_ones(tmp_path: Path) -> None:
    result, measured = Board(
        data=DATA, configs=ROOT / "configs", runs=tmp_path, say=lambda text: None
    ).measure(NIRSCAN)

    assert result.figures["pure.subject.balanced_accuracy"] == 100
    assert "Cotton_C03" not in set(measured.predictions["subject"])
    assert measured.predictions.groupby("fold")["subject"].nunique().max() == 1
    assert {one.name for one in result.comparisons} == {"snv_lda", "snv_savgol_logistic", "train_mean"}
