"""References of a line's NIR camera: what is refused, what is mended."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from weft.errors import LineReferenceError
from weft.line.description import NirCamera
from weft_serving.line.see.references import References, make_references, read_references

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
Frames = NDArray[np.uint16]


def camera(**changes: object) -> NirCamera:
    given = {
        "position_mm": 0,
        "field_of_view_mm": 80,
        "pixels": 40,
        "first_nm": 930,
        "last_nm": 1705,
        "bands": 32,
        "lines_per_s": 100,
    }
    return NirCamera.model_validate(given | changes)


def frames(seed: int = 0) -> tuple[Frames, Frames]:
    """White and dark of (lines, 40, 32) with fixed pattern, vignetting and noise."""
    rng = np.random.default_rng(seed)
    lamp = 2600 * np.sin(np.linspace(0.6, 2.6, 32)) * np.linspace(0.8, 1, 40)[:, None]
    dark = 120 + rng.normal(0, 4, (40, 32))
    white = dark + lamp * rng.normal(1, 0.02, (40, 32))
    noisy = [level + rng.normal(0, 6, (24, 40, 32)) for level in (white, dark)]
    return noisy[0].round().astype(np.uint16), noisy[1].round().astype(np.uint16)


def made(white: Frames, dark: Frames, **changes: object) -> References:
    return make_references(white, dark, camera(**changes), taken_at=NOON, max_age_s=3600)


def test_counts_of_the_white_tile_become_one_and_of_the_dark_nothing() -> None:
    white, dark = frames()
    references = made(white, dark)

    assert np.abs((white.mean(0) - references.offset) * references.gain - 1).max() < 1e-5
    assert np.abs((dark.mean(0) - references.offset) * references.gain).max() < 1e-5
    assert references.mend.column.size == 0


def test_references_age_and_are_then_refused_with_what_to_do() -> None:
    references = made(*frames())

    references.check_age(NOON + timedelta(minutes=59))
    with pytest.raises(
        LineReferenceError, match="90 minutes old, 60 are allowed; record both again"
    ) as found:
        references.check_age(NOON + timedelta(minutes=90))
    assert found.value.code == "reference-stale"


def test_references_from_the_future_tell_of_a_wrong_clock() -> None:
    with pytest.raises(LineReferenceError, match="30 minutes after this machine's clock; set the clock"):
        made(*frames()).check_age(NOON - timedelta(minutes=30))


def test_a_saturated_white_is_refused() -> None:
    white, dark = frames()
    white[:, :, 10:14] = 4095

    with pytest.raises(LineReferenceError, match="12% of the white reference is saturated at 4095") as found:
        made(white, dark)
    assert found.value.code == "reference-saturated"


def test_white_and_dark_that_were_swapped_are_refused() -> None:
    white, dark = frames()

    with pytest.raises(LineReferenceError, match=r"counts above the dark one.*or swap the two"):
        made(dark, white)


@pytest.mark.parametrize("shape", [(24, 40, 31), (24, 39, 32), (40, 32), (0, 40, 32)])
def test_references_of_another_camera_are_refused(shape: tuple[int, ...]) -> None:
    white, _ = frames()

    with pytest.raises(LineReferenceError, match=r"the dark reference has shape .* needed \(lines, 40, 32\)"):
        made(white, np.zeros(shape, np.uint16))


def test_numbers_that_are_none_are_refused() -> None:
    white, dark = frames()
    broken = white.astype(np.float32)
    broken[3, 2, 1] = np.nan

    with pytest.raises(LineReferenceError, match="the white reference holds values that are no numbers"):
        make_references(broken, dark, camera(), taken_at=NOON, max_age_s=3600)


def test_dead_hot_and_flickering_pixels_are_found_and_mended_from_their_neighbours() -> None:
    white, dark = frames()
    rng = np.random.default_rng(1)
    white[:, 5, 7] = dark[:, 5, 7]  # dead
    white[:, 9, 3], dark[:, 9, 3] = 3900, 2500  # hot
    white[:, 20, 20] = rng.integers(500, 3500, 24)  # flickers
    white[:, 33, :] = dark[:, 33, :]  # a whole column is dead
    references = made(white, dark)

    found = set(zip(references.mend.column.tolist(), references.mend.band.tolist(), strict=True))
    assert found == {(5, 7), (9, 3), (20, 20), *((33, band) for band in range(32))}

    bright = np.linspace(0.2, 0.8, 32) + np.linspace(0, 0.1, 40)[:, None]  # straight along both
    light = np.tile(bright, (3, 1, 1)).astype(np.float32)
    for column, band in found:
        light[:, column, band] = 77
    references.mend.apply(light)
    assert np.abs(light - bright).max() < 1e-5


def test_a_bad_pixel_at_the_end_of_a_spectrum_takes_its_only_neighbour() -> None:
    white, dark = frames()
    white[:, 4, :2] = dark[:, 4, :2]
    mend = made(white, dark).mend

    assert mend.band.tolist() == [0, 1]
    assert np.allclose(mend.weight.sum(axis=0), 1)
    assert set(mend.from_band[mend.weight > 0].tolist()) == {2}


def test_a_camera_of_which_too_much_is_bad_is_refused() -> None:
    white, dark = frames()
    white[:, ::8, :] = dark[:, ::8, :]

    with pytest.raises(LineReferenceError, match=r"12\.5% of the camera's pixels are dead, hot or flicker"):
        made(white, dark)


def write_envi(folder: Path, name: str, counts: Frames, *, more: str = "") -> None:
    lines, columns, bands = counts.shape
    (folder / f"{name}.raw").write_bytes(counts.transpose(0, 2, 1).astype("<u2").tobytes())
    (folder / f"{name}.hdr").write_text(
        f"ENVI\nlines = {lines}\nsamples = {columns}\nbands = {bands}\ndata type = 12\ninterleave = bil\n"
        f"byte order = 0\nheader offset = 0\n{more}"
    )


def test_references_are_read_from_a_folder_and_know_when_they_were_taken(tmp_path: Path) -> None:
    white, dark = frames()
    said = "acquisition date = DATE(yyyy-mm-dd): 2026-11-22\nstart time = UTC TIME: 11:58:30\n"
    write_envi(tmp_path, "white", white, more=said)
    write_envi(tmp_path, "dark", dark)

    read = read_references(tmp_path, camera(), max_age_s=3600)

    assert read.age_s(NOON) == 90
    assert np.array_equal(read.gain, made(white, dark).gain)


def test_a_missing_reference_is_named(tmp_path: Path) -> None:
    white, _ = frames()
    write_envi(tmp_path, "white", white)

    with pytest.raises(LineReferenceError, match=r"dark\.hdr: no dark reference can be read") as found:
        read_references(tmp_path, camera(), max_age_s=3600)
    assert found.value.code == "reference-missing"


def test_a_header_that_lies_about_its_data_is_a_missing_reference(tmp_path: Path) -> None:
    white, dark = frames()
    write_envi(tmp_path, "white", white)
    write_envi(tmp_path, "dark", dark)
    (tmp_path / "white.raw").write_bytes(b"\0" * 1000)

    with pytest.raises(LineReferenceError, match=r"no white reference can be read from it .*1,000"):
        read_references(tmp_path, camera(), max_age_s=3600)
