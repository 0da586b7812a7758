"""Where in a cube the thing lies: two groups of pixels by Otsu's threshold, and which one is the textile."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

GROUPS: Final = 16  # bands are averaged in this many groups: single-band noise is no contrast
_BINS: Final = 256
_APART: Final = 0.8  # between-group share of the variance; one Gaussian reaches 0.64, one flat spread 0.75
_LEAST_PIXELS: Final = 16


def features(reflectance: Floats) -> tuple[Floats, Floats]:
    """Brightness and spectral contrast of each pixel of (h, W, L), each of shape (h, W).

    Contrast is what is left of the grouped spectrum without its mean and slope, in units of reflectance: a
    belt is dark, a tile is flat, and the noise of both stays small there, which it does not in absorbance.
    """
    edges = np.linspace(0, reflectance.shape[-1], min(GROUPS, reflectance.shape[-1]) + 1).astype(np.intp)
    # (h, W, L) -> (h, W, G)
    grouped = np.add.reduceat(reflectance, edges[:-1], axis=-1) / np.diff(edges).astype(np.float32)
    brightness = grouped.mean(axis=-1)
    position = np.linspace(-1, 1, grouped.shape[-1], dtype=np.float32)  # (G,)
    position /= np.sqrt((position**2).sum())
    flat = grouped - brightness[..., None]
    flat -= (flat @ position)[..., None] * position
    return brightness, flat.std(axis=-1)


def foreground_mask(brightness: Floats, contrast: Floats, valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the thing, shape (H, W): everything valid where there are no two clearly separate groups."""
    if int(valid.sum()) < _LEAST_PIXELS:
        return valid.copy()
    best: NDArray[np.bool_] | None = None
    best_apart = _APART
    for feature in (brightness, contrast):
        threshold, apart = otsu(feature[valid])
        if apart > best_apart:
            best, best_apart = np.asarray(feature > threshold, np.bool_), apart
    if best is None:
        return valid.copy()
    upper, lower = best & valid, ~best & valid
    if not upper.any() or not lower.any():
        return valid.copy()
    return upper if float(np.median(contrast[upper])) >= float(np.median(contrast[lower])) else lower


def otsu(values: Floats) -> tuple[float, float]:
    """Threshold that separates two groups best, and the share of the variance that lies between them."""
    low, high = np.percentile(values, (0.5, 99.5))  # a specular spot must not stretch the histogram
    if not high > low:
        return float(low), 0.0
    clipped = np.clip(values, low, high)
    counts, edges = np.histogram(clipped, bins=_BINS, range=(float(low), float(high)))
    centres = (edges[:-1] + edges[1:]) / 2
    weight = np.cumsum(counts) / counts.sum()  # share of the lower group, per threshold
    moment = np.cumsum(counts * centres) / counts.sum()
    total = moment[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = np.nan_to_num((total * weight - moment) ** 2 / (weight * (1 - weight)))
    variance = float((counts * (centres - total) ** 2).sum() / counts.sum())
    # a gap gives many equal thresholds: take the middle one
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    place = int(best[len(best) // 2])
    return float(edges[place + 1]), float(between[place]) / variance if variance > 0 else 0.0
