"""A line over OPC UA, read by asyncua's own client as a controller would."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, get_args

import asyncua
import pytest
from asyncua import ua

from weft.errors import LineError
from weft.line.records import AlarmCode, LaneCount
from weft_serving.line.plant.opcua import NAMESPACE, OpcUaServer


@pytest.fixture(scope="module")
def url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"opc.tcp://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def server(url: str) -> Iterator[OpcUaServer]:
    """One for all tests, because the standard's own 7,000 nodes take seconds; each test has its own line."""
    made = OpcUaServer(url)
    yield made
    made.close()


class Seen:
    """What a subscription delivered."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.events: list[Any] = []

    def datachange_notification(self, node: Any, value: Any, data: Any) -> None:
        self.values.append(value)

    def event_notification(self, event: Any) -> None:
        self.events.append(event)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.02)


async def node(client: asyncua.Client, path: str) -> Any:
    return client.get_node(f"ns={await client.get_namespace_index(NAMESPACE)};s={path}")


async def value(client: asyncua.Client, path: str) -> Any:
    """Waits for a good value: the sink hands over and does not wait."""
    asked = await node(client, path)
    async with asyncio.timeout(10):
        while True:
            found = await asked.read_data_value(raise_on_bad_status=False)
            if found.StatusCode.is_good():
                return found.Value
            await asyncio.sleep(0.02)


async def equals(client: asyncua.Client, path: str, expected: Any) -> None:
    """Waits until a value is what it should become."""
    async with asyncio.timeout(10):
        while (await value(client, path)).Value != expected:
            await asyncio.sleep(0.02)


def test_a_line_is_browsed_by_name_and_read_in_types_that_a_controller_knows(
    url: str, server: OpcUaServer, words: Any
) -> None:
    sink = server.sink(words.line, ["cotton"])
    sink.stood(words.state())
    sink.decided(words.decision(7, fire_encoder=5_000_000_000), words.evidence)

    async def read() -> None:
        async with asyncua.Client(url) as client:
            index = await client.get_namespace_index(NAMESPACE)
            line = await client.nodes.objects.get_child([f"{index}:Weft", f"{index}:{words.line}"])
            names = {(await node.read_browse_name()).Name for node in await line.get_children()}
            assert {"Running", "SpeedMmPerS", "Lanes", "Alarms", "LastDecision", "RulesVersion"} <= names

            expected = {
                "Running": (True, ua.VariantType.Boolean),
                "SpeedMmPerS": (1000.0, ua.VariantType.Double),
                "Pieces": (3_000_000_000, ua.VariantType.Int64),
                "PiecesPerMin": (61.5, ua.VariantType.Double),
                "KgPerHour": (700.25, ua.VariantType.Double),
                "RulesVersion": ("abc123", ua.VariantType.String),
                "LatencyP99Ms": (21.5, ua.VariantType.Double),
                "ReferenceAgeS": (60.0, ua.VariantType.Double),
                "TrainedOn": ("simulated", ua.VariantType.String),
                "Lanes.cotton.Pieces": (7, ua.VariantType.Int64),
                "Lanes.cotton.Grams": (1250.5, ua.VariantType.Double),
                "Lanes.cotton.Fired": (5, ua.VariantType.Int64),
                "Lanes.cotton.Late": (1, ua.VariantType.Int64),
                "Lanes.cotton.Held": (1, ua.VariantType.Int64),
                "LastDecision.Piece": (7, ua.VariantType.Int64),
                "LastDecision.Lane": ("cotton", ua.VariantType.String),
                "LastDecision.FireEncoder": (5_000_000_000, ua.VariantType.Int64),
                "LastDecision.Simulated": (True, ua.VariantType.Boolean),
                "Alarms.camera-silent.Active": (False, ua.VariantType.Boolean),
            }
            await value(client, f"{words.line}.Pieces")
            found = {path: await value(client, f"{words.line}.{path}") for path in expected}
            assert {path: (was.Value, was.VariantType) for path, was in found.items()} == expected

    asyncio.run(read())
    sink.close()


def test_a_subscriber_sees_every_decision_as_it_is_made(url: str, server: OpcUaServer, words: Any) -> None:
    sink = server.sink(words.line, ["cotton"])

    async def watch() -> None:
        async with asyncua.Client(url) as client:
            seen = Seen()
            subscription = await client.create_subscription(20, seen)
            await subscription.subscribe_data_change(
                await node(client, f"{words.line}.LastDecision.Piece"), queuesize=100
            )
            for number in range(1, 51):
                sink.decided(words.decision(number), words.evidence)
            await until(lambda: seen.values[-1:] == [50])
            assert [number for number in seen.values if number is not None] == list(range(1, 51))
            assert (await value(client, f"{words.line}.LastDecision.Sequence")).Value == 50

    asyncio.run(watch())
    sink.close()


def test_an_alarm_comes_and_goes_as_a_value_and_as_an_event(
    url: str, server: OpcUaServer, words: Any
) -> None:
    sink = server.sink(words.line, ["cotton"])
    alarm = words.alarm("reference-stale", cause="the white reference is 5 h old; take a new one")
    end = alarm.model_copy(update={"until": alarm.since + timedelta(minutes=5), "count": 3})

    async def watch() -> None:
        async with asyncua.Client(url) as client:
            seen = Seen()
            subscription = await client.create_subscription(20, seen)
            index = await client.get_namespace_index(NAMESPACE)
            kind = await client.nodes.base_event_type.get_child(f"{index}:LineAlarmType")
            await subscription.subscribe_events(client.nodes.server, kind)
            active = await node(client, f"{words.line}.Alarms.reference-stale.Active")
            await subscription.subscribe_data_change(active)

            sink.alarmed(alarm)
            await equals(client, f"{words.line}.AlarmsActive", 1)
            assert (await value(client, f"{words.line}.Alarms.reference-stale.Cause")).Value == alarm.cause
            assert (await value(client, f"{words.line}.Alarms.reference-stale.Since")).Value == alarm.since
            sink.alarmed(end)
            await equals(client, f"{words.line}.AlarmsActive", 0)
            assert (await value(client, f"{words.line}.Alarms.reference-stale.Count")).Value == 3
            assert (await value(client, f"{words.line}.Alarms.reference-stale.Until")).Value == end.until

            await until(lambda: len(seen.events) == 2 and len(seen.values) == 3)
            assert seen.values == [False, True, False]
            told = [(event.Line, event.Code, event.Active, event.Message.Text) for event in seen.events]
            assert told == [
                (words.line, "reference-stale", True, alarm.cause),
                (words.line, "reference-stale", False, alarm.cause),
            ]
            assert seen.events[0].Severity > seen.events[1].Severity
            assert seen.events[0].SourceNode == (await node(client, words.line)).nodeid

    asyncio.run(watch())
    sink.close()


def test_every_alarm_there_may_be_can_be_subscribed_to_from_the_start(
    url: str, server: OpcUaServer, words: Any
) -> None:
    sink = server.sink(words.line, ["cotton"])

    async def browse() -> None:
        async with asyncua.Client(url) as client:
            alarms = await (await node(client, f"{words.line}.Alarms")).get_children()
            names = {(await alarm.read_browse_name()).Name for alarm in alarms}
            assert names == set(get_args(AlarmCode))

    asyncio.run(browse())
    sink.close()


@pytest.mark.parametrize("user", [None, "admin"])
def test_nobody_writes_calls_or_adds_whoever_he_says_he_is(
    url: str, server: OpcUaServer, words: Any, user: str | None
) -> None:
    sink = server.sink(words.line, ["cotton"])
    sink.stood(words.state())

    async def meddle() -> None:
        client = asyncua.Client(url)
        if user is not None:
            client.set_user(user)
        async with client:
            await equals(client, f"{words.line}.Running", True)
            running = await node(client, f"{words.line}.Running")
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await running.write_value(False)
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await client.nodes.objects.add_variable(ua.NodeId("mine", 2), "2:mine", 1)
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await client.delete_nodes([running])
            assert (await value(client, f"{words.line}.Running")).Value is True

    if user is None:
        asyncio.run(meddle())
    else:  # a name is no right, and none is asked for
        with pytest.raises(ua.UaStatusCodeError, match="BadIdentityToken"):
            asyncio.run(meddle())
    sink.close()


def test_a_value_that_there_is_not_has_a_bad_quality_and_no_made_up_number(
    url: str, server: OpcUaServer, words: Any
) -> None:
    sink = server.sink(words.line, ["cotton"])

    async def read() -> None:
        async with asyncua.Client(url) as client:
            latency = await node(client, f"{words.line}.LatencyP99Ms")
            sink.stood(words.state(pieces=1))
            await equals(client, f"{words.line}.LatencyP99Ms", 21.5)
            sink.stood(words.state(pieces=2, latency_p99_ms=None))
            await equals(client, f"{words.line}.Pieces", 2)
            found = await latency.read_data_value(raise_on_bad_status=False)
            assert (found.StatusCode.name, found.Value.Value) == ("BadNoData", None)
            sink.stood(words.state(pieces=3))
            await equals(client, f"{words.line}.LatencyP99Ms", 21.5)

    asyncio.run(read())
    sink.close()


def test_lanes_come_and_go_with_the_rules(url: str, server: OpcUaServer, words: Any) -> None:
    sink = server.sink(words.line, ["cotton"])
    wool = LaneCount(lane="wool", pieces=2, grams=500.0)

    async def read() -> None:
        async with asyncua.Client(url) as client:
            sink.stood(words.state())
            await equals(client, f"{words.line}.Lanes.cotton.Pieces", 7)
            sink.stood(words.state(pieces=9, lanes=(wool,)))
            await equals(client, f"{words.line}.Pieces", 9)
            assert (await value(client, f"{words.line}.Lanes.wool.Grams")).Value == 500.0
            gone = await (await node(client, f"{words.line}.Lanes.cotton.Pieces")).read_data_value(False)
            assert gone.StatusCode.name == "BadNoData"

    asyncio.run(read())
    sink.close()


def test_two_lines_stand_side_by_side_and_a_closed_one_does_not_run(
    url: str, server: OpcUaServer, words: Any
) -> None:
    one, other = f"{words.line}-1", f"{words.line}-2"
    first, second = server.sink(one, ["cotton"]), server.sink(other, ["cotton"])
    first.stood(words.state())
    second.stood(words.state(pieces=5))

    async def read() -> None:
        async with asyncua.Client(url) as client:
            await equals(client, f"{other}.Pieces", 5)
            await equals(client, f"{one}.Running", True)
            first.close()
            await equals(client, f"{one}.Running", False)
            assert (await value(client, f"{other}.Running")).Value is True

    asyncio.run(read())
    first.stood(words.state(pieces=6))  # too late, and no fault
    second.close()


def test_a_port_that_is_taken_is_told_at_once(url: str, server: OpcUaServer) -> None:
    with pytest.raises(LineError, match=r"OPC UA cannot listen on opc\.tcp://127.*free port and good files"):
        OpcUaServer(url)


@pytest.mark.slow
def test_a_server_that_is_closed_leaves_its_port_and_no_thread(free_port: int) -> None:
    before = set(threading.enumerate())
    for _ in range(2):
        OpcUaServer(f"opc.tcp://127.0.0.1:{free_port}").close()

    assert set(threading.enumerate()) <= before
