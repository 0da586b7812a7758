"""Whatever a plant does to its line: an alarm and its cause, garments to the rest, well again by itself."""

from dataclasses import replace

import numpy as np
import pytest

from weft.errors import FrameError
from weft.line.frames import pack, unpack

from .conftest import COLOUR, ROWS, Plant, never_fired, sorts_again, told_once_each_way


def test_a_nir_camera_that_stops(plant: Plant) -> None:
    plant.lay("cotton", 40, length_mm=200)
    plant.run(120)  # half of it has passed
    plant.wait(0.5)
    assert "no frame of the nir camera for 0.3" in plant.told.begun("camera-silent")[0].cause
    assert not plant.engine.state().running

    plant.travel_mm += 500  # the belt went on
    sorts_again(plant)

    told_once_each_way(plant, "camera-silent", "see to the camera")
    assert plant.told.outcomes[0] == ("cotton", "held")
    never_fired(plant, 1)


def test_a_simulated_piece_that_silence_ends_stays_simulated(plant: Plant) -> None:
    plant.lay("cotton", 40, length_mm=200)
    for _ in range(6):
        plant.take(plant.frame(simulated=True))
    plant.wait(0.5)

    assert [(found.simulated, found.outcome) for found in plant.told.decisions] == [(True, "held")]


@pytest.mark.parametrize("plant", [{"colour": COLOUR}], indirect=True)
def test_a_colour_camera_that_stops_while_the_other_goes_on(plant: Plant) -> None:
    plant.take(plant.picture())
    plant.run(500)
    assert "no frame of the colour camera" in plant.told.begun("camera-silent")[0].cause

    plant.lay("cotton", 40)
    plant.run(400)
    assert plant.told.outcomes == [("cotton", "fired")]  # its rule asks for no colour
    plant.take(plant.picture())
    plant.wait(0.1)
    assert len(plant.told.ended("camera-silent")) == 1


def test_half_a_frame(plant: Plant) -> None:
    plant.lay("cotton", 10)
    message = pack(plant.frame())
    with pytest.raises(FrameError) as half:
        unpack(message[: len(message) // 2])
    plant.engine.refuse("nir", half.value)
    plant.run(200)

    assert plant.told.outcomes == [("cotton", "held")]
    never_fired(plant, 1)
    plant.run(1_200)
    told_once_each_way(plant, "broken-frame", "send the whole frame")
    assert plant.told.begun("camera-rate") == []  # the gap is no second fault
    sorts_again(plant)


def test_the_wrong_band_count(plant: Plant) -> None:
    plant.lay("cotton", 10)
    frame = plant.frame()
    plant.take(replace(frame, shape=(ROWS, 30, 60), content=np.zeros((ROWS, 30, 60), np.uint16)))
    plant.run(200)

    assert plant.told.outcomes == [("cotton", "held")]
    plant.run(1_200)
    told_once_each_way(plant, "wrong-bands", "has 30 bands of 60 pixels, the line's camera has 31 of 60")
    sorts_again(plant)


def test_frames_out_of_order(plant: Plant) -> None:
    plant.lay("cotton", 10)
    first, second = plant.frame(), plant.frame()
    plant.take(second)
    plant.take(first)
    plant.run(200)

    assert plant.told.outcomes == [("cotton", "held")]
    plant.run(1_200)
    told_once_each_way(plant, "out-of-order", "came after frame")
    sorts_again(plant)


def test_a_frame_that_comes_twice_is_left_out_once_and_its_garment_sorted(plant: Plant) -> None:
    plant.lay("cotton", 10)
    frame = plant.frame()
    plant.take(frame)
    plant.take(frame)
    plant.run(200)

    assert plant.told.outcomes == [("cotton", "fired")]
    assert plant.told.decisions[0].piece.area_cm2 == pytest.approx(64, rel=0.1)
    plant.run(1_200)
    told_once_each_way(plant, "repeated-frame", "came twice")


def test_frames_that_are_lost_on_the_way(plant: Plant) -> None:
    plant.lay("cotton", 30)
    plant.run(40)
    plant.frame()
    plant.run(200)

    assert set(plant.told.outcomes) == {("cotton", "held")}  # in two parts
    plant.run(1_200)
    told_once_each_way(plant, "camera-rate", "1 nir frames are missing")
    sorts_again(plant)


def test_frames_at_double_rate(plant: Plant) -> None:
    plant.slow, plant.row_mm = 0.5, 1.0
    plant.run(600)
    assert "a second, the line's description says 500" in plant.told.begun("camera-rate")[0].cause
    plant.lay("cotton", 40)
    plant.run(200)
    assert plant.told.outcomes == [("cotton", "held")]

    plant.slow, plant.row_mm = 1.0, 2.0
    plant.run(2_000)
    told_once_each_way(plant, "camera-rate", "set the camera or the description")
    sorts_again(plant)


@pytest.mark.parametrize("jump", [-4_000, 30_000])
def test_an_encoder_that_jumps(plant: Plant, jump: int) -> None:
    plant.lay("cotton", 40)
    plant.lay("polyester", 200, length_mm=200)
    plant.run(300)  # the first is decided and on its way, half of the second has passed
    assert plant.told.outcomes == [("cotton", "fired")]
    assert plant.told.commands[0].fire_encoder > plant.engine.state().encoder  # type: ignore[union-attr]

    plant.offset += jump
    plant.run(200)

    assert plant.told.outcomes[:2] == [("cotton", "held"), ("polyester", "held")]
    never_fired(plant, 1)
    never_fired(plant, 2)
    plant.run(1_200)
    told_once_each_way(plant, "encoder-jump", "the encoder jumped")
    assert {lane.lane: (lane.fired, lane.held) for lane in plant.engine.state().lanes}["cotton"] == (0, 1)
    sorts_again(plant)


def test_an_encoder_that_stands_still_while_lines_come(plant: Plant) -> None:
    plant.lay("cotton", 40)
    plant.lay("cotton", 200, length_mm=200)
    plant.run(300)
    assert plant.told.outcomes == [("cotton", "fired")]

    stood = plant.engine.state().encoder
    for _ in range(25):
        frame = plant.frame()
        plant.take(replace(frame, encoder=np.full(ROWS, stood)))
    assert "lines come" in plant.told.begun("encoder-still")[0].cause
    never_fired(plant, 1)
    plant.offset = stood - round(plant.travel_mm * 10)  # it counts on from where it stood
    plant.run(400)

    assert plant.told.outcomes[0] == ("cotton", "held")
    assert {outcome for _, outcome in plant.told.outcomes} == {"held"}
    told_once_each_way(plant, "encoder-still", "start the belt, or see to the encoder")
    sorts_again(plant)


@pytest.mark.parametrize("jump_s", [-5.0, 5.0])
def test_a_cameras_clock_that_jumps(plant: Plant, jump_s: float) -> None:
    plant.lay("cotton", 30)
    plant.run(60)
    plant.camera_ahead_ns = round(jump_s * 1e9)
    plant.run(200)

    assert plant.told.outcomes == [("cotton", "held")]
    plant.run(1_200)
    where = "back" if jump_s < 0 else "ahead"
    told_once_each_way(plant, "clock-jump", f"the clock of the nir camera jumped {where}")
    assert plant.engine.state().speed_mm_per_s == pytest.approx(1000, rel=0.02)
    sorts_again(plant)


def test_this_machines_clock_that_jumps_changes_no_decision(plant: Plant) -> None:
    from datetime import timedelta

    plant.lay("cotton", 30)
    plant.run(60)
    plant.clock.at += timedelta(hours=3)  # references are allowed one
    plant.camera_ahead_ns = -3 * 3_600_000_000_000  # the camera keeps its own time
    plant.run(300)

    assert plant.told.outcomes == [("cotton", "fired")]
    assert "this machine's clock jumped by +10800" in plant.told.begun("clock-jump")[0].cause
    assert plant.told.begun("reference-stale") == []
    for sensor, level in (("white", 1.0), ("dark", 0.0)):
        plant.take(plant.reference(sensor, level))
    plant.slow = 5.0
    plant.run(2_200)  # in 11 s
    plant.slow = 1.0
    assert len(plant.told.ended("clock-jump")) == 1
    assert plant.engine.state().reference_age_s == pytest.approx(11, abs=1)
    sorts_again(plant)


def test_a_camera_that_starts_again_counts_anew_without_fault(plant: Plant) -> None:
    plant.number = 0
    sorts_again(plant)

    assert plant.told.alarms == []


def test_a_recording_that_is_sent_again_is_followed_anew(plant: Plant) -> None:
    plant.wait(2)
    plant.number, plant.travel_mm, plant.offset = 0, 0.0, 0
    plant.camera_ahead_ns = -3_600_000_000_000
    plant.garments.clear()
    sorts_again(plant)

    assert "began again" in plant.told.begun("clock-jump")[0].cause
    plant.run(1_200)
    assert plant.engine.state().alarms == ()
