"""Whole trainings, small: the way through, resuming, and several processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from weft.errors import RecipeError, RunError
from weft_training import fit
from weft_training.data import load_captures
from weft_training.export import export_run
from weft_training.fit import fit_run, make_fabric, make_task
from weft_training.recipe import load_recipe
from weft_training.run import Run, check_same_recipe, create_run, find_run, open_run, write_state
from weft_training.train import train_run

CLI = "from weft_training.cli import train; train()"


def fitted(recipe: Path, runs: Path, *overrides: str) -> Run:
    settings = load_recipe(recipe, overrides)
    run = create_run(settings, runs)
    fit_run(run, make_fabric(settings))
    return run


def weights(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.folder / "final" / "weights.pt", weights_only=True)


def test_every_capture_is_predicted_by_a_net_that_never_saw_its_subject(
    spectra_recipe: Path, tmp_path: Path
) -> None:
    run = fitted(spectra_recipe, tmp_path / "runs")

    split, found = pd.read_parquet(run.folder / "split.parquet"), run.predictions()
    assert sorted(found["capture"]) == sorted(split["capture"])
    assert found.set_index("capture")["fold"].equals(split.set_index("capture")["fold"][found["capture"]])
    assert split.groupby("subject")["fold"].nunique().max() == 1
    assert run.metrics()["balanced_accuracy"] > 0.9
    assert found.filter(regex="^predicted_.*_share$").sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.parametrize("init", ["pls", "lda"])
def test_a_closed_form_needs_no_epoch(spectra_recipe: Path, tmp_path: Path, init: str) -> None:
    run = fitted(
        spectra_recipe, tmp_path / "runs", f"model.init={init}", "model.trunk=linear", "optim.epochs=0"
    )

    assert run.metrics()["balanced_accuracy"] > 0.95


def test_frozen_photos_are_looked_at_once_and_predicted_singly_and_together(
    photos_recipe: Path, tmp_path: Path
) -> None:
    run = fitted(photos_recipe, tmp_path / "runs", "optim.epochs=0")
    kept = sorted((tmp_path / "cache").glob("features-*/*.npz"))
    stamps = [file.stat().st_mtime_ns for file in kept]

    fitted(photos_recipe, tmp_path / "runs", "seed=4")

    found = run.predictions()
    assert len(kept) == 16
    assert [file.stat().st_mtime_ns for file in kept] == stamps
    assert found["mode"].value_counts().to_dict() == {"one": 16, "all": 8}
    assert (found["q_low_grams"] < found["predicted_grams"]).all()


def test_layers_and_a_kernel_are_computed_apart_from_older_features_and_answer(
    photos_recipe: Path, tmp_path: Path
) -> None:
    fitted(photos_recipe, tmp_path / "runs", "model.init=none")
    more = ("model.init=none", "model.layers=[1,2]", "model.kernel_share=1")
    run = fitted(photos_recipe, tmp_path / "runs", *more)

    found = run.predictions()
    one = found[found["mode"] == "one"]
    assert len(list((tmp_path / "cache").glob("features-*"))) == 2
    # The brighter the heavier.
    assert np.corrcoef(np.log(one["grams"]), np.log(one["predicted_grams"]))[0, 1] > 0.5
    assert (found["q_low_grams"] < found["predicted_grams"]).all()


def test_an_unfrozen_net_learns_on_photos_of_mixed_sizes(photos_recipe: Path, tmp_path: Path) -> None:
    run = fitted(
        photos_recipe, tmp_path / "runs", "model.freeze=1", "model.init=none", "split.scheme=holdout"
    )

    assert np.isfinite(run.predictions()["predicted_grams"]).all()
    assert [folder.name for folder in run.folder.glob("*/weights.pt")] == ["weights.pt"]


def test_a_finished_fold_is_not_done_again(spectra_recipe: Path, tmp_path: Path) -> None:
    run = fitted(spectra_recipe, tmp_path / "runs")
    first, before = run.folder / "fold-0" / "weights.pt", weights(run)
    stamp = first.stat().st_mtime_ns
    (run.folder / "final" / "weights.pt").unlink()
    (run.folder / "metrics.json").unlink()

    fit_run(run, make_fabric(run.recipe))

    assert first.stat().st_mtime_ns == stamp
    assert all(torch.equal(before[name], value) for name, value in weights(run).items())


def test_a_run_does_not_go_on_with_other_settings_or_other_data(spectra_recipe: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    recipe = load_recipe(spectra_recipe)
    run = create_run(recipe, runs)

    assert find_run(recipe, runs).folder == run.folder
    with pytest.raises(RunError, match="has other settings"):
        find_run(load_recipe(spectra_recipe, ["seed=9"]), runs)
    with pytest.raises(RunError, match="leave the overrides as they were"):
        check_same_recipe(run, load_recipe(spectra_recipe, ["seed=9"]))
    with pytest.raises(RunError, match="not a run"):
        open_run(tmp_path)
    with pytest.raises(RunError, match="not finished"):
        run.predictions()
    fit_run(run, make_fabric(recipe))
    assert find_run(recipe, runs).folder == run.folder, "killed before it was exported and recorded"
    run.write_json("recorded.json", {})
    with pytest.raises(RunError, match="no unfinished run"):
        find_run(recipe, runs)
    with pytest.raises(RunError, match="finished, nothing is left to resume"):
        train_run(recipe, runs=runs, resume=str(run.folder), last="last")


def test_a_run_that_an_older_weft_left_does_not_stand_in_the_way_of_resuming(
    spectra_recipe: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(spectra_recipe)
    run = create_run(recipe, tmp_path)
    (tmp_path / "made-19990101-000000").mkdir()
    (tmp_path / "made-19990101-000000" / "recipe.yaml").write_text("a_key_of_old: 1\n")

    assert find_run(recipe, tmp_path).folder == run.folder


def test_an_epoch_that_is_gone_through_again_after_a_kill_stands_once_in_the_curve(
    spectra_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(spectra_recipe, tmp_path / "whole")
    run = create_run(load_recipe(spectra_recipe), tmp_path / "killed")
    written = []

    def killed_at_the_third(path: Path, state: dict[str, object]) -> None:
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt
        write_state(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "write_state", killed_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            fit_run(run, make_fabric(run.recipe))
    curve = run.folder / "fold-0" / "curve.jsonl"
    assert len(curve.read_text().splitlines()) == 3
    with curve.open("a") as half:
        half.write('{"epoch": 3, "lo')

    fit_run(run, make_fabric(run.recipe))

    for expected in whole.folder.glob("*/curve.jsonl"):
        assert (run.folder / expected.parent.name / "curve.jsonl").read_text() == expected.read_text()
    assert all(torch.equal(weights(whole)[name], value) for name, value in weights(run).items())


def test_a_frozen_backbone_is_the_same_at_export_as_in_training_or_the_export_is_refused(
    photos_recipe: Path, tmp_path: Path
) -> None:
    run = fitted(photos_recipe, tmp_path / "runs", "optim.epochs=0")
    torch.rand(7)  # whatever was drawn in between
    task = make_task(run.recipe, load_captures(run.recipe))
    task.prepare(quiet=True)

    run.check_frozen(task.frozen_digest())

    run.write_json("facts.json", run.facts() | {"frozen_digest": "another file"})
    with pytest.raises(RunError, match=r"weights behind model\.pretrained are not those"):
        export_run(run, tmp_path / "weight.onnx")


@pytest.mark.parametrize("freeze", ["all", "none"])
def test_what_no_training_photo_came_with_does_not_move_an_answer(
    photos_recipe: Path, tmp_path: Path, freeze: str
) -> None:
    settings = load_recipe(photos_recipe, [f"model.freeze={freeze}", "model.init=none"])
    captures = load_captures(settings)
    task = make_task(settings, captures)
    task.prepare(quiet=True)
    net = task.build(np.arange(len(captures)), seed=1).eval()
    inputs = {name: torch.from_numpy(value) for name, value in task.graph_inputs(np.array([0])).items()}

    def said(**stated: torch.Tensor) -> float:
        with torch.inference_mode():
            return float(net(**inputs | stated).log_grams)

    plain = said()
    assert said(mm_per_pixel=torch.full((1, 1), 2.0)) == plain, "no photo had a mark"
    assert said(wrap=torch.tensor([2])) == plain
    assert said(season=torch.tensor([2])) != plain, "half of the parcels have a season"


def test_a_gpu_that_is_not_there_is_said_before_anything_is_read(
    spectra_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(RecipeError, match=r"compute\.device: cuda, but torch sees no GPU"):
        make_fabric(load_recipe(spectra_recipe, ["compute.device=cuda"]))


def test_a_run_whose_data_have_changed_is_refused(spectra_recipe: Path, tmp_path: Path) -> None:
    from weft_datasets.manifest import read_manifest, write_manifest

    run = fitted(spectra_recipe, tmp_path / "runs")
    manifest = read_manifest(tmp_path / "made.parquet")
    write_manifest(manifest.take(manifest.frame["subject"] != "g0"), tmp_path / "made.parquet")

    with pytest.raises(RunError, match="the data are not those it was started with"):
        fit_run(run, make_fabric(run.recipe))


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_very_same_weights(spectra_recipe: Path, tmp_path: Path) -> None:
    """Killed without warning between epochs of the second fold; bit for bit like one that ran through."""
    epochs = "optim.epochs=60"
    whole = fitted(spectra_recipe, tmp_path / "whole", epochs)
    arguments = [sys.executable, "-W", "error", "-c", CLI, str(spectra_recipe), epochs, "--runs", "killed"]
    process = subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 200
        while not list(tmp_path.glob("killed/*/fold-1/checkpoint.pt")):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, "the run took too long to come to its second fold"
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (folder,) = (tmp_path / "killed").iterdir()
    assert not (folder / "metrics.json").exists()

    resumed = find_run(load_recipe(spectra_recipe, [epochs]), tmp_path / "killed")
    fit_run(resumed, make_fabric(resumed.recipe))

    expected = weights(whole)
    assert all(torch.equal(expected[name], value) for name, value in weights(resumed).items())
    assert resumed.predictions().equals(whole.predictions())
    assert resumed.metrics() == whole.metrics()


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(spectra_recipe: Path, tmp_path: Path) -> None:
    one = fitted(spectra_recipe, tmp_path / "one", "optim.epochs=30")
    (tmp_path / "cli.py").write_text(CLI)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, "cli.py"]
    done = subprocess.run(
        [*command, str(spectra_recipe), "optim.epochs=30", "--runs", "two"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("bundle.onnx") == 1  # one of the two reports
    (folder,) = (tmp_path / "two").glob("made-*")
    found, expected = open_run(folder).metrics(), one.metrics()
    assert found["balanced_accuracy"] == pytest.approx(expected["balanced_accuracy"], abs=0.1)
    assert found["mae_points"] == pytest.approx(expected["mae_points"], abs=4)
