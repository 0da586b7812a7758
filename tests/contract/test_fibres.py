"""The closed list of fibres and the check of shares."""

import math

import pytest

from weft.errors import FibreError
from weft.fibres import FIBRES, check_shares, fibre


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("cotton", "cotton"),
        ("CO", "cotton"),
        ("Baumwolle", "cotton"),
        ("棉", "cotton"),
        ("polyamide", "nylon"),
        ("Polyamid oder Nylon", "nylon"),
        ("锦纶", "nylon"),
        ("rayon", "viscose"),
        ("Spandex", "elastane"),
        ("élasthanne", "elastane"),
        ("PET", "polyester"),
        ("linen", "flax"),
        ("lin", "flax"),
        ("  Polyester ", "polyester"),
        ("Ｃｏｔｔｏｎ", "cotton"),
        ("cellulose_acetate", "acetate"),
        ("Tencel", "lyocell"),
    ],
)
def test_a_fibre_is_found_under_every_name_people_use(said: str, meant: str) -> None:
    assert fibre(said).name == meant


def test_every_fibre_is_found_under_its_own_names_and_no_code_is_given_twice() -> None:
    for item in FIBRES:
        for word in (item.name, item.code, item.en, item.de, item.fr, item.zh):
            assert fibre(word) is item
    assert len({item.code for item in FIBRES}) == len(FIBRES)


def test_a_misspelt_fibre_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(FibreError, match="no fibre is called 'polyestr'; did you mean 'polyester'"):
        fibre("polyestr")


def test_a_word_like_no_fibre_is_refused_with_the_whole_list() -> None:
    with pytest.raises(FibreError, match="known are cotton, wool"):
        fibre("concrete")


def test_a_name_of_a_million_letters_costs_nothing() -> None:
    with pytest.raises(FibreError):
        fibre("x" * 1_000_000)


def test_shares_come_back_under_wefts_own_names() -> None:
    assert check_shares({"PES": 0.65, "Baumwolle": 0.35}) == {"polyester": 0.65, "cotton": 0.35}


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({}, "no fibre is named"),
        ({"cotton": 0.5, "wool": 0.4}, "sum to 0.9, needed 1"),
        ({"cotton": 60, "wool": 40}, "look like percent, divide by 100"),
        ({"cotton": 1.2, "wool": -0.2}, "share of wool is -0.2"),
        ({"cotton": math.nan}, "share of cotton is nan"),
        ({"cotton": math.inf}, "share of cotton is inf"),
        ({"nylon": 0.5, "polyamide": 0.5}, "both mean nylon"),
        ({"cottn": 1}, "did you mean 'cotton'"),
    ],
)
def test_shares_that_are_none_are_refused(shares: dict[str, float], words: str) -> None:
    with pytest.raises(FibreError, match=words):
        check_shares(shares)


def test_a_rounding_error_of_a_label_is_no_error() -> None:
    assert sum(check_shares({"cotton": 0.333, "wool": 0.333, "silk": 0.3335}).values()) == pytest.approx(
        0.9995
    )
