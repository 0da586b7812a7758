"""A challenger beside the bundle in service: asked the same, compared, never heard, promoted or let go."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from weft.bundle import check_seal
from weft.bundle_files import challenger_of
from weft_serving.bundles import trial as trials
from weft_serving.bundles.models import Model

TOKEN = "correct-horse-battery"
ASKED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "_FLUSH_SECONDS", 0.0)


@pytest.fixture
def client(start: Any) -> TestClient:
    return start(admin_token=TOKEN, shadow_share=1.0)


@pytest.fixture
def challenger(heavier_weight_bundle: Callable[..., Path]) -> bytes:
    return heavier_weight_bundle(more_grams=500.0).read_bytes()


def put(client: TestClient, data: bytes, task: str = "weight") -> dict[str, Any]:
    reply = client.put(f"/v1/bundles/{task}/challenger", content=data, headers=ASKED)
    assert reply.status_code == 200, reply.text
    return reply.json()


def report(client: TestClient, task: str = "weight") -> dict[str, Any]:
    reply = client.get(f"/v1/bundles/{task}/challenger")
    assert reply.status_code == 200, reply.text
    return reply.json()


def wait_for(condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def weigh_one(client: TestClient, file: bytes, photos: Any) -> dict[str, Any]:
    """Weigh it and wait until the challenger has had its turn, so that none is dropped."""
    trial: trials.Trial = client.app.state.service.changes.trial("weight")  # type: ignore[attr-defined]
    before = sum(trial.outcomes.values())
    reply = client.post("/v1/estimates", files=photos(file))
    assert reply.status_code == 200, reply.text
    wait_for(lambda: sum(trial.outcomes.values()) > before)
    return reply.json()


def test_a_challenger_is_asked_the_same_and_only_compared(
    client: TestClient, challenger: bytes, photos: Any, jpeg: Any
) -> None:
    put(client, challenger)
    answers = [weigh_one(client, jpeg(number), photos) for number in range(6)]
    wait_for(lambda: report(client)["answers"] == 6)

    found = report(client)
    assert found["challenger"]["sha256"] == check_seal(challenger, source="test")
    assert {answer["bundle"]["sha256"] for answer in answers} == {found["served"]["sha256"]}
    expected = sorted(100 * 500 / answer["grams"] for answer in answers)
    middle = (expected[2] + expected[3]) / 2
    assert found["weight"]["difference_percent"]["median"] == pytest.approx(middle, rel=1e-3)
    assert found["weight"]["within_10_percent"] == 0
    assert 0 < found["weight"]["interval_overlap"] < 1
    assert sum(found["histogram"]["counts"]) == 6
    assert sum(moment["answers"] for moment in found["over_time"]) == 6
    assert found["outcomes"] == {"compared": 6, "busy": 0, "refused": 0, "failed": 0, "lost": 0}
    assert found["cost"]["cases"] == 2
    assert found["cost"]["served_cpu_ms"] > 0
    assert 'weft_trial_answers_total{outcome="compared",task="weight"} 6.0' in client.get("/metrics").text


def test_both_are_held_against_the_scale_in_pairs(
    client: TestClient, challenger: bytes, photos: Any, jpeg: Any
) -> None:
    put(client, challenger)
    for number in range(9):
        answer = weigh_one(client, jpeg(number), photos)
        for grams in (1.0, answer["grams"] + 500):  # the last weighing counts, and the challenger is right
            reply = client.post(f"/v1/estimates/{answer['id']}/weighing", json={"grams": grams})
            assert reply.status_code == 200
    wait_for(lambda: report(client)["answers"] == 9)

    scale = report(client)["scale"]
    assert scale["parcels"] == 9
    assert scale["challenger_alde"] == pytest.approx(0, abs=1e-3)
    assert scale["served_alde"] > 0.2
    assert scale["low"] <= scale["difference"] <= scale["high"] < 0
    assert scale["challenger_covered"] == 1


def test_scans_of_posts_and_of_the_stream_are_compared_too(
    client: TestClient, tmp_path: Path, write_fibre_bundle: Any, scan: Any
) -> None:
    import numpy as np

    put(client, write_fibre_bundle(tmp_path / "f.onnx", version="2").read_bytes(), "fibre")
    client.post("/v1/compositions", json=scan())
    wait_for(lambda: report(client, "composition")["answers"] == 1)
    body = scan()
    with client.websocket_connect("/v1/stream") as line:
        line.send_json(
            {"task": "composition", "wavelength_nm": body["wavelength_nm"], "quantity": "reflectance"}
        )
        line.send_bytes(np.array(body["values"], "<f4").tobytes())
        assert line.receive_json()["bundle"]["version"] == "1"
    wait_for(lambda: report(client, "composition")["answers"] == 2)

    found = report(client, "composition")["composition"]
    assert found["distance"] == {"p10": 0, "median": 0, "p90": 0}  # the same formula under another card
    assert (found["same_main_fibre"], found["same_unknown"]) == (1, 1)


def test_a_scan_that_the_challenger_cannot_take_is_counted_as_refused(
    client: TestClient, tmp_path: Path, write_fibre_bundle: Any, scan: Any
) -> None:
    wider = write_fibre_bundle(tmp_path / "f.onnx", composition={"needed_nm": [850.0, 1750.0]}).read_bytes()
    put(client, wider, "composition")

    assert client.post("/v1/compositions", json=scan()).status_code == 200
    wait_for(lambda: report(client, "composition")["outcomes"]["refused"] == 1)

    assert report(client, "composition")["answers"] == 0


def test_a_challenger_for_another_decode_scale_waits_and_says_why(
    client: TestClient, tmp_path: Path, write_weight_bundle: Any, photos: Any, jpeg: Any
) -> None:
    finer = write_weight_bundle(tmp_path / "w.onnx", weight={"decode_px": 640}).read_bytes()
    put(client, finer)

    assert client.post("/v1/estimates", files=photos(jpeg())).status_code == 200
    assert sum(report(client)["outcomes"].values()) == 0
    assert "prepared for 320 px" in report(client)["why_not_compared"]


def test_a_slow_or_faulty_challenger_delays_and_fails_nobody(
    client: TestClient, challenger: bytes, photos: Any, jpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, challenger)
    trial: trials.Trial = client.app.state.service.changes.trial("weight")  # type: ignore[attr-defined]
    assert trial.challenger is not None
    release = threading.Event()

    def stuck(*_: Any, **__: Any) -> None:
        assert release.wait(20)
        raise MemoryError

    monkeypatch.setattr(trial.challenger.weigher, "weigh", stuck)  # type: ignore[union-attr]
    statuses = [client.post("/v1/estimates", files=photos(jpeg())).status_code for _ in range(12)]
    assert statuses == [200] * 12
    assert trial.outcomes["busy"] >= 12 - 1 - 4  # one is stuck, a few wait, the rest is dropped
    release.set()

    wait_for(lambda: trial.outcomes["failed"] >= 4)
    assert report(client)["answers"] == 0


def test_nothing_is_compared_while_no_thread_is_free(
    client: TestClient, challenger: bytes, photos: Any, jpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, challenger)
    trial: trials.Trial = client.app.state.service.changes.trial("weight")  # type: ignore[attr-defined]
    monkeypatch.setattr(trial, "_tools", trial._tools._replace(idle=lambda: False))  # pyright: ignore

    client.post("/v1/estimates", files=photos(jpeg()))

    assert trial.outcomes == {"compared": 0, "busy": 1, "refused": 0, "failed": 0, "lost": 0}


def test_a_share_of_nothing_compares_nothing(start: Any, challenger: bytes, photos: Any, jpeg: Any) -> None:
    client = start(admin_token=TOKEN, shadow_share=0.0)
    put(client, challenger)
    client.post("/v1/estimates", files=photos(jpeg()))

    assert sum(report(client)["outcomes"].values()) == 0


def test_the_figures_of_a_pair_of_bundles_outlive_a_restart(
    start: Any, tmp_path: Path, challenger: bytes, photos: Any, jpeg: Any
) -> None:
    where = {"database_url": f"sqlite:///{tmp_path}/kept.db", "admin_token": TOKEN, "shadow_share": 1.0}
    client = start(**where)
    put(client, challenger)
    weigh_one(client, jpeg(), photos)
    wait_for(lambda: report(client)["answers"] == 1)

    again = start(**where)
    put(again, challenger)

    assert report(again)["answers"] == 1
    assert report(again)["outcomes"]["compared"] == 0  # of this process


def test_only_the_newest_answers_of_a_pair_are_kept(
    client: TestClient, challenger: bytes, photos: Any, jpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "KEPT", 2)
    put(client, challenger)
    for _ in range(5):
        weigh_one(client, jpeg(), photos)
    wait_for(lambda: report(client)["outcomes"]["compared"] == 5)

    wait_for(lambda: report(client)["answers"] == 2)


def test_a_challenger_is_promoted_with_its_file_and_the_trial_ends(
    start: Any, tmp_path: Path, tiny_weight_bundle: Path, challenger: bytes, photos: Any, jpeg: Any
) -> None:
    file = tmp_path / "bundles" / "weight.onnx"
    file.parent.mkdir()
    file.write_bytes(tiny_weight_bundle.read_bytes())
    client = start(weight=file, bundles=file.parent, admin_token=TOKEN)
    assert client.post("/v1/bundles/weight/promote-challenger", headers=ASKED).status_code == 409
    put(client, challenger)
    assert challenger_of(file).read_bytes() == challenger

    promoted = client.post("/v1/bundles/weight/promote-challenger", headers=ASKED).json()

    sha256 = check_seal(challenger, source="test")
    assert (promoted["sha256"], promoted["kept"], promoted["challenger"]) == (sha256, True, None)
    assert file.read_bytes() == challenger
    assert not challenger_of(file).exists()
    assert client.post("/v1/estimates", files=photos(jpeg())).json()["bundle"]["sha256"] == sha256
    assert client.get("/v1/bundles/weight/challenger").status_code == 404


def test_a_trial_can_be_ended(client: TestClient, challenger: bytes) -> None:
    put(client, challenger)

    assert client.delete("/v1/bundles/weight/challenger", headers=ASKED).json()["challenger"] is None
    assert client.delete("/v1/bundles/weight/challenger", headers=ASKED).status_code == 409


def test_what_two_compositions_differ_by_is_half_the_sum_of_their_shares() -> None:
    from weft.identifier import Composition, FibreShare
    from weft_serving.bundles.comparing import compare

    def made(**shares: float) -> Composition:
        return Composition(
            tuple(FibreShare(name, "XX", share, None, None) for name, share in shares.items()), 0.1, ()
        )

    found = compare(made(cotton=0.7, wool=0.3), made(cotton=0.5, viscose=0.5))

    assert found["distance"] == pytest.approx(0.5)
    assert found["main"] == ["cotton", "cotton"]


def ask_nothing(_: Model) -> Any:
    raise AssertionError("nobody is on trial")


def test_an_offer_without_a_challenger_costs_next_to_nothing(client: TestClient) -> None:
    trial: trials.Trial = client.app.state.service.changes.trial("weight")  # type: ignore[attr-defined]
    model = client.app.state.service.models.weight  # type: ignore[attr-defined]
    started = time.thread_time()
    for _ in range(10_000):
        trial.offer(model, ask_nothing, None, None)  # type: ignore[arg-type]

    assert (time.thread_time() - started) / 10_000 < 50e-6  # measured: 0.06 microseconds
    assert sum(trial.outcomes.values()) == 0
