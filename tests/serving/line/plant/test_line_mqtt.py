"""A line's words over MQTT 5, heard by another client on a real broker."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from weft.line.records import Alarm, Command, Decision, LineState, Online, RulesInForce
from weft_serving.line.plant.mqtt import MqttSink
from weft_serving.line.plant.mqtt_broker import read_broker
from weft_serving.line.plant.mqtt_messages import SCHEMAS
from weft_serving.line.plant.mqtt_schema import schema

Until = Callable[..., None]
NOON = "2026-11-22T12:00:00+00:00"


def say_everything(sink: MqttSink, words: Any) -> None:
    sink.ruled("abc123", {"lanes": [{"name": "cotton", "take": "cotton >= 95 %"}]}, words.state().at)
    sink.decided(words.decision(1), words.evidence)
    sink.alarmed(words.alarm())
    sink.stood(words.state())


def test_every_topic_carries_its_record(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path, user_properties: Any
) -> None:
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    sink = MqttSink(words.line, read_broker(broker.url), tmp_path / "demo.sqlite", alarm=told)
    until(lambda: listener.on("online"), "the connection")  # before it no command is given

    say_everything(sink, words)
    until(
        lambda: {message.topic.split("/", 2)[2] for message in listener.heard} >= set(EXPECTED), "all topics"
    )
    sink.close()

    line = words.line
    for tail, (name, record) in EXPECTED.items():
        message = listener.on(tail)[0]
        assert SCHEMAS[name].model_validate_json(message.payload) == record(words)
        assert (message.qos, message.properties.ContentType) == (1, "application/json")
        assert message.properties.PayloadFormatIndicator == 1
        said = user_properties(message)
        assert (said["weft-schema"], said["weft-schema-version"]) == (name, "1")
    assert user_properties(listener.on("decisions")[0])["weft-id"] == f"{line}/1/fired"
    assert (
        user_properties(listener.on("alarms/camera-silent")[0])["weft-id"] == f"{line}/camera-silent/{NOON}"
    )
    assert 0 < listener.on("commands")[0].properties.MessageExpiryInterval <= 10
    assert json.loads(listener.on("online")[-1].payload) == {"line": line, "online": False}
    assert told.all == []


EXPECTED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "online": ("online", lambda words: Online(line=words.line, online=True)),
    "state": ("state", lambda words: words.state()),
    "decisions": ("decision", lambda words: words.decision(1)),
    "alarms/camera-silent": ("alarm", lambda words: words.alarm()),
    "commands": (
        "command",
        lambda words: Command(
            line=words.line,
            piece=1,
            lane="cotton",
            ejector="e1",
            fire_encoder=10,
            hold_encoder=610,
            simulated=True,
        ),
    ),
    "rules": (
        "rules",
        lambda words: RulesInForce(
            line=words.line,
            version="abc123",
            at=words.state().at,
            rules={"lanes": [{"name": "cotton", "take": "cotton >= 95 %"}]},
        ),
    ),
}


@pytest.mark.mqtt
def test_a_plants_own_broker_takes_a_lines_words(
    listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    url = os.environ.get("WEFT_TEST_MQTT_URL")
    if not url:
        pytest.skip("WEFT_TEST_MQTT_URL names no broker")
    broker = read_broker(url)
    listener = listen(broker.port, f"weft/{words.line}/#", host=urlsplit(url).hostname)
    sink = MqttSink(words.line, broker, tmp_path / "demo.sqlite", alarm=told)
    until(lambda: listener.on("online"), "the connection")  # before it no command is given

    say_everything(sink, words)
    sink.alarmed(words.alarm(until=words.state().at))
    until(lambda: sink.waiting == 0 and listener.on("state") and listener.on("commands"), "the words")
    sink.close()

    until(lambda: len(listener.on("online")) == 2, "the farewell")
    for tail in ("online", "state", "rules"):  # the broker is not ours
        listener.forget(f"weft/{words.line}/{tail}")
    assert listener.pieces() == [1]
    assert told.all == []


def test_whoever_connects_later_finds_state_rules_and_the_alarms_that_last(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    sink = MqttSink(words.line, read_broker(broker.url), tmp_path / "demo.sqlite", alarm=told)
    early = listen(broker.port, "weft/#")
    say_everything(sink, words)
    until(lambda: sink.waiting == 0 and early.on("state") and early.on("rules"), "the words")

    late = listen(broker.port, f"weft/{words.line}/#")
    until(lambda: len(late.heard) == 4, "what is retained")

    assert {message.topic.split("/", 2)[2] for message in late.heard} == {
        "online",
        "state",
        "rules",
        "alarms/camera-silent",
    }
    assert all(message.retain for message in late.heard)
    assert LineState.model_validate_json(late.on("state")[0].payload) == words.state()
    sink.close()


def test_an_alarm_that_ends_is_told_with_its_end_and_no_longer_retained(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    sink = MqttSink(words.line, read_broker(broker.url), tmp_path / "demo.sqlite", alarm=told)
    listener = listen(broker.port, "weft/#")

    sink.alarmed(words.alarm())
    sink.alarmed(words.alarm("late-decisions"))
    sink.alarmed(words.alarm(until=words.state().at, count=3))
    until(lambda: len(listener.on("alarms/camera-silent")) == 3, "the alarm's three messages")

    began, ended, cleared = listener.on("alarms/camera-silent")
    assert Alarm.model_validate_json(began.payload).until is None
    assert Alarm.model_validate_json(ended.payload) == words.alarm(until=words.state().at, count=3)
    assert cleared.payload == b""
    until(lambda: sink.waiting == 0, "all to be acknowledged")
    late = listen(broker.port, f"weft/{words.line}/alarms/#")
    until(lambda: late.heard, "the other alarm")
    assert [message.topic.rsplit("/", 1)[1] for message in late.heard] == ["late-decisions"]
    sink.close()


def test_a_command_that_is_withdrawn_says_so_and_one_without_an_ejector_is_none(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    sink = MqttSink(words.line, read_broker(broker.url), tmp_path / "demo.sqlite", alarm=told)
    until(lambda: listener.on("online"), "the connection")  # before it no command is given

    sink.decided(words.decision(1), words.evidence)
    sink.decided(words.decision(1, outcome="held", lane="rest"), words.evidence)
    sink.decided(words.decision(2, outcome="late", lane="rest"), words.evidence)
    nothing = {"ejector": None, "fire_encoder": None, "hold_encoder": None}
    sink.decided(words.decision(3, outcome="passed", lane="rest", **nothing), words.evidence)
    until(lambda: len(listener.on("decisions")) == 4 and len(listener.on("commands")) == 2, "the words")
    sink.close()

    commands = [Command.model_validate_json(message.payload) for message in listener.on("commands")]
    assert [(command.piece, command.withdrawn) for command in commands] == [(1, False), (1, True)]
    decisions = [Decision.model_validate_json(message.payload) for message in listener.on("decisions")]
    assert [decision.outcome for decision in decisions] == ["fired", "held", "late", "passed"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_in_the_documents_are_those_of_the_records(name: str) -> None:
    path = Path(__file__).parents[4] / "docs" / "line" / f"mqtt-{name}.json"

    assert json.loads(path.read_text()) == schema(name), (
        "run: python -m weft_serving.line.plant.mqtt_schema docs/line"
    )
