"""New rows of many clients share a commit: nobody is answered before it, and none pays for another's row."""

import asyncio
import sqlite3
import uuid
from collections.abc import Callable
from typing import Any, cast

import pytest
from sqlalchemy import Table, select, text
from starlette.testclient import TestClient

from weft.errors import StoreError
from weft_serving.problems import BusyError
from weft_serving.store import Store, open_store
from weft_serving.tables import EstimateRow, now

ESTIMATES = cast(Table, EstimateRow.__table__)


def row(**changes: Any) -> dict[str, Any]:
    at = now()
    blank = dict.fromkeys(column.name for column in ESTIMATES.columns)
    return blank | {
        "id": uuid.uuid4().hex, "created_at": at, "updated_at": at, "photos": [], "warnings": [], "kept": [],
        "bundle_name": "b", "bundle_version": "1", "bundle_sha256": "0" * 64, "bundle_trained_on": "real",
    } | changes  # fmt: skip


def stored(store: Store) -> set[str]:
    with store.reading() as session:
        return set(session.scalars(select(EstimateRow.id)))


async def add_all(store: Store, rows: list[dict[str, Any]]) -> list[BaseException | None]:
    return await asyncio.gather(
        *(store.inserts.add(ESTIMATES, values) for values in rows), return_exceptions=True
    )


def test_rows_that_wait_together_share_a_commit(database_url: str) -> None:
    store = open_store(database_url)
    rows = [row() for _ in range(40)]

    assert asyncio.run(add_all(store, rows)) == [None] * 40
    assert stored(store) == {values["id"] for values in rows}
    assert store.inserts.commits <= 2
    store.close()


def test_a_row_is_in_the_database_when_its_client_is_told(database_url: str) -> None:
    store = open_store(database_url)

    async def one_after_another() -> None:
        for _ in range(3):
            values = row()
            await store.inserts.add(ESTIMATES, values)
            assert values["id"] in stored(store)

    asyncio.run(one_after_another())
    store.close()


def test_a_row_that_cannot_be_stored_fails_alone(database_url: str) -> None:
    store = open_store(database_url)
    good = [row() for _ in range(3)]
    twice, unnamed, odd = row(id=good[0]["id"]), row(bundle_name=None), row(photos=[object()])

    told = asyncio.run(add_all(store, [good[0], twice, good[1], unnamed, odd, good[2]]))

    assert [told[place] for place in (0, 2, 5)] == [None] * 3
    assert all(isinstance(told[place], StoreError) for place in (1, 3)), told
    assert isinstance(told[4], StoreError | TypeError)  # a fault of ours; drivers name it differently
    assert stored(store) == {values["id"] for values in good}
    store.close()


def test_a_database_that_comes_back_takes_the_next_rows(database_url: str) -> None:
    store = open_store(database_url)
    with store.writing() as session:
        session.execute(text("ALTER TABLE estimate RENAME TO away"))
    told = asyncio.run(add_all(store, [row(), row()]))
    with store.writing() as session:
        session.execute(text("ALTER TABLE away RENAME TO estimate"))
    back = row()

    assert all(isinstance(error, StoreError) for error in told)
    assert asyncio.run(add_all(store, [back])) == [None]
    assert stored(store) == {back["id"]}
    store.close()


def test_rows_without_end_are_refused_while_the_database_stands_still(tmp_path: Any) -> None:
    store = open_store(f"sqlite:///{tmp_path}/weft.db")
    other = sqlite3.connect(tmp_path / "weft.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    async def too_many() -> list[BaseException | None]:
        asyncio.get_running_loop().call_later(0.1, other.rollback)
        return await add_all(store, [row() for _ in range(5_000)])

    told = asyncio.run(too_many())

    other.close()
    refused = sum(isinstance(error, BusyError) for error in told)
    assert 0 < refused < 1_000
    assert len(stored(store)) == 5_000 - refused
    store.close()


def test_a_failing_database_is_a_503_and_the_next_estimate_is_stored(
    start: Callable[..., TestClient], database_url: str, jpeg: Any, photos: Any
) -> None:
    client = start(database_url=database_url)
    store: Store = client.app.state.service.store  # type: ignore[attr-defined]
    with store.writing() as session:
        session.execute(text("ALTER TABLE estimate RENAME TO away"))
    failed = client.post("/v1/estimates", files=photos(jpeg()))
    with store.writing() as session:
        session.execute(text("ALTER TABLE away RENAME TO estimate"))
    made = client.post("/v1/estimates", files=photos(jpeg()))

    assert failed.status_code == 503
    assert failed.json()["type"] == "/problems/bad-store"
    assert made.status_code == 200
    assert client.get(f"/v1/estimates/{made.json()['id']}").json() == made.json()


def test_photos_of_an_estimate_that_was_not_stored_are_not_kept(
    start: Callable[..., TestClient], tmp_path: Any, jpeg: Any, photos: Any
) -> None:
    client = start(keep_photos=str(tmp_path / "photos"))
    store: Store = client.app.state.service.store  # type: ignore[attr-defined]
    with store.writing() as session:
        session.execute(text("ALTER TABLE estimate RENAME TO away"))

    assert client.post("/v1/estimates", files=photos(jpeg())).status_code == 503
    assert not [path for path in (tmp_path / "photos").rglob("*") if path.is_file()]


@pytest.mark.postgres
def test_connections_that_a_server_cut_are_made_anew(database_url: str) -> None:
    store = open_store(database_url)
    if store.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no server")
    asyncio.run(add_all(store, [row()]))
    with store.reading() as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    assert asyncio.run(add_all(store, [row(), row()])) == [None, None]
    store.close()


def test_the_first_row_of_a_commit_waits_for_others_as_long_as_it_is_told(tmp_path: Any) -> None:
    store = open_store(f"sqlite:///{tmp_path}/weft.db")
    store.inserts.gather_s = lambda: 0.2

    async def one_by_one() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(store.inserts.add(ESTIMATES, row()))
                await asyncio.sleep(0.01)

    asyncio.run(one_by_one())

    assert len(stored(store)) == 3
    assert store.inserts.commits == 1
    store.close()
