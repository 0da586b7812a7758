"""Margins of votes: as wide as the pixels scatter, and holding for tidy and noisy pieces alike."""

import numpy as np
import pandas as pd
import pytest

from weft.card import VoteCard
from weft.line.reader import intervals
from weft_training.belt_calibrate import calibrate_votes, nested_votes
from weft_training.calibrate_shares import share_hits
from weft_training.metrics import metrics_of

FIBRES = ("cotton", "polyester", "wool")
RULES = VoteCard(fewest_pixels=1, stray_distance=0.2, part_distance=0.3, part_separation=4, part_share=0.1)


def made_votes(pieces: int, seed: int = 0) -> pd.DataFrame:
    """Blends of cotton and polyester whose votes err in proportion to their pixels' scatter."""
    rng = np.random.default_rng(seed)
    scatter = rng.choice([0.005, 0.2], pieces)
    cotton = rng.uniform(0.2, 0.8, pieces)
    said = np.clip(cotton + rng.normal(0, 1, pieces) * np.where(scatter > 0.1, 0.2, 0.01), 0, 1)
    frame = pd.DataFrame({"capture": [f"p{n}" for n in range(pieces)]})
    frame["subject"] = frame["capture"]
    frame["fold"] = np.arange(pieces) % 4
    for name, truth, guess in (
        ("cotton", cotton, said),
        ("polyester", 1 - cotton, 1 - said),
        ("wool", 0 * cotton, 0 * said),
    ):
        frame[f"{name}_share"], frame[f"predicted_{name}_share"] = truth, guess
    return frame.assign(unknown_truth=0.0, predicted_unknown=0.0, scatter=scatter)


def covered(votes: pd.DataFrame, rules: VoteCard) -> tuple[float, float]:
    """Part of pieces with all shares inside, and the mean width of cotton's margin."""
    shares = votes[[f"predicted_{name}_share" for name in FIBRES]].to_numpy()
    low, high = intervals(shares, votes["scatter"].to_numpy(), rules)
    return float(share_hits(votes, FIBRES, low, high).mean()), float((high - low)[:, 0].mean())


def test_margins_hold_for_tidy_and_for_noisy_pieces_and_are_narrow_for_the_tidy() -> None:
    found = calibrate_votes(made_votes(2000), FIBRES, 0.9)
    assert found is not None
    rules = found.laid_over(RULES)
    fresh = made_votes(2000, seed=1)
    tidy, noisy = fresh[fresh["scatter"] < 0.1], fresh[fresh["scatter"] > 0.1]

    for votes in (tidy, noisy):
        assert covered(votes, rules)[0] == pytest.approx(0.9, abs=0.03)
    assert covered(tidy, rules)[1] < 0.06
    assert covered(noisy, rules)[1] > 0.4


def test_a_band_of_few_pieces_has_the_margins_of_all() -> None:
    votes = made_votes(120)

    found = calibrate_votes(votes, FIBRES, 0.9)

    assert found is not None
    assert found.edges_scatter == ((), ())


def test_without_enough_pieces_no_margin_is_made_up() -> None:
    assert calibrate_votes(made_votes(8), FIBRES, 0.9) is None
    assert "low_cotton_share" not in nested_votes(made_votes(8), FIBRES, 0.9)


def test_strangers_do_not_widen_anything() -> None:
    votes = made_votes(600)
    strange = made_votes(200, seed=3).assign(unknown_truth=1.0, scatter=0.9)
    strange["capture"] = strange["subject"] = [f"s{n}" for n in range(200)]

    alone = calibrate_votes(votes, FIBRES, 0.9)
    beside = calibrate_votes(pd.concat([votes, strange], ignore_index=True), FIBRES, 0.9)

    assert alone == beside


def test_the_coverage_that_a_belt_reports_is_nested_by_fold() -> None:
    found = metrics_of(made_votes(800), "belt", resamples=0)

    assert found["share_coverage"] == pytest.approx(0.9, abs=0.04)
    assert found["share_width"] < 0.35
