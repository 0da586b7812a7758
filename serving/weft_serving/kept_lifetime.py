"""Kept photos that nobody needs any longer: removed so many hours after their estimate was begun."""

import asyncio
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import String, cast, select

from weft.errors import StoreError
from weft_serving.kept import forget_photos
from weft_serving.store import Store
from weft_serving.tables import EstimateRow, now
from weft_serving.watch.observe import log_line

_AT_ONCE: Final = 100  # estimates in one transaction
_MOST_SECONDS: Final = 3600.0  # between two rounds


async def forget_regularly(store: Store, *, hours: float) -> None:
    """Remove what is older than `hours`, again and again, until cancelled; a failed round is tried again."""
    since: datetime | None = None  # what is older was looked at already
    while True:
        before = now() - timedelta(hours=hours)
        try:
            forgotten = await asyncio.to_thread(forget_old, store, before=before, since=since)
        except StoreError as error:
            log_line("photos-not-removed", reason=str(error))
        else:
            if forgotten:
                log_line("photos-removed", estimates=forgotten)
            since = before - timedelta(hours=1)  # one that was being added to may have been stored late
        await asyncio.sleep(min(_MOST_SECONDS, hours * 360))


def forget_old(store: Store, *, before: datetime, since: datetime | None = None) -> int:
    """Remove the kept photos of estimates begun before `before`, and not before `since`; how many estimates.

    Photos go first and the row's word of them after: what is interrupted is done again, and nothing stays
    behind that no row tells of. Several replicas may do so at once.

    Raises:
        StoreError: The database or the place of the photos fails.
    """
    forgotten = 0
    last = ""
    query = select(EstimateRow).where(EstimateRow.created_at < before, cast(EstimateRow.kept, String) != "[]")
    if since is not None:
        query = query.where(EstimateRow.created_at >= since)
    while True:
        with store.reading() as session:
            rows = session.scalars(
                query.where(EstimateRow.id > last).order_by(EstimateRow.id).limit(_AT_ONCE)
            ).all()
        if not rows:
            return forgotten
        for row in rows:
            forget_photos(row.kept)
        ids = [row.id for row in rows]
        with store.writing() as session:
            for row in session.scalars(select(EstimateRow).where(EstimateRow.id.in_(ids)).with_for_update()):
                row.kept = []
        forgotten += len(rows)
        last = ids[-1]
