"""The client library against a real server that comes and goes."""

import asyncio
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from weft.errors import LineError
from weft.line.records import Alarm, Decision
from weft_serving.line.stream.messages import Connected, Refused
from weft_serving.line.timing import Command
from weft_serving.line_client import BlockingLineClient, LineClient

NOTHING: dict[str, Any] = {}


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def numbers(line: Any) -> list[int]:
    return [frame.number for frame in line.frames]


def test_frames_arrive_in_order_and_every_one_is_acknowledged(
    line_url: str, small_line: Any, nir_frame: Any
) -> None:
    async def stream() -> None:
        async with LineClient(line_url, sensor="nir") as client:
            for number in range(50):
                await client.send(nir_frame(number))
            assert await client.drain(10)
            assert client.unacknowledged == 0
            assert client.description == small_line.description

    asyncio.run(stream())

    assert numbers(small_line) == list(range(50))
    assert (small_line.frames[49].counts == nir_frame(49).counts).all()


def test_messages_come_back_as_records(
    line_url: str, small_line: Any, nir_frame: Any, line_decision: Any, line_evidence: Any
) -> None:
    async def listen() -> list[Any]:
        found: list[Any] = []
        async with LineClient(line_url, sensor="nir") as client:
            await asyncio.to_thread(wait_for, lambda: len(small_line.listeners) > 0)
            small_line.decide(line_decision(3), line_evidence(3))
            small_line.alarm("look")
            async for message in client:
                found.append(message)
                if len(found) == 4:
                    return found
        return found

    connected, command, decision, alarm = asyncio.run(listen())

    assert isinstance(connected, Connected)
    assert connected.state.rules_version == "v1"
    assert command == Command(3, "e1", 30, 35)
    assert isinstance(decision, Decision)
    assert decision == line_decision(3)
    assert isinstance(alarm, Alarm)


def test_a_refused_frame_is_told_and_does_not_hold_up_the_rest(
    line_url: str, small_line: Any, nir_frame: Any
) -> None:
    async def stream() -> Any:
        async with LineClient(line_url, sensor="colour") as client:
            await client.send(nir_frame(0))
            assert await client.drain(10)  # it was looked at: nothing of it is kept
            return [message async for message in first(client, 2)][1]

    told = asyncio.run(stream())

    assert isinstance(told, Refused)
    assert (told.problem, "came where the greeting said colour" in told.detail) == (
        "/problems/bad-frame",
        True,
    )


async def first(client: LineClient, count: int) -> Any:
    async for message in client:
        yield message
        count -= 1
        if not count:
            return


def test_after_a_broken_connection_the_rest_is_sent_again_in_order_and_nothing_twice(
    line_app: FastAPI, small_line: Any, nir_frame: Any, serve_app: Any
) -> None:
    async def stream() -> tuple[int, list[Any]]:
        server = serve_app(line_app)
        base = server.__enter__()
        port = int(base.rsplit(":", 1)[1])
        found: list[Any] = []
        async with LineClient(f"{base}/v1/lines/small", sensor="nir") as client:
            for number in range(20):
                await client.send(nir_frame(number))
            await client.drain(10)
            await asyncio.to_thread(server.__exit__)
            for number in range(20, 40):  # nobody is there to take them
                await client.send(nir_frame(number))
            assert client.unacknowledged == 20
            again = serve_app(line_app, port)
            await asyncio.to_thread(again.__enter__)
            assert await client.drain(20)
            connections = client.connections
            await client.close()
            found = [message async for message in client if isinstance(message, Connected)]
        await asyncio.to_thread(again.__exit__)
        return connections, found

    connections, found = asyncio.run(stream())

    assert connections == 2
    assert len(found) == 2
    assert numbers(small_line) == list(range(40))


def test_frames_that_were_taken_but_never_acknowledged_are_not_sent_again(
    line_app: FastAPI, small_line: Any, nir_frame: Any, serve_app: Any
) -> None:
    """The server is cut off between taking a frame and saying so."""

    async def stream() -> list[Any]:
        server = serve_app(line_app)
        base = server.__enter__()
        async with LineClient(f"{base}/v1/lines/small", sensor="nir") as client:
            real, forget = client._take, [True]

            async def deaf(told: Any) -> None:
                if not (forget[0] and told["type"] == "taken"):
                    await real(told)

            client._take = deaf  # type: ignore[method-assign]
            for number in range(10):
                await client.send(nir_frame(number))
            await asyncio.to_thread(wait_for, lambda: len(small_line.frames) == 10)
            assert client.unacknowledged == 10
            await asyncio.to_thread(server.__exit__)
            forget[0] = False
            again = serve_app(line_app, int(base.rsplit(":", 1)[1]))
            await asyncio.to_thread(again.__enter__)
            await client.send(nir_frame(10))
            assert await client.drain(20)
            await client.close()
            found = [message async for message in client if isinstance(message, Connected)]
        await asyncio.to_thread(again.__exit__)
        return found

    found = asyncio.run(stream())

    assert numbers(small_line) == list(range(11))
    assert found[1].resent == 0


def test_a_camera_that_cannot_wait_drops_the_oldest_and_counts_them(
    line_app: FastAPI, small_line: Any, nir_frame: Any, serve_app: Any
) -> None:
    async def stream() -> tuple[list[bool], int]:
        server = serve_app(line_app)
        base = server.__enter__()
        async with LineClient(f"{base}/v1/lines/small", sensor="nir", buffer_bytes=5_000) as client:
            await asyncio.to_thread(server.__exit__)
            fitted = [await client.offer(nir_frame(number)) for number in range(10)]  # 1,104 bytes each
            again = serve_app(line_app, int(base.rsplit(":", 1)[1]))
            await asyncio.to_thread(again.__enter__)
            assert await client.drain(20)
            dropped = client.dropped_here
        await asyncio.to_thread(again.__exit__)
        return fitted, dropped

    fitted, dropped = asyncio.run(stream())

    assert all(fitted)
    assert dropped == 6
    assert numbers(small_line) == [6, 7, 8, 9]


def test_a_sender_waits_while_too_much_is_on_its_way(
    line_app: FastAPI, nir_frame: Any, serve_app: Any
) -> None:
    async def stream() -> None:
        server = serve_app(line_app)
        base = server.__enter__()
        async with LineClient(f"{base}/v1/lines/small", sensor="nir", buffer_bytes=2_500) as client:
            await asyncio.to_thread(server.__exit__)
            await client.send(nir_frame(0))
            await client.send(nir_frame(1))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.send(nir_frame(2)), 0.2)
            await client.close(drain_s=0)

    asyncio.run(stream())


def test_a_refusal_is_final_and_says_why(line_url: str, line_app: FastAPI) -> None:
    async def knock(url: str) -> None:
        async with LineClient(url):
            pass

    with pytest.raises(LineError, match="no line is called 'other'"):
        asyncio.run(knock(line_url.replace("small", "other")))
    line_app.state.service = SimpleNamespace(settings=SimpleNamespace(line_token=SecretStr("sesame")))
    with pytest.raises(LineError, match="token is missing"):
        asyncio.run(knock(line_url))


def test_patience_ends_where_nobody_answers() -> None:
    async def knock() -> None:
        async with LineClient("ws://127.0.0.1:9/v1/lines/small", patience_s=0.3):
            pass

    with pytest.raises(LineError, match=r"cannot be reached since 0\.\d s .*see whether the server runs"):
        asyncio.run(knock())


def test_a_program_without_an_event_loop_streams_too(
    line_url: str, small_line: Any, nir_frame: Any, line_decision: Any, line_evidence: Any
) -> None:
    before = threading.active_count()
    with BlockingLineClient(line_url, sensor="nir") as client:
        for number in range(5):
            client.send(nir_frame(number))
        wait_for(lambda: len(small_line.listeners) > 0)
        small_line.decide(line_decision(1), line_evidence(1))
        messages = iter(client)
        found = [next(messages) for _ in range(3)]

    assert numbers(small_line) == list(range(5))
    assert found[1] == Command(1, "e1", 10, 15)
    assert threading.active_count() == before
    with pytest.raises(LineError, match="no line is called"), BlockingLineClient(line_url + "x"):
        pass
