"""The stem of a net that looks at photos: pixels -> what a backbone sees of each. Letters as `weight_net`."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.errors import RecipeError
from weft_training.backbones import build_backbone, freeze_stages
from weft_training.recipe import WeightModel
from weft_training.resize import to_squares


class Seen(NamedTuple):
    """What the stem saw in each photo; zeros at masked places in training."""

    pooled: Tensor  # (B, N, D)
    maps: Tensor  # (B, N, K, h, w); K = 0 without `levels`


class WeightStem(nn.Module):
    """Padded photos -> features of each photo, and maps of where in it they lie."""

    def __init__(
        self,
        backbone: nn.Module,
        *,
        input_px: int,
        mean: list[float],
        std: list[float],
        levels: Sequence[int] = (),
        layers: Sequence[int] = (),
    ) -> None:
        """
        Args:
            levels: Stages of the timm backbone whose maps are given, side by side on the coarsest grid.
            layers: Stages whose channels' mean and spread over the photo are put behind the pooled features.
        """
        super().__init__()
        self.backbone = backbone
        self.input_px = input_px
        self.levels = list(levels)
        self.layers = list(layers)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])  # (C, 1, 1), of 0..255
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, photos: Tensor, size: Tensor, mask: Tensor) -> Seen:
        if not self.training:
            pooled, maps = self.look(photos.flatten(0, 1), size.flatten(0, 1))
            return Seen(pooled.unflatten(0, mask.shape), maps.unflatten(0, mask.shape))
        # Padded places cost time, and would go into the batch statistics as if they were grey photos.
        pooled, maps = self.look(photos[mask], size[mask])
        return Seen(put_back(pooled, mask), put_back(maps, mask))

    def look(self, photos: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """(B*N, D) and (B*N, K, h, w) of photos (B*N, C, H, W)."""
        parts, maps = self.look_apart(photos, size)
        return torch.cat(parts, dim=-1), maps

    def look_apart(self, photos: Tensor, size: Tensor) -> tuple[list[Tensor], Tensor]:
        """The same with the features of the last layer, and of each of `layers`, apart: (B*N, its own D)."""
        squares = to_squares(photos, size, out=self.input_px)  # (B*N, C, S, S)
        given = (squares - self.mean) / self.std
        stages = sorted({*self.levels, *self.layers})
        if not stages:
            pooled = self.backbone(given)
            return [pooled], pooled.new_zeros(pooled.shape[0], 0, 1, 1)
        last, found = self.backbone.forward_intermediates(given, indices=stages)  # pyright: ignore
        of_stage: dict[int, Tensor] = dict(zip(stages, found, strict=True))
        pooled = self.backbone.forward_head(last, pre_logits=True)  # pyright: ignore
        parts = [pooled, *(_mean_and_spread(of_stage[layer]) for layer in self.layers)]
        if not self.levels:
            return parts, pooled.new_zeros(pooled.shape[0], 0, 1, 1)
        maps = [of_stage[level] for level in self.levels]
        cells = maps[-1].shape[-2:]
        # Whole multiples of the coarsest grid: a plain mean, the same on every engine.
        coarse = [F.avg_pool2d(fine, fine.shape[-1] // cells[-1]) for fine in maps]
        return parts, torch.cat(coarse, dim=1)

    def train(self, mode: bool = True) -> "WeightStem":
        super().train(mode)
        for module in self.backbone.modules():
            frozen = isinstance(module, nn.modules.batchnorm._BatchNorm) and not _learns(module)
            if frozen:
                module.eval()  # a frozen layer's running statistics are frozen with it
        return self


def build_stem(model: WeightModel) -> WeightStem:
    backbone = build_backbone(
        model.backbone,
        pretrained=model.pretrained,
        pretrained_classes=model.pretrained_classes,
        pad_type=model.pad_type,
        bands=model.bands,
    )
    if model.freeze == "all":
        backbone.requires_grad_(False)
    elif model.freeze != "none":
        freeze_stages(backbone, model.freeze)
    mean, std = _scaling(model)
    return WeightStem(
        backbone, input_px=model.input_px, mean=mean, std=std, levels=model.levels, layers=model.layers
    )


def _scaling(model: WeightModel) -> tuple[list[float], list[float]]:
    """Mean and deviation of each band, in 0..255; bands that ImageNet lacks take the mean of its three."""
    if model.scaling == "unit":
        return [127.5] * len(model.bands), [127.5] * len(model.bands)
    means = {"red": 123.675, "green": 116.28, "blue": 103.53}
    stds = {"red": 58.395, "green": 57.12, "blue": 57.375}
    return [means.get(band, 114.495) for band in model.bands], [stds.get(band, 57.63) for band in model.bands]


def widths_of(stem: WeightStem, model: WeightModel) -> tuple[list[int], int]:
    """Features of the last layer and of each of `layers`, and channels of the maps; RecipeError for a stage
    that the backbone has not got."""
    side = model.input_px
    grey = torch.zeros(1, len(model.bands), side, side, dtype=torch.uint8)
    try:
        with torch.inference_mode():
            parts, maps = stem.look_apart(grey, torch.tensor([[side, side]]))
    except (AttributeError, AssertionError, IndexError) as error:
        raise RecipeError(
            f"model.levels, model.layers: {list(model.levels)}, {list(model.layers)} are not all stages of "
            f"{model.backbone} ({error}); take others"
        ) from error
    return [int(part.shape[-1]) for part in parts], int(maps.shape[1])


def put_back(values: Tensor, mask: Tensor) -> Tensor:
    """Rows of the true places of `mask` (B, N) -> (B, N, ...), zeros elsewhere."""
    whole = values.new_zeros(*mask.shape, *values.shape[1:])
    whole[mask] = values
    return whole


def _mean_and_spread(maps: Tensor) -> Tensor:
    """(B, 2 K) of maps (B, K, h, w)."""
    mean = maps.mean((-2, -1))
    # 1e-6: the root of nothing at all has no slope, and no two engines round it alike.
    spread = ((maps - mean[..., None, None]).square().mean((-2, -1)) + 1e-6).sqrt()
    return torch.cat([mean, spread], dim=-1)


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))
