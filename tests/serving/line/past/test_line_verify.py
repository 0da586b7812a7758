"""Purity by hand: a fair draw, a sheet that comes back, an interval that holds, and data to train on."""

import csv
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from weft.cli import main
from weft.errors import LineError, StoreError
from weft.line.records import Decision
from weft.line.rules import read_rules
from weft_datasets.manifest import read_manifest
from weft_serving.line.past.archive import Kept, LineArchive
from weft_serving.line.past.checks import Checks
from weft_serving.line.past.purity import Checked, clopper_pearson, measure
from weft_serving.line.past.verify import (
    export_checked,
    measured_lanes,
    read_sheet,
    take_sheet,
    write_sheet,
)
from weft_serving.line.sinks import Evidence
from weft_serving.store import Store, open_store

DEMO = Path(__file__).parents[4] / "configs/lines/demo.yaml"
MakeDecision = Callable[..., Decision]
MakeEvidence = Callable[..., Evidence]
START = datetime(2026, 11, 22, 6, tzinfo=UTC)
END = START + timedelta(hours=2)


@pytest.fixture
def store(database_url: str, line_decision: MakeDecision, line_evidence: MakeEvidence) -> Iterator[Store]:
    """Sixty pieces in the cotton lane and forty in the rest."""
    made = open_store(database_url)
    archive, rules = LineArchive(made), read_rules(DEMO)
    archive.keep_rules("demo", rules.version, rules.text, START, None)
    lanes = ["cotton"] * 60 + ["rest"] * 40
    archive.write(
        [
            Kept(line_decision(n, lane=lane, rules_version=rules.version), line_evidence(n))
            for n, lane in enumerate(lanes, start=1)
        ]
    )
    yield made
    made.close()


def fill(path: Path, said: Callable[[int], str], *, delimiter: str = ",") -> Path:
    """The sheet as a hand fills it in, `said` by piece."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    filled = path.with_name("filled.csv")
    with filled.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(row | {"composition": said(int(row["piece"]))} for row in rows)
    return filled


def test_every_piece_of_the_lane_is_as_likely_to_be_drawn_and_none_is_drawn_twice(store: Store) -> None:
    checks = Checks(store)
    first = checks.draw("demo", "cotton", START, END, most=25, seed=1)
    second = checks.draw("demo", "cotton", START, END, most=25)
    last = checks.draw("demo", "cotton", START, END, most=25)

    assert [len(first), len(second), len(last)] == [25, 25, 10]
    assert sorted([*first, *second, *last]) == list(range(1, 61))
    assert checks.draw("demo", "cotton", START, END, most=25) == []


def test_a_draw_is_spread_over_the_whole_time_and_another_lot_is_another_draw(store: Store) -> None:
    lots = [Checks(store).draw("demo", "cotton", START, END, most=10, seed=seed) for seed in range(6)]
    assert sorted(number for lot in lots for number in lot) == list(range(1, 61))
    assert all(lot[0] <= 25 and lot[-1] >= 35 for lot in lots[:3])


def test_only_pieces_of_the_asked_time_are_drawn(store: Store) -> None:
    found = Checks(store).draw(
        "demo", "cotton", START + timedelta(seconds=10), START + timedelta(seconds=15), most=50
    )
    assert found == [10, 11, 12, 13, 14]


def test_a_sheet_goes_out_and_comes_back_as_measured_purity(store: Store, tmp_path: Path) -> None:
    checks = Checks(store)
    checks.draw("demo", "cotton", START, END, most=60)
    checks.draw("demo", "rest", START, END, most=40)
    csv_path, page = write_sheet(checks.drawn("demo"), tmp_path / "sheet.csv")
    assert page.read_text().count("<li>") == 100
    assert "data:image/jpeg;base64," in page.read_text()

    def said(number: int) -> str:
        if number <= 3:
            return "70 % cotton 30 % viscose"
        return "none" if number == 4 else "100 % cotton" if number < 90 else "80% wool, 20% nylon"

    assert take_sheet(store, "demo", fill(csv_path, said)) == 100
    cotton, rest = measured_lanes(store, "demo")

    assert (cotton.lane, cotton.checked, cotton.right) == ("cotton", 60, 56)
    assert cotton.low == pytest.approx(0.8380, abs=1e-4)  # scipy.stats.binomtest(56, 60).proportion_ci()
    assert cotton.high == pytest.approx(0.9815, abs=1e-4)
    assert (rest.lane, rest.right) == ("rest", 11)  # the others are cotton, which a lane would have taken
    assert rest.mass_share == pytest.approx(11 / 40)


def test_pieces_left_unchecked_are_counted_not_guessed(store: Store, tmp_path: Path) -> None:
    checks = Checks(store)
    checks.draw("demo", "cotton", START, END, most=10, seed=4)
    csv_path, _ = write_sheet(checks.drawn("demo"), tmp_path / "sheet.csv")
    numbers = [each.decision.piece.number for each in checks.drawn("demo")]
    take_sheet(store, "demo", fill(csv_path, lambda n: "100 % cotton" if n in numbers[:6] else ""))

    (found,) = measured_lanes(store, "demo")
    assert (found.checked, found.right) == (6, 6)
    assert found.high == 1.0
    assert found.mass_low is None
    assert len(checks.drawn("demo", checked=False)) == 4


def test_a_spreadsheets_semicolons_and_byte_order_mark_are_read(store: Store, tmp_path: Path) -> None:
    Checks(store).draw("demo", "cotton", START, END, most=3)
    csv_path, _ = write_sheet(Checks(store).drawn("demo"), tmp_path / "sheet.csv")
    filled = fill(csv_path, lambda _: "95 % cotton 5 % elastane", delimiter=";")
    filled.write_text(filled.read_text(), encoding="utf-8-sig")

    found = read_sheet(filled)
    assert len(found) == 3
    assert {tuple(shares.items()) for _, shares in found.values()} == {(("cotton", 0.95), ("elastane", 0.05))}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("piece,composition\n1,100 % coton wol\n", "line 2: no fibre is called 'coton wol'"),
        ("piece,composition\n1,60 % cotton\n", "line 2: .*needed"),
        ("piece,composition\nx,100 % cotton\n", "line 2: piece is 'x', needed a number"),
        ("piece,composition\n1,cotton\n1,cotton\n", "line 3: piece 1 is named a second time"),
        ("piece,composition\n1,\n", "no line has a composition"),
        ("piece,fibre\n1,cotton\n", "has no column composition"),
        ("piece,composition\n99,100 % cotton\n", "1 of 1 pieces were never drawn"),
        ("", "has no column composition and piece"),
    ],
)
def test_a_sheet_that_cannot_be_taken_is_refused_whole(
    store: Store, tmp_path: Path, text: str, words: str
) -> None:
    Checks(store).draw("demo", "cotton", START, START + timedelta(seconds=11), most=20)
    path = tmp_path / "filled.csv"
    path.write_text(text)
    with pytest.raises(LineError, match=words):
        take_sheet(store, "demo", path)
    assert Checks(store).drawn("demo", checked=True) == []


def test_a_sheet_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_bytes(b"\xff\xfe\x00 PK zip")
    with pytest.raises(LineError, match="cannot be read"):
        read_sheet(tmp_path / "sheet.csv")


@pytest.mark.parametrize(
    ("right", "of"), [(0, 10), (10, 10), (1, 1), (56, 60), (299, 300), (3, 2000), (1, 7)]
)
def test_the_interval_by_piece_is_clopper_and_pearsons(right: int, of: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="the oracle is not installed")
    exact = stats.binomtest(right, of).proportion_ci(0.95, method="exact")

    assert clopper_pearson(right, of) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_the_interval_by_mass_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    grams = rng.gamma(4, 60, 200_000)
    good = rng.random(200_000) < np.where(grams > 300, 0.85, 0.95)  # heavy ones are more often wrong
    truth = float(grams[good].sum() / grams.sum())
    for _ in range(60):
        drawn = rng.integers(0, len(grams), 150)
        found = measure("cotton", [Checked("cotton", bool(good[i]), float(grams[i])) for i in drawn])
        assert found.mass_low is not None
        assert found.mass_high is not None
        hits += found.mass_low <= truth <= found.mass_high
    assert hits >= 50  # of 60; 57 are expected


def test_hand_checked_pieces_become_a_manifest_that_training_reads(store: Store, tmp_path: Path) -> None:
    Checks(store).draw("demo", "cotton", START, START + timedelta(seconds=5), most=9)
    csv_path, _ = write_sheet(Checks(store).drawn("demo"), tmp_path / "sheet.csv")
    said = {1: "95 % cotton 5 % elastane", 2: "none", 3: "100 % wool", 4: "97 % cotton, 3 % other fibres"}
    take_sheet(store, "demo", fill(csv_path, lambda n: said[n]))

    assert export_checked(store, "demo", tmp_path / "checked.parquet") == 4
    manifest = read_manifest(tmp_path / "checked.parquet")
    assert manifest.kind == "spectrum"
    assert set(manifest.fibres) == {"cotton", "elastane", "wool"}
    np.testing.assert_allclose(
        manifest.shares(("cotton", "elastane", "wool")),
        [[0.95, 0.05, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0.97, 0, 0, 0.03]],
        atol=1e-9,
    )
    assert manifest.frame["subject"].tolist() == ["demo-1", "demo-2", "demo-3", "demo-4"]
    assert len(manifest.frame["absorbance"].iloc[0]) == 224
    assert not manifest.frame["simulated"].any()


def test_without_checked_pieces_there_is_nothing_to_train_on(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no hand-checked piece of line 'demo'"):
        export_checked(store, "demo", tmp_path / "checked.parquet")


def test_the_verb_draws_takes_back_and_says_what_was_measured(
    store: Store, tmp_path: Path, database_url: str
) -> None:
    def run(*asked: str) -> Any:
        return CliRunner().invoke(
            main, ["line", "verify", "--line", "demo", "--database", database_url, *asked]
        )

    nothing = run()
    assert nothing.exit_code == 1
    assert "was ever drawn; draw some with --draw 50" in nothing.output
    wrong = run("--draw", "5", "--lane", "coton")
    assert "no piece of line 'demo' went to lane 'coton'; lanes with pieces: cotton, rest" in wrong.output

    times = ("--from", "2026-11-22T06:00:00+0000", "--to", "2026-11-22T08:00:00+0000")
    drawn = run("--draw", "20", "--lane", "cotton", *times, "--sheet", str(tmp_path / "sheet.csv"))
    assert drawn.exit_code == 0, drawn.output
    assert "cotton: drew 20 of the pieces" in drawn.output
    assert "sheet.html: 20 pieces to check" in drawn.output
    assert "20 of 20 drawn pieces are not checked" in run().output

    filled = fill(tmp_path / "sheet.csv", lambda n: "100 % cotton")
    measured = run("--checked", str(filled))
    assert "took the truth of 20 pieces" in measured.output
    assert "cotton: 100.0% of pieces (83.2% to 100.0%), 20 of 20 right" in measured.output
    assert "imulated" not in measured.output
