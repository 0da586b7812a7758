"""Pieces with their pixels, as a belt bundle is trained on them."""

from pathlib import Path

import numpy as np
import pytest

from weft.line.description import NirCamera
from weft_datasets.belt.samples import FIBRES, PIXELS_FILE, STEP, mended, write_samples

CAMERA = NirCamera(
    position_mm=0,
    field_of_view_mm=1000,
    pixels=160,
    first_nm=935,
    last_nm=1720,
    bands=48,
    lines_per_s=160,
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder, camera=CAMERA, pieces=12, seed=3, pixels=40, cameras=3)
    return folder


def test_every_piece_has_its_pixels_and_its_truth(written: Path) -> None:
    from weft_datasets.manifest import read_manifest

    frame = read_manifest(written / "manifest.parquet").frame
    with np.load(written / PIXELS_FILE) as stored:
        pixels = {name: stored[name] for name in stored.files}

    assert frame["pixel_row"].tolist() == list(range(12))
    assert set(np.unique(pixels["piece"])) == set(range(12))
    assert pixels["reflectance"].shape == (len(pixels["piece"]), 48)
    assert (frame["grams"] > 0).all()
    assert frame["simulated"].all()
    for row in np.flatnonzero((frame["unknown_pct"] == 0) & (frame["mixed"] == 0)):
        own = pixels["shares"][pixels["piece"] == row].astype(float)
        cloth = own[own.sum(1) > 0.5]
        stated = np.array([frame[f"{name}_pct"].iloc[row] for name in FIBRES]) / 100
        # Zips, prints and labels aside, a pixel is of the piece's own cloth.
        assert np.isclose(cloth, stated, atol=2e-3).all(1).mean() > 0.5


def test_pixels_are_reflectance_and_the_mean_in_the_manifest_is_theirs(written: Path) -> None:
    from weft_datasets.manifest import read_manifest

    frame = read_manifest(written / "manifest.parquet").frame
    with np.load(written / PIXELS_FILE) as stored:
        seen, piece = stored["reflectance"] * STEP, stored["piece"]

    assert 0.01 < float(np.median(seen)) < 1.2
    mean = -np.log10(np.clip(seen[piece == 5], 1e-4, None).mean(0))
    np.testing.assert_allclose(frame["absorbance"].iloc[5], mean, atol=2e-3)


def test_a_gap_is_drawn_straight_between_its_neighbours() -> None:
    seen = np.array([[1.0, np.nan, 3.0, 4.0], [1.0, 2.0, 3.0, np.nan]], np.float32)

    np.testing.assert_allclose(mended(seen), [[1, 2, 3, 4], [1, 2, 3, 3]])


def test_nothing_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need pieces, pixels and cameras, got 0, 40 and 3"):
        write_samples(tmp_path, camera=CAMERA, pieces=0, seed=3, pixels=40, cameras=3)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(written: Path, tmp_path: Path) -> None:
    write_samples(tmp_path / "again", camera=CAMERA, pieces=12, seed=3, pixels=40, cameras=3)
    write_samples(tmp_path / "other", camera=CAMERA, pieces=12, seed=4, pixels=40, cameras=3)

    for name in ("manifest.parquet", PIXELS_FILE):
        first = (written / name).read_bytes()
        assert (tmp_path / "again" / name).read_bytes() == first
        assert (tmp_path / "other" / name).read_bytes() != first
