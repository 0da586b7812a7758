"""Every figure that is published is checked against scikit-learn or by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as oracle

from weft_training.metrics import auroc, balanced_accuracy, fibres_of, macro_f1, metrics_of

FIBRES = ("cotton", "wool", "polyester")


def made_shares(rows: int, *, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    truth = np.eye(3)[generator.integers(0, 3, rows)]
    predicted = generator.dirichlet(np.ones(3), rows) * 0.6 + truth * 0.4
    frame = pd.DataFrame(truth, columns=[f"{fibre}_share" for fibre in FIBRES])
    frame[[f"predicted_{fibre}_share" for fibre in FIBRES]] = predicted
    unknown = (generator.random(rows) < 0.3).astype(float)
    score = np.round(generator.random(rows) + 0.3 * unknown, 1)  # with ties
    return frame.assign(
        capture=[f"c{row}" for row in range(rows)],
        subject=[f"s{row // 4}" for row in range(rows)],
        fold=0,
        unknown_truth=unknown,
        predicted_unknown=score,
    )


def made_weights() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "capture": ["a1", "a2", "b1", "b2"],
            "subject": ["a", "a", "b", "b"],
            "fold": [0, 0, 1, 1],
            "grams": [100.0, 100.0, 1000.0, 1000.0],
            "predicted_grams": [200.0, 100.0, 1100.0, 400.0],
            "n_photos": 1,
            "mode": "one",
        }
    )


def test_weight_figures_are_those_computed_by_hand() -> None:
    found = metrics_of(made_weights(), "weight")

    logs = np.log([2, 1, 1.1, 2.5])
    assert found["one.alde"] == pytest.approx(logs.mean())
    assert found["one.mape"] == pytest.approx((100 + 0 + 10 + 60) / 4)
    assert found["one.within_x2"] == 0.75  # exactly twice is within twice
    assert found["one.mae_grams"] == pytest.approx((100 + 0 + 100 + 600) / 4)
    assert found["one.mae_grams.100-200"] == 50
    assert found["one.mae_grams.1000-2000"] == 350
    assert (found["one.subjects"], found["one.captures"]) == (2, 4)


def test_figures_that_the_rows_do_not_carry_are_left_out_and_none_is_nan() -> None:
    found = metrics_of(made_weights(), "weight")

    assert not [name for name in found if name.startswith("all.") or "coverage" in name]
    assert all(np.isfinite(value) for value in found.values())


def test_intervals_that_came_with_the_estimates_are_judged_as_they_are() -> None:
    frame = made_weights().assign(low_grams=[90, 90, 900, 300], high_grams=[300, 300, 1200, 500])

    found = metrics_of(frame, "weight", coverage=0.9)

    assert found["one.coverage"] == 0.75  # one of b's two misses; the mean over subjects of 1 and 0.5
    assert found["one.width_grams"] == 210


def test_composition_figures_are_those_of_scikit_learn() -> None:
    frame = made_shares(120)
    known = frame[frame["unknown_truth"] == 0]
    truth, predicted = (
        known[[f"{start}{fibre}_share" for fibre in FIBRES]].to_numpy() for start in ("", "predicted_")
    )

    found = metrics_of(frame, "composition")

    assert found["balanced_accuracy"] == pytest.approx(
        oracle.balanced_accuracy_score(truth.argmax(1), predicted.argmax(1))
    )
    assert found["macro_f1"] == pytest.approx(
        oracle.f1_score(truth.argmax(1), predicted.argmax(1), average="macro")
    )
    assert found["mae_points.wool"] == pytest.approx(
        100 * oracle.mean_absolute_error(truth[:, 1], predicted[:, 1])
    )
    assert found["unknown_auroc"] == pytest.approx(
        oracle.roc_auc_score(frame["unknown_truth"], frame["predicted_unknown"])
    )


def test_weighted_figures_are_those_of_scikit_learn_too() -> None:
    generator = np.random.default_rng(3)
    truth, guess = generator.integers(0, 4, (2, 80))
    weights = generator.integers(0, 3, 80).astype(float)
    weights[truth == 2] = 0  # a class that a resample has lost
    score = np.round(generator.random(80), 1)
    drawn = weights > 0

    assert balanced_accuracy(truth, guess, weights) == pytest.approx(
        oracle.recall_score(
            truth[drawn], guess[drawn], average="macro", sample_weight=weights[drawn], labels=[0, 1, 3]
        )
    )
    assert macro_f1(truth, guess, weights) == pytest.approx(
        oracle.f1_score(truth[drawn], guess[drawn], average="macro", sample_weight=weights[drawn])
    )
    assert auroc(truth > 1, score, weights) == pytest.approx(
        oracle.roc_auc_score(truth > 1, score, sample_weight=weights)
    )


def test_a_subject_is_judged_by_the_mean_of_its_scans() -> None:
    frame = pd.DataFrame(
        {
            "subject": ["a", "a", "a", "b"],
            "cotton_share": [1.0, 1.0, 1.0, 0.0],
            "wool_share": [0.0, 0.0, 0.0, 1.0],
            "predicted_cotton_share": [0.9, 0.8, 0.1, 0.2],
            "predicted_wool_share": [0.1, 0.2, 0.9, 0.8],
        }
    )

    found = metrics_of(frame, "composition")

    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["subject.balanced_accuracy"] == 1
    assert found["subject.subjects"] == 2


def test_the_bootstrap_draws_subjects_not_photos() -> None:
    generator = np.random.default_rng(0)
    error = generator.normal(0, 0.3, 40)
    grams = np.repeat(100.0, 40 * 25)
    frame = pd.DataFrame(
        {
            "subject": np.repeat(np.arange(40), 25),
            "grams": grams,
            "predicted_grams": grams * np.exp(np.repeat(error, 25)),  # the 25 photos of a subject agree
            "mode": "one",
        }
    )

    found = metrics_of(frame, "weight")
    width = found["one.alde_ci_high"] - found["one.alde_ci_low"]

    assert width == pytest.approx(4 * np.abs(error).std() / np.sqrt(40), rel=0.2)
    assert found["one.alde_ci_low"] < found["one.alde"] < found["one.alde_ci_high"]


def test_the_same_rows_give_the_same_figures() -> None:
    assert metrics_of(made_shares(60), "composition") == metrics_of(made_shares(60), "composition")


def test_fibres_are_those_with_a_truth_and_a_prediction() -> None:
    frame = made_shares(4).assign(predicted_silk_share=0.0, flax_share=0.0)

    assert fibres_of(frame) == list(FIBRES)
