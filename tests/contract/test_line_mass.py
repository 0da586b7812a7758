"""What a piece weighs by the area it covers."""

import pytest

from weft.card import MassCard
from weft.line.mass import estimate_mass
from weft.line.records import Share

CARD = MassCard(
    grams_per_cm2={"cotton": 0.04, "polyester": 0.02}, low_ratio=0.5, high_ratio=2.0, coverage=0.9, pieces=200
)


def share(fibre: str, value: float) -> Share:
    return Share(fibre=fibre, share=value, low=value, high=value)


def test_a_pure_piece_weighs_its_area_times_its_fibres_figure() -> None:
    found = estimate_mass(CARD, area_cm2=2500, shares=[share("cotton", 1.0)])

    assert found is not None
    assert (found.grams, found.low_grams, found.high_grams) == pytest.approx((100, 50, 200))


def test_a_blend_lies_between_its_fibres() -> None:
    found = estimate_mass(CARD, area_cm2=2500, shares=[share("cotton", 0.5), share("polyester", 0.5)])

    assert found is not None
    assert found.grams == pytest.approx(2500 * (0.04 * 0.02) ** 0.5)


def test_a_fibre_without_a_figure_has_no_mass() -> None:
    assert estimate_mass(CARD, area_cm2=2500, shares=[share("wool", 0.7), share("cotton", 0.3)]) is None
    assert estimate_mass(CARD, area_cm2=2500, shares=[]) is None
    assert estimate_mass(None, area_cm2=2500, shares=[share("cotton", 1.0)]) is None
