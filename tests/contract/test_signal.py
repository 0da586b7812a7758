"""A scan with little signal says so, whatever instrument it came from."""

import numpy as np
import pytest

from weft.signal import signal_doubts, signal_to_noise
from weft.spectra import Scan, make_scan

RANGE = {"from_nm": 1015.0, "to_nm": 1635.0, "step_nm": 5.0}


def scan(*, noise: float, level: float = 0.3, band: float = 0.1, step_nm: float = 3.5) -> Scan:
    nm = np.arange(900.0, 1700.0, step_nm)
    rng = np.random.default_rng(0)
    values = level + band * np.exp(-0.5 * ((nm - 1480) / 40) ** 2) + rng.normal(0, noise, len(nm))
    return make_scan(values=values, quantity="absorbance", wavelength_nm=nm)


def test_bands_are_measured_against_the_noise_of_the_scan() -> None:
    quiet, loud = (signal_to_noise(scan(noise=noise), **RANGE) for noise in (0.001, 0.004))

    assert quiet is not None
    assert loud is not None
    assert quiet / loud == pytest.approx(4, rel=0.1)


def test_a_finer_scan_may_be_noisier_since_it_is_averaged() -> None:
    coarse = signal_to_noise(scan(noise=0.002, step_nm=5.0), **RANGE)
    fine = signal_to_noise(scan(noise=0.002, step_nm=1.0), **RANGE)

    assert coarse is not None
    assert fine == pytest.approx(coarse * 5**0.5, rel=0.15)


def test_a_good_scan_raises_no_doubt() -> None:
    assert signal_doubts(scan(noise=0.0005), **RANGE) == []


def test_a_noisy_scan_says_how_little_signal_it_has() -> None:
    (doubt,) = signal_doubts(scan(noise=0.03), **RANGE)

    assert doubt.startswith("little signal: the bands are 1.6 times the noise")
    assert "3 are needed (48% of the light comes back); scan longer" in doubt


def test_a_tile_has_no_bands_at_all() -> None:
    assert "little signal" in signal_doubts(scan(noise=0.001, band=0.0), **RANGE)[0]


def test_a_dark_garment_with_bands_to_be_seen_is_called_dark_only() -> None:
    (doubt,) = signal_doubts(scan(noise=0.001, level=1.3), **RANGE)

    assert doubt.startswith("dark: 5% of the light comes back")


def test_a_scan_of_another_range_or_of_a_few_points_is_not_judged() -> None:
    assert signal_to_noise(scan(noise=0.001, step_nm=80.0), **RANGE) is None
    assert signal_doubts(scan(noise=0.001), from_nm=1800, to_nm=2000, step_nm=5) == []
