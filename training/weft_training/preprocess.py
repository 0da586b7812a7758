"""Chemometric preprocessing as layers: what a net was trained behind is in the graph it is exported with."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from scipy.signal import savgol_coeffs
from torch import Tensor, nn

from weft_training.preprocess_recipe import Branches, SavGol, Snv


class StandardNormalVariate(nn.Module):
    """Each spectrum less its mean, over its standard deviation: takes off scatter and thickness."""

    def forward(self, spectrum: Tensor) -> Tensor:
        centred = spectrum - spectrum.mean(-1, keepdim=True)
        # Over n, as numpy and chemotools have it; a flat spectrum stays flat instead of dividing by 0.
        deviation = centred.square().mean(-1, keepdim=True).sqrt()
        return centred / deviation.clamp(min=1e-6)


class SavitzkyGolay(nn.Module):
    """Smoothed derivative per point of the grid; drops (window - 1) / 2 points at each end, else guesses."""

    def __init__(self, *, window: int, order: int, derivative: int) -> None:
        super().__init__()
        taps = savgol_coeffs(window, order, deriv=derivative, use="dot")
        self.taps: Tensor
        self.register_buffer("taps", torch.tensor(taps, dtype=torch.float32)[None, None])  # (1, 1, window)

    def forward(self, spectrum: Tensor) -> Tensor:
        return F.conv1d(spectrum[:, None], self.taps)[:, 0]  # (B, G) -> (B, G - window + 1)


class SideBySide(nn.Module):
    """Several preprocessings of the same spectrum, one after the other along the points."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, spectrum: Tensor) -> Tensor:
        return torch.cat([branch(spectrum) for branch in self.branches], dim=-1)  # (B, G) -> (B, sum of P)


def branch_widths(preprocessing: nn.Module, *, points: int) -> list[int]:
    """How many of a preprocessing's points each of its branches gives; one number where it ends in none."""
    spectrum = torch.zeros(1, points)
    last = preprocessing[-1] if isinstance(preprocessing, nn.Sequential) else None
    if not isinstance(preprocessing, nn.Sequential) or not isinstance(last, SideBySide):
        return [preprocessing(spectrum).shape[-1]]
    before = preprocessing[:-1](spectrum)
    return [branch(before).shape[-1] for branch in last.branches]


def build_preprocessing(steps: Sequence[Snv | SavGol | Branches]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in steps:
        if isinstance(step, Snv):
            layers.append(StandardNormalVariate())
        elif isinstance(step, SavGol):
            layers.append(SavitzkyGolay(window=step.window, order=step.order, derivative=step.derivative))
        else:
            layers.append(SideBySide([build_preprocessing(branch) for branch in step.of]))
    return nn.Sequential(*layers)
