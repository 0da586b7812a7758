"""Pieces on a moving belt: each comes out once, whole, in its place, and memory stays bounded."""

import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from weft.bundle import load_bundle
from weft.line.description import LineDescription
from weft.line.reader import BeltReader
from weft_serving.line.see.nir import NirBlock
from weft_serving.line.see.pieces import FoundPiece, PieceFinder, to_piece

WIDTH, MM = 100, 2.0  # pixels across, each 2 mm; lines are 2 mm apart
Picture = NDArray[np.int8]  # (rows, WIDTH): 0 belt, else 1 + fibre


def description(**changes: object) -> LineDescription:
    given = {
        "name": "test",
        "belt": {"width_mm": 220, "speed_mm_per_s": 1000, "counts_per_mm": 10},
        "nir": {
            "position_mm": 30,
            "left_mm": 10,
            "field_of_view_mm": MM * WIDTH,
            "pixels": WIDTH,
            "first_nm": 930,
            "last_nm": 1680,
            "bands": 31,
            "lines_per_s": 500,
        },
        "ejectors": [{"name": "e1", "position_mm": 400, "left_mm": 0, "right_mm": 220, "delay_ms": 10}],
    }
    return LineDescription.model_validate(given | changes)


def block(picture: Picture, first_row: int = 0, *, mm: float = MM, bands: int = 31) -> NirBlock:
    """What `NirPath` gives for a picture."""
    there = picture > 0
    fibre = picture[there] - 1
    pixels = len(fibre)
    rows, columns = np.nonzero(there)
    sampled = np.flatnonzero(((rows + first_row) % 3 == 0) & (columns % 3 == 0))
    return NirBlock(
        travel_mm=mm * np.arange(first_row, first_row + len(picture)),
        foreground=there,
        shares=np.eye(4, dtype=np.float32)[fibre],
        unknown=np.zeros(pixels, np.float32),
        brightness=np.full(pixels, 0.5, np.float32),
        tint=np.log(0.5 + 0.1 * np.eye(7, dtype=np.float32)[fibre]),
        readable=np.ones(pixels, np.bool_),
        sampled=sampled,
        absorbance=np.tile(fibre[sampled, None].astype(np.float32), (1, bands)),
    )


def found_in(picture: Picture, *, height: int = 16, **changes: object) -> list[FoundPiece]:
    """Pieces of a whole picture that comes in blocks."""
    finder = PieceFinder(description(**changes))
    found: list[FoundPiece] = []
    for at in range(0, len(picture), height):
        found += finder.add(block(picture[at : at + height], at))
    return found + finder.flush()


def empty(rows: int) -> Picture:
    return np.zeros((rows, WIDTH), np.int8)


def area_of(polygon: tuple[tuple[float, float], ...]) -> float:
    x, y = np.array(polygon).T
    return 0.5 * abs(float((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()))


def test_a_piece_comes_out_once_with_its_place_area_and_pixels() -> None:
    picture = empty(120)
    picture[20:70, 30:60] = 1
    (piece,) = found_in(picture)

    # A row at travel t shows the belt at t - 30 mm, and reaches a millimetre to either side.
    assert (piece.place.first_mm, piece.place.last_mm) == (2 * 20 - 30 - 1, 2 * 69 - 30 + 1)
    assert (piece.place.left_mm, piece.place.right_mm) == (10 + 2 * 30, 10 + 2 * 60)
    assert piece.area_cm2 == pytest.approx(100 * 60 / 100)
    assert piece.pixels == 50 * 30
    assert piece.flags == ()
    assert area_of(piece.outline_mm) / 100 == pytest.approx(60, rel=0.02)


@pytest.mark.parametrize("height", [1, 2, 7, 64, 1000])
def test_pieces_do_not_depend_on_how_rows_come_in_blocks(height: int) -> None:
    picture = empty(200)
    picture[20:70, 10:40] = 1
    picture[50:120, 55:95] = 2  # begins before the first ends
    picture[150:198, 30:70] = 3
    pieces = found_in(picture, height=height)

    assert [piece.pixels for piece in pieces] == [1500, 2800, 1920]
    assert [int(piece.shares[0].argmax()) for piece in pieces] == [0, 1, 2]
    assert [float(piece.absorbance[0]) for piece in pieces] == [0, 1, 2]
    assert [piece.mask.shape for piece in pieces] == [(50, 30), (70, 40), (48, 40)]


def test_a_piece_is_given_as_soon_as_it_has_passed_and_not_before() -> None:
    picture = empty(80)
    picture[10:50, 20:60] = 1
    finder = PieceFinder(description())
    given = [row for row in range(80) if finder.add(block(picture[row : row + 1], row))]

    assert given == [52]  # after the two rows that a zip may leave empty


def test_branches_that_meet_later_are_one_piece() -> None:
    picture = empty(100)
    picture[10:60, 20:35] = 1  # two trouser legs
    picture[10:60, 55:70] = 1
    picture[60:90, 20:70] = 1
    (piece,) = found_in(picture, height=7)

    assert piece.pixels == 2 * 50 * 15 + 30 * 50
    assert not piece.mask[:50, 15:35].any()


def test_a_zip_does_not_part_a_piece() -> None:
    picture = empty(100)
    picture[10:80, 20:70] = 1
    picture[40:42, :] = 0
    picture[:, 45:47] = 0
    (piece,) = found_in(picture)

    assert piece.mask.shape == (70, 50)


def test_dust_is_dropped_and_counted() -> None:
    picture = empty(100)
    picture[20:30, 20:30] = 1  # 20 mm: a button
    picture[50:52, 10:60] = 1  # 100 mm long, 4 mm wide: a thread
    picture[60:90, 60:90] = 1
    finder = PieceFinder(description())
    pieces = [*finder.add(block(picture)), *finder.flush()]

    assert [piece.pixels for piece in pieces] == [900]
    assert finder.dust == 2


def test_border_pixels_do_not_vote() -> None:
    picture = empty(100)
    picture[20:70, 30:60] = 4
    picture[22:68, 32:58] = 1  # the border looks like another fibre, mixed with belt
    (piece,) = found_in(picture)

    assert piece.pixels == 50 * 30
    assert len(piece.shares) == 46 * 26
    assert (piece.shares[:, 0] == 1).all()


def test_a_thin_piece_keeps_a_vote() -> None:
    picture = empty(100)
    picture[10:90, 30:34] = 2
    (piece,) = found_in(picture)

    assert len(piece.shares) >= 80


def test_what_runs_over_the_edge_of_the_view_is_cut() -> None:
    picture = empty(160)
    picture[10:60, 70:100] = 1
    picture[80:130, 0:40] = 1
    picture[80:130, 60:98] = 1

    assert [piece.flags for piece in found_in(picture)] == [("cut",), ("cut",), ()]


def test_what_is_longer_than_any_piece_is_cut_off_again_and_again() -> None:
    picture = empty(1_400)
    picture[10:1_310, 30:60] = 1
    pieces = found_in(picture, longest_piece_mm=500)

    assert len(pieces) == 6
    assert all("long" in piece.flags for piece in pieces)
    assert all(piece.place.last_mm - piece.place.first_mm <= 504 for piece in pieces)
    assert sum(piece.pixels for piece in pieces) == 1_300 * 30


def test_memory_stays_bounded_under_an_endless_piece_and_a_belt_that_stands() -> None:
    finder = PieceFinder(description(longest_piece_mm=500))
    rows = np.ones((64, WIDTH), np.int8)

    def most_of(steps: int, *, mm: float) -> int:
        seen: list[int] = []
        for step in range(steps):
            finder.add(block(rows, 64 * step, mm=mm))
            seen.append(tracemalloc.get_traced_memory()[0])
        return max(seen)

    tracemalloc.start()
    try:
        for mm in (2.0, 0.0):
            finder.flush()
            early, late = most_of(40, mm=mm), most_of(80, mm=mm)
            assert late < 1.1 * early
    finally:
        tracemalloc.stop()


def test_a_belt_that_jumps_back_ends_what_was_open() -> None:
    picture = np.full((30, WIDTH), 0, np.int8)
    picture[:, 20:60] = 1
    finder = PieceFinder(description())
    assert finder.add(block(picture, 1_000)) == []

    (piece,) = finder.add(block(picture, 10))
    assert piece.place.first_mm > 1_900
    (piece,) = finder.flush()
    assert piece.place.last_mm < 60


def test_lines_that_are_missing_end_what_was_open() -> None:
    picture = np.full((30, WIDTH), 0, np.int8)
    picture[:, 20:60] = 1
    finder = PieceFinder(description())
    assert finder.add(block(picture)) == []

    (piece,) = finder.add(block(picture, 130))  # 200 mm of belt were never seen
    assert piece.place.last_mm - piece.place.first_mm == 60
    (piece,) = finder.flush()
    assert piece.place.first_mm == 2 * 130 - 31


def test_pieces_still_under_the_camera_are_told_of() -> None:
    picture = empty(40)
    picture[10:40, 20:60] = 1
    finder = PieceFinder(description())
    finder.add(block(picture))

    (place,) = finder.open_places()
    assert (place.first_mm, place.left_mm, place.right_mm) == (2 * 10 - 31, 50, 130)
    finder.flush()
    assert finder.open_places() == []


@pytest.mark.parametrize("rows", [0, 1, 5_000])
def test_empty_and_full_blocks_of_any_height_are_taken(rows: int) -> None:
    finder = PieceFinder(description())
    assert finder.add(block(empty(rows))) == []
    found = [*finder.add(block(np.ones((rows, WIDTH), np.int8), rows)), *finder.flush()]

    assert sum(piece.pixels for piece in found) == (rows * WIDTH if rows > 20 else 0)


def test_noise_all_over_costs_no_piece_and_little_time() -> None:
    rng = np.random.default_rng(0)
    noise = (rng.random((2_000, WIDTH)) < 0.05).astype(np.int8)
    finder = PieceFinder(description())
    pieces = [*finder.add(block(noise)), *finder.flush()]

    assert pieces == []


def test_outlines_follow_a_shape_in_few_points() -> None:
    row, column = np.mgrid[:140, :WIDTH]
    ring = np.hypot(row - 70, column - 50)
    picture = (ring < 45).astype(np.int8)
    picture[ring < 12] = 0  # a hole is not drawn
    (piece,) = found_in(picture)

    assert len(piece.outline_mm) <= 24
    assert area_of(piece.outline_mm) == pytest.approx(np.pi * 90**2, rel=0.04)


@pytest.fixture(scope="module")
def reader(tiny_belt_bundle: Path) -> BeltReader:
    return BeltReader(load_bundle(tiny_belt_bundle, task="belt", threads=1))


def test_the_record_holds_the_vote_without_button_and_print(reader: BeltReader) -> None:
    picture = empty(120)
    picture[20:90, 30:80] = 1
    picture[40:46, 40:46] = 3  # a button
    (piece,) = found_in(picture)
    made = to_piece(piece, reader, line="test", number=7, seen_at=datetime(2026, 11, 22, tzinfo=UTC))

    assert (made.shares[0].fibre, made.shares[0].share) == ("cotton", 1.0)
    assert made.voted < len(piece.shares)
    assert made.number == 7
    assert made.flags == ()
    assert made.bundle_sha256 == reader.bundle.sha256


def test_what_is_no_textile_has_no_composition_and_says_so(reader: BeltReader) -> None:
    picture = empty(120)
    picture[20:90, 30:80] = 1
    made = block(picture)
    finder = PieceFinder(description())
    strange = replace(made, unknown=made.unknown + 0.9)
    (piece,) = [*finder.add(strange), *finder.flush()]
    answer = to_piece(piece, reader, line="test", number=1, seen_at=datetime(2026, 11, 22, tzinfo=UTC))

    assert answer.shares == ()
    assert answer.flags == ("unknown",)


def test_a_piece_that_gives_no_light_is_dark_and_has_few_pixels(reader: BeltReader) -> None:
    picture = empty(120)
    picture[20:90, 30:80] = 1
    made = block(picture)
    finder = PieceFinder(description())
    dim = replace(made, readable=~made.readable)
    (piece,) = [*finder.add(dim), *finder.flush()]
    answer = to_piece(piece, reader, line="test", number=1, seen_at=datetime(2026, 11, 22, tzinfo=UTC))

    assert answer.flags == ("dark", "few-pixels")
