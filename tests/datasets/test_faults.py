"""Simulated photos with a fault: they show what they are said to show, and good photos stay as they were."""

from pathlib import Path

import numpy as np
import pytest
from numpy.random import default_rng
from PIL import Image

from weft_datasets.faults import (
    FAULTS,
    LEAST_CUT,
    MOST_CUT,
    cut_off,
    share_outside,
    spoiled_photo,
)
from weft_datasets.manifest import Manifest
from weft_datasets.render.camera import Stand, choose_view
from weft_datasets.render.photographed_screen import photograph_screen
from weft_datasets.simulate_parcels import write_parcels


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_parcels(
        tmp_path_factory.mktemp("faults"), subjects=2, seed=1, photos=(1, 1), size_px=64, faults=True
    )


def stand() -> Stand:
    points = default_rng(0).uniform(-200, 200, (400, 3)).astype(np.float32) + np.float32([0, 0, 200])
    return Stand(points, 0.0, 1.0)


def test_every_fault_of_every_subject_is_there_and_named(faulty: Manifest) -> None:
    assert faulty.missing_files() == []
    for _, rows in faulty.frame.groupby("subject"):
        assert set(rows["fault"].dropna()) == set(FAULTS)
        assert rows["fault"].isna().sum() == 1


def test_good_photos_do_not_change_when_faulty_ones_are_taken_beside_them(
    faulty: Manifest, tmp_path: Path
) -> None:
    plain = write_parcels(tmp_path, subjects=2, seed=1, photos=(1, 1), size_px=64)

    assert "fault" not in plain.frame
    for path in plain.frame["path"]:
        assert plain.file(path).read_bytes() == faulty.file(path).read_bytes()


def test_the_bundled_models_photos_can_still_be_made(faulty: Manifest) -> None:
    """`--seed 1` is what the bundled weight model is trained on: a change here changes it."""
    first = Image.open(faulty.file("photos/s000000-1.jpg"))
    seen = np.asarray(first.resize((4, 4), Image.Resampling.BOX), float).mean(axis=2)

    assert faulty.frame["grams"][0] == pytest.approx(1161.5)
    wanted = [
        [125.3, 129.3, 128.3, 127.3],
        [129.3, 109.0, 105.7, 129.3],
        [125.0, 66.7, 62.7, 103.0],
        [134.3, 131.3, 121.7, 119.7],
    ]
    np.testing.assert_allclose(seen, wanted, atol=2)


def test_several_parcels_and_none_have_no_mass_of_their_own(faulty: Manifest) -> None:
    grams = faulty.frame.set_index("fault")["grams"]

    assert grams[["several", "no_parcel"]].isna().all()
    assert grams[["cut_off", "covered", "screen"]].notna().all()


def test_faulty_photos_differ_from_the_good_one_and_are_no_flat_fields(faulty: Manifest) -> None:
    for row in faulty.frame[faulty.frame["fault"].notna()].itertuples():
        pixels = np.asarray(Image.open(faulty.file(str(row.path))), float)
        good = Image.open(faulty.file(f"photos/{row.subject}-1.jpg")).resize(pixels.shape[1::-1])
        assert pixels.std() > 4
        assert np.abs(pixels - np.asarray(good, float)).mean() > 3


@pytest.mark.parametrize("seed", range(8))
def test_a_cut_off_parcel_leaves_the_frame_but_not_wholly(seed: int) -> None:
    rng = default_rng(seed)
    camera = choose_view(rng, stand(), size_px=320)

    assert share_outside(camera, stand()) < 0.02
    assert LEAST_CUT <= share_outside(cut_off(rng, camera, stand()), stand()) <= MOST_CUT


@pytest.mark.parametrize("fault", ["covered", "screen"])
def test_any_photo_can_be_spoilt_and_the_seed_says_how(fault: str) -> None:
    photo = default_rng(0).integers(60, 200, (48, 64, 3)).astype(np.uint8)

    once, again = (spoiled_photo(default_rng(3), fault, photo) for _ in range(2))  # pyright: ignore[reportArgumentType]
    assert once.dtype == np.uint8
    assert max(once.shape) == 64
    assert (once == again).all()
    assert np.abs(once[:4, :4].astype(float) - photo[:4, :4]).mean() > 0


def test_a_screen_shows_the_picture_not_something_else() -> None:
    left_bright = np.full((60, 80, 3), 30, np.uint8)
    left_bright[:, :40] = 220
    found = [photograph_screen(default_rng(seed), left_bright, size_px=80) for seed in range(12)]

    brighter = [
        light[:, : light.shape[1] // 2].mean() > light[:, light.shape[1] // 2 :].mean() for light in found
    ]
    assert np.mean(brighter) > 0.8


def test_faults_of_other_bands_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a screen shows no others"):
        write_parcels(tmp_path, subjects=1, seed=0, bands=("nir", "red"), faults=True)
