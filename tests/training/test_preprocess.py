"""What is in the graph against chemotools, which chemometricians trust."""

import numpy as np
import torch

from weft_training.preprocess import (
    SavitzkyGolay,
    StandardNormalVariate,
    branch_widths,
    build_preprocessing,
)
from weft_training.preprocess_recipe import Branches, SavGol, Snv


def spectra() -> np.ndarray:
    """(6, 120) smooth with a little noise."""
    rng = np.random.default_rng(3)
    at = np.linspace(0, 1, 120)
    peaks = sum(rng.uniform(0, 1, (6, 1)) * np.exp(-(((at - rng.uniform()) / 0.1) ** 2)) for _ in range(5))
    return peaks + rng.normal(0, 0.005, (6, 120))


def test_snv_is_that_of_chemotools() -> None:
    from chemotools.scatter import StandardNormalVariate as Oracle

    found = StandardNormalVariate()(torch.from_numpy(spectra()).float()).numpy()

    assert np.abs(found - Oracle().fit_transform(spectra())).max() < 1e-4


def test_the_derivative_is_that_of_chemotools_where_no_end_is_guessed() -> None:
    from chemotools.derivative import SavitzkyGolay as Oracle

    found = SavitzkyGolay(window=11, order=2, derivative=1)(torch.from_numpy(spectra()).float()).numpy()

    oracle = Oracle(window_length=11, polyorder=2, deriv=1).fit_transform(spectra())
    assert np.abs(found - oracle[:, 5:-5]).max() < 1e-5


def test_steps_run_in_the_order_of_the_recipe() -> None:
    steps = [SavGol(kind="savgol", window=7), Snv(kind="snv")]

    found = build_preprocessing(steps)(torch.from_numpy(spectra()).float())

    assert found.shape == (6, 114)
    assert (found.mean(-1).abs() < 1e-5).all()


def test_a_flat_spectrum_gives_no_nan() -> None:
    assert torch.isfinite(StandardNormalVariate()(torch.full((1, 20), 0.3))).all()


def test_branches_stand_side_by_side_in_the_order_of_the_recipe() -> None:
    from chemotools.derivative import SavitzkyGolay as Derivative
    from chemotools.scatter import StandardNormalVariate as Oracle

    chains = tuple(
        (SavGol(kind="savgol", window=window, derivative=derivative), Snv(kind="snv"))
        for window, derivative in ((11, 1), (15, 2))
    )

    found = build_preprocessing([Branches(kind="branches", of=chains)])(
        torch.from_numpy(spectra()).float()
    ).numpy()

    first = Derivative(window_length=11, polyorder=2, deriv=1).fit_transform(spectra())[:, 5:-5]
    second = Derivative(window_length=15, polyorder=2, deriv=2).fit_transform(spectra())[:, 7:-7]
    oracle = np.concatenate([Oracle().fit_transform(part) for part in (first, second)], axis=1)
    assert found.shape == (6, 110 + 106)
    assert np.abs(found - oracle).max() < 1e-3


def test_branches_tell_how_many_points_each_of_them_gives() -> None:
    smooth, slope = SavGol(kind="savgol", window=7, derivative=0), SavGol(kind="savgol", window=11)
    branches = Branches(kind="branches", of=((smooth,), (slope, Snv(kind="snv"))))

    assert branch_widths(build_preprocessing([branches]), points=120) == [114, 110]
    assert branch_widths(build_preprocessing([smooth, branches]), points=120) == [108, 104]
    assert branch_widths(build_preprocessing([smooth]), points=120) == [114]
