"""What can be solved instead of stepped to: ridge, PLS, LDA, and the plane of known spectra."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from weft.errors import RecipeError
from weft_datasets.splits import folds_by_subject

Floats = NDArray[np.floating]
Linear = tuple[NDArray[np.float64], NDArray[np.float64]]  # weight (outputs, inputs), bias (outputs,)

_STRENGTHS = np.geomspace(1.0, 1e5, 11)
_PURE = 0.85  # a scan of at least this share of one fibre is an example of its class
_STRANGER_BIAS = -6.0  # logit of `unknown` where training has no strangers: 0.2 %


def ridge(inputs: Floats, target: Floats, subjects: NDArray[np.str_]) -> Linear:
    """Ridge regression whose strength predicts unseen subjects best.

    Args:
        inputs: (rows, D), standardised.
        target: (rows,).
        subjects: (rows,); rows of one are never on both sides.
    """
    count = min(5, len(set(subjects.tolist())))
    strength = float(_STRENGTHS[len(_STRENGTHS) // 2])
    if count > 1:
        fold = folds_by_subject(subjects.tolist(), folds=count, seed=0)
        error = np.zeros(len(_STRENGTHS))
        for held in range(count):
            out = fold == held
            found = _ridge_path(inputs[~out], target[~out], inputs[out])  # (strengths, rows)
            error += np.abs(found - target[out]).sum(1)
        strength = float(_STRENGTHS[int(error.argmin())])
    solved = Ridge(alpha=strength).fit(inputs, target)
    return np.atleast_2d(solved.coef_), np.atleast_1d(solved.intercept_)


def pls(inputs: Floats, shares: Floats, *, components: int) -> Linear:
    """Partial least squares on shares (rows, F + 1); `unknown` is regressed like a fibre, about 0.5."""
    known = shares[:, -1] < 0.5
    rank = min(components, int(known.sum()) - 1, inputs.shape[1])
    solved = PLSRegression(n_components=max(rank, 1), scale=False).fit(inputs[known], shares[known, :-1])
    weight = np.asarray(solved.coef_, float)  # (F, P)
    bias = np.asarray(solved.intercept_, float) - weight @ inputs[known].mean(0)
    return _with_stranger(weight, bias, inputs, shares)


def lda(inputs: Floats, shares: Floats, *, shrinkage: float | None, fibres: Sequence[str]) -> Linear:
    """Linear discriminant analysis of (nearly) pure scans: softmax of its outputs is its posterior.

    Raises:
        RecipeError: A fibre has no pure scan to learn from.
    """
    main = shares[:, :-1].argmax(1)
    pure = shares[:, :-1].max(1) >= _PURE
    lacking = [name for index, name in enumerate(fibres) if not (pure & (main == index)).any()]
    if lacking:
        raise RecipeError(
            f"model.init: lda needs scans of at least {_PURE:.0%} of every fibre in data.fibres, there is "
            f"none of {', '.join(lacking)}; take init: pls, or leave the fibre out"
        )
    solved = LinearDiscriminantAnalysis(
        solver="lsqr",
        shrinkage="auto" if shrinkage is None else shrinkage,
        # Equal priors: how many scans of a fibre there are says nothing of what comes along the belt.
        priors=np.full(len(fibres), 1 / len(fibres)),
    ).fit(inputs[pure], main[pure])
    weight, bias = np.asarray(solved.coef_, float), np.asarray(solved.intercept_, float)
    if len(fibres) == 2:  # scikit-learn gives the difference of the two
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return _with_stranger(weight, bias, inputs, shares)


def known_plane(
    inputs: Floats, subjects: NDArray[np.str_], *, components: int
) -> tuple[NDArray[np.float64], float]:
    """Principal plane (P, K) of standardised spectra, and the distance that 99 % of unseen subjects' keep.

    The distance is measured on subjects that were left out of the plane: one's own scans always lie closer.
    """
    count = min(5, len(set(subjects.tolist())))
    distances: list[float] = []
    if count > 1:
        fold = folds_by_subject(subjects.tolist(), folds=count, seed=0)
        for held in range(count):
            plane = _plane(inputs[fold != held], components)
            distances += _distance(inputs[fold == held], plane).tolist()
    plane = _plane(inputs, components)
    if not distances:
        distances = _distance(inputs, plane).tolist()
    return plane, float(np.quantile(distances, 0.99))


def _with_stranger(weight: Floats, bias: Floats, inputs: Floats, shares: Floats) -> Linear:
    """Append the logit of `unknown`: a discriminant of strangers against the rest where there are any."""
    stranger = shares[:, -1] >= 0.5
    extra, level = np.zeros(inputs.shape[1]), _STRANGER_BIAS
    if stranger.sum() >= 2 and (~stranger).sum() >= 2:
        solved = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
        solved.fit(inputs, stranger)
        extra, level = np.asarray(solved.coef_, float)[0], float(solved.intercept_[0])
    return np.concatenate([weight, extra[None]]), np.append(bias, level)


def _ridge_path(inputs: Floats, target: Floats, ask: Floats) -> NDArray[np.float64]:
    """Predictions for `ask` at every strength from one decomposition, (strengths, rows)."""
    centre, level = inputs.mean(0), target.mean()
    values, axes = np.linalg.eigh((inputs - centre).T @ (inputs - centre))
    turned = axes.T @ ((inputs - centre).T @ (target - level))
    asked = (ask - centre) @ axes
    weights = turned[:, None] / (np.maximum(values, 0)[:, None] + _STRENGTHS)  # (D, strengths)
    return (asked @ weights + level).T


def _plane(inputs: Floats, components: int) -> NDArray[np.float64]:
    # Not centred: standardised inputs already are, and a plane through 0 is what the graph projects on.
    rank = min(components, *inputs.shape)
    return np.linalg.svd(inputs, full_matrices=False)[2][:rank].T


def _distance(inputs: Floats, plane: Floats) -> NDArray[np.float64]:
    beside = inputs - (inputs @ plane) @ plane.T
    return np.sqrt(np.square(beside).mean(1))
