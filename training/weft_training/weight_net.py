"""Photos of a parcel -> its mass in grams with an interval.

Letters: B parcels, N photos of each, C bands, H W pixels, S side of the square the backbone sees, D features,
K channels of the maps, h w their cells, M members of the tail.
The net is a stem (pixels -> what a backbone sees in each photo; may be frozen, its outputs then computed
once) and a tail (what was seen in all photos -> quantiles), which alone is trained behind a frozen stem. The
scale enters the tail only: what the stem saw can be asked again with another mark, or without.
"""

import math
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.card import SEASONS, WRAPS
from weft_training.familiarity import Familiarity
from weft_training.kernel_regression import KernelRegression
from weft_training.kernel_share import FIRST
from weft_training.weight_stem import WeightStem, put_back

_VIEW_MM: Final = 500.0  # a typical field of view: what the scale input is measured against
_SCALE_GAIN: Final = 3.0  # views of one kind of thing differ by about a third of an e-fold
_KIND: Final = 4  # numbers by which season and wrap are each told to the head
_EXTRAS: Final = 2  # scale input and whether it is known
_PLACED: Final = 5  # the mark's place and whether it is known, its tilt and whether that is known
_PLACE_GAIN: Final = 4.0  # places lie within half a view
_FACING: Final = 0.8  # usual cosine of a tilt
_FACING_GAIN: Final = 6.0  # one over what it scatters by
_LOG_RANGE: Final = (math.log(0.1), math.log(1e6))  # grams; keeps exp() finite whatever comes in


class WeightOutput(NamedTuple):
    """Shapes (B,); of a tail in training (M, B): every member answers for itself."""

    log_low: Tensor  # natural log of grams, lower quantile, at most log_grams
    log_grams: Tensor  # median
    log_high: Tensor  # upper quantile, at least log_grams


def told_of(mm_per_pixel: Tensor, mark_at: Tensor, size: Tensor) -> Tensor:
    """What the tail is told of the mark in each photo, (B, N, 5).

    The millimetres that the photo's longer side spans at the mark (0 unknown), whether its place is known,
    that place from the photo's middle in longer sides, right and down, and the cosine of its tilt (0
    unknown).

    Args:
        mm_per_pixel: (B, N), 0 unknown.
        mark_at: (B, N, 3) as in `weft.marks.MarkAt`.
        size: (B, N, 2) rows and columns of each photo.
    """
    longer = size.amax(-1).float().clamp(min=1)  # (B, N)
    extent = size.flip(-1).float()  # columns and rows
    # A changed photo may have lost its mark over an edge.
    inside = ((mark_at[..., :2] > 0) & (mark_at[..., :2] < extent)).all(-1, keepdim=True).float()
    place = (mark_at[..., :2] - extent / 2) / longer[..., None] * inside
    return torch.cat([(mm_per_pixel * longer)[..., None], inside, place, mark_at[..., 2:] * inside], dim=-1)


class MapReader(nn.Module):
    """Maps of a photo -> numbers that may say how much of the view a thing covers.

    Pooled features of a classifier forget that: it is trained to name a cup whether near or far.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.read = nn.Sequential(
            nn.Conv2d(channels + 2, width, 1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.GELU(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """(B*N, width) from standardised maps (B*N, K, h, w)."""
        rows, columns = maps.shape[-2:]
        down = torch.linspace(-1, 1, rows, device=maps.device, dtype=maps.dtype)[:, None].expand(
            rows, columns
        )
        across = torch.linspace(-1, 1, columns, device=maps.device, dtype=maps.dtype).expand(rows, columns)
        # Where a cell lies matters: what is lower in a photo is mostly nearer.
        place = torch.stack([down, across]).expand(maps.shape[0], -1, -1, -1)
        return self.read(torch.cat([maps, place], dim=1)).mean((-2, -1))


class Member(nn.Module):
    """One of the tail's nets: standardised features of all photos -> three numbers around the usual mass."""

    def __init__(
        self,
        *,
        features: int,
        extras: int,
        channels: int,
        hidden: int,
        width: int,
        dropout: float,
        depth: int = 1,
    ) -> None:
        super().__init__()
        self.reader = MapReader(channels, width) if channels else None
        inputs = features + extras + (width if channels else 0)
        self.direct = nn.Linear(inputs, 1)  # what a ridge regression would say of one photo
        self.features = features
        # Of the features alone: with the scale dropped at random too, the net learns to do without it.
        self.forget = nn.Dropout(dropout)
        layers: list[nn.Module] = []
        for width_in in [inputs, *[hidden] * (depth - 1)]:
            layers += [nn.Linear(width_in, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.look = nn.Sequential(*layers)
        self.season = nn.Embedding(1 + len(SEASONS), _KIND)  # 0: unknown
        self.wrap = nn.Embedding(1 + len(WRAPS), _KIND)
        self.head = nn.Sequential(nn.Linear(hidden + 2 * _KIND, hidden), nn.GELU(), nn.Linear(hidden, 3))
        nn.init.zeros_(self.direct.weight)
        nn.init.zeros_(self.direct.bias)
        for embedding in (self.season, self.wrap):
            nn.init.normal_(embedding.weight, std=0.02)

    def read(self, maps: Tensor, mask: Tensor) -> Tensor:
        """(B, N, width) from standardised maps of every photo; (B, N, 0) without a reader."""
        if self.reader is None:
            return maps.new_zeros(*mask.shape, 0)
        if self.training:
            return put_back(self.reader(maps[mask]), mask)
        return self.reader(maps.flatten(0, 1)).unflatten(0, mask.shape)

    def forward(self, seen: Tensor, mask: Tensor, season: Tensor, wrap: Tensor) -> Tensor:
        """(B, 3) from features, extras and what was read from the maps (B, N, inputs)."""
        share = mask.float() / mask.float().sum(-1, keepdim=True).clamp(min=1)  # (B, N)
        direct = (self.direct(seen)[..., 0] * share).sum(-1)  # (B,)
        kept = torch.cat([self.forget(seen[..., : self.features]), seen[..., self.features :]], dim=-1)
        pooled = (self.look(kept) * share[..., None]).sum(-2)  # (B, hidden)
        found = self.head(torch.cat([pooled, self.season(season), self.wrap(wrap)], dim=-1))  # (B, 3)
        return torch.cat([found[:, :1] + direct[:, None], found[:, 1:]], dim=-1)


class WeightTail(nn.Module):
    """What was seen in all photos -> quantiles, whatever the order of the photos and however many they are.

    Its members learn the same from other first weights; their mean errs less than each (Lakshminarayanan,
    Pritzel and Blundell 2017).
    """

    def __init__(
        self,
        *,
        features: int,
        hidden: int,
        dropout: float,
        channels: int = 0,
        width: int = 64,
        members: int = 1,
        pooled: bool = True,
        centres: int = 0,
        kernel_share: float = FIRST,
        last: int | None = None,
        placed: bool = False,
        depth: int = 1,
    ) -> None:
        """
        Args:
            depth: Layers that join what was read from one photo with what its mark tells.
            placed: Whether the members are told where in the photo its mark lies, and how aslant.
            pooled: Whether the members are given the pooled features; else only the maps (and the scale).
            centres: Of a kernel regression that says `kernel_share` of the answer; 0: none does.
            last: So many of the features, the first, are the last layer's; None: all. Of the layers before it
                the kernel alone is told: members that saw them too learnt 129 foods by heart.
        """
        super().__init__()
        last = features if last is None else last
        self.used = used = last if pooled else 0
        self.members = nn.ModuleList(
            Member(
                features=used,
                extras=_EXTRAS + (_PLACED if placed else 0),
                channels=channels,
                hidden=hidden,
                width=width,
                dropout=dropout,
                depth=depth,
            )
            for _ in range(members)
        )
        self.placed = placed
        self.kernel = KernelRegression(features, centres, share=kernel_share) if centres else None
        # Knows nothing until it is fitted, after the training.
        self.familiarity = Familiarity(last)
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.map_mean: Tensor
        self.map_std: Tensor
        self.log_mean: Tensor
        self.log_std: Tensor
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_std", torch.ones(features))
        self.register_buffer("map_mean", torch.zeros(channels, 1, 1))
        self.register_buffer("map_std", torch.ones(channels, 1, 1))
        self.register_buffer("log_mean", torch.tensor(math.log(1000.0)))
        self.register_buffer("log_std", torch.tensor(1.0))
        # Scale, season, wrap: 0 for what no training photo came with. Its weights are as they were drawn, and
        # whoever states it in service would be answered by chance. A fact of the data, not of the weights.
        self.heard: Tensor
        self.register_buffer("heard", torch.ones(3), persistent=False)

    def forward(
        self,
        pooled: Tensor,
        maps: Tensor,
        mask: Tensor,
        told: Tensor,
        season: Tensor,
        wrap: Tensor,
    ) -> WeightOutput:
        """
        Args:
            pooled, maps: As in `Seen`.
            mask: (B, N) true where there is a photo.
            told: (B, N, 5) of the scale mark, as `told_of` gives it.
            season, wrap: (B,) 0 unknown, else 1 + index in `weft.card`.
        """
        return self.answer(pooled, self.read(maps, mask), mask, told, season, wrap)

    def read(self, maps: Tensor, mask: Tensor) -> Tensor:
        """What each member reads from the maps of each photo, (M, B, N, width); the dear part, done once."""
        maps = (maps - self.map_mean) / self.map_std
        return torch.stack([member.read(maps, mask) for member in self._each()])

    def answer(
        self,
        pooled: Tensor,
        read: Tensor,
        mask: Tensor,
        told: Tensor,
        season: Tensor,
        wrap: Tensor,
        *,
        kernel_share: float | None = None,
    ) -> WeightOutput:
        """The rest of `forward`, which asks about sets of photos that were read before.

        Args:
            kernel_share: What the kernel says of the answer instead of its own share.
        """
        scale_heard, season_heard, wrap_heard = self.heard.unbind()
        season, wrap = season * season_heard.long(), wrap * wrap_heard.long()
        seen = self.describe(pooled, told * scale_heard)  # (B, N, D + extras)
        found = torch.stack(
            [
                member(torch.cat([seen, own], dim=-1), mask, season, wrap)
                for member, own in zip(self._each(), read, strict=True)
            ]
        )  # (M, B, 3)
        around = found[..., 0]
        if not self.training:
            found = found.mean(0)
            around = found[..., 0]
            if self.kernel is not None:
                part = mask.float() / mask.float().sum(-1, keepdim=True).clamp(min=1)  # (B, N)
                alike = (self.kernel(self.standardise(pooled)) * part).sum(-1)  # (B,)
                share = self.kernel.share if kernel_share is None else kernel_share
                around = around + share * (alike - around)
        # softplus(x + 1) is 1.3 at x = 0: an untrained interval is about as wide as the masses scatter.
        middle = self.log_mean + self.log_std * around
        low = middle - self.log_std * F.softplus(found[..., 1] + 1)
        high = middle + self.log_std * F.softplus(found[..., 2] + 1)
        return WeightOutput(*(value.clamp(*_LOG_RANGE) for value in (low, middle, high)))

    def _each(self) -> list[Member]:
        return [member for member in self.members if isinstance(member, Member)]

    def standardise(self, pooled: Tensor) -> Tensor:
        return (pooled - self.feature_mean) / self.feature_std

    def describe(self, pooled: Tensor, told: Tensor) -> Tensor:
        """Standardised features (none, if they are not used) with the mark beside them, (B, N, inputs)."""
        view_mm, placed, x, y, facing = told.unbind(-1)
        known = (view_mm > 0).float()  # where it is not, nothing else of a mark is heard
        mark = [_SCALE_GAIN * torch.log(view_mm.clamp(min=1.0) / _VIEW_MM) * known, known]
        if self.placed:
            tilted = known * (facing > 0).float()
            mark += [_PLACE_GAIN * x * known, _PLACE_GAIN * y * known, placed * known]
            mark += [_FACING_GAIN * (facing - _FACING) * tilted, tilted]
        standard = self.standardise(pooled)[..., : self.used]
        return torch.cat([standard, torch.stack(mark, dim=-1)], dim=-1)


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
        mark_at: Tensor,  # (B, N, 3) as in `weft.marks.MarkAt`
        season: Tensor,  # (B,)
        wrap: Tensor,  # (B,)
    ) -> WeightOutput:
        told = told_of(mm_per_pixel, mark_at, size)
        return self.tail(*self.stem(photos, size, mask), mask, told, season, wrap)
