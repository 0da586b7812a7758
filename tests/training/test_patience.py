"""Early stop on subjects that are neither fitted nor those a fold is judged by."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from weft_training import fit
from weft_training.data import load_captures
from weft_training.fit import Task, fit_run, list_stages, make_fabric, make_task
from weft_training.patience import Watch, watched_loss, watched_rows
from weft_training.recipe import load_recipe
from weft_training.run import Run, create_run, write_state

PATIENT = ["optim.patience=2", "optim.inner_share=0.25", "optim.epochs=40", "optim.peak_lr=0.05"]


def fitted(recipe: Path, runs: Path, *overrides: str) -> Run:
    settings = load_recipe(recipe, overrides)
    run = create_run(settings, runs)
    fit_run(run, make_fabric(settings))
    return run


def curve(run: Run, stage: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.folder / stage / "curve.jsonl").read_text().splitlines()]


def test_watched_subjects_are_neither_fitted_nor_predicted_by_the_fold(spectra_recipe: Path) -> None:
    recipe = load_recipe(spectra_recipe, PATIENT)
    captures = load_captures(recipe)
    fold = np.array([int(subject[1:]) % 2 for subject in captures.subjects])
    for stage in list_stages(fold):
        learnt, watched = watched_rows(captures, stage.train, recipe)
        parts = [set(captures.subjects[rows].tolist()) for rows in (learnt, watched, stage.predict)]
        assert not parts[0] & parts[1]
        assert not (parts[0] | parts[1]) & parts[2]
        assert len(parts[1]) == round(0.25 * len(parts[0] | parts[1]))
    everything = np.arange(len(captures))
    assert len(watched_rows(captures, everything, load_recipe(spectra_recipe))[1]) == 0


def test_the_best_epoch_is_kept_and_patience_ends_the_rest(spectra_recipe: Path, tmp_path: Path) -> None:
    run = fitted(spectra_recipe, tmp_path / "runs", *PATIENT)

    for stage in ("fold-0", "fold-1", "final"):
        losses = [line["watched_loss"] for line in curve(run, stage)]
        best = int(np.argmin(losses))
        assert len(losses) == min(40, best + 1 + 2)
    assert any(len(curve(run, stage)) < 40 for stage in ("fold-0", "fold-1", "final"))
    task = make_task(run.recipe, load_captures(run.recipe))
    task.prepare(quiet=True)
    fold = np.asarray(run.predictions().set_index("capture")["fold"][task.captures.manifest.frame["capture"]])
    net = fit.load_net(run, task, fold)
    _, watched = watched_rows(task.captures, np.arange(len(fold)), run.recipe)
    kept = watched_loss(task, task.trained(net), watched)
    assert kept == pytest.approx(min(line["watched_loss"] for line in curve(run, "final")), rel=1e-5)


def test_a_run_killed_while_it_was_patient_ends_with_the_same_weights(
    spectra_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fitted(spectra_recipe, tmp_path / "whole", *PATIENT)
    epochs = len(curve(whole, "fold-0"))
    run = create_run(load_recipe(spectra_recipe, PATIENT), tmp_path / "killed")
    written: list[Path] = []

    def killed_after_the_last_epoch(path: Path, state: dict[str, object]) -> None:
        if path.name == "weights.pt":
            raise KeyboardInterrupt
        written.append(path)
        write_state(path, state)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "write_state", killed_after_the_last_epoch)
        with pytest.raises(KeyboardInterrupt):
            fit_run(run, make_fabric(run.recipe))
    assert len(written) == epochs, "all of its epochs were done; only the weights were not written"

    fit_run(run, make_fabric(run.recipe))

    assert curve(run, "fold-0") == curve(whole, "fold-0")
    for stage in ("fold-0", "fold-1", "final"):
        one, other = (
            torch.load(found.folder / stage / "weights.pt", weights_only=True) for found in (run, whole)
        )
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_subject_has_one_vote_however_often_it_was_captured(spectra_recipe: Path) -> None:
    task = made_task(spectra_recipe)
    module = task.trained(task.build(np.arange(20), seed=1)).eval()
    both, once = np.array([0, 1, 2]), np.array([0, 1, 2, 2, 2, 2])  # g0 twice; g1 once, or four times

    assert watched_loss(task, module, once) == pytest.approx(watched_loss(task, module, both), rel=1e-5)


def made_task(recipe: Path) -> Task:
    settings = load_recipe(recipe)
    task = make_task(settings, load_captures(settings))
    task.prepare(quiet=True)
    return task


def test_patience_starts_with_the_best_epoch() -> None:
    watch, module = Watch(2), torch.nn.Linear(1, 1)
    for epoch, loss in enumerate([3.0, 2.0, 2.5, 2.4]):
        assert not watch.is_over(epoch)
        watch.see(epoch, loss, module)

    assert watch.is_over(4)
    assert (watch.best_epoch, watch.best_loss) == (1, 2.0)
