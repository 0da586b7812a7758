"""Estimates in the store: rows written, found and told."""

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast

from sqlalchemy import Table
from sqlalchemy.orm import Session

from weft.errors import StoreError
from weft.photos import PhotoFile
from weft_serving.answers import EstimateAnswer, WeightAnswer
from weft_serving.circumstances import ParcelFields
from weft_serving.kept import forget_photos, keep_photos
from weft_serving.problems import BusyError, NotFoundError
from weft_serving.service import BundleName, Service, is_id
from weft_serving.tables import EstimateRow, now


class OvertakenError(BusyError):
    """An estimate has other photos than when it was read."""


class NewEstimate(NamedTuple):
    answer: EstimateAnswer
    values: dict[str, Any]  # every column of its row


def new_estimate(answer: WeightAnswer, bundle: BundleName, fields: ParcelFields) -> NewEstimate:
    """What is answered and what is stored for a parcel that was not weighed before."""
    made = EstimateAnswer(
        id=uuid.uuid4().hex,
        grams=answer.grams,
        low_grams=answer.low_grams,
        high_grams=answer.high_grams,
        coverage=answer.coverage,
        photos=answer.photos,
        warnings=answer.warnings,
        weighing=None,
        bundle=bundle,
    )
    at = now()
    values = {
        "id": made.id,
        "created_at": at,
        "updated_at": at,
        "grams": made.grams,
        "low_grams": made.low_grams,
        "high_grams": made.high_grams,
        "coverage": made.coverage,
        "photos": [photo.model_dump(mode="json") for photo in made.photos],
        "warnings": made.warnings,
        "kept": [],
        "parcel": fields.parcel,
        "season": fields.season,
        "wrap": fields.wrap,
        "mark": fields.mark,
        "mark_mm": fields.mark_mm,
        "bundle_name": bundle.name,
        "bundle_version": bundle.version,
        "bundle_sha256": bundle.sha256,
        "bundle_trained_on": bundle.trained_on,
    }
    return NewEstimate(made, values)


def keep_new(service: Service, new: NewEstimate, photos: Sequence[PhotoFile]) -> None:
    """Write its photos where the operator keeps them; for a thread, before it is stored."""
    place = service.settings.keep_photos
    if place is not None:
        new.values["kept"] = keep_photos(place, new.answer.id, photos, first=1)


async def store_new(service: Service, new: NewEstimate) -> None:
    """Store it, together with others that come at the same time; it and its kept photos, both or neither.

    Raises:
        StoreError: The database failed.
    """
    started = time.perf_counter()
    try:
        await service.store.inserts.add(_ESTIMATES, new.values)
    except Exception:  # not where its client left: its row may still be written
        with suppress(StoreError):
            await asyncio.to_thread(forget_photos, new.values["kept"])
        raise
    finally:
        service.metrics.spent("store", time.perf_counter() - started)


_ESTIMATES: Final = cast(Table, EstimateRow.__table__)


def save_estimate(
    service: Service, row: EstimateRow, photos: Sequence[PhotoFile], *, first: int
) -> EstimateAnswer:
    """Store the row, and its new photos where the operator keeps them, both or neither; what stands then.

    Raises:
        OvertakenError: Another replica has added a photo since the row was read; nothing is stored.
    """
    place = service.settings.keep_photos
    kept: list[str] = []
    try:
        with service.metrics.stage("store"):
            if place is not None and len(row.kept) == first - 1:
                kept = keep_photos(place, row.id, photos, first=first)
                row.kept = [*row.kept, *kept]
            with service.store.writing() as session:
                if first > 1 and _photos_stored(session, row.id) != first - 1:
                    raise OvertakenError("photos are being added to this estimate elsewhere; try again")
                stored = session.merge(row)
                session.flush()
                return answer_of(stored)  # with a weighing that came in meanwhile
    except BaseException:
        with suppress(StoreError):  # the first error is the one to tell
            forget_photos(kept)
        raise


def _photos_stored(session: Session, estimate_id: str) -> int:
    """How many photos an estimate has now; its row stays locked until the transaction ends."""
    row = session.get(EstimateRow, estimate_id, with_for_update=True)
    return 0 if row is None else len(row.photos)


def fill_row(row: EstimateRow, answer: WeightAnswer, bundle: BundleName) -> None:
    row.grams, row.low_grams, row.high_grams = answer.grams, answer.low_grams, answer.high_grams
    row.coverage = answer.coverage
    row.photos = [photo.model_dump(mode="json") for photo in answer.photos]
    row.warnings = answer.warnings
    row.updated_at = now()
    row.bundle_name, row.bundle_version = bundle.name, bundle.version
    row.bundle_sha256, row.bundle_trained_on = bundle.sha256, bundle.trained_on


def answer_of(row: EstimateRow) -> EstimateAnswer:
    last = row.weighings[-1] if row.weighings else None
    return EstimateAnswer.model_validate(
        {
            "id": row.id,
            "grams": row.grams,
            "low_grams": row.low_grams,
            "high_grams": row.high_grams,
            "coverage": row.coverage,
            "photos": row.photos,
            "warnings": row.warnings,
            "weighing": {"grams": last.grams, "weighed_at": last.weighed_at} if last else None,
            "bundle": {
                "name": row.bundle_name,
                "version": row.bundle_version,
                "sha256": row.bundle_sha256,
                "trained_on": row.bundle_trained_on,
            },
        }
    )


def find_estimate(session: Session, estimate_id: str) -> EstimateRow:
    row = session.get(EstimateRow, estimate_id) if is_id(estimate_id) else None
    if row is None:
        raise NotFoundError(
            f"there is no estimate {estimate_id[:64]!r}; use the `id` of an answer of this server"
        )
    return row
