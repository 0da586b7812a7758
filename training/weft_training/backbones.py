"""timm's networks, with their weights from a hub or a file and their first layer fitted to the bands."""

from weft_training import torchvision_gate  # isort: skip

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from timm.models import group_parameters
from torch import Tensor, nn

from weft.errors import RecipeError

__all__ = ["build_backbone", "freeze_stages", "torchvision_gate"]

_FILES = {".safetensors", ".pth", ".pt"}
_COLOURS = {"red": 0, "green": 1, "blue": 2}


def build_backbone(
    name: str,
    *,
    pretrained: str | None,
    pretrained_classes: int | None,
    pad_type: str | None,
    bands: Sequence[str],
) -> nn.Module:
    """A network (M, C, S, S) -> (M, D) without a classifier.

    Args:
        pretrained: None, the path of a .safetensors or .pth file, or a name that timm finds on a hub.

    Raises:
        RecipeError: No such network or file, or weights that do not fit.
    """
    extra: dict[str, Any] = {} if pad_type is None else {"pad_type": pad_type}
    if pretrained is None:
        return _create(name, in_chans=len(bands), num_classes=0, **extra)
    if Path(pretrained).suffix in _FILES:
        if not Path(pretrained).is_file():
            raise RecipeError(
                f"model.pretrained: there is no file {pretrained}; give the path of the weights"
            )
        classes = {} if pretrained_classes is None else {"num_classes": pretrained_classes}
        net = _create(name, **classes, **extra)
        _load(net, Path(pretrained))
        net.reset_classifier(0)  # pyright: ignore[reportCallIssue]
    else:
        net = _create(pretrained, pretrained=True, num_classes=0, **extra)
    fit_first_layer(net, bands)
    return net


def fit_first_layer(net: nn.Module, bands: Sequence[str]) -> None:
    """Give the pretrained first convolution one input channel per band, in the order of `bands`."""
    path: str = net.default_cfg["first_conv"]  # pyright: ignore[reportIndexIssue, reportAssignmentType]
    first = net.get_submodule(path)
    if tuple(bands) == tuple(_COLOURS) or not isinstance(first, nn.Conv2d):
        return
    colours = first.weight.detach()  # (out, 3, k, k)
    # A band without a pretrained filter (near infrared, depth) starts as the mean of red, green and blue. All
    # are scaled by 3 / C so that the first layer's output keeps its size, and later layers their meaning;
    # random filters would drown, and zeros hide, the band for the first epochs.
    filters = [colours[:, _COLOURS[band]] if band in _COLOURS else colours.mean(1) for band in bands]
    first.weight = nn.Parameter(torch.stack(filters, dim=1) * (3 / len(bands)))
    first.in_channels = len(bands)


def freeze_stages(net: nn.Module, stages: int) -> None:
    """Stop gradients of the first `stages` stages, as timm groups any of its networks' layers."""
    groups = group_parameters(net, net.group_matcher(coarse=True))  # pyright: ignore[reportCallIssue]
    if stages >= len(groups):
        raise RecipeError(f"model.freeze: {stages} of {len(groups)} stages; write `all` to freeze every one")
    parameters = dict(net.named_parameters())
    for stage in sorted(groups)[:stages]:
        for name in groups[stage]:
            parameters[name].requires_grad_(False)


def _create(name: str, **kwargs: Any) -> nn.Module:
    try:
        return timm.create_model(name, **kwargs)
    except (
        Exception
    ) as error:  # timm and its hub raise many kinds; all mean that the recipe's name cannot be had
        raise RecipeError(
            f"model.backbone: timm cannot make {name!r} ({error}); see timm.list_models(), and where no "
            f"hub can be reached give model.pretrained a file"
        ) from error


def _load(net: nn.Module, path: Path) -> None:
    try:
        if path.suffix == ".safetensors":
            weights: dict[str, Tensor] = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(weights)
    except Exception as error:  # the readers raise what they like on a wrong file
        raise RecipeError(
            f"model.pretrained: {path} does not fit the backbone ({str(error)[:200]}); "
            f"check model.backbone, pretrained_classes and pad_type"
        ) from error
