"""A line's tables, beside those of `weft_serving.tables`. Every change needs a migration: a test compares."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKeyConstraint, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from weft_serving.tables import Base, Moment


class LinePieceRow(Base):
    """One decision, whole as `decision`; the other columns repeat what is searched by."""

    __tablename__ = "line_piece"

    line: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seen_at: Mapped[datetime] = mapped_column(Moment)
    lane: Mapped[str] = mapped_column(String(40))
    outcome: Mapped[str] = mapped_column(String(16))
    rules_version: Mapped[str] = mapped_column(String(64))
    simulated: Mapped[bool]
    decision: Mapped[dict[str, Any]] = mapped_column(JSON)  # `weft.line.records.Decision`

    __table_args__ = (Index("ix_line_piece_seen", "line", "seen_at"),)


class LineEvidenceRow(Base):
    """What of a piece is no number. Taken away earlier than the piece itself: pictures fill disks."""

    __tablename__ = "line_evidence"

    line: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    held_bytes: Mapped[int] = mapped_column(BigInteger)
    wavelength_nm: Mapped[bytes] = mapped_column(LargeBinary)  # (L,) little-endian float32
    absorbance: Mapped[bytes] = mapped_column(LargeBinary)  # (L,) little-endian float32
    picture: Mapped[bytes | None] = mapped_column(LargeBinary)  # JPEG

    __table_args__ = (
        ForeignKeyConstraint(
            ["line", "number"], ["line_piece.line", "line_piece.number"], ondelete="CASCADE"
        ),
        Index("ix_line_evidence_held", "line", "number", "held_bytes"),  # covers the sum that retention asks
    )


class LineRulesRow(Base):
    """The text behind a rules version: a decision stays explained when its rules are long replaced."""

    __tablename__ = "line_rules"

    line: Mapped[str] = mapped_column(String(40), primary_key=True)
    version: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime] = mapped_column(Moment)  # put in force last; the newest is in force
    who: Mapped[str | None] = mapped_column(String(200))


class LineNumberRow(Base):
    """Up to where a line's numbers may be in use, stored or not: none is given twice, whatever is killed."""

    __tablename__ = "line_number"

    line: Mapped[str] = mapped_column(String(40), primary_key=True)
    reserved: Mapped[int] = mapped_column(BigInteger)


class LineAlarmRow(Base):
    __tablename__ = "line_alarm"

    line: Mapped[str] = mapped_column(String(40), primary_key=True)
    code: Mapped[str] = mapped_column(String(40), primary_key=True)
    since: Mapped[datetime] = mapped_column(Moment, primary_key=True)
    until: Mapped[datetime | None] = mapped_column(Moment)
    cause: Mapped[str] = mapped_column(Text)
    count: Mapped[int] = mapped_column(BigInteger)


class LineCheckRow(Base):
    """A piece drawn by lot to be checked by hand, and what the hand found. Neither is ever aged away."""

    __tablename__ = "line_check"

    line: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    lane: Mapped[str] = mapped_column(String(40))  # that it was drawn from
    drawn_at: Mapped[datetime] = mapped_column(Moment)
    said: Mapped[str | None] = mapped_column(Text)  # the composition as it was written
    truth: Mapped[dict[str, float] | None] = mapped_column(JSON)  # fibre -> share; {} for no textile
    checked_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        ForeignKeyConstraint(
            ["line", "number"], ["line_piece.line", "line_piece.number"], ondelete="CASCADE"
        ),
    )
