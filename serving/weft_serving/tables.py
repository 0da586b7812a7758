"""The tables. Every change needs a migration: a test compares the two."""

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, Dialect, Double, ForeignKey, Index, LargeBinary, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


def now() -> datetime:
    return datetime.now(UTC)


class Moment(TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets the zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)  # SQLite would drop the zone unread

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The bundle columns repeat on every row: an answer stays explained when the bundle is long replaced."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double}


class EstimateRow(Base):
    """One parcel as it was estimated from its photos so far."""

    __tablename__ = "estimate"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now, index=True)
    updated_at: Mapped[datetime] = mapped_column(Moment, default=now)
    grams: Mapped[float | None]
    low_grams: Mapped[float | None]
    high_grams: Mapped[float | None]
    coverage: Mapped[float | None]
    photos: Mapped[list[dict[str, Any]]] = mapped_column(JSON)  # findings in order of arrival
    warnings: Mapped[list[str]] = mapped_column(JSON)
    kept: Mapped[list[str]] = mapped_column(JSON)  # paths below the folder of kept photos; empty: none kept
    parcel: Mapped[str | None] = mapped_column(String(64), index=True)
    season: Mapped[str | None] = mapped_column(String(16))
    wrap: Mapped[str | None] = mapped_column(String(16))
    mark: Mapped[str | None] = mapped_column(String(16))
    mark_mm: Mapped[float | None]
    bundle_name: Mapped[str] = mapped_column(String(200))
    bundle_version: Mapped[str] = mapped_column(String(200))
    bundle_sha256: Mapped[str] = mapped_column(String(64))
    bundle_trained_on: Mapped[str] = mapped_column(String(16))

    # No "merge" among the cascades: a row that is merged after some seconds of work would take away the
    # weighings that came in meanwhile.
    weighings: Mapped[list["WeighingRow"]] = relationship(
        order_by="WeighingRow.number", lazy="selectin", cascade="save-update, delete, delete-orphan"
    )


class WeighingRow(Base):
    """One reading of a scale. All are kept; the last one counts."""

    __tablename__ = "weighing"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    estimate_id: Mapped[str] = mapped_column(ForeignKey("estimate.id", ondelete="CASCADE"))
    grams: Mapped[float]
    weighed_at: Mapped[datetime] = mapped_column(Moment, default=now)

    __table_args__ = (Index("ix_weighing_estimate", "estimate_id", "number"),)


class CompositionRow(Base):
    """One identified scan: its spectrum (a cube's foreground mean) and the answer."""

    __tablename__ = "composition"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now, index=True)
    shares: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    unknown: Mapped[float]
    warnings: Mapped[list[str]] = mapped_column(JSON)
    instrument: Mapped[str | None] = mapped_column(String(200))
    wavelength_nm: Mapped[bytes] = mapped_column(LargeBinary)  # (L,) little-endian float32
    absorbance: Mapped[bytes] = mapped_column(LargeBinary)  # (L,) little-endian float32
    map_png: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    map_legend: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    photo_heard: Mapped[bool | None]  # None: no photo was given
    bundle_name: Mapped[str] = mapped_column(String(200))
    bundle_version: Mapped[str] = mapped_column(String(200))
    bundle_sha256: Mapped[str] = mapped_column(String(64))
    bundle_trained_on: Mapped[str] = mapped_column(String(16))


class TrialRow(Base):
    """One answer of the bundle in service and of its challenger, as figures: no photo, no spectrum."""

    __tablename__ = "trial"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    task: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime] = mapped_column(Moment)
    served_sha256: Mapped[str] = mapped_column(String(64))
    challenger_sha256: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(32))  # id of the estimate, to find its weighings
    figures: Mapped[dict[str, Any]] = mapped_column(JSON)  # see `weft_serving.bundles.comparing`

    __table_args__ = (Index("ix_trial_pair", "challenger_sha256", "served_sha256", "number"),)
