"""Things that are dear to make, made once a session."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with a fresh MLflow database: its first migration takes seven seconds."""
    folder = tmp_path_factory.mktemp("registry")
    from weft_training.track import open_client

    open_client(None, folder)
    return folder


@pytest.fixture
def runs(empty_registry: Path, tmp_path: Path) -> Path:
    """A folder of runs of the test's own."""
    return Path(shutil.copytree(empty_registry, tmp_path / "runs"))
