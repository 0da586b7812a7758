"""What the project reaches on public data, line by line; each line is a recipe, a protocol and targets.

A line is trained (or read from a finished run), then simple models and oracles are fitted on the very same
folds, and all of them are held against the same truths.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from weft.bundle import BUNDLED, load_bundle
from weft.errors import ManifestError, RunError, WeftError
from weft_datasets.importers import import_source
from weft_datasets.manifest import Manifest, write_manifest
from weft_training.coverage import nested_intervals
from weft_training.data import Captures, group_names, load_captures
from weft_training.leaderboard_lines import PROTOCOL, SUSPECT_SWATCH, Line, Measured, Result, Table
from weft_training.lines_photos import PHOTO_LINES
from weft_training.lines_spectra import SPECTRUM_LINES
from weft_training.metrics import COVERAGE
from weft_training.recipe import Recipe, load_recipe
from weft_training.result import compare, result_of
from weft_training.run import Run, create_run, runs_of

LINES: Final[tuple[Line, ...]] = (*PHOTO_LINES, *SPECTRUM_LINES)


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
        self._measured: dict[tuple[Any, ...], Measured] = {}
        self._rivals: dict[tuple[Any, ...], pd.DataFrame] = {}

    def measure(self, line: Line) -> tuple[Result, Measured]:
        """The line's figures, and the predictions behind them with their intervals.

        Raises:
            ManifestError: The data are not there.
            RunError: `from_runs` holds no finished run of this recipe and protocol.
        """
        whole = self._get(line)
        kept = _of_line(line, whole)
        others = {
            rival: _alike(self._rival(line, rival.name, whole), kept.predictions) for rival in line.rivals
        }
        blind = self._blind(line)
        return result_of(
            line,
            kept.predictions,
            kept.fingerprint,
            comparisons=[compare(line, rival, kept.predictions, theirs) for rival, theirs in others.items()],
            tables=[*self._tables(line, kept, blind), *kept.tables],
        ), kept

    def overrides(self, line: Line, *more: str) -> tuple[str, ...]:
        """What the line lays over its recipe: the protocol of its kind, its own, and where the data lie."""
        found = (*PROTOCOL.get(line.kind, ()), *line.overrides, *more)
        return found if line.kind == "parcels" else (*found, f"data.manifest={self.manifest_path(line)}")

    def manifest_path(self, line: Line) -> Path:
        """Where the imported manifest of the line's data is written."""
        return self.runs / "leaderboard" / f"{line.kind}.parquet"

    def imported(self, line: Line) -> Manifest:
        """The line's measured data; ManifestError where they are not there."""
        source = self.data / line.source
        if not source.is_dir():
            raise ManifestError(
                f"{line.name}: there is no {source}; name the folder of the measured data with --data"
            )
        return import_source(line.kind, source)

    def _get(self, line: Line, *more: str) -> Measured:
        key = self._key(line, *more)
        if key not in self._measured:
            if line.measure is not None:
                found = line.measure(self, line)
            else:
                found = self._bundled(line) if line.recipe is None else self._trained(line, *more)
            if {"q_low_grams", "fold"} <= set(found.predictions.columns):
                nested = nested_intervals(found.predictions, COVERAGE)
                found = replace(found, predictions=found.predictions if nested is None else nested)
            self._measured[key] = found
        return self._measured[key]

    def _key(self, line: Line, *more: str) -> tuple[Any, ...]:
        """Equal for lines that train the very same, however their overrides say it."""
        if line.measure is not None or line.recipe is None:
            return (line.name,)
        recipe = load_recipe(self.configs / line.recipe, self.overrides(line, *more))
        return (line.kind, json.dumps(_comparable(recipe), sort_keys=True))

    def _trained(self, line: Line, *more: str) -> Measured:
        assert line.recipe is not None, "lines without a recipe are measured elsewhere"
        recipe = load_recipe(self.configs / line.recipe, self.overrides(line, *more))
        if self.from_runs is not None:
            run = finished_run(self.from_runs, recipe)
            self._place(line, recipe)
            self.say(f"{line.name}: reading {run.folder}")
        else:
            self._place(line, recipe)
            from weft_training.fit import fit_run, make_fabric  # torch takes seconds

            run = create_run(recipe, self.runs)
            self.say(f"{line.name}: training {line.recipe} {' '.join((*line.overrides, *more))}".rstrip())
            fit_run(run, make_fabric(recipe))
        captures = load_captures(recipe)
        fingerprint = str(run.facts()["dataset_fingerprint"])
        if captures.fingerprint != fingerprint:
            raise RunError(
                f"{line.name}: {run.folder} was measured on other data (fingerprint {fingerprint[:12]}, here "
                f"{captures.fingerprint[:12]}); leave --from-runs out, or name the data it was made of"
            )
        split = pq.read_table(run.folder / "split.parquet").to_pandas()
        fold = {str(name): int(number) for name, number in zip(split["capture"], split["fold"], strict=True)}
        return Measured(run.predictions(), fingerprint, captures.manifest, fold)

    def _place(self, line: Line, recipe: Recipe) -> None:
        """Put the manifest where the recipe looks for it; a simulated one must be there."""
        path = recipe.data.manifest
        if line.kind != "parcels":
            write_manifest(self.imported(line), self.manifest_path(line))
        elif path is not None and not path.is_file():
            raise ManifestError(f"{line.name}: there is no {path}; {self._how_made(line)}")

    def _how_made(self, line: Line) -> str:
        """The recipe's second line says how its data are simulated."""
        text = (self.configs / str(line.recipe)).read_text(encoding="utf-8").splitlines()
        made = [words.removeprefix("# Data:").strip() for words in text if words.startswith("# Data:")]
        return f"make it with `{made[0]}`" if made else f"configs/{line.recipe} says how it is made"

    def _bundled(self, line: Line) -> Measured:
        from weft_training.evaluate import answers_of

        manifest = self.imported(line)
        frame = manifest.frame
        kept = manifest.take(
            (frame["subject"] != SUSPECT_SWATCH).to_numpy() & frame["cotton_pct"].notna().to_numpy()
        )
        self.say(f"{line.name}: asking the bundled model")
        bundle = load_bundle(BUNDLED / "fibre.onnx", task="composition")
        return Measured(answers_of(bundle, kept).predictions, kept.fingerprint())

    def _rival(self, line: Line, name: str, whole: Measured) -> pd.DataFrame:
        key = (*self._key(line), name)
        if key not in self._rivals:
            assert whole.manifest is not None, "rivals follow a model that was trained"
            self.say(f"{line.name}: fitting {name} on the same folds")
            if "mode" in whole.predictions:
                from weft_training import rivals_photos

                self._rivals[key] = rivals_photos.predict(name, self._photos(line, whole))
            else:
                from weft_training import rivals_spectra

                self._rivals[key] = rivals_spectra.predict(name, whole.manifest, whole.predictions)
        return self._rivals[key]

    def _photos(self, line: Line, whole: Measured) -> Any:
        from weft_training import rivals_photos

        assert whole.manifest is not None, "checked by the caller"
        assert whole.fold is not None, "checked by the caller"
        manifest, recipe = whole.manifest, load_recipe(self.configs / str(line.recipe), self.overrides(line))
        captures = Captures(manifest, whole.fingerprint, "real")
        fold = np.array([whole.fold[str(capture)] for capture in manifest.frame["capture"]], np.int64)
        group = recipe.split.group
        return rivals_photos.Photos(
            manifest.frame,
            fold,
            captures.subjects if group is None else group_names(captures, group),
            lambda: rivals_photos.frozen_features(
                manifest,
                rivals_photos.imagenet_mobilenet(self.data),
                cache=recipe.compute.cache,
                fingerprint=whole.fingerprint,
            ),
        )

    def _blind(self, line: Line) -> pd.DataFrame | None:
        """The same recipe without any scale; None where the line asks for none or no such run is there."""
        if not line.blind:
            return None
        try:
            return self._get(line, "data.marks=none").predictions
        except RunError as error:
            if self.from_runs is None:
                raise
            self.say(f"{line.name}: the table of scales lacks the model that has never seen a mark: {error}")
            return None

    def _tables(self, line: Line, kept: Measured, blind: pd.DataFrame | None) -> list[Table]:
        from weft_training import result_tables

        predictions = kept.predictions
        found: list[Table | None] = []
        for name in line.tables:
            if name == "photos":
                found.append(result_tables.photos_together(predictions, "subjects"))
            elif name == "scale":
                found.append(result_tables.use_of_scale(predictions, blind))
            elif name == "intervals" and "low_grams" in predictions:
                found.append(result_tables.interval_groups(predictions, COVERAGE))
            elif name == "classes":
                found.append(result_tables.classes(predictions))
        return [table for table in found if table is not None]


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


def measure_lines(
    board: Board, lines: Sequence[Line], done: Callable[[Line, Result, Measured], None]
) -> dict[str, str]:
    """Measure one after the other; a line that fails says why and the others go on.

    Returns:
        Reason by name of every line that failed.
    """
    failed: dict[str, str] = {}
    for line in lines:
        try:
            result, measured = board.measure(line)
            done(line, result, measured)
        except (WeftError, ValueError, KeyError, OSError, RuntimeError) as error:
            # Of a programme that measures for an hour one broken line must not take the others with it.
            failed[line.name] = (
                str(error) if isinstance(error, WeftError) else f"{type(error).__name__}: {error}"
            )
            board.say(f"{line.name}: FAILED: {failed[line.name]}")
    return failed


def _of_line(line: Line, whole: Measured) -> Measured:
    """Only what the line is about: with `marked`, photos with the mark in view and their subjects."""
    if not line.marked:
        return whole
    assert whole.manifest is not None, "a line of marked photos is trained"
    frame = whole.manifest.frame
    seen = frame[frame["mark"].notna()]
    predictions = whole.predictions
    single = predictions["n_photos"] == 1
    keep = np.where(
        single, predictions["capture"].isin(seen["capture"]), predictions["subject"].isin(seen["subject"])
    )
    return replace(whole, predictions=predictions[keep])


def _alike(theirs: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Their answers to what we were asked: the same photos, the same subjects."""
    if "mode" not in ours:
        return theirs
    one, together = ours[ours["mode"] == "one"], ours[ours["mode"] == "all"]
    return theirs[
        ((theirs["mode"] == "one") & theirs["capture"].isin(one["capture"]))
        | ((theirs["mode"] == "all") & theirs["subject"].isin(together["subject"]))
    ]


def _comparable(recipe: Recipe) -> dict[str, Any]:
    """The settings that decide the figures: not where files lie, nor where it is tracked or exported to."""
    plain = recipe.model_dump(mode="json", exclude={"compute", "track", "export"})
    plain["data"].pop("manifest", None)
    return plain
