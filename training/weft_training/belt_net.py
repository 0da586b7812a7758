"""A pixel's reflectance on one camera's bands -> fibre shares and how unknown it is; and the same, folded.

Letters: P pixels, L bands, K components, F fibres.
Absorbance, SNV, the turn to whitened components and the first layer are one matrix and a division in the
exported graph, since all but the logarithm and SNV's spread are linear: SNV and the layers behind it cost
about as much as the logarithm by itself.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from weft_training.fibre_net import FibreOutput

FLOOR = 1e-3  # of reflectance: no light at all is absorbance 3
LEVELS = 2  # inputs beside the components: mean and log spread, which SNV takes off
_SMALLEST_SPREAD = 1e-4  # of ln(reflectance)


class BeltNet(nn.Module):
    """What is trained. Buffers are fitted once, before the first step, by `fit_components`."""

    def __init__(
        self, *, bands: int, components: int, hidden: Sequence[int], fibres: int, dropout: float
    ) -> None:
        super().__init__()
        self.centre: Tensor
        self.basis: Tensor
        self.level_mean: Tensor
        self.level_std: Tensor
        self.register_buffer("centre", torch.zeros(bands))  # of SNV spectra
        self.register_buffer("basis", torch.zeros(bands, components))
        self.register_buffer("level_mean", torch.zeros(LEVELS))
        self.register_buffer("level_std", torch.ones(LEVELS))
        widths = (components + LEVELS, *hidden)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Linear(before, after), nn.ReLU()]
            if dropout > 0 and number:
                layers.append(nn.Dropout(dropout))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], fibres + 1)  # one for each fibre, one for unknown

    def forward(self, logs: Tensor) -> FibreOutput:
        """From the logarithm of reflectance (P, L)."""
        snv, levels = standardised(logs)
        inputs = torch.cat(
            [(snv - self.centre) @ self.basis, (levels - self.level_mean) / self.level_std], dim=-1
        )
        return answered(self.head(self.layers(inputs)))

    @torch.no_grad()
    def fit_components(self, logs: Tensor, *, noise_floor: float) -> None:
        """Whiten the SNV spectra of training pixels (P, L), the small components by less."""
        snv, levels = standardised(logs)
        self.level_mean.copy_(levels.mean(0))
        self.level_std.copy_(levels.std(0).clamp(min=1e-3))
        self.centre.copy_(snv.mean(0))
        away = (snv - self.centre).double()
        values, axes = torch.linalg.eigh(away.T @ away / len(away))  # ascending
        count = self.basis.shape[1]
        values, axes = values.flip(0)[:count].clamp(min=0), axes.flip(1)[:, :count]
        # The sign of an axis is the solver's whim; a run must not depend on it.
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
        self.basis.copy_(axes / (values + noise_floor**2).sqrt())


class BeltGraph(nn.Module):
    """The exported graph: reflectance (P, L) -> shares (P, F), unknown (P,)."""

    def __init__(self, net: BeltNet) -> None:
        super().__init__()
        first = net.layers[0]
        assert isinstance(first, nn.Linear), "the trunk begins with a matrix"
        with torch.no_grad():
            weight = first.weight.double()  # (H, K + LEVELS)
            components = weight.shape[1] - LEVELS
            basis, centre = net.basis.double(), net.centre.double()
            matrix = basis @ weight[:, :components].T  # (L, H)
            by_level = weight[:, components:] / net.level_std.double()  # (H, LEVELS)
            bias = first.bias.double() - centre @ matrix - by_level @ net.level_mean.double()
        self.matrix: Tensor
        self.by_level: Tensor
        self.bias: Tensor
        self.register_buffer("matrix", matrix.float())
        self.register_buffer("by_level", by_level.T.float().contiguous())  # (LEVELS, H)
        self.register_buffer("bias", bias.float())
        self.rest = nn.Sequential(*[layer for layer in net.layers[1:] if not isinstance(layer, nn.Dropout)])
        self.head = net.head

    def forward(self, reflectance: Tensor) -> tuple[Tensor, Tensor]:
        logs = log_light(reflectance)
        mean = logs.mean(-1, keepdim=True)
        # A matrix whose columns sum to 0 would take the mean off as well, but rounds it a thousand times as
        # much: 1.2e-3 of a share between two engines instead of 7e-6.
        centred = logs - mean
        spread = spread_of(centred)
        levels = torch.cat([mean, spread.log()], dim=-1)
        first = (centred @ self.matrix) / spread + (levels @ self.by_level + self.bias)
        return tuple(answered(self.head(self.rest(first))))


def log_light(reflectance: Tensor) -> Tensor:
    """Absorbance in other units, ln(reflectance): SNV takes any scale, and a pass over all bands costs.

    What is below the floor is black.
    """
    return reflectance.clamp(min=FLOOR).log()


def spread_of(centred: Tensor) -> Tensor:
    """Standard deviation over the bands (P, 1) of what has mean 0."""
    norm = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    return (norm * centred.shape[-1] ** -0.5).clamp(min=_SMALLEST_SPREAD)


def standardised(logs: Tensor) -> tuple[Tensor, Tensor]:
    """SNV (P, L), and what it takes off (P, LEVELS)."""
    mean = logs.mean(-1, keepdim=True)
    centred = logs - mean
    spread = spread_of(centred)
    return centred / spread, torch.cat([mean, spread.log()], dim=-1)


def answered(logits: Tensor) -> FibreOutput:
    return FibreOutput(logits[:, :-1].softmax(-1), torch.sigmoid(logits[:, -1]))
