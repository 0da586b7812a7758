"""Margins are order statistics over subjects, in groups as large as the subjects carry."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from weft.cells import CELLS, PHOTOS_FROM, cell_of, name_of_cell
from weft_training.calibrate import calibrate_weight, cells_of, subject_quantile, subject_weights

Maker = Callable[..., pd.DataFrame]


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


def test_quantile_intervals_are_those_of_mapie_in_log_space(made_weights: Maker) -> None:
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


def test_new_subjects_are_covered_as_promised(made_weights: Maker) -> None:
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


def test_cross_conformal_margins_are_those_of_mapie_across_folds_of_subjects() -> None:
    from mapie.regression import CrossConformalRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import PredefinedSplit

    generator = np.random.default_rng(3)
    feature = generator.normal(size=(60, 1))
    truth = 2 * feature[:, 0] + generator.standard_t(4, 60)
    fold = np.arange(60) % 5
    oracle = CrossConformalRegressor(
        LinearRegression(), confidence_level=0.9, method="base", cv=PredefinedSplit(fold)
    )
    oracle.fit_conformalize(feature, truth)
    _, interval = oracle.predict_interval(feature)

    # As a run does it: each fold predicted by a model of the others, one final model of all.
    left_out = np.empty(60)
    for number in range(5):
        model = LinearRegression().fit(feature[fold != number], truth[fold != number])
        left_out[fold == number] = model.predict(feature[fold == number])
    final = LinearRegression().fit(feature, truth).predict(feature)
    table = pd.DataFrame({"predicted_grams": np.exp(left_out), "grams": np.exp(truth), "n_photos": 1})
    table = table.assign(subject=range(60), q_low_grams=np.exp(left_out), q_high_grams=np.exp(left_out))
    found = calibrate_weight(table.assign(predicted_grams=1.0), 0.9)  # of one mass: one band

    assert found is not None
    np.testing.assert_allclose(final + found.log_margin[0][0], interval[:, 1, 0])
    np.testing.assert_allclose(final - found.log_margin[0][0], interval[:, 0, 0])


def test_each_group_gets_the_margin_that_mapie_finds_for_its_subjects_alone(made_weights: Maker) -> None:
    from mapie.regression import SplitConformalRegressor

    frame = made_weights(150, photos=3, few=True)
    frame = frame.groupby(["subject", "marked", "n_photos"], as_index=False).first()  # one capture a subject
    frame = frame.assign(q_low_grams=frame["predicted_grams"], q_high_grams=frame["predicted_grams"])
    calibration = calibrate_weight(frame, 0.9)

    assert calibration is not None
    assert len(calibration.edges_grams) == 2
    for cell in np.unique(cells_of(frame)):
        rows = frame[cells_of(frame) == cell]
        band = np.searchsorted(calibration.edges_grams, rows["predicted_grams"], side="right")
        for number in range(3):
            guess, truth = np.log(rows.loc[band == number, ["predicted_grams", "grams"]].to_numpy()).T
            oracle = SplitConformalRegressor(Echo(), confidence_level=0.9, prefit=True)
            oracle.conformalize(guess[:, None], truth)
            _, interval = oracle.predict_interval(np.zeros((1, 1)))
            assert calibration.log_margin[cell][number] == pytest.approx(interval[0, 1, 0])


def test_each_number_of_photos_and_each_mark_gets_a_margin_of_its_own(made_weights: Maker) -> None:
    calibration = calibrate_weight(made_weights(150, photos=9, few=True), 0.9)

    assert calibration is not None
    margin = np.asarray(calibration.log_margin).reshape(2, len(PHOTOS_FROM), -1).mean(-1)
    assert (np.diff(margin, axis=1) < 0).all()  # more photos, a narrower interval
    assert (margin[0] > margin[1]).all()  # wider where the scale mark is hidden


def test_two_photos_of_new_subjects_are_covered_as_promised_though_one_and_all_differ(
    made_weights: Maker,
) -> None:
    covered = []
    for seed in range(12):
        calibration = calibrate_weight(made_weights(70, photos=6, few=True, seed=seed), 0.9)
        assert calibration is not None
        fresh = made_weights(100, photos=6, few=True, seed=1000 + seed)
        low, high = calibration.intervals(fresh)
        covered.append(fresh["grams"].between(low, high).groupby(cells_of(fresh)).mean())

    by_group = pd.concat(covered, axis=1).mean(axis=1)

    assert len(by_group) == len(CELLS)
    assert by_group.between(0.88, 0.96).all()


def test_there_are_as_many_bands_as_subjects_carry(made_weights: Maker) -> None:
    counts = {count: calibrate_weight(made_weights(count), 0.9) for count in (9, 20, 50, 200)}

    assert {count: len(found.edges_grams) + 1 for count, found in counts.items() if found} == {
        9: 1,
        20: 1,
        50: 2,
        200: 3,
    }


def test_nine_subjects_give_an_interval_and_eight_none(made_weights: Maker) -> None:
    nine = made_weights(9, photos=20)
    calibration = calibrate_weight(nine, 0.9)

    assert calibration is not None
    assert calibration.subjects == 9
    one = nine[nine["mode"] == "one"]
    low, high = calibration.intervals(one)
    assert one["grams"].between(low * (1 - 1e-9), high * (1 + 1e-9)).all()  # the largest of nine scores
    assert calibrate_weight(made_weights(8, photos=20), 0.9) is None
    assert calibrate_weight(nine, 0.95) is None  # 95 % takes the nineteenth of nineteen
    assert calibrate_weight(made_weights(19), 0.95) is not None


def test_a_group_of_too_few_subjects_takes_its_bands_together_then_fewer_photos_then_any_mark(
    made_weights: Maker,
) -> None:
    frame = made_weights(70, photos=9, few=True)
    marked = frame[frame["marked"]]
    low = marked["subject"].isin([f"s{number}" for number in range(30)])
    thin = marked[(marked["n_photos"] != 2) | low]  # two photos of 30 subjects only: three bands are too many
    thin = thin[~thin["n_photos"].between(3, 4)]  # and three or four of none

    calibration = calibrate_weight(thin, 0.9)

    assert calibration is not None
    margin = dict(zip(CELLS, calibration.log_margin, strict=True))
    assert len(set(margin[True, 0])) == 3
    assert len(set(margin[True, 1])) == 1  # its bands together
    assert margin[True, 2] == margin[True, 1]  # that of fewer photos
    assert len(set(margin[True, 3])) == 3
    assert all(margin[False, photos] == margin[True, 0] for photos in range(4))  # one photo, any mark


def test_predictions_with_a_wrong_scale_calibrate_nothing(made_weights: Maker) -> None:
    frame = made_weights(40)
    wrong = frame[frame["mode"] == "one"].assign(mode="mismarked", grams=lambda f: f["grams"] * 9)

    assert calibrate_weight(pd.concat([frame, wrong]), 0.9) == calibrate_weight(frame, 0.9)


def test_groups_are_called_by_mark_and_number_of_photos() -> None:
    assert [name_of_cell(cell) for cell in range(len(CELLS))] == [
        f"{mark}.{photos}" for mark in ("unmarked", "marked") for photos in ("1", "2", "3-4", "5-up")
    ]


def test_an_interval_always_holds_its_value(made_weights: Maker) -> None:
    frame = made_weights(60, wobble=0.001).assign(
        q_low_grams=1.0, q_high_grams=lambda f: 9 * f.predicted_grams
    )

    calibration = calibrate_weight(frame, 0.9)
    assert calibration is not None
    low, high = calibration.intervals(frame)

    assert max(max(row) for row in calibration.log_margin) < 0  # quantiles that were too wide are drawn in
    assert (low <= frame["predicted_grams"]).all()
    assert (frame["predicted_grams"] <= high).all()


def test_one_estimate_falls_into_the_cell_that_a_table_of_them_does() -> None:
    asked = [(photos, marked) for photos in range(1, 10) for marked in (False, True)]
    table = pd.DataFrame(asked, columns=["n_photos", "marked"])

    assert [cell_of(photos, marked=marked) for photos, marked in asked] == cells_of(table).tolist()
