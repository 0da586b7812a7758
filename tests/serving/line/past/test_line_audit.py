"""Every decision reaches the database, once, in order, whatever happens to database and disk meanwhile."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, text

from weft.errors import StoreError
from weft.line.records import Alarm, AlarmCode, Decision
from weft_serving.line.past import audit
from weft_serving.line.past import spill as spilling
from weft_serving.line.past.archive import Kept, LineArchive, Retention
from weft_serving.line.past.audit import AuditSink
from weft_serving.line.past.tables import LinePieceRow
from weft_serving.line.sinks import Evidence
from weft_serving.store import Store, open_store

MakeDecision = Callable[..., Decision]
MakeEvidence = Callable[..., Evidence]
START = datetime(2026, 11, 22, 6, tzinfo=UTC)
FOR_YEARS = Retention(evidence_days=4_000, evidence_bytes=10**12, numbers_days=4_000)


class FragileStore(Store):
    """A store whose database can be taken away and given back."""

    words = ""  # why it fails; empty: it works

    def writing(self) -> Any:
        if self.words:
            raise StoreError(f"the database failed ({self.words}); check that it is up and has room")
        return super().writing()


@pytest.fixture
def store(database_url: str) -> Iterator[FragileStore]:
    made = FragileStore(open_store(database_url).engine)
    yield made
    made.close()


class Told:
    """The alarms that a sink told, as (code, cause)."""

    def __init__(self) -> None:
        self.all: list[tuple[AlarmCode, str | None]] = []

    def __call__(self, code: AlarmCode, cause: str | None) -> None:
        self.all.append((code, cause))

    def wait_for(self, code: AlarmCode, *, over: bool = False) -> str:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            for found, cause in self.all:
                if found == code and (cause is None) == over:
                    return cause or ""
            time.sleep(0.02)
        pytest.fail(f"{code} was never told; told was {self.all}")


def numbers(store: Store) -> list[int]:
    with store.reading() as session:
        return list(session.scalars(select(LinePieceRow.number).order_by(LinePieceRow.number)))


def test_a_decision_is_stored_whole_with_its_spectrum_and_picture(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    told = Told()
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=told, keep=FOR_YEARS)
    decision = line_decision(7, shares={"cotton": 0.6, "polyester": 0.4}, flags=("mixed",), outcome="late")
    sink.decided(decision, line_evidence(7))
    assert sink.settle()
    sink.close()

    archive = LineArchive(store)
    assert archive.decision("demo", 7) == decision
    assert list(archive.decisions("demo", START, START + timedelta(hours=1))) == [decision]
    assert archive.last_number("demo") == 7
    assert archive.last_number("other") == 0
    evidence = archive.evidence("demo", 7)
    assert evidence is not None
    np.testing.assert_allclose(evidence.wavelength_nm, line_evidence(7).wavelength_nm, atol=1e-3)
    np.testing.assert_array_equal(evidence.absorbance, line_evidence(7).absorbance)
    assert evidence.picture == line_evidence(7).picture
    assert told.all == []


def test_a_withdrawn_command_replaces_the_decision_that_had_fired(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=Told(), keep=FOR_YEARS)
    sink.decided(line_decision(1), line_evidence(1))  # both in one batch, as an encoder's jump makes them
    sink.decided(line_decision(1, lane="rest", wanted="cotton", outcome="held"), line_evidence(1))
    assert sink.settle()
    sink.decided(line_decision(2), line_evidence(2))
    assert sink.settle()
    sink.decided(line_decision(2, lane="rest", wanted="cotton", outcome="held"), line_evidence(2))
    assert sink.settle()
    sink.close()

    outcomes = [d.outcome for d in LineArchive(store).decisions("demo", START, START + timedelta(hours=1))]
    assert outcomes == ["held", "held"]


def test_a_database_that_goes_away_loses_no_piece_and_no_order(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    told = Told()
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=told, keep=FOR_YEARS)
    sink.decided(line_decision(1), line_evidence(1))
    assert sink.settle()

    store.words = "connection refused"
    for number in range(2, 40):
        sink.decided(line_decision(number), line_evidence(number))
    assert "connection refused" in told.wait_for("store-down")
    assert not sink.settle(0.1)
    until = time.monotonic() + 10
    while not (tmp_path / "spill").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert (tmp_path / "spill").stat().st_size > 38 * 3_000
    sink.decided(line_decision(40), line_evidence(40))

    store.words = ""
    assert sink.settle(20)
    told.wait_for("store-down", over=True)
    sink.close()

    assert numbers(store) == list(range(1, 41))
    evidence = LineArchive(store).evidence("demo", 20)
    assert evidence is not None
    assert evidence.picture == line_evidence(20).picture
    assert not (tmp_path / "spill").exists()


def test_what_waits_when_the_line_stops_is_stored_by_the_next_start(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    store.words = "connection refused"
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=Told(), keep=FOR_YEARS)
    for number in range(1, 6):
        sink.decided(line_decision(number), line_evidence(number))
    sink.close()
    assert numbers(store) == []
    with (tmp_path / "spill").open("ab") as file:
        file.write(b'{"decision": {"piece"')  # as power loss leaves a line

    store.words = ""
    again = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=Told(), keep=FOR_YEARS)
    assert again.settle(10)
    again.close()
    assert numbers(store) == [1, 2, 3, 4, 5]
    assert not (tmp_path / "spill").exists()


def test_a_full_disk_is_told_as_such_and_normal_work_returns_by_itself(
    store: FragileStore,
    tmp_path: Path,
    line_decision: MakeDecision,
    line_evidence: MakeEvidence,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=told, keep=FOR_YEARS)
    store.words = "database or disk is full"

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(spilling.os, "pwrite", full)
    for number in range(1, 11):
        sink.decided(line_decision(number), line_evidence(number))
    assert "is full" in told.wait_for("disk-full")
    time.sleep(1.2)  # it tries the file, in vain
    assert numbers(store) == []

    monkeypatch.undo()
    store.words = ""
    assert sink.settle(20)
    sink.close()
    told.wait_for("disk-full", over=True)
    assert numbers(store) == list(range(1, 11))


def test_a_record_that_no_database_takes_does_not_hold_up_the_others(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    told = Told()
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=told, keep=FOR_YEARS)
    sink.decided(line_decision(1), line_evidence(1))
    sink.decided(line_decision(2**70), line_evidence(2))  # beyond any integer column
    sink.decided(line_decision(3), line_evidence(3))
    assert sink.settle(10) or told.all
    sink.close()

    assert numbers(store) == [1, 3]
    assert "cannot be stored" in told.wait_for("store-down")


def test_a_fault_of_ours_is_told_and_the_recording_goes_on(
    store: FragileStore,
    tmp_path: Path,
    line_decision: MakeDecision,
    line_evidence: MakeEvidence,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    monkeypatch.setattr(LineArchive, "write", lambda *_: {}["nothing"])
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=told, keep=FOR_YEARS)
    sink.decided(line_decision(1), line_evidence(1))
    assert "KeyError" in told.wait_for("engine-fault")

    monkeypatch.undo()
    assert sink.settle(20)
    sink.close()
    told.wait_for("engine-fault", over=True)
    assert numbers(store) == [1]


def test_the_spill_prefers_numbers_to_pictures_and_never_outgrows_its_room(
    tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    spill = spilling.Spill(tmp_path / "spill", most_bytes=400_000)
    picture = b"p" * 5_000
    records: list[Kept | Alarm] = [
        Kept(line_decision(number), line_evidence(number, picture=picture)) for number in range(1, 100)
    ]
    taken = spill.append(records)

    assert (tmp_path / "spill").stat().st_size <= 400_000
    found, length = spill.peek(200)
    kept = [record for record in found if isinstance(record, Kept)]
    assert [record.decision.piece.number for record in kept] == list(range(1, taken + 1))
    with_picture = [record.evidence is not None for record in kept]
    assert with_picture == sorted(with_picture, reverse=True)
    assert any(with_picture)
    assert not all(with_picture)
    spill.drop(length)
    assert not spill.holds


def test_alarms_are_kept_with_their_end(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision
) -> None:
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=Told(), keep=FOR_YEARS)
    alarm = Alarm(line="demo", code="camera-silent", cause="no line for 2 s; look at its cable", since=START)
    sink.alarmed(alarm)
    assert sink.settle()
    archive = LineArchive(store)
    later = START + timedelta(hours=5)
    assert archive.alarms("demo", later, later + timedelta(hours=1)) == [alarm]  # still on

    ended = alarm.model_copy(update={"until": START + timedelta(seconds=9), "count": 2})
    sink.alarmed(ended)
    assert sink.settle()
    sink.close()
    assert archive.alarms("demo", START, later) == [ended]
    assert archive.alarms("demo", later, later + timedelta(hours=1)) == []


def test_an_alarm_that_a_run_left_on_when_it_was_killed_ends_with_that_runs_last_piece(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision
) -> None:
    archive, began = LineArchive(store), datetime(2026, 1, 5, 6, tzinfo=UTC)
    left_on = Alarm(
        line="demo", code="camera-silent", cause="no line for 2 s; look at its cable", since=began
    )
    other = left_on.model_copy(update={"line": "other"})
    archive.write([left_on, other, Kept(line_decision(1, seen_at=began + timedelta(seconds=30)), None)])

    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=Told(), keep=FOR_YEARS)
    now = left_on.model_copy(update={"since": datetime.now(UTC) + timedelta(seconds=1)})
    sink.alarmed(now)
    assert sink.settle()
    sink.close()

    late = datetime.now(UTC) + timedelta(days=1)
    ended = left_on.model_copy(update={"until": began + timedelta(seconds=30)})
    assert archive.alarms("demo", began, late) == [ended, now]
    assert archive.alarms("other", began, late) == [other]


def test_ageing_leaves_on_what_still_lasts_in_this_run(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, long_ago = LineArchive(store), datetime(2020, 1, 1, tzinfo=UTC)
    archive.write([Kept(line_decision(number, seen_at=long_ago), None) for number in (1, 2)])
    keep = replace(FOR_YEARS, numbers_days=730)
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=Told(), keep=keep)
    lasts = Alarm(line="demo", code="camera-silent", cause="no line for 2 s", since=datetime.now(UTC))
    sink.alarmed(lasts)
    assert sink.settle()

    monkeypatch.setattr(audit, "_AGE_EVERY_S", 0.0)
    until = time.monotonic() + 10
    while numbers(store) != [2] and time.monotonic() < until:
        time.sleep(0.05)
    assert numbers(store) == [2]
    assert sink.settle()
    sink.close()

    late = datetime.now(UTC) + timedelta(days=1)
    assert archive.alarms("demo", late, late + timedelta(days=1)) == [lasts]


def test_no_number_is_given_twice_when_a_run_is_killed_before_its_pieces_are_stored(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    archive = LineArchive(store)
    killed = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=Told(), keep=FOR_YEARS)
    killed.reserve_from(archive.last_number("demo"))
    store.words = "gone"
    killed.decided(line_decision(7), line_evidence(7))  # told to the plant, and never stored

    # What the next start of a killed run reads: nothing of its end was written.
    assert archive.last_number("demo") >= 7
    store.words = ""
    killed.close()


def test_a_run_that_ends_well_frees_the_numbers_that_it_did_not_give(
    store: FragileStore, tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    archive = LineArchive(store)
    sink = AuditSink(store, "demo", spill=tmp_path / "spill", alarm=Told(), keep=FOR_YEARS)
    sink.reserve_from(archive.last_number("demo"))
    sink.decided(line_decision(1), line_evidence(1))
    sink.decided(line_decision(2), line_evidence(2))

    sink.close()

    assert archive.last_number("demo") == 2


def test_rules_that_return_are_the_newest_again(store: FragileStore) -> None:
    archive = LineArchive(store)
    assert archive.rules_of("demo") is None
    archive.keep_rules("demo", "aa", "rest: rest", START, "shift one")
    archive.keep_rules("demo", "bb", "rest: other", START + timedelta(hours=1), None)
    assert archive.rules_of("demo") == "rest: other"
    archive.keep_rules("demo", "aa", "rest: rest", START + timedelta(hours=2), None)
    assert archive.rules_of("demo") == "rest: rest"
    assert archive.rules_of("demo", "bb") == "rest: other"


def test_an_archive_whose_database_is_spoilt_says_so(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/weft.db")
    with store.writing() as session:
        session.execute(text("DROP TABLE line_piece"))
    with pytest.raises(StoreError, match="the database failed"):
        LineArchive(store).last_number("demo")
    store.close()
