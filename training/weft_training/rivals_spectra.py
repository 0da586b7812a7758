"""Simple models on spectra, from scikit-learn as it comes, under the very folds of the model beside them."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import savgol_filter
from sklearn.cross_decomposition import PLSRegression
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from weft_datasets.manifest import Manifest
from weft_training.metrics import fibres_of

Floats = NDArray[np.float64]
Fitted = Callable[[Floats], Floats]  # spectra (rows, P) -> shares (rows, F)

_RANGE_NM: Final = (900.0, 1700.0)
# Generous to the rival: both chosen on the very fabrics it is judged by (10-60 nm, 4-10 components).
_WINDOW_NM: Final = 40.0  # of the first derivative
_COMPONENTS: Final = 5  # of PLS
_PURE: Final = 0.85  # a scan of at least this share of one fibre is an example of its class


def predict(name: str, manifest: Manifest, predictions: pd.DataFrame) -> pd.DataFrame:
    """What the rival called `name` says of the rows of `predictions`, fitted on their other folds.

    Args:
        manifest: Holds the spectra of these captures.
        predictions: Of the model beside it: `capture`, `fold`, and the true shares.
    """
    fibres = fibres_of(predictions)
    spectra, nm = _spectra(manifest, predictions["capture"])
    truth = predictions[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64)
    fold = predictions["fold"].to_numpy()
    subjects = predictions["subject"].to_numpy(str)
    said = np.zeros_like(truth)
    for number in np.unique(fold):
        ask = fold == number
        said[ask] = _RIVALS[name](spectra, nm, truth, subjects, ~ask, ask)
    return predictions.assign(
        **{f"predicted_{fibre}_share": said[:, column] for column, fibre in enumerate(fibres)}
    )


def train_mean(spectra: Floats, nm: Floats, truth: Floats, subjects: NDArray[np.str_],
               train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:  # fmt: skip
    """The mean of the training subjects' shares, whatever is scanned."""
    del spectra, nm
    by_subject = pd.DataFrame(truth[train]).groupby(subjects[train]).mean()
    return np.tile(by_subject.mean().to_numpy(np.float64), (int(ask.sum()), 1))


def snv_lda(spectra: Floats, nm: Floats, truth: Floats, subjects: NDArray[np.str_],
            train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:  # fmt: skip
    """Linear discriminant analysis with Ledoit and Wolf's shrinkage and equal priors on SNV spectra."""
    del nm, subjects
    classes = len(np.unique(truth[train & (truth.max(1) >= _PURE)].argmax(1)))
    priors = np.full(classes, 1 / classes)  # those of the training scans cost a nylon swatch: 0.87, not 0.98
    solver = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=priors)
    return _classified(solver, _snv(spectra), truth, train, ask)


def snv_savgol_logistic(spectra: Floats, nm: Floats, truth: Floats, subjects: NDArray[np.str_],
                        train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:  # fmt: skip
    """Logistic regression on the first derivative of SNV spectra, a common choice."""
    del subjects
    inputs = _derivative(_snv(spectra), nm)
    inputs = (inputs - inputs[train].mean(0)) / np.maximum(inputs[train].std(0), 1e-12)
    return _classified(LogisticRegression(C=1.0, max_iter=5000), inputs, truth, train, ask)


def snv_sg1_pls(spectra: Floats, nm: Floats, truth: Floats, subjects: NDArray[np.str_],
                train: NDArray[np.bool_], ask: NDArray[np.bool_]) -> Floats:  # fmt: skip
    """Partial least squares of the shares on the first derivative of SNV spectra."""
    del subjects
    inputs = _derivative(_snv(spectra), nm)
    solved = PLSRegression(n_components=min(_COMPONENTS, int(train.sum()) - 1), scale=False)
    said = solved.fit(inputs[train], truth[train]).predict(inputs[ask]).reshape(-1, truth.shape[1])
    return np.clip(said, 0, 1)


def _classified(
    solver: Any, inputs: Floats, truth: Floats, train: NDArray[np.bool_], ask: NDArray[np.bool_]
) -> Floats:
    """Shares (rows, F): the chance of each class, learnt from (nearly) pure scans."""
    main = truth.argmax(1)
    pure = train & (truth.max(1) >= _PURE)
    solver.fit(inputs[pure], main[pure])
    said = np.zeros((int(ask.sum()), truth.shape[1]))
    said[:, np.asarray(solver.classes_, int)] = solver.predict_proba(inputs[ask])
    return said


def _spectra(manifest: Manifest, captures: pd.Series) -> tuple[Floats, Floats]:
    """Absorbance (rows, P) on the grid of the first scan within `_RANGE_NM`, and that grid in nm."""
    frame = manifest.frame.set_index("capture").loc[captures]
    first = np.asarray(frame["wavelength_nm"].iloc[0], np.float64)
    grid = first[(first >= _RANGE_NM[0]) & (first <= _RANGE_NM[1])]
    rows = [
        np.interp(grid, np.asarray(nm, np.float64), np.asarray(values, np.float64))
        for nm, values in zip(frame["wavelength_nm"], frame["absorbance"], strict=True)
    ]
    return np.stack(rows), grid


def _snv(spectra: Floats) -> Floats:
    centred = spectra - spectra.mean(1, keepdims=True)
    return centred / np.maximum(centred.std(1, keepdims=True), 1e-9)


def _derivative(spectra: Floats, nm: Floats) -> Floats:
    points = max(5, round(_WINDOW_NM / float(np.median(np.diff(nm)))) // 2 * 2 + 1)
    return savgol_filter(spectra, points, 2, deriv=1)


_RIVALS: Final[dict[str, Callable[..., Floats]]] = {
    "train_mean": train_mean,
    "snv_lda": snv_lda,
    "snv_savgol_logistic": snv_savgol_logistic,
    "snv_sg1_pls": snv_sg1_pls,
}
