"""Bundles that change while the service runs: posted, put into the folder, taken back, refused."""

import gc
import threading
import time
import weakref
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


@pytest.fixture(autouse=True)
def looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LOOK_SECONDS", 0.05)


@pytest.fixture
def folder(tmp_path: Path, tiny_weight_bundle: Path, tiny_fibre_bundle: Path) -> Path:
    """The operator's folder of bundles."""
    made = tmp_path / "bundles"
    made.mkdir()
    (made / "weight.onnx").write_bytes(tiny_weight_bundle.read_bytes())
    (made / "fibre.onnx").write_bytes(tiny_fibre_bundle.read_bytes())
    return made


@pytest.fixture
def heavier(tmp_path: Path, write_weight_bundle: Writer) -> bytes:
    """Another weight bundle: its interval is missing, so its answers cannot be mistaken."""
    return write_weight_bundle(tmp_path / "other.onnx", version="2", coverage=None).read_bytes()


@pytest.fixture
def served(start: Any, folder: Path) -> TestClient:
    """A service on the folder that may be changed."""
    return start(
        weight=folder / "weight.onnx",
        fibre=folder / "fibre.onnx",
        bundles=folder,
        admin_token=TOKEN,
        shadow_share=1.0,
    )


def sha(data: bytes) -> str:
    return check_seal(data, source="test")


def standing(client: TestClient, task: str = "weight") -> dict[str, Any]:
    return next(bundle for bundle in client.get("/v1/bundles").json()["bundles"] if bundle["task"] == task)


def wait_for(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def running(client: TestClient) -> Any:
    return client.app.state.service.models.weight  # type: ignore[attr-defined]


def weigh(client: TestClient, photos: Any, jpeg: Any) -> dict[str, Any]:
    reply = client.post("/v1/estimates", files=photos(jpeg()))
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_posted_bundle_answers_the_next_request_and_lies_in_the_folder(
    served: TestClient, folder: Path, heavier: bytes, photos: Any, jpeg: Any
) -> None:
    before = standing(served)
    reply = served.post("/v1/bundles/weight", content=heavier, headers=ASKED)

    assert reply.status_code == 200, reply.text
    assert (reply.json()["sha256"], reply.json()["version"], reply.json()["kept"]) == (
        sha(heavier),
        "2",
        True,
    )
    assert reply.json()["previous"]["sha256"] == before["sha256"]
    answer = weigh(served, photos, jpeg)
    assert answer["bundle"]["sha256"] == sha(heavier)
    assert answer["low_grams"] is None
    assert (folder / "weight.onnx").read_bytes() == heavier
    assert sha(previous_of(folder / "weight.onnx").read_bytes()) == before["sha256"]
    assert standing(served, "composition")["previous"] is None


def test_a_rollback_brings_the_one_before_back_and_a_second_one_returns(
    served: TestClient, folder: Path, heavier: bytes
) -> None:
    first = standing(served)["sha256"]
    served.post("/v1/bundles/weight", content=heavier, headers=ASKED)

    back = served.post("/v1/bundles/weight/rollback", headers=ASKED).json()
    assert (back["sha256"], back["previous"]["sha256"], back["kept"]) == (first, sha(heavier), True)
    assert sha((folder / "weight.onnx").read_bytes()) == first

    forth = served.post("/v1/bundles/weight/rollback", headers=ASKED).json()
    assert (forth["sha256"], forth["kept"]) == (sha(heavier), True)
    time.sleep(10 * changes.LOOK_SECONDS)  # the watch looks at what we wrote ourselves
    assert standing(served)["sha256"] == sha(heavier)


def test_without_another_bundle_there_is_nothing_to_go_back_to(served: TestClient) -> None:
    reply = served.post("/v1/bundles/weight/rollback", headers=ASKED)

    assert reply.status_code == 409
    assert reply.json()["type"] == "/problems/no-other-bundle"
    assert "post the one you want" in reply.json()["detail"]


def test_after_a_restart_the_one_in_the_folder_can_still_be_rolled_back_to(
    served: TestClient, folder: Path, heavier: bytes
) -> None:
    previous_of(folder / "weight.onnx").write_bytes(heavier)

    assert served.post("/v1/bundles/weight/rollback", headers=ASKED).json()["sha256"] == sha(heavier)


@pytest.mark.parametrize("way", ["post", "rollback", "challenger", "promote-challenger", "delete"])
def test_without_the_token_nothing_can_be_changed(served: TestClient, way: str, heavier: bytes) -> None:
    path = {"post": "", "delete": "/challenger"}.get(way, f"/{way}")
    method = {"challenger": "PUT", "delete": "DELETE"}.get(way, "POST")
    body = heavier if way in {"post", "challenger"} else b""
    wrong = ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"X-Token": TOKEN})
    for headers in wrong:
        reply = served.request(method, f"/v1/bundles/weight{path}", content=body, headers=headers)
        assert reply.status_code == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert standing(served)["previous"] is None


def test_where_no_token_is_set_changes_are_off_whatever_is_sent(start: Any, heavier: bytes) -> None:
    client = start()
    for headers in ({}, ASKED, {"Authorization": "Bearer "}):
        reply = client.post("/v1/bundles/weight", content=heavier, headers=headers)
        assert reply.status_code == 403
        assert "WEFT_ADMIN_TOKEN" in reply.json()["detail"]


def test_what_is_no_bundle_of_this_task_is_refused_by_its_fault_and_told(
    served: TestClient, folder: Path, heavier: bytes, tiny_fibre_bundle: Path, photos: Any, jpeg: Any
) -> None:
    first = standing(served)["sha256"]
    flipped = bytearray(heavier)
    flipped[len(flipped) // 2] ^= 1
    faults = {
        "not a Weft bundle": b"garbage" * 1000,
        "cut short": heavier[:-100],
        "does not match its seal": bytes(flipped),
        "a bundle for composition, needed one for weight": tiny_fibre_bundle.read_bytes(),
    }
    for words, data in faults.items():
        reply = served.post("/v1/bundles/weight", content=data, headers=ASKED)
        assert (reply.status_code, reply.json()["type"]) == (422, "/problems/bad-bundle")
        assert words in reply.json()["detail"]
        assert words in standing(served)["refused"]["reason"]
    assert 'weft_bundle_refused{task="weight"} 1.0' in served.get("/metrics").text
    assert weigh(served, photos, jpeg)["bundle"]["sha256"] == first
    assert sha((folder / "weight.onnx").read_bytes()) == first
    assert sorted(path.name for path in folder.iterdir()) == ["fibre.onnx", "weight.onnx"]

    served.post("/v1/bundles/weight", content=heavier, headers=ASKED)
    assert standing(served)["refused"] is None
    assert 'weft_bundle_refused{task="weight"} 0.0' in served.get("/metrics").text


def test_other_requests_for_bundles_are_told_what_is_needed(served: TestClient) -> None:
    def told(path: str, **sent: Any) -> tuple[int, str]:
        reply = served.post(path, headers=ASKED | sent.pop("headers", {}), **sent)
        return reply.status_code, reply.json()["detail"]

    assert told("/v1/bundles/shoes") == (404, "no bundle is for 'shoes'; there are weight and composition")
    assert told("/v1/bundles/belt")[0] == 422
    assert "restart" in told("/v1/bundles/belt")[1]
    assert told("/v1/bundles/weight") == (422, "no bundle was sent; send its file as the body")
    assert "--data-binary" in told("/v1/bundles/weight", files={"file": b"x"})[1]
    assert told("/v1/bundles/weight", content=b"0" * 3_000_000)[0] == 422
    assert told("/v1/bundles/weight", content=b"0" * 60_100_000)[0] == 413
    assert told("/v1/bundles/weight/promote-challenger")[0] == 409


def test_a_folder_that_cannot_be_written_refuses_the_change(
    start: Any, tiny_weight_bundle: Path, tmp_path: Path, heavier: bytes
) -> None:
    (tmp_path / "a file").write_text("in the way")
    client = start(bundles=tmp_path / "a file", admin_token=TOKEN)

    reply = client.post("/v1/bundles/weight", content=heavier, headers=ASKED)

    assert (reply.status_code, reply.json()["type"]) == (503, "/problems/bad-store")
    assert "weight.onnx cannot be written, so nothing has changed" in reply.json()["detail"]
    assert standing(client)["previous"] is None


def test_without_a_folder_a_bundle_serves_until_the_restart_and_says_so(
    start: Any, heavier: bytes, tiny_weight_bundle: Path
) -> None:
    client = start(admin_token=TOKEN)

    assert client.post("/v1/bundles/weight", content=heavier, headers=ASKED).json()["kept"] is False
    assert client.post("/v1/bundles/weight/rollback", headers=ASKED).json()["kept"] is True
    assert standing(client)["sha256"] == sha(tiny_weight_bundle.read_bytes())


def test_a_promoted_file_is_taken_up_by_itself(served: TestClient, folder: Path, heavier: bytes) -> None:
    install_bundle(folder / "weight.onnx", heavier)  # as `weft promote` does

    wait_for(lambda: standing(served)["sha256"] == sha(heavier))
    assert standing(served)["kept"] is True
    assert served.post("/v1/bundles/weight/rollback", headers=ASKED).json()["kept"] is True


def test_rubbish_in_the_folder_is_told_and_leaves_the_old_one_in_service(
    served: TestClient, folder: Path, heavier: bytes, tiny_fibre_bundle: Path
) -> None:
    first = standing(served)["sha256"]
    file = folder / "weight.onnx"
    faults: dict[str, Callable[[], object]] = {
        "not a Weft bundle": lambda: file.write_bytes(b"garbage"),
        "a bundle for composition": lambda: file.write_bytes(tiny_fibre_bundle.read_bytes()),
        "or cut short": lambda: file.write_bytes(heavier[:5000]),
        "is gone": file.unlink,
        "cannot be read": file.mkdir,
    }
    for words, spoil in faults.items():
        spoil()
        wait_for(lambda words=words: words in ((standing(served)["refused"] or {}).get("reason", "")))
        assert (standing(served)["sha256"], standing(served)["kept"]) == (first, False)
        assert str(folder) not in standing(served)["refused"]["reason"]

    file.rmdir()
    file.write_bytes(heavier)
    wait_for(lambda: standing(served)["sha256"] == sha(heavier))
    assert standing(served)["refused"] is None


def test_changes_that_come_at_once_are_made_one_after_the_other(
    served: TestClient, folder: Path, heavier: bytes, tiny_weight_bundle: Path
) -> None:
    both = (heavier, tiny_weight_bundle.read_bytes())
    statuses: list[int] = []

    def post(data: bytes) -> None:
        statuses.append(served.post("/v1/bundles/weight", content=data, headers=ASKED).status_code)

    threads = [threading.Thread(target=post, args=(both[n % 2],)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 4
    found = standing(served)
    assert found["kept"] is True
    assert sha((folder / "weight.onnx").read_bytes()) == found["sha256"]


def test_photos_prepared_for_another_scale_are_not_mixed_with_new_ones(
    served: TestClient, tmp_path: Path, write_weight_bundle: Writer, photos: Any, jpeg: Any
) -> None:
    same = write_weight_bundle(tmp_path / "same.onnx", version="2").read_bytes()
    finer = write_weight_bundle(tmp_path / "finer.onnx", version="3", weight={"decode_px": 640}).read_bytes()
    estimate = weigh(served, photos, jpeg)["id"]

    served.post("/v1/bundles/weight", content=same, headers=ASKED)
    added = served.post(f"/v1/estimates/{estimate}/photos", files=photos(jpeg(1)))
    assert (added.status_code, added.json()["bundle"]["version"]) == (200, "2")

    served.post("/v1/bundles/weight", content=finer, headers=ASKED)
    gone = served.post(f"/v1/estimates/{estimate}/photos", files=photos(jpeg(2)))
    assert (gone.status_code, gone.json()["type"]) == (410, "/problems/photos-gone")


def test_a_photo_added_after_a_swap_has_all_verdicts_from_the_new_bundle(
    served: TestClient, tmp_path: Path, write_weight_bundle: Writer, photos: Any, jpeg: Any
) -> None:
    rule = {
        "hit_rate": 1,
        "refusal_rate": 1,
        "false_alarm_rate": 0,
        "false_refusal_rate": 0,
        "faulty_photos": 9,
    }
    rules = [
        rule | {"word": word, "advise_above": bound, "refuse_above": 1, "good_photos": 9, "simulated": True}
        for word, bound in (("screen", 0.0), ("covered", 1.0))
    ]
    strict = write_weight_bundle(tmp_path / "strict.onnx", version="2", weight={"advice": rules}).read_bytes()
    estimate = weigh(served, photos, jpeg)
    assert estimate["photos"][0]["advice"] == []

    served.post("/v1/bundles/weight", content=strict, headers=ASKED)
    added = served.post(f"/v1/estimates/{estimate['id']}/photos", files=photos(jpeg(1))).json()

    assert [photo["advice"] for photo in added["photos"]] == [["screen"], ["screen"]]


def test_what_is_replaced_is_kept_as_a_file_and_no_longer_runs(served: TestClient, heavier: bytes) -> None:
    first, gone = standing(served)["sha256"], weakref.ref(running(served).bundle)

    served.post("/v1/bundles/weight", content=heavier, headers=ASKED)
    gc.collect()

    assert gone() is None
    assert served.post("/v1/bundles/weight/rollback", headers=ASKED).json()["sha256"] == first


def test_without_a_file_the_one_before_runs_on_and_the_one_before_that_is_freed(
    start: Any, heavier: bytes, tmp_path: Path, write_weight_bundle: Writer
) -> None:
    third = write_weight_bundle(tmp_path / "third.onnx", version="3").read_bytes()
    client = start(admin_token=TOKEN)
    client.post("/v1/bundles/weight", content=heavier, headers=ASKED)
    gone = weakref.ref(running(client).bundle)

    client.post("/v1/bundles/weight", content=third, headers=ASKED)
    gc.collect()
    assert gone() is not None  # for a rollback
    client.post("/v1/bundles/weight", content=heavier, headers=ASKED)
    gc.collect()
    assert gone() is None


def test_a_stream_names_the_bundle_of_each_answer_across_a_swap(
    served: TestClient, heavier: bytes, jpeg: Any
) -> None:
    first = standing(served)["sha256"]
    with served.websocket_connect("/v1/stream") as line:
        line.send_json({"task": "weight"})
        line.send_bytes(jpeg())
        before = line.receive_json()
        served.post("/v1/bundles/weight", content=heavier, headers=ASKED)
        line.send_bytes(jpeg())
        after = line.receive_json()

    assert (before["bundle"]["sha256"], before["low_grams"] is None) == (first, False)
    assert (after["bundle"]["sha256"], after["low_grams"] is None) == (sha(heavier), True)


def test_a_challenger_in_the_folder_is_put_on_trial_and_leaves_with_its_file(
    served: TestClient, folder: Path, heavier: bytes
) -> None:
    challenger_of(folder / "weight.onnx").write_bytes(heavier)
    wait_for(lambda: (standing(served)["challenger"] or {}).get("sha256") == sha(heavier))

    challenger_of(folder / "weight.onnx").unlink()
    wait_for(lambda: standing(served)["challenger"] is None)


@pytest.mark.parametrize("way", ["estimate", "added photo", "stream"])
def test_a_swap_in_the_middle_of_a_request_leaves_it_its_bundle(
    served: TestClient, heavier: bytes, photos: Any, jpeg: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    first, model = standing(served)["sha256"], running(served)
    estimate = weigh(served, photos, jpeg)["id"]
    slot = served.app.state.service.changes.slot("weight")  # type: ignore[attr-defined]
    weighs = model.weigher.weigh

    def swapped_meanwhile(*asked: Any, **known: Any) -> Any:
        slot.install(heavier, "a test")
        return weighs(*asked, **known)

    monkeypatch.setattr(model.weigher, "weigh", swapped_meanwhile)
    if way == "estimate":
        answer = weigh(served, photos, jpeg)
    elif way == "added photo":
        answer = served.post(f"/v1/estimates/{estimate}/photos", files=photos(jpeg(1))).json()
    else:
        with served.websocket_connect("/v1/stream") as line:
            line.send_json({"task": "weight"})
            line.send_bytes(jpeg())
            answer = line.receive_json()

    assert standing(served)["sha256"] == sha(heavier)
    assert (answer["bundle"]["sha256"], answer["low_grams"] is None) == (first, False)
