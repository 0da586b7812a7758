"""The graph that is exported: the net and its conformal margins, answering in grams."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weft_training.calibrate import CELLS, PHOTOS_FROM
from weft_training.weight_net import WeightNet


class WeighingGraph(nn.Module):
    """Pixels and extras -> grams with an interval. Letters as in `weight_net`."""

    def __init__(
        self,
        net: WeightNet,
        *,
        edges_grams: tuple[float, ...] = (),
        log_margin: Sequence[Sequence[float]] | None = None,
    ) -> None:
        """Margins are (cells, bands) as `calibrate.WeightCalibration` has them; without them low and high
        equal the estimate."""
        super().__init__()
        self.net = net
        self.calibrated = log_margin is not None
        self.edges: Tensor
        self.photos_from: Tensor
        self.margin: Tensor
        self.register_buffer("edges", torch.tensor(edges_grams, dtype=torch.float32))
        self.register_buffer("photos_from", torch.tensor(PHOTOS_FROM[1:]))
        margin = torch.tensor([[0.0]] * len(CELLS) if log_margin is None else log_margin, dtype=torch.float32)
        self.register_buffer("margin", margin.flatten())  # (cells * bands,)

    def forward(
        self, photos: Tensor, size: Tensor, mask: Tensor, mm_per_pixel: Tensor, season: Tensor, wrap: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """grams, low_grams, high_grams: (B,) each."""
        found = self.net(photos, size, mask, mm_per_pixel, season, wrap)
        grams = found.log_grams.exp()
        if not self.calibrated:
            return grams, grams.clone(), grams.clone()
        margin = self.margin[self.groups(grams, mask, mm_per_pixel)]  # (B,)
        low = torch.minimum((found.log_low - margin).exp(), grams)
        return grams, low, torch.maximum((found.log_high + margin).exp(), grams)

    def groups(self, grams: Tensor, mask: Tensor, mm_per_pixel: Tensor) -> Tensor:
        """(B,) place in the flattened margins: mark or none, number of photos, band of the mass."""
        bands = len(self.edges) + 1
        band = (grams[:, None] >= self.edges).sum(-1) if bands > 1 else torch.zeros_like(mask.sum(-1))
        photos = (mask.sum(-1)[:, None] >= self.photos_from).sum(-1)
        marked = ((mm_per_pixel > 0) & mask).any(-1).long()
        return (marked * len(PHOTOS_FROM) + photos) * bands + band
