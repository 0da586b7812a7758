"""The training loop: folds, epochs, steps. `step.py` has the update itself, the tasks what is particular.

Protocol, for both tasks: each fold of subjects is predicted by a net that never saw it; the predictions give
the metrics and the intervals; a last net is fitted on everything and exported. `holdout` fits once.
"""

from weft_training import torchvision_gate  # isort: skip

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from lightning.fabric import Fabric
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from weft.errors import RecipeError, RunError
from weft_training.ahead import made_ahead
from weft_training.belt_task import BeltTask
from weft_training.data import TRAIN, Captures, load_captures, split_captures
from weft_training.fibre_task import FibreTask
from weft_training.kernel_share import chooses_share, share_of, with_own_share
from weft_training.metrics import metrics_of
from weft_training.pair_task import PairTask
from weft_training.patience import Watch, watched_loss, watched_rows
from weft_training.rates import parameter_groups, set_rates, start_average, update_average
from weft_training.recipe import BeltRecipe, Recipe, WeightRecipe
from weft_training.run import Run, write_atomically, write_frame, write_state
from weft_training.step import Batch, Criterion, train_step
from weft_training.weight_task import WeightTask

__all__ = ["Task", "fit_run", "load_net", "make_fabric", "make_task", "torchvision_gate"]

Rows = NDArray[np.int64]
FINAL = "final"


class Stateful(Protocol):
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


class Task(Protocol):
    """What the loop needs to know of photos, spectra or pixels. Rows are numbers of captures."""

    captures: Captures
    criterion: Criterion

    @property
    def ahead(self) -> bool: ...  # `batch` is worth a thread, and draws from nothing but its generator
    def prepare(self, *, quiet: bool) -> None: ...
    def frozen_digest(self) -> str: ...
    def build(self, rows: Rows, *, seed: int) -> Any: ...
    def trained(self, net: Any) -> nn.Module: ...
    def backbone(self, net: Any) -> nn.Module | None: ...  # timm's network, where it is trained
    def items(self, rows: Rows, rng: np.random.Generator) -> list[Rows]: ...
    def batch(self, items: Sequence[Rows], rng: np.random.Generator) -> Batch: ...
    def clean(self, rows: Rows) -> Batch: ...  # each capture by itself and unchanged
    def finish(self, net: Any, rows: Rows) -> None: ...
    def predict(self, net: Any, rows: Rows) -> pd.DataFrame: ...
    def graph_inputs(self, rows: Rows) -> dict[str, NDArray[np.generic]]: ...


@dataclass(frozen=True, eq=False)
class Stage:
    """One net: the rows it is fitted on and those it then predicts."""

    name: str
    number: int
    train: Rows
    predict: Rows


def make_task(recipe: Recipe, captures: Captures) -> Task:
    if isinstance(recipe, WeightRecipe):
        return WeightTask(captures, recipe)
    if isinstance(recipe, BeltRecipe):
        return BeltTask(captures, recipe)
    return FibreTask(captures, recipe) if recipe.model.photo is None else PairTask(captures, recipe)


def make_fabric(recipe: Recipe) -> Fabric:
    """One process, or as many as `torchrun` started; RecipeError where the device is not there."""
    import os

    if recipe.compute.device == "cuda" and not torch.cuda.is_available():
        raise RecipeError("compute.device: cuda, but torch sees no GPU here; write auto or cpu")
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Fabric(
        accelerator=recipe.compute.device,
        devices=processes,
        num_nodes=int(os.environ.get("WORLD_SIZE", "1")) // processes,
        strategy="ddp" if several else "auto",
        precision=recipe.compute.precision,
    )


def fit_run(run: Run, fabric: Fabric) -> None:
    """Fit all stages of a run, from where it was left; ends with predictions.parquet and metrics.json."""
    recipe = run.recipe
    with fabric.rank_zero_first():  # one process simulates, looks for marks and fills the caches
        captures = load_captures(recipe)
        fold = split_captures(captures, recipe.split, seed=recipe.seed)
        task = make_task(recipe, captures)
        task.prepare(quiet=fabric.global_rank > 0)
        if fabric.global_rank == 0:
            run.settle_split(captures, fold, frozen=task.frozen_digest())
    stages = list_stages(fold)
    epochs = sum(recipe.optim.epochs for stage in stages if not stage_is_done(run, stage))
    with tqdm(total=epochs, unit="epoch", disable=fabric.global_rank > 0 or None) as bar:
        for stage in stages:
            bar.set_description(stage.name)
            if not stage_is_done(run, stage):
                fit_stage(run, task, stage, fabric=fabric, bar=bar)
            fabric.barrier()
    if fabric.global_rank == 0:
        _conclude(run, stages, fold)
    fabric.barrier()


def list_stages(fold: NDArray[np.int64]) -> list[Stage]:
    """The nets of a run: one a fold and a final one on everything, or the final one alone for a holdout."""
    everything = np.arange(len(fold))
    if (fold == TRAIN).any():
        return [Stage(FINAL, 0, everything[fold == TRAIN], everything[fold != TRAIN])]
    folds = [
        Stage(f"fold-{number}", 1 + number, everything[fold != number], everything[fold == number])
        for number in range(int(fold.max()) + 1)
    ]
    return [*folds, Stage(FINAL, 0, everything, everything[:0])]


def stage_is_done(run: Run, stage: Stage) -> bool:
    return (run.folder / stage.name / "weights.pt").is_file()


def fit_stage(run: Run, task: Task, stage: Stage, *, fabric: Fabric, bar: tqdm) -> None:
    """Fit one net, write its weights and what it predicts of the rows that it has not seen."""
    folder = run.stage(stage.name)
    seed = run.recipe.seed * 1000 + stage.number
    fitted, watched = watched_rows(task.captures, stage.train, run.recipe)
    net = task.build(fitted, seed=seed)
    if run.recipe.optim.epochs:
        course = Course(task, run.recipe, fitted, watched, seed=seed, folder=folder)
        fit_net(net, course, fabric=fabric, bar=bar)
    if fabric.global_rank == 0:
        task.finish(net, stage.train)
        if len(stage.predict):
            write_frame(folder / "predictions.parquet", task.predict(net, stage.predict))
        net.cpu()
        write_state(folder / "weights.pt", task.trained(net).state_dict())
        (folder / "checkpoint.pt").unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Course:
    """What one net is fitted on, and how."""

    task: Task
    recipe: Recipe
    fitted: Rows
    watched: Rows  # empty without `optim.patience`
    seed: int
    folder: Path  # of the checkpoint and the curve

    def batches(self, epoch: int, steps: int, *, rank: int, world_size: int) -> Iterator[Batch]:
        """This process's part of every batch of an epoch; each draws from a generator of its own."""
        # The order is the same in all processes; each takes its share of every batch.
        items = self.task.items(self.fitted, np.random.default_rng([self.seed, epoch]))
        shares = np.array_split(np.arange(len(items)), steps)

        def make(number: int) -> Batch:
            mine = [items[index] for index in shares[number][rank::world_size]]
            return self.task.batch(mine, np.random.default_rng([self.seed, epoch, rank, number]))

        return made_ahead(make, steps, threads=self._threads() if self.task.ahead else 0)

    def _threads(self) -> int:
        """That make batches ahead: on a CPU they would take from the step what they save it."""
        compute = self.recipe.compute
        if compute.workers is not None:
            return compute.workers
        return int(compute.device != "cpu" and torch.cuda.is_available())


def fit_net(net: Any, course: Course, *, fabric: Fabric, bar: tqdm) -> None:
    """Train `net`, from the checkpoint in the course's folder if any; it ends with the averaged weights."""
    task, optim, folder = course.task, course.recipe.optim, course.folder
    module = task.trained(net)
    if course.recipe.compute.channels_last:
        module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.AdamW(parameter_groups(module, task.backbone(net), optim))
    trained, optimizer = fabric.setup(module, optimizer)
    average = start_average(module)
    parts: dict[str, Stateful] = {"module": module, "average": average, "optimizer": optimizer}
    watch = Watch(optim.patience) if optim.patience else None
    if watch is not None:
        parts["watch"] = watch
    # No more steps than leave every process something to do in each.
    rows = len(course.fitted)
    steps = max(1, min(round(rows / optim.batch), rows // fabric.world_size))
    start = _resume(folder / "checkpoint.pt", parts)
    if fabric.global_rank == 0:
        _forget_from(folder / "curve.jsonl", start)
    for epoch in range(start, optim.epochs):
        if watch is not None and watch.is_over(epoch):
            bar.update(optim.epochs - epoch)
            break
        seed_epoch(course.seed, epoch, rank=fabric.global_rank)
        total = 0.0
        module.train()
        made = course.batches(epoch, steps, rank=fabric.global_rank, world_size=fabric.world_size)
        for at, batch in enumerate(made, start=epoch * steps):
            set_rates(optimizer, at / (steps * optim.epochs), warmup=optim.warmup)
            batch = fabric.to_device(batch)
            loss = train_step(
                trained, batch, task.criterion, optimizer, engine=fabric, clip_norm=optim.clip_norm
            )
            update_average(average, module, decay=optim.ema, step=at)
            total += float(loss)
        mean = float(fabric.all_reduce(torch.tensor(total / steps), reduce_op="mean"))
        line = {"epoch": epoch, "loss": mean, "rate": max(g["lr"] for g in optimizer.param_groups)}
        if watch is not None:
            # One process looks and tells the others, so that all stop at the same epoch.
            seen = watched_loss(task, average, course.watched) if fabric.global_rank == 0 else 0.0
            line["watched_loss"] = fabric.broadcast(seen)
            watch.see(epoch, line["watched_loss"], average)
        if fabric.global_rank == 0:
            _keep(folder, line, parts)
        fabric.barrier()
        bar.set_postfix(loss=f"{mean:.3f}", refresh=False)
        bar.update()
    module.load_state_dict(average.state_dict() if watch is None else watch.best)
    module.eval()


def seed_epoch(seed: int, epoch: int, *, rank: int) -> None:
    """Seed everything that draws in this epoch without a generator of its own, such as dropout.

    From run, stage, epoch and process, not from stored generator states: an epoch draws the same numbers
    whether the run came to it in one go or after a kill, on whichever process.
    """
    words = np.random.SeedSequence([seed, epoch, rank]).generate_state(3)
    torch.manual_seed(int(words[0]))
    random.seed(int(words[1]))
    np.random.seed(int(words[2]))


def load_net(run: Run, task: Task, fold: NDArray[np.int64]) -> Any:
    """The final net of a finished run, as it was after its last stage."""
    stage = list_stages(fold)[-1]
    fitted, _ = watched_rows(task.captures, stage.train, run.recipe)
    net = task.build(fitted, seed=run.recipe.seed * 1000 + stage.number)
    weights = torch.load(run.folder / FINAL / "weights.pt", map_location="cpu", weights_only=True)
    try:
        task.trained(net).load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"{run.folder}: was trained by another version of Weft; train it again") from error
    return net.eval()


def _resume(path: Path, parts: Mapping[str, Stateful]) -> int:
    """Take up the last finished epoch; the number of the epoch to go on with."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except RuntimeError as error:
        raise RunError(f"{path}: was written by another version of Weft; train without --resume") from error
    return int(state["epoch"]) + 1


def _forget_from(curve: Path, epoch: int) -> None:
    """Drop what a killed run noted of epochs that are gone through again, whole lines or half of one."""
    if curve.is_file():
        write_atomically(curve, b"".join(curve.read_bytes().splitlines(keepends=True)[:epoch]))


def _keep(folder: Path, line: dict[str, float], parts: Mapping[str, Stateful]) -> None:
    """Add a line to the curve and replace the checkpoint."""
    with (folder / "curve.jsonl").open("a") as out:
        out.write(json.dumps(line) + "\n")
    state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
    write_state(folder / "checkpoint.pt", state | {"epoch": line["epoch"]})


def collect_predictions(run: Run, stages: Sequence[Stage], fold: NDArray[np.int64]) -> pd.DataFrame:
    """What the stages predicted of the rows that they had not seen, with the rows' fold."""
    parts = [
        pd.read_parquet(run.folder / stage.name / "predictions.parquet")
        for stage in stages
        if len(stage.predict)
    ]
    predictions = pd.concat(parts, ignore_index=True)
    of_capture = dict(zip(pd.read_parquet(run.folder / "split.parquet")["capture"], fold, strict=True))
    predictions.insert(2, "fold", predictions["capture"].map(of_capture).astype("int64"))
    return with_own_share(predictions) if chooses_share(run.recipe) else predictions


def _conclude(run: Run, stages: Sequence[Stage], fold: NDArray[np.int64]) -> None:
    predictions = collect_predictions(run, stages, fold)
    write_frame(run.folder / "predictions.parquet", predictions)
    if chooses_share(run.recipe):
        file = run.folder / FINAL / "weights.pt"
        weights = torch.load(file, map_location="cpu", weights_only=True)
        weights["kernel.share"].fill_(share_of(predictions))
        write_state(file, weights)
    found = metrics_of(predictions, run.recipe.task, coverage=run.recipe.calibrate.coverage)
    run.write_json("metrics.json", found)
