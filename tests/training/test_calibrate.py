"""Intervals must cover what they promise, judged on subjects that they have not seen."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from weft_training.calibrate import (
    calibrate_shares,
    calibrate_weight,
    judge_coverage,
    nested_intervals,
    subject_quantile,
    subject_weights,
)


def made_weights(subjects: int, *, photos: int = 3, seed: int = 0, wobble: float = 0.15) -> pd.DataFrame:
    """Predictions of subjects that differ: an error of the subject's own and one of each photo."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(subjects):
        grams = float(np.exp(generator.normal(5, 0.6)))
        own = generator.normal(0, wobble)
        each = grams * np.exp(own + generator.normal(0, wobble, photos))
        for photo, value in enumerate(each):
            rows.append((f"{number}-{photo}", f"s{number}", number % 5, grams, value, 1, "one"))
        rows.append((f"{number}", f"s{number}", number % 5, grams, float(np.median(each)), photos, "all"))
    names = ["capture", "subject", "fold", "grams", "predicted_grams", "n_photos", "mode"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(q_low_grams=frame.predicted_grams * 0.85, q_high_grams=frame.predicted_grams * 1.1)


class Echo(RegressorMixin, BaseEstimator):
    """A fitted regressor whose answer is one of its inputs."""

    def __init__(self, column: int = 0) -> None:
        self.column = column
        self.fitted_ = True

    def fit(self, features: np.ndarray, target: np.ndarray) -> "Echo":
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return features[:, self.column]


@pytest.mark.parametrize(("count", "coverage"), [(19, 0.9), (20, 0.95), (57, 0.9), (100, 0.8), (101, 0.9)])
def test_with_one_capture_a_subject_the_margin_is_that_of_mapie(count: int, coverage: float) -> None:
    from mapie.regression import SplitConformalRegressor

    generator = np.random.default_rng(count)
    guess, truth = generator.normal(size=(2, count))
    oracle = SplitConformalRegressor(Echo(), confidence_level=coverage, prefit=True)
    oracle.conformalize(guess[:, None], truth)
    _, interval = oracle.predict_interval(np.zeros((1, 1)))

    found = subject_quantile(np.abs(guess - truth), np.ones(count), coverage)

    assert found == pytest.approx(interval[0, 1, 0])


def test_quantile_intervals_are_those_of_mapie_in_log_space() -> None:
    from mapie.regression import ConformalizedQuantileRegressor

    frame = made_weights(37, photos=1)
    frame = frame[frame["mode"] == "one"]
    logs = np.log(frame[["q_low_grams", "q_high_grams", "predicted_grams"]].to_numpy())
    oracle = ConformalizedQuantileRegressor([Echo(0), Echo(1), Echo(2)], confidence_level=0.9, prefit=True)
    oracle.conformalize(logs, np.log(frame["grams"].to_numpy()))
    _, interval = oracle.predict_interval(logs, symmetric_correction=True)

    calibration = calibrate_weight(frame, 0.9)
    assert calibration is not None
    low, high = calibration.intervals(frame)

    assert calibration.edges_grams == ()  # 37 subjects carry one band of 20
    np.testing.assert_allclose(np.log(low), np.minimum(interval[:, 0, 0], logs[:, 2]))
    np.testing.assert_allclose(np.log(high), np.maximum(interval[:, 1, 0], logs[:, 2]))


def test_the_order_statistic_is_the_ceiling_of_n_plus_one_times_the_coverage() -> None:
    scores = np.arange(1.0, 21.0)

    assert subject_quantile(scores, np.ones(20), 0.9) == 19  # ceil(21 * 0.9)
    assert subject_quantile(scores, np.ones(20), 0.95) == 20
    assert subject_quantile(scores, np.ones(20), 0.96) == np.inf  # the 21st of 20 is unknown


def test_a_subject_with_a_hundred_photos_weighs_no_more_than_one_with_one() -> None:
    few = subject_quantile(np.arange(30.0), np.ones(30), 0.9)
    many = subject_quantile(
        np.concatenate([np.arange(30.0), np.zeros(99)]),
        subject_weights(np.concatenate([np.arange(30), np.zeros(99)])),
        0.9,
    )

    assert few == many


def test_a_stray_capture_in_a_band_counts_as_the_part_of_its_subject_that_it_is() -> None:
    # 40 subjects of ten captures lie in this band with all of them, 40 others strayed in with one, far off.
    scores = np.concatenate([np.repeat(np.linspace(0.0, 1.0, 40), 10), np.full(40, 9.0)])
    weights = np.concatenate([np.full(400, 0.1), np.full(40, 0.1)])

    # 4 of 44 subjects' worth are strays, 1 of 45 is the new one: 0.88 of the mass lies below them
    assert subject_quantile(scores, weights, 0.85) < 1.0
    assert subject_quantile(scores, weights, 0.9) == 9.0


def test_new_subjects_are_covered_as_promised() -> None:
    covered = []
    for seed in range(60):
        calibration = calibrate_weight(made_weights(70, seed=seed), 0.9)
        assert calibration is not None
        fresh = made_weights(200, seed=1000 + seed)
        low, high = calibration.intervals(fresh)
        covered.append(fresh["grams"].between(low, high).groupby(fresh["mode"]).mean())

    mean = pd.concat(covered, axis=1).mean(axis=1)

    assert 0.89 < mean["one"] < 0.95  # at least 0.9, and little more
    assert 0.89 < mean["all"] < 0.95


def test_several_photos_together_get_a_narrower_interval_than_one() -> None:
    calibration = calibrate_weight(made_weights(150, photos=9), 0.9)

    assert calibration is not None
    one, several = np.asarray(calibration.high_factor)
    assert (several < one).all()


def test_there_are_as_many_bands_as_subjects_carry() -> None:
    counts = {count: calibrate_weight(made_weights(count), 0.9) for count in (20, 50, 200)}

    assert {count: len(found.edges_grams) + 1 for count, found in counts.items() if found} == {
        20: 1,
        50: 2,
        200: 3,
    }


def test_under_twenty_subjects_no_interval_is_made_up() -> None:
    assert calibrate_weight(made_weights(19, photos=20), 0.9) is None
    assert judge_coverage(made_weights(24), 0.9) == {}  # the other folds hold fewer than twenty
    assert calibrate_shares(made_shares(19), ["cotton", "wool"], 0.9) is None


def test_without_several_photos_the_factors_of_one_are_used() -> None:
    frame = made_weights(40)

    calibration = calibrate_weight(frame[frame["mode"] == "one"], 0.9)

    assert calibration is not None
    assert calibration.low_factor[0] == calibration.low_factor[1]


def test_an_interval_always_holds_its_value() -> None:
    frame = made_weights(60, wobble=0.001).assign(
        q_low_grams=1.0, q_high_grams=lambda f: 9 * f.predicted_grams
    )

    calibration = calibrate_weight(frame, 0.9)
    assert calibration is not None
    low, high = calibration.intervals(frame)

    assert calibration.high_factor[0][0] < 1  # quantiles that were too wide are drawn in
    assert (low <= frame["predicted_grams"]).all()
    assert (frame["predicted_grams"] <= high).all()


def test_the_reported_coverage_comes_from_folds_that_the_calibration_did_not_see() -> None:
    frame = made_weights(100)
    spoilt = frame.assign(
        predicted_grams=np.where(frame["fold"] == 0, frame["grams"] * 40, frame.predicted_grams)
    )
    spoilt = spoilt.assign(
        q_low_grams=spoilt.predicted_grams * 0.9, q_high_grams=spoilt.predicted_grams * 1.1
    )

    verdict = judge_coverage(spoilt, 0.9)["one"]

    assert verdict.coverage < 0.8  # none of fold 0 is covered by what the other folds allow
    assert not verdict.inside


def test_an_honest_model_is_inside_the_binomial_band() -> None:
    verdicts = judge_coverage(made_weights(120, seed=4), 0.9)

    assert verdicts["one"].subjects == 120
    assert verdicts["one"].inside
    assert verdicts["all"].inside
    assert (verdicts["one"].band_low, verdicts["one"].band_high) == (101 / 120, 114 / 120)


def test_nested_intervals_keep_the_rows_in_their_order() -> None:
    frame = made_weights(60).sample(frac=1, random_state=0)

    nested = nested_intervals(frame, 0.9)

    assert nested is not None
    assert nested["capture"].tolist() == frame["capture"].tolist()


def made_shares(subjects: int, *, scans: int = 3, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    cotton = generator.choice([0.0, 0.3, 0.5, 0.7, 1.0], subjects)
    logit = np.log((cotton + 0.02) / (1.02 - cotton))[:, None] + generator.normal(0, 0.5, (subjects, scans))
    predicted = (1 / (1 + np.exp(-logit))).ravel()
    index = np.repeat(np.arange(subjects), scans)
    return pd.DataFrame(
        {
            "capture": [f"c{number}" for number in range(len(index))],
            "subject": [f"s{number}" for number in index],
            "fold": index % 5,
            "cotton_share": cotton[index],
            "wool_share": 1 - cotton[index],
            "predicted_cotton_share": predicted,
            "predicted_wool_share": 1 - predicted,
            "unknown_truth": 0.0,
            "predicted_unknown": 0.1,
        }
    )


def test_shares_of_new_subjects_are_covered_and_stay_between_nothing_and_all() -> None:
    covered = []
    for seed in range(30):
        calibration = calibrate_shares(made_shares(120, seed=seed), ["cotton", "wool"], 0.9)
        assert calibration is not None
        fresh = made_shares(200, seed=900 + seed)
        predicted = fresh[["predicted_cotton_share", "predicted_wool_share"]].to_numpy()
        truth = fresh[["cotton_share", "wool_share"]].to_numpy()
        low, high = calibration.intervals(predicted)
        assert ((low >= 0) & (low <= predicted) & (predicted <= high) & (high <= 1)).all()
        covered.append(((low <= truth) & (truth <= high)).mean())

    assert 0.89 < np.mean(covered) < 0.95


def test_a_share_in_a_band_that_few_subjects_reach_gets_the_interval_that_says_no_idea() -> None:
    frame = made_shares(40)
    pure = frame[frame["cotton_share"].isin([0.0, 1.0])]
    pure = pd.concat([pure.assign(subject=pure["subject"] + f"-{copy}") for copy in range(4)])
    pure = pure.assign(predicted_cotton_share=pure["cotton_share"], predicted_wool_share=pure["wool_share"])

    calibration = calibrate_shares(pure, ["cotton", "wool"], 0.9)

    assert calibration is not None
    low, high = calibration.intervals(np.array([[0.6, 0.4], [0.99, 0.01]]))
    assert (low[0].tolist(), high[0].tolist()) == ([0, 0], [1, 1])
    assert low[1, 0] == pytest.approx(0.99)
