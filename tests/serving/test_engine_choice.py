"""Which engine computes, and the way of a photo where photos are weighed together."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from weft.bundle import load_bundle
from weft.errors import EngineError, StoreError
from weft_serving.bundles.changes import open_served
from weft_serving.run import greeting
from weft_serving.settings import Settings, read_settings

Jpeg = Callable[..., bytes]


@pytest.fixture
def gathering(client: TestClient) -> TestClient:
    """A service whose weight bundle is taken to gain by company."""
    service: Any = client.app.state.service  # pyright: ignore[reportAttributeAccessIssue]
    service.batcher._gaining.add(service.models.weight.bundle)
    return client


def test_an_engine_is_chosen_for_the_weight_bundle_and_for_no_other() -> None:
    chosen = read_settings({"WEFT_ENGINE": "openvino", "WEFT_BATCH_MS": "5"})

    assert [chosen.engine_of(task) for task in ("weight", "composition", "belt")] == [
        "openvino", "onnxruntime", "onnxruntime",
    ]  # fmt: skip
    assert chosen.batch_ms == 5
    assert Settings().engine == "onnxruntime"


def test_an_engine_that_is_none_is_refused_by_its_variable() -> None:
    with pytest.raises(StoreError, match=r"WEFT_ENGINE: .*'tensorrt'"):
        read_settings({"WEFT_ENGINE": "tensorrt"})


def test_a_bundle_that_comes_later_is_opened_by_the_same_engine(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path
) -> None:
    settings, learnt = Settings(engine="openvino"), []
    fibre = open_served(
        tiny_fibre_bundle.read_bytes(), "f.onnx", "composition", settings=settings, learn=learnt.append
    )

    assert learnt == [fibre]
    with pytest.raises(EngineError, match=r"no bound for openvino; measure one with `weft admit"):
        open_served(
            tiny_weight_bundle.read_bytes(), "w.onnx", "weight", settings=settings, learn=learnt.append
        )


def test_the_start_lines_name_an_engine_that_is_not_the_usual_one(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path
) -> None:
    weight: Any = SimpleNamespace(card=load_bundle(tiny_weight_bundle).card, engine="openvino-bf16")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        told = greeting(
            listening,
            Settings(engine="auto"),
            weight=weight,
            fibre=load_bundle(tiny_fibre_bundle),
            lines=None,
        )

    assert told[1].startswith("  weight: ")
    assert told[1].endswith(" data, computed by openvino-bf16")
    assert told[2].startswith("  composition: ")
    assert "computed by" not in told[2]


def test_photos_that_are_weighed_together_are_answered_as_alone(gathering: TestClient, jpeg: Jpeg) -> None:
    service: Any = gathering.app.state.service  # pyright: ignore[reportAttributeAccessIssue]
    alone = service.models.weight.weigher

    def ask(seed: int) -> dict[str, Any]:
        reply = gathering.post("/v1/estimates", files={"photos": jpeg(seed)}, data={"season": "winter"})
        assert reply.status_code == 200, reply.text
        return reply.json()

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(ask, range(16)))

    expected = [alone.weigh(alone.prepare_all([jpeg(seed)]), season="winter").grams for seed in range(16)]
    assert [answer["grams"] for answer in answers] == pytest.approx(expected, abs=0.06)  # told to 0.1 g
    stored = gathering.get(f"/v1/estimates/{answers[3]['id']}").json()
    assert stored["grams"] == answers[3]["grams"]
    assert "weft_batch_subjects_sum 16.0" in gathering.get("/metrics").text


def test_frames_take_the_same_way_and_a_bad_one_is_its_own_problem(gathering: TestClient, jpeg: Jpeg) -> None:
    with gathering.websocket_connect("/v1/stream") as socket:
        socket.send_json({"task": "weight"})
        for message in (jpeg(1), b"no photo", jpeg(2)):
            socket.send_bytes(message)
        answers = [socket.receive_json() for _ in range(3)]

    assert [answer["number"] for answer in answers] == [1, 2, 3]
    assert [answer.get("status") for answer in answers] == [None, 415, None]
    assert answers[0]["grams"] != answers[2]["grams"]
    counted = gathering.get("/metrics").text
    assert "weft_batch_subjects_count 2.0" in counted


def test_with_onnx_runtime_nobody_takes_that_way(client: TestClient, jpeg: Jpeg) -> None:
    assert client.post("/v1/estimates", files={"photos": jpeg(1)}).status_code == 200

    assert "weft_batch_subjects_count 0.0" in client.get("/metrics").text


def test_a_verified_bundle_says_which_engine_computes_it(tiny_weight_bundle: Path) -> None:
    assert load_bundle(tiny_weight_bundle, engine="auto").engine == "onnxruntime"
