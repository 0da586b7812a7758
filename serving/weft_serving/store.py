"""The database: SQLite in a file by default, PostgreSQL by URL. The schema is updated when opened."""

import sqlite3
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from weft.errors import StoreError
from weft_serving.inserts import Inserts, failure_of, reason_of
from weft_serving.private import make_file

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_BUSY_SECONDS: Final = 10
_WRITING: Final = {"weft_begin": "BEGIN IMMEDIATE"}
_MIGRATION_LOCK: Final = 0x77656674  # any fixed number; "weft"


class Store:
    """Open sessions on one database. Made by `open_store`; safe for several threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reading = sessionmaker(engine, expire_on_commit=False)
        writing = engine.execution_options(**_WRITING)
        self._writing = sessionmaker(writing, expire_on_commit=False)
        self.inserts = Inserts(writing)  # new rows of requests that wait at the same time

    def reading(self) -> AbstractContextManager[Session]:
        """A transaction that only reads; it waits for no writer."""
        return self._session(self._reading)

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction: committed at the end, rolled back on any error."""
        return self._session(self._writing)

    @contextmanager
    def _session(self, maker: sessionmaker[Session]) -> Generator[Session, None, None]:
        """Raises StoreError where the database fails."""
        try:
            with maker.begin() as session:
                yield session
        except (SQLAlchemyError, sqlite3.Error) as error:  # the settings of a new connection are not wrapped
            raise failure_of(error) from error

    def check(self) -> None:
        """Raise StoreError unless the database answers."""
        with self.reading() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        self.inserts.close()
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Connect and migrate to the newest schema; several processes may do so at once.

    Args:
        url: `sqlite:///FILE`, or `postgresql://USER@HOST/NAME`.

    Raises:
        StoreError: The URL, the database or its schema cannot be used.
    """
    parsed = _parse(url)
    shown = parsed.render_as_string(hide_password=True)
    try:
        engine = (
            _sqlite(parsed)
            if parsed.get_backend_name() == "sqlite"
            else create_engine(parsed, pool_pre_ping=True)
        )
    except (SQLAlchemyError, ImportError) as error:
        raise StoreError(
            f"database {shown}: {reason_of(error)}; name a SQLite file or a PostgreSQL database"
        ) from error
    try:
        migrate(engine)
    except StoreError:
        engine.dispose()
        raise
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:  # a failed connect is not wrapped
        engine.dispose()
        raise StoreError(
            f"database {shown} cannot be used ({reason_of(error)}); check the URL and its rights"
        ) from error
    return Store(engine)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(
            "the database URL cannot be read; write sqlite:///FILE or postgresql://USER@HOST/NAME"
        ) from error
    if backend in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise StoreError(f"databases of kind {backend!r} are not supported; use sqlite:/// or postgresql://")
    if parsed.database in {None, "", ":memory:"}:
        raise StoreError("a SQLite database needs a file, or it is lost at once; write sqlite:///weft.db")
    return parsed


def _sqlite(url: URL) -> Engine:
    if url.database is not None and "uri" not in url.query:
        make_file(Path(url.database))
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    # SQLAlchemy's recipe for real transactions: the driver begins late and never around a schema change.
    def connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=NORMAL")

    def begin(connection: Connection) -> None:
        # IMMEDIATE for writers: one that reads first would fail at once instead of waiting its turn
        connection.exec_driver_sql(str(connection.get_execution_options().get("weft_begin", "BEGIN")))

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    return engine


def _write_ahead(engine: Engine) -> None:
    """Switch a SQLite file to WAL, so that reading does not wait for writing. Stays with the file."""
    until = time.monotonic() + _BUSY_SECONDS
    while True:
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
            return
        except Exception as error:
            # SQLite does not wait for a lock here, whatever the timeout says
            if "locked" not in str(error) or time.monotonic() > until:
                raise OperationalError("PRAGMA journal_mode=WAL", None, error) from error
            time.sleep(0.05)
        finally:
            raw.close()


def _is_newest(engine: Engine) -> bool:
    """Whether the last migration was run here; a migration's file begins with its revision."""
    # As for writing: a file that cannot be written is found out here, not by the first estimate.
    with engine.execution_options(**_WRITING).begin() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found == max(path.name for path in (MIGRATIONS / "versions").glob("*.py"))[:4]


def migrate(engine: Engine) -> None:
    """Bring the schema to the newest version, in one transaction that other processes wait for."""
    if _is_newest(engine):
        return
    from alembic import command  # a fifth of a second, which most starts do without
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    if engine.dialect.name == "sqlite":
        _write_ahead(engine)
    with engine.execution_options(**_WRITING).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreError(
                f"the database was written by another version of Weft ({error}); use that version, or a new "
                "database"
            ) from error
