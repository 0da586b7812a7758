"""What is written about people and lines is for this service's user alone, whatever the umask."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from weft.bundle import load_bundle
from weft.bundle_files import replace_file
from weft.line.records import Alarm
from weft_serving.line.past.spill import Spill
from weft_serving.line.plant.outbox import Draft, Outbox
from weft_serving.private import open_to_others
from weft_serving.run import greeting
from weft_serving.settings import Settings
from weft_serving.tables import now

pytestmark = pytest.mark.skipif(os.name == "nt", reason="rights of POSIX")

Start = Callable[..., TestClient]


@pytest.fixture(params=[0o000, 0o022], ids=["umask-0", "umask-22"])
def lax(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def shown(lax: None) -> Iterator[Path]:
    """A folder that others may look into, down from the root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def rights(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(path.stat().st_mode & 0o777) for path in sorted(folder.rglob("*"))
    }


def test_kept_photos_and_their_folders_are_the_services_alone(
    lax: None, start: Start, tmp_path: Path, jpeg: Callable[..., bytes], photos: Callable[..., Any]
) -> None:
    client = start(keep_photos=tmp_path / "home" / "kept")
    made = client.post("/v1/estimates", files=photos(jpeg(1)))
    added = client.post(f"/v1/estimates/{made.json()['id']}/photos", files=photos(jpeg(2)))

    assert (made.status_code, added.status_code) == (200, 200)
    found = rights(tmp_path / "home")
    assert len(found) == 4  # two folders, two photos
    assert {name: mode for name, mode in found.items() if name.endswith(".jpg") and mode != "0o600"} == {}
    assert {name: mode for name, mode in found.items() if not name.endswith(".jpg") and mode != "0o700"} == {}
    assert oct((tmp_path / "home").stat().st_mode & 0o777) == "0o700"


def test_a_folder_of_the_operators_own_is_left_as_it_is(
    lax: None, start: Start, tmp_path: Path, jpeg: Callable[..., bytes], photos: Callable[..., Any]
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    kept.chmod(0o750)
    name = start(keep_photos=kept).post("/v1/estimates", files=photos(jpeg(1))).json()["id"]

    assert oct(kept.stat().st_mode & 0o777) == "0o750"
    assert rights(kept) == {name: "0o700", f"{name}/1.jpg": "0o600"}


def test_the_database_and_what_sqlite_puts_beside_it_are_the_services_alone(
    lax: None, start: Start, tmp_path: Path, jpeg: Callable[..., bytes], photos: Callable[..., Any]
) -> None:
    start(database_url=f"sqlite:///{tmp_path}/weft.db").post("/v1/estimates", files=photos(jpeg(1)))

    assert rights(tmp_path) == dict.fromkeys(("weft.db", "weft.db-shm", "weft.db-wal"), "0o600")


def test_what_a_line_has_still_to_tell_is_the_services_alone(lax: None, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox" / "demo.db")
    outbox.add([Draft("decision", "1", b"{}")])
    spill = Spill(tmp_path / "spilled" / "demo.jsonl", most_bytes=100_000)
    spill.append([Alarm(line="demo", code="store-down", cause="away", since=now(), until=None)])

    found = rights(tmp_path)
    outbox.close()
    assert {found.pop("outbox"), found.pop("spilled")} == {"0o700"}
    assert {"outbox/demo.db", "outbox/demo.db-wal", "spilled/demo.jsonl"} <= set(found)
    assert set(found.values()) == {"0o600"}


def test_a_bundle_may_be_read_by_a_server_of_another_user(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        replace_file(tmp_path / "weight.onnx", b"a bundle")
    finally:
        os.umask(before)

    assert rights(tmp_path) == {"weight.onnx": "0o644"}


def test_what_others_may_read_by_the_operators_hand_is_said_at_the_start(
    shown: Path, tiny_weight_bundle: Path, tiny_fibre_bundle: Path
) -> None:
    kept, database = shown / "kept", shown / "weft.db"
    kept.mkdir(mode=0o700)
    database.touch(mode=0o600)
    settings = Settings(keep_photos=str(kept), database_url=f"sqlite:///{database}")
    bundles: dict[str, Any] = {
        "weight": load_bundle(tiny_weight_bundle, task="weight"),
        "fibre": load_bundle(tiny_fibre_bundle, task="composition"),
        "lines": None,
    }
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def told() -> list[str]:
            return [line for line in greeting(listening, settings, **bundles) if "other users" in line]

        assert told() == []
        kept.chmod(0o755)
        database.chmod(0o644)
        assert told() == [
            f"  other users of this machine may read {path}; if they shall not: chmod go= {path}"
            for path in (database, kept)
        ]
        shown.chmod(0o700)  # nobody else gets as far as that
        assert told() == []


def test_rights_of_a_group_count_all_the_way_down(shown: Path) -> None:
    kept = shown / "kept"
    kept.mkdir()
    kept.chmod(0o750)

    assert open_to_others([kept, shown / "none"]) == [kept]
    shown.chmod(0o705)
    assert open_to_others([kept]) == []
