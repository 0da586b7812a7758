"""Kernel ridge regression, against the textbook's equations and against what it is for."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel

from weft_training import closed_form, kernel_regression
from weft_training.kernel_regression import KernelRegression


def things(count: int, *, seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """(rows, 6) features of two photos of each thing, a target that is no linear function, and subjects."""
    generator = np.random.default_rng(seed)
    middle = np.repeat(generator.normal(size=(count, 6)), 2, axis=0)
    seen = middle + 0.05 * generator.normal(size=middle.shape)
    target = np.sin(1.5 * middle[:, 0]) + 0.5 * middle[:, 1] ** 2
    names = np.repeat([f"s{number}" for number in range(count)], 2)
    return torch.from_numpy(seen).float(), torch.from_numpy(target).float(), names


def fitted(count: int = 150, *, centres: int = 300) -> KernelRegression:
    seen, target, subjects = things(count, seed=1)
    kernel = KernelRegression(6, min(centres, len(seen)), share=0.5)
    kernel.fit(seen, target, subjects, widths=[4, 2])
    return kernel


def test_with_a_centre_for_every_photo_it_is_the_mean_of_a_gaussian_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel_regression, "_STRENGTHS", np.array([0.1]))
    kernel, (seen, target, _), (asked, _, _) = fitted(), things(150, seed=1), things(20, seed=2)
    given, ask = (seen * kernel.scale).numpy(), (asked * kernel.scale).numpy()

    # A Gaussian process with a level of its own that costs nothing: one more row and column.
    rows = len(given)
    whole = np.ones((rows + 1, rows + 1))
    whole[:rows, :rows] = rbf_kernel(given, gamma=1.0) + 0.1 * np.eye(rows)
    whole[rows, rows] = 0
    solved = np.linalg.solve(whole, np.append(target.numpy(), 0))
    oracle = rbf_kernel(ask, given, gamma=1.0) @ solved[:rows] + solved[rows]

    assert np.abs(kernel(asked).numpy() - oracle).max() < 1e-3


def test_what_is_no_linear_function_is_learnt_better_than_by_a_ridge() -> None:
    kernel, (seen, target, subjects), (asked, truth, _) = fitted(), things(150, seed=1), things(60, seed=2)
    weight, bias = closed_form.ridge(seen.numpy(), target.numpy(), subjects)
    linear = asked.numpy() @ weight[0] + bias[0]

    found = (kernel(asked) - truth).abs().mean()

    assert float(found) < 0.6 * np.abs(linear - truth.numpy()).mean()


def test_far_from_everything_seen_it_says_the_same_of_all() -> None:
    kernel = fitted()
    far = 100 * torch.eye(6)[:2]

    assert torch.allclose(kernel(far), kernel.bias.expand(2))


def test_fewer_centres_than_photos_cost_little() -> None:
    asked, truth, _ = things(60, seed=2)
    whole, some = (float((fitted(centres=count)(asked) - truth).abs().mean()) for count in (300, 150))

    assert some < 1.15 * whole


def test_every_stretch_of_features_counts_the_same_in_a_distance() -> None:
    kernel = fitted()
    squares = kernel.scale.square()

    assert float(squares[:4].sum()) == pytest.approx(float(squares[4:].sum()), rel=1e-5)
