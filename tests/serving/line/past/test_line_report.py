"""A shift's report: sums that close, margins that are what they claim, times in the asker's zone."""

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from weft.errors import LineError, StoreError
from weft.line.records import Alarm, Decision
from weft.line.rules import read_rules
from weft_serving.line.cli import line
from weft_serving.line.past.archive import Kept, LineArchive
from weft_serving.line.past.balance import COVERAGE, Total, parts_of
from weft_serving.line.past.report import Shift, make_shift
from weft_serving.line.past.report_page import report_html, report_tables, write_report
from weft_serving.store import Store, open_store

DEMO = Path(__file__).parents[4] / "configs/lines/demo.yaml"
MakeDecision = Callable[..., Decision]
START = datetime(2026, 11, 22, 6, tzinfo=UTC)
END = START + timedelta(hours=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path}/weft.db")
    yield made
    made.close()


@pytest.fixture
def decisions(line_decision: MakeDecision) -> list[Decision]:
    """Eight pieces of a kilogram each: three lanes, one late, one without composition, one without mass."""
    version = read_rules(DEMO).version
    at = {"grams": 1000.0, "rules_version": version}
    blend = {"cotton": 0.6, "polyester": 0.4}
    return [
        line_decision(1, **at),
        line_decision(2, **at, latency_ms=60.0),
        line_decision(3, **at, lane="blends", shares=blend),
        line_decision(4, **at, lane="rest", wanted="cotton", outcome="late"),
        line_decision(5, **at, lane="rest", wanted="rest", outcome="passed", shares={}),
        line_decision(6, **at, lane="rest", wanted="blends", outcome="held", shares=blend),
        line_decision(7, **at, lane="polyester", shares={"polyester": 1.0}),
        line_decision(8, **(at | {"grams": None})),
    ]


@pytest.fixture
def shift(store: Store, decisions: list[Decision]) -> Shift:
    keep(store, decisions)
    return make_shift(store, "demo", START, END)


def keep(store: Store, decisions: list[Decision]) -> None:
    archive = LineArchive(store)
    rules = read_rules(DEMO)
    archive.keep_rules("demo", rules.version, rules.text, START, None)
    archive.write([Kept(decision, None) for decision in decisions])


def test_every_gram_is_in_one_lane_and_one_fibre(shift: Shift) -> None:
    assert {lane.lane: lane.total.grams for lane in shift.lanes.values()} == {
        "cotton": 2000.0, "blends": 1000.0, "polyester": 1000.0, "rest": 3000.0,
    }  # fmt: skip
    assert list(shift.lanes)[-1] == "rest"
    assert shift.total.grams == pytest.approx(7000.0)
    assert sum(total.grams for total in shift.balance.values()) == pytest.approx(7000.0)
    assert shift.fibres["cotton"].grams == pytest.approx(2000 + 600 + 1000 + 600)
    assert shift.fibres["no composition"].grams == 1000.0
    assert shift.recovery("cotton", "cotton") == pytest.approx(2000 / 4200)
    assert shift.lanes["cotton"].without_mass == 1


def test_what_was_late_or_held_is_told_of_the_lane_that_missed_it(shift: Shift) -> None:
    assert shift.lanes["cotton"].missed == {"late": 1}
    assert shift.lanes["blends"].missed == {"held": 1}
    assert shift.lanes["cotton"].missed_grams == 1000.0
    assert shift.lanes["rest"].outcomes == {"late": 1, "passed": 1, "held": 1}
    assert shift.latency is not None
    assert shift.latency.most == 60.0


def test_margins_cover_what_they_claim_when_pieces_err_independently(line_decision: MakeDecision) -> None:
    """Truths are drawn from the very margins of the records: mass on a log axis, share as a normal curve."""
    rng = np.random.default_rng(3)
    decisions = [
        line_decision(number, shares={"cotton": 0.6, "polyester": 0.4}, grams=float(rng.uniform(80, 600)))
        for number in range(1, 40)
    ]
    said = Total()
    for decision in decisions:
        said.add(next(part for part in parts_of(decision) if part.fibre == "cotton"))
    grams = np.array([decision.piece.mass.grams for decision in decisions if decision.piece.mass])
    width = 1.6448536  # of 90 %
    mass = grams * np.exp(rng.normal(0, np.log(1.25 / 0.8) / (2 * width), (4000, len(grams))))
    share = rng.normal(0.6, 0.05 / width, (4000, len(grams)))
    truth = (mass * share).sum(axis=1)

    inside = float(((said.low <= truth) & (truth <= said.high)).mean())
    # A median's sum lies a little below the mean of what it stands for; it costs a few points here.
    assert COVERAGE - 0.08 < inside < COVERAGE + 0.05
    assert said.least < truth.min()
    assert said.most > truth.max()


def test_margins_grow_slower_than_sums_but_the_one_way_range_does_not(line_decision: MakeDecision) -> None:
    totals: list[Total] = []
    for count in (10, 1000):
        total = Total()
        for _ in range(count):
            total.add(next(iter(parts_of(line_decision(1)))))
        totals.append(total)
    few, many = totals
    assert many.margin / many.grams == pytest.approx(few.margin / few.grams / 10)
    assert many.most / many.grams == pytest.approx(few.most / few.grams)


def test_only_pieces_of_the_asked_time_are_in_it_whatever_zone_asks(
    store: Store, decisions: list[Decision]
) -> None:
    keep(store, decisions)
    berlin = timezone(timedelta(hours=1))
    start = datetime(2026, 11, 22, 7, 0, 3, tzinfo=berlin)  # 06:00:03 UTC: piece 3 is seen then

    found = make_shift(store, "demo", start, start + timedelta(seconds=3))
    assert found.pieces == 3
    page = report_html(found)
    assert "22 Nov 07:00:03" in page
    assert "UTC+0100" in page


def test_the_page_has_all_parts_needs_nothing_else_and_says_that_it_is_simulated(
    store: Store, decisions: list[Decision]
) -> None:
    keep(store, [decision.model_copy(update={"simulated": True}) for decision in decisions])
    alarm = Alarm(
        line="demo",
        code="camera-silent",
        cause="<i>no line</i>",
        since=START,
        until=START + timedelta(seconds=75),
    )
    LineArchive(store).write([alarm])
    page = report_html(make_shift(store, "demo", START, END))

    for words in (
        "8 of 8 pieces came from a simulated belt",
        "Mass balance",
        "Where each fibre went",
        "came late for it",
        "75 s",
        "&lt;i&gt;no line&lt;/i&gt;",
        "No piece of this time was checked by hand",
        read_rules(DEMO).version,
    ):
        assert words in page
    assert page.count("<svg") == 3
    for fetched in ("<script", "src=", "<link", "@import", "url("):
        assert fetched not in page
    assert "NaN" not in page


def test_a_real_shift_does_not_call_itself_simulated(shift: Shift) -> None:
    assert "imulated belt" not in report_html(shift)


def test_the_tables_are_on_disk_as_csv_and_say_the_same(shift: Shift, tmp_path: Path) -> None:
    written = write_report(shift, tmp_path / "shift.html", tmp_path / "shift.csv")

    assert sorted(path.name for path in written) == [
        "shift-alarms.csv", "shift-lanes.csv", "shift-times.csv", "shift.csv", "shift.html",
    ]  # fmt: skip
    with (tmp_path / "shift.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(float(row["grams"]) for row in rows) == pytest.approx(7000.0)
    assert {(row["lane"], row["fibre"]) for row in rows} == set(shift.balance)
    row = next(row for row in rows if (row["lane"], row["fibre"]) == ("cotton", "cotton"))
    assert float(row["grams_least"]) < float(row["grams_low"]) < 2000 < float(row["grams_high"])
    lanes = report_tables(shift)["lanes"]
    assert [each["pieces"] for each in lanes if each["lane"] == "cotton"] == [3]


def test_expected_purity_is_what_was_reckoned_with_and_the_rest_has_none(
    store: Store, line_decision: MakeDecision
) -> None:
    at: dict[str, Any] = {"rules_version": read_rules(DEMO).version}
    keep(
        store,
        [
            line_decision(1, **at, grams=300.0, chance=0.9),
            line_decision(2, **at, grams=100.0, chance=0.98),
            line_decision(3, **at, grams=900.0, chance=0.2, lane="rest", wanted="cotton", outcome="late"),
            line_decision(4, **at, grams=100.0, lane="rest", wanted="rest", outcome="passed"),
        ],
    )
    shift = make_shift(store, "demo", START, END)

    assert shift.lanes["cotton"].expected == pytest.approx(0.92)
    assert shift.lanes["rest"].expected is None
    assert shift.rest == "rest"
    assert "92.0 %" in report_html(shift)


def test_a_shift_of_alarms_alone_is_still_a_report(store: Store) -> None:
    LineArchive(store).write([Alarm(line="demo", code="camera-silent", cause="no line", since=START)])
    page = report_html(make_shift(store, "demo", START, END))
    assert "still on" in page
    assert "120 min" in page or "2.0 h" in page


@pytest.mark.parametrize(
    ("name", "start", "end", "words"),
    [
        ("demo", END, START, "before it begins"),
        ("demo", END, END + timedelta(hours=1), "nothing of line 'demo'"),
        ("dmo", START, END, "lines with pieces: demo"),
    ],
)
def test_a_report_of_nothing_is_refused_with_what_there_is(
    store: Store, decisions: list[Decision], name: str, start: datetime, end: datetime, words: str
) -> None:
    keep(store, decisions)
    with pytest.raises(LineError, match=words):
        make_shift(store, name, start, end)


def test_a_file_that_cannot_be_written_is_told(shift: Shift, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, no folder")
    with pytest.raises(StoreError, match="cannot be written"):
        write_report(shift, tmp_path / "taken" / "shift.html", None)


def test_the_verb_writes_a_report_and_says_one_line(
    store: Store, decisions: list[Decision], tmp_path: Path
) -> None:
    keep(store, decisions)
    asked = [
        "report",
        "--line",
        "demo",
        "--from",
        "2026-11-22T06:00:00+0000",
        "--to",
        "2026-11-22T08:00:00+0000",
    ]
    files = ["--out", str(tmp_path / "r.html"), "--csv", str(tmp_path / "r.csv")]
    done = CliRunner().invoke(line, [*asked, *files, "--database", f"sqlite:///{tmp_path}/weft.db"])

    assert done.exit_code == 0, done.output
    assert "8 pieces, 7.0 kg (± " in done.output
    assert (tmp_path / "r-lanes.csv").is_file()


def test_a_bin_of_the_drawing_never_sticks_out_of_it(store: Store, line_decision: Any) -> None:
    last = line_decision(1, seen_at=START + timedelta(minutes=61))
    keep(store, [last])
    page = report_html(make_shift(store, "demo", START, START + timedelta(minutes=61, seconds=30)))
    rects = [part.split('"') for part in page.split("<rect ")[1:]]
    edges = [float(part[1]) + float(part[5]) for part in rects if part[4] == " width="]
    assert edges
    assert max(edges) <= 720 - 14 + 0.2
