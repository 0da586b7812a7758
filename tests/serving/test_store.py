"""The store on SQLite and PostgreSQL: one schema, made by migrations, started by many at once."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from starlette.testclient import TestClient

from weft.errors import StoreError
from weft_serving.store import open_store
from weft_serving.tables import Base, EstimateRow


def test_the_migrations_make_exactly_the_tables(database_url: str) -> None:
    store = open_store(database_url)
    with store.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    store.close()

    assert found == []


def test_a_database_of_this_version_is_recognised_without_loading_the_migrations(database_url: str) -> None:
    open_store(database_url).close()
    code = (
        "import sys; from weft_serving.store import open_store\n"
        f"open_store({database_url!r}).close(); print('alembic' in sys.modules)"
    )

    again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert again.stdout.strip() == "False"


def test_an_estimate_lives_through_a_restart_on_either_database(
    start: Callable[..., TestClient], database_url: str, jpeg: Any, photos: Any, scan: Any
) -> None:
    client = start(database_url=database_url)
    made = client.post(
        "/v1/estimates", files=photos(jpeg()), data={"parcel": "Ä-1", "season": "winter"}
    ).json()
    client.post(f"/v1/estimates/{made['id']}/weighing", json={"grams": 900})
    added = client.post(f"/v1/estimates/{made['id']}/photos", files=photos(jpeg(1))).json()
    fibres = client.post("/v1/compositions", json=scan()).json()

    again = start(database_url=database_url)

    found = again.get(f"/v1/estimates/{made['id']}").json()
    assert found == added
    assert found["weighing"]["grams"] == 900
    assert len(found["photos"]) == 2
    assert again.get(f"/v1/compositions/{fibres['id']}").json() == fibres
    assert again.get("/readyz").json() == {"status": "ok"}


@pytest.mark.parametrize("name", ["%00", "nothing", "..%2F..%2Fx", "é" * 300, "A" * 32, "0" * 32])
def test_an_id_that_is_none_is_a_404_on_either_database(
    start: Callable[..., TestClient], database_url: str, name: str
) -> None:
    client = start(database_url=database_url)

    assert client.get(f"/v1/estimates/{name}").status_code == 404
    assert client.get(f"/v1/compositions/{name}").status_code == 404
    assert client.get(f"/v1/compositions/{name}/map").status_code == 404


def test_several_processes_may_start_on_an_empty_database_at_once(database_url: str) -> None:
    code = (
        f"from weft_serving.store import open_store; s = open_store({database_url!r}); s.check(); s.close()"
    )
    crew = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    told = [process.communicate(timeout=60)[1] for process in crew]

    assert [process.returncode for process in crew] == [0] * 4, told


def test_a_failed_transaction_leaves_nothing_behind(database_url: str) -> None:
    store = open_store(database_url)
    with pytest.raises(StoreError, match="the database failed"), store.writing() as session:
        session.add(EstimateRow(id="half", photos=[], warnings=[], kept=[]))  # no bundle: refused
    with store.reading() as session:
        assert session.get(EstimateRow, "half") is None
    store.close()


def test_a_database_of_a_later_version_is_refused_not_touched(database_url: str) -> None:
    store = open_store(database_url)
    with store.writing() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()

    with pytest.raises(StoreError, match="written by another version of Weft"):
        open_store(database_url)


def test_sqlite_writes_ahead_so_that_readers_do_not_wait(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/weft.db")
    with store.writing() as writer:
        writer.execute(text("DELETE FROM estimate"))
        with store.reading() as reader:
            assert reader.execute(text("SELECT count(*) FROM estimate")).scalar() == 0
    with store.engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert "estimate" in inspect(connection).get_table_names()
    store.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("no url", "cannot be read"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite:////no/such/folder/weft.db", "cannot be used"),
        ("mysql://root@localhost/x", "not supported"),
        ("postgresql://nobody:hush@127.0.0.1:1/none", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_told_in_one_line_without_its_password(
    url: str, words: str
) -> None:
    with pytest.raises(StoreError, match=words) as told:
        open_store(url)

    assert "\n" not in str(told.value)
    assert "hush" not in str(told.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weft.db").write_bytes(b"not a database at all, but long enough to look at" * 50)

    with pytest.raises(StoreError, match="cannot be used"):
        open_store(f"sqlite:///{tmp_path}/weft.db")


def test_a_database_that_was_spoilt_while_it_ran_is_a_503_that_tells_nothing_of_it(
    start: Callable[..., TestClient], tmp_path: Path
) -> None:
    client = start()
    client.app.state.service.store.close()  # the next request opens a new connection
    for path in tmp_path.glob("weft.db*"):
        path.write_bytes(b"no database any more" * 100)

    for reply in (client.get("/readyz"), client.get(f"/v1/estimates/{'0' * 32}")):
        assert reply.status_code == 503, reply.text
        assert int(reply.headers["retry-after"]) > 0
        assert "weft.db" not in reply.text
