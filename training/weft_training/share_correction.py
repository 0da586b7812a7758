"""A correction of fibre shares that a handful of known swatches can carry; it knows nothing of nets.

Shares are moved in the geometry of compositions (Aitchison 1986): each is raised to one common power and
multiplied by a factor of its fibre, and their sum is made 1 again. For two fibres that is a slope and a bias
on the log-odds. Whatever the numbers, the result is a composition: nothing leaves 0..1, and a fibre that was
not there does not appear, which a bias in points would do to every pure garment.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

Floats = NDArray[np.float64]

FLOOR: Final = 1e-6  # of a share, before its logarithm
MOST_SHIFT: Final = 1.5  # log of a factor: 22 % becomes 56 % or 6 %
POWERS: Final = (0.5, 2.0)
LEAST_GAIN: Final = 0.1  # points; less is not worth another bundle, however sure
_PRIOR_SHIFT: Final = 0.5  # standard deviation of what is expected before any swatch is seen
_PRIOR_LOG_POWER: Final = 0.25
_LEAST_NOISE: Final = 0.005  # of a label: no swatch is known better than to half a point
_SPAN_FOR_POWER: Final = 0.1  # of the known shares of one fibre; under it a slope is noise
_FOLDS: Final = 10
_ONE_AT_A_TIME: Final = 20


@dataclass(frozen=True, slots=True)
class Correction:
    """`shares ** power * exp(shift)`, made to sum to 1."""

    power: float
    shift: tuple[float, ...]  # (F,) 0 for fibres that no known swatch holds

    def apply(self, shares: Floats) -> Floats:
        """(B, F) -> (B, F), each row summing to 1."""
        level = self.power * np.log(np.maximum(shares, FLOOR)) + np.asarray(self.shift)
        moved = np.exp(level - level.max(-1, keepdims=True))
        return moved / moved.sum(-1, keepdims=True)

    @property
    def kind(self) -> Literal["bias", "slope and bias"]:
        return "bias" if self.power == 1 else "slope and bias"

    @property
    def too_large(self) -> bool:
        """Whether this is no drift any more but another model."""
        return not POWERS[0] <= self.power <= POWERS[1] or max(map(abs, self.shift)) > MOST_SHIFT


def fit_correction(predicted: Floats, truth: Floats, *, power: bool) -> Correction:
    """The likeliest correction under a prior that expects none; without `power` a bias alone.

    Args:
        predicted: (n, F), one row a swatch.
        truth: (n, F).
        power: Also fit the slope.
    """
    present = np.flatnonzero((truth > 0).any(0))
    count = predicted.shape[1]

    def correction(free: Floats) -> Correction:
        shift = np.zeros(count)
        # One less than there are fibres: a factor common to all of them changes nothing.
        shift[present[:-1]] = free[: len(present) - 1]
        shift[present] -= shift[present].mean()
        return Correction(float(np.exp(free[-1])) if power else 1.0, tuple(shift.tolist()))

    def gaps(free: Floats) -> Floats:
        return (correction(free).apply(predicted) - truth)[:, present].ravel()

    def cost(free: Floats, noise: float) -> Floats:
        found = correction(free)
        expected = [np.asarray(found.shift)[present] / _PRIOR_SHIFT]
        if power:
            expected.append(free[-1:] / _PRIOR_LOG_POWER)
        return np.concatenate([gaps(free) / noise, *expected])

    free = np.zeros(len(present) - 1 + power)
    noise = 0.02
    for _ in range(2):  # the second time with the noise that the first leaves
        free = np.asarray(least_squares(cost, free, args=(noise,), method="lm").x, float)
        noise = max(_LEAST_NOISE, float(np.sqrt(np.square(gaps(free)).mean())))
    return correction(free)


def choose_correction(predicted: Floats, truth: Floats) -> Correction:
    """A bias, or a slope too where the known shares span enough and left-out swatches are met better."""
    bias = fit_correction(predicted, truth, power=False)
    distinct = len(np.unique(truth.round(3), axis=0))
    if distinct < 3 or float(np.ptp(truth, axis=0).max()) < _SPAN_FOR_POWER:
        return bias
    by_bias, by_both = (
        np.abs(_left_out(predicted, truth, power=power) - truth).mean() for power in (False, True)
    )
    return fit_correction(predicted, truth, power=True) if by_both < by_bias else bias


def left_out(predicted: Floats, truth: Floats) -> list[Correction]:
    """For each of the n swatches the correction that the others make, its kind chosen on them alone."""
    found: dict[int, Correction] = {}
    for fold in _folds(len(predicted)):
        correction = choose_correction(predicted[~fold], truth[~fold])
        found |= dict.fromkeys(np.flatnonzero(fold).tolist(), correction)
    return [found[at] for at in range(len(predicted))]


def gained(before: Floats, after: Floats) -> bool:
    """Whether swatches that were left out, with errors (n,) in points, gain by more than luck would give."""
    gain = before - after
    luck = float(gain.std(ddof=1)) / np.sqrt(len(gain))
    return float(gain.mean()) > max(luck, LEAST_GAIN)


def _left_out(predicted: Floats, truth: Floats, *, power: bool) -> Floats:
    found = np.empty_like(predicted)
    for fold in _folds(len(predicted)):
        found[fold] = fit_correction(predicted[~fold], truth[~fold], power=power).apply(predicted[fold])
    return found


def _folds(count: int) -> list[NDArray[np.bool_]]:
    """One swatch at a time; ten folds of them where that would take long."""
    at = np.arange(count) % (count if count <= _ONE_AT_A_TIME else _FOLDS)
    return [at == fold for fold in np.unique(at)]
