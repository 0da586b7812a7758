"""Tileable noise, made once per process from fixed seeds; what is random is where it is read."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

SIDE = 512


@lru_cache(maxsize=8)
def field(sigma: float) -> NDArray[np.float32]:
    """Smooth noise, shape (512, 512), mean 0, standard deviation 1, features of about `sigma` cells."""
    rng = np.random.default_rng(int(sigma * 1000))
    white = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
    smooth = gaussian_filter(white, sigma, mode="wrap") if sigma > 0 else white
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


@lru_cache(maxsize=1)
def cloud() -> NDArray[np.float32]:
    """Noise on all scales (amplitude halves with size), shape (512, 512), mean 0, standard deviation 1."""
    total = sum(
        field(sigma) * weight for sigma, weight in ((24.0, 1.0), (12.0, 0.6), (5.0, 0.4), (2.0, 0.25))
    )
    return np.asarray(total / np.std(total), dtype=np.float32)


@lru_cache(maxsize=1)
def creases() -> NDArray[np.float32]:
    """Sharp ridges as in crumpled film, shape (512, 512), mean 0, standard deviation 1."""
    total = sum(-np.abs(field(sigma)) * weight for sigma, weight in ((20.0, 1.0), (9.0, 0.55), (4.0, 0.25)))
    return np.asarray((total - np.mean(total)) / np.std(total), dtype=np.float32)


@lru_cache(maxsize=4)
def slopes(kind: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both derivatives of `cloud` or `creases` per cell, each (512, 512), scaled to standard deviation 1."""
    source = creases() if kind == "creases" else cloud()
    down = (np.roll(source, -1, 0) - np.roll(source, 1, 0)) / 2
    right = (np.roll(source, -1, 1) - np.roll(source, 1, 1)) / 2
    return (right / right.std()).astype(np.float32), (down / down.std()).astype(np.float32)


def read(source: NDArray[np.float32], u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest cell of a field at (u, v) in cells; repeats every 512."""
    column = np.floor(u).astype(np.int32) & (SIDE - 1)
    row = np.floor(v).astype(np.int32) & (SIDE - 1)
    return source[row, column]


def read_smooth(
    source: NDArray[np.float32], u: NDArray[np.float32], v: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The field at (u, v) in cells, interpolated; for shapes, where a step would show."""
    return map_coordinates(source, [v, u], order=1, mode="grid-wrap").astype(np.float32)
