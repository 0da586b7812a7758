"""Words of a line to send, brokers to send them to (one that a test starts and stops), and a listener."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from weft.line.records import Alarm, AlarmCode, Decision, LaneCount, LineState, Mass, Piece, Place, Share
from weft_serving.line.sinks import Evidence

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Words:
    """Records of one line, with what a test wants to be different."""

    evidence = Evidence(np.linspace(935, 1720, 8), np.zeros(8, np.float32), None)

    def __init__(self, line: str = "demo") -> None:
        self.line = line

    def decision(self, number: int, **changes: Any) -> Decision:
        """A cotton shirt, 300 by 300 mm, blown off its lane's ejector."""
        at_mm = 400.0 * number
        corners = ((at_mm, 100.0), (at_mm + 300, 100.0), (at_mm + 300, 400.0), (at_mm, 400.0))
        piece = Piece(
            line=self.line,
            number=number,
            seen_at=NOON + timedelta(seconds=number),
            place=Place(first_mm=at_mm, last_mm=at_mm + 300, left_mm=100, right_mm=400),
            outline_mm=corners * 6,
            area_cm2=900,
            pixels=2_000,
            voted=1_800,
            shares=(Share(fibre="cotton", share=0.98, low=0.95, high=1.0),),
            unknown=0.02,
            mass=Mass(grams=180, low_grams=120, high_grams=260),
            bundle_sha256="0" * 64,
        )
        given: dict[str, Any] = {
            "piece": piece,
            "lane": "cotton",
            "wanted": "cotton",
            "reason": "cotton >= 95 %",
            "rules_version": "abc123",
            "ejector": "e1",
            "fire_encoder": 10 * number,
            "hold_encoder": 10 * number + 600,
            "decided_encoder": 10 * number - 3_000,
            "latency_ms": 12.0,
            "outcome": "fired",
            "simulated": True,
        }
        return Decision(**(given | changes))

    def alarm(self, code: AlarmCode = "camera-silent", **changes: Any) -> Alarm:
        cause = "the NIR camera has been silent for 2 s; check its cable"
        return Alarm(**({"line": self.line, "code": code, "cause": cause, "since": NOON} | changes))

    def state(self, **changes: Any) -> LineState:
        given: dict[str, Any] = {
            "line": self.line,
            "at": NOON,
            "running": True,
            "rules_version": "abc123",
            "bundle_sha256": "0" * 64,
            "trained_on": "simulated",
            "encoder": 5_000_000_000,  # more than 32 bits: a belt of a few months
            "speed_mm_per_s": 1000.0,
            "pieces": 3_000_000_000,
            "pieces_per_min": 61.5,
            "kg_per_h": 700.25,
            "latency_p50_ms": 9.0,
            "latency_p99_ms": 21.5,
            "deadline_ms": 400.0,
            "reference_age_s": 60.0,
            "lanes": (LaneCount(lane="cotton", pieces=7, grams=1250.5, fired=5, late=1, held=1),),
            "alarms": (),
        }
        return LineState(**(given | changes))


class Told:
    """The alarms that a sink told of, in order."""

    def __init__(self) -> None:
        self.all: list[tuple[AlarmCode, str | None]] = []

    def __call__(self, code: AlarmCode, cause: str | None) -> None:
        assert code in get_args(AlarmCode)
        self.all.append((code, cause))

    def codes(self) -> list[str]:
        """Each with "+" at its beginning and "-" at its end."""
        return [("-" if cause is None else "+") + code for code, cause in self.all]


class Cable:
    """A way to a port that can be cut, and then leads nowhere, and mended."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._ends: list[socket.socket] = []
        self._swallows = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._server.close()

    def mend(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._join, args=(self._server,), daemon=True).start()

    def swallow(self) -> None:
        """What goes in does not come out, and nobody is told: a switch that has died."""
        self._swallows = True

    def cut(self) -> None:
        self._swallows = False
        for end in (self._server, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
            end.close()
        self._ends.clear()

    def _join(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", self._to_port))
                self._ends += [near, far]
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if not self._swallows:
                    sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Mosquitto:
    """A broker of the test's own, and a cable to it. What it has taken survives its stop.

    Listeners sit beside it and are back before the cable is mended: Mosquitto 2.0.11 does not keep for a
    session that it restored what comes before its owner is back.
    """

    def __init__(
        self, program: str, folder: Path, listeners: "list[Listener]", settings: tuple[str, ...]
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.cable = Cable(self.port)
        self.url = f"mqtt://127.0.0.1:{self.cable.port}"
        self._program = program
        self._listeners = listeners
        self._config = folder / "mosquitto.conf"
        # user root: it would drop to a user that may not read the test's folder
        lines = ["user root", "persistence true", f"persistence_location {folder}/", "max_queued_messages 0"]
        lines += [f"listener {self.port} 127.0.0.1", *(settings or ("allow_anonymous true",))]
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [self._program, "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, "mosquitto to listen")
        for listener in self._listeners:
            assert listener.listens.wait(15)
        self.cable.mend()

    def stop(self) -> None:
        self.cable.cut()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None
            wait_until(lambda: not any(one.listens.is_set() for one in self._listeners), "listeners to go")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


class Listener:
    """Everything said below a topic, in order, by paho's own client in its own thread.

    Its session outlives a broken connection, as a plant's has to: the broker keeps what comes meanwhile.
    """

    def __init__(self, port: int, topics: str, *, host: str = "127.0.0.1") -> None:
        self.heard: list[paho.MQTTMessage] = []
        self.listens = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, uuid.uuid4().hex, protocol=paho.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(
            topics, options=SubscribeOptions(qos=1, retainHandling=1)
        )
        self._client.on_subscribe = lambda *_: self.listens.set()
        self._client.on_disconnect = lambda *_: self.listens.clear()
        self._client.on_message = lambda _, __, message: self.heard.append(message)
        self._client.reconnect_delay_set(0.1, 0.2)
        lasting: Any = Properties(PacketTypes.CONNECT)
        lasting.SessionExpiryInterval = 600
        # Mosquitto writes down no session that began clean, however long it was to last
        self._client.connect(host, port, clean_start=False, properties=lasting)
        self._client.loop_start()
        assert self.listens.wait(10)

    def on(self, tail: str) -> list[paho.MQTTMessage]:
        return [message for message in list(self.heard) if message.topic.endswith("/" + tail)]

    def pieces(self) -> list[int]:
        """Numbers of the decided pieces as they came, doubles dropped by their id."""
        seen = dict.fromkeys(properties(message)["weft-id"] for message in self.on("decisions"))
        return [int(identity.split("/")[1]) for identity in seen]

    def forget(self, topic: str) -> None:
        """Take back what the broker retains."""
        self._client.publish(topic, b"", qos=1, retain=True).wait_for_publish(10)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def properties(message: paho.MQTTMessage) -> dict[str, str]:
    return dict(message.properties.UserProperty)  # type: ignore[union-attr]


def wait_until(holds: Callable[[], object], what: str, *, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.02)


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def words() -> Words:
    return Words(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def user_properties() -> Callable[[paho.MQTTMessage], dict[str, str]]:
    return properties


@contextlib.contextmanager
def no_room(outbox: Path) -> Iterator[None]:
    """No file of this process can outgrow the outbox's log: writes fail as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = outbox.with_name(f"{outbox.name}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def full_disk() -> Callable[[Path], contextlib.AbstractContextManager[None]]:
    return no_room


@pytest.fixture
def listeners() -> list[Listener]:
    """Those that `listen` made."""
    return []


@pytest.fixture
def make_broker(tmp_path: Path, listeners: list[Listener]) -> Iterator[Callable[..., Mosquitto]]:
    """A broker that runs; arguments are lines of its configuration."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    if not Path(program).exists():
        assert "WEFT_TEST_MQTT_URL" not in os.environ, (
            "CI has a broker and no program to start one of its own"
        )
        pytest.skip("mosquitto is not installed")
    made: list[Mosquitto] = []

    def start(*settings: str) -> Mosquitto:
        made.append(Mosquitto(program, tmp_path, listeners, settings))
        made[-1].start()
        return made[-1]

    yield start
    for broker in made:
        broker.stop()


@pytest.fixture
def listen(listeners: list[Listener]) -> Iterator[Callable[..., Listener]]:
    """Start listening: port, topics."""

    def start(port: int, topics: str, **options: Any) -> Listener:
        listeners.append(Listener(port, topics, **options))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()
