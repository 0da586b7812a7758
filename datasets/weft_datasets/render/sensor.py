"""From light to the bytes of a photo: blur, exposure, white balance, vignetting, noise, tone curve."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Floats = NDArray[np.float32]


def develop(rng: Generator, light: Floats, *, visible: list[int]) -> NDArray[np.uint8]:
    """Linear light (H, W, C) -> a photo uint8 (H, W, C).

    Args:
        visible: Which bands the camera's white balance works on; the others keep their own gain.
    """
    height, width, bands = light.shape
    blur = float(rng.uniform(0.25, 0.75))
    light = np.stack([gaussian_filter(light[..., band], blur) for band in range(bands)], axis=2)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    light = light * (1 - float(rng.uniform(0.03, 0.3)) * (x**2 + y**2)[..., None] / 2)
    gain = _gains(rng, light, visible)
    light = light * gain
    iso = float(np.exp(rng.uniform(np.log(0.003), np.log(0.022))))
    grain = rng.standard_normal(light.shape, dtype=np.float32)
    light = light + grain * (iso * np.sqrt(np.maximum(light, 0) + 0.004))
    return _tone(light, contrast=float(rng.uniform(0.1, 0.5)))


def _gains(rng: Generator, light: Floats, visible: list[int]) -> Floats:
    """Exposure and white balance: what a phone meters, off by a little."""
    metered = light[::4, ::4].reshape(-1, light.shape[2])
    target = 0.25 * float(np.exp(rng.normal(0, 0.25)))
    gain = np.empty(light.shape[2], np.float32)
    seen = metered[:, visible] if visible else metered
    exposure = target / (float(seen.mean()) + 1e-6)
    exposure = min(exposure, 1.0 / (float(np.quantile(seen, 0.975)) + 1e-6))
    grey = metered.mean(axis=0) + 1e-6
    balanced = (seen.mean() / grey) ** 0.35  # a phone removes only a part of a cast
    for band in range(light.shape[2]):
        if band in visible:
            gain[band] = exposure * balanced[band] * float(np.exp(rng.normal(0, 0.04)))
        else:
            gain[band] = (
                0.5 / (float(np.quantile(metered[:, band], 0.9)) + 1e-6) * float(np.exp(rng.normal(0, 0.15)))
            )
    return gain


def _tone(light: Floats, *, contrast: float) -> NDArray[np.uint8]:
    """sRGB curve with a mild S on top, rounded to bytes."""
    light = np.clip(light, 0, 1)
    shown = np.where(light < 0.0031308, 12.92 * light, 1.055 * light ** np.float32(1 / 2.4) - 0.055)
    shown = shown + contrast * (shown * shown * (3 - 2 * shown) - shown)
    return np.round(np.clip(shown, 0, 1) * 255).astype(np.uint8)
