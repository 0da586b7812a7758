"""The whole of `weft train`: a run is made or taken up, fitted, exported, and recorded in MLflow."""

import json
from dataclasses import asdict
from pathlib import Path

from weft.errors import RunError
from weft_training.export import export_run
from weft_training.fit import fit_run, make_fabric
from weft_training.recipe import Recipe
from weft_training.record import record_run
from weft_training.run import Run, check_same_recipe, create_run, find_run, open_run


def train_run(recipe: Recipe, *, runs: Path, resume: str | None, last: str) -> str | None:
    """Train and export; the line to report, or None in a process that is not the first of several.

    Args:
        resume: None starts a new run; `last` goes on with the newest unfinished one; else the folder of one.
    """
    fabric = make_fabric(recipe)
    fabric.launch()
    folder = ""
    if fabric.global_rank == 0:
        folder = str(_take_up(recipe, runs, resume, last).folder)
    run = open_run(Path(fabric.broadcast(folder)))
    fit_run(run, fabric)
    if fabric.global_rank > 0:
        return None
    report = export_run(run, run.folder / "bundle.onnx")
    version = record_run(run, report.path, runs=runs)
    run.write_json("recorded.json", {} if version is None else asdict(version))
    registered = "" if version is None else f", registered as {version.name} {version.version}"
    page = run.folder / "report" / "report.html"
    return f"{report.path}: {_headline(run.metrics())}{registered}{_beside(run)}\nreport: {page}"


def _take_up(recipe: Recipe, runs: Path, resume: str | None, last: str) -> Run:
    if resume is None:
        return create_run(recipe, runs)
    if resume == last:
        return find_run(recipe, runs)
    run = open_run(Path(resume))
    if run.recorded:
        raise RunError(f"{run.folder}: finished, nothing is left to resume; leave --resume out to train anew")
    check_same_recipe(run, recipe)
    return run


def _beside(run: Run) -> str:
    path = run.folder / "beside.json"
    return f"\n{json.loads(path.read_text())['sentence']}" if path.is_file() else ""


def _headline(metrics: dict[str, float]) -> str:
    wanted = (
        "one.alde",
        "all.alde",
        "one.mape",
        "one.coverage",
        "balanced_accuracy",
        "mae_points",
        "unknown_auroc",
    )
    return ", ".join(f"{name} {metrics[name]:.3f}" for name in wanted if name in metrics)
