"""One figure of one recipe, from nets that never saw the subjects that they are judged by. No optuna here."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from weft.errors import RecipeError, RunError
from weft_training.data import load_captures, split_captures
from weft_training.fit import (
    Stage,
    collect_predictions,
    fit_stage,
    list_stages,
    make_fabric,
    make_task,
    stage_is_done,
)
from weft_training.metrics import metrics_of
from weft_training.recipe import Recipe, dump_recipe
from weft_training.run import Run, write_atomically
from weft_training.run import open_run as open_folder

AfterFold = Callable[[int, float], None]  # number of folds done and the figure so far; may raise to end it


def measure_recipe(
    recipe: Recipe, folder: Path, objective: str, *, after_fold: AfterFold | None = None
) -> float:
    """The out-of-fold figure `objective` of a recipe; goes on where an earlier call was killed.

    Nothing is exported and no final net fitted. Weights are deleted once all folds are predicted.

    Args:
        after_fold: Told the figure of the folds so far, where they already carry it.

    Raises:
        RecipeError: The recipe's predictions carry no such figure.
    """
    kept = folder / "metrics.json"
    if kept.is_file():
        return _figure(json.loads(kept.read_text()), objective)
    run = _open(recipe, folder)
    captures = load_captures(recipe)
    fold = split_captures(captures, recipe.split, seed=recipe.seed)
    task = make_task(recipe, captures)
    task.prepare(quiet=True)
    run.settle_split(captures, fold, frozen=task.frozen_digest())
    fabric = make_fabric(recipe)
    stages = [stage for stage in list_stages(fold) if len(stage.predict)]
    found: dict[str, float] = {}
    for number, stage in enumerate(stages, start=1):
        if not stage_is_done(run, stage):
            fit_stage(run, task, stage, fabric=fabric, bar=tqdm(disable=True))
        found = _metrics(collect_predictions(run, stages[:number], fold), recipe)
        if after_fold is not None and objective in found and number < len(stages):
            after_fold(number, found[objective])
    figure = _figure(found, objective)
    run.write_json("metrics.json", found)
    tidy(folder)
    return figure


def measure_outer(recipe: Recipe, folder: Path, held: list[str]) -> pd.DataFrame:
    """Predictions of the subjects `held` by one net that was fitted on all others."""
    run = _open(recipe, folder)
    captures = load_captures(recipe)
    task = make_task(recipe, captures)
    task.prepare(quiet=True)
    out = np.isin(captures.subjects, held)
    rows = np.arange(len(captures))
    stage = Stage("outer", 0, rows[~out], rows[out])
    if not stage_is_done(run, stage):
        fit_stage(run, task, stage, fabric=make_fabric(recipe), bar=tqdm(disable=True))
    return pd.read_parquet(folder / "outer" / "predictions.parquet")


def figure_of(predictions: pd.DataFrame, recipe: Recipe, objective: str) -> float:
    """The figure of predictions that were put together from several nets."""
    return _figure(_metrics(predictions, recipe), objective)


def tidy(folder: Path) -> None:
    """Delete the weights of a measured recipe: a hundred trials of a backbone would fill a disk."""
    for weights in folder.glob("*/weights.pt"):
        shutil.rmtree(weights.parent)


def _open(recipe: Recipe, folder: Path) -> Run:
    if not (folder / "recipe.yaml").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "recipe.yaml", dump_recipe(recipe).encode())
    run = open_folder(folder)
    if run.recipe != recipe:
        raise RunError(f"{folder}: holds a trial with other settings; give --study a new name or delete it")
    return run


def _metrics(predictions: pd.DataFrame, recipe: Recipe) -> dict[str, float]:
    return metrics_of(predictions, recipe.task, coverage=recipe.calibrate.coverage, resamples=0)


def _figure(found: dict[str, float], objective: str) -> float:
    if objective not in found:
        raise RecipeError(
            f"objective {objective!r}: the predictions carry no such figure; they have "
            f"{', '.join(sorted(found))}"
        )
    return found[objective]
