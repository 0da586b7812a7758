"""What can be solved instead of stepped to: ridge, PLS and LDA."""

import warnings
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final, Literal

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
_MOST_COMPONENTS: Final = 12  # of PLS, where their number is chosen or averaged over
_MOST_INNER_FOLDS: Final = 10
_STRANGER_BIAS = -6.0  # logit of `unknown` where training has no strangers: 0.2 %


def ridge(
    inputs: Floats, target: Floats, subjects: NDArray[np.str_], *, strengths: Floats = _STRENGTHS
) -> Linear:
    """Ridge regression whose strength predicts unseen subjects best.

    Args:
        inputs: (rows, D), standardised.
        target: (rows,).
        subjects: (rows,); rows of one are never on both sides.
        strengths: Those tried.
    """
    count = min(5, len(set(subjects.tolist())))
    strength = float(strengths[len(strengths) // 2])
    if count > 1:
        fold = folds_by_subject(subjects.tolist(), folds=count, seed=0)
        error = np.zeros(len(strengths))
        for held in range(count):
            out = fold == held
            found = _ridge_path(inputs[~out], target[~out], inputs[out], strengths)  # (strengths, rows)
            error += np.abs(found - target[out]).sum(1)
        strength = float(strengths[int(error.argmin())])
    solved = Ridge(alpha=strength).fit(inputs, target)
    return np.atleast_2d(solved.coef_), np.atleast_1d(solved.intercept_)


def pls(
    inputs: Floats,
    shares: Floats,
    *,
    components: int | Literal["auto", "averaged"],
    subjects: NDArray[np.str_] | None = None,
) -> Linear:
    """Partial least squares on shares (rows, F + 1); `unknown` is regressed like a fibre, about 0.5.

    Args:
        components: A number; `auto` for the number that predicts left-out subjects best; `averaged` for the
            mean over 1 to 12 components, each weighed by one over its squared error on left-out subjects
            (Zhang, Xu and Massart, Analytica Chimica Acta 504 (2004) 279). With a handful of subjects the
            best number is a matter of luck, its neighbourhood is not: see docs/cotton.md.
        subjects: (rows,), needed for `auto` and `averaged`; rows of one are never on both sides.
    """
    known = shares[:, -1] < 0.5
    most = _MOST_COMPONENTS if isinstance(components, str) else components
    path = _pls_path(inputs[known], shares[known, :-1], most)
    if isinstance(components, str):
        if subjects is None:
            raise ValueError(f"components: {components} needs the subjects of the rows")
        error = _pls_errors(inputs[known], shares[known, :-1], subjects[known], len(path))
        part = 1 / np.maximum(error, 1e-9) ** 2 if components == "averaged" else error == error.min()
        weight = np.tensordot(part / part.sum(), path, axes=1)
    else:
        weight = path[-1]
    bias = shares[known, :-1].mean(0) - weight @ inputs[known].mean(0)
    return _with_stranger(weight, bias, inputs, shares)


def mean_of_parts(solve: Callable[[Floats], Linear], inputs: Floats, widths: Sequence[int]) -> Linear:
    """`solve` on one stretch of the inputs after the other, and the mean of what they say, as one layer.

    Members that see the scan differently err differently; solved together they lean on what agrees by chance.

    Args:
        inputs: (rows, P).
        widths: Of the stretches, with the sum P.
    """
    found = [solve(part) for part in np.split(inputs, np.cumsum(widths)[:-1], axis=1)]
    weight = np.concatenate([weight for weight, _ in found], axis=1) / len(found)
    bias = np.stack([bias for _, bias in found]).mean(0)
    return np.asarray(weight, np.float64), np.asarray(bias, np.float64)


def lda(
    inputs: Floats,
    shares: Floats,
    *,
    shrinkage: float | None,
    fibres: Sequence[str],
    subjects: NDArray[np.str_] | None = None,
) -> Linear:
    """Linear discriminant analysis of (nearly) pure scans: softmax of its outputs is its posterior.

    Args:
        subjects: (rows,); with them the boundaries lie nearer to fibres that many subjects tell of: the next
            swatch of a fibre known from two lies further from their mean than that of one known from twenty.

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
    if subjects is not None:
        bias = bias + _for_few_subjects(weight, inputs[pure], main[pure], subjects[pure])
    return _with_stranger(weight, bias, inputs, shares)


def _for_few_subjects(
    weight: Floats, inputs: Floats, main: NDArray[np.int64], subjects: NDArray[np.str_]
) -> NDArray[np.float64]:
    """(F,) to add to the biases of an LDA, so that each boundary lies where it does for a new subject.

    Around a mean of n subjects a new one varies 1 + 1/n times as much as they do around the truth. Between
    two fibres the boundary lies where both are as many such deviations away, instead of half way.
    """
    fibres = range(len(weight))
    mean = np.stack([inputs[main == fibre].mean(0) for fibre in fibres])
    spread = [np.sqrt(1 + 1 / len(set(subjects[main == fibre].tolist()))) for fibre in fibres]
    rows, wanted = [], []
    for one, other in combinations(fibres, 2):
        distance = (weight[one] - weight[other]) @ (mean[one] - mean[other])  # squared, of Mahalanobis
        rows.append(np.eye(len(weight))[one] - np.eye(len(weight))[other])
        wanted.append((spread[one] / (spread[one] + spread[other]) - 0.5) * distance)
    # Three pairs and two differences: the least squares of them.
    return np.linalg.lstsq(np.stack(rows), np.array(wanted), rcond=None)[0]


def _with_stranger(weight: Floats, bias: Floats, inputs: Floats, shares: Floats) -> Linear:
    """Append the logit of `unknown`: a discriminant of strangers against the rest where there are any."""
    stranger = shares[:, -1] >= 0.5
    extra, level = np.zeros(inputs.shape[1]), _STRANGER_BIAS
    if stranger.sum() >= 2 and (~stranger).sum() >= 2:
        solved = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
        solved.fit(inputs, stranger)
        extra, level = np.asarray(solved.coef_, float)[0], float(solved.intercept_[0])
    return np.concatenate([weight, extra[None]]), np.append(bias, level)


def _pls_path(inputs: Floats, target: Floats, most: int) -> NDArray[np.float64]:
    """Weights (components, F, P) of 1 to `most` components, as far as the rows carry them."""
    rank = max(1, min(most, len(inputs) - 1, inputs.shape[1]))
    with warnings.catch_warnings():
        # Components that find nothing left to explain (subjects of one composition) stay 0, which is right.
        warnings.filterwarnings("ignore", message="y residual is constant")
        solved = PLSRegression(n_components=rank, scale=False).fit(inputs, target)
    turned = np.asarray(solved.x_rotations_, float)  # (P, components); a component is solved on the former
    loading = np.asarray(solved.y_loadings_, float)  # (F, components)
    return np.cumsum(loading.T[:, :, None] * turned.T[:, None, :], axis=0)


def _pls_errors(inputs: Floats, target: Floats, subjects: NDArray[np.str_], most: int) -> NDArray[np.float64]:
    """Mean absolute error of 1 to `most` components on subjects left out, (most,); one vote a subject."""
    names, codes = np.unique(subjects, return_inverse=True)
    if len(names) < 2:
        return np.ones(most)  # nothing to leave out
    fold = folds_by_subject(subjects.tolist(), folds=min(len(names), _MOST_INNER_FOLDS), seed=0)
    error = np.zeros((most, len(inputs)))
    for held in np.unique(fold):
        out = fold == held
        path = _pls_path(inputs[~out], target[~out], most)
        centred = inputs[out] - inputs[~out].mean(0)
        found = centred @ path.transpose(0, 2, 1) + target[~out].mean(0)  # (components, rows, F)
        gap = np.abs(found - target[out]).mean(-1)
        error[: len(path), out] = gap
        error[len(path) :, out] = gap[-1]  # fewer rows than components: more change nothing
    return np.array([np.bincount(codes, row) / np.bincount(codes) for row in error]).mean(1)


def _ridge_path(inputs: Floats, target: Floats, ask: Floats, strengths: Floats) -> NDArray[np.float64]:
    """Predictions for `ask` at every strength from one decomposition, (strengths, rows)."""
    centre, level = inputs.mean(0), target.mean()
    values, axes = np.linalg.eigh((inputs - centre).T @ (inputs - centre))
    turned = axes.T @ ((inputs - centre).T @ (target - level))
    asked = (ask - centre) @ axes
    weights = turned[:, None] / (np.maximum(values, 0)[:, None] + strengths)  # (D, strengths)
    return (asked @ weights + level).T
