"""Rules that cost too much, belong elsewhere or are worth nothing: one sentence each, at once."""

import json
from pathlib import Path

import pytest

from weft.errors import LineDescriptionError, RuleError
from weft.line.description import read_description
from weft.line.rules import read_rules, rules_from_text


def test_more_alternatives_than_can_be_compared_are_refused_at_once() -> None:
    either = " or ".join(f"(cotton >= {40 + n} % and wool < {n} %)" for n in range(10, 35))
    lanes = [
        {"name": f"l{n}", "take": either, "max_contamination": "5 %", "price_per_kg": n} for n in range(20)
    ]

    with pytest.raises(RuleError, match="alternatives in all lanes together, 300 are compared; write fewer"):
        rules_from_text(json.dumps({"rest": "rest", "lanes": lanes}))


def test_the_whole_file_of_another_line_is_refused() -> None:
    lanes = [{"name": "a", "take": "cotton >= 95 %", "max_contamination": "5 %", "ejector": "e1"}]
    whole = {"line": {"name": "other"}, "lanes": {"rest": "rest", "lanes": lanes}}
    demo = read_description(Path(__file__).parents[2] / "configs" / "lines" / "demo.yaml")

    with pytest.raises(RuleError, match="these are the lanes of line 'other', this is 'demo'; send its own"):
        rules_from_text(json.dumps(whole), demo)


def test_a_file_of_brackets_is_no_line_but_no_crash_either(tmp_path: Path) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text("lanes: " + "[" * 5_000)

    with pytest.raises(LineDescriptionError, match="cannot be read"):
        read_rules(file)


def test_what_is_needed_is_never_less_than_what_makes_a_piece_worth_taking() -> None:
    lane = rules_from_text(
        "rest: rest\nlanes:\n- {name: a, take: cotton >= 95 %, max_contamination: 50 %, price_per_kg: 0.5}"
    ).lanes[0]

    assert lane.worth_from(0.0) == pytest.approx(0.5)  # what spoils costs as much as what fits earns
    assert lane.worth_from(0.5) == 1.0
