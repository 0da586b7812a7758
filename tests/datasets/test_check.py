from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from weft_datasets.check import Report, check_manifest
from weft_datasets.importers import import_source
from weft_datasets.manifest import Manifest, make_manifest
from weft_datasets.page import write_page

Photos = Callable[..., Path]
Spectra = Callable[..., pd.DataFrame]
SUBJECTS = 24


@pytest.fixture
def bags(tmp_path: Path, write_photo: Photos) -> Manifest:
    """Two photos each of `SUBJECTS` bags that weigh between 480 and 520 g; nothing is wrong with them."""
    rows = []
    for number in range(2 * SUBJECTS):
        write_photo(tmp_path / f"{number}.jpg", seed=number)
        rows.append(
            {
                "capture": f"c{number}",
                "subject": f"bag{number // 2}",
                "kind": "photo",
                "path": f"{number}.jpg",
                "grams": 480.0 + 40.0 * (number // 2) / SUBJECTS,
            }
        )
    return make_manifest(pd.DataFrame(rows), root=tmp_path, name="bags", notes={"source": "test"})


def changed(manifest: Manifest, **columns: object) -> Manifest:
    frame = manifest.frame.assign(**columns)
    return make_manifest(frame, root=manifest.root, name=manifest.name, notes=manifest.notes, strict=False)


def only(report: Report, words: str) -> bool:
    """Whether the report has one finding with these words; the value is whether it spoils."""
    found = [finding for finding in report.findings if words in finding.sentence]
    assert len(found) == 1, report.text()
    return found[0].spoils


def test_a_clean_manifest_has_no_findings(bags: Manifest) -> None:
    report = check_manifest(bags)

    assert report.findings == ()
    assert not report.spoils
    assert report.text().endswith("fit to train on")
    assert report.counts["subjects"] == "24, 2 to 2 captures of each, median 2"


def test_missing_and_broken_photos_spoil(bags: Manifest) -> None:
    (bags.root / "3.jpg").unlink()
    cut = (bags.root / "5.jpg").read_bytes()
    (bags.root / "5.jpg").write_bytes(cut[: len(cut) // 2])
    (bags.root / "7.jpg").write_text("no photo")

    report = check_manifest(bags)

    assert only(report, "1 file missing: 3.jpg")
    assert only(report, "2 photos cannot be read: c5 (")
    assert report.verdict == "2 of 2 findings would spoil a training"


def test_the_same_file_under_two_subjects_spoils(bags: Manifest) -> None:
    (bags.root / "10.jpg").write_bytes((bags.root / "0.jpg").read_bytes())

    assert only(check_manifest(bags), "2 captures are in the manifest under more than one subject")


@pytest.mark.parametrize("quality", [50, 75])
def test_a_photo_saved_again_under_another_subject_spoils(
    bags: Manifest, write_photo: Photos, quality: int
) -> None:
    write_photo(bags.root / "10.jpg", seed=0, quality=quality)

    report = check_manifest(bags)

    assert only(report, "c0 (bag0) = c10 (bag5)")
    assert report.findings[0].captures == (("c0", "c10"),)


def test_a_brighter_copy_is_shown_but_does_not_spoil(bags: Manifest) -> None:
    pixels = np.asarray(Image.open(bags.root / "0.jpg")).astype(int)
    Image.fromarray(np.clip(pixels + 2, 0, 255).astype(np.uint8)).save(bags.root / "10.jpg", quality=90)

    assert not only(check_manifest(bags), "look nearly the same under different subjects")


def test_the_same_photo_twice_of_one_subject_is_shown_but_does_not_spoil(bags: Manifest) -> None:
    (bags.root / "1.jpg").write_bytes((bags.root / "0.jpg").read_bytes())

    assert not only(check_manifest(bags), "1 measurement there more than once: c0 = c1")


def test_a_subject_in_two_splits_spoils(bags: Manifest) -> None:
    split = ["train", "test"] + ["train"] * (2 * SUBJECTS - 2)

    assert only(check_manifest(changed(bags, split=split)), "1 subjects are in more than one split: bag0")


def test_no_truth_at_all_spoils_and_some_missing_does_not(bags: Manifest) -> None:
    some = bags.frame["grams"].where(bags.frame["subject"] != "bag3")

    assert only(check_manifest(changed(bags, grams=np.nan)), "there is nothing to learn")
    assert not only(
        check_manifest(changed(bags, grams=some)), "2 captures without truth, to be left out: c6, c7"
    )


def test_sums_off_a_hundred_spoil(bags: Manifest) -> None:
    assert only(
        check_manifest(changed(bags, cotton_pct=70.0, wool_pct=20.0)), "do not sum to 100 %: c0 (90 %)"
    )


def test_a_mass_far_from_its_class_is_doubted(bags: Manifest) -> None:
    grams = bags.frame["grams"].where(bags.frame["subject"] != "bag4", 5000.0)

    assert not only(
        check_manifest(changed(bags, grams=grams)), "1 weight in doubt: bag4 weighs 5000 g, all others about"
    )


def test_few_subjects_are_said(bags: Manifest) -> None:
    few = bags.take(bags.frame["subject"].isin(["bag1", "bag2"]))
    one = bags.take(bags.frame["subject"] == "bag1")

    assert not only(check_manifest(few), "2 subjects: intervals cannot be judged below 20")
    assert only(check_manifest(one), "1 subject cannot be split")


def test_photos_of_many_bands_are_checked_for_their_bands(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(4):
        np.save(tmp_path / f"{number}.npy", rng.integers(0, 255, (20, 24, 3 if number == 2 else 4), np.uint8))
    frame = pd.DataFrame(
        {
            "capture": [f"c{n}" for n in range(4)],
            "subject": [f"s{n}" for n in range(4)],
            "kind": "photo",
            "path": [f"{n}.npy" for n in range(4)],
            "grams": 100.0,
        }
    )
    manifest = make_manifest(frame, root=tmp_path, name="b", notes={"bands": ["red", "green", "blue", "nir"]})

    report = check_manifest(manifest)
    write_page(manifest, report, tmp_path / "page.html")

    assert only(report, "1 photo cannot be read: c2 (array of uint8 (20, 24, 3), needed uint8 (H, W, 4))")
    assert (tmp_path / "page.html").read_text().count("data:image/jpeg;base64,") == 3


def fabrics(frame: pd.DataFrame, folder: Path) -> Manifest:
    return make_manifest(frame, root=folder, name="fabrics", notes={}, strict=False)


KINDS = ["cotton", "polyester", "nylon"] * 8


def test_clean_spectra_have_no_findings(tmp_path: Path, fabric_spectra: Spectra) -> None:
    report = check_manifest(fabrics(fabric_spectra(KINDS), tmp_path))

    assert report.findings == ()
    assert report.counts["composition"] == "cotton 8, nylon 8, polyester 8"
    assert report.counts["wavelengths"] == "900-1700 nm, 60 points"


def test_a_scan_copied_to_another_subject_spoils_even_shifted_scaled_and_rounded(
    tmp_path: Path, fabric_spectra: Spectra
) -> None:
    frame = fabric_spectra(KINDS)
    frame.at[10, "absorbance"] = np.round(1.3 * frame.at[0, "absorbance"] + 0.2, 4).astype(np.float32)

    assert only(check_manifest(fabrics(frame, tmp_path)), "cotton0-0 (cotton0) = cotton3-1 (cotton3)")


def test_a_fibre_that_looks_like_another_is_doubted(tmp_path: Path, fabric_spectra: Spectra) -> None:
    frame = fabric_spectra(KINDS)
    wrong = frame["subject"] == "nylon5"
    frame.loc[wrong, ["nylon_pct", "cotton_pct"]] = [0.0, 100.0]

    report = check_manifest(fabrics(frame, tmp_path))

    assert not only(report, "1 label in doubt: nylon5 is called cotton, its scans look like nylon")


def test_a_flat_line_spoils(tmp_path: Path, fabric_spectra: Spectra) -> None:
    frame = fabric_spectra(KINDS)
    frame.at[4, "absorbance"] = np.full(60, 0.5, np.float32)

    assert only(
        check_manifest(fabrics(frame, tmp_path)), "1 scan with the same value throughout: polyester1-1"
    )


def test_the_page_shows_the_findings_with_their_pictures(bags: Manifest, tmp_path: Path) -> None:
    (bags.root / "10.jpg").write_bytes((bags.root / "0.jpg").read_bytes())
    report = check_manifest(bags)

    write_page(bags, report, tmp_path / "out" / "report.html")

    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 of 1 finding would spoil a training" in page
    assert page.count("data:image/jpeg;base64,") == 2 + SUBJECTS
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_of_spectra_draws_them(tmp_path: Path, fabric_spectra: Spectra) -> None:
    frame = fabric_spectra(KINDS)
    frame.at[10, "absorbance"] = frame.at[0, "absorbance"]
    manifest = fabrics(frame, tmp_path)

    write_page(manifest, check_manifest(manifest), tmp_path / "report.html")

    page = (tmp_path / "report.html").read_text()
    assert page.count("<polyline") == 2 + 3
    assert "nylon (24)" in page


def test_names_in_the_page_cannot_bring_markup(bags: Manifest, tmp_path: Path) -> None:
    evil = bags.frame["subject"].replace("bag0", "<script>x</script>")
    manifest = changed(bags, subject=evil, grams=bags.frame["grams"].where(evil != "<script>x</script>", 9.0))

    write_page(manifest, check_manifest(manifest), tmp_path / "report.html")

    assert "<script>" not in (tmp_path / "report.html").read_text()


def test_nothing_of_a_photos_exif_reaches_manifest_or_page(
    bags: Manifest, write_photo: Photos, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET-PLACE"
    exif.get_ifd(0x8825)[1] = "N"
    write_photo(bags.root / "0.jpg", seed=0, exif=exif)
    assert b"SECRET-PLACE" in (bags.root / "0.jpg").read_bytes()

    from weft_datasets.manifest import write_manifest

    write_manifest(bags, tmp_path / "m.parquet")
    write_page(bags, check_manifest(bags), tmp_path / "report.html")

    assert b"SECRET-PLACE" not in (tmp_path / "m.parquet").read_bytes()
    page = (tmp_path / "report.html").read_text()
    assert "Exif" not in page
    assert "RXhpZ" not in page  # the same word in base64


@pytest.mark.real_data
@pytest.mark.slow
def test_the_real_food_is_fit_to_train_on(real_data: Path) -> None:
    report = check_manifest(import_source("ecustfd", real_data / "photos" / "weighed_food_with_coin"))

    assert not report.spoils
    assert not only(report, "3 weights in doubt: litchi003 weighs 51.5 g")
    assert not only(report, "13 captures with a note on the label")


@pytest.mark.real_data
def test_no_real_scan_is_taken_for_a_copy_of_another(real_data: Path) -> None:
    for kind, folder in (
        ("nirscan", "nirscan_fabrics"),
        ("fastex", "fastex_ftir"),
        ("plastics", "plastics_nir"),
    ):
        report = check_manifest(import_source(kind, real_data / "spectra" / folder))

        assert not report.spoils
        assert not [finding for finding in report.findings if "more than one" in finding.sentence]
