"""What each weight learns at, and the average that is kept of its course."""

from weft_training import torchvision_gate  # isort: skip

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from weft_training.recipe import OptimSection

__all__ = ["parameter_groups", "set_rates", "start_average", "torchvision_gate", "update_average"]


def parameter_groups(
    module: nn.Module, backbone: nn.Module | None, optim: OptimSection
) -> list[dict[str, Any]]:
    """Groups for AdamW; `set_rates` scales their `peak_lr`. Biases and norms do not decay.

    The backbone learns at `backbone_lr`, each of its layers at `layer_decay` times the rate of the layer
    behind it (Clark et al. 2020, ELECTRA; Bao et al. 2021, BEiT; layers as timm's `group_matcher` has them);
    all else at `peak_lr`.
    """
    slow = optim.peak_lr if optim.backbone_lr is None else optim.backbone_lr
    scaled: list[dict[str, Any]] = []
    if backbone is not None and any(parameter.requires_grad for parameter in backbone.parameters()):
        scaled = param_groups_layer_decay(
            backbone, weight_decay=optim.weight_decay, layer_decay=optim.layer_decay
        )
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    inside: set[int] = set()
    for group in scaled:
        inside.update(id(parameter) for parameter in group["params"])
        groups.setdefault((slow * group["lr_scale"], group["weight_decay"]), []).extend(group["params"])
    for parameter in module.parameters():
        if parameter.requires_grad and id(parameter) not in inside:
            decay = optim.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((optim.peak_lr, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": rate, "peak_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def set_rates(optimizer: torch.optim.Optimizer, progress: float, *, warmup: float) -> None:
    """Linear warm-up, then cosine to zero; a function of the progress 0..1, so that it needs no state."""
    if progress < warmup:
        factor = (progress + 1e-3) / (warmup + 1e-3)
    else:
        factor = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor


def start_average(net: Any) -> Any:
    """A copy of a net whose weights follow those of the net (`update_average`)."""
    return copy.deepcopy(net).eval()


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, *, decay: float, step: int) -> None:
    """Move `average` towards `module`; faster in the first steps, which would else weigh for ever.

    The running statistics of batch norms are averaged as the weights are: those of the last step belong to
    weights that the average has not come to yet.
    """
    decay = min(decay, (1 + step) / (10 + step)) if decay else 0.0
    for kept, new in zip(
        _flat(average.parameters(), average.buffers()),
        _flat(module.parameters(), module.buffers()),
        strict=True,
    ):
        if decay and kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:  # counters, indices
            kept.copy_(new)


def _flat(*parts: Any) -> Sequence[torch.Tensor]:
    return [tensor for part in parts for tensor in part]
