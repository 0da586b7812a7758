"""What is taken away when it is old or too much, and what stays whatever its age."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from weft.line.records import Decision
from weft_serving.line.past.archive import Kept, LineArchive, Retention
from weft_serving.line.past.tables import LineCheckRow, LinePieceRow
from weft_serving.line.sinks import Evidence
from weft_serving.store import Store, open_store

MakeDecision = Callable[..., Decision]
MakeEvidence = Callable[..., Evidence]
START = datetime(2026, 11, 22, 6, tzinfo=UTC)
FOR_YEARS = Retention(evidence_days=4_000, evidence_bytes=10**12, numbers_days=4_000)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = open_store(database_url)
    yield made
    made.close()


def numbers(store: Store) -> list[int]:
    with store.reading() as session:
        return list(session.scalars(select(LinePieceRow.number).order_by(LinePieceRow.number)))


def test_numbers_outlive_pictures_and_what_was_drawn_to_check_outlives_both(
    store: Store, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    archive = LineArchive(store)
    now = datetime.now(UTC)
    age_days = {1: 900, 2: 800, 3: 60, 4: 50, 5: 1, 6: 0}
    archive.write(
        [
            Kept(line_decision(n, seen_at=now - timedelta(days=days)), line_evidence(n))
            for n, days in age_days.items()
        ]
    )
    with store.writing() as session:
        session.add_all(
            LineCheckRow(line="demo", number=number, lane="cotton", drawn_at=now) for number in (2, 3)
        )
    archive.age("demo", replace(FOR_YEARS, evidence_days=30, numbers_days=730))

    assert numbers(store) == [2, 3, 4, 5, 6]
    assert [n for n in age_days if archive.evidence("demo", n)] == [2, 3, 5, 6]

    one = 224 * 4 * 2 + len(line_evidence(6).picture or b"")
    archive.age("demo", replace(FOR_YEARS, evidence_bytes=one))
    assert [n for n in age_days if archive.evidence("demo", n)] == [2, 3, 6]


def test_the_last_piece_stays_however_old_so_that_its_number_is_not_given_twice(
    store: Store, line_decision: MakeDecision
) -> None:
    archive = LineArchive(store)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    archive.write([Kept(line_decision(n, seen_at=long_ago), None) for n in (1, 2, 3)])
    archive.age("demo", replace(FOR_YEARS, evidence_days=30, numbers_days=730))

    assert archive.last_number("demo") == 3
    assert numbers(store) == [3]


def test_the_last_piece_stays_where_higher_numbers_are_reserved_too(
    store: Store, line_decision: MakeDecision
) -> None:
    archive = LineArchive(store)
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    archive.write([Kept(line_decision(n, seen_at=long_ago), None) for n in (1, 2, 3)])
    archive.reserve("demo", 10_003)
    archive.age("demo", replace(FOR_YEARS, numbers_days=730))

    assert numbers(store) == [3]
    assert archive.last_number("demo") == 10_003
