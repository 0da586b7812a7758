"""Solved, not stepped to: the same answers as scikit-learn's, and held-out subjects to judge by."""

from functools import partial

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from weft.errors import RecipeError
from weft_training import closed_form


def scans(classes: int, *, each: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (rows, 20), shares (rows, classes + 1), subjects: three scans of each."""
    rng = np.random.default_rng(seed)
    main = np.repeat(np.arange(classes), each)
    inputs = rng.normal(size=(classes, 20))[main] + rng.normal(0, 0.4, (len(main), 20))
    subjects = np.array([f"s{row // 3}" for row in range(len(main))])
    return inputs, np.eye(classes + 1)[main], subjects


@pytest.mark.parametrize("classes", [2, 3])
def test_softmax_of_the_solved_lda_is_the_posterior_of_scikit_learns(classes: int) -> None:
    inputs, shares, _ = scans(classes)
    names = ["cotton", "wool", "silk"][:classes]

    weight, bias = closed_form.lda(inputs, shares, shrinkage=None, fibres=names)

    logits = (inputs @ weight.T + bias)[:, :-1]
    found = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(inputs, shares.argmax(1))
    assert np.abs(found - oracle.predict_proba(inputs)).max() < 1e-6


def test_the_solved_pls_predicts_as_scikit_learns() -> None:
    inputs, shares, _ = scans(3)

    weight, bias = closed_form.pls(inputs, shares, components=4)

    oracle = PLSRegression(n_components=4, scale=False).fit(inputs, shares[:, :-1])
    assert np.abs((inputs @ weight.T + bias)[:, :-1] - oracle.predict(inputs)).max() < 1e-8


def blends(subjects: int = 8, *, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (rows, 30) of two-fibre blends, five scans each, under interference that differs by subject."""
    rng = np.random.default_rng(seed)
    cotton = np.repeat(np.linspace(0.2, 0.6, subjects), 5)
    signal, *others = rng.normal(size=(4, 30))
    level = np.repeat(rng.normal(size=(subjects, 3)), 5, axis=0)
    inputs = cotton[:, None] * signal * 3 + level @ np.array(others) + rng.normal(0, 0.1, (5 * subjects, 30))
    shares = np.stack([cotton, 1 - cotton, np.zeros_like(cotton)], axis=1)
    return inputs, shares, np.array([f"f{row // 5}" for row in range(5 * subjects)])


def left_out_error(components: int | str) -> float:
    inputs, shares, subjects = blends()
    gaps = []
    for subject in np.unique(subjects):
        out = subjects == subject
        weight, bias = closed_form.pls(
            inputs[~out],
            shares[~out],
            components=components,  # pyright: ignore[reportArgumentType]
            subjects=subjects[~out],
        )
        gaps.append(np.abs((inputs[out] @ weight.T + bias)[:, 0] - shares[out, 0]).mean())
    return float(np.mean(gaps))


@pytest.mark.parametrize("way", ["auto", "averaged"])
def test_a_number_of_components_need_not_be_given(way: str) -> None:
    assert left_out_error(way) < 0.5 * left_out_error(1)


def test_one_component_at_a_time_is_scikit_learns_path() -> None:
    inputs, shares, _ = blends()

    for components in (1, 3, 7):
        weight, bias = closed_form.pls(inputs, shares, components=components)
        oracle = PLSRegression(n_components=components, scale=False).fit(inputs, shares[:, :-1])
        assert np.abs((inputs @ weight.T + bias)[:, :-1] - oracle.predict(inputs)).max() < 1e-8


def test_shares_of_an_averaged_solution_still_sum_to_one() -> None:
    inputs, shares, subjects = blends()

    weight, bias = closed_form.pls(inputs, shares, components="averaged", subjects=subjects)

    assert (inputs @ weight.T + bias)[:, :-1].sum(1) == pytest.approx(1)


def test_subjects_of_one_composition_give_that_composition() -> None:
    inputs, shares, subjects = blends(subjects=2)
    shares[:] = (0.4, 0.6, 0.0)

    weight, bias = closed_form.pls(inputs, shares, components="averaged", subjects=subjects)

    assert (inputs @ weight.T + bias)[:, :-1] == pytest.approx(shares[:, :-1])


def test_choosing_components_needs_to_know_the_subjects() -> None:
    inputs, shares, _ = blends()

    with pytest.raises(ValueError, match="components: auto needs the subjects"):
        closed_form.pls(inputs, shares, components="auto")


def test_strangers_are_told_from_fibres_where_there_are_any() -> None:
    inputs, shares, _ = scans(3)
    shares[shares.argmax(1) == 2] = [0, 0, 0, 1]

    weight, bias = closed_form.pls(inputs, shares, components=4)

    logit = (inputs @ weight.T + bias)[:, -1]
    assert logit[shares[:, -1] == 1].min() > logit[shares[:, -1] == 0].max()


def test_a_fibre_without_a_pure_scan_cannot_be_discriminated() -> None:
    inputs, shares, _ = scans(2)
    shares[:, 1], shares[:, 0] = shares[:, 1] * 0.5, 1 - shares[:, 1] * 0.5

    with pytest.raises(RecipeError, match=r"there is none of wool; take init: pls"):
        closed_form.lda(inputs, shares, shrinkage=None, fibres=["cotton", "wool"])


def test_ridge_finds_a_line_under_noise() -> None:
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(200, 30))
    target = inputs[:, 0] * 2 + 5 + rng.normal(0, 0.1, 200)

    weight, bias = closed_form.ridge(inputs, target, np.array([f"s{row // 2}" for row in range(200)]))

    assert weight[0, 0] == pytest.approx(2, abs=0.1)
    assert bias[0] == pytest.approx(5, abs=0.1)


def test_a_boundary_lies_nearer_to_the_fibre_that_many_subjects_tell_of() -> None:
    inputs, shares, subjects = scans(2, each=30)
    few = np.where(shares[:, 1] == 1, "the same swatch", subjects)  # all of the second fibre's
    middle = (inputs[shares[:, 0] == 1].mean(0) + inputs[shares[:, 1] == 1].mean(0)) / 2
    names = ["cotton", "wool"]

    weight, bias = closed_form.lda(inputs, shares, shrinkage=None, fibres=names, subjects=few)
    even_weight, even_bias = closed_form.lda(inputs, shares, shrinkage=None, fibres=names)

    logits, even = middle @ weight.T + bias, middle @ even_weight.T + even_bias
    assert even[0] == pytest.approx(even[1], abs=1e-6)
    assert logits[1] > logits[0] + 0.1


def test_fibres_of_as_many_subjects_share_their_boundary_as_before() -> None:
    inputs, shares, subjects = scans(3)
    names = ["cotton", "wool", "silk"]

    with_subjects = closed_form.lda(inputs, shares, shrinkage=None, fibres=names, subjects=subjects)
    without = closed_form.lda(inputs, shares, shrinkage=None, fibres=names)

    assert with_subjects[1] == pytest.approx(without[1], abs=1e-8)


def test_the_mean_of_two_solutions_says_the_mean_of_what_each_says_of_its_own_points() -> None:
    inputs, shares, _ = scans(3)
    solve = partial(closed_form.lda, shares=shares, shrinkage=0.1, fibres=["cotton", "wool", "silk"])

    weight, bias = closed_form.mean_of_parts(solve, inputs, [8, 12])

    (one, one_bias), (other, other_bias) = solve(inputs[:, :8]), solve(inputs[:, 8:])
    said = (inputs[:, :8] @ one.T + one_bias + inputs[:, 8:] @ other.T + other_bias) / 2
    assert np.abs(inputs @ weight.T + bias - said).max() < 1e-9


def test_one_part_is_solved_as_ever() -> None:
    inputs, shares, _ = scans(3)
    solve = partial(closed_form.lda, shares=shares, shrinkage=0.1, fibres=["cotton", "wool", "silk"])

    for found, plain in zip(closed_form.mean_of_parts(solve, inputs, [20]), solve(inputs), strict=True):
        assert (found == plain).all()
