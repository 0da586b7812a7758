"""Photos of a parcel -> its mass in grams with an interval.

Letters: B parcels, N photos of each, C bands, H W pixels, S side of the square the backbone sees, D features.
The net is a stem (pixels -> features of each photo; may be frozen, its outputs then computed once) and a tail
(features of all photos -> quantiles), which alone is trained behind a frozen stem.
"""

import math
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.card import SEASONS, WRAPS
from weft_training.resize import to_squares

_VIEW_MM: Final = 500.0  # a typical field of view: what the scale input is measured against
_KIND: Final = 4  # numbers by which season and wrap are each told to the head
_EXTRAS: Final = 2  # scale input and whether it is known
_LOG_RANGE: Final = (math.log(0.1), math.log(1e6))  # grams; keeps exp() finite whatever comes in


class WeightOutput(NamedTuple):
    log_low: Tensor  # (B,) natural log of grams, lower quantile, at most log_grams
    log_grams: Tensor  # (B,) median
    log_high: Tensor  # (B,) upper quantile, at least log_grams


class WeightStem(nn.Module):
    """Padded photos -> features of each photo."""

    def __init__(self, backbone: nn.Module, *, input_px: int, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.backbone = backbone
        self.input_px = input_px
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])  # (C, 1, 1), of 0..255
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, photos: Tensor, size: Tensor) -> Tensor:
        batch, count = photos.shape[:2]
        squares = to_squares(photos.flatten(0, 1), size.flatten(0, 1), out=self.input_px)  # (B*N, C, S, S)
        features = self.backbone((squares - self.mean) / self.std)  # (B*N, D)
        return features.unflatten(0, (batch, count))  # (B, N, D)

    def train(self, mode: bool = True) -> "WeightStem":
        super().train(mode)
        for module in self.backbone.modules():
            frozen = isinstance(module, nn.modules.batchnorm._BatchNorm) and not _learns(module)
            if frozen:
                module.eval()  # a frozen layer's running statistics are frozen with it
        return self


class WeightTail(nn.Module):
    """Features of all photos -> quantiles. The order of the photos does not matter, nor how many they are."""

    def __init__(self, *, features: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.direct = nn.Linear(features + _EXTRAS, 1)  # what a ridge regression would say of one photo
        self.look = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(features + _EXTRAS, hidden), nn.GELU(), nn.Dropout(dropout)
        )
        self.season = nn.Embedding(1 + len(SEASONS), _KIND)  # 0: unknown
        self.wrap = nn.Embedding(1 + len(WRAPS), _KIND)
        self.head = nn.Sequential(nn.Linear(hidden + 2 * _KIND, hidden), nn.GELU(), nn.Linear(hidden, 3))
        nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.direct.bias)
        for embedding in (self.season, self.wrap):
            nn.init.normal_(embedding.weight, std=0.02)
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.log_mean: Tensor
        self.log_std: Tensor
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_std", torch.ones(features))
        self.register_buffer("log_mean", torch.tensor(math.log(1000.0)))
        self.register_buffer("log_std", torch.tensor(1.0))
        # Scale, season, wrap: 0 for what no training photo came with. Its weights are as they were drawn, and
        # whoever states it in service would be answered by chance. A fact of the data, not of the weights.
        self.heard: Tensor
        self.register_buffer("heard", torch.ones(3), persistent=False)

    def forward(
        self, features: Tensor, mask: Tensor, view_mm: Tensor, season: Tensor, wrap: Tensor
    ) -> WeightOutput:
        """
        Args:
            features: (B, N, D).
            mask: (B, N) true where there is a photo.
            view_mm: (B, N) millimetres that the photo's longer side spans at the scale mark; 0 unknown.
            season, wrap: (B,) 0 unknown, else 1 + index in `weft.card`.
        """
        scale_heard, season_heard, wrap_heard = self.heard.unbind()
        season, wrap = season * season_heard.long(), wrap * wrap_heard.long()
        seen = self.describe(features, view_mm * scale_heard)  # (B, N, D + 2)
        share = mask.float() / mask.float().sum(-1, keepdim=True).clamp(min=1)  # (B, N)
        direct = (self.direct(seen)[..., 0] * share).sum(-1)  # (B,)
        pooled = (self.look(seen) * share[..., None]).sum(-2)  # (B, hidden)
        found = self.head(torch.cat([pooled, self.season(season), self.wrap(wrap)], dim=-1))  # (B, 3)
        # softplus(x + 1) is 1.3 at x = 0: an untrained interval is about as wide as the masses scatter.
        middle = self.log_mean + self.log_std * (direct + found[:, 0])
        low = middle - self.log_std * F.softplus(found[:, 1] + 1)
        high = middle + self.log_std * F.softplus(found[:, 2] + 1)
        return WeightOutput(*(value.clamp(*_LOG_RANGE) for value in (low, middle, high)))

    def describe(self, features: Tensor, view_mm: Tensor) -> Tensor:
        """Standardised features with the scale beside them, (B, N, D + 2)."""
        known = (view_mm > 0).float()
        scale = torch.log(view_mm.clamp(min=1.0) / _VIEW_MM) * known
        standard = (features - self.feature_mean) / self.feature_std
        return torch.cat([standard, scale[..., None], known[..., None]], dim=-1)


class WeightNet(nn.Module):
    def __init__(self, stem: WeightStem, tail: WeightTail) -> None:
        super().__init__()
        self.stem = stem
        self.tail = tail

    def forward(
        self,
        photos: Tensor,  # (B, N, C, H, W) uint8, padded at the bottom and right
        size: Tensor,  # (B, N, 2) rows and columns of each photo
        mask: Tensor,  # (B, N) bool
        mm_per_pixel: Tensor,  # (B, N) of these pixels, 0 unknown
        season: Tensor,  # (B,)
        wrap: Tensor,  # (B,)
    ) -> WeightOutput:
        view_mm = mm_per_pixel * size.amax(-1).float()  # (B, N)
        return self.tail(self.stem(photos, size), mask, view_mm, season, wrap)


class WeighingGraph(nn.Module):
    """The exported graph: the net and its conformal factors, answering in grams."""

    def __init__(
        self,
        net: WeightNet,
        *,
        edges_grams: tuple[float, ...] = (),
        low_factor: tuple[tuple[float, ...], ...] | None = None,
        high_factor: tuple[tuple[float, ...], ...] | None = None,
    ) -> None:
        """Factors are (2, bands): rows for one photo and for several, as `calibrate.WeightCalibration` has
        them; without them low and high equal the estimate."""
        super().__init__()
        self.net = net
        self.calibrated = low_factor is not None and high_factor is not None
        self.edges: Tensor
        self.factors: Tensor
        self.register_buffer("edges", torch.tensor(edges_grams, dtype=torch.float32))
        factors = (low_factor, high_factor) if self.calibrated else (((1.0,),), ((1.0,),))
        self.register_buffer(
            "factors", torch.tensor(factors, dtype=torch.float32).flatten(1)
        )  # (2, 2 * bands)

    def forward(
        self, photos: Tensor, size: Tensor, mask: Tensor, mm_per_pixel: Tensor, season: Tensor, wrap: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """grams, low_grams, high_grams: (B,) each."""
        found = self.net(photos, size, mask, mm_per_pixel, season, wrap)
        grams = found.log_grams.exp()
        if not self.calibrated:
            return grams, grams.clone(), grams.clone()
        bands = len(self.edges) + 1
        band = (grams[:, None] >= self.edges).sum(-1) if bands > 1 else torch.zeros_like(season)
        several = (mask.sum(-1) > 1).long()
        low_factor, high_factor = self.factors[:, several * bands + band].unbind(0)  # (B,) each
        low = torch.minimum(found.log_low.exp() * low_factor, grams)
        return grams, low, torch.maximum(found.log_high.exp() * high_factor, grams)


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))
