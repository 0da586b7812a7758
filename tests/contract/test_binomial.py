"""Bands and tails against scipy, which serving does without."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.binomial import at_least, band, drawn_at_least

stats = pytest.importorskip("scipy.stats")

trials = st.integers(1, 2_000)
chance = st.floats(0.001, 0.999)


@settings(max_examples=60, deadline=None)
@given(trials, chance, st.sampled_from([0.8, 0.95, 0.999]))
def test_the_band_is_scipys(trials: int, chance: float, level: float) -> None:
    low, high = band(trials, chance, level)
    expected = stats.binom.interval(level, trials, chance)

    # a tail that equals its bound to the last digits may fall on either side
    assert low == pytest.approx(expected[0], abs=1)
    assert high == pytest.approx(expected[1], abs=1)


@pytest.mark.parametrize(("trials", "expected"), [(20, (15, 20)), (100, (84, 95)), (450, (392, 417))])
def test_the_bands_of_the_reports_come_out(trials: int, expected: tuple[int, int]) -> None:
    assert band(trials, 0.9) == expected


@settings(max_examples=60, deadline=None)
@given(trials, chance, st.data())
def test_the_tail_is_scipys(trials: int, chance: float, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, trials))

    assert at_least(count, trials, chance) == pytest.approx(
        stats.binom.sf(count - 1, trials, chance), rel=1e-6, abs=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_the_exact_test_of_two_shares_is_scipys(first: int, second: int, data: st.DataObject) -> None:
    hits, others = data.draw(st.integers(0, first)), data.draw(st.integers(0, second))
    table = [[hits, first - hits], [others, second - others]]

    assert drawn_at_least(hits, first, hits + others, first + second) == pytest.approx(
        stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-6, abs=1e-12
    )


def test_what_is_certain_has_no_spread() -> None:
    assert band(10, 1.0) == (10, 10)
    assert band(10, 0.0) == (0, 0)
    assert at_least(1, 10, 0.0) == 0
