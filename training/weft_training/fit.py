"""The training loop: folds, epochs, steps. `step.py` has the update itself, the tasks what is particular.

Protocol, for both tasks: each fold of subjects is predicted by a net that never saw it; the predictions give
the metrics and the intervals; a last net is fitted on everything and exported. `holdout` fits once.
"""

from weft_training import torchvision_gate  # isort: skip

import copy
import json
import math
import random
from collections.abc import Sequence
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

from weft.errors import RecipeError
from weft_training.data import TRAIN, Captures, load_captures, split_captures
from weft_training.fibre_task import FibreTask
from weft_training.metrics import metrics_of
from weft_training.recipe import OptimSection, Recipe, WeightRecipe
from weft_training.run import Run, write_atomically, write_frame, write_state
from weft_training.step import Batch, Criterion, train_step
from weft_training.weight_task import WeightTask

__all__ = ["Task", "fit_run", "load_net", "make_fabric", "make_task", "torchvision_gate"]

Rows = NDArray[np.int64]
FINAL = "final"


class Task(Protocol):
    """What the loop needs to know of photos or spectra. Rows are numbers of captures."""

    captures: Captures
    criterion: Criterion

    def prepare(self, *, quiet: bool) -> None: ...
    def frozen_digest(self) -> str: ...
    def build(self, rows: Rows, *, seed: int) -> Any: ...
    def trained(self, net: Any) -> nn.Module: ...
    def backbone_parameters(self, net: Any) -> list[nn.Parameter]: ...
    def items(self, rows: Rows, rng: np.random.Generator) -> list[Rows]: ...
    def batch(self, items: Sequence[Rows], rng: np.random.Generator) -> Batch: ...
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
    return FibreTask(captures, recipe)


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
    epochs = sum(recipe.optim.epochs for stage in stages if not _finished(run, stage))
    with tqdm(total=epochs, unit="epoch", disable=fabric.global_rank > 0 or None) as bar:
        for stage in stages:
            bar.set_description(stage.name)
            if not _finished(run, stage):
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


def fit_stage(run: Run, task: Task, stage: Stage, *, fabric: Fabric, bar: tqdm) -> None:
    """Fit one net, write its weights and what it predicts of the rows that it has not seen."""
    folder = run.stage(stage.name)
    seed = run.recipe.seed * 1000 + stage.number
    net = task.build(stage.train, seed=seed)
    fit_net(task, net, stage.train, optim=run.recipe.optim, seed=seed, folder=folder, fabric=fabric, bar=bar)
    if fabric.global_rank == 0:
        if len(stage.predict):
            write_frame(folder / "predictions.parquet", task.predict(net, stage.predict))
        net.cpu()
        write_state(folder / "weights.pt", task.trained(net).state_dict())
        (folder / "checkpoint.pt").unlink(missing_ok=True)


def fit_net(
    task: Task,
    net: Any,
    rows: Rows,
    *,
    optim: OptimSection,
    seed: int,
    folder: Path,
    fabric: Fabric,
    bar: tqdm,
) -> None:
    """Train `net` on `rows`, from the checkpoint in `folder` if any; it ends with the averaged weights."""
    module = task.trained(net)
    if optim.epochs == 0:
        return
    optimizer = torch.optim.AdamW(parameter_groups(module, task.backbone_parameters(net), optim))
    trained, optimizer = fabric.setup(module, optimizer)
    average = copy.deepcopy(module).eval()
    # No more steps than leave every process something to do in each.
    steps = max(1, min(round(len(rows) / optim.batch), len(rows) // fabric.world_size))
    start = _resume(folder / "checkpoint.pt", module, average, optimizer)
    if fabric.global_rank == 0:
        _forget_from(folder / "curve.jsonl", start)
    for epoch in range(start, optim.epochs):
        rng = seed_epoch(seed, epoch, rank=fabric.global_rank)
        # The order is the same in all processes; each takes its share of every batch.
        items = task.items(rows, np.random.default_rng([seed, epoch]))
        total = 0.0
        module.train()
        for number, chosen in enumerate(np.array_split(np.arange(len(items)), steps)):
            at = epoch * steps + number
            set_rates(optimizer, at / (steps * optim.epochs), warmup=optim.warmup)
            mine = [items[index] for index in chosen[fabric.global_rank :: fabric.world_size]]
            batch = fabric.to_device(task.batch(mine, rng))
            loss = train_step(
                trained, batch, task.criterion, optimizer, engine=fabric, clip_norm=optim.clip_norm
            )
            update_average(average, module, decay=optim.ema, step=at)
            total += float(loss)
        _keep(folder, module, average, optimizer, epoch=epoch, loss=total / steps, fabric=fabric)
        bar.set_postfix(loss=f"{total / steps:.3f}", refresh=False)
        bar.update()
    module.load_state_dict(average.state_dict())
    module.eval()


def seed_epoch(seed: int, epoch: int, *, rank: int) -> np.random.Generator:
    """Seed everything that draws in this epoch, and return a generator for the rest.

    From run, stage, epoch and process, not from stored generator states: an epoch draws the same numbers
    whether the run came to it in one go or after a kill, on whichever process.
    """
    words = np.random.SeedSequence([seed, epoch, rank]).generate_state(3)
    torch.manual_seed(int(words[0]))
    random.seed(int(words[1]))
    np.random.seed(int(words[2]))
    return np.random.default_rng([seed, epoch, rank, 1])


def parameter_groups(
    module: nn.Module, backbone: Sequence[nn.Parameter], optim: OptimSection
) -> list[dict[str, Any]]:
    """Two rates (head, backbone), and no decay on biases and norms; `set_rates` scales `peak_lr`."""
    inside = {id(parameter) for parameter in backbone}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in inside, parameter.ndim > 1), []).append(parameter)
    slow = optim.peak_lr if optim.backbone_lr is None else optim.backbone_lr
    return [
        {
            "params": parameters,
            "lr": slow if is_backbone else optim.peak_lr,
            "peak_lr": slow if is_backbone else optim.peak_lr,
            "weight_decay": optim.weight_decay if decays else 0.0,
        }
        for (is_backbone, decays), parameters in groups.items()
    ]


def set_rates(optimizer: torch.optim.Optimizer, progress: float, *, warmup: float) -> None:
    """Linear warm-up, then cosine to zero; a function of the progress 0..1, so that it needs no state."""
    if progress < warmup:
        factor = (progress + 1e-3) / (warmup + 1e-3)
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, *, decay: float, step: int) -> None:
    """Move `average` towards `module`; faster in the first steps, which would else weigh for ever."""
    decay = min(decay, (1 + step) / (10 + step)) if decay else 0.0
    for kept, new in zip(average.parameters(), module.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(average.buffers(), module.buffers(), strict=True):
        kept.copy_(new)


def load_net(run: Run, task: Task, fold: NDArray[np.int64]) -> Any:
    """The final net of a finished run, as it was after its last stage."""
    stage = list_stages(fold)[-1]
    net = task.build(stage.train, seed=run.recipe.seed * 1000 + stage.number)
    weights = torch.load(run.folder / FINAL / "weights.pt", map_location="cpu", weights_only=True)
    task.trained(net).load_state_dict(weights)
    return net.eval()


def _finished(run: Run, stage: Stage) -> bool:
    return (run.folder / stage.name / "weights.pt").is_file()


def _resume(path: Path, module: nn.Module, average: nn.Module, optimizer: Any) -> int:
    """Take up the last finished epoch; the number of the epoch to go on with."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(state["module"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["epoch"]) + 1


def _forget_from(curve: Path, epoch: int) -> None:
    """Drop what a killed run noted of epochs that are gone through again, whole lines or half of one."""
    if curve.is_file():
        write_atomically(curve, b"".join(curve.read_bytes().splitlines(keepends=True)[:epoch]))


def _keep(
    folder: Path,
    module: nn.Module,
    average: nn.Module,
    optimizer: Any,
    *,
    epoch: int,
    loss: float,
    fabric: Fabric,
) -> None:
    mean = float(fabric.all_reduce(torch.tensor(loss), reduce_op="mean"))
    if fabric.global_rank == 0:
        with (folder / "curve.jsonl").open("a") as out:
            rate = optimizer.param_groups[0]["lr"]
            out.write(json.dumps({"epoch": epoch, "loss": mean, "rate": rate}) + "\n")
        state = {
            "epoch": epoch,
            "module": module.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        write_state(folder / "checkpoint.pt", state)
    fabric.barrier()


def _conclude(run: Run, stages: Sequence[Stage], fold: NDArray[np.int64]) -> None:
    parts = [
        pd.read_parquet(run.folder / stage.name / "predictions.parquet")
        for stage in stages
        if len(stage.predict)
    ]
    predictions = pd.concat(parts, ignore_index=True)
    of_capture = dict(zip(pd.read_parquet(run.folder / "split.parquet")["capture"], fold, strict=True))
    predictions.insert(2, "fold", predictions["capture"].map(of_capture).astype("int64"))
    write_frame(run.folder / "predictions.parquet", predictions)
    found = metrics_of(predictions, run.recipe.task, coverage=run.recipe.calibrate.coverage)
    run.write_json("metrics.json", found)
