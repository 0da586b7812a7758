"""How unlike everything trained on a spectrum is: its distance from the plane that the known ones lie in.

A noisy scan of a dark garment lies far from any plane, and a clean scan of a plastic near enough to most:
told by distance alone the two cannot be parted (0.85 AUROC on plastics). Therefore the distance is divided by
what the scan's own noise explains of it; a scan that is noise and little else is unknown by that alone.
So it is with darkness, where a recipe looks at it: a dark level that is off by so much reflectance moves the
absorbance of a dark garment ten times as far as that of a white one.
Letters: B scans, G of the net's grid, P points after preprocessing, K components, D doubts of a scan.
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
_DARK_ERROR = 1e-4  # reflectance; only its size beside that of the noise matters, and the fit finds that
_SMOOTH_NM = 90.0  # slopes are read over so much: bands of fibres are wider
USUAL = 0.99  # of the known scans keep the usual distance and noise
_FOLDS = 5
_FEW_SUBJECTS = 30  # so many are left out one by one: without two of three swatches a fibre is a stranger
_ROUNDS = 8

Floats = NDArray[np.floating]


class Known(NamedTuple):
    """What the known spectra keep to."""

    plane: NDArray[np.float64]  # (P, K)
    level: float  # squared distance of a scan without noise
    per_doubt: NDArray[np.float64]  # (D,) and what the square of each doubt adds to it
    usual: float  # distance over the root of all, that 99 % of the scans of left-out subjects keep
    usual_noise: float  # ratio of noise to signal that 99 % of the scans keep


class Novelty(nn.Module):
    """0 for what lies in the plane of known spectra as far as its noise lets it, towards 1 beside it."""

    def __init__(
        self, *, points: int, components: int, grid_points: int, step_nm: float, sees_darkness: bool = False
    ) -> None:
        super().__init__()
        self.sees_darkness = sees_darkness
        window = min(2 * round(_SMOOTH_NM / step_nm / 2) + 1, 2 * ((grid_points - 2) // 2) - 1)
        self.slope = SavitzkyGolay(window=max(window, 3), order=2, derivative=1)
        self.plane: Tensor
        self.level: Tensor
        self.per_doubt: Tensor
        self.usual: Tensor
        self.most_noise: Tensor
        self.least_light: Tensor
        self.register_buffer("plane", torch.zeros(points, components))
        self.register_buffer("level", torch.tensor(1.0))
        self.register_buffer("per_doubt", torch.zeros(1 + sees_darkness))
        # Never novel until fitted.
        self.register_buffer("usual", torch.tensor(float("inf")))
        self.register_buffer("most_noise", torch.tensor(float("inf")))
        self.register_buffer("least_light", torch.tensor(0.0))

    def noise_to_signal(self, absorbance: Tensor) -> Tensor:
        """(B, G) -> (B,): noise of a point over the spread of the slopes, both in absorbance per step.

        Third differences see next to nothing of bands, and 20 times the variance of white noise.
        """
        third = absorbance.diff(n=3, dim=-1)
        noise = (third.square().mean(-1) / 20.0).sqrt()
        return noise / self._signal(absorbance)

    def doubts(self, absorbance: Tensor) -> Tensor:
        """(B, G) -> (B, D): noise to signal and, where darkness is seen, an error of the dark level to it."""
        noise = self.noise_to_signal(absorbance)
        if not self.sees_darkness:
            return noise[:, None]
        dark = _DARK_ERROR / (light_of(absorbance) * self._signal(absorbance))
        return torch.stack([noise, dark], dim=-1)

    def _signal(self, absorbance: Tensor) -> Tensor:
        slope = self.slope(absorbance)
        return (slope - slope.mean(-1, keepdim=True)).square().mean(-1).sqrt().clamp(min=1e-6)

    def forward(self, standard: Tensor, absorbance: Tensor) -> Tensor:
        """(B, P) standardised and (B, G) as on the grid -> (B,) 0..1."""
        beside = standard - (standard @ self.plane) @ self.plane.T  # (B, P)
        distance = beside.square().mean(-1).sqrt().clamp(min=1e-6)
        doubts = self.doubts(absorbance)  # (B, D)
        expected = self.usual * (self.level + doubts.square() @ self.per_doubt).sqrt()
        novel = torch.sigmoid(SHARPNESS * torch.log(distance / expected))  # (B,)
        noisy = torch.sigmoid(NOISE_SHARPNESS * torch.log(doubts[:, 0].clamp(min=1e-6) / self.most_noise))
        known = (1 - novel) * (1 - noisy)
        if self.sees_darkness:
            known = known * torch.sigmoid(
                NOISE_SHARPNESS * torch.log(light_of(absorbance) / self.least_light)
            )
        return 1 - known

    def keep(
        self, known: Known, *, margin: float, noise_margin: float, least_light: float | None = None
    ) -> None:
        """Take over what was found; margins are times the usual distance and the usual noise.

        Args:
            least_light: Reflectance under which a scan is unknown by that alone; where darkness is seen.
        """
        self.plane[:, : known.plane.shape[1]] = torch.from_numpy(known.plane)
        self.level.fill_(known.level)
        self.per_doubt.copy_(torch.from_numpy(known.per_doubt))
        self.usual.fill_(known.usual * margin)
        self.most_noise.fill_(known.usual_noise * noise_margin)
        if least_light is not None:
            self.least_light.fill_(least_light)


def light_of(absorbance: Tensor) -> Tensor:
    """(B, G) -> (B,): the share of the light that comes back, by the mean absorbance."""
    return 10 ** -absorbance.mean(-1)


def find_known(
    inputs: Floats, doubts: Floats, subjects: NDArray[np.str_], *, components: int, clean: int
) -> Known:
    """The plane of known spectra, and what scans of unseen subjects keep to.

    Distances are measured on subjects that were left out of the plane: one's own scans always lie closer.

    Args:
        inputs: (rows, P), standardised.
        doubts: (rows, D) of `Novelty.doubts`.
        subjects: (rows,).
        clean: So many of the first rows are scans as they were recorded; noise that was added to the others
            is none to be expected.
    """
    squares, kept = [], []
    count = len(set(subjects.tolist()))
    count = count if count <= _FEW_SUBJECTS else _FOLDS
    fold = folds_by_subject(subjects.tolist(), folds=count, seed=0) if count > 1 else np.zeros(len(inputs))
    moments = [inputs[fold == held].T @ inputs[fold == held] for held in range(count)]  # (P, P) each
    everything = np.sum(moments, axis=0)
    most = min(components, *inputs.shape)
    for held in range(count):
        out = fold == held
        plane = _plane(everything - moments[held] if count > 1 else everything, most)
        squares.append(_beside(inputs[out], plane))
        kept.append(doubts[out])
    square, doubt = np.concatenate(squares), np.concatenate(kept) ** 2
    level, per_doubt = _explained(square, doubt)
    left = np.sqrt(square / (level + doubt @ per_doubt))
    return Known(
        plane=_plane(everything, most),
        level=level,
        per_doubt=per_doubt,
        usual=float(np.quantile(left, USUAL)),
        usual_noise=float(np.quantile(doubts[:clean, 0], USUAL)),
    )


def _explained(square: Floats, doubt: Floats) -> tuple[float, NDArray[np.float64]]:
    """Non-negative fit of squared distances (rows,) on squared doubts (rows, D), each weighed by its size."""
    design = np.column_stack([np.ones(len(square)), doubt])
    found = np.zeros(design.shape[1])
    found[0] = max(float(square.mean()), 1e-6)
    for _ in range(_ROUNDS):
        size = np.maximum(design @ found, 1e-6)
        found = nnls(design / size[:, None], square / size)[0]
    return max(float(found[0]), 1e-6), np.asarray(found[1:], np.float64)


def _plane(moment: Floats, components: int) -> NDArray[np.float64]:
    # Not centred: standardised inputs already are, and a plane through 0 is what the graph projects on.
    axes = np.linalg.eigh(moment)[1]  # (P, P), ascending: there are many more rows than points
    return np.ascontiguousarray(axes[:, ::-1][:, :components])


def _beside(inputs: Floats, plane: Floats) -> NDArray[np.float64]:
    """(rows,) mean square of what lies beside the plane."""
    return np.square(inputs - (inputs @ plane) @ plane.T).mean(1)
