"""A broker that goes away, comes back, refuses; a service that is killed: no record is lost."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weft.line.records import Command, Gap
from weft_serving.line.plant.mqtt import MqttSink
from weft_serving.line.plant.mqtt_broker import read_broker
from weft_serving.line.plant.outbox import Outbox

Until = Callable[..., None]


def test_a_broker_that_goes_and_returns_costs_no_decision_and_is_told_of(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    sink = MqttSink(words.line, read_broker(broker.url), tmp_path / "demo.sqlite", alarm=told)
    sink.stood(words.state())

    for number in range(1, 301):
        sink.decided(words.decision(number), words.evidence)
        if number == 100:
            until(lambda: listener.on("decisions"), "the first decisions")
            broker.stop()  # amid the stream: some are on their way
        if number == 200:
            until(lambda: told.codes() == ["+broker-down"], "the alarm")
            until(lambda: sink.on_disk == 200, "the disk")
            broker.start()
    until(lambda: sink.waiting == 0, "all to be acknowledged")
    until(lambda: len(listener.pieces()) >= 300, "the listener, which lost its broker too")

    assert listener.pieces() == list(range(1, 301))
    until(lambda: told.codes() == ["+broker-down", "-broker-down"], "the end of the alarm")
    assert f"the broker {broker.url} is not there" in told.all[0][1]
    assert "(the connection broke)" in told.all[0][1]
    assert "records wait on disk" in told.all[0][1]
    commanded = {Command.model_validate_json(message.payload).piece for message in listener.on("commands")}
    assert not commanded & set(range(101, 201))  # too late to be carried out
    until(lambda: len(listener.on("state")) == 2, "the state, anew: a broker may have forgotten it")
    sink.close()


def test_a_broker_that_was_never_there_holds_nobody_up_and_gets_all_from_the_next_start(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    broker.stop()
    path = tmp_path / "demo.sqlite"
    first = MqttSink(words.line, read_broker(broker.url), path, alarm=told)
    for number in range(1, 51):
        first.decided(words.decision(number), words.evidence)
    first.close()
    outbox = Outbox(path)
    assert outbox.waiting == 50
    outbox.close()

    broker.start()
    listener = listen(broker.port, f"weft/{words.line}/#")
    second = MqttSink(words.line, read_broker(broker.url), path, alarm=told)
    second.decided(words.decision(51), words.evidence)
    until(lambda: len(listener.pieces()) == 51, "all decisions")
    second.close()

    assert listener.pieces() == list(range(1, 52))


SERVICE = """
import sys, time, json
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from conftest import Words
from weft_serving.line.plant.mqtt import MqttSink
from weft_serving.line.plant.mqtt_broker import read_broker
words = Words(sys.argv[3])
sink = MqttSink(sys.argv[3], read_broker(sys.argv[1]), Path(sys.argv[2]), alarm=lambda code, cause: None)
sink.alarmed(words.alarm())
number = 0
while True:
    number += 1
    sink.decided(words.decision(number), words.evidence)
    print(sink.on_disk - 1, flush=True)
    time.sleep(0.002)
"""


def test_kill_9_loses_no_decision_that_had_been_put_on_disk(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    path = tmp_path / "demo.sqlite"
    command = [sys.executable, "-c", SERVICE, broker.url, str(path), words.line, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        while int(service.stdout.readline()) < 100:
            pass
        until(lambda: listener.on("alarms/camera-silent"), "the alarm")
        broker.stop()
        while (kept := int(service.stdout.readline())) < 300:
            pass
        service.send_signal(signal.SIGKILL)

    broker.start()
    sink = MqttSink(words.line, read_broker(broker.url), path, alarm=told)
    until(lambda: sink.waiting == 0, "all to be acknowledged")
    until(lambda: len(listener.pieces()) >= kept, "the listener")
    sink.close()

    found = listener.pieces()
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= kept


def test_a_killed_service_is_offline_and_its_alarms_do_not_outlive_the_next_start(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    path = tmp_path / "demo.sqlite"
    command = [sys.executable, "-c", SERVICE, broker.url, str(path), words.line, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        until(lambda: listener.on("alarms/camera-silent") and listener.on("decisions"), "the words")
        service.send_signal(signal.SIGKILL)
    until(lambda: b"false" in listener.on("online")[-1].payload, "the last will")

    sink = MqttSink(words.line, read_broker(broker.url), path, alarm=told)
    until(lambda: listener.on("alarms/camera-silent")[-1].payload == b"", "the old alarm to be taken back")
    until(lambda: sink.waiting == 0, "the rest")
    late = listen(broker.port, f"weft/{words.line}/#")
    until(lambda: late.on("online"), "what is retained")

    assert late.on("alarms/camera-silent") == []
    assert b"true" in late.on("online")[0].payload
    sink.close()


def test_a_broker_that_refuses_our_records_keeps_them_waiting(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    rights = tmp_path / "rights"
    rights.write_text(f"topic read weft/#\ntopic write weft/{words.line}/online\n")
    broker = make_broker("allow_anonymous true", f"acl_file {rights}")
    listener = listen(broker.port, "weft/#")
    sink = MqttSink(words.line, read_broker(broker.url), tmp_path / "demo.sqlite", alarm=told)
    sink.decided(words.decision(1), words.evidence)
    until(lambda: told.all, "the alarm")

    assert told.codes() == ["+broker-down"]
    assert "it refuses our messages: Not authorized" in told.all[0][1]
    assert sink.waiting == 1
    broker.stop()
    rights.write_text("topic readwrite weft/#\n")
    broker.start()
    until(lambda: sink.waiting == 0, "the decision to be taken")
    until(lambda: listener.pieces() == [1], "the listener")
    until(lambda: told.codes() == ["+broker-down", "-broker-down"], "the end of the alarm")
    sink.close()


def test_a_queue_that_is_full_leaves_a_gap_that_is_named_in_its_place(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    broker.stop()
    path = tmp_path / "demo.sqlite"
    sink = MqttSink(words.line, read_broker(broker.url), path, alarm=told, most_bytes=100_000)
    for number in range(1, 201):
        sink.decided(words.decision(number), words.evidence)
    until(lambda: "+disk-full" in told.codes(), "the alarm")
    fitted = sink.waiting
    assert 20 < fitted < 150

    broker.start()
    listener = listen(broker.port, f"weft/{words.line}/#")
    until(lambda: sink.waiting == 0 and "-disk-full" in told.codes(), "the queue to be emptied")
    sink.decided(words.decision(201), words.evidence)
    until(lambda: listener.pieces()[-1:] == [201], "the next decision")
    sink.close()

    full = dict(told.all[::-1])["disk-full"]
    assert full is not None
    assert f"left out from piece {fitted + 1} on, because the queue to the broker is full" in full
    (gap,) = (Gap.model_validate_json(message.payload) for message in listener.on("gaps"))
    assert (gap.records, gap.first_piece, gap.last_piece) == (200 - fitted, fitted + 1, 200)
    tails = [message.topic.rsplit("/", 1)[1] for message in listener.heard]
    assert tails.index("gaps") > fitted  # after those that fitted
    assert tails.index("gaps") < len(tails) - 1 - tails[::-1].index("decisions")  # before those that follow


def test_a_full_disk_is_told_of_and_costs_nothing_while_the_broker_is_there(
    make_broker: Any,
    listen: Any,
    words: Any,
    told: Any,
    until: Until,
    tmp_path: Path,
    full_disk: Any,
) -> None:
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    path = tmp_path / "demo.sqlite"
    sink = MqttSink(words.line, read_broker(broker.url), path, alarm=told)
    with full_disk(path):
        for number in range(1, 51):
            sink.decided(words.decision(number), words.evidence)
        until(lambda: told.codes() == ["+disk-full"], "the alarm")
        until(lambda: len(listener.pieces()) == 50, "all decisions, out of memory")
    until(lambda: told.codes() == ["+disk-full", "-disk-full"], "the end of the alarm")
    sink.close()

    assert listener.pieces() == list(range(1, 51))
    assert "records for MQTT wait in memory: the disk under" in told.all[0][1]
    assert "make room or mend it" in told.all[0][1]
    again = Outbox(path)
    assert again.waiting == 0
    again.close()


@pytest.mark.slow
def test_a_network_that_swallows_everything_without_a_word_is_noticed(
    make_broker: Any, listen: Any, words: Any, told: Any, until: Until, tmp_path: Path
) -> None:
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    sink = MqttSink(words.line, read_broker(broker.url), tmp_path / "demo.sqlite", alarm=told)
    sink.decided(words.decision(1), words.evidence)
    until(lambda: listener.pieces() == [1], "the first decision")

    broker.cable.swallow()
    sink.decided(words.decision(2), words.evidence)
    until(lambda: told.codes() == ["+broker-down"], "the alarm")
    broker.cable.cut()
    broker.cable.mend()
    until(lambda: listener.pieces() == [1, 2], "the second decision")
    until(lambda: told.codes() == ["+broker-down", "-broker-down"], "the end of the alarm")
    sink.close()


def test_a_disk_that_hangs_does_not_hold_up_the_line(
    make_broker: Any,
    listen: Any,
    words: Any,
    told: Any,
    until: Until,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = threading.Event()
    add = Outbox.add
    monkeypatch.setattr(Outbox, "add", lambda self, drafts: answers.wait() and add(self, drafts))
    broker = make_broker()
    listener = listen(broker.port, f"weft/{words.line}/#")
    sink = MqttSink(words.line, read_broker(broker.url), tmp_path / "demo.sqlite", alarm=told)

    for number in range(1, 101):
        sink.decided(words.decision(number), words.evidence)  # returns, or this test would time out
    assert sink.on_disk == 0
    answers.set()
    until(lambda: len(listener.pieces()) == 100, "all decisions")
    sink.close()

    assert listener.pieces() == list(range(1, 101))


def test_what_comes_after_the_close_is_ignored_and_closing_twice_is_once(
    make_broker: Any, words: Any, told: Any, tmp_path: Path
) -> None:
    sink = MqttSink(words.line, read_broker(make_broker().url), tmp_path / "demo.sqlite", alarm=told)
    sink.close()

    sink.close()
    sink.decided(words.decision(1), words.evidence)
    sink.stood(words.state())
    sink.alarmed(words.alarm())

    assert told.all == []
