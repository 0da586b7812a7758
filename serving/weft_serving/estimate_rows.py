"""Estimates in the store: rows written, found and told."""

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy.orm import Session

from weft.errors import StoreError
from weft_serving.answers import EstimateAnswer, WeightAnswer
from weft_serving.kept import forget_photos, keep_photos
from weft_serving.problems import BusyError, NotFoundError
from weft_serving.service import BundleName, Service, is_id
from weft_serving.tables import EstimateRow, now


class OvertakenError(BusyError):
    """An estimate has other photos than when it was read."""


def save_estimate(
    service: Service, row: EstimateRow, photos: Sequence[bytes], *, first: int
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
