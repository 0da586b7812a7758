"""Margins of fibre shares must hold for whole answers, of blends as of pure fibres."""

import numpy as np
import pandas as pd
import pytest

from weft_training.calibrate_shares import calibrate_shares, judge_shares, nested_margins, share_hits


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


def test_nine_subjects_give_margins_and_eight_none() -> None:
    assert calibrate_shares(made_shares(8), ["cotton", "wool"], 0.9) is None
    found = calibrate_shares(made_shares(9), ["cotton", "wool"], 0.9)

    assert found is not None
    assert found.subjects == 9


def test_blends_keep_their_promise_among_many_pure_garments() -> None:
    fibres = ["cotton", "wool"]
    frames = [made_shares(300, seed=seed) for seed in range(8)]
    covered = []
    for frame in frames:
        blend = frame["cotton_share"].between(0.1, 0.9)
        # Pure garments are read well and are many, blends badly and few.
        pure = frame.assign(
            predicted_cotton_share=np.where(blend, frame["predicted_cotton_share"], frame["cotton_share"])
        )
        pure = pure[~blend | (pure["subject"].str[1:].astype(int) % 4 == 0)]
        pure = pure.assign(predicted_wool_share=1 - pure["predicted_cotton_share"])
        nested = nested_margins(pure, fibres, 0.9)
        assert nested is not None
        low, high = (
            nested[[f"{end}_{fibre}_share" for fibre in fibres]].to_numpy() for end in ("low", "high")
        )
        hits = share_hits(nested, fibres, low, high)
        blends = nested.loc[nested["cotton_share"].between(0.1, 0.9), "subject"].unique()
        covered.append(hits[blends].mean())
        assert judge_shares(pure, fibres, 0.9) == pytest.approx(hits.mean())

    assert np.mean(covered) > 0.88
