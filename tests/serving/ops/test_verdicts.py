"""Coverage against its band, shares against what they were: what is told, and what is left alone."""

import random

import pytest

from weft.binomial import band
from weft_serving.ops.quality import expected_widths
from weft_serving.ops.verdicts import (
    Seen,
    Weighed,
    judge_cells,
    judge_shares,
    judge_strangers,
    judge_widths,
)


def weighed(held: int, missed: int, cell: str = "marked.1") -> list[Weighed]:
    return [Weighed(f"{cell}{n}", cell, n < held) for n in range(held + missed)]


def seen(strange: int, others: int) -> list[Seen]:
    return [Seen(f"p{n}", "unmarked.1", 2.0, n < strange) for n in range(strange + others)]


def test_under_twenty_parcels_nothing_is_judged() -> None:
    whole, group = judge_cells(weighed(0, 19), 0.9)

    assert (whole.group, whole.subjects, whole.covered) == ("all", 19, 0.0)
    assert (group.group, group.inside, group.band_low, group.alarm) == ("marked.1", None, None, False)


@pytest.mark.parametrize(
    ("held", "inside", "alarm"), [(90, True, False), (84, True, False), (83, False, False)]
)
def test_a_band_of_95_percent_is_shown_and_one_that_is_seldom_left_alarms(
    held: int, inside: bool, alarm: bool
) -> None:
    whole, _ = judge_cells(weighed(held, 100 - held), 0.9)

    assert (whole.band_low, whole.band_high) == (0.84, 0.95)
    assert (whole.inside, whole.alarm) == (inside, alarm)


def test_coverage_that_chance_does_not_explain_alarms_in_its_group_and_not_in_the_others() -> None:
    lowest, _ = band(100, 0.9, 0.999)
    verdicts = judge_cells([*weighed(lowest - 1, 101 - lowest), *weighed(95, 5, "unmarked.2")], 0.9)

    assert {one.group: one.alarm for one in verdicts} == {"all": False, "marked.1": True, "unmarked.2": False}


def test_too_wide_intervals_are_outside_their_band_and_no_alarm() -> None:
    whole, _ = judge_cells(weighed(100, 0), 0.9)

    assert (whole.inside, whole.alarm) == (False, False)


def test_a_parcel_that_was_estimated_often_counts_once() -> None:
    rows = [*weighed(19, 1), *(Weighed("marked.10", "marked.1", False) for _ in range(500))]
    whole, _ = judge_cells(rows, 0.9)

    assert whole.subjects == 20
    assert whole.covered == pytest.approx((18 + 1 / 501) / 20)


def test_honest_intervals_alarm_less_than_once_in_a_thousand_looks() -> None:
    rng = random.Random(3)
    alarms = 0
    for _ in range(400):
        held = sum(rng.random() < 0.9 for _ in range(200))
        alarms += judge_cells(weighed(held, 200 - held), 0.9)[0].alarm

    assert alarms <= 2


def test_strangers_are_told_when_chance_does_not_bring_so_many() -> None:
    calm, shifted = judge_strangers(seen(4, 196), 0.02), judge_strangers(seen(20, 180), 0.02)

    assert (calm.seen, calm.share, calm.alarm) == (200, 0.02, False)
    assert shifted.alarm
    assert shifted.chance is not None
    assert shifted.chance < 1e-6


def test_few_strangers_are_not_judged_and_one_parcel_is_one_stranger() -> None:
    assert judge_strangers(seen(20, 20), 0.02).chance is None
    same = [Seen("one", None, None, True)] * 400
    assert judge_strangers([*same, *seen(0, 60)], 0.02).share == pytest.approx(1 / 61)


def test_photos_that_the_graph_did_not_see_are_neither_strange_nor_familiar() -> None:
    assert judge_strangers([Seen(f"p{n}", None, None, None) for n in range(100)], 0.02).seen == 0


def test_unknown_scans_are_compared_with_those_before_them() -> None:
    before = [True] * 20 + [False] * 980

    assert not judge_shares([True] * 4 + [False] * 196, before).alarm
    assert judge_shares([True] * 20 + [False] * 180, before).alarm
    assert judge_shares([True] * 200, []).chance is None


def test_widths_are_compared_with_those_of_their_own_group() -> None:
    expected = {"unmarked.1": 3.0, "marked.1": 2.0}
    like = [Seen(str(n), "unmarked.1", 3.0, False) for n in range(60)]
    wide = [Seen(str(n), "marked.1", 3.3, False) for n in range(60)]

    assert judge_widths(like, expected).times == 1.0
    assert judge_widths(wide, expected).alarm
    assert judge_widths(wide[:49], expected).times is None
    assert judge_widths(wide, {}).times is None


def test_the_cards_widths_are_taken_by_group_and_else_of_one_photo() -> None:
    metrics = {
        "group.marked.1.width_ratio": 2.5,
        "group.marked.1.width_grams": 3_700.0,
        "one.width_ratio": 2.8,
        "all.width_ratio": 2.6,
        "group.marked.2.width_ratio": float("nan"),
    }

    assert expected_widths(metrics) == {"marked.1": 2.5, "all": 2.8}
