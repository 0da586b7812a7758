"""Frames that come faster than they are answered: all have their turn, or older ones are dropped and told."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from starlette.testclient import TestClient

from weft_serving.door import turns
from weft_serving.door.turns import Turn, every, newest

GONE = {"type": "websocket.disconnect"}


def frame(content: bytes) -> dict[str, Any]:
    return {"type": "websocket.receive", "bytes": content}


class Camera:
    """Hands out messages at once, then nothing until it is told to leave."""

    def __init__(self, *contents: bytes) -> None:
        self._messages = [frame(content) for content in contents]
        self.read = 0
        self.leaves = asyncio.Event()

    async def receive(self) -> Any:
        if self.read < len(self._messages):
            self.read += 1
            return self._messages[self.read - 1]
        await self.leaves.wait()
        return GONE


async def take(
    source: AsyncGenerator[Turn, None], camera: Camera, count: int
) -> list[tuple[int, int, bytes]]:
    found: list[tuple[int, int, bytes]] = []
    async with aclosing(source):
        async for number, dropped, message in source:
            found.append((number, dropped, message["bytes"]))
            if len(found) == count:
                camera.leaves.set()
            await asyncio.sleep(0.01)  # the work on it
    return found


def test_every_message_has_its_turn_and_is_read_only_then() -> None:
    async def run() -> None:
        camera = Camera(b"1", b"2", b"3")
        source = every(camera.receive)
        assert (await anext(source)).number == 1
        assert camera.read == 1
        assert [number for number, _, _ in await take(source, camera, 2)] == [2, 3]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        (1, [(6, 5, b"6")]),
        (3, [(4, 3, b"4"), (5, 0, b"5"), (6, 0, b"6")]),
        (9, [(number, 0, b"%d" % number) for number in range(1, 7)]),
    ],
)
def test_the_oldest_of_too_many_that_wait_are_overtaken_and_counted(
    queue: int, expected: list[tuple[int, int, bytes]]
) -> None:
    dropped: list[int] = []

    async def run() -> list[tuple[int, int, bytes]]:
        camera = Camera(*(b"%d" % number for number in range(1, 7)))
        source = newest(camera.receive, queue=queue, dropped=lambda: dropped.append(1))
        return await take(source, camera, len(expected))

    assert asyncio.run(run()) == expected
    assert len(dropped) == 6 - len(expected)


def test_large_messages_wait_within_a_bound_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_MOST_BYTES", 10)

    async def run() -> list[tuple[int, int, bytes]]:
        camera = Camera(b"a" * 6, b"b" * 6, b"c" * 20, b"d" * 6, b"e" * 4)
        return await take(newest(camera.receive, queue=9, dropped=lambda: None), camera, 2)

    assert asyncio.run(run()) == [(4, 3, b"dddddd"), (5, 0, b"eeee")]


def test_whoever_left_gets_no_more_work_done() -> None:
    async def run() -> list[int]:
        camera = Camera(b"1", b"2")
        camera.leaves.set()
        return [turn.number async for turn in newest(camera.receive, queue=4, dropped=lambda: None)]

    assert asyncio.run(run()) == []


def test_a_fault_while_reading_ends_the_turns_with_it() -> None:
    async def broken() -> Any:
        raise OSError("cut")

    async def run() -> None:
        async for _ in newest(broken, queue=1, dropped=lambda: None):
            pass

    with pytest.raises(OSError, match="cut"):
        asyncio.run(run())


@pytest.fixture
def gate(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Frames are answered only once this is set."""
    opened = threading.Event()
    pool: Any = client.app.state.service.pool  # type: ignore[attr-defined]
    run_in_turn: Callable[..., Any] = pool.run_in_turn

    async def held(job: Callable[[], Any], **more: Any) -> Any:
        await asyncio.to_thread(opened.wait, 20)
        return await run_in_turn(job, **more)

    monkeypatch.setattr(pool, "run_in_turn", held)
    return opened


def test_a_camera_that_keeps_the_latest_is_told_how_many_each_answer_overtook(
    client: TestClient, gate: threading.Event, jpeg: Any
) -> None:
    two_dropped = 'weft_stream_messages_total{outcome="dropped",task="weight"} 2.0'
    gate.set()
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json({"task": "weight", "keep": "latest", "queue": 2})
        socket.send_bytes(jpeg(0))
        first = socket.receive_json()
        gate.clear()
        for seed in range(1, 6):
            socket.send_bytes(jpeg(seed))
        for _ in range(500):  # until the service has read them all
            if two_dropped in client.get("/metrics").text:
                break
        gate.set()
        answers = [first, *(socket.receive_json() for _ in range(3))]

    assert [(answer["number"], answer["dropped"]) for answer in answers] == [(1, 0), (2, 0), (5, 2), (6, 0)]
    assert all(answer["grams"] is not None for answer in answers)
    assert two_dropped in client.get("/metrics").text


def test_all_is_the_default_and_answers_without_a_word_of_overtaking(
    client: TestClient, gate: threading.Event, jpeg: Any
) -> None:
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json({"task": "weight"})
        for seed in range(4):
            socket.send_bytes(jpeg(seed))
        gate.set()
        answers = [socket.receive_json() for _ in range(4)]

    assert [answer["number"] for answer in answers] == [1, 2, 3, 4]
    assert "dropped" not in answers[0]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"keep": "some"}, "keep"),
        ({"keep": "latest", "queue": 0}, "queue"),
        ({"keep": "latest", "queue": 17}, "queue"),
        ({"queue": 2}, "`queue` says how many of the latest may wait"),
    ],
)
def test_a_choice_that_is_none_is_refused(client: TestClient, more: dict[str, Any], words: str) -> None:
    with client.websocket_connect("/v1/stream") as socket:
        socket.send_json({"task": "weight", **more})
        problem = socket.receive_json()

    assert problem["status"] == 422
    assert words in problem["detail"]
