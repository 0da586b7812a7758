"""Inputs on which an export is compared, made from nothing: these may travel in a file, no photo may."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from weft.card import SEASONS, WRAPS
from weft.limits import PHOTOS_PER_ESTIMATE, SPECTRUM_POINTS, SPECTRUM_POINTS_MIN

Inputs = dict[str, NDArray[Any]]

_SMALL = 4  # the first cases are small: they travel in the bundle


def made_photos(cases: int, *, bands: int, seed: int) -> list[Inputs]:
    """Noise textures of mixed sizes in one tensor: 3 photos of up to 96 px, later 1 to 9 of up to 640 px."""
    rng = np.random.default_rng([seed, 1])
    found: list[Inputs] = []
    for case in range(cases):
        batch = 1 + case % 2
        count = 3 if case < _SMALL else int(rng.integers(1, PHOTOS_PER_ESTIMATE + 1))
        height, width = (
            rng.integers(48, 97, size=2) if case < _SMALL else rng.integers(24, 641, size=2)
        ).tolist()
        size = np.stack([rng.integers(8, side + 1, size=(batch, count)) for side in (height, width)], axis=-1)
        mask = np.arange(count) < rng.integers(1, count + 1, size=(batch, 1))
        photos = np.zeros((batch, count, bands, height, width), np.uint8)
        for at, place in np.argwhere(mask):
            rows, columns = size[at, place]
            photos[at, place, :, :rows, :columns] = _texture(rng, bands, int(rows), int(columns))
        found.append(
            {
                "photos": photos,
                "size": size.astype(np.int64),
                "mask": mask,
                "mm_per_pixel": (
                    rng.uniform(0.2, 5, (batch, count)) * (rng.random((batch, count)) < 0.7)
                ).astype(np.float32),
                "mark_at": np.concatenate(
                    [
                        rng.uniform(0, 1, (batch, count, 2)) * size[..., ::-1],
                        rng.uniform(0.4, 1, (batch, count, 1)) * (rng.random((batch, count, 1)) < 0.7),
                    ],
                    axis=-1,
                ).astype(np.float32),
                "season": rng.integers(0, 1 + len(SEASONS), size=batch),
                "wrap": rng.integers(0, 1 + len(WRAPS), size=batch),
            }
        )
    return found


def made_scans(cases: int, *, grid_nm: list[float], seed: int) -> list[Inputs]:
    """Smooth random spectra that cover the grid, on even and uneven grids, ascending and descending."""
    rng = np.random.default_rng([seed, 2])
    found: list[Inputs] = []
    for case in range(cases):
        most = 300 if case < _SMALL else SPECTRUM_POINTS
        points = int(np.exp(rng.uniform(np.log(SPECTRUM_POINTS_MIN), np.log(most))))
        low, high = grid_nm[0] - rng.uniform(0, 50), grid_nm[-1] + rng.uniform(0, 50)
        wavelength = np.linspace(low, high, points)
        if case % 3 == 1:
            wavelength = 1e7 / np.linspace(1e7 / low, 1e7 / high, points)  # even in wavenumber
        smooth = np.zeros((1 + case % 3, points))
        for _ in range(8):
            centre, width = rng.uniform(low, high), rng.uniform(15, 120)
            height = rng.uniform(0, 0.6, size=(len(smooth), 1))
            smooth += height * np.exp(-0.5 * ((wavelength - centre) / width) ** 2)
        if case % 2:
            wavelength, smooth = wavelength[::-1], smooth[:, ::-1]
        found.append(
            {
                "wavelength_nm": wavelength.astype(np.float32),
                "absorbance": (smooth + rng.uniform(0, 0.5)).astype(np.float32),
            }
        )
    return found


def _texture(rng: np.random.Generator, bands: int, rows: int, columns: int) -> NDArray[np.uint8]:
    noise = gaussian_filter(rng.normal(size=(bands, rows, columns)), (0, *[rng.uniform(0.5, 8)] * 2))
    spread = max(float(noise.std()), 1e-6)
    return np.clip(rng.uniform(60, 200) + noise / spread * rng.uniform(10, 60), 0, 255).astype(np.uint8)
