"""From raw counts to fibre shares: the belt is left out, however the rows come."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from weft.bundle import load_bundle
from weft.errors import FrameError, LineDescriptionError
from weft.line.description import NirCamera
from weft.line.reader import BeltReader
from weft_serving.line.see.nir import NirBlock, NirPath
from weft_serving.line.see.references import References, make_references

WIDTH = 60
CENTRES_NM = {"cotton": 1000.0, "wool": 1200.0, "polyester": 1400.0, "nylon": 1600.0}  # of the tiny bundle
Counts = NDArray[np.uint16]
MakePath = Callable[..., NirPath]


class Belt:
    """A camera over a ribbed belt: counts of rows with rectangles of fibre on them."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.camera = NirCamera.model_validate(
            {
                "position_mm": 0,
                "field_of_view_mm": 2.0 * WIDTH,
                "pixels": WIDTH,
                "wavelength_nm": [float(nm) for nm in range(930, 1705, 25)],
                "lines_per_s": 500,
            }
        )
        self.nm = np.array(self.camera.wavelength_nm)
        lamp = 2800 * np.sin(np.linspace(0.7, 2.5, len(self.nm))) * np.linspace(0.8, 1, WIDTH)[:, None]
        self.lamp, self.dark = lamp, 110 + self.rng.normal(0, 3, lamp.shape)

    def counts(self, light: NDArray[np.floating]) -> Counts:
        seen = self.dark + self.lamp * light + self.rng.normal(0, 6, light.shape)
        return np.clip(seen.round(), 0, 4095).astype(np.uint16)

    def references(self) -> References:
        ones = np.ones((20, WIDTH, len(self.nm)))
        return make_references(
            self.counts(ones), self.counts(0 * ones), self.camera,
            taken_at=datetime(2026, 11, 22, tzinfo=UTC), max_age_s=3600,
        )  # fmt: skip

    def light(self, rows: int, *pieces: tuple[str, int, int, int, int], brighter: float = 1.0) -> NDArray:
        """Reflectance of rows with rectangles (fibre, row, row, column, column) on ribs of 8 rows."""
        ribs = 0.10 * (1 + 0.25 * np.sin(np.arange(rows) / 8 * 2 * np.pi))
        light = np.tile(ribs[:, None, None] * brighter, (1, WIDTH, len(self.nm)))
        light *= 1 + 0.1 * (self.nm - 1300) / 400
        for fibre, top, bottom, left, right in pieces:
            light[top:bottom, left:right] = self.cloth(fibre)
        return light

    def cloth(self, fibre: str) -> NDArray[np.float64]:
        if fibre == "plastic":
            return np.full(len(self.nm), 0.4)
        return 10 ** -(0.25 + 0.4 * np.exp(-(((self.nm - CENTRES_NM[fibre]) / 60) ** 2)))


@pytest.fixture(scope="module")
def reader(tiny_belt_bundle: Path) -> BeltReader:
    return BeltReader(load_bundle(tiny_belt_bundle, task="belt", threads=1))


@pytest.fixture
def make_path(reader: BeltReader) -> Iterator[MakePath]:
    made: list[NirPath] = []

    def make(belt: Belt, **options: object) -> NirPath:
        made.append(NirPath(belt.camera, belt.references(), reader, mm_per_line=2.0, **options))
        return made[-1]

    yield make
    for path in made:
        path.close()


def travel(rows: int, first: int = 0) -> NDArray[np.float64]:
    return 2.0 * np.arange(first, first + rows)


def fibres_of(block: NirBlock) -> NDArray[np.int8]:
    """Place of each pixel's main fibre, -1 on the belt, shape (h, W)."""
    found = np.full(block.foreground.shape, -1, np.int8)
    found[block.foreground] = block.shares.argmax(axis=1)
    return found


def test_each_pixel_of_a_piece_is_its_fibre_and_the_belt_is_left_out(make_path: MakePath) -> None:
    belt = Belt()
    pieces = (("cotton", 40, 90, 5, 25), ("polyester", 60, 100, 35, 50))
    block = make_path(belt).read(belt.counts(belt.light(160, *pieces)), travel(160))

    truth = np.full((160, WIDTH), -1)
    truth[40:90, 5:25], truth[60:100, 35:50] = 0, 2
    assert (fibres_of(block) == truth).all()
    assert block.unknown.max() < 0.1
    assert block.readable.all()


def test_what_is_no_textile_is_foreground_and_unknown(make_path: MakePath) -> None:
    belt = Belt()
    block = make_path(belt).read(belt.counts(belt.light(160, ("plastic", 50, 90, 5, 25))), travel(160))

    assert int(block.foreground.sum()) == 40 * 20
    assert block.unknown.min() > 0.8


@pytest.mark.parametrize("height", [1, 3, 7, 64, 200])
def test_the_answer_does_not_depend_on_how_many_rows_come_at_once(height: int, make_path: MakePath) -> None:
    belt = Belt()
    counts = belt.counts(belt.light(200, ("wool", 60, 150, 10, 40)))
    path = make_path(belt)
    blocks = [
        path.read(counts[at : at + height], travel(200)[at : at + height]) for at in range(0, 200, height)
    ]

    wool = np.concatenate([fibres_of(block) for block in blocks]) == 1
    assert wool[60:150, 10:40].all()
    assert int(wool[40:].sum()) == 90 * 30  # of a row or three alone the belt is not yet learnt


def test_rows_band_by_band_give_what_rows_pixel_by_pixel_give(make_path: MakePath) -> None:
    belt = Belt()
    counts = belt.counts(belt.light(80, ("nylon", 20, 60, 10, 40)))
    by_band = np.ascontiguousarray(counts.transpose(0, 2, 1)).transpose(0, 2, 1)

    one = make_path(belt).read(counts, travel(80))
    belt.rng = np.random.default_rng(1)
    other = make_path(belt).read(by_band, travel(80))
    assert not by_band.flags.c_contiguous
    assert np.abs(one.shares - other.shares).max() < 0.05
    assert (one.foreground == other.foreground).all()


def test_reading_every_pixel_changes_no_answer(make_path: MakePath) -> None:
    belt = Belt()
    counts, references = belt.counts(belt.light(80, ("nylon", 20, 60, 10, 40))), belt.references()
    paths = make_path(belt), make_path(belt, every_pixel=True, threads=1)
    for path in paths:
        path.change_references(references)

    one, other = (path.read(counts, travel(80)) for path in paths)
    assert (one.foreground == other.foreground).all()
    assert np.allclose(one.shares, other.shares, atol=1e-6)
    assert np.allclose(one.absorbance, other.absorbance)


def test_spectra_are_kept_of_pixels_on_a_grid_over_block_borders(make_path: MakePath) -> None:
    belt = Belt()
    counts, path = belt.counts(belt.light(90, ("nylon", 20, 80, 10, 40))), make_path(belt)
    kept = sum(len(path.read(counts[at : at + 10], travel(10, at)).sampled) for at in range(0, 90, 10))

    assert kept == 10 * 5  # every sixth row and column, 12 mm apart
    block = make_path(belt).read(counts, travel(90))
    assert np.abs(10**-block.absorbance - belt.cloth("nylon")).max() < 0.08


def test_a_belt_half_full_at_the_start_is_still_the_belt(make_path: MakePath) -> None:
    belt = Belt()
    pieces = [("cotton", 0, 60, 0, 25), ("polyester", 0, 60, 30, 42)]  # over 60 % of the first block
    block = make_path(belt).read(belt.counts(belt.light(60, *pieces)), travel(60))

    assert block.foreground[:, 0:25].all()
    assert block.foreground[:, 30:42].all()
    assert not block.foreground[:, 43:].any()


def test_a_lamp_that_fades_slowly_is_followed_and_told_of(make_path: MakePath) -> None:
    belt = Belt()
    path = make_path(belt)
    wrong = 0
    for step in range(120):
        light = belt.light(32, ("cotton", 4, 28, 10, 20)) * (1 - 0.25 * step / 119)
        block = path.read(belt.counts(light), travel(32, 32 * step))
        wrong += abs(int(block.foreground.sum()) - 240)
        if step == 10:
            assert path.doubt() is None

    assert wrong <= 4  # of 230,400
    assert re.search(r"the empty belt has become (1[5-9]|2\d)% darker", str(path.doubt()))


def test_a_belt_that_was_learnt_wrongly_is_learnt_again(make_path: MakePath) -> None:
    belt = Belt()
    path = make_path(belt)
    path.read(np.zeros((32, WIDTH, 31), np.uint16), travel(32))  # a shutter that was still closed
    seen = [
        path.read(belt.counts(belt.light(32, ("cotton", 4, 28, 10, 20))), travel(32, 32 * step)).foreground
        for step in range(1, 100)
    ]

    assert seen[0].all()
    assert int(seen[-1].sum()) == 240


def test_saturated_and_dark_pixels_are_not_to_be_voted_with(make_path: MakePath) -> None:
    belt = Belt()
    light = belt.light(80, ("cotton", 20, 60, 10, 40))
    light[30:40, 15:20] = 3.0
    light[45:50, 15:20] = 0.0
    block = make_path(belt).read(belt.counts(light), travel(80))

    bad = np.zeros((80, WIDTH), bool)
    bad[30:40, 15:20] = bad[45:50, 15:20] = True
    assert (~block.readable == bad[block.foreground]).all()


@pytest.mark.parametrize("value", [0, 4095, 65535])
def test_blocks_of_one_value_give_finite_answers(value: int, make_path: MakePath) -> None:
    belt = Belt()
    path = make_path(belt)
    for step in range(3):
        block = path.read(np.full((5, WIDTH, 31), value, np.uint16), travel(5, 5 * step))
        assert np.isfinite(block.shares).all()
        assert np.isfinite(block.brightness).all()
    block = path.read(belt.counts(belt.light(5)), travel(5, 15))
    assert np.isfinite(block.unknown).all()


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32])
def test_counts_of_any_number_type_are_read(kind: type, make_path: MakePath) -> None:
    belt = Belt()
    path = make_path(belt)
    path.read(belt.counts(belt.light(40)), travel(40))
    counts = belt.counts(belt.light(10, ("cotton", 0, 10, 10, 20))).astype(kind)

    assert path.read(counts, travel(10, 40)).foreground.shape == (10, WIDTH)


def test_numbers_beyond_any_camera_are_foreground_that_does_not_vote(make_path: MakePath) -> None:
    belt = Belt()
    path = make_path(belt)
    path.read(belt.counts(belt.light(40)), travel(40))
    block = path.read(np.full((5, WIDTH, 31), 3e37, np.float32), travel(5, 40))

    assert block.foreground.all()
    assert not block.readable.any()
    assert np.isfinite(block.tint).all()


def test_no_rows_are_no_pixels(make_path: MakePath) -> None:
    belt = Belt()
    block = make_path(belt).read(np.zeros((0, WIDTH, 31), np.uint16), travel(0))

    assert block.foreground.shape == (0, WIDTH)
    assert block.shares.shape == (0, 4)
    assert block.absorbance.shape == (0, 31)


def test_lines_of_another_camera_are_refused(make_path: MakePath) -> None:
    with pytest.raises(FrameError, match=r"\(4, 60, 30\) .* needed \(lines, 60, 31\)"):
        make_path(Belt()).read(np.zeros((4, WIDTH, 30), np.uint16), travel(4))


def test_a_camera_with_other_wavelengths_than_the_bundles_is_refused(make_path: MakePath) -> None:
    belt = Belt()
    belt.camera = belt.camera.model_copy(update={"wavelength_nm": tuple(nm + 40 for nm in belt.nm)})

    with pytest.raises(LineDescriptionError, match="the camera has 31 bands"):
        make_path(belt)
