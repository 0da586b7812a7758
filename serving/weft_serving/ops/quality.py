"""How good the answers in the database are: coverage by the weighings that came in, and drift.

Nothing is counted while requests are answered; the newest rows of the bundles in service are read now and
then. Replicas on one database therefore say the same, and a restart forgets nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from weft.bundle import Bundle
from weft.cells import cell_of, name_of_cell
from weft_serving.bundles.models import Models
from weft_serving.ops.verdicts import (
    ALL,
    Coverage,
    Drift,
    Seen,
    Weighed,
    Width,
    judge_cells,
    judge_shares,
    judge_strangers,
    judge_widths,
)
from weft_serving.store import Store
from weft_serving.tables import CompositionRow, EstimateRow, WeighingRow, now

WEIGHED: Final = 2_000  # the newest weighed estimates, that coverage is judged by
RECENT: Final = 500  # the newest estimates, that drift is judged by
SCANS: Final = 200  # the newest scans, against so many before them:
EARLIER_SCANS: Final = 2_000
_MOST_WIDTH: Final = 1_000.0  # of an interval down to 0 g
# Said of a photo before the graph sees it, so that its strangeness is not known.
_UNSEEN: Final = frozenset({"broken", "too_small", "dark", "blurred", "repeated"})


@dataclass(frozen=True, slots=True)
class Quality:
    """Of the bundles in service; a group, or a test, that cannot be judged yet says how far it is."""

    at: datetime
    weight_sha256: str
    fibre_sha256: str
    coverage: tuple[Coverage, ...]  # all of them first, then by group; empty: no weighing or no interval
    strangers: Drift | None  # None: the bundle says nothing of strangeness
    width: Width
    unknown_scans: Drift


def read_quality(store: Store, models: Models) -> Quality:
    """Read and judge; some tens of milliseconds, in a thread.

    Raises:
        StoreError: The database does not answer.
    """
    weight, fibre = models.weight.bundle, models.fibre.bundle
    with store.reading() as session:
        weighed = _weighed(session, weight)
        seen = _seen(session, weight)
        unknown = _unknown(session, fibre)
    card = weight.card
    shift = None if card.weight is None else card.weight.shift
    return Quality(
        at=now(),
        weight_sha256=weight.sha256,
        fibre_sha256=fibre.sha256,
        coverage=() if card.coverage is None else judge_cells(weighed, card.coverage),
        strangers=None if shift is None else judge_strangers(seen, shift.false_alarm_rate),
        width=judge_widths(seen, expected_widths(card.metrics)),
        unknown_scans=judge_shares(unknown[:SCANS], unknown[SCANS:]),
    )


def expected_widths(metrics: Mapping[str, float]) -> dict[str, float]:
    """Median upper over lower end of intervals at export, by group; `ALL` for groups not measured."""
    found = {
        name.removeprefix("group.").removesuffix(".width_ratio"): value
        for name, value in metrics.items()
        if name.startswith("group.") and name.endswith(".width_ratio")
    }
    for mode in ("one", "all"):
        found.setdefault(ALL, metrics.get(f"{mode}.width_ratio", float("nan")))
    return {name: value for name, value in found.items() if 1 <= value < float("inf")}


def _weighed(session: Session, bundle: Bundle) -> list[Weighed]:
    """The newest first; an estimate that was weighed twice counts by its last weighing."""
    last = (
        select(WeighingRow.grams)
        .where(WeighingRow.estimate_id == EstimateRow.id)
        .order_by(WeighingRow.number.desc())
        .limit(1)
        .correlate(EstimateRow)
        .scalar_subquery()
    )
    newest = (
        select(WeighingRow.estimate_id)
        .join(EstimateRow, EstimateRow.id == WeighingRow.estimate_id)
        .where(EstimateRow.bundle_sha256 == bundle.sha256, EstimateRow.low_grams.is_not(None))
        .order_by(WeighingRow.number.desc())
        .limit(WEIGHED)
    )
    rows = session.execute(select(*_SEEN, last.label("weighed")).where(EstimateRow.id.in_(newest)))
    found: list[Weighed] = []
    for row in rows:
        cell = _cell(row.photos)
        if cell is not None and row.low_grams is not None:
            held = row.low_grams <= row.weighed <= row.high_grams
            found.append(Weighed(row.parcel or row.id, cell, held))
    return found


def _seen(session: Session, bundle: Bundle) -> list[Seen]:
    rows = session.execute(
        select(*_SEEN)
        .where(EstimateRow.bundle_sha256 == bundle.sha256)
        .order_by(EstimateRow.created_at.desc())
        .limit(RECENT)
    )
    return [
        Seen(
            row.parcel or row.id,
            _cell(row.photos),
            _ratio(row.low_grams, row.high_grams),
            _strange(row.photos),
        )
        for row in rows
    ]


_SEEN: Final = (
    EstimateRow.id, EstimateRow.parcel, EstimateRow.low_grams, EstimateRow.high_grams, EstimateRow.photos,
)  # fmt: skip


def _unknown(session: Session, bundle: Bundle) -> list[bool]:
    """Whether the newest scans looked like no known textile; the newest first."""
    section = bundle.card.composition
    assert section is not None  # load_bundle has checked the task
    rows = session.scalars(
        select(CompositionRow.unknown)
        .where(CompositionRow.bundle_sha256 == bundle.sha256)
        .order_by(CompositionRow.created_at.desc())
        .limit(SCANS + EARLIER_SCANS)
    )
    return [value >= section.unknown_threshold for value in rows]


def _cell(photos: Sequence[Mapping[str, Any]]) -> str | None:
    usable = [photo for photo in photos if photo["usable"]]
    if not usable:
        return None
    return name_of_cell(cell_of(len(usable), marked=any(photo["mark"] for photo in usable)))


def _ratio(low: float | None, high: float | None) -> float | None:
    if low is None or high is None:
        return None
    return min(_MOST_WIDTH, high / low) if low > 0 else _MOST_WIDTH


def _strange(photos: Sequence[Mapping[str, Any]]) -> bool | None:
    judged = (photo["advice"] for photo in photos if not _UNSEEN & set(photo["advice"]))
    advice = next(judged, None)
    return None if advice is None else "unfamiliar" in advice
