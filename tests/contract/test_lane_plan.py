"""Purity against recovery before a lane runs: the figures, the table of pieces, the page."""

import json
import re
import runpy
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weft.errors import LineError
from weft.line.decide import Decider
from weft.line.outcomes import read_pieces
from weft.line.plan import Plan, as_json, plan_lanes
from weft.line.plan_drawing import draw_lane, draw_plan
from weft.line.rules import LaneRules, rules_from_text

row: Callable[..., dict[str, Any]] = runpy.run_path(str(Path(__file__).parents[1] / "trial_pieces.py"))["row"]
RULES = """
rest: rest
lanes:
- {name: cotton, take: cotton >= 95 %, max_contamination: 5 %, price_per_kg: 0.6}
- {name: 'blends', take: cotton >= 20 % and polyester >= 20 %, max_contamination: 10 %, price_per_kg: 0.2}
"""


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


COTTON, BLEND = {"cotton": 1.0}, {"cotton": 0.5, "polyester": 0.5}
ROWS = [
    *(row(0.995, 0.01, COTTON) for _ in range(60)),
    *(row(0.96, 0.05, COTTON) for _ in range(20)),  # doubtful
    *(row(0.96, 0.05, {"cotton": 0.9, "polyester": 0.1}) for _ in range(5)),
    *(row(0.5, 0.05, BLEND) for _ in range(15)),
    row(0.99, 0.01, {}),  # no textile, read as cotton
]


@pytest.fixture
def rules() -> LaneRules:
    return rules_from_text(RULES)


@pytest.fixture
def plan(rules: LaneRules, tmp_path: Path) -> Plan:
    return plan_lanes(rules, read_pieces(table(tmp_path / "pieces.jsonl", ROWS)), [Decider(rules)])


def test_purity_and_recovery_are_those_of_the_grams_that_came(plan: Plan) -> None:
    cotton, blends = plan.lanes

    assert (cotton.belonging, blends.belonging) == (80, 15)
    assert (cotton.free.pieces, cotton.free.recovery) == (86, 1.0)
    assert cotton.free.purity == pytest.approx(80 / 86)
    assert blends.held.purity == blends.held.recovery == 1.0
    assert plan.kilograms == pytest.approx(101 * 0.2)


def test_the_limit_costs_recovery_and_what_it_costs_is_told(plan: Plan) -> None:
    cotton = plan.lanes[0]

    assert cotton.held.recovery is not None
    assert cotton.held.recovery < 1.0
    assert cotton.lost == pytest.approx(1.0 - cotton.held.recovery)
    assert cotton.expected_contamination <= 0.05


def test_the_curve_falls_from_sure_pieces_to_all_of_them(plan: Plan) -> None:
    cotton = plan.lanes[0]

    assert (np.diff(cotton.chance) < 0).all()
    assert (np.diff(cotton.recovery) >= 0).all()
    assert cotton.purity[0] == pytest.approx(60 / 61) or cotton.purity[0] == 1.0
    assert cotton.recovery[-1] == 1.0


def test_wilsons_interval_is_the_textbooks(plan: Plan) -> None:
    """80 of 86: 0.856 to 0.968 (Newcombe 1998, method 3, by hand)."""
    free = plan.lanes[0].free

    assert free.purity_low == pytest.approx(0.8562, abs=5e-4)
    assert free.purity_high == pytest.approx(0.9675, abs=5e-4)


@pytest.mark.parametrize(("wrong", "verdict"), [(2, "kept"), (4, "luck"), (15, "passed")])
def test_a_lane_over_its_limit_is_blamed_only_where_it_is_no_luck(
    rules: LaneRules, tmp_path: Path, wrong: int, verdict: str
) -> None:
    rows = [
        row(0.995, 0.004, {"cotton": 0.5, "polyester": 0.5} if at < wrong else COTTON) for at in range(60)
    ]
    plan = plan_lanes(rules, read_pieces(table(tmp_path / "p.jsonl", rows)), [Decider(rules)])

    assert plan.lanes[0].verdict == verdict
    assert ("its limit is passed" in draw_plan(plan)) == (verdict == "passed")


def test_an_empty_lane_is_told_as_one(rules: LaneRules, tmp_path: Path) -> None:
    pieces = read_pieces(table(tmp_path / "p.jsonl", [row(0.5, 0.02, BLEND)]))
    found = plan_lanes(rules, pieces, [Decider(rules)])

    assert found.lanes[0].held.purity is None
    assert found.lanes[0].lost is None
    assert as_json(found)["lanes"]["cotton"]["recovery"] is None
    assert "No piece of the table belongs here." in draw_plan(found)


def test_the_page_needs_nothing_else_and_says_what_is_simulated(rules: LaneRules, tmp_path: Path) -> None:
    real = read_pieces(table(tmp_path / "real.jsonl", ROWS))
    made = read_pieces(table(tmp_path / "made.jsonl", [{**each, "simulated": True} for each in ROWS]))
    page = draw_plan(plan_lanes(rules, made, [Decider(rules)]))

    assert "<b>simulated</b>" in page
    assert "simulated" not in draw_plan(plan_lanes(rules, real, [Decider(rules)]))
    assert not re.search(r"<script|<link|src=|@import|url\(", page)
    assert re.findall(r"https?://[^\"' ]+", page) == ["http://www.w3.org/2000/svg"] * 2


def test_a_drawing_is_well_formed_and_stays_inside_its_frame(plan: Plan) -> None:
    for each in plan.lanes:
        root = ElementTree.fromstring(draw_lane(each))
        for points in root.iter("{http://www.w3.org/2000/svg}polyline"):
            for point in points.attrib["points"].split():
                x, y = map(float, point.split(","))
                assert 44 <= x <= 346
                assert 14 <= y <= 226


def test_words_from_a_file_cannot_become_markup(tmp_path: Path) -> None:
    rules = LaneRules(rules_from_text(RULES).lanes, "<img src=x>")
    page = draw_plan(plan_lanes(rules, read_pieces(table(tmp_path / "p.jsonl", ROWS)), [Decider(rules)]))

    assert "<img" not in page
    assert "&lt;img src=x&gt;" in page


def test_several_deciders_take_turns(rules: LaneRules, tmp_path: Path) -> None:
    pieces = read_pieces(table(tmp_path / "p.jsonl", ROWS))
    deciders = [Decider(rules), Decider(rules)]
    plan_lanes(rules, pieces, deciders)

    one, other = (each.accounts["cotton"].grams for each in deciders)
    assert one > 0
    assert other > 0


def test_a_csv_says_the_same_as_json_lines(tmp_path: Path) -> None:
    import csv

    rows = ROWS[:3]
    with (tmp_path / "p.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for each in rows:
            writer.writerow({k: v if isinstance(v, str) else json.dumps(v) for k, v in each.items()})

    assert read_pieces(tmp_path / "p.csv") == read_pieces(table(tmp_path / "pieces.jsonl", rows))
    assert read_pieces(tmp_path) == read_pieces(tmp_path / "pieces.jsonl")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no piece in it; needed pieces with their truth"),
        ("{", "row 1: no JSON"),
        ('{"number": 1}', "row 1: no `truth`"),
        (json.dumps(row(0.5, 0.1, {"cottn": 1.0})), "did you mean 'cotton'"),
        (json.dumps(row(0.5, 0.1, {"cotton": 50, "polyester": 50})), "these look like percent"),
        (json.dumps(row(0.5, 0.1, COTTON, pixels=-1)), "row 1: pixels: "),
        (json.dumps(row(0.5, 0.1, COTTON, truth_grams="heavy")), "row 1: could not convert string to float"),
        ("\xff", "row 1: no JSON"),
    ],
)
def test_a_table_that_cannot_be_planned_by_is_told_with_its_row(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.jsonl").write_text(text, encoding="utf-8")

    with pytest.raises(LineError, match=re.escape(said)):
        read_pieces(tmp_path / "p.jsonl")


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    with pytest.raises(LineError, match=r"name a JSONL or CSV file of pieces"):
        read_pieces(tmp_path / "none.jsonl")
