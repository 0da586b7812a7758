"""What is unlike the training photos must be told from what is like them, on subjects left out."""

import numpy as np
import pandas as pd
import pytest
import torch

from weft_training.familiarity import PROTOTYPES, Familiarity, shift_of, spreads


def looks(count: int, *, kind: int, seed: int = 0) -> torch.Tensor:
    """Features of photos of one kind of thing: twenty of forty numbers are bright, which ones is the kind."""
    generator = np.random.default_rng([seed, kind])
    centre = np.random.default_rng(kind).permutation(40) < 20
    return torch.from_numpy(np.abs(centre + generator.normal(0, 0.15, (count, 40)))).float()


def fitted() -> Familiarity:
    familiarity = Familiarity(40)
    seen = torch.cat([looks(60, kind=1), looks(60, kind=2)])
    familiarity.fit(seen, [f"s{n // 4}" for n in range(120)])
    return familiarity


def left_out(subjects: int, *, photos: int = 3, known: bool = True) -> pd.DataFrame:
    """Out-of-fold rows of single photos."""
    strange = fitted()(looks(subjects * photos, kind=1 if known else 3, seed=5)[None])[0].numpy()
    generator = np.random.default_rng(1)
    owner = np.repeat(np.arange(subjects), photos)
    said = (
        500 * np.exp(generator.normal(0, 0.5, subjects))[owner] * np.exp(generator.normal(0, 0.1, len(owner)))
    )
    return pd.DataFrame(
        {"subject": [f"t{n}" for n in owner], "mode": "one", "strangeness": strange, "predicted_grams": said}
    )


def test_features_beyond_those_it_was_made_for_are_not_looked_at() -> None:
    familiarity = fitted()
    seen = looks(5, kind=1, seed=9)[None]

    assert torch.equal(familiarity(torch.cat([seen, 9 + seen], dim=-1)), familiarity(seen))


def test_new_photos_of_known_kinds_are_familiar_and_of_another_kind_are_not() -> None:
    card = shift_of(left_out(60), false_alarms=0.02, then="refuse")
    assert card is not None

    like, unlike = (
        (fitted()(looks(400, kind=kind, seed=9)[None])[0] > card.strange_above).float().mean()
        for kind in (2, 3)
    )

    assert like <= 0.06
    assert unlike == 1


def test_the_threshold_keeps_the_rate_of_false_alarms_it_states() -> None:
    card = shift_of(left_out(200), false_alarms=0.05, then="widen")
    assert card is not None

    fresh = fitted()(looks(2000, kind=1, seed=77)[None])[0].numpy()

    assert card.false_alarm_rate == 0.05
    assert 0.02 < (fresh > card.strange_above).mean() < 0.08


def test_with_few_subjects_the_rate_is_what_they_can_vouch_for_and_under_nine_nothing_is_strange() -> None:
    frame = left_out(12)
    card = shift_of(frame, false_alarms=0.02, then="refuse")

    assert card is not None
    assert card.strange_above == pytest.approx(frame["strangeness"].max())
    assert card.false_alarm_rate == 1 / 13
    assert shift_of(left_out(8), false_alarms=0.02, then="refuse") is None
    assert shift_of(frame.drop(columns="strangeness"), false_alarms=0.02, then="refuse") is None


def test_photos_of_two_things_disagree_more_than_photos_of_one() -> None:
    frame = left_out(100, photos=6)
    card = shift_of(frame, false_alarms=0.02, then="refuse")
    assert card is not None
    pair, some, many = card.disagree_above
    assert pair is not None and some is not None and many is not None  # noqa: PT018
    assert pair < some < many

    # One photo each of two things whose masses are e to the 0.5 apart, as one standard deviation here.
    logs = np.log(frame.groupby("subject")["predicted_grams"].first().to_numpy())
    apart = np.abs(logs[:50] - logs[50:])
    own, _ = spreads(frame, (2, 2))

    assert (own > pair).mean() < 0.03
    assert (apart > pair).mean() > 0.3


def test_subjects_of_single_photos_tell_nothing_of_disagreement() -> None:
    card = shift_of(left_out(40, photos=1), false_alarms=0.02, then="refuse")

    assert card is not None
    assert card.disagree_above == (None, None, None)


def test_fewer_photos_than_prototypes_do_and_one_subject_of_many_photos_weighs_no_more() -> None:
    familiarity = Familiarity(40)
    familiarity.fit(looks(5, kind=1), list("abcde"))

    assert (familiarity.prototypes.norm(dim=0) > 0).sum() == 5
    assert familiarity(looks(5, kind=1)[None])[0].numpy() == pytest.approx(0, abs=1e-6)
    assert familiarity.prototypes.shape == (40, PROTOTYPES)


def test_weights_of_a_run_without_prototypes_can_still_be_loaded() -> None:
    familiarity = fitted()
    before = familiarity.prototypes.clone()

    familiarity.load_state_dict({})

    assert torch.equal(familiarity.prototypes, before)
