"""What a pulse may hit: never knowingly a garment of another lane, whatever is known when."""

from dataclasses import replace

import pytest

from weft.line.description import LineDescription
from weft.line.reader import BeltReader
from weft.line.records import Place
from weft_serving.line.timing import Command, Withdrawal, aim, margin_counts

from .conftest import LINE, Plant


def test_neighbours_side_by_side_for_different_lanes_go_to_the_rest(plant: Plant) -> None:
    plant.lay("cotton", 40, left_mm=10, right_mm=50)
    plant.lay("polyester", 50, left_mm=70, right_mm=110)
    plant.run(600)

    assert sorted(plant.told.outcomes) == [("cotton", "held"), ("polyester", "held")]
    assert [type(order) for order in plant.told.commands] == [Command, Withdrawal]
    assert "piece 1 lies in its air" in plant.told.decisions[-1].reason  # and blows no more than piece 1 is


def test_neighbours_side_by_side_for_the_same_lane_are_both_blown(plant: Plant) -> None:
    plant.lay("cotton", 40, left_mm=10, right_mm=50)
    plant.lay("cotton", 50, left_mm=70, right_mm=110)
    plant.run(600)

    assert plant.told.outcomes == [("cotton", "fired"), ("cotton", "fired")]


def test_a_neighbour_for_the_rest_beside_it_keeps_a_garment_from_being_blown(plant: Plant) -> None:
    plant.lay("wool", 40, left_mm=10, right_mm=50)
    plant.lay("cotton", 50, left_mm=70, right_mm=110)
    plant.run(600)

    assert sorted(plant.told.outcomes) == [("cotton", "held"), ("rest", "passed")]
    held = next(decision for decision in plant.told.decisions if decision.outcome == "held")
    assert "piece 1 lies in its air; wanted cotton" in held.reason
    assert held.lane == "rest"


def test_a_command_is_withdrawn_when_its_neighbour_becomes_known_in_time(plant: Plant) -> None:
    plant.lay("cotton", 40, left_mm=10, right_mm=50)
    plant.lay("wool", 40, length_mm=120, left_mm=70, right_mm=110)  # ends 40 mm later
    plant.run(600)

    assert plant.told.outcomes == [("cotton", "held"), ("rest", "passed")]
    assert [type(order) for order in plant.told.commands] == [Command, Withdrawal]
    first, second = (d for d in plant.told.decisions if d.piece.number == 1)
    assert (first.outcome, second.outcome, second.lane) == ("fired", "held", "rest")
    assert {lane.lane: (lane.pieces, lane.fired, lane.held) for lane in plant.engine.state().lanes} == {
        "cotton": (0, 0, 1), "polyester": (0, 0, 0), "rest": (2, 0, 0),
    }  # fmt: skip


def test_nothing_is_fired_into_a_garment_of_which_the_end_has_not_come_yet(plant: Plant) -> None:
    plant.lay("cotton", 40, left_mm=10, right_mm=50)
    plant.lay("cotton", 60, length_mm=600, left_mm=70, right_mm=110)  # what it is, is known too late
    plant.run(900)

    assert plant.told.outcomes[0] == ("cotton", "held")
    assert "still under the camera" in plant.told.decisions[1].reason
    assert [type(order) for order in plant.told.commands[:2]] == [Command, Withdrawal]


def test_a_garment_that_leaves_further_up_is_no_neighbour_further_down(plant: Plant) -> None:
    plant.lay("cotton", 40)
    plant.lay("polyester", 130)  # its air does not reach the cotton, nor the other way round
    plant.run(700)

    assert plant.told.outcomes == [("cotton", "fired"), ("polyester", "fired")]


@pytest.fixture
def line() -> LineDescription:
    return LineDescription.model_validate(LINE)


def place(first_mm: float, last_mm: float) -> Place:
    return Place(first_mm=first_mm, last_mm=last_mm, left_mm=20, right_mm=100)


def test_a_pulse_aims_at_the_middle_while_it_can_be_reached(line: LineDescription) -> None:
    shot = aim(line, line.ejectors[0], place(0, 200), 1000, now=2_000)

    assert (shot.air_first_mm + shot.air_last_mm) / 2 == 100
    assert shot.fire_encoder == (100 + 400 - 15 - 20) * 10
    assert shot.hold_encoder - shot.fire_encoder == 400


def test_a_long_garment_is_blown_as_near_to_its_middle_as_is_still_in_time(line: LineDescription) -> None:
    now = 9_000  # its end has just passed the camera
    shot = aim(line, line.ejectors[0], place(0, 900), 1000, now=now)

    assert shot.fire_encoder >= now + margin_counts(line, line.ejectors[0], 1000)
    assert shot.fire_encoder <= now + margin_counts(line, line.ejectors[0], 1000) + 20
    assert shot.air_first_mm > 450
    assert shot.air_last_mm < 900


def test_a_garment_is_not_blown_on_its_last_tenth(line: LineDescription) -> None:
    ejector = line.ejectors[0]
    shot = aim(line, ejector, place(0, 900), 1000, now=12_000)  # 100 mm of it are still to come

    assert (shot.air_first_mm + shot.air_last_mm) / 2 <= 810
    assert shot.fire_encoder - margin_counts(line, ejector, 1000) < 12_000


def test_past_its_end_no_pulse_helps(line: LineDescription) -> None:
    ejector = line.ejectors[0]
    shot = aim(line, ejector, place(0, 200), 1000, now=5_900)

    assert shot.fire_encoder < 5_900


def test_the_air_reaches_as_far_as_pulse_and_jitter_carry_it_and_only_across_its_nozzles(
    line: LineDescription,
) -> None:
    ejector = line.ejectors[0].model_copy(update={"right_mm": 60.0})
    shot = aim(line, ejector, place(0, 200), 1000, now=0)

    assert (shot.air_first_mm, shot.air_last_mm) == (74, 126)  # 20 ms of pulse and 3 x 2 ms of jitter
    assert shot.reaches(place(120, 300))
    assert not shot.reaches(place(127, 300))
    assert not shot.reaches(Place(first_mm=0, last_mm=200, left_mm=61, right_mm=100))


def test_a_lanes_ejector_that_does_not_reach_across_fires_at_nothing(reader: BeltReader) -> None:
    ejectors = [dict(item) for item in LINE["ejectors"]]
    ejectors[0]["right_mm"] = 60
    plant = Plant(reader, ejectors=ejectors)
    plant.run(200)
    plant.lay("cotton", 40, left_mm=70, right_mm=110)
    plant.run(600)

    assert plant.told.commands == []
    assert plant.told.decisions[0].lane == "rest"
    plant.engine.close()


def test_the_encoders_backlash_is_no_jump(plant: Plant) -> None:
    plant.lay("cotton", 40)
    for _ in range(30):
        frame = plant.frame()
        counts = frame.encoder.copy()
        counts[3] -= 22  # a row that was triggered while the belt shook
        plant.take(replace(frame, encoder=counts))

    assert plant.told.outcomes == [("cotton", "fired")]
    assert plant.told.alarms == []
