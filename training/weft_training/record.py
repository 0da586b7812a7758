"""A finished run as others find it: its report with all pictures, and the whole of it in MLflow."""

import json
from pathlib import Path

from weft_training.beside import beside_ridge
from weft_training.data import Captures, load_captures
from weft_training.plots import figures_of
from weft_training.report import write_report
from weft_training.run import Run
from weft_training.track import Version, tracking
from weft_training.worst import worst_cases


def record_run(run: Run, bundle: Path, *, runs: Path, captures: Captures | None = None) -> Version | None:
    """Write `report/` into the run, record everything in MLflow and register the bundle as challenger.

    None where the recipe wants no tracking (`track: null`); the report is written all the same.

    Args:
        runs: Folder of runs, where the default database lies.

    Raises:
        RunError: The run is not finished, or MLflow cannot be used at `track.uri`.
    """
    recipe = run.recipe
    captures = load_captures(recipe) if captures is None else captures
    pictures = report_run(run, captures)
    settings, facts = recipe.track, run.facts()
    if settings is None:
        return None
    with tracking(
        uri=settings.uri, folder=runs, experiment=settings.experiment, name=run.folder.name
    ) as track:
        track.recipe((run.folder / "recipe.yaml").read_text(), recipe.model_dump(mode="json"))
        track.facts(**{name: str(value) for name, value in facts.items()})
        for stage in sorted(run.folder.glob("*/curve.jsonl")):
            for line in stage.read_text().splitlines():
                point = json.loads(line)
                step = point.pop("epoch")
                track.points(
                    {f"{stage.parent.name}.{name}": value for name, value in point.items()}, step=step
                )
        track.metrics(run.metrics())
        for name, picture in pictures.items():
            track.picture(name, picture)
        for name in ("split.parquet", "predictions.parquet"):
            track.file(run.folder / name)
        track.file(run.folder / "report" / "report.html", "report")
        return track.register(bundle, settings.register_as or recipe.export.name)


def report_run(run: Run, captures: Captures) -> dict[str, bytes]:
    """Write the run's `report/report.html` and `metrics.json`; the pictures in it, as PNG by name."""
    recipe, facts, predictions = run.recipe, run.facts(), run.predictions()
    simulated = facts["trained_on"] == "simulated"
    pictures = figures_of(predictions, recipe.task, coverage=recipe.calibrate.coverage, simulated=simulated)
    worst = worst_cases(predictions, recipe.task, captures.manifest, simulated=simulated)
    if worst is not None:
        pictures["worst-cases"] = worst
    beside = beside_ridge(run, captures)
    told = [(name.replace("_", " "), str(value)) for name, value in facts.items()]
    if beside is not None:
        told.append(("beside a simple model", beside.sentence))
    write_report(
        run.folder / "report",
        title=f"{recipe.name}: predictions of subjects left out",
        task=recipe.task,
        metrics=run.metrics(),
        pictures=pictures,
        facts=told,
        simulated=simulated,
    )
    return pictures
