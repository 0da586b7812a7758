"""A run's folder: everything that a training leaves behind, and what it needs to go on after a kill.

runs/<name>-<time>/
    recipe.yaml          as resolved, defaults included
    facts.json           what it was trained on: fingerprint, code revision, real or simulated, ...
    split.parquet        capture, subject, fold
    <stage>/             fold-0 ... and final
        checkpoint.pt    the last finished epoch
        weights.pt       of the trained part, when the stage is done
        curve.jsonl      one line an epoch
        predictions.parquet   of the rows this stage did not see
    predictions.parquet  all of them
    metrics.json         and then the run is done: it can be exported
    bundle.onnx          what `weft export` wrote
    report/              report.html and its figures
    recorded.json        what MLflow has of it; the last that `weft train` writes
"""

import io
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from weft.errors import RecipeError, RunError
from weft_training.data import Captures
from weft_training.recipe import Recipe, dump_recipe, load_recipe
from weft_training.revision import code_revision


class Run:
    """One folder of a run. `create_run`, `open_run` and `find_run` make it."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        self.recipe = recipe

    @property
    def done(self) -> bool:
        return (self.folder / "metrics.json").is_file()

    @property
    def recorded(self) -> bool:
        """True once `weft train` has nothing left to do here."""
        return (self.folder / "recorded.json").is_file()

    def stage(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def facts(self) -> dict[str, Any]:
        """What the run was trained on; RunError where it has not come so far."""
        path = self.folder / "facts.json"
        if not path.is_file():
            raise RunError(f"{self.folder}: nothing was trained here yet; go on with `weft train --resume`")
        return json.loads(path.read_text())

    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions; RunError where the run is not finished."""
        path = self.folder / "predictions.parquet"
        if not path.is_file():
            raise RunError(f"{self.folder}: not finished; go on with `weft train --resume {self.folder}`")
        return pd.read_parquet(path)

    def metrics(self) -> dict[str, float]:
        """Final figures; RunError where the run is not finished."""
        path = self.folder / "metrics.json"
        if not path.is_file():
            raise RunError(f"{self.folder}: not finished; go on with `weft train --resume {self.folder}`")
        return json.loads(path.read_text())

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        write_atomically(self.folder / name, json.dumps(dict(values), indent=2, sort_keys=True).encode())

    def settle_split(self, captures: Captures, fold: NDArray[np.int64], *, frozen: str = "") -> None:
        """Store the split, or make sure that a resumed run goes on with the very same data and split.

        Args:
            frozen: Digest of weights that the run uses and does not keep.

        Raises:
            RunError: The data or the frozen weights have changed since the run was started.
        """
        path = self.folder / "split.parquet"
        frame = pd.DataFrame(
            {"capture": captures.manifest.frame["capture"], "subject": captures.subjects, "fold": fold}
        )
        if not path.is_file():
            write_frame(path, frame)
            self.write_json("facts.json", self._gather(captures) | {"frozen_digest": frozen})
            return
        self.check_frozen(frozen)
        stored = self.facts()["dataset_fingerprint"]
        if stored != captures.fingerprint or not pd.read_parquet(path).equals(frame):
            raise RunError(
                f"{self.folder}: the data are not those it was started with (fingerprint {stored[:12]}, now "
                f"{captures.fingerprint[:12]}); put them back or start a new run"
            )

    def check_frozen(self, digest: str) -> None:
        """Raise RunError where the frozen weights are not those that the run was started with."""
        stored = self.facts().get("frozen_digest", digest)  # older runs did not note it
        if stored != digest:
            raise RunError(
                f"{self.folder}: the weights behind model.pretrained are not those it was started with "
                f"(digest {stored[:12]}, now {digest[:12]}); put them back or start a new run"
            )

    def _gather(self, captures: Captures) -> dict[str, Any]:
        manifest = captures.manifest
        return {
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_revision": code_revision(),
            "dataset": manifest.name,
            "dataset_fingerprint": captures.fingerprint,
            "trained_on": captures.trained_on,
            "captures": len(captures),
            "subjects": len(set(captures.subjects.tolist())),
            "task": self.recipe.task,
        }


def create_run(recipe: Recipe, runs: Path) -> Run:
    """Make a new folder below `runs`, with the recipe in it."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for attempt in range(100):
        folder = runs / (f"{recipe.name}-{stamp}" + (f"-{attempt}" if attempt else ""))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        write_atomically(folder / "recipe.yaml", dump_recipe(recipe).encode())
        return Run(folder, recipe)
    raise RunError(f"{runs}: a hundred runs were started in this second; wait a moment")


def open_run(folder: Path) -> Run:
    """A run that exists; RunError where the folder is none."""
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise RunError(f"{folder}: not a run (there is no recipe.yaml); name a folder that `weft train` made")
    return Run(folder, load_recipe(path))


def find_run(recipe: Recipe, runs: Path) -> Run:
    """The newest run of this very recipe that is not yet fitted, exported and recorded.

    Raises:
        RunError: There is none, or only of other settings.
    """
    unfinished = [run for run in runs_of(recipe.name, runs) if not run.recorded]
    same = [run for run in unfinished if run.recipe == recipe]
    if not same:
        others = f"; {unfinished[-1].folder} has other settings" if unfinished else ""
        raise RunError(f"{runs}: no unfinished run of {recipe.name} to go on with{others}; start it anew")
    return same[-1]


def runs_of(name: str, runs: Path) -> list[Run]:
    """The runs of a recipe's name, oldest first; one whose recipe cannot be read any more is passed over."""
    found: list[Run] = []
    for path in sorted(runs.glob(f"{name}-*/recipe.yaml")):
        try:
            run = open_run(path.parent)
        except RecipeError:
            continue  # of an older Weft, with keys that are no longer known
        if run.recipe.name == name:
            found.append(run)
    return found


def check_same_recipe(run: Run, recipe: Recipe) -> None:
    """Raise RunError where a resumed run would go on with other settings than it was started with."""
    if run.recipe != recipe:
        raise RunError(
            f"{run.folder}: was started with other settings than this recipe gives; leave the overrides as "
            f"they were, or start a new run"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write so that a reader, or a kill, finds the old file or the new one and never half of one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    beside.replace(path)


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    write_atomically(path, buffer.getvalue())


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_atomically(path, buffer.getvalue())
