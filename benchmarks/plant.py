"""How many decisions a second reach a plant: by the outbox and an MQTT broker to another client, by OPC UA.

Run: python benchmarks/plant.py --broker mqtt://127.0.0.1 [--decisions 5000]

The broker is a real one. "Handed over" is the time that the line's own thread gives for each decision.
"""

import argparse
import tempfile
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from weft.line.records import Decision, Mass, Piece, Place, Share
from weft_serving.line.plant.mqtt import MqttSink
from weft_serving.line.plant.mqtt_broker import Broker, read_broker
from weft_serving.line.plant.opcua import OpcUaServer
from weft_serving.line.sinks import Evidence, Sink

EVIDENCE = Evidence(np.linspace(935, 1720, 224), np.zeros(224, np.float32), None)


def made_decisions(line: str, count: int) -> list[Decision]:
    """As large as a busy line's: an outline of 24 points, four fibres, about 1.6 kB of JSON."""
    outline = tuple((1000.123 + 10.456 * point, 200.789 + 3.21 * point) for point in range(24))
    fibres = ("cotton", "polyester", "elastane", "viscose")
    shares = tuple(Share(fibre=fibre, share=0.2475, low=0.1975, high=0.2975) for fibre in fibres)
    piece = Piece(
        line=line,
        number=1,
        seen_at=datetime.now(UTC),
        place=Place(first_mm=1000.123, last_mm=1400.456, left_mm=200.789, right_mm=500.123),
        outline_mm=outline,
        area_cm2=912.34,
        pixels=2_345,
        voted=2_101,
        shares=shares,
        unknown=0.0123,
        mass=Mass(grams=181.2, low_grams=120.3, high_grams=262.4),
        bundle_sha256="0" * 64,
    )
    decision = Decision(
        piece=piece,
        lane="cotton",
        wanted="cotton",
        reason="cotton >= 95 %",
        rules_version="abc123",
        ejector="e1",
        fire_encoder=123_456,
        hold_encoder=124_056,
        decided_encoder=120_000,
        latency_ms=12.3,
        outcome="fired",
        simulated=True,
    )
    return [
        decision.model_copy(update={"piece": piece.model_copy(update={"number": number})})
        for number in range(1, count + 1)
    ]


def hand_over(sink: Sink, decisions: list[Decision]) -> float:
    """Seconds for each decision in the calling thread."""
    start = time.perf_counter()
    for decision in decisions:
        sink.decided(decision, EVIDENCE)
    return (time.perf_counter() - start) / len(decisions)


def wait(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError("two minutes have passed; is the broker the one that was named?")
        time.sleep(0.005)


def through_mqtt(broker: Broker, count: int, folder: Path) -> None:
    line = f"bench-{uuid.uuid4().hex[:8]}"
    heard: list[Any] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(broker.user, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    client.on_message = lambda *given: heard.append(given[2].mid)
    client.connect(broker.host, broker.port)
    client.subscribe(f"{broker.prefix}/{line}/decisions", qos=1)
    client.loop_start()
    sink = MqttSink(line, broker, folder / "bench.sqlite", alarm=lambda code, cause: print(code, cause))
    time.sleep(1)  # both are connected
    decisions = made_decisions(line, count)
    start, spent = time.perf_counter(), time.process_time()
    each_s = hand_over(sink, decisions)
    wait(lambda: sink.on_disk == count)
    on_disk_s = time.perf_counter() - start
    wait(lambda: sink.waiting == 0 and len(heard) == count)
    arrived_s = time.perf_counter() - start
    spent = time.process_time() - spent
    one_s = [_one_way(sink, decision, heard) for decision in decisions[:100]]
    sink.close()
    client.disconnect()
    client.loop_stop()
    size = len(decisions[0].model_dump_json())
    print(f"MQTT: {count} decisions of {size} bytes, each with its command")
    print(f"  handed over: {1e6 * each_s:.0f} us each")
    print(f"  on disk: {count / on_disk_s:.0f} a second; heard by others: {count / arrived_s:.0f} a second")
    print(f"  processor time: {1e3 * spent / count:.2f} ms each, the other client's included")
    print(f"  one alone, to the other client: median {1e3 * float(np.median(one_s)):.1f} ms")


def _one_way(sink: MqttSink, decision: Decision, heard: list[Any]) -> float:
    before = len(heard)
    start = time.perf_counter()
    sink.decided(decision, EVIDENCE)
    wait(lambda: len(heard) > before)
    return time.perf_counter() - start


def through_opcua() -> None:
    server = OpcUaServer("opc.tcp://127.0.0.1:48400")
    sink = server.sink("bench", ["cotton"])
    decisions = made_decisions("bench", 1_000)  # more would be shown only in part: the newest count
    start = time.perf_counter()
    each_s = hand_over(sink, decisions)
    sink.close()
    shown_s = time.perf_counter() - start
    server.close()
    print("OPC UA: 1000 decisions, nobody subscribed")
    print(f"  handed over: {1e6 * each_s:.0f} us each; shown: {1000 / shown_s:.0f} a second")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--broker", required=True, help="as WEFT_MQTT_URL")
    parser.add_argument("--decisions", type=int, default=5_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        through_mqtt(read_broker(asked.broker), asked.decisions, Path(folder))
    through_opcua()


if __name__ == "__main__":
    main()
