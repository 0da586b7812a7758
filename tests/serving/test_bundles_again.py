"""The same bundle once more, and files that hold another: what `rollback` finds stays what was in service."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from weft.bundle import check_seal
from weft.bundle_files import challenger_of, install_bundle, previous_of
from weft_serving.bundles import changes

TOKEN = "correct-horse-battery"
ASKED = {"Authorization": f"Bearer {TOKEN}"}
Writer = Callable[..., Path]


@pytest.fixture
def one(tiny_weight_bundle: Path) -> bytes:
    """The bundle in service at the start."""
    return tiny_weight_bundle.read_bytes()


@pytest.fixture
def two(tmp_path: Path, write_weight_bundle: Writer) -> bytes:
    return write_weight_bundle(tmp_path / "two.onnx", version="2").read_bytes()


@pytest.fixture
def file(tmp_path: Path, one: bytes) -> Path:
    """The operator's weight bundle."""
    (tmp_path / "bundles").mkdir()
    made = tmp_path / "bundles" / "weight.onnx"
    made.write_bytes(one)
    return made


@pytest.fixture
def served(start: Any, file: Path) -> TestClient:
    return start(weight=file, bundles=file.parent, admin_token=TOKEN)


def sha(data: bytes) -> str:
    return check_seal(data, source="test")


def ask(client: TestClient, way: str = "", body: bytes = b"", method: str = "POST") -> dict[str, Any]:
    reply = client.request(method, f"/v1/bundles/weight{way}", content=body, headers=ASKED)
    assert reply.status_code == 200, reply.text
    return reply.json()


def slot_of(client: TestClient) -> Any:
    return client.app.state.service.changes.slot("weight")  # type: ignore[attr-defined]


def look(client: TestClient) -> None:
    """As the watch does, after the two looks in which a file settles; no wait for its thread."""
    slot = slot_of(client)
    slot.files_changed()
    if slot.files_changed():
        slot.take_files()


@pytest.fixture(autouse=True)
def nobody_else_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LOOK_SECONDS", 600)


def test_a_push_that_is_repeated_changes_nothing_and_can_still_be_rolled_back(
    served: TestClient, file: Path, one: bytes, two: bytes
) -> None:
    first = ask(served, body=two)
    again = ask(served, body=two)

    assert (first["already"], again["already"]) == (False, True)
    assert again == first | {"already": True}
    assert again["previous"]["sha256"] == sha(one)
    assert (file.read_bytes(), previous_of(file).read_bytes()) == (two, one)

    back = ask(served, "/rollback")
    assert (back["sha256"], back["previous"]["sha256"]) == (sha(one), sha(two))
    assert (file.read_bytes(), previous_of(file).read_bytes()) == (one, two)


def test_without_a_folder_a_repeated_push_can_be_rolled_back_too(start: Any, one: bytes, two: bytes) -> None:
    client = start(admin_token=TOKEN)
    ask(client, body=two)

    assert ask(client, body=two)["already"] is True
    assert ask(client, "/rollback")["sha256"] == sha(one)


def test_a_challenger_that_is_in_service_by_now_is_let_go_and_changes_nothing(
    served: TestClient, file: Path, one: bytes, two: bytes
) -> None:
    ask(served, "/challenger", two, "PUT")
    ask(served, body=two)

    answer = ask(served, "/promote-challenger")

    assert (answer["already"], answer["sha256"], answer["challenger"]) == (True, sha(two), None)
    assert answer["previous"]["sha256"] == sha(one)
    assert (file.read_bytes(), previous_of(file).read_bytes()) == (two, one)
    assert not challenger_of(file).exists()


def test_a_file_that_is_written_again_changes_nothing(
    served: TestClient, file: Path, one: bytes, two: bytes
) -> None:
    install_bundle(file, two)  # as `weft promote` does
    look(served)
    install_bundle(file, two)
    look(served)
    file.write_bytes(two)
    look(served)

    assert slot_of(served).previous.sha256 == sha(one)
    assert previous_of(file).read_bytes() == one
    assert ask(served, "/rollback")["sha256"] == sha(one)


def test_pushing_what_is_in_service_mends_a_spoilt_file_and_keeps_the_one_before(
    served: TestClient, file: Path, one: bytes, two: bytes
) -> None:
    ask(served, body=two)
    file.write_bytes(b"rubbish")
    look(served)
    assert slot_of(served).kept is False

    again = ask(served, body=two)

    assert (again["already"], again["kept"], again["refused"]) == (True, True, None)
    assert (file.read_bytes(), previous_of(file).read_bytes()) == (two, one)


def test_what_never_was_in_service_is_not_kept_as_the_one_before(
    served: TestClient, file: Path, one: bytes, two: bytes, tmp_path: Path, write_weight_bundle: Writer
) -> None:
    three = write_weight_bundle(tmp_path / "three.onnx", version="3").read_bytes()
    install_bundle(file, two)  # and before the next look at it:
    answer = ask(served, body=three)

    assert answer["previous"]["sha256"] == sha(one)
    assert (file.read_bytes(), previous_of(file).read_bytes()) == (three, one)


def test_rubbish_does_not_take_the_place_of_the_bundle_before(file: Path, one: bytes, two: bytes) -> None:
    install_bundle(file, two)
    file.write_bytes(b"rubbish")
    install_bundle(file, two)

    assert (file.read_bytes(), previous_of(file).read_bytes()) == (two, one)


def test_the_same_bundle_beside_the_file_is_nothing_to_go_back_to(
    served: TestClient, file: Path, one: bytes
) -> None:
    previous_of(file).write_bytes(one)

    reply = served.post("/v1/bundles/weight/rollback", headers=ASKED)

    assert (reply.status_code, reply.json()["type"]) == (409, "/problems/no-other-bundle")
    assert slot_of(served).previous is None


def test_of_five_changes_at_once_the_last_is_told_to_come_again(
    served: TestClient, one: bytes, two: bytes
) -> None:
    ask(served, body=two)
    line, go_on = served.app.state.service.changes, threading.Event()  # type: ignore[attr-defined]
    four = [line.run(go_on.wait) for _ in range(4)]  # one under way, three in line

    fifth = served.post("/v1/bundles/weight/rollback", headers=ASKED)
    go_on.set()

    assert all(future.result(timeout=20) for future in four)
    assert (fifth.status_code, fifth.json()["type"]) == (503, "/problems/busy")
    assert int(fifth.headers["Retry-After"]) >= 1
    assert ask(served, "/rollback")["sha256"] == sha(one)
