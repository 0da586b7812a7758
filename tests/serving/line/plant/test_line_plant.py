"""What the settings name is started, and nothing else; what a line hands over too fast is counted."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from weft.errors import LineError
from weft.line.records import Gap
from weft_serving.line.plant import intake, mqtt
from weft_serving.line.plant.intake import Intake
from weft_serving.line.plant.mqtt import MqttSink
from weft_serving.line.plant.outbox import Outbox
from weft_serving.line.plant.outputs import open_plant
from weft_serving.settings import Settings, read_settings


def test_nothing_is_started_that_the_settings_do_not_name(words: Any, told: Any, tmp_path: Path) -> None:
    plant = open_plant(Settings(outbox=tmp_path / "outbox"))

    assert plant.sinks("demo", ["cotton"], told) == []
    plant.ruled("demo", "abc123", {}, words.state().at)
    plant.close()
    assert not (tmp_path / "outbox").exists()


def test_mqtt_gets_an_outbox_for_each_line_and_the_rules_in_force(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Callable[..., None], tmp_path: Path
) -> None:
    broker = make_broker()
    listener = listen(broker.port, "sorting/#")
    variables = {"WEFT_MQTT_URL": f"{broker.url}/sorting", "WEFT_OUTBOX": str(tmp_path / "outbox")}
    plant = open_plant(read_settings(variables))

    (sink,) = plant.sinks(words.line, ["cotton"], told)
    plant.ruled(words.line, "abc123", {"rest": "rest"}, words.state().at)
    until(lambda: listener.on("rules"), "the rules")
    sink.close()
    plant.close()

    assert listener.on("rules")[0].topic == f"sorting/{words.line}/rules"
    assert (tmp_path / "outbox" / f"{words.line}.sqlite").exists()


@pytest.mark.slow
def test_a_line_of_a_closed_opc_ua_server_raises_nothing(words: Any, told: Any, free_port: int) -> None:
    plant = open_plant(read_settings({"WEFT_OPCUA_URL": f"opc.tcp://127.0.0.1:{free_port}"}))
    (sink,) = plant.sinks("demo", ["cotton"], told)
    plant.close()

    sink.stood(words.state())  # the wrong order costs nothing but what is shown
    sink.close()


@pytest.mark.parametrize(
    ("named", "package"), [("mqtt_url", "aiomqtt"), ("opcua_url", "asyncua")], ids=["MQTT", "OPC UA"]
)
def test_a_missing_extra_is_named_with_what_installs_it(
    named: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("weft_serving.line.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(
        LineError, match=rf"need {package}.*, which is not installed; pip install 'weft\[plant\]'"
    ):
        open_plant(Settings(**{named: SecretStr("mqtt://broker")}))


def test_a_password_in_a_setting_is_never_shown() -> None:
    found = read_settings({"WEFT_MQTT_URL": "mqtt://u:open-sesame@h", "WEFT_MQTT_PASSWORD": "open-sesame"})

    assert "open-sesame" not in repr(found)


def test_what_is_handed_over_faster_than_any_disk_takes_it_is_counted_as_a_gap(
    words: Any, told: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_MOST_HANDED", 5)
    outbox = Outbox(tmp_path / "demo.sqlite")
    taking = Intake("demo", outbox, told)

    for number in range(1, 9):
        taking.hand(words.decision(number))
    taking.file()
    assert "left out from piece 6 on, because the disk did not answer in time" in told.all[0][1]
    taking.hand(words.decision(9))
    taking.file()

    letters = outbox.oldest(100)
    assert [letter.draft.kind for letter in letters] == ["decision"] * 5 + ["gap", "decision"]
    gap = Gap.model_validate_json(letters[5].draft.payload)
    assert (gap.records, gap.first_piece, gap.last_piece) == (3, 6, 8)
    assert told.codes() == ["+disk-full", "-disk-full"]
    assert taking.on_disk == 6
    outbox.close()


def test_an_output_that_breaks_is_told_of_and_begun_again(
    make_broker: Any,
    listen: Any,
    words: Any,
    told: Any,
    until: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = iter([True])
    oldest = Outbox.oldest

    def breaks_once(outbox: Outbox, count: int) -> Any:
        if next(broken, False):
            raise ZeroDivisionError
        return oldest(outbox, count)

    monkeypatch.setattr(Outbox, "oldest", breaks_once)
    monkeypatch.setattr(mqtt, "_RETRY_S", (0.05, 0.1))
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    settings = read_settings({"WEFT_MQTT_URL": broker.url, "WEFT_OUTBOX": str(tmp_path)})
    (sink,) = open_plant(settings).sinks(words.line, ["cotton"], told)
    assert isinstance(sink, MqttSink)

    sink.decided(words.decision(1), words.evidence)
    until(lambda: listener.pieces() == [1], "the decision, after all")
    until(lambda: told.codes() == ["+engine-fault", "-engine-fault"], "the end of the alarm")
    sink.close()

    assert "MQTT broke (ZeroDivisionError()) and was begun again" in told.all[0][1]
