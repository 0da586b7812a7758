"""The contact sheet."""

from pathlib import Path

import numpy as np
from PIL import Image

from weft_datasets.contact_sheet import write_contact_sheet
from weft_datasets.simulate_parcels import write_parcels


def test_a_sheet_shows_one_photo_a_subject_in_rows(tmp_path: Path) -> None:
    manifest = write_parcels(tmp_path, subjects=3, seed=1, photos=(1, 2), size_px=64)

    write_contact_sheet(manifest, tmp_path / "sheet.png", columns=2, rows=5, cell_px=70)

    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (140, 140)
        cells = np.asarray(sheet)
    assert cells[:70, :70].std() > 5
    assert (cells[75:, 75:] == cells[-1, -1]).all()  # three subjects: the fourth cell is empty


def test_bands_beyond_the_third_are_left_out_of_a_sheet(tmp_path: Path) -> None:
    manifest = write_parcels(
        tmp_path, subjects=1, seed=1, photos=(1, 1), size_px=64, bands=("red", "green", "blue", "nir")
    )

    write_contact_sheet(manifest, tmp_path / "deep" / "sheet.jpg", columns=1, rows=1, cell_px=64)

    with Image.open(tmp_path / "deep" / "sheet.jpg") as sheet:
        assert sheet.size == (64, 64)
