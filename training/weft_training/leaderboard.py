"""What the project reaches on public data, line by line; each line is a recipe, a protocol and a target.

`docs/results.md` is written from `docs/results.json` beside it, so that one line can be measured again
without the others. Numbers and plots of numbers only: no capture of the data gets into the documents.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from weft.bundle import BUNDLED, load_bundle
from weft.errors import ManifestError, RunError
from weft_datasets.importers import import_source
from weft_datasets.manifest import Manifest, write_manifest
from weft_training.leaderboard_lines import LINES, PROTOCOL, SUSPECT_SWATCH, Line, Result
from weft_training.leaderboard_page import render_page
from weft_training.metrics import metrics_of
from weft_training.plots import figures_of
from weft_training.recipe import Recipe, load_recipe
from weft_training.run import Run, code_revision, create_run, runs_of


class Board:
    """Measures lines and keeps what it has trained, so that lines of one recipe train once."""

    def __init__(
        self,
        *,
        data: Path,
        configs: Path,
        runs: Path,
        from_runs: Path | None = None,
        say: Callable[[str], None],
    ) -> None:
        self.data = data
        self.configs = configs
        self.runs = runs
        self.from_runs = from_runs
        self.say = say
        self._measured: dict[tuple[str, str | None], tuple[pd.DataFrame, str]] = {}

    def measure(self, line: Line) -> tuple[Result, pd.DataFrame]:
        """The line's figures and the predictions behind them.

        Raises:
            ManifestError: The data are not there.
            RunError: `from_runs` holds no finished run of this recipe and protocol.
        """
        key = (line.kind, line.recipe)
        if key not in self._measured:
            self._measured[key] = self._bundled(line) if line.recipe is None else self._trained(line)
        predictions, fingerprint = self._measured[key]
        return result_of(line, predictions, fingerprint), predictions

    def _trained(self, line: Line) -> tuple[pd.DataFrame, str]:
        assert line.recipe is not None, "lines without a recipe are measured elsewhere"
        manifest_path = self.runs / "leaderboard" / f"{line.kind}.parquet"
        overrides = (*PROTOCOL[line.kind], f"data.manifest={manifest_path}")
        recipe = load_recipe(self.configs / line.recipe, overrides)
        if self.from_runs is not None:
            run = finished_run(self.from_runs, recipe)
            self.say(f"{line.name}: reading {run.folder}")
        else:
            write_manifest(self._import(line), manifest_path)
            from weft_training.fit import fit_run, make_fabric  # torch takes seconds

            run = create_run(recipe, self.runs)
            self.say(f"{line.name}: training {line.recipe} by its protocol")
            fit_run(run, make_fabric(recipe))
        return run.predictions(), str(run.facts()["dataset_fingerprint"])

    def _bundled(self, line: Line) -> tuple[pd.DataFrame, str]:
        from weft_training.evaluate import answers_of

        manifest = self._import(line)
        frame = manifest.frame
        kept = manifest.take(
            (frame["subject"] != SUSPECT_SWATCH).to_numpy() & frame["cotton_pct"].notna().to_numpy()
        )
        self.say(f"{line.name}: asking the bundled model")
        bundle = load_bundle(BUNDLED / "fibre.onnx", task="composition")
        return answers_of(bundle, kept).predictions, kept.fingerprint()

    def _import(self, line: Line) -> Manifest:
        source = self.data / line.source
        if not source.is_dir():
            raise ManifestError(
                f"{line.name}: there is no {source}; name the folder of the measured data with --data"
            )
        return import_source(line.kind, source)


def find_lines(names: Sequence[str]) -> list[Line]:
    """The lines of these names, all of them for none; RunError for an unknown one."""
    known = {line.name: line for line in LINES}
    for name in names:
        if name not in known:
            raise RunError(f"there is no line {name!r}; there are {', '.join(known)}")
    return [known[name] for name in names] or list(LINES)


def finished_run(runs: Path, recipe: Recipe) -> Run:
    """The newest finished run of this recipe, wherever its manifest lay.

    Raises:
        RunError: There is none; a run of other settings is none.
    """
    wanted = _comparable(recipe)
    found = runs_of(recipe.name, runs)
    same = [run for run in found if run.done and _comparable(run.recipe) == wanted]
    if not same:
        there = f"; {len(found)} runs of that name are unfinished or have other settings" if found else ""
        raise RunError(
            f"{runs}: no finished run of {recipe.name} by the line's protocol{there}; leave --from-runs out"
        )
    return same[-1]


def result_of(line: Line, predictions: pd.DataFrame, fingerprint: str) -> Result:
    """Figures of a line from its predictions."""
    weighs = "mode" in predictions
    metrics = metrics_of(predictions, "weight" if weighs else "composition")
    ends = ("_band_low", "_band_high") if line.sense == "inside the band" else ("_ci_low", "_ci_high")
    figures = {key: metrics[key] for key in line.keys if key in metrics}
    if len(figures) < len(line.keys):
        lacking = ", ".join(key for key in line.keys if key not in metrics)
        raise RunError(f"{line.name}: the predictions carry no {lacking}; look at the run's manifest")
    intervals = {
        key: (metrics[key + ends[0]], metrics[key + ends[1]]) for key in figures if key + ends[0] in metrics
    }
    scope = f"{line.keys[0].split('.')[0]}." if weighs else ""
    return Result(
        line=line.name,
        figures=figures,
        intervals=intervals,
        subjects=int(metrics[f"{scope}subjects"]),
        captures=int(metrics[f"{scope}captures"]),
        reached=_reached(line, figures, intervals),
        date=datetime.now(UTC).date().isoformat(),
        revision=code_revision(),
        fingerprint=fingerprint,
    )


def write_results(out: Path, measured: Sequence[tuple[Line, Result, pd.DataFrame]]) -> None:
    """Put measured lines into `out` (Markdown), its JSON beside it and its plots in `images`; others stay."""
    out.parent.mkdir(parents=True, exist_ok=True)
    stored = read_results(out)
    images = out.parent / "images"
    for line, result, predictions in measured:
        stored[line.name] = result
        task: Literal["weight", "composition"] = "weight" if "mode" in predictions else "composition"
        figures = figures_of(predictions, task, coverage=0.9, simulated=False)
        if line.plot in figures:
            images.mkdir(exist_ok=True)
            (images / f"result-{line.name}.png").write_bytes(figures[line.plot])
    ordered = {line.name: asdict(stored[line.name]) for line in LINES if line.name in stored}
    out.with_suffix(".json").write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
    drawn = {line.name for line in LINES if (images / f"result-{line.name}.png").is_file()}
    out.write_text(render_page(LINES, stored, drawn), encoding="utf-8")


def read_results(out: Path) -> dict[str, Result]:
    """What was measured before, by line."""
    path = out.with_suffix(".json")
    if not path.is_file():
        return {}
    plain: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Result(**item | {"intervals": {key: tuple(ends) for key, ends in item["intervals"].items()}})
        for name, item in plain.items()
    }


def _reached(
    line: Line, figures: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]
) -> bool | None:
    if line.sense == "inside the band":
        return all(
            key in intervals and intervals[key][0] <= figures[key] <= intervals[key][1] for key in figures
        )
    if line.target is None:
        return None
    if line.sense == "at most":
        return all(value <= line.target for value in figures.values())
    return all(value >= line.target for value in figures.values())


def _comparable(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide the figures: not where files lie, nor where it is tracked or exported to."""
    plain = recipe.model_dump(mode="json", exclude={"compute", "track", "export"})
    plain["data"].pop("manifest", None)
    return plain
