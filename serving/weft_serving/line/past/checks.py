"""Pieces drawn by lot to be checked by hand, and the truth that comes back."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from weft.errors import RuleError
from weft.line.lanes import LaneRules
from weft.line.records import Decision
from weft.line.rule_tree import Facts
from weft.line.rules import rules_from_text
from weft_serving.line.past.archive import LineArchive, read_evidence
from weft_serving.line.past.purity import Checked
from weft_serving.line.past.tables import LineCheckRow, LineEvidenceRow, LinePieceRow
from weft_serving.line.sinks import Evidence
from weft_serving.store import Store
from weft_serving.tables import now


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One drawn piece; `truth` is None until it is checked, empty for what is no textile."""

    decision: Decision
    evidence: Evidence | None
    lane: str
    truth: Mapping[str, float] | None
    said: str | None


class Checks:
    """Raises StoreError where the database fails."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def draw(
        self, line: str, lane: str, start: datetime, end: datetime, *, most: int, seed: int | None = None
    ) -> list[int]:
        """Draw pieces of a lane, seen from `start` to before `end` and never drawn before; their numbers.

        Every piece has the same chance, whatever it looks like: that is what makes the measure hold.
        """
        drawn = select(LineCheckRow.number).where(LineCheckRow.line == line)
        query = (
            select(LinePieceRow.number)
            .where(LinePieceRow.line == line, LinePieceRow.lane == lane)
            .where(LinePieceRow.seen_at >= start, LinePieceRow.seen_at < end)
            .where(LinePieceRow.number.not_in(drawn))
            .order_by(LinePieceRow.number)
        )
        with self._store.writing() as session:
            there = session.scalars(query).all()
            lot = random.Random(seed) if seed is not None else random.SystemRandom()
            found = sorted(lot.sample(there, min(most, len(there))))
            at = now()
            session.add_all(
                LineCheckRow(line=line, number=number, lane=lane, drawn_at=at) for number in found
            )
        return found

    def lanes(self, line: str) -> list[str]:
        """The lanes that any piece of this line went to."""
        query = select(LinePieceRow.lane).where(LinePieceRow.line == line).distinct()
        with self._store.reading() as session:
            return sorted(session.scalars(query))

    def drawn(self, line: str, *, checked: bool | None = None) -> list[Drawn]:
        """All drawn pieces by number; with `checked` only those that are, or are not yet, checked."""
        query = (
            select(LineCheckRow, LinePieceRow, LineEvidenceRow)
            .select_from(LineCheckRow)
            .join(
                LinePieceRow,
                (LinePieceRow.line == LineCheckRow.line) & (LinePieceRow.number == LineCheckRow.number),
            )
            .outerjoin(
                LineEvidenceRow,
                (LineEvidenceRow.line == LineCheckRow.line) & (LineEvidenceRow.number == LineCheckRow.number),
            )
            .where(LineCheckRow.line == line)
            .order_by(LineCheckRow.number)
        )
        if checked is not None:
            query = query.where(
                LineCheckRow.checked_at.is_not(None) if checked else LineCheckRow.checked_at.is_(None)
            )
        with self._store.reading() as session:
            return [_drawn(*row) for row in session.execute(query).all()]

    def take(self, line: str, found: Mapping[int, tuple[str, dict[str, float]]]) -> set[int]:
        """Note what hands found, by number: text and shares. Returns the numbers that were never drawn."""
        at = now()
        with self._store.writing() as session:
            query = select(LineCheckRow).where(LineCheckRow.line == line, LineCheckRow.number.in_(found))
            rows = {row.number: row for row in session.scalars(query)}
            strange = set(found) - set(rows)
            if not strange:
                for number, row in rows.items():
                    row.said, row.truth = found[number]
                    row.checked_at = at
        return strange


class Judge:
    """Whether a piece of known composition belongs where it went, by the rules that decided."""

    def __init__(self, archive: LineArchive, line: str) -> None:
        self._texts = archive.rules_versions(line)
        self._rules: dict[str, LaneRules | None] = {}

    def rules(self, version: str) -> LaneRules | None:
        """None where the text of that version is not kept, or no longer read."""
        if version not in self._rules:
            text = self._texts.get(version)
            try:
                self._rules[version] = None if text is None else rules_from_text(text)
            except RuleError:
                self._rules[version] = None
        return self._rules[version]

    def check(self, drawn: Drawn) -> Checked | None:
        """None for a piece that is not checked, or whose rules are gone."""
        rules = self.rules(drawn.decision.rules_version)
        if drawn.truth is None or rules is None:
            return None
        piece = drawn.decision.piece
        takers = [lane.name for lane in rules.lanes if _takes(rules, lane.name, drawn.decision, drawn.truth)]
        right = not takers if drawn.lane == rules.rest else drawn.lane in takers
        return Checked(drawn.lane, right, piece.mass.grams if piece.mass else None)


def _takes(rules: LaneRules, name: str, decision: Decision, truth: Mapping[str, float]) -> bool:
    piece, lane = decision.piece, rules.lane(name)
    # Doubts were the machine's: of them only what the rule itself asks about still counts.
    facts = Facts(
        colour=piece.colour.name if piece.colour else None,
        flags=tuple(flag for flag in piece.flags if flag in lane.asks_for),
        grams=piece.mass.grams if piece.mass else None,
        area_cm2=piece.area_cm2,
        unknown=0.0 if truth else 1.0,
    )
    return lane.takes(truth, facts)


def _drawn(check: LineCheckRow, piece: LinePieceRow, evidence: LineEvidenceRow | None) -> Drawn:
    return Drawn(
        decision=Decision.model_validate(piece.decision),
        evidence=None if evidence is None else read_evidence(evidence),
        lane=check.lane,
        truth=check.truth,
        said=check.said,
    )
