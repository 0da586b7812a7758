"""What lanes take: the words, what is wrong with them, and what follows from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.errors import RuleError
from weft.line.colours import COLOURS
from weft.line.description import read_description
from weft.line.rule_check import clauses
from weft.line.rule_text import parse_percent, parse_rule
from weft.line.rule_tree import (
    FLAGS,
    Amount,
    Coloured,
    Facts,
    Flagged,
    Measure,
    Rule,
    either,
    every,
    holds,
    opposite,
    words,
)
from weft.line.rules import LaneRules, read_rules, rules_from_text

DEMO = Path("configs/lines/demo.yaml")
FIBRES = ("cotton", "polyester", "elastane", "wool")

_NAMES = ("cotton", "polyester", "elastane", "wool", "silk")
amounts = st.builds(
    Amount,
    st.lists(st.sampled_from(_NAMES), min_size=1, max_size=3, unique=True).map(tuple),
    st.sampled_from([">=", ">", "<=", "<"]),
    st.integers(0, 1000).map(lambda tenths: tenths / 10),
)
leaves = st.one_of(
    amounts,
    st.builds(Flagged, st.sampled_from(FLAGS), st.booleans()),
    st.builds(
        Coloured,
        st.lists(st.sampled_from(COLOURS), min_size=1, max_size=3, unique=True).map(tuple),
        st.booleans(),
    ),
    st.builds(
        Measure,
        st.sampled_from(["mass", "area"]),
        st.sampled_from([">=", "<"]),
        st.integers(0, 9_999).map(float),
    ),
)


def trees(of: st.SearchStrategy[Rule]) -> st.SearchStrategy[Rule]:
    return st.recursive(
        of,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=3).map(every),
            st.lists(inner, min_size=2, max_size=3).map(either),
        ),
        max_leaves=6,
    )


def lanes(*rows: dict[str, Any], rest: str | None = "rest") -> str:
    usual = {"max_contamination": "5 %", "price_per_kg": 1.0}
    return yaml.safe_dump({"rest": rest, "lanes": [{**usual, **row} for row in rows]})


def findings(text: str, level: str = "error") -> list[str]:
    try:
        found = rules_from_text(text, read_description(DEMO), FIBRES).findings
    except RuleError as error:
        found = error.findings
    return [str(each) for each in found if each.level == level]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("cotton >= 95 %", "cotton >= 95 %"),
        ("Baumwolle ≥ 95%", "cotton >= 95 %"),
        ("涤纶>=95％ and EL < 2,5 %", "polyester >= 95 % and elastane < 2.5 %"),
        ("élasthanne < 2 %", "elastane < 2 %"),
        ("(wool + silk) >= 80 %", "wool + silk >= 80 %"),
        ("30 % <= cotton <= 70 %", "cotton >= 30 % and cotton <= 70 %"),
        ("95 % <= cotton", "cotton >= 95 %"),
        ("not (mixed or cotton >= 95 %)", "not mixed and cotton < 95 %"),
        ("not not few pixels", "few-pixels"),
        ("colour: white, light gray and mass > 0.2 kg", "colour: white, light grey and mass > 200 g"),
        ("not color is black", "not colour: black"),
        ("area >= 0.1 m2 or unknown < 20 %", "area >= 1000 cm2 or unknown < 20 %"),
        ("organic cotton > 3 % AND (wool > 5 % or silk > 5 %)", None),
    ],
)
def test_a_rule_is_read_in_a_plants_words(text: str, meant: str | None) -> None:
    assert words(parse_rule(text)) == (meant or "cotton > 3 % and (wool > 5 % or silk > 5 %)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("polyestr >= 95 %", r"character 1, 'polyestr': no fibre is called .*; did you mean 'polyester'\?"),
        (
            "cotton >= 95 % and mixd",
            r"character 20, 'mixd': nothing is called 'mixd'; did you mean 'mixed'\?",
        ),
        ("colour: whit", r"character 9, 'whit': no colour is called 'whit'; did you mean 'white'\?"),
        ("colour: white or black", "colours are listed with commas, as in colour: white, black"),
        ("cotton >= 0.95", "needed % after 0.95; shares are percent by weight"),
        ("cotton >= 120 %", "a share of 120 %; needed 0 to 100 %"),
        ("cotton", "at its end: needed a comparison after cotton, such as cotton >= 95 %"),
        ("cotton = 95 %", "character 8, '=': needed a comparison"),
        ("cotton >= 95 % polyester < 2 %", "character 16, 'polyester': needed and, or, or the rule's end"),
        ("cotton # 3", "character 8: '#' means nothing here"),
        ("cotton + cotton > 3 %", "cotton is in this sum already"),
        ("30 % <= cotton >= 70 %", "both signs of a range point the same way"),
        ("mass > 3", "at its end: needed the unit of 3: g or kg"),
        ("  ", "the rule is empty"),
        ("(" * 60 + "mixed" + ")" * 60, "parentheses and not are 40 deep"),
        ("cotton > 1 % or " * 200, "a rule of 3200 characters, 2000 is the most"),
    ],
)
def test_a_rule_that_cannot_be_read_is_told_with_its_place_and_the_nearest_word(text: str, said: str) -> None:
    with pytest.raises(RuleError, match=said):
        parse_rule(text)


@given(trees(leaves))
@settings(deadline=None)
def test_the_canonical_text_is_read_as_the_same_rule(rule: Rule) -> None:
    assert parse_rule(words(rule)) == rule


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "cotton",
                ">=",
                "95",
                "%",
                "(",
                ")",
                "not",
                "or",
                "unknown",
                "+",
                ",",
                "colour",
                ":",
                "few",
                "pixels",
                "mass",
                "kg",
                "<",
            ]
        ),
        max_size=14,
    ).map(" ".join)
)
@settings(max_examples=300, deadline=None)
def test_rubbish_is_a_rule_error_and_nothing_else(text: str) -> None:
    try:
        rule = parse_rule(text)
    except RuleError:
        return
    assert parse_rule(words(rule)) == rule


@given(trees(amounts), st.integers(0, 10_000))
@settings(deadline=None)
def test_a_rule_and_its_opposite_divide_all_compositions(rule: Rule, seed: int) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.full(len(_NAMES), 0.3), size=50)
    shares = {name: drawn[:, at] for at, name in enumerate(_NAMES)}
    inside = holds(rule, lambda name: shares[name], Facts())

    assert (inside != holds(opposite(rule), lambda name: shares[name], Facts())).all()
    unions = [
        np.logical_and.reduce([holds(leaf, lambda name: shares[name], Facts()) for leaf in clause])
        for clause in clauses(rule)
    ]
    assert (np.logical_or.reduce(unions) == inside).all()


def test_a_colour_that_no_camera_saw_makes_no_rule_true_negated_or_not() -> None:
    for text in ("colour: white", "not colour: white"):
        assert not holds(parse_rule(text), lambda _: 0.0, Facts(colour=None))


def test_rules_are_frozen_and_their_version_follows_from_what_they_say_alone() -> None:
    rules = read_rules(DEMO, read_description(DEMO))
    written_otherwise = rules.text.replace("cotton >= 95 %", "Baumwolle >= 95.0%")

    assert rules_from_text(rules.text) == rules
    assert rules_from_text(written_otherwise).version == rules.version
    assert rules_from_text(rules.text.replace("95 %", "94 %")).version != rules.version
    with pytest.raises(AttributeError):
        rules.rest = "elsewhere"  # type: ignore[misc]


@given(st.lists(trees(amounts), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_what_is_said_of_lanes_is_true_of_compositions(rules: list[Rule]) -> None:
    """Impossible, shadowed and overlapping are claims about all compositions: none drawn may refute them."""
    text = lanes(
        *({"name": f"l{at}", "take": words(rule), "price_per_kg": at} for at, rule in enumerate(rules))
    )
    try:
        found = rules_from_text(text).findings
    except RuleError as error:
        found = error.findings
    rng = np.random.default_rng(3)
    drawn = np.vstack([rng.dirichlet(np.full(5, a), size=150) for a in (0.1, 0.5, 2.0)] + [np.eye(5)])
    shares = {name: drawn[:, at] for at, name in enumerate(_NAMES)}
    inside = [holds(rule, lambda name: shares[name], Facts()) for rule in rules]
    impossible = {each.lane for each in found if "no piece can be" in each.words}
    for at, those in enumerate(inside):
        assert not (those.any() and f"l{at}" in impossible)
    for each in found:
        if "overlaps" in each.words or "takes too" in each.words:
            example = dict(each.example)
            assert sum(holds(rule, lambda n: example.get(n, 0.0), Facts()).item() for rule in rules) >= 2  # noqa: B023
        if "takes too" in each.words:
            one, other = int(str(each.lane)[1:]), int(each.words.split("'l")[1][0])
            assert not (inside[one] & ~inside[other]).any()
        if "a gap" in each.words:
            example = dict(each.example)
            assert not any(holds(rule, lambda n: example.get(n, 0.0), Facts()) for rule in rules)  # noqa: B023
    if not any("a gap" in each.words for each in found):
        assert np.logical_or.reduce(inside).all()


def test_all_that_is_wrong_is_told_at_once() -> None:
    text = lanes(
        {"name": "a", "take": "polyestr >= 95 %", "max_contamination": 2},
        {"name": "b", "take": "cotton >= 60 % and polyester >= 60 %", "ejector": "e9"},
        {"name": "c", "take": "silk > 3 %", "prise_per_kg": 3},
        {"name": "d", "take": "silk > 3 %", "max_contamination": "0 %"},
        {"name": "e", "take": "silk > 3 %"},
        {"name": "f", "ejector": "e1"},
        {"name": "f", "take": "cotton < 3 %", "max_contamination": None},
        rest=None,
    )
    found = "\n".join(findings(text))

    assert "no rest lane" in found
    assert "lane 'a': take: 'polyestr >= 95 %', at character 1" in found
    assert "lane 'a': max_contamination: got '2', needed a percentage; write it as 2 %" in found
    assert "lane 'b': no ejector is called 'e9'; demo has e1, e2, e3" in found
    assert "lane 'b': no piece can be cotton >= 60 % and polyester >= 60 %" in found
    assert "lane 'c': nothing is called 'prise_per_kg' here; did you mean 'price_per_kg'?" in found
    assert "lane 'd': max_contamination: is 0 %" in found
    assert "lane 'e': the bundle does not tell silk; it tells cotton, polyester, elastane, wool" in found
    assert "lane 'f': says nothing of what it takes" in found
    assert "lane 'f': max_contamination: is missing" in found


def test_two_lanes_of_one_name_or_of_the_rests_are_refused() -> None:
    found = findings(
        lanes({"name": "a", "take": "cotton > 3 %"}, {"name": "a", "take": "wool > 90 %"}, rest="a")
    )

    assert found == [
        "two lanes are called 'a'; give each its own name",
        "the rest is called 'a' like a lane; name it otherwise",
    ]


def test_an_overlap_is_a_warning_with_an_example() -> None:
    text = lanes({"name": "a", "take": "cotton >= 60 %"}, {"name": "b", "take": "polyester >= 20 %"})
    (said,) = [each for each in findings(text, "warning") if "overlaps" in each]

    assert said.startswith("lane 'a': overlaps 'b': both take cotton ")
    assert said.endswith("; the expected value decides")
    assert not findings(text)


def test_lanes_that_only_touch_do_not_overlap() -> None:
    text = lanes({"name": "a", "take": "cotton >= 60 %"}, {"name": "b", "take": "cotton <= 60 %"})

    assert not [each for each in findings(text, "warning") if "overlaps" in each or "takes too" in each]


@pytest.mark.parametrize(
    ("inner", "outer", "shadowed"),
    [
        ({"price_per_kg": 0.5}, {"price_per_kg": 1.0}, True),
        ({"price_per_kg": 1.0}, {"price_per_kg": 0.5}, False),  # worth more: it gets its pieces
        ({"max_contamination": "8 %"}, {"price_per_kg": 2.0}, False),  # takes what the other may not
        ({}, {}, False),  # equally good: the first in the file
    ],
)
def test_a_lane_that_another_always_beats_is_an_error(
    inner: dict[str, Any], outer: dict[str, Any], shadowed: bool
) -> None:
    text = lanes(
        {"name": "pure", "take": "cotton >= 95 % and polyester < 2 %", **inner},
        {"name": "mostly", "take": "cotton >= 80 %", **outer},
    )

    assert bool(findings(text)) == shadowed
    level = "error" if shadowed else "warning"
    assert any("lane 'pure': all that it takes, 'mostly' takes too" in each for each in findings(text, level))


def test_a_lane_for_mixed_pieces_shares_nothing_with_one_that_does_not_ask_for_them() -> None:
    text = lanes({"name": "a", "take": "cotton >= 60 %"}, {"name": "b", "take": "mixed"})

    assert not [each for each in findings(text, "warning") if "overlaps" in each or "takes too" in each]


def test_white_and_coloured_cotton_do_not_overlap() -> None:
    text = lanes(
        {"name": "white", "take": "cotton >= 95 %", "colour": "white"},
        {"name": "dyed", "take": "cotton >= 95 % and not colour: white"},
    )

    assert not [each for each in findings(text, "warning") if "overlaps" in each or "takes too" in each]


def test_gaps_are_told_with_an_example_and_go_to_the_rest() -> None:
    found = findings(
        lanes({"name": "a", "take": "cotton >= 60 %"}, {"name": "b", "take": "wool >= 50 %"}), "note"
    )

    assert "no lane takes pure polyester, elastane: to 'rest'" in found
    assert any(
        each.startswith("a gap between the lanes: cotton 50 %, polyester 50 % fits none") for each in found
    )


def test_where_all_is_taken_no_gap_is_told() -> None:
    found = findings(
        lanes({"name": "a", "take": "cotton >= 60 %"}, {"name": "b", "take": "cotton < 60 %"}), "note"
    )

    assert not [each for each in found if "gap" in each or "pure" in each]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "lanes: 3", "a: &a [*a]", "{" * 5_000, "lanes: [3]\nrest: rest", "rest: {}\nlanes: []",
     "x: 2026-99-99",
     "lanes: [{name: a, take: {b: c}}]\nrest: [1]", "\x00", "- " * 9_000,
     "rest: r\nlanes:\n- {name: 1, take: 2}"],
)  # fmt: skip
def test_text_that_holds_no_lanes_is_refused_in_words(text: str) -> None:
    with pytest.raises(RuleError) as refused:
        rules_from_text(text)

    assert str(refused.value)
    assert refused.value.findings


def test_a_whole_line_file_is_read_as_its_lanes() -> None:
    assert rules_from_text(DEMO.read_text(encoding="utf-8")) == read_rules(DEMO)


def test_a_bare_number_is_no_percentage() -> None:
    for given_ in (2, 0.02, "2", None, "2 % or so"):
        with pytest.raises(RuleError, match="write it as 2 %"):
            parse_percent(given_)
    assert parse_percent(" 2,5 % ") == 2.5


def test_many_lanes_are_checked_in_no_time_that_matters() -> None:
    """Twenty lanes of several bounds: what is looked at must not grow without end."""
    rows = [
        {
            "name": f"l{at}",
            "take": f"{low} % <= cotton <= {low + 4} % and polyester >= {at} % or wool > {99 - at} %",
        }
        for at, low in enumerate(range(0, 80, 4))
    ]
    found: LaneRules = rules_from_text(lanes(*rows), None, FIBRES)

    assert len(found.lanes) == 20
