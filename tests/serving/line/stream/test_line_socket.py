"""The socket of a line: frames in, commands, decisions, alarms and the state out, whatever comes."""

import asyncio
import json
import socket as tcp
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.sync.client import connect
from websockets.uri import parse_uri

from weft.line.frames import pack
from weft_serving.line.stream.mailbox import Mailbox
from weft_serving.line.timing import Command, Withdrawal

URL = "/v1/lines/small"


@pytest.fixture
def client(line_app: FastAPI) -> TestClient:
    return TestClient(line_app)


def until(socket: Any, kind: str) -> dict[str, Any]:
    """The next message of a kind; others may come before it."""
    for _ in range(50):
        message = socket.receive_json()
        if message["type"] == kind:
            return message
    raise AssertionError(f"no {kind} came")


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_frames_reach_the_line_as_they_were_sent_and_are_acknowledged(
    client: TestClient, small_line: Any, nir_frame: Any
) -> None:
    with client.websocket_connect(URL) as socket:
        socket.send_json({"sensor": "nir"})
        welcome = socket.receive_json()
        for number in range(3):
            socket.send_bytes(pack(nir_frame(number)))
        socket.send_bytes(pack(nir_frame(0, sensor="white")))
        taken: dict[str, int] = {}
        while taken != {"nir": 2, "white": 0}:
            message = until(socket, "taken")
            taken = message["taken"]

    assert (welcome["type"], welcome["line"], welcome["taken"]) == ("welcome", "small", {})
    assert welcome["description"]["nir"]["pixels"] == 8
    assert welcome["state"]["rules_version"] == "v1"
    assert [frame.sensor for frame in small_line.frames] == ["nir", "nir", "nir", "white"]
    assert (small_line.frames[1].counts == nir_frame(1).counts).all()
    assert message["dropped"] == 0


def test_a_refused_frame_gets_a_problem_and_an_alarm_and_the_stream_lives_on(
    client: TestClient, small_line: Any, nir_frame: Any
) -> None:
    whole = pack(nir_frame(0))
    with client.websocket_connect(URL) as socket:
        socket.send_json({"sensor": "nir"})
        socket.receive_json()
        for message in (whole[:-1], b"", b"\0" * 60_000_001, whole.replace(b"WEFL\1\0", b"WEFL\1\1", 1)):
            socket.send_bytes(message)
        socket.send_text("hello?")
        socket.send_bytes(whole)
        problems = [until(socket, "problem") for _ in range(5)]
        while (acknowledged := until(socket, "taken"))["taken"] != {"nir": 0}:
            pass

    assert acknowledged["messages"] == 6
    assert [problem["message"] for problem in problems] == [1, 2, 3, 4, 5]
    assert [problem["problem"] for problem in problems[:4]] == ["/problems/bad-frame"] * 4
    assert "its header describes" in problems[0]["detail"]
    assert "send frames, which are binary" in problems[4]["detail"]
    assert [sensor for sensor, _ in small_line.refused] == ["nir"] * 4
    assert len(small_line.frames) == 1


def test_a_frame_of_another_camera_than_was_greeted_is_refused(
    client: TestClient, small_line: Any, nir_frame: Any
) -> None:
    with client.websocket_connect(URL) as socket:
        socket.send_json({"sensor": "colour"})
        socket.send_bytes(pack(nir_frame(0)))
        assert "a frame of nir came where the greeting said colour" in until(socket, "problem")["detail"]
    with client.websocket_connect(URL) as socket:
        socket.send_json({"sensor": "all"})
        socket.send_bytes(pack(nir_frame(0)))
        until(socket, "taken")

    assert small_line.refused[0][0] == "colour"
    assert len(small_line.frames) == 1


def test_a_second_program_that_sends_for_the_same_camera_is_told_so_and_changes_nothing(
    client: TestClient, small_line: Any, nir_frame: Any
) -> None:
    with client.websocket_connect(URL) as first:
        first.send_json({"sensor": "nir"})
        first.send_bytes(pack(nir_frame(0)))
        until(first, "taken")
        with client.websocket_connect(URL) as second:
            second.send_json({"sensor": "nir"})
            second.send_bytes(pack(nir_frame(7)))
            refused = until(second, "problem")
    with client.websocket_connect(URL) as third:  # the first has gone: nobody has to wait
        third.send_json({"sensor": "nir"})
        third.send_bytes(pack(nir_frame(1)))
        until(third, "taken")

    assert "another program sends nir frames to line small" in refused["detail"]
    assert [frame.number for frame in small_line.frames] == [0, 1]
    assert small_line.refused == []


def test_who_listens_is_told_of_commands_decisions_alarms_and_the_state(
    client: TestClient, small_line: Any, line_decision: Any, line_evidence: Any, nir_frame: Any
) -> None:
    with client.websocket_connect(URL) as socket:
        socket.send_json({"listen": True})
        socket.receive_json()
        wait_for(lambda: len(small_line.listeners) > 0)
        small_line.decide(line_decision(7), line_evidence(7))
        small_line.alarm("no frame for a second; check the camera")
        small_line.sinks[0].stood(small_line.state())
        found = [socket.receive_json() for _ in range(4)]
        socket.send_bytes(pack(nir_frame(0)))
        assert "only listens" in until(socket, "problem")["detail"]

    by_kind = {message["type"]: message for message in found}
    assert by_kind["command"] == {
        "type": "command", "piece": 7, "ejector": "e1", "fire_encoder": 70, "hold_encoder": 75,
    }  # fmt: skip
    assert by_kind["decision"]["decision"]["piece"]["number"] == 7
    assert by_kind["alarm"]["alarm"]["cause"] == "no frame for a second; check the camera"
    assert by_kind["state"]["state"]["line"] == "small"
    assert small_line.frames == []
    wait_for(lambda: not small_line.sinks and not small_line.listeners)  # a closed connection leaves nothing


def test_only_what_was_asked_for_is_told(
    client: TestClient, small_line: Any, line_decision: Any, line_evidence: Any
) -> None:
    with client.websocket_connect(URL) as socket:
        socket.send_json({"listen": True, "tell": ["alarm"]})
        socket.receive_json()
        wait_for(lambda: len(small_line.listeners) > 0)
        small_line.decide(line_decision(1), line_evidence(1))
        small_line.alarm("look here")
        assert socket.receive_json()["type"] == "alarm"


def test_a_session_that_comes_back_is_told_what_was_taken(client: TestClient, nir_frame: Any) -> None:
    for session, expected in (("a", {}), ("a", {"nir": 5}), ("b", {}), (None, {})):
        with client.websocket_connect(URL) as socket:
            socket.send_json({"sensor": "nir", "session": session})
            assert socket.receive_json()["taken"] == expected
            socket.send_bytes(pack(nir_frame(5)))
            assert until(socket, "taken")["taken"] == {"nir": 5}


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("hello", "send as the first message"),
        ("{}", "neither a sensor nor listen"),
        ('{"sensor": "white"}', "sensor"),
        ('{"sensor": "nir", "speed": 3}', "speed"),
        ('{"sensor": "nir", "session": "a b"}', "session"),
        ('{"listen": true, "tell": ["weather"]}', "tell"),
        ("[" * 20_000, "20,000 characters"),
        (b"\0\1", "binary"),
    ],
)
def test_a_bad_greeting_gets_a_problem_and_the_door(
    client: TestClient, first: str | bytes, words: str
) -> None:
    with client.websocket_connect(URL) as socket:
        if isinstance(first, str):
            socket.send_text(first)
        else:
            socket.send_bytes(first)
        problem = socket.receive_json()
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()

    assert (problem["type"], problem["problem"]) == ("problem", "/problems/invalid-request")
    assert words in problem["detail"]
    assert closed.value.code == 1008


def test_an_unknown_line_is_refused_with_those_that_are_there(client: TestClient) -> None:
    with client.websocket_connect("/v1/lines/other") as socket:
        socket.send_json({"listen": True})
        assert "no line is called 'other'; in service: small" in socket.receive_json()["detail"]


def test_where_a_token_is_set_nobody_sends_or_listens_without_it(line_app: FastAPI, small_line: Any) -> None:
    line_app.state.service = SimpleNamespace(settings=SimpleNamespace(line_token=SecretStr("sesame")))
    client = TestClient(line_app)
    for token in (None, "", "sesam", "Sésame"):
        with client.websocket_connect(URL) as socket:
            socket.send_json({"listen": True, "token": token})
            told = socket.receive_json()
            assert (told["type"], told["status"]) == ("problem", 401)
            assert "sesame" not in json.dumps(told)
    with client.websocket_connect(URL) as socket:
        socket.send_json({"listen": True, "token": "sesame"})
        assert socket.receive_json()["type"] == "welcome"


def test_a_fault_of_ours_in_one_frame_does_not_end_the_stream(
    client: TestClient, small_line: Any, nir_frame: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with client.websocket_connect(URL) as socket:
        socket.send_json({"sensor": "nir"})
        with monkeypatch.context() as patched:
            patched.setattr(small_line, "take", lambda frame: 1 / 0)
            socket.send_bytes(pack(nir_frame(0)))
            assert until(socket, "problem")["problem"] == "/problems/internal"
        socket.send_bytes(pack(nir_frame(1)))
        while until(socket, "taken")["taken"] != {"nir": 1}:
            pass


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many_and_commands_come_first(
    line_decision: Any, line_evidence: Any, small_line: Any
) -> None:
    async def read() -> list[dict[str, Any]]:
        mailbox = Mailbox(
            asyncio.get_running_loop(), tell=frozenset({"command", "decision", "alarm", "state"})
        )
        for number in range(1, 1_501):
            mailbox.decided(line_decision(number), line_evidence(1))
            mailbox.stood(small_line.state())
        mailbox.command(Command(9, "e1", 90, 95))
        mailbox.command(Withdrawal(9, "e1"))
        return [await mailbox.next() for _ in range(4 + 999)]

    found = asyncio.run(read())

    assert [message["type"] for message in found[:4]] == ["command", "withdrawal", "lost", "decision"]
    assert found[2]["messages"] == 500
    assert [found[3]["decision"]["piece"]["number"], found[-2]["decision"]["piece"]["number"]] == [501, 1499]


def test_it_works_over_a_real_port_with_frames_as_large_as_a_cameras(
    line_url: str, small_line: Any, nir_frame: Any
) -> None:
    large = nir_frame(1, rows=4096, bands=896)  # 58.7 MB: the server's own bound on messages must not cut in
    with connect(line_url, max_size=None) as socket:
        socket.send(json.dumps({"sensor": "nir"}))
        socket.send(pack(large))
        while json.loads(socket.recv(timeout=20))["type"] != "taken":
            pass

    assert small_line.frames[0].shape == (4096, 896, 8)


class Sleeper:
    """A listener on a bare TCP connection: what it does not read stays with the server."""

    def __init__(self, url: str) -> None:
        self._protocol = ClientProtocol(parse_uri(url), max_size=None)
        host, _, port = url.removeprefix("ws://").partition("/")[0].partition(":")
        self._tcp = tcp.socket()
        self._tcp.setsockopt(tcp.SOL_SOCKET, tcp.SO_RCVBUF, 8_192)  # else the kernel takes megabytes in
        self._tcp.connect((host, int(port)))
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while self._protocol.state is not State.OPEN:
            self._protocol.receive_data(self._tcp.recv(1_000))
            self._protocol.events_received()

    def send(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self._flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        while True:
            self._protocol.receive_data(self._tcp.recv(65_536))
            self._flush()
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    yield json.loads(bytes(event.data))

    def close(self) -> None:
        self._tcp.close()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            self._tcp.sendall(data)


def test_a_listener_that_stops_reading_holds_up_nobody_and_is_told_what_it_lost(
    line_url: str, small_line: Any, line_decision: Any, line_evidence: Any
) -> None:
    made, evidence = line_decision(1), line_evidence(1)
    listens = json.dumps({"listen": True, "tell": ["decision"]})
    sleeper = Sleeper(line_url)
    sleeper.send(listens)
    with connect(line_url) as awake:
        awake.send(listens)
        awake.recv(timeout=10)
        wait_for(lambda: len(small_line.sinks) == 2)
        numbers: list[int] = []
        for number in range(1, 10_001):
            piece = made.piece.model_copy(update={"number": number})
            for sink in small_line.sinks:
                sink.decided(made.model_copy(update={"piece": piece}), evidence)
            if number % 400 == 0:  # the other one reads meanwhile
                while not numbers or numbers[-1] < number:
                    numbers.append(json.loads(awake.recv(timeout=10))["decision"]["piece"]["number"])
        told = {"welcome": 0, "lost": 0, "decision": 0}
        for message in sleeper.messages():
            told[message["type"]] += message.get("messages", 1)
            if message["type"] == "decision" and message["decision"]["piece"]["number"] == 10_000:
                break
    sleeper.close()

    assert numbers == list(range(1, 10_001))
    assert told["lost"] > 1_000
    assert told["lost"] + told["decision"] == 10_000
