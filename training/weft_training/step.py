"""One update of a net's weights, and what it is to become better at."""

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft_training.fibre_net import FibreOutput
from weft_training.weight_net import WeightOutput


class Batch(NamedTuple):
    inputs: tuple[Tensor, ...]  # what the trained part of the net is called with
    truth: Tensor  # weight: (B,) grams; composition: (B, F + 1) shares, unknown last


class Criterion(Protocol):
    def __call__(self, output: Any, truth: Tensor) -> Tensor: ...


class Engine(Protocol):
    """The two calls of Lightning Fabric that an update needs."""

    def backward(self, tensor: Tensor) -> None: ...
    def clip_gradients(self, module: Any, optimizer: Any, *, max_norm: float) -> Any: ...


def pinball(error: Tensor, quantile: float) -> Tensor:
    """Mean loss that is least where `quantile` of the errors (truth - prediction) are negative."""
    return torch.maximum(quantile * error, (quantile - 1) * error).mean()


class QuantileLoss:
    """Pinball loss of log grams: 20 g off on a sock matters, 20 g off on a coat does not."""

    def __init__(self, quantiles: tuple[float, float, float]) -> None:
        self.quantiles = quantiles

    def __call__(self, output: WeightOutput, truth: Tensor) -> Tensor:
        log_grams = truth.log()
        low, middle, high = self.quantiles
        # The bounds hang on the median; detached, a wide interval cannot pull it away from the middle.
        bounds = pinball(log_grams - _hung(output.log_low, output), low)
        bounds = bounds + pinball(log_grams - _hung(output.log_high, output), high)
        return 2 * pinball(log_grams - output.log_grams, middle) + bounds


class ShareLoss:
    """Cross-entropy of shares, and of being unknown; the shares of a stranger are nobody's to learn."""

    def __call__(self, output: FibreOutput, truth: Tensor) -> Tensor:
        unknown = truth[:, -1].expand_as(output.unknown)  # (B,), or (M, B): every member's own error
        known = 1 - unknown
        shares = truth[:, :-1] / truth[:, :-1].sum(-1, keepdim=True).clamp(min=1e-6)
        per_scan = -(shares * output.shares.float().clamp(min=1e-6).log()).sum(-1)
        composition = (per_scan * known).sum() / known.sum().clamp(min=1)
        stranger = F.binary_cross_entropy(output.unknown.float().clamp(1e-4, 1 - 1e-4), unknown)
        return composition + stranger


def train_step(
    net: nn.Module,
    batch: Batch,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    *,
    engine: Engine,
    clip_norm: float,
) -> Tensor:
    """Update `net` once; the detached loss. Logging, schedules and averages belong to the caller."""
    loss = criterion(net(*batch.inputs), batch.truth)
    optimizer.zero_grad(set_to_none=True)
    engine.backward(loss)
    engine.clip_gradients(net, optimizer, max_norm=clip_norm)
    optimizer.step()
    return loss.detach()


def _hung(bound: Tensor, output: WeightOutput) -> Tensor:
    return output.log_grams.detach() + (bound - output.log_grams)
