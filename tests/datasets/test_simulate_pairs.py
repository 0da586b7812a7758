"""Simulated swatches with a scan and a photo each."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weft_datasets.manifest import read_manifest
from weft_datasets.simulate_pairs import LOOKS, drawn_cloth, write_pairs


def test_every_swatch_has_scans_a_photo_of_its_own_and_is_called_simulated(tmp_path: Path) -> None:
    write_pairs(tmp_path, subjects=6, seed=1)

    made = read_manifest(tmp_path / "manifest.parquet")

    assert made.frame.groupby("subject")["photo_path"].nunique().eq(1).all()
    assert made.frame["photo_path"].nunique() == 6
    assert not made.missing_files()
    assert made.frame["simulated"].all()
    assert {"cotton_pct", "nylon_pct", "polyester_pct"} <= set(made.frame)


def test_the_same_seed_gives_the_same_pairs(tmp_path: Path) -> None:
    one, other = (write_pairs(tmp_path / name, subjects=4, seed=2) for name in ("a", "b"))

    assert one.fingerprint() == other.fingerprint()


def test_dark_swatches_are_dark_in_the_photo_and_send_little_light_back(tmp_path: Path) -> None:
    dark, clear = (write_pairs(tmp_path / f"{share}", subjects=4, seed=3, dark=share) for share in (1, 0))

    light = [
        np.mean([np.asarray(Image.open(made.file(path))) for path in made.frame["photo_path"].unique()])
        for made in (dark, clear)
    ]
    absorbance = [np.mean(np.stack(made.frame["absorbance"].tolist())) for made in (dark, clear)]
    assert light[0] < 0.5 * light[1]
    assert absorbance[0] > absorbance[1]


@pytest.mark.parametrize("look", LOOKS)
def test_looks_differ_in_their_threads_not_in_their_colour(look: str) -> None:
    rng = np.random.default_rng(4)
    means = np.stack([drawn_cloth(look, rng, dark=False).mean((0, 1)) for _ in range(60)])

    assert np.allclose(means.mean(0), 138, atol=25)


def test_a_share_outside_0_to_1_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shares of 0 to 1; got 4 subjects, 3 fibres, telling 1\.5"):
        write_pairs(tmp_path, subjects=4, seed=1, telling=1.5)
