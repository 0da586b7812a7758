"""The graph that is exported: the net and its conformal margins, answering in grams."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weft.cells import CELLS, PHOTOS_FROM
from weft.judgement import FAULTS, PHOTO_GRAMS, STRANGENESS
from weft_training.weight_net import WeightNet, told_of


class WeighingGraph(nn.Module):
    """Pixels and extras -> grams with an interval. Letters as in `weight_net`."""

    def __init__(
        self,
        net: WeightNet,
        *,
        edges_grams: tuple[float, ...] = (),
        log_margin: Sequence[Sequence[float]] | None = None,
        judge: nn.Module | None = None,
    ) -> None:
        """Margins are (cells, bands) as `calibrate.WeightCalibration` has them; without them low and high
        equal the estimate. `judge` is a fitted `photo_judge.PhotoJudge`."""
        super().__init__()
        self.net = net
        self.judge = judge
        self.outputs = ["grams", "low_grams", "high_grams", STRANGENESS, PHOTO_GRAMS]
        self.outputs += [FAULTS] if judge is not None else []
        self.calibrated = log_margin is not None
        self.edges: Tensor
        self.photos_from: Tensor
        self.margin: Tensor
        self.register_buffer("edges", torch.tensor(edges_grams, dtype=torch.float32))
        self.register_buffer("photos_from", torch.tensor(PHOTOS_FROM[1:]))
        margin = torch.tensor([[0.0]] * len(CELLS) if log_margin is None else log_margin, dtype=torch.float32)
        self.register_buffer("margin", margin.flatten())  # (cells * bands,)

    def forward(
        self,
        photos: Tensor,
        size: Tensor,
        mask: Tensor,
        mm_per_pixel: Tensor,
        mark_at: Tensor,
        season: Tensor,
        wrap: Tensor,
    ) -> tuple[Tensor, ...]:
        """As `outputs` names them: grams, low_grams, high_grams (B,); strangeness and photo_grams (B, N), 0
        where there is no photo; faults (B, N, F)."""
        tail = self.net.tail
        seen = self.net.stem(photos, size, mask)
        told = told_of(mm_per_pixel, mark_at, size)  # (B, N, 5)
        read = tail.read(seen.maps, mask)  # (M, B, N, width)
        found = tail.answer(seen.pooled, read, mask, told, season, wrap)
        grams = found.log_grams.exp()
        low, high = grams.clone(), grams.clone()
        if self.calibrated:
            margin = self.margin[self.groups(grams, mask, mm_per_pixel)]  # (B,)
            low = torch.minimum((found.log_low - margin).exp(), grams)
            high = torch.maximum((found.log_high + margin).exp(), grams)
        each = tail.answer(  # every photo as if it were the only one: (B*N, 1, ...)
            seen.pooled.flatten(0, 1)[:, None],
            read.flatten(1, 2)[:, :, None],
            torch.ones_like(mask).flatten()[:, None],
            told.flatten(0, 1)[:, None],
            season[:, None].expand(mask.shape).flatten(),
            wrap[:, None].expand(mask.shape).flatten(),
        ).log_grams
        strange = tail.familiarity(seen.pooled) * mask.float()
        said = each.exp().unflatten(0, mask.shape) * mask.float()
        judged = (self.judge(seen.pooled, seen.maps, size),) if self.judge is not None else ()
        return grams, low, high, strange, said, *judged

    def groups(self, grams: Tensor, mask: Tensor, mm_per_pixel: Tensor) -> Tensor:
        """(B,) place in the flattened margins: mark or none, number of photos, band of the mass."""
        bands = len(self.edges) + 1
        band = (grams[:, None] >= self.edges).sum(-1) if bands > 1 else torch.zeros_like(mask.sum(-1))
        photos = (mask.sum(-1)[:, None] >= self.photos_from).sum(-1)
        marked = ((mm_per_pixel > 0) & mask).any(-1).long()
        return (marked * len(PHOTOS_FROM) + photos) * bands + band
