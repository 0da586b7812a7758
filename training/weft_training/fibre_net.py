"""A spectrum on any instrument's grid -> fibre shares that sum to 1, and how unknown the thing is.

Letters: B scans, L wavelengths of the scan, G of the net's grid, P points after preprocessing, F fibres,
M members.
As with the weight net: a stem that is never trained (resampling) and a tail that is.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft_training.novelty import Novelty
from weft_training.resample import resample

_LEAST = 1e-6  # share: a member that is quite sure must not make a logarithm infinite


class FibreOutput(NamedTuple):
    shares: Tensor  # (B, F) sum 1
    unknown: Tensor  # (B,) 0..1


class ConvTrunk(nn.Module):
    """Three strided convolutions along the wavelengths, pooled."""

    def __init__(self, *, hidden: int, dropout: float, outputs: int) -> None:
        super().__init__()
        widths = (1, hidden // 2, hidden, hidden)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv1d(before, after, 7, stride=2, padding=3), nn.GroupNorm(1, after), nn.GELU()]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden * 4, outputs))

    def forward(self, standard: Tensor) -> Tensor:
        found = self.layers(standard[:, None])  # (B, hidden, P / 8)
        # Four regions instead of one mean: where along the spectrum a band lies is what tells fibres apart.
        quarters = [part.mean(-1) for part in torch.tensor_split(found, 4, dim=-1)]
        return self.head(torch.cat(quarters, dim=-1))


class Members(nn.Module):
    """Trunks that learn the same from other first weights; the mean of their answers errs less than each
    (Lakshminarayanan, Pritzel and Blundell 2017)."""

    def __init__(self, trunks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)

    def forward(self, standard: Tensor) -> Tensor:
        """(B, P) -> (B, F + 1), of which softmax and sigmoid are the members' means; (M, B, F + 1) while they
        are trained, each by its own error."""
        found = torch.stack([trunk(standard) for trunk in self.trunks])  # (M, B, F + 1)
        if self.training:
            return found
        shares = found[..., :-1].softmax(-1).mean(0)  # (B, F)
        unknown = found[..., -1:].sigmoid().mean(0)  # (B, 1)
        return torch.cat([shares.clamp(min=_LEAST).log(), unknown.logit(eps=_LEAST)], dim=-1)


class FibreTail(nn.Module):
    """Absorbance on the net's grid -> shares and unknown."""

    def __init__(
        self,
        preprocessing: nn.Module,
        trunk: nn.Module,
        novelty: Novelty | None,
        *,
        points: int,
        outputs: Literal["softmax", "normalised"],
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.trunk = trunk
        self.novelty = novelty
        self.outputs = outputs
        self.point_mean: Tensor
        self.point_std: Tensor
        self.register_buffer("point_mean", torch.zeros(points))
        self.register_buffer("point_std", torch.ones(points))

    def standardise(self, absorbance: Tensor) -> Tensor:
        """(B, G) -> (B, P), each point centred and scaled as over the training spectra."""
        return (self.preprocessing(absorbance) - self.point_mean) / self.point_std

    def forward(self, absorbance: Tensor) -> FibreOutput:
        found, unknown = self.evidence(absorbance)
        if self.outputs == "softmax":
            shares = found.softmax(-1)
        else:
            # Least squares may say -2 %; a floor keeps the sum from vanishing.
            positive = F.relu(found) + 1e-6
            shares = positive / positive.sum(-1, keepdim=True)
        return FibreOutput(shares, unknown)

    def evidence(self, absorbance: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F) for each fibre, before it is made shares, and (B,) unknown."""
        standard = self.standardise(absorbance)
        # (B, F + 1): one for each fibre, one for unknown; members that are trained: (M, B, F + 1)
        found = self.trunk(standard)
        unknown = torch.sigmoid(found[..., -1])
        if self.novelty is not None:
            # Either it looks like a known stranger, or like nothing seen.
            unknown = 1 - (1 - unknown) * (1 - self.novelty(standard, absorbance))
        return found[..., :-1], unknown


class FibreNet(nn.Module):
    def __init__(self, tail: FibreTail, *, grid_nm: list[float]) -> None:
        super().__init__()
        self.tail = tail
        self.grid_nm: Tensor
        self.register_buffer("grid_nm", torch.tensor(grid_nm, dtype=torch.float32))

    def stem(self, wavelength_nm: Tensor, absorbance: Tensor) -> Tensor:
        """(L,) in any order and (B, L) -> (B, G)."""
        return resample(wavelength_nm, absorbance, self.grid_nm)

    def forward(self, wavelength_nm: Tensor, absorbance: Tensor) -> FibreOutput:
        return self.tail(self.stem(wavelength_nm, absorbance))


class FibreGraph(nn.Module):
    """The exported graph: the net and its conformal margins."""

    def __init__(
        self,
        net: FibreNet,
        *,
        edges_share: tuple[float, ...] = (),
        margin: tuple[tuple[tuple[float, ...], ...], ...] | None = None,
    ) -> None:
        """Margins are (kinds, F, bands) as `calibrate_shares.ShareCalibration` has them; without them low
        and high equal the share."""
        super().__init__()
        self.net = net
        self.calibrated = margin is not None
        self.edges: Tensor
        self.margin: Tensor
        self.register_buffer("edges", torch.tensor(edges_share, dtype=torch.float32))
        self.register_buffer("margin", torch.tensor(margin or (((0.0,),),), dtype=torch.float32))

    def forward(self, wavelength_nm: Tensor, absorbance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """shares, low, high: (B, F); unknown: (B,)."""
        found = self.net(wavelength_nm, absorbance)
        shares = found.shares
        if not self.calibrated:
            return shares, shares.clone(), shares.clone(), found.unknown
        band = (shares[..., None] >= self.edges).sum(-1)  # (B, F)
        bands, fibres = len(self.edges) + 1, shares.shape[-1]
        pure = (shares.amax(-1, keepdim=True) >= self.edges[-1]).long()  # (B, 1) which kind of answer it is
        margin = self.margin.flatten()[band + (torch.arange(fibres) + pure * fibres) * bands]  # (B, F)
        return shares, (shares - margin).clamp(min=0), (shares + margin).clamp(max=1), found.unknown
