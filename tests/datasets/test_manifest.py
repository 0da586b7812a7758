from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weft.errors import ManifestError
from weft_datasets.manifest import Manifest, make_manifest, read_manifest, write_manifest

Photos = Callable[..., Path]
Spectra = Callable[..., pd.DataFrame]


def photo_manifest(folder: Path, write_photo: Photos, **columns: object) -> Manifest:
    for number in range(4):
        write_photo(folder / "photos" / f"{number}.jpg", seed=number)
    frame = pd.DataFrame(
        {
            "capture": [f"c{number}" for number in range(4)],
            "subject": ["a", "a", "b", "b"],
            "kind": "photo",
            "path": [f"photos/{number}.jpg" for number in range(4)],
            "grams": [100.0, 100.0, 250.5, 250.5],
        }
    ).assign(**columns)
    return make_manifest(frame, root=folder, name="mini", notes={"source": "here", "licence": "CC0"})


def test_the_same_manifest_gives_the_same_bytes(tmp_path: Path, write_photo: Photos) -> None:
    manifest = photo_manifest(tmp_path, write_photo)
    write_manifest(manifest, tmp_path / "one.parquet")
    turned = Manifest(manifest.frame[manifest.frame.columns[::-1]], tmp_path, "mini", manifest.notes)
    write_manifest(turned, tmp_path / "two.parquet")
    write_manifest(read_manifest(tmp_path / "one.parquet"), tmp_path / "three.parquet")

    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "three.parquet").read_bytes()


def test_notes_and_name_travel_in_the_file(tmp_path: Path, write_photo: Photos) -> None:
    write_manifest(photo_manifest(tmp_path, write_photo), tmp_path / "m.parquet")

    read = read_manifest(tmp_path / "m.parquet")

    assert read.name == "mini"
    assert read.notes == {"source": "here", "licence": "CC0"}
    assert read.kind == "photo"
    assert read.has_grams
    assert not read.has_composition


def test_a_folder_that_is_moved_with_its_manifest_still_works(tmp_path: Path, write_photo: Photos) -> None:
    before = photo_manifest(tmp_path / "here", write_photo)
    write_manifest(before, tmp_path / "here" / "m.parquet")
    (tmp_path / "here").rename(tmp_path / "there")

    after = read_manifest(tmp_path / "there" / "m.parquet")

    assert after.frame["path"].tolist() == [f"photos/{number}.jpg" for number in range(4)]
    assert after.missing_files() == []


def test_a_manifest_beside_its_data_points_back_at_it(tmp_path: Path, write_photo: Photos) -> None:
    manifest = photo_manifest(tmp_path / "data", write_photo)

    written = write_manifest(manifest, tmp_path / "out" / "m.parquet")

    assert written.frame["path"].iloc[0] == "../data/photos/0.jpg"
    assert written.missing_files() == []
    assert written.fingerprint() == manifest.fingerprint()


def test_the_fingerprint_knows_contents_and_truth_but_not_places_or_order(
    tmp_path: Path, write_photo: Photos
) -> None:
    manifest = photo_manifest(tmp_path, write_photo)
    first = manifest.fingerprint()
    turned = Manifest(manifest.frame[::-1].reset_index(drop=True), tmp_path, "other name", manifest.notes)
    heavier = Manifest(manifest.frame.assign(grams=101.0), tmp_path, "mini", manifest.notes)

    assert turned.fingerprint() == first
    assert heavier.fingerprint() != first
    write_photo(tmp_path / "photos" / "2.jpg", seed=99)
    assert manifest.fingerprint() != first


def test_the_fingerprint_names_files_that_are_gone(tmp_path: Path, write_photo: Photos) -> None:
    manifest = photo_manifest(tmp_path, write_photo)
    (tmp_path / "photos" / "3.jpg").unlink()

    assert manifest.missing_files() == ["photos/3.jpg"]
    with pytest.raises(ManifestError, match=r"1 files are missing: photos/3\.jpg"):
        manifest.fingerprint()


@pytest.mark.parametrize("header", ["cube.hdr", "cube.dat.hdr"])
def test_the_data_beside_an_envi_header_is_part_of_the_fingerprint(
    tmp_path: Path, write_photo: Photos, header: str
) -> None:
    manifest = photo_manifest(tmp_path, write_photo)
    (tmp_path / header).write_text("ENVI")
    (tmp_path / "cube.dat").write_bytes(b"1234")
    cubes = Manifest(manifest.frame.assign(path=header), tmp_path, "mini", {})
    first = cubes.fingerprint()

    (tmp_path / "cube.dat").write_bytes(b"1235")

    assert cubes.fingerprint() != first


def test_spectra_come_back_as_they_went_in(tmp_path: Path, fabric_spectra: Spectra) -> None:
    frame = fabric_spectra(["cotton", "wool"])
    write_manifest(make_manifest(frame, root=tmp_path, name="s", notes={}), tmp_path / "s.parquet")

    read = read_manifest(tmp_path / "s.parquet")

    assert read.kind == "spectrum"
    assert read.fibres == ("cotton", "wool")
    np.testing.assert_array_equal(read.frame["absorbance"].iloc[0], frame["absorbance"].iloc[0])
    np.testing.assert_array_equal(read.frame["wavelength_nm"].iloc[0], frame["wavelength_nm"].iloc[0])
    assert read.frame["absorbance"].iloc[0].dtype == np.float32


def test_shares_follow_the_fibres_asked_for_and_the_rest_is_unknown(
    tmp_path: Path, fabric_spectra: Spectra
) -> None:
    frame = fabric_spectra(["cotton", "wool"], scans=1)
    frame.loc[0, ["cotton_pct", "nylon_pct", "unknown_pct"]] = [60.0, 30.0, 10.0]
    frame.loc[1, [c for c in frame if c.endswith("_pct")]] = np.nan

    shares = make_manifest(frame, root=tmp_path, name="s", notes={}).shares(("polyester", "cotton"))

    np.testing.assert_allclose(shares[0], [0.0, 0.6, 0.4])
    assert np.isnan(shares[1]).all()


def test_columns_of_ones_own_are_kept(tmp_path: Path, write_photo: Photos) -> None:
    manifest = photo_manifest(
        tmp_path, write_photo, lens=["wide", None, "tele", "wide"], iso=[100, 200, 100, 400]
    )
    read = read_manifest(write_manifest(manifest, tmp_path / "m.parquet").root / "m.parquet")

    assert read.frame["iso"].tolist() == [100, 200, 100, 400]
    assert read.frame["lens"].isna().tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"subject": ["a", None, "b", ""]}, "2 of 4 rows have no subject, the first is row 2"),
        ({"capture": ["c", "c", "d", "e"]}, "captures named twice: c"),
        ({"kind": ["photo", "photo", "photo", "spectrum"]}, "mixes photo, spectrum"),
        ({"kind": "foto"}, "kind is foto; it may be photo, spectrum"),
        ({"coton_pct": 100.0}, "column 'coton_pct' names no fibre known here; did you mean 'cotton_pct'"),
        ({"grams": "heavy"}, "column 'grams'"),
        ({"grams": [100.0, 100.0, -1.0, -1.0]}, "2 captures weigh nothing or less: c2, c3"),
        ({"grams": [100.0, 120.0, 1.0, 1.0]}, "1 subjects have more than one value in 'grams': a"),
        ({"split": ["train", "test", "test", "test"]}, "1 subjects are in more than one split: a"),
        ({"cotton_pct": 60.0, "wool_pct": 30.0}, r"4 compositions do not sum to 100 %: c0 \(90 %\)"),
        ({"cotton_pct": 120.0, "wool_pct": -20.0}, r"4 captures have shares outside 0\.\.100 %"),
        ({"mark": "disc"}, "4 captures have a mark but no size above 0"),
        ({"mark": "coin", "mark_mm": 25.0}, "'mark' holds coin; it may be qr, disc, sheet, ruler or empty"),
        ({"season": "monsoon"}, "column 'season' holds monsoon; it may be summer, winter or empty"),
    ],
)
def test_what_would_spoil_a_training_is_refused_in_words(
    tmp_path: Path, write_photo: Photos, columns: dict[str, object], words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        photo_manifest(tmp_path, write_photo, **columns)


def test_a_manifest_without_subjects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="has no column subject; every row needs a capture, the subject"):
        make_manifest(pd.DataFrame({"capture": ["a"], "kind": ["photo"]}), root=tmp_path, name="m", notes={})


def test_wavelengths_that_do_not_ascend_are_refused(tmp_path: Path, fabric_spectra: Spectra) -> None:
    frame = fabric_spectra(["cotton"], scans=2)
    frame["wavelength_nm"] = [nm[::-1] for nm in frame["wavelength_nm"]]

    with pytest.raises(
        ManifestError, match=r"2 spectra cannot be used: cotton0-0 \(wavelengths do not ascend\)"
    ):
        make_manifest(frame, root=tmp_path, name="m", notes={})


def test_what_is_no_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.parquet").write_text("capture,subject\n")

    with pytest.raises(ManifestError, match="not a Parquet file"):
        read_manifest(tmp_path / "m.parquet")
    with pytest.raises(ManifestError, match="no such manifest; make one with `weft import"):
        read_manifest(tmp_path / "none.parquet")
