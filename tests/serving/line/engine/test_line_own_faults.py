"""References, outputs, parts and time that fail: an alarm and its cause, and the line goes on by itself."""

from typing import Any

import pytest

from weft.errors import FrameError, StoreError
from weft.line.reader import BeltReader
from weft.line.records import Alarm, Decision
from weft_serving.line.inbox import Stretch, spoil
from weft_serving.line.see.pieces import PieceFinder
from weft_serving.line.sinks import Evidence

from .conftest import Plant, sorts_again, told_once_each_way


def test_a_reference_that_is_too_old(plant: Plant) -> None:
    plant.clock.pass_by(3_601)
    plant.wait(0.6)
    plant.run(300)
    plant.lay("cotton", 40)
    plant.run(300)
    assert plant.told.outcomes == [("cotton", "held")]
    assert "record both again" in plant.told.begun("reference-stale")[0].cause

    for sensor, level in (("white", 1.0), ("dark", 0.0)):
        plant.take(plant.reference(sensor, level))
    plant.run(1_200)
    told_once_each_way(plant, "reference-stale", "60 minutes old, 60 are allowed")
    sorts_again(plant)


def test_a_saturated_reference_is_refused_and_the_old_one_stays(plant: Plant) -> None:
    plant.take(plant.reference("dark", 0.0))
    plant.take(plant.reference("white", 3.0))
    plant.run(20)
    assert "is saturated" in plant.told.begun("reference-saturated")[0].cause
    plant.lay("cotton", 40)
    plant.run(300)
    assert plant.told.outcomes == [("cotton", "fired")]

    plant.take(plant.reference("white", 1.0))
    plant.wait(0.1)
    told_once_each_way(plant, "reference-saturated", "those in use stay")


class Broken:
    """A sink that raises, as none should."""

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        raise StoreError("no room")

    def alarmed(self, alarm: Alarm) -> None:
        raise OSError("no disk")

    def stood(self, state: Any) -> None:
        raise RuntimeError("no state")

    def close(self) -> None:
        return


def test_a_sink_that_breaks_does_not_stop_the_line_nor_keep_others_from_being_told(plant: Plant) -> None:
    leave = plant.engine.subscribe(Broken())
    plant.lay("cotton", 40)
    plant.run(300)

    assert plant.told.outcomes == [("cotton", "fired")]
    assert "Broken broke with" in plant.told.begun("engine-fault")[0].cause
    leave()
    plant.slow = 5.0
    plant.run(1_200)  # in 6 s
    told_once_each_way(plant, "engine-fault", "the line goes on")


def test_a_sink_tells_of_its_own_trouble(plant: Plant) -> None:
    tell, other = plant.engine.alarm_of("store"), plant.engine.alarm_of("plant")
    tell("disk-full", "no room for records; make some")
    other("disk-full", "no room for the outbox; make some")
    tell("disk-full", None)
    plant.lay("cotton", 40)
    plant.run(300)
    assert plant.told.outcomes == [("cotton", "fired")]
    assert plant.told.ended("disk-full") == []

    other("disk-full", None)
    plant.wait(0.1)
    # Told when it began, when the outbox had no room either, and when both had again.
    begun, ended = plant.told.begun("disk-full"), plant.told.ended("disk-full")
    assert begun[0].cause == "no room for records; make some"
    assert begun[1].cause == "no room for records; make some; also: no room for the outbox; make some"
    assert [alarm.since for alarm in (*begun, *ended)] == [begun[0].since] * 3
    assert plant.engine.state().alarms == ()


def test_a_part_of_ours_that_breaks_is_started_again(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.lay("polyester", 40)
    plant.lay("cotton", 200, length_mm=200)
    plant.run(300)
    assert plant.told.outcomes == [("polyester", "fired")]

    def burst(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    with monkeypatch.context() as broken:
        broken.setattr(PieceFinder, "add", burst)
        plant.run(40)
    plant.run(200)

    assert plant.told.outcomes[0] == ("polyester", "held")
    assert {outcome for _, outcome in plant.told.outcomes} == {"held"}
    plant.run(1_200)
    told_once_each_way(plant, "engine-fault", "broke with ZeroDivisionError (of ours) and was started again")
    sorts_again(plant)


def test_too_many_frames_drop_the_oldest_and_what_they_showed_goes_to_the_rest(plant: Plant) -> None:
    plant.lay("cotton", 40)
    plant.lay("polyester", 700)
    for _ in range(40):  # 400 rows; 256 may wait
        plant.engine.take(plant.frame())
    plant.engine.step()

    assert plant.engine.dropped_frames == 15
    assert plant.engine.state().dropped_frames == 15
    plant.run(200)
    assert ("polyester", "fired") in plant.told.outcomes
    assert not any(lane == "cotton" and outcome == "fired" for lane, outcome in plant.told.outcomes)
    plant.wait(4)
    assert "waiting nir frames were dropped" in plant.told.begun("overload")[0].cause
    assert len(plant.told.ended("overload")) == 1


def test_a_late_decision_is_never_fired_and_is_counted(reader: BeltReader) -> None:
    near = {"name": "e1", "position_mm": 70, "left_mm": 0, "right_mm": 120, "delay_ms": 15, "jitter_ms": 2}
    far = {"name": "e2", "position_mm": 900, "left_mm": 0, "right_mm": 120, "delay_ms": 15, "jitter_ms": 2}
    plant = Plant(reader, ejectors=[near, far])
    plant.run(200)
    plant.lay("cotton", 40)
    plant.run(300)

    decision = plant.told.decisions[0]
    assert (decision.wanted, decision.lane, decision.outcome) == ("cotton", "rest", "late")
    assert decision.fire_encoder is None
    assert plant.told.commands == []
    assert "too late to be fired" in plant.told.begun("late-decisions")[0].cause
    assert [lane.late for lane in plant.engine.state().lanes] == [1, 0, 0]
    plant.engine.close()


@pytest.mark.parametrize("sensor", ["nir", "white", "dark", None])
def test_refusals_without_a_frame_are_taken_from_anybody(plant: Plant, sensor: str | None) -> None:
    plant.engine.refuse(sensor, FrameError("nothing came; send something"))
    plant.wait(0.1)

    assert [alarm.cause for alarm in plant.told.begun("broken-frame")] == ["nothing came; send something"]


def test_faults_that_last_for_hours_take_no_more_memory_than_short_ones() -> None:
    known: list[Stretch] = []
    for first in range(0, 10_000, 10):
        spoil(known, Stretch(first, first + 10, "camera-rate"))
    spoil(known, Stretch(20_000, 20_010, "camera-rate"))
    spoil(known, Stretch(20_010, 20_020, "overload"))

    assert known == [
        Stretch(0, 10_000, "camera-rate"),
        Stretch(20_000, 20_010, "camera-rate"),
        Stretch(20_010, 20_020, "overload"),
    ]
