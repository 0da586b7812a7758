"""How unlike everything trained on a spectrum is: its distance from the plane that the known ones lie in.

A noisy scan of a dark garment lies far from any plane, and a clean scan of a plastic near enough to most:
told by distance alone the two cannot be parted (0.85 AUROC on plastics). Therefore the distance is divided by
what the scan's own noise explains of it; a scan that is noise and little else is unknown by that alone.
Letters: B scans, G of the net's grid, P points after preprocessing, K components.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor, nn

from weft_datasets.splits import folds_by_subject
from weft_training.preprocess import SavitzkyGolay

SHARPNESS = 4.0  # how fast `unknown` rises with the log of the distance; 0.5 lies at the margin
NOISE_SHARPNESS = 8.0  # and with the log of the noise
_SMOOTH_NM = 90.0  # slopes are read over so much: bands of fibres are wider
_USUAL = 0.99  # of the known scans keep the usual distance and noise
_FOLDS = 5
_ROUNDS = 8

Floats = NDArray[np.floating]


class Known(NamedTuple):
    """What the known spectra keep to."""

    plane: NDArray[np.float64]  # (P, K)
    level: float  # squared distance of a scan without noise
    per_noise: float  # and what the squared ratio of noise to signal adds to it
    usual: float  # distance over the root of both, that 99 % of the scans of left-out subjects keep
    usual_noise: float  # ratio of noise to signal that 99 % of the scans keep


class Novelty(nn.Module):
    """0 for what lies in the plane of known spectra as far as its noise lets it, towards 1 beside it."""

    def __init__(self, *, points: int, components: int, grid_points: int, step_nm: float) -> None:
        super().__init__()
        window = min(2 * round(_SMOOTH_NM / step_nm / 2) + 1, 2 * ((grid_points - 2) // 2) - 1)
        self.slope = SavitzkyGolay(window=max(window, 3), order=2, derivative=1)
        self.plane: Tensor
        self.level: Tensor
        self.per_noise: Tensor
        self.usual: Tensor
        self.most_noise: Tensor
        self.register_buffer("plane", torch.zeros(points, components))
        self.register_buffer("level", torch.tensor(1.0))
        self.register_buffer("per_noise", torch.tensor(0.0))
        # Never novel until fitted.
        self.register_buffer("usual", torch.tensor(float("inf")))
        self.register_buffer("most_noise", torch.tensor(float("inf")))

    def noise_to_signal(self, absorbance: Tensor) -> Tensor:
        """(B, G) -> (B,): noise of a point over the spread of the slopes, both in absorbance per step.

        Third differences see next to nothing of bands, and 20 times the variance of white noise.
        """
        third = absorbance.diff(n=3, dim=-1)
        noise = (third.square().mean(-1) / 20.0).sqrt()
        slope = self.slope(absorbance)
        signal = (slope - slope.mean(-1, keepdim=True)).square().mean(-1).sqrt()
        return noise / signal.clamp(min=1e-6)

    def forward(self, standard: Tensor, absorbance: Tensor) -> Tensor:
        """(B, P) standardised and (B, G) as on the grid -> (B,) 0..1."""
        beside = standard - (standard @ self.plane) @ self.plane.T  # (B, P)
        distance = beside.square().mean(-1).sqrt().clamp(min=1e-6)
        ratio = self.noise_to_signal(absorbance)
        expected = self.usual * (self.level + self.per_noise * ratio.square()).sqrt()
        novel = torch.sigmoid(SHARPNESS * torch.log(distance / expected))  # (B,)
        noisy = torch.sigmoid(NOISE_SHARPNESS * torch.log(ratio.clamp(min=1e-6) / self.most_noise))
        return 1 - (1 - novel) * (1 - noisy)

    def keep(self, known: Known, *, margin: float, noise_margin: float) -> None:
        """Take over what was found; margins are times the usual distance and the usual noise."""
        self.plane[:, : known.plane.shape[1]] = torch.from_numpy(known.plane)
        self.level.fill_(known.level)
        self.per_noise.fill_(known.per_noise)
        self.usual.fill_(known.usual * margin)
        self.most_noise.fill_(known.usual_noise * noise_margin)


def find_known(
    inputs: Floats, ratio: Floats, subjects: NDArray[np.str_], *, components: int, clean: int
) -> Known:
    """The plane of known spectra, and what scans of unseen subjects keep to.

    Distances are measured on subjects that were left out of the plane: one's own scans always lie closer.

    Args:
        inputs: (rows, P), standardised.
        ratio: (rows,) noise to signal, of `Novelty.noise_to_signal`.
        subjects: (rows,).
        clean: So many of the first rows are scans as they were recorded; noise that was added to the others
            is none to be expected.
    """
    squares, ratios = [], []
    count = min(_FOLDS, len(set(subjects.tolist())))
    fold = folds_by_subject(subjects.tolist(), folds=count, seed=0) if count > 1 else np.zeros(len(inputs))
    for held in range(count):
        out = fold == held
        plane = _plane(inputs[~out] if count > 1 else inputs, components)
        squares.append(_beside(inputs[out], plane))
        ratios.append(ratio[out])
    square, noise = np.concatenate(squares), np.concatenate(ratios)
    level, per_noise = _explained(square, noise**2)
    left = np.sqrt(square / (level + per_noise * noise**2))
    return Known(
        plane=_plane(inputs, components),
        level=level,
        per_noise=per_noise,
        usual=float(np.quantile(left, _USUAL)),
        usual_noise=float(np.quantile(ratio[:clean], _USUAL)),
    )


def _explained(square: Floats, noise: Floats) -> tuple[float, float]:
    """Non-negative line of squared distances on squared noise, each distance weighed by its own size."""
    design = np.column_stack([np.ones(len(square)), noise])
    found = np.array([max(float(square.mean()), 1e-6), 0.0])
    for _ in range(_ROUNDS):
        size = np.maximum(design @ found, 1e-6)
        found = nnls(design / size[:, None], square / size)[0]
    return max(float(found[0]), 1e-6), float(found[1])


def _plane(inputs: Floats, components: int) -> NDArray[np.float64]:
    # Not centred: standardised inputs already are, and a plane through 0 is what the graph projects on.
    axes = np.linalg.eigh(inputs.T @ inputs)[1]  # (P, P), ascending: there are many more rows than points
    return np.ascontiguousarray(axes[:, ::-1][:, : min(components, *inputs.shape)])


def _beside(inputs: Floats, plane: Floats) -> NDArray[np.float64]:
    """(rows,) mean square of what lies beside the plane."""
    return np.square(inputs - (inputs @ plane) @ plane.T).mean(1)
