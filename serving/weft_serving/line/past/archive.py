"""A line's past in the database: decisions with their evidence, rules, alarms. Blocking; for threads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import Dialect, Select, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from weft.line.records import Alarm, Decision
from weft_serving.line.past.tables import (
    LineAlarmRow,
    LineCheckRow,
    LineEvidenceRow,
    LineNumberRow,
    LinePieceRow,
    LineRulesRow,
)
from weft_serving.line.sinks import Evidence
from weft_serving.store import Store
from weft_serving.tables import Base, now

_AT_ONCE: Final = 500  # rows in one deletion or one page of reading: no writer waits long for it


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """One decision on its way to the database, with what is no number beside it."""

    decision: Decision
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long pieces are kept. The numbers outlive pictures and spectra; what was drawn to check, both."""

    evidence_days: float
    evidence_bytes: int  # of one line
    numbers_days: float


class LineArchive:
    """Each method is one transaction or several short ones; raises StoreError where the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, records: Sequence[Kept | Alarm]) -> None:
        """All of them or none. A piece or an alarm that is there is replaced: the later word counts."""
        pieces = {(r.decision.piece.line, r.decision.piece.number): r for r in records if isinstance(r, Kept)}
        alarms = {(r.line, r.code, r.since): r for r in records if isinstance(r, Alarm)}
        evidence = [
            _evidence(record.decision, record.evidence)
            for record in records
            if isinstance(record, Kept) and record.evidence is not None
        ]
        last = {(row["line"], row["number"]): row for row in evidence}
        with self._store.writing() as session:
            _upsert(session, LinePieceRow, [_piece(record.decision) for record in pieces.values()])
            _upsert(session, LineEvidenceRow, list(last.values()))
            _upsert(session, LineAlarmRow, [alarm.model_dump() for alarm in alarms.values()])

    def last_number(self, line: str) -> int:
        """The highest number that a piece of this line may have got, 0 before the first."""
        reserved = select(LineNumberRow.reserved).where(LineNumberRow.line == line)
        with self._store.reading() as session:
            return max(session.scalar(_last_stored(line)) or 0, session.scalar(reserved) or 0)

    def reserve(self, line: str, upto: int) -> None:
        """Numbers up to this one may be given from now on; those who start later go on behind it."""
        with self._store.writing() as session:
            _upsert(session, LineNumberRow, [{"line": line, "reserved": upto}])

    def keep_rules(self, line: str, version: str, text: str, at: datetime, who: str | None) -> None:
        """Note that these rules came into force; a version that returns is the newest again."""
        row = {"line": line, "version": version, "text": text, "since": at, "who": who}
        with self._store.writing() as session:
            _upsert(session, LineRulesRow, [row])

    def rules_of(self, line: str, version: str | None = None) -> str | None:
        """The text of one version, or of the newest; None where there is none."""
        query = select(LineRulesRow.text).where(LineRulesRow.line == line)
        query = (
            query.order_by(LineRulesRow.since.desc()).limit(1)
            if version is None
            else query.where(LineRulesRow.version == version)
        )
        with self._store.reading() as session:
            return session.scalar(query)

    def decisions(self, line: str, start: datetime, end: datetime) -> Iterator[Decision]:
        """Decisions on pieces seen from `start` to before `end`, in order, read a page at a time."""
        after = -1
        while True:
            query = (
                select(LinePieceRow.number, LinePieceRow.decision)
                .where(LinePieceRow.line == line, LinePieceRow.number > after)
                .where(LinePieceRow.seen_at >= start, LinePieceRow.seen_at < end)
                .order_by(LinePieceRow.number)
                .limit(_AT_ONCE)
            )
            with self._store.reading() as session:
                rows = session.execute(query).all()
            for number, decision in rows:
                after = number
                yield Decision.model_validate(decision)
            if len(rows) < _AT_ONCE:
                return

    def latest(self, line: str, *, most: int) -> list[Decision]:
        """The last decisions, newest first."""
        query = (
            select(LinePieceRow.decision)
            .where(LinePieceRow.line == line)
            .order_by(LinePieceRow.number.desc())
            .limit(most)
        )
        with self._store.reading() as session:
            return [Decision.model_validate(decision) for decision in session.scalars(query)]

    def decision(self, line: str, number: int) -> Decision | None:
        with self._store.reading() as session:
            row = session.get(LinePieceRow, (line, number))
            return None if row is None else Decision.model_validate(row.decision)

    def evidence(self, line: str, number: int) -> Evidence | None:
        """None for a piece that was never there, or whose evidence has been aged away."""
        with self._store.reading() as session:
            row = session.get(LineEvidenceRow, (line, number))
            return None if row is None else read_evidence(row)

    def rules_versions(self, line: str) -> dict[str, str]:
        """The text of every version that was ever in force."""
        query = select(LineRulesRow).where(LineRulesRow.line == line)
        with self._store.reading() as session:
            return {row.version: row.text for row in session.scalars(query)}

    def lines(self) -> list[str]:
        """The names of all lines that anything is kept of."""
        with self._store.reading() as session:
            return sorted(session.scalars(select(LinePieceRow.line).distinct()))

    def alarms(self, line: str, start: datetime, end: datetime) -> list[Alarm]:
        """Alarms that were on at some moment from `start` to before `end`, in order of their beginning."""
        query = (
            select(LineAlarmRow)
            .where(LineAlarmRow.line == line, LineAlarmRow.since < end)
            .where((LineAlarmRow.until.is_(None)) | (LineAlarmRow.until > start))
            .order_by(LineAlarmRow.since, LineAlarmRow.code)
        )
        with self._store.reading() as session:
            return [_alarm(row) for row in session.scalars(query)]

    def end_orphans(self, line: str, before: datetime) -> None:
        """End alarms that a run which stopped in the middle left on, at that run's last piece."""
        query = select(LineAlarmRow).where(
            LineAlarmRow.line == line, LineAlarmRow.until.is_(None), LineAlarmRow.since < before
        )
        last = select(func.max(LinePieceRow.seen_at)).where(
            LinePieceRow.line == line, LinePieceRow.seen_at < before
        )
        with self._store.writing() as session:
            seen_at = session.scalar(last)
            for row in session.scalars(query):
                row.until = max(row.since, seen_at) if seen_at else row.since

    def age(self, line: str, keep: Retention) -> tuple[int, int]:
        """Take away what is older or larger than `keep` allows; how many evidences and pieces went.

        Hand-checked pieces stay, and so does the last one: the line is known by it, and a run's end.
        """
        with self._store.reading() as session:
            newest = session.scalar(_last_stored(line)) or 0
        evidence = self._take(line, LineEvidenceRow, self._before(line, keep.evidence_days))
        evidence += self._take(line, LineEvidenceRow, self._over(line, keep.evidence_bytes))
        pieces = self._take(line, LinePieceRow, min(self._before(line, keep.numbers_days), newest))
        return evidence, pieces

    def _before(self, line: str, days: float) -> int:
        """The number of the first piece that is younger; all below it are older."""
        query = select(func.max(LinePieceRow.number)).where(
            LinePieceRow.line == line, LinePieceRow.seen_at < now() - timedelta(days=days)
        )
        with self._store.reading() as session:
            return (session.scalar(query) or 0) + 1

    def _over(self, line: str, most_bytes: int) -> int:
        """The number below which all evidence has to go for the rest to fit into `most_bytes`."""
        held = func.sum(LineEvidenceRow.held_bytes).over(order_by=LineEvidenceRow.number.desc())
        query = select(LineEvidenceRow.number, held.label("held")).where(LineEvidenceRow.line == line)
        inner = query.subquery()
        with self._store.reading() as session:
            found = session.scalar(select(func.max(inner.c.number)).where(inner.c.held > most_bytes))
        return (found or 0) + 1

    def _take(self, line: str, table: type[LinePieceRow] | type[LineEvidenceRow], below: int) -> int:
        drawn = select(LineCheckRow.number).where(LineCheckRow.line == line)
        some = (
            select(table.number)
            .where(table.line == line, table.number < below, table.number.not_in(drawn))
            .order_by(table.number)
            .limit(_AT_ONCE)
        )
        taken = 0
        while True:
            with self._store.writing() as session:
                numbers = session.scalars(some).all()
                session.execute(delete(table).where(table.line == line, table.number.in_(numbers)))
            taken += len(numbers)
            if len(numbers) < _AT_ONCE:
                return taken


def _last_stored(line: str) -> Select[Any]:
    """The scalar of it is None before the first piece."""
    return select(func.max(LinePieceRow.number)).where(LinePieceRow.line == line)


def read_evidence(row: LineEvidenceRow) -> Evidence:
    return Evidence(
        wavelength_nm=np.frombuffer(row.wavelength_nm, "<f4").astype(np.float64),
        absorbance=np.frombuffer(row.absorbance, "<f4").astype(np.float32),
        picture=row.picture,
    )


def _piece(decision: Decision) -> dict[str, Any]:
    piece = decision.piece
    return {
        "line": piece.line,
        "number": piece.number,
        "seen_at": piece.seen_at,
        "lane": decision.lane,
        "outcome": decision.outcome,
        "rules_version": decision.rules_version,
        "simulated": decision.simulated,
        "decision": decision.model_dump(mode="json"),
    }


def _evidence(decision: Decision, evidence: Evidence) -> dict[str, Any]:
    wavelength_nm = np.ascontiguousarray(evidence.wavelength_nm, "<f4").tobytes()
    absorbance = np.ascontiguousarray(evidence.absorbance, "<f4").tobytes()
    return {
        "line": decision.piece.line,
        "number": decision.piece.number,
        "held_bytes": len(wavelength_nm) + len(absorbance) + len(evidence.picture or b""),
        "wavelength_nm": wavelength_nm,
        "absorbance": absorbance,
        "picture": evidence.picture,
    }


def _alarm(row: LineAlarmRow) -> Alarm:
    return Alarm(
        line=row.line,
        code=row.code,  # type: ignore[arg-type]  # checked by the model
        cause=row.cause,
        since=row.since,
        until=row.until,
        count=row.count,
    )


def _upsert(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """Insert, or replace every column of a row whose key is there."""
    if not rows:
        return
    dialect: Dialect = session.get_bind().dialect
    insert = (postgresql if dialect.name == "postgresql" else sqlite).insert(table)
    keys = [column.name for column in table.__table__.primary_key]
    others = {name: insert.excluded[name] for name in rows[0] if name not in keys}
    session.execute(insert.on_conflict_do_update(index_elements=keys, set_=others), rows)
