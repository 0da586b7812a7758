"""The sorting line's socket: one greeting, then one answer a message, in order, whatever comes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

Jpeg = Callable[..., bytes]
MakeScan = Callable[..., dict[str, Any]]
WEIGHT = {"task": "weight"}


def greeting(scan: MakeScan) -> tuple[dict[str, Any], bytes]:
    made = scan()
    values = np.array(made.pop("values"), "<f4").tobytes()
    return {"task": "composition", **made}, values


def test_each_frame_gets_one_answer_in_order_with_a_running_number(client: TestClient, jpeg: Jpeg) -> None:
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(WEIGHT)
        for seed in (1, 2, 3):
            socket.send_bytes(jpeg(seed))
        answers = [socket.receive_json() for _ in range(3)]

    assert [answer["number"] for answer in answers] == [1, 2, 3]
    assert all(answer["low_grams"] <= answer["grams"] <= answer["high_grams"] for answer in answers)
    assert len({answer["grams"] for answer in answers}) == 3


def test_a_frame_in_the_stream_weighs_like_a_photo_over_http(client: TestClient, jpeg: Jpeg) -> None:
    sent = client.post("/v1/estimates", files={"photos": jpeg(5)}, data={"season": "winter"}).json()
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json({**WEIGHT, "season": "winter"})
        socket.send_bytes(jpeg(5))
        assert socket.receive_json()["grams"] == sent["grams"]


def test_spectra_are_little_endian_float32_on_the_greetings_wavelengths(
    client: TestClient, scan: MakeScan
) -> None:
    first, values = greeting(scan)
    direct = client.post("/v1/compositions", json=scan()).json()
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(first)
        socket.send_bytes(values)
        answer = socket.receive_json()

    assert answer["number"] == 1
    assert [share["share"] for share in answer["shares"]] == pytest.approx(
        [share["share"] for share in direct["shares"]], abs=1e-5
    )


def test_a_bad_message_gets_a_problem_with_its_number_and_the_stream_lives_on(
    client: TestClient, jpeg: Jpeg
) -> None:
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(WEIGHT)
        for message in (b"no photo", b"", jpeg()[:200], jpeg()):
            socket.send_bytes(message)
        socket.send_text("hello?")
        socket.send_bytes(jpeg())
        answers = [socket.receive_json() for _ in range(6)]

    assert [answer["number"] for answer in answers] == [1, 2, 3, 4, 5, 6]
    assert [answer.get("status") for answer in answers] == [415, 422, 422, None, 422, None]
    assert answers[0]["type"] == "/problems/unsupported-photo"
    assert "send binary" in answers[4]["detail"]


def test_a_spectrum_of_another_length_or_with_nan_is_a_problem(client: TestClient, scan: MakeScan) -> None:
    first, values = greeting(scan)
    broken = np.frombuffer(values, "<f4").copy()
    broken[3] = np.nan
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(first)
        for message in (values[:-4], values + b"1", broken.tobytes(), values):
            socket.send_bytes(message)
        answers = [socket.receive_json() for _ in range(4)]

    assert [answer.get("status") for answer in answers] == [422, 422, 422, None]
    assert "has 320 bytes, needed 324" in answers[0]["detail"]


@pytest.mark.parametrize(
    "first",
    [
        "hello",
        "[]",
        '{"task": "colour"}',
        '{"task": "composition"}',
        '{"task": "weight", "season": "spring"}',
        '{"task": "weight", "speed": 3}',
        '{"task": "composition", "wavelength_nm": [400, 500], "quantity": "reflectance"}',
        '{"task": "composition", "wavelength_nm": [NaN], "quantity": "reflectance"}',
        b"\x00\x01",
    ],
)
def test_a_bad_greeting_gets_a_problem_and_the_door(client: TestClient, first: str | bytes) -> None:
    with client.websocket_connect("/v1/stream") as socket:
        if isinstance(first, str):
            socket.send_text(first)
        else:
            socket.send_bytes(first)
        problem = socket.receive_json()
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()

    assert problem["status"] == 422
    assert problem["type"].startswith("/problems/")
    assert closed.value.code == 1008


def test_a_grid_the_bundle_cannot_take_is_told_in_the_greetings_answer(
    client: TestClient, scan: MakeScan
) -> None:
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json(greeting(lambda: scan(from_nm=400, to_nm=900))[0])
        problem = socket.receive_json()

    assert problem["type"] == "/problems/grid-mismatch"


def test_one_stream_too_many_is_told_to_come_back(start: Callable[..., TestClient], jpeg: Jpeg) -> None:
    client = start(streams=1)
    with client.websocket_connect("/v1/stream") as first:
        first.send_json(WEIGHT)
        first.send_bytes(jpeg())
        first.receive_json()
        with client.websocket_connect("/v1/stream") as second:
            assert second.receive_json()["status"] == 503
    with client.websocket_connect("/v1/stream") as third:
        third.send_json(WEIGHT)
        third.send_bytes(jpeg())
        assert third.receive_json()["number"] == 1
