"""Solved, not stepped to: the same answers as scikit-learn's, and held-out subjects to judge by."""

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


def test_the_usual_distance_is_that_of_subjects_left_out() -> None:
    inputs, _, subjects = scans(3)

    plane, usual = closed_form.known_plane(inputs - inputs.mean(0), subjects, components=5)

    own = inputs - inputs.mean(0)
    beside = np.sqrt(np.square(own - own @ plane @ plane.T).mean(1))
    assert plane.shape == (20, 5)
    assert usual > np.quantile(beside, 0.99)
