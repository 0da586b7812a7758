"""The long picture of the belt, and the colour of what lies on it."""

import numpy as np
import pytest
import simplejpeg

from weft.line.colours import COLOURS, Lab, lab, linear_light, name_of
from weft.line.description import Belt, ColourCamera, Ejector, LineDescription, NirCamera
from weft.line.records import Place
from weft_serving.line.see.colour import ColourBelt

CAMERA = ColourCamera(
    position_mm=-300, left_mm=0, width_px=200, height_px=120, mm_per_pixel=2, frames_per_s=30
)
LINE = LineDescription(
    name="test",
    belt=Belt(width_mm=400, speed_mm_per_s=1000, counts_per_mm=10),
    nir=NirCamera(
        position_mm=0, field_of_view_mm=400, pixels=40, first_nm=935, last_nm=1720, bands=16, lines_per_s=100
    ),
    colour=CAMERA,
    ejectors=(Ejector(name="e1", position_mm=400, left_mm=0, right_mm=400, delay_ms=10),),
)
RED, WHITE, BELT = (178, 34, 34), (240, 240, 238), (40, 42, 44)


def painted(*patches: tuple[Place, tuple[int, int, int]]) -> np.ndarray:
    """A belt 4.4 m long at 2 mm, row k at belt_mm 2k, with coloured rectangles on it."""
    belt = np.empty((2200, 200, 3), np.uint8)
    belt[:] = BELT
    for place, colour in patches:
        rows = slice(int(place.first_mm / 2), int(place.last_mm / 2))
        belt[rows, int(place.left_mm / 2) : int(place.right_mm / 2)] = colour
    return belt


def frame_at(belt: np.ndarray, travel_mm: float) -> np.ndarray:
    """What the camera sees: row 0 furthest upstream, its middle row over travel - position."""
    middle = int((travel_mm - CAMERA.position_mm) // 2)
    rows = middle + (CAMERA.height_px - 1) // 2 - np.arange(CAMERA.height_px)
    return belt[rows]


def seen(belt: np.ndarray, *, until_mm: float = 1500.0, every_mm: float = 33.3) -> ColourBelt:
    found = ColourBelt(LINE, CAMERA)
    for travel_mm in np.arange(0, until_mm, every_mm):
        if found.wants(travel_mm):
            found.add(frame_at(belt, travel_mm), travel_mm)
    return found


def outline(place: Place) -> tuple[tuple[float, float], ...]:
    return (
        (place.first_mm, place.left_mm),
        (place.first_mm, place.right_mm),
        (place.last_mm, place.right_mm),
        (place.last_mm, place.left_mm),
    )


def test_a_piece_is_cut_out_where_it_lies_and_named() -> None:
    place = Place(first_mm=800, last_mm=1000, left_mm=100, right_mm=240)

    look = seen(painted((place, RED))).look(place, outline(place))

    assert look is not None
    assert look.colour.name == "red"
    expected = lab(linear_light(np.array([RED], np.uint8)))[0]
    assert (look.colour.lightness, look.colour.a, look.colour.b) == pytest.approx(tuple(expected), abs=0.5)
    picture = simplejpeg.decode_jpeg(look.picture)
    middle = picture[picture.shape[0] // 2, picture.shape[1] // 2]
    assert np.abs(middle.astype(int) - RED).max() < 12
    assert np.abs(picture[2, 2].astype(int) - BELT).max() < 12


def test_a_print_does_not_change_the_colours_name() -> None:
    place = Place(first_mm=800, last_mm=1000, left_mm=100, right_mm=240)
    stamp = Place(first_mm=860, last_mm=930, left_mm=140, right_mm=200)

    look = seen(painted((place, WHITE), (stamp, RED))).look(place, outline(place))

    assert look is not None
    assert look.colour.name == "white"
    assert look.colour.lightness > 90


def test_not_every_frame_needs_decoding() -> None:
    belt = painted()
    found = ColourBelt(LINE, CAMERA)
    wanted = 0
    for travel_mm in np.arange(0, 1500, 10.0):
        if found.wants(float(travel_mm)):
            found.add(frame_at(belt, float(travel_mm)), float(travel_mm))
            wanted += 1

    assert wanted < 60  # of 150
    assert found.covers(1400.0)


def test_what_is_not_seen_yet_or_no_longer_held_has_no_look() -> None:
    found = seen(painted(), until_mm=3600.0)
    late = Place(first_mm=3950, last_mm=4100, left_mm=100, right_mm=200)
    early = Place(first_mm=100, last_mm=200, left_mm=100, right_mm=200)

    assert not found.covers(late.last_mm)
    assert found.look(late, outline(late)) is None
    assert found.look(early, outline(early)) is None


def test_a_belt_that_jumps_forgets_what_lay_elsewhere() -> None:
    belt = painted((Place(first_mm=400, last_mm=600, left_mm=100, right_mm=200), RED))
    found = seen(belt, until_mm=800)
    found.add(frame_at(belt, 3000.0), 3000.0)
    place = Place(first_mm=400, last_mm=600, left_mm=100, right_mm=200)

    assert found.look(place, outline(place)) is None
    assert found.covers(3200.0)


def test_a_frame_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(120, 100, 3\), needed \(120, 200, 3\)"):
        ColourBelt(LINE, CAMERA).add(np.zeros((120, 100, 3), np.uint8), 0.0)


SHADES = (
    ("#fafafa", "white"),
    ("#0c0c0c", "black"),
    ("#14204a", "navy"),
    ("#1e60d0", "blue"),
    ("#6b4226", "brown"),
    ("#d8c4a0", "beige"),
    ("#b0182c", "red"),
    ("#8c8c8c", "grey"),
    ("#2e8b57", "green"),
    ("#f0b8c8", "pink"),
)


@pytest.mark.parametrize(("shade", "word"), SHADES)
def test_shades_have_the_name_that_people_give_them(shade: str, word: str) -> None:
    light = linear_light(np.frombuffer(bytes.fromhex(shade[1:]), np.uint8))

    assert name_of(Lab(*(float(value) for value in lab(light)))) == word
    assert word in COLOURS
