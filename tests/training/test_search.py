"""Searches of seconds: what may change, who takes part, and what is said of the best."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
import yaml
from click.testing import CliRunner

from weft.cli import main
from weft.errors import RecipeError, RunError
from weft_training import search as searching
from weft_training.recipe import Recipe, load_recipe
from weft_training.search import Search, open_study, run_search, work
from weft_training.search_measure import AfterFold
from weft_training.search_run import search_recipe
from weft_training.search_space import Space, lay_over, load_space

CLI = "from weft_training.cli import search; search()"


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return written(
        tmp_path / "space.yaml",
        objective="mae_points",
        parameters={
            "optim.peak_lr": {"kind": "float", "low": 0.0001, "high": 0.1, "log": True},
            "model.trunk": {"kind": "choice", "of": ["mlp", "linear"]},
        },
    )


def written(path: Path, **content: object) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def searched(recipe: Recipe, space: Path, tmp_path: Path, **more: int) -> Search:
    folder = tmp_path / "search"
    folder.mkdir(exist_ok=True)
    url = f"sqlite:///{folder / 'study.db'}"
    loaded = load_space(space, recipe)
    return Search(recipe, loaded, folder, storage=url, study="made", **{"trials": 4, **more})


def states(study: optuna.Study) -> Counter[str]:
    return Counter(trial.state.name for trial in study.trials)


def test_the_first_trial_is_the_recipe_as_it_stands_and_the_best_is_a_recipe(
    spectra_recipe: Path, space: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(spectra_recipe)

    found = search_recipe(recipe, space, runs=tmp_path / "runs", trials=4, again=1)

    study = optuna.load_study(study_name="made", storage=f"sqlite:///{tmp_path}/runs/search/made/study.db")
    assert study.trials[0].params == {"optim.peak_lr": 0.01, "model.trunk": '"mlp"'}
    assert found.json["as_it_stood"] == study.trials[0].value
    assert len(study.trials) == 4
    best = load_recipe(found.best)
    assert best == lay_over(recipe, found.json["best"]["values"])
    assert found.best.read_text().startswith("# Found by weft search.\n# mae_points (less is better)")
    assert "data:image/png" in found.page.read_text()
    assert not list(tmp_path.glob("runs/search/made/*/*/weights.pt")), "a hundred trials would fill a disk"


def test_the_best_is_measured_again_on_another_split_beside_the_recipe_as_it_stood(
    spectra_recipe: Path, space: Path, tmp_path: Path
) -> None:
    found = search_recipe(load_recipe(spectra_recipe), space, runs=tmp_path / "runs", trials=2, again=2)

    assert [entry["seed"] for entry in found.json["again"]] == [1003, 2003]
    assert all(entry["best"] != found.json["best"]["figure_flattered"] for entry in found.json["again"])
    assert "flattered" in found.lines[2]
    assert sum(line.startswith("again, seed") for line in found.lines) == 2


def test_a_study_is_not_gone_on_with_unasked_nor_with_another_recipe(
    spectra_recipe: Path, space: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(spectra_recipe, ["optim.epochs=1"])
    run_search(searched(recipe, space, tmp_path, trials=1), workers=1, resume=False)

    with pytest.raises(RunError, match="exists already, with 1 trials; --resume goes on"):
        run_search(searched(recipe, space, tmp_path), workers=1, resume=False)
    other = load_recipe(spectra_recipe, ["optim.epochs=2"])
    with pytest.raises(RunError, match="begun with another recipe or space"):
        run_search(searched(other, space, tmp_path), workers=1, resume=True)
    on_gpu = load_recipe(spectra_recipe, ["optim.epochs=1", "compute.device=cpu"])
    study = run_search(searched(on_gpu, space, tmp_path, trials=2), workers=1, resume=True)
    assert len(study.trials) == 2, "another machine's compute section is no other search"


def test_a_trial_that_falls_behind_is_ended_between_folds(
    spectra_recipe: Path, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    def made(recipe: Recipe, folder: Path, objective: str, *, after_fold: AfterFold) -> float:
        bad = len(told) >= 5
        told.append(0)
        for done in (1, 2, 3):
            told[-1] = done
            after_fold(done, 9.0 if bad else 1.0)
        return 9.0 if bad else 1.0

    monkeypatch.setattr(searching, "measure_recipe", made)
    search = searched(load_recipe(spectra_recipe), space, tmp_path, trials=7)

    study = run_search(search, workers=1, resume=False)

    assert states(study) == {"COMPLETE": 5, "PRUNED": 2}
    assert told == [3, 3, 3, 3, 3, 1, 1]


def test_values_that_do_not_go_together_are_refused_and_the_search_goes_on(
    spectra_recipe: Path, tmp_path: Path
) -> None:
    space = written(
        tmp_path / "space.yaml",
        objective="mae_points",
        parameters={
            "model.trunk": {"kind": "choice", "of": ["mlp", "linear"]},
            "model.init": {"kind": "choice", "of": ["none", "pls"]},
        },
    )
    recipe = load_recipe(spectra_recipe, ["model.trunk=linear", "optim.epochs=1"])

    search = searched(recipe, space, tmp_path, trials=8)
    study = run_search(search, workers=1, resume=False)

    refused = [trial for trial in study.trials if "fault" in trial.user_attrs]
    assert len(study.trials) == 8
    assert refused
    assert all("init: pls needs trunk: linear" in trial.user_attrs["fault"] for trial in refused)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"objective": "loss"}, "write `direction: minimise` or `maximise`"),
        ({"parameters": {"optim.peak_lrr": {"kind": "float", "low": 1, "high": 2}}}, "there is no such key"),
        (
            {"parameters": {"optim.batch": {"kind": "int", "low": 0, "high": 2}}},
            "optim.batch = 0 does not go",
        ),
        (
            {"parameters": {"optim.peak_lr": {"kind": "float", "low": 2, "high": 1}}},
            "low must lie below high",
        ),
        ({"parametres": {}}, "Extra inputs are not permitted"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_before_anything_runs(
    spectra_recipe: Path, tmp_path: Path, content: dict[str, object], words: str
) -> None:
    whole = {
        "objective": "mae_points",
        "parameters": {"optim.peak_lr": {"kind": "float", "low": 0.1, "high": 1}},
    }
    path = written(tmp_path / "space.yaml", **(whole | content))

    with pytest.raises(RecipeError, match=words):
        load_space(path, load_recipe(spectra_recipe))


def test_a_place_in_a_list_and_a_whole_list_can_be_searched(spectra_recipe: Path) -> None:
    savgol = {"kind": "savgol", "window": 11, "order": 2, "derivative": 1}
    recipe = lay_over(load_recipe(spectra_recipe), {"model.preprocess": [{"kind": "snv"}, savgol]})
    space = Space.model_validate(
        {
            "objective": "mae_points",
            "parameters": {
                "model.preprocess.1.window": {"kind": "int", "low": 5, "high": 15, "step": 2},
                "model.preprocess": {"kind": "choice", "of": [[{"kind": "snv"}], [savgol]]},
            },
        }
    )

    changed = lay_over(recipe, {"model.preprocess.1.window": 7})
    assert changed.model.preprocess[1].window == 7  # pyright: ignore[reportAttributeAccessIssue]
    assert space.stands_at(recipe) == {"model.preprocess.1.window": 11}


def test_the_verb_prints_json_and_says_what_is_wrong_in_one_line(
    spectra_recipe: Path, space: Path, tmp_path: Path
) -> None:
    ask = [str(spectra_recipe), "optim.epochs=1", "--space", str(space), "--runs", str(tmp_path / "runs")]

    done = CliRunner().invoke(main, ["search", *ask, "--trials", "2", "--again", "1", "--json"])
    again = CliRunner().invoke(main, ["search", *ask, "--trials", "2"])

    assert json.loads(done.stdout)["objective"] == "mae_points"
    assert again.exit_code == 1
    assert "exists already, with 2 trials" in again.output


def test_a_storage_that_cannot_be_reached_is_said(spectra_recipe: Path, space: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="the search's storage cannot be used"):
        search_recipe(
            load_recipe(spectra_recipe),
            space,
            runs=tmp_path / "runs",
            trials=1,
            storage=f"sqlite:////{tmp_path}/no/such/folder/study.db",
        )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_two_workers_share_a_study_and_a_killed_ones_trial_is_done_by_another(
    spectra_recipe: Path, space: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(spectra_recipe, ["optim.epochs=60"])
    ask = [str(spectra_recipe), "optim.epochs=60", "--space", str(space), "--trials", "3", "--again", "0"]
    ask += ["--runs", str(tmp_path / "runs"), "--heartbeat", "3", "--workers", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen([sys.executable, "-c", CLI, *ask], env=environment, cwd=tmp_path)
    folder = tmp_path / "runs" / "search" / "made"
    try:
        deadline = time.monotonic() + 300
        while not (folder / "trial-1" / "fold-0" / "predictions.parquet").exists():
            assert killed.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    first = (folder / "trial-1" / "fold-0" / "predictions.parquet").stat().st_mtime_ns

    two = [word if word != "1" or before != "--workers" else "2" for before, word in zip(["", *ask], ask)]  # noqa: B905
    done = subprocess.run(
        [sys.executable, "-c", CLI, *two, "--resume"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    search = Search(
        recipe,
        load_space(space, recipe),
        folder,
        storage=f"sqlite:///{folder / 'study.db'}",
        study="made",
        trials=3,
    )
    study = open_study(search)
    counts = states(study)
    assert counts["FAIL"] == 1, "the killed one"
    assert counts["COMPLETE"] + counts["PRUNED"] in (3, 4)  # two may begin the last at once
    retried = optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number
    (again,) = (trial for trial in study.trials if retried(trial) == 1)
    assert again.params == study.trials[1].params
    assert (folder / "trial-1" / "metrics.json").exists() or again.state.name == "PRUNED"
    if (folder / "trial-1" / "fold-0").exists():
        assert (folder / "trial-1" / "fold-0" / "predictions.parquet").stat().st_mtime_ns == first
    work(search, 0, threads=None)  # nothing is left to do
