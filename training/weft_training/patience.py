"""Early stop by subject: some training subjects are not fitted but watched, and the best epoch is kept.

The watched subjects are training subjects of the stage. Those that its fold predicts are never looked at: an
epoch chosen on them would flatter the figure they give.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft_datasets.splits import holdout_by_subject
from weft_training.data import Captures
from weft_training.recipe import Recipe
from weft_training.step import Batch, Criterion

Rows = NDArray[np.int64]

_AT_ONCE = 32  # captures; batch norm is in eval mode, so that their number does not matter


class Watched(Protocol):
    captures: Captures
    criterion: Criterion

    def clean(self, rows: Rows) -> Batch: ...


def watched_rows(captures: Captures, rows: Rows, recipe: Recipe) -> tuple[Rows, Rows]:
    """The rows to fit and those to watch, of the rows of a stage; none to watch without `optim.patience`."""
    if recipe.optim.patience is None:
        return rows, rows[:0]
    strata = None if recipe.split.strata is None else captures.column(recipe.split.strata).astype(str)
    held = holdout_by_subject(
        captures.subjects[rows].tolist(),
        share=recipe.optim.inner_share,
        seed=recipe.seed,
        strata=None if strata is None else strata.iloc[rows].tolist(),
    )
    return rows[~held], rows[held]


class Watch:
    """The best epoch so far, by the loss of the watched subjects; all of its state goes into a checkpoint."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best_loss = math.inf
        self.best_epoch = -1
        self.best: dict[str, Tensor] = {}

    def see(self, epoch: int, loss: float, module: nn.Module) -> None:
        """Note the loss of the watched subjects after `epoch`, and keep the weights of the best."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            self.best = copy.deepcopy(module.state_dict())

    def is_over(self, epoch: int) -> bool:
        """True where the epochs before `epoch` brought nothing new for as long as we are patient."""
        return self.best_epoch >= 0 and epoch - 1 - self.best_epoch >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"best_loss": self.best_loss, "best_epoch": self.best_epoch, "best": self.best}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.best_loss, self.best_epoch = float(state_dict["best_loss"]), int(state_dict["best_epoch"])
        self.best = dict(state_dict["best"])


def watched_loss(task: Watched, module: nn.Module, rows: Rows) -> float:
    """Mean loss of the unchanged captures `rows`; one vote a subject, however often captured."""
    device = next(module.parameters()).device
    subjects = task.captures.subjects[rows]
    losses: list[float] = []
    with torch.inference_mode():
        for subject in sorted(set(subjects.tolist())):
            own = rows[subjects == subject]
            total = 0.0
            for start in range(0, len(own), _AT_ONCE):
                part = own[start : start + _AT_ONCE]
                inputs, truth = task.clean(part)
                output = module(*(value.to(device) for value in inputs))
                total += len(part) * float(task.criterion(output, truth.to(device)))
            losses.append(total / len(own))
    return float(np.mean(losses))
