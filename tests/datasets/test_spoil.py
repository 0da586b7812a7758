"""Real photos, spoilt: what goes along, and that nothing but the fault tells them apart."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.random import default_rng
from PIL import Image

from weft.errors import ManifestError
from weft_datasets.faults import SPOILT
from weft_datasets.importers import import_source
from weft_datasets.manifest import Manifest, make_manifest
from weft_datasets.spoil import write_spoilt


def photos(folder: Path, count: int = 4) -> Manifest:
    rng = default_rng(0)
    rows = []
    for number in range(count):
        pixels = np.full((96, 72, 3), 190, np.uint8)
        pixels[24:72, 18:54] = rng.integers(20, 120, 3)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append({"capture": f"c{number}", "subject": f"s{number // 2}", "kind": "photo"})
        rows[-1]["path"] = f"{number}.png"
    return make_manifest(pd.DataFrame(rows), root=folder, name="mine", notes={"licence": "CC0-1.0"})


def test_every_photo_comes_good_and_with_each_fault_under_its_own_subject(tmp_path: Path) -> None:
    made = write_spoilt(photos(tmp_path), tmp_path / "out", photos=10, seed=1, size_px=64)

    assert made.missing_files() == []
    assert made.frame["fault"].fillna("good").value_counts().to_dict() == dict.fromkeys(["good", *SPOILT], 4)
    assert set(made.frame["subject"]) == {"s0", "s1"}
    assert made.frame["simulated"].eq(made.frame["fault"].notna()).all()
    assert made.notes["licence"] == "CC0-1.0"


def test_the_same_seed_spoils_alike_and_takes_no_more_than_asked(tmp_path: Path) -> None:
    taken = photos(tmp_path)
    once, again = (write_spoilt(taken, tmp_path / name, photos=2, seed=1, size_px=64) for name in "ab")

    assert len(once.frame) == 2 * (1 + len(SPOILT))
    for path in once.frame["path"]:
        assert once.file(path).read_bytes() == again.file(path).read_bytes()


def test_a_part_that_was_cut_out_keeps_the_photos_proportions(tmp_path: Path) -> None:
    made = write_spoilt(photos(tmp_path), tmp_path / "out", photos=4, seed=2, size_px=96)

    for path in made.frame.loc[made.frame["fault"] == "cut_off", "path"]:
        with Image.open(made.file(path)) as part:
            width, height = part.size
        assert height / width == pytest.approx(96 / 72, abs=0.1)
        assert height < 0.7 * 96


def test_without_a_good_photo_there_is_nothing_to_spoil(tmp_path: Path) -> None:
    taken = photos(tmp_path)
    taken.frame["fault"] = "screen"

    with pytest.raises(ManifestError, match="no good photo"):
        write_spoilt(taken, tmp_path / "out", photos=2, seed=1)


def test_garments_are_grouped_by_who_sent_them(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{name}.jpg")
    listed = "image,sender_id,label,kids\na,7,T-Shirt,False\nb,7,Not sure,False\nc,9,Hat,False\n"
    (tmp_path / "images.csv").write_text(listed)
    found = import_source("garments", tmp_path)

    assert found.frame["subject"].tolist() == ["sender007", "sender007"]
    assert found.frame["klass"].fillna("?").tolist() == ["T-Shirt", "?"]
    assert found.notes["licence"] == "CC0-1.0"
    assert found.notes["remarks"] == ["1 listed photos are not in the folder"]
