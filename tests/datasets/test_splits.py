import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.errors import ManifestError
from weft_datasets.splits import folds_by_subject, holdout_by_subject

SUBJECTS = st.lists(st.text("abcdefghij", min_size=1, max_size=2), min_size=4, max_size=60).filter(
    lambda names: len(set(names)) >= 4
)
SEEDS = st.integers(0, 2**31)


@given(SUBJECTS, st.integers(2, 4), SEEDS)
def test_no_fold_ever_cuts_a_subject(subjects: list[str], folds: int, seed: int) -> None:
    found = folds_by_subject(subjects, folds=folds, seed=seed)

    for subject in set(subjects):
        assert len({fold for fold, name in zip(found, subjects, strict=True) if name == subject}) == 1
    assert set(found) == set(range(folds))


@given(SUBJECTS, st.floats(0.01, 0.99), SEEDS)
def test_no_holdout_ever_cuts_a_subject_or_takes_all(subjects: list[str], share: float, seed: int) -> None:
    held = holdout_by_subject(subjects, share=share, seed=seed)

    inside = {name for name, out in zip(subjects, held, strict=True) if out}
    outside = {name for name, out in zip(subjects, held, strict=True) if not out}
    assert inside
    assert outside
    assert not inside & outside


@given(SUBJECTS, SEEDS, st.randoms())
def test_the_order_of_rows_does_not_change_the_split(subjects: list[str], seed: int, random: object) -> None:
    order = list(range(len(subjects)))
    random.shuffle(order)  # type: ignore[attr-defined]

    found = folds_by_subject(subjects, folds=3, seed=seed)
    shuffled = folds_by_subject([subjects[place] for place in order], folds=3, seed=seed)

    assert shuffled.tolist() == found[order].tolist()


@given(st.lists(st.sampled_from("xyz"), min_size=9, max_size=60), SEEDS)
def test_every_fold_gets_its_share_of_each_stratum(strata: list[str], seed: int) -> None:
    subjects = [f"s{place}" for place in range(len(strata))]

    found = folds_by_subject(subjects, folds=3, seed=seed, strata=strata)

    for wanted in [None, *set(strata)]:
        chosen = [fold for fold, name in zip(found, strata, strict=True) if wanted in (None, name)]
        counts = np.bincount(chosen, minlength=3)
        assert counts.max() - counts.min() <= 1


@given(st.lists(st.sampled_from("xyz"), min_size=9, max_size=60), st.floats(0.1, 0.9), SEEDS)
def test_a_holdout_takes_its_share_of_each_stratum(strata: list[str], share: float, seed: int) -> None:
    subjects = [f"s{place}" for place in range(len(strata))]

    held = holdout_by_subject(subjects, share=share, seed=seed, strata=strata)

    taken = held.sum() / len(strata)
    for stratum in set(strata):
        of_it = np.array([name == stratum for name in strata])
        assert abs(held[of_it].sum() - taken * of_it.sum()) < 2


def test_a_split_stays_what_it_was() -> None:
    subjects = [f"s{place}" for place in range(8)]

    assert folds_by_subject(subjects, folds=3, seed=7).tolist() == [1, 2, 1, 2, 0, 1, 0, 0]
    assert holdout_by_subject(subjects, share=0.25, seed=7).nonzero()[0].tolist() == [3, 6]


def test_another_seed_gives_another_split() -> None:
    subjects = [f"s{place}" for place in range(30)]

    assert (
        folds_by_subject(subjects, folds=5, seed=1).tolist()
        != folds_by_subject(subjects, folds=5, seed=2).tolist()
    )


def test_leaving_one_out_gives_each_subject_a_fold_of_its_own() -> None:
    assert folds_by_subject(["b", "a", "b", "c"], folds=None, seed=0).tolist() == [1, 0, 1, 2]


def test_more_folds_than_subjects_are_refused() -> None:
    with pytest.raises(ManifestError, match="5 folds need at least 5 subjects, got 2"):
        folds_by_subject(["a", "b", "b"], folds=5, seed=0)


@pytest.mark.parametrize("nameless", ["", "  ", None, float("nan")])
def test_a_row_without_a_subject_is_refused(nameless: object) -> None:
    with pytest.raises(ManifestError, match="rows without a subject cannot be split"):
        folds_by_subject(["a", "b", nameless], folds=2, seed=0)  # type: ignore[list-item]


def test_a_share_of_all_is_refused() -> None:
    with pytest.raises(ManifestError, match="must lie between 0 and 1, got 1"):
        holdout_by_subject(["a", "b"], share=1.0, seed=0)
