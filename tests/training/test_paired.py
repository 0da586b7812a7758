"""Two models on the same subjects: the difference, and how sure it is."""

import numpy as np
import pandas as pd
import pytest

from weft_training.paired import difference_of, figure_of


def answers(log_errors: np.ndarray, *, photos: int = 1) -> pd.DataFrame:
    """Mode "one" rows of 100 g things that are off by these logs, (subjects,)."""
    error = np.repeat(log_errors, photos)
    subjects = np.repeat([f"s{number:03d}" for number in range(len(log_errors))], photos)
    return pd.DataFrame(
        {"subject": subjects, "grams": 100.0, "predicted_grams": 100 * np.exp(error), "mode": "one"}
    )


def test_a_constant_gain_is_certain_however_much_the_subjects_differ() -> None:
    hard = np.random.default_rng(0).uniform(0.2, 2.0, 30)  # far more spread than gain
    theirs, ours = answers(hard), answers(hard - 0.1)

    gain = difference_of(ours, theirs, "one.alde", relative=False)

    assert gain.value == pytest.approx(-0.1)
    assert (gain.low, gain.high) == (pytest.approx(-0.1), pytest.approx(-0.1))
    assert gain.clear
    assert figure_of(ours, "one.alde")["one.alde_ci_high"] > figure_of(theirs, "one.alde")["one.alde_ci_low"]


def test_the_interval_is_that_of_the_mean_of_the_subjects_differences() -> None:
    generator = np.random.default_rng(1)
    first = generator.uniform(0.1, 0.5, 60)
    gap = generator.normal(0.02, 0.05, 60)

    found = difference_of(
        answers(first + gap, photos=4), answers(first, photos=4), "one.alde", relative=False, resamples=2000
    )

    error = gap.std() / np.sqrt(60)
    assert found.value == pytest.approx(gap.mean())
    assert found.low == pytest.approx(gap.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(gap.mean() + 1.96 * error, abs=0.15 * error)


def test_models_that_differ_by_chance_are_not_called_different() -> None:
    one, other = np.random.default_rng(2).uniform(0.1, 0.5, (2, 40))

    assert not difference_of(answers(one), answers(other), "one.alde", relative=True).clear


def test_a_relative_difference_is_in_percent_of_theirs() -> None:
    error = np.random.default_rng(3).uniform(0.1, 0.5, 20)

    found = difference_of(answers(0.8 * error), answers(error), "one.alde", relative=True)

    assert (found.value, found.low, found.high) == tuple([pytest.approx(-20)] * 3)


def test_a_model_without_error_cannot_be_compared_in_percent() -> None:
    found = difference_of(answers(np.full(5, 0.1)), answers(np.zeros(5)), "one.alde", relative=True)

    assert not found.clear


def test_models_that_were_asked_of_different_subjects_are_not_compared() -> None:
    with pytest.raises(ValueError, match="asked of 3 and 4 subjects"):
        difference_of(answers(np.ones(3)), answers(np.ones(4)), "one.alde", relative=True)


def test_accuracies_of_subjects_and_scans_are_compared_alike() -> None:
    truth = pd.DataFrame(
        {
            "subject": [f"s{number // 2}" for number in range(20)],
            "cotton_share": [1.0] * 10 + [0.0] * 10,
            "wool_share": [0.0] * 10 + [1.0] * 10,
        }
    )
    right = truth.assign(
        predicted_cotton_share=truth["cotton_share"], predicted_wool_share=truth["wool_share"]
    )
    cotton = truth.assign(predicted_cotton_share=1.0, predicted_wool_share=0.0)

    for key in ("balanced_accuracy", "subject.balanced_accuracy"):
        assert difference_of(right, cotton, key, relative=False).value == pytest.approx(0.5)
    assert difference_of(right, cotton, "mae_points.wool", relative=False).value == pytest.approx(-50)


def test_a_figure_that_the_predictions_lack_is_named() -> None:
    for key in ("all.alde", "one.elegance"):
        with pytest.raises(KeyError, match=key.partition(".")[0] if key == "all.alde" else "elegance"):
            figure_of(answers(np.ones(3)), key)
