"""A simulated belt in memory and on disk: what lies where, when, and that a seed says it all."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import spectral
import yaml
from click.testing import CliRunner
from PIL import Image

from weft.cli import main
from weft.errors import LineError
from weft.line.colours import lab, linear_light
from weft.line.description import LineDescription, read_description
from weft.line.recording import read_recording
from weft.scans.envi import open_envi
from weft_datasets.belt.record import write_recording
from weft_datasets.belt.scene import PARTS
from weft_datasets.belt.sheet import write_sheet
from weft_datasets.belt.stream import Belt, Block, Picture
from weft_datasets.belt.truth import read_truth
from weft_datasets.belt.version import BELT_VERSION, belt_digest

SMALL = {
    "name": "small",
    "belt": {"width_mm": 1000, "speed_mm_per_s": 1000, "counts_per_mm": 10},
    "nir": {
        "position_mm": 0,
        "field_of_view_mm": 1000,
        "pixels": 50,
        "first_nm": 1000,
        "last_nm": 1700,
        "bands": 36,
        "lines_per_s": 50,
    },
    "colour": {"position_mm": -400, "width_px": 80, "height_px": 64, "mm_per_pixel": 12.5, "frames_per_s": 5},
    "ejectors": [{"name": "e1", "position_mm": 400, "left_mm": 0, "right_mm": 1000, "delay_ms": 15}],
}
SECONDS = 6.0


@pytest.fixture(scope="module")
def line() -> LineDescription:
    return LineDescription.model_validate(SMALL)


@pytest.fixture(scope="module")
def ran(line: LineDescription) -> tuple[Belt, list[Block], list[Picture]]:
    belt = Belt(line, seconds=SECONDS, seed=4)
    events = list(belt.events())
    blocks = [event for event in events if isinstance(event, Block)]
    return belt, blocks, [event for event in events if isinstance(event, Picture)]


def test_the_frozen_belt_is_what_version_1_names() -> None:
    """A change to any figure needs a new number and new figures for the models measured on it."""
    assert (BELT_VERSION, belt_digest()[:16]) == ("1", "0acd0bbb89a31f33")


def test_the_frozen_belt_of_a_seed_has_these_counts(ran: tuple[Belt, list[Block], list[Picture]]) -> None:
    """Figures that a digest cannot hold: the order of draws and the code between them."""
    belt, blocks, _ = ran
    counts = np.concatenate([block.counts for block in blocks])

    assert counts[:, :, 18].mean() == pytest.approx(1207.85, rel=1e-4)
    assert [row.piece for row in belt.truth] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert belt.truth[0].grams == pytest.approx(367.3, abs=0.2)


def test_every_line_and_frame_comes_once_in_order_of_time(
    ran: tuple[Belt, list[Block], list[Picture]],
) -> None:
    _, blocks, pictures = ran
    encoder = np.concatenate([block.encoder for block in blocks])
    time = np.concatenate([block.timestamp_ns for block in blocks])

    assert len(encoder) == 300
    assert [block.first_line for block in blocks] == list(range(0, 300, 32))
    assert (np.diff(encoder) > 0).all()
    np.testing.assert_allclose(np.diff(time), 20_000_000, atol=1)
    assert len(pictures) == 30
    assert {simplejpeg.decode_jpeg(picture.jpeg).shape for picture in pictures} == {(64, 80, 3)}


def test_the_encoder_counts_a_speed_that_swings_about_the_described_one(
    ran: tuple[Belt, list[Block], list[Picture]], line: LineDescription
) -> None:
    _, blocks, _ = ran
    travel = np.concatenate([block.travel_mm for block in blocks])
    encoder = np.concatenate([block.encoder for block in blocks])
    steps = np.diff(travel)

    np.testing.assert_allclose(encoder, travel * line.belt.counts_per_mm, atol=1.0)
    assert steps.mean() == pytest.approx(20.0, rel=0.02)
    assert 0.002 < steps.std() / steps.mean() < 0.03


def test_a_piece_shows_in_the_nir_lines_where_its_truth_says(
    ran: tuple[Belt, list[Block], list[Picture]], line: LineDescription
) -> None:
    belt, blocks, _ = ran
    codes = np.concatenate([block.codes for block in blocks])
    travel = np.concatenate([block.travel_mm for block in blocks])
    assert len(belt.truth) >= 4
    for row in belt.truth:
        rows, columns = np.nonzero(codes // PARTS == row.piece)
        if row.overlaps:
            continue
        assert travel[rows.min()] == pytest.approx(row.first_mm, abs=25)
        assert travel[rows.max()] == pytest.approx(row.last_mm, abs=25)
        assert (columns.min() + 0.5) * 20 == pytest.approx(row.left_mm, abs=25)
        assert (columns.max() + 0.5) * 20 == pytest.approx(row.right_mm, abs=25)
        area_cm2 = len(rows) * 20.0 * 20.0 / 100
        assert area_cm2 == pytest.approx(row.area_cm2, rel=0.12, abs=20)
        assert row.first_encoder == pytest.approx(row.first_mm * 10, abs=1)


def test_cloth_is_brighter_than_the_belt_in_raw_counts(ran: tuple[Belt, list[Block], list[Picture]]) -> None:
    belt, blocks, _ = ran
    counts = np.concatenate([block.counts for block in blocks]).astype(np.float64)
    codes = np.concatenate([block.codes for block in blocks])
    white, dark = (frame.mean(axis=0) for frame in belt.references())
    level = np.median((counts - dark) / np.maximum(white - dark, 1.0), axis=2)

    assert np.median(level[codes > 0]) > 0.4
    assert np.median(level[codes == 0]) < 0.35
    assert counts.max() <= belt.camera.full_scale


def test_a_piece_has_its_colour_in_the_frames_where_the_nir_lines_show_it(
    ran: tuple[Belt, list[Block], list[Picture]], line: LineDescription
) -> None:
    belt, blocks, pictures = ran
    camera = line.colour
    assert camera is not None
    codes = np.concatenate([block.codes for block in blocks])
    travel = np.concatenate([block.travel_mm for block in blocks])
    away: list[float] = []
    for row in belt.truth:
        middle = 0.5 * (row.first_mm + row.last_mm)
        near = min(pictures, key=lambda p: abs(p.travel_mm - camera.position_mm - middle))
        image = simplejpeg.decode_jpeg(near.jpeg)
        lines, columns = np.nonzero(codes // PARTS == row.piece)
        offset = travel[lines] - (near.travel_mm - camera.position_mm)
        at = np.round((camera.height_px - 1) / 2 - offset / camera.mm_per_pixel).astype(int)
        across = ((columns + 0.5) * 20.0 / camera.mm_per_pixel).astype(int)
        inside = (at >= 0) & (at < camera.height_px)
        seen = lab(linear_light(image[at[inside], across[inside]]))
        away.append(float(np.linalg.norm(np.median(seen, axis=0) - row.lab)))

    assert len(away) >= 4
    assert np.median(away) < 8.0
    assert sorted(away)[-2] < 25.0, "one may be striped"


def test_the_same_seed_gives_the_same_bytes_however_it_is_read(
    ran: tuple[Belt, list[Block], list[Picture]], line: LineDescription
) -> None:
    belt, blocks, pictures = ran
    again = Belt(line, seconds=SECONDS, seed=4)

    for one, other in zip(blocks, again.blocks(), strict=True):
        np.testing.assert_array_equal(one.counts, other.counts)
    assert [picture.jpeg for picture in again.pictures()] == [picture.jpeg for picture in pictures]
    list(again.blocks())
    assert again.truth == belt.truth


def test_another_seed_is_another_belt_and_another_camera(line: LineDescription) -> None:
    one, other = (next(iter(Belt(line, seconds=1, seed=seed).blocks())) for seed in (1, 2))

    assert not np.array_equal(one.counts, other.counts)


def test_pieces_that_meet_name_each_other(line: LineDescription) -> None:
    belt = Belt(line, seconds=30, seed=3)
    list(belt.pictures())

    by_number = {row.piece: row for row in belt.truth}
    met = [row for row in belt.truth if row.touches or row.overlaps]
    assert met
    for row in met:
        for other in row.touches:
            assert other not in by_number or row.piece in by_number[other].touches
        for other in row.overlaps:
            assert other not in by_number or row.piece in by_number[other].overlaps
    assert len(met) < 0.4 * len(belt.truth)


def test_a_belt_without_a_tail_of_pieces_shows_each_to_its_end(line: LineDescription) -> None:
    belt = Belt(line, seconds=4, seed=5, tail_mm=1_200.0)
    codes = np.concatenate([block.codes for block in belt.blocks()])

    assert set(np.unique(codes[codes > 0] // PARTS).tolist()) <= {row.piece for row in belt.truth}


def test_no_time_at_all_is_refused(line: LineDescription) -> None:
    with pytest.raises(ValueError, match="need a time above 0 s"):
        Belt(line, seconds=0, seed=0)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("belt")
    (folder / "small.yaml").write_text(yaml.safe_dump({"line": SMALL, "lanes": {}}))
    write_recording(folder / "small.yaml", folder / "run", seconds=3, seed=4)
    return folder / "run"


def test_a_recording_holds_what_its_words_promise(recorded: Path) -> None:
    said = read_recording(recorded)

    assert (said.line, said.simulated, said.simulator_version, said.seed) == ("small", True, "1", 4)
    assert (said.lines, said.frames) == (150, 15)
    assert "simulated" in said.notes
    assert read_description(recorded / "line.yaml").name == "small"
    assert len((recorded / "nir.csv").read_text().splitlines()) == 151
    frames = (recorded / "colour.csv").read_text().splitlines()[1:]
    assert [Path(row.split(",")[0]).name for row in frames] == [f"{n:06d}.jpg" for n in range(15)]
    with Image.open(io.BytesIO((recorded / "colour" / "000003.jpg").read_bytes())) as picture:
        assert picture.size == (80, 64)


def test_the_cube_reads_alike_with_our_reader_and_with_spectral(recorded: Path) -> None:
    ours = open_envi(recorded / "nir.hdr").values()
    theirs = spectral.open_image(str(recorded / "nir.hdr"))

    assert ours.dtype == np.uint16
    assert ours.shape == theirs.shape == (150, 50, 36)
    np.testing.assert_array_equal(ours[40:60], np.asarray(theirs[40:60, :, :]))
    belt = Belt(read_description(recorded / "line.yaml"), seconds=3, seed=4)
    np.testing.assert_array_equal(ours[:32], next(iter(belt.blocks())).counts)


def test_truth_reads_back_as_it_was(recorded: Path) -> None:
    belt = Belt(read_description(recorded / "line.yaml"), seconds=3, seed=4)
    list(belt.blocks())

    assert read_truth(recorded / "truth.csv") == belt.truth
    (recorded / "other.csv").write_text("piece\n1\n")
    with pytest.raises(LineError, match="no truth of a simulated belt"):
        read_truth(recorded / "other.csv")


def test_the_verb_writes_a_recording_and_a_sheet_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"line": SMALL, "lanes": {}}))
    asked = ["simulate", "belt", "--line", str(tmp_path / "small.yaml"), "--seconds", "2", "--seed", "4"]
    out = [*asked, "--out", str(tmp_path / "run")]

    done = CliRunner().invoke(main, [*out, "--sheet", str(tmp_path / "sheet.png")])

    assert done.exit_code == 0, done.output
    assert "100 NIR lines, 10 frames, simulated" in done.output
    assert json.loads((tmp_path / "run" / "recording.json").read_text())["simulated"] is True
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 700
    again = CliRunner().invoke(main, out)
    assert again.exit_code == 1
    assert "holds something already; name an empty folder" in again.output


def test_more_than_can_be_read_again_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(yaml.safe_dump({"line": SMALL, "lanes": {}}))

    with pytest.raises(LineError, match=r"are 3\.6 GB of NIR lines, 2\.0 can be read again; ask for at most"):
        write_recording(tmp_path / "small.yaml", tmp_path / "run", seconds=20_000, seed=0)
    assert not (tmp_path / "run").exists()


def test_a_sheet_needs_a_colour_camera(line: LineDescription, tmp_path: Path) -> None:
    bare = line.model_copy(update={"colour": None})

    with pytest.raises(ValueError, match="line small has no colour camera"):
        write_sheet(bare, tmp_path / "sheet.png", seconds=1, seed=0)
    assert next(iter(Belt(bare, seconds=1, seed=0).events())).counts.shape == (32, 50, 36)
