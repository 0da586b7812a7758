"""From a target that both cameras saw to a colour camera that lies over the NIR camera."""

import csv
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import yaml
from click.testing import CliRunner

from weft.errors import LineError
from weft.line.description import Belt, ColourCamera, Ejector, LineDescription, NirCamera
from weft.line.recording import FILE, Recording
from weft_serving.line.cli import line as verbs
from weft_serving.line.see.calibrate import calibrate

NIR = NirCamera(
    position_mm=0, field_of_view_mm=400, pixels=80, first_nm=935, last_nm=1720, bands=16, lines_per_s=200
)
TRUE = ColourCamera(
    position_mm=-311, left_mm=7, width_px=300, height_px=160, mm_per_pixel=1.33, frames_per_s=20
)
DESCRIBED = TRUE.model_copy(update={"position_mm": -300.0, "left_mm": 0.0, "mm_per_pixel": 1.37})
LIGHT_OF_CARD = 0.6


def line_with(camera: ColourCamera | None) -> LineDescription:
    return LineDescription(
        name="test",
        belt=Belt(width_mm=400, speed_mm_per_s=1000, counts_per_mm=10),
        nir=NIR,
        colour=camera,
        ejectors=(Ejector(name="e1", position_mm=400, left_mm=0, right_mm=400, delay_ms=10),),
    )


def on_card(belt_mm: np.ndarray, x_mm: np.ndarray) -> np.ndarray:
    """An L of card: it has one way to lie."""
    upright = (belt_mm > 700) & (belt_mm < 1000) & (x_mm > 90) & (x_mm < 150)
    foot = (belt_mm > 700) & (belt_mm < 780) & (x_mm >= 150) & (x_mm < 330)
    return upright | foot


def envi(path: Path, counts: np.ndarray) -> None:
    rows, width, bands = counts.shape
    path.with_suffix(".raw").write_bytes(counts.transpose(0, 2, 1).astype("<u2").tobytes())
    axis = ", ".join(f"{value:.2f}" for value in NIR.wavelength_nm)
    path.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {width}\nlines = {rows}\nbands = {bands}\nheader offset = 0\ndata type = 12\n"
        f"interleave = bil\nbyte order = 0\nwavelength units = nm\nwavelength = {{{axis}}}\n"
    )


def table(path: Path, encoder: np.ndarray) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["line", "encoder", "timestamp_ns"])
        writer.writerows((number, int(count), number) for number, count in enumerate(encoder))


def record(folder: Path, *, empty: bool = False) -> Path:
    rng = np.random.default_rng(1)
    travel = np.arange(400, 1400, 5.0)  # (h,) of the NIR lines
    x_mm = (np.arange(NIR.pixels) + 0.5) * NIR.mm_per_pixel
    card = np.zeros((200, 80), bool) if empty else on_card(travel[:, None], x_mm[None])
    seen = np.where(card, 0.7, 0.08)[..., None] * np.ones(16) + rng.normal(0, 0.01, (200, 80, 16))
    envi(folder / "nir.hdr", np.clip(200 + 3000 * seen, 0, 4095))
    envi(folder / "white.hdr", np.full((8, 80, 16), 3200))
    envi(folder / "dark.hdr", np.full((8, 80, 16), 200))
    table(folder / "nir.csv", travel * 10)
    frames = np.arange(0, 1500, 50.0)
    (folder / "colour").mkdir()
    for number, moved in enumerate(frames):
        row = np.arange(TRUE.height_px)[:, None]
        at_mm = moved - (TRUE.position_mm + (row - (TRUE.height_px - 1) / 2) * TRUE.mm_per_pixel)
        across = TRUE.left_mm + (np.arange(TRUE.width_px)[None] + 0.5) * TRUE.mm_per_pixel
        inside = np.zeros(TRUE.width_px, bool) if empty else on_card(at_mm, across)
        picture = np.where(inside[..., None], (210, 200, 180), (30, 32, 34)) * np.ones((160, 300, 1))
        noisy = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)
        jpeg = simplejpeg.encode_jpeg(noisy, quality=90)
        (folder / "colour" / f"{number:06d}.jpg").write_bytes(jpeg)
    table(folder / "colour.csv", frames * 10)
    about = Recording(
        line="test", simulated=True, speed_mm_per_s=1000, lines=200, frames=len(frames),
        references_at="2026-11-22T00:00:00Z",
    )  # fmt: skip
    (folder / FILE).write_text(about.model_dump_json())
    return folder


def test_a_camera_that_was_measured_wrongly_is_put_right(tmp_path: Path) -> None:
    found = calibrate(record(tmp_path), line_with(DESCRIBED), white_target=True)

    camera = found.registration.camera
    assert camera.position_mm == pytest.approx(TRUE.position_mm, abs=2.5)
    assert camera.left_mm == pytest.approx(TRUE.left_mm, abs=3)
    assert camera.mm_per_pixel == pytest.approx(TRUE.mm_per_pixel, rel=0.012)
    assert found.registration.overlap > 0.93 > found.registration.overlap_before
    assert found.gain_rgb is not None
    assert found.gain_rgb[0] < found.gain_rgb[1] < found.gain_rgb[2]  # the card looked yellowish


def test_a_belt_without_a_target_is_no_calibration(tmp_path: Path) -> None:
    with pytest.raises(LineError, match=r"saw no target that stands out from the belt; lay a bright card"):
        calibrate(record(tmp_path, empty=True), line_with(DESCRIBED), white_target=False)


def test_a_line_without_a_colour_camera_says_so(tmp_path: Path) -> None:
    with pytest.raises(LineError, match="has no colour camera to calibrate"):
        calibrate(tmp_path, line_with(None), white_target=False)


def test_the_verb_prints_what_belongs_into_the_lines_file(tmp_path: Path) -> None:
    (tmp_path / "shot").mkdir()
    described = line_with(DESCRIBED).model_dump(mode="json", exclude_none=True)
    file = tmp_path / "line.yaml"
    file.write_text(yaml.safe_dump({"line": described, "lanes": {}}))

    reply = CliRunner().invoke(
        verbs, ["calibrate", str(record(tmp_path / "shot")), "--line", str(file), "--white"]
    )

    assert reply.exit_code == 0, reply.output
    said = yaml.safe_load(reply.output)
    assert ColourCamera.model_validate(said["colour"]).gain_rgb != (1, 1, 1)
    assert "the two pictures agree over" in reply.output
