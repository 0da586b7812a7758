"""An empty PostgreSQL database for a test; loaded with `runpy`, as tests are no package."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def empty_database() -> Iterator[str]:
    """Its URL; skips the test where `WEFT_TEST_POSTGRES_URL` names no server."""
    server = os.environ.get("WEFT_TEST_POSTGRES_URL")
    if not server:
        pytest.skip("WEFT_TEST_POSTGRES_URL names no PostgreSQL server")
    import psycopg

    name = f"weft_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # pyright: ignore[reportArgumentType]
    yield server.rsplit("/", 1)[0] + f"/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # pyright: ignore[reportArgumentType]
