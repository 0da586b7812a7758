"""A line that nothing is wrong with: garments seen, decided, commanded at the right count, and counted."""

import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from weft.errors import RuleError
from weft.line.reader import BeltReader
from weft.line.records import Decision
from weft.line.rules import rules_from_text
from weft_serving.line.engine import LineEngine, SystemClock, Tools
from weft_serving.line.timing import Command

from .conftest import COLOUR, FRAME_S, LANES, Plant, Told


def commands(plant: Plant) -> list[Command]:
    return [order for order in plant.told.commands if isinstance(order, Command)]


def test_garments_are_commanded_into_the_lane_of_their_fibre(plant: Plant) -> None:
    plant.lay("cotton", 40)
    plant.lay("polyester", 240)
    plant.lay("wool", 440)
    plant.run(1_000)

    assert plant.told.outcomes == [("cotton", "fired"), ("polyester", "fired"), ("rest", "passed")]
    assert [order.ejector for order in commands(plant)] == ["e1", "e2"]
    assert plant.told.alarms == []
    first = plant.told.decisions[0]
    assert first.piece.shares[0].fibre == "cotton"
    assert first.piece.area_cm2 == pytest.approx(64, rel=0.1)  # 80 mm x 80 mm
    assert first.rules_version == plant.engine.rules.version
    assert plant.told.evidence[0].absorbance.shape == (31,)


def test_the_air_meets_the_middle_of_the_garment_at_its_ejector_at_the_speed_the_encoder_tells(
    plant: Plant,
) -> None:
    garment = plant.lay("cotton", 40)
    plant.run(600)

    command = commands(plant)[0]
    middle = (garment.first_mm + garment.last_mm) / 2
    opens = command.fire_encoder + 15 * 10  # 15 ms of delay at 10 counts a millisecond
    closes = command.hold_encoder + 15 * 10
    meets = (middle + 400) * 10 + plant.offset  # the ejector sits 400 mm down
    assert (opens + closes) / 2 == pytest.approx(meets, abs=15)
    assert closes - opens == pytest.approx(400, abs=2)  # a pulse of 40 ms
    assert plant.told.decisions[0].decided_encoder < command.fire_encoder


def test_the_command_goes_out_before_anybody_is_told_why(plant: Plant) -> None:
    order: list[str] = []
    plant.engine.listen(lambda _: order.append("command"))
    plant.told.decided = lambda *_: order.append("decision")  # type: ignore[method-assign]
    plant.lay("cotton", 40)
    plant.run(300)

    assert order == ["command", "decision"]


def test_at_half_the_speed_the_lead_for_the_ejectors_delay_is_half_as_long(plant: Plant) -> None:
    plant.slow = 2
    plant.run(800)  # the gauge forgets the old speed
    garment = plant.lay("cotton", 40)
    plant.run(600)

    command = commands(plant)[0]
    meets = ((garment.first_mm + garment.last_mm) / 2 + 400) * 10 + plant.offset
    assert meets - command.fire_encoder == pytest.approx((15 + 20) * 5, abs=20)
    assert plant.engine.state().speed_mm_per_s == pytest.approx(500, rel=0.02)


def test_the_state_counts_lanes_and_tells_latency_speed_and_deadline(plant: Plant) -> None:
    plant.lay("cotton", 40)
    plant.lay("wool", 240)
    plant.run(1_000)

    state = plant.engine.state()
    assert [(lane.lane, lane.pieces, lane.fired) for lane in state.lanes] == [
        ("cotton", 1, 1), ("polyester", 0, 0), ("rest", 1, 0),
    ]  # fmt: skip
    assert state.running
    assert state.pieces == 2
    assert state.speed_mm_per_s == pytest.approx(1000, rel=0.01)
    assert state.deadline_ms == pytest.approx(385, rel=0.01)
    assert state.latency_p99_ms is not None
    assert state.latency_p99_ms <= 2 * FRAME_S * 1e3
    assert state.reference_age_s == pytest.approx((plant.clock.now() - plant.references_at).seconds, abs=1)
    assert plant.told.states[-1].line == "small"


def test_numbers_go_on_from_an_earlier_run(plant: Plant) -> None:
    plant.engine.go_on_from(41)
    plant.lay("wool", 40)
    plant.run(300)

    assert plant.told.decisions[0].piece.number == 42


def test_new_rules_hold_from_the_next_garment_on_and_every_decision_names_its_version(plant: Plant) -> None:
    old = plant.engine.rules.version
    plant.lay("cotton", 40)
    plant.run(300)

    plant.engine.change_rules(plant.engine.check_rules(LANES.replace("ejector: e1", "ejector: e2", 1)))
    plant.lay("cotton", 40)
    plant.run(300)

    versions = [decision.rules_version for decision in plant.told.decisions]
    assert versions == [old, plant.engine.rules.version]
    assert old != plant.engine.rules.version
    assert [order.ejector for order in commands(plant)] == ["e1", "e2"]


def test_refused_rules_are_an_alarm_and_the_old_ones_stay(plant: Plant) -> None:
    with pytest.raises(RuleError, match="cottn"):
        plant.engine.check_rules(LANES.replace("take: cotton", "take: cottn"))
    plant.lay("cotton", 40)
    plant.run(300)

    assert plant.told.outcomes == [("cotton", "fired")]
    assert "cottn" in plant.told.begun("bad-rules")[0].cause
    plant.engine.change_rules(plant.engine.check_rules(LANES))
    plant.wait(0.1)
    assert len(plant.told.ended("bad-rules")) == 1


@pytest.mark.parametrize("plant", [{"colour": COLOUR}], indirect=True)
def test_a_garment_gets_the_colour_and_the_picture_that_the_other_camera_took(plant: Plant) -> None:
    plant.lay("cotton", 400)
    for _ in range(40):
        plant.take(plant.frame())
        plant.take(plant.picture())

    piece = plant.told.decisions[0].piece
    assert piece.colour is not None
    assert piece.colour.name == "red"
    assert "no-colour" not in piece.flags
    picture = plant.told.evidence[0].picture
    assert picture is not None
    assert max(Image.open(io.BytesIO(picture)).size) > 20


@pytest.mark.parametrize("plant", [{"colour": COLOUR}], indirect=True)
def test_a_garment_without_a_picture_is_decided_in_time_and_flagged(plant: Plant) -> None:
    plant.lay("cotton", 40)
    plant.run(600)

    assert plant.told.outcomes == [("cotton", "fired")]
    assert plant.told.decisions[0].piece.flags == ("no-colour",)


def test_simulated_frames_make_simulated_decisions(plant: Plant) -> None:
    plant.lay("cotton", 40)
    for _ in range(20):
        plant.take(plant.frame(simulated=True))

    assert [decision.simulated for decision in plant.told.decisions] == [True]


def test_references_may_come_with_the_stream(reader: BeltReader) -> None:
    plant = Plant(reader, given=False)
    plant.lay("cotton", 40)
    plant.run(300)
    assert "no white and dark references" in plant.told.begun("reference-missing")[0].cause
    assert plant.told.decisions == []

    for sensor, level in (("white", 1.0), ("dark", 0.0)):
        plant.take(plant.reference(sensor, level))
    plant.run(700)
    plant.lay("cotton", 40)
    plant.run(300)

    assert plant.told.outcomes == [("cotton", "fired")]
    assert len(plant.told.ended("reference-missing")) == 1
    plant.engine.close()


def test_its_threads_do_the_same_as_stepping_does(reader: BeltReader) -> None:
    plant = Plant(reader)
    rules = rules_from_text(LANES, plant.description, reader.fibres)
    clock = SystemClock()
    tools = Tools(reader, clock, plant.references(clock.now()), threads=2)
    engine = LineEngine(plant.description, rules, tools)
    told = Told()
    engine.subscribe(told)
    engine.listen(told.commands.append)
    plant.lay("cotton", 240)
    plant.lay("polyester", 440)
    before = threading.active_count()
    engine.start()
    try:
        for _ in range(40):
            engine.take(plant.frame())
            time.sleep(FRAME_S)
    finally:
        engine.close()

    assert told.outcomes == [("cotton", "fired"), ("polyester", "fired")]
    assert told.closed
    assert threading.active_count() <= before
    assert max(decision.latency_ms for decision in told.decisions) < 200
    assert isinstance(told.decisions[0], Decision)
    assert np.isfinite(told.evidence[0].absorbance).all()
