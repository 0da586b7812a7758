"""A photo beside a scan: evidence for each fibre that is added to the scan's, and never a condition of it.

Logits of independent witnesses add. What the photo may add is bounded by a trust that is chosen on swatches
left out; a photo that has told nothing of them is trusted with 0, and the answer is the scan's, bit for bit.
Letters: B scans, G of the net's grid, D features of a photo, F fibres. One call is about one thing: all of
its B scans have the same photo, or none.
"""

import math

import torch
from torch import Tensor, nn

from weft_training.calibrate_shares import ShareCalibration
from weft_training.fibre_net import FibreOutput, FibreTail
from weft_training.resample import resample
from weft_training.weight_stem import WeightStem


class PhotoHead(nn.Module):
    """Features of a photo -> what it says for and against each fibre. Knows nothing until it is fitted."""

    def __init__(self, *, features: int, fibres: int) -> None:
        super().__init__()
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.trust: Tensor
        self.trust_alone: Tensor
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_std", torch.ones(features))
        self.register_buffer("trust", torch.tensor(0.0))  # its evidence counts so many times beside a scan
        self.register_buffer("trust_alone", torch.tensor(0.0))  # and without one
        self.score = nn.Linear(features, fibres)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, seen: Tensor) -> Tensor:
        """(B, D) -> (B, F) within -1..1, as what it was fitted to: beyond lies a photo unlike those."""
        return self.score((seen - self.feature_mean) / self.feature_std).clamp(-1.0, 1.0)


class PairTail(nn.Module):
    """Absorbance on the net's grid, features of a photo, or one of the two -> shares and unknown."""

    def __init__(self, scan: FibreTail, photo: PhotoHead) -> None:
        super().__init__()
        self.scan = scan
        self.photo = photo

    def forward(self, absorbance: Tensor, seen: Tensor, has_scan: Tensor, has_photo: Tensor) -> FibreOutput:
        """
        Args:
            absorbance: (B, G); anything where there is no scan.
            seen: (B, D) or (1, D); anything where there is no photo.
            has_scan, has_photo: Bool, (B,) or (1,).
        """
        logits, unknown = self.scan.evidence(absorbance)  # (B, F), (B,)
        # Selected, not multiplied: a missing half may be NaN, and 0 times NaN is NaN.
        trust = torch.where(has_scan, self.photo.trust, self.photo.trust_alone)  # (1,)
        said = torch.where(has_photo[:, None], trust[:, None] * self.photo(seen), 0.0)
        shares = (torch.where(has_scan[:, None], logits, 0.0) + said).softmax(-1)
        # A photo does not see what a thing is made of: without a scan the answer is as unknown as its shares
        # are even. With one, the photo vouches for nothing: a stranger's scan stays a stranger's.
        even = -(shares * shares.clamp(min=1e-12).log()).sum(-1) / math.log(shares.shape[-1])
        return FibreOutput(shares, torch.where(has_scan, unknown, even))


class PairNet(nn.Module):
    """A frozen backbone for the photo, and the tail that is trained."""

    def __init__(self, stem: WeightStem, tail: PairTail, *, grid_nm: list[float]) -> None:
        super().__init__()
        self.stem = stem
        self.tail = tail
        self.grid_nm: Tensor
        self.register_buffer("grid_nm", torch.tensor(grid_nm, dtype=torch.float32))


class PairGraph(nn.Module):
    """The exported graph: the net and its conformal margins, of their own for each of the three cases."""

    def __init__(
        self,
        net: PairNet,
        *,
        scan: ShareCalibration | None,
        photo: ShareCalibration | None,
        both: ShareCalibration | None,
    ) -> None:
        """Without margins for the scan, low and high equal the share; without those of another case, it is
        0..1 there: "no idea", and true."""
        super().__init__()
        self.net = net
        self.calibrated = scan is not None
        if scan is None:
            return
        whole = torch.ones_like(torch.tensor(scan.margin))
        tables = [whole if found is None else torch.tensor(found.margin) for found in (scan, photo, both)]
        self.edges: Tensor
        self.margin: Tensor
        self.register_buffer("edges", torch.tensor(scan.edges_share, dtype=torch.float32))
        self.register_buffer("margin", torch.stack(tables).float())  # (3, kinds, F, bands)

    def forward(
        self,
        wavelength_nm: Tensor,
        absorbance: Tensor,
        photos: Tensor,
        size: Tensor,
        has_scan: Tensor,
        has_photo: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(L,), (B, L), (1, 3, H, W), (1, 2), (1,), (1,) -> shares, low, high: (B, F); unknown: (B,)."""
        on_grid = resample(wavelength_nm, absorbance, self.net.grid_nm)
        seen, _ = self.net.stem.look(photos, size)  # (1, D)
        found = self.net.tail(on_grid, seen, has_scan, has_photo)
        shares = found.shares
        if not self.calibrated:
            return shares, shares.clone(), shares.clone(), found.unknown
        band = (shares[..., None] >= self.edges).sum(-1)  # (B, F)
        pure = (shares.amax(-1, keepdim=True) >= self.edges[-1]).long()  # (B, 1) which kind of answer it is
        case = torch.where(has_scan, torch.where(has_photo, 2, 0), 1)[:, None]  # (1, 1) place in `margin`
        _, kinds, fibres, bands = self.margin.shape
        place = band + (torch.arange(fibres) + (pure + case * kinds) * fibres) * bands
        margin = self.margin.flatten()[place]  # (B, F)
        return shares, (shares - margin).clamp(min=0), (shares + margin).clamp(max=1), found.unknown
