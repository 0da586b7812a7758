"""Any grid, in any order, to the bundle's grid."""

import numpy as np
import pytest
import torch

from weft_training.resample import resample, resample_weights

GRID = torch.arange(950.0, 1651.0, 5.0)
GRIDS = {
    "the same": np.arange(950.0, 1651.0, 5.0),
    "finer": np.linspace(900, 1700, 1601),
    "coarser": np.linspace(930, 1670, 60),
    "even in wavenumber": 1e7 / np.linspace(1e7 / 1700, 1e7 / 900, 400),
    "descending": np.linspace(1701, 899, 228),
    "of a detector": 901.6 + 799 * np.linspace(0, 1, 228) ** 1.03,
}


def smooth(wavelength: np.ndarray) -> np.ndarray:
    return 0.4 + 0.3 * np.exp(-(((wavelength - 1210) / 60) ** 2)) + 0.2 * np.sin(wavelength / 90)


def run(wavelength: np.ndarray, values: np.ndarray) -> np.ndarray:
    return resample(
        torch.from_numpy(wavelength.astype(np.float32)), torch.from_numpy(values.astype(np.float32)), GRID
    ).numpy()


@pytest.mark.parametrize("name", GRIDS)
def test_a_smooth_spectrum_reads_as_numpy_interpolates_it(name: str) -> None:
    wavelength = GRIDS[name]
    order = np.argsort(wavelength)

    found = run(wavelength, smooth(wavelength)[None])[0]

    expected = np.interp(GRID.numpy(), wavelength[order], smooth(wavelength)[order])
    assert np.abs(found - expected).max() < 2e-3


@pytest.mark.parametrize("name", GRIDS)
def test_a_straight_line_stays_the_line_it_was(name: str) -> None:
    wavelength = GRIDS[name]

    found = run(wavelength, 0.002 * wavelength[None] - 1.0)[0]

    assert np.abs(found - (0.002 * GRID.numpy() - 1.0)).max() < 2e-6


def test_the_order_of_the_points_does_not_matter() -> None:
    wavelength = GRIDS["of a detector"]
    shuffled = np.random.default_rng(0).permutation(len(wavelength))

    straight = run(wavelength, smooth(wavelength)[None])
    mixed = run(wavelength[shuffled], smooth(wavelength[shuffled])[None])

    assert np.abs(straight - mixed).max() < 1e-6


def test_a_finer_scan_is_averaged_so_that_its_noise_shrinks() -> None:
    wavelength = np.linspace(900, 1700, 8001)
    noise = np.random.default_rng(0).normal(size=(4, len(wavelength)))

    assert run(wavelength, noise).std() < 0.3


def test_beyond_its_ends_a_scan_is_read_flat() -> None:
    wavelength = np.linspace(960.0, 1640.0, 137)

    found = run(wavelength, (wavelength / 1000)[None])[0]

    assert found[0] == pytest.approx(0.960, abs=1e-6)
    assert found[-1] == pytest.approx(1.640, abs=1e-6)


def test_weights_sum_to_one_whatever_the_grid() -> None:
    for wavelength in GRIDS.values():
        weights = resample_weights(torch.from_numpy(wavelength.astype(np.float32)), GRID)
        assert (weights.sum(-1) - 1).abs().max() < 1e-5
