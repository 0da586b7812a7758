"""The published sources: small copies of their layout made by code, and the real ones with exact counts."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from weft.errors import ManifestError
from weft_datasets.columns import truth_columns, value_faults
from weft_datasets.importers import import_source
from weft_datasets.manifest import Manifest, read_manifest, write_manifest

Photos = Callable[..., Path]
Xls = Callable[..., Path]

BOX = (
    "<object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>"
    "</object>"
)


@pytest.fixture
def food(tmp_path: Path, write_photo: Photos, write_xls: Xls) -> Path:
    heads = ["id", "type", "volume(mm^3)", "weight(g)"]
    write_xls(
        tmp_path / "density.xls",
        {
            "apple": [heads, ["apple001", "apple", 310.0, 244.5], ["apple002", "apple", 290.0, 232.5]],
            "mix": [heads, ["mix001", "apple", 280.0, 219.0], ["mix001", "orange", 280.0, 197.9]],
        },
    )
    boxes = {
        "apple001S(1)": (10, 10, 60, 61),
        "apple001T(2)": (10, 10, 60, 50),
        "apple002s(1)": (10, 10, 276, 105),
        "mix001T(1)": (0, 0, 2, 3),
    }
    for seed, (name, box) in enumerate(boxes.items()):
        write_photo(tmp_path / "JPEGImages" / f"{name}.JPG", seed=seed)
        coin = BOX.format(*box, name="coin")
        note = tmp_path / "Annotations" / f"{name}.xml"
        note.parent.mkdir(exist_ok=True)
        note.write_text(f"<annotation>{BOX.format(0, 0, 99, 99, name='apple')}{coin}</annotation>")
    return tmp_path


def test_food_has_its_grams_view_and_coin(food: Path) -> None:
    rows = import_source("ecustfd", food).frame.set_index("capture")

    assert rows["subject"].to_dict() == {
        "apple001S(1)": "apple001",
        "apple001T(2)": "apple001",
        "apple002s(1)": "apple002",
        "mix001T(1)": "mix001",
    }
    assert rows["view"].tolist() == ["side", "top", "side", "top"]
    assert rows["grams"].tolist() == [244.5, 244.5, 232.5, pytest.approx(416.9)]
    assert rows["klass"].tolist() == ["apple", "apple", "apple", "mix"]
    assert set(rows["mark"]) == {"disc"}
    assert set(rows["mark_mm"]) == {25.0}


def test_a_coin_box_gives_the_scale_unless_it_cannot_be_a_coin(food: Path) -> None:
    rows = import_source("ecustfd", food).frame.set_index("capture")
    scale = rows["mark_mm_per_pixel_truth"]

    assert scale["apple001S(1)"] == pytest.approx(25.0 / 51)
    assert scale["apple001T(2)"] == pytest.approx(25.0 / 50)
    assert np.isnan(scale["apple002s(1)"])
    assert rows["label_note"]["apple002s(1)"] == "annotated coin box is 266 x 95 px, not a coin"
    assert np.isnan(scale["mix001T(1)"])


def test_a_coin_box_over_round_food_gives_no_scale(food: Path, write_photo: Photos) -> None:
    for number, side in ((2, 50), (3, 52), (4, 200)):
        write_photo(food / "JPEGImages" / f"apple001S({number}).JPG", seed=50 + number)
        box = BOX.format(0, 0, side, side, name="coin")
        (food / "Annotations" / f"apple001S({number}).xml").write_text(f"<annotation>{box}</annotation>")

    rows = import_source("ecustfd", food).frame.set_index("capture")

    assert rows["mark_mm_per_pixel_truth"]["apple001S(3)"] == pytest.approx(25.0 / 52)
    assert np.isnan(rows["mark_mm_per_pixel_truth"]["apple001S(4)"])
    assert rows["label_note"]["apple001S(4)"] == "annotated coin box lies over the food"


def test_food_without_a_weight_is_refused_by_name(food: Path, write_photo: Photos) -> None:
    write_photo(food / "JPEGImages" / "kiwi001T(1).JPG", seed=9)

    with pytest.raises(ManifestError, match=r"1 photos have no weight in density\.xls.*kiwi001T\(1\)\.JPG"):
        import_source("ecustfd", food)


@pytest.fixture
def line(tmp_path: Path, write_photo: Photos, write_xls: Xls) -> Path:
    data = [[2.0 + row / 100 + column / 10 for column in range(2)] for row in range(10)]
    write_xls(tmp_path / "weight.xls", {"day": [["a title"], ["group 1", "group 2"], *data]})
    for number in (1, 10, 11, 20):
        for frame in (20, 106):
            write_photo(tmp_path / "frames" / f"{number:02d}" / f"{frame}.jpg", seed=number * 200 + frame)
    return tmp_path


def test_ducks_are_weighed_down_the_columns_in_kilograms(line: Path) -> None:
    frame = import_source("ducks", line).frame

    assert frame["capture"].tolist()[:2] == ["duck01-20", "duck01-106"]
    assert frame.groupby("subject")["grams"].first().to_dict() == {
        "duck01": 2000.0,
        "duck10": 2090.0,
        "duck11": 2100.0,
        "duck20": 2190.0,
    }


def test_a_duck_beyond_the_table_is_refused(line: Path, write_photo: Photos) -> None:
    write_photo(line / "frames" / "21" / "1.jpg", seed=1)

    with pytest.raises(ManifestError, match="weighs 20 subjects, none of them 21"):
        import_source("ducks", line)


def _gzip(path: Path, lines: list[str]) -> None:
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def test_nirscan_swatches_keep_notes_background_and_photos(tmp_path: Path, write_photo: Photos) -> None:
    heads = (
        "file,kind,label,swatch,condition,scan_time,system_temp_c,humidity_pct,num_repeats,serial,cotton_pct,"
        "polyester_pct,nylon_pct,wool_pct,acrylic_pct,acetate_pct,label_note"
    )
    nm = [f"{900 + 10 * place:.3f}" for place in range(9)]
    values = ",".join(f"{0.1 + place / 100:.3f}" for place in range(9))
    when = "9/4/26 @ 7:8:0"
    _gzip(
        tmp_path / "absorbance.csv.gz",
        [
            ",".join([heads, *nm]),
            f"Cotton_C01_Pos1_01.csv,pure,Cotton,Cotton_C01,Pos1,{when},30.2,33.6,6,64,"
            f"100,0,0,0,0,0,doubtful,{values}",
            f"Background_PVC_1.csv,background,Background_PVC,Background_PVC,Single,{when},30,33,6,64,,,,,,,,{values}",
        ],
    )
    write_photo(tmp_path / "photos" / "C01.jpg", seed=1)

    cotton, background = import_source("nirscan", tmp_path).frame.to_dict(orient="records")

    assert cotton["subject"] == "Cotton_C01"
    assert cotton["cotton_pct"] == 100.0
    assert cotton["label_note"] == "doubtful"
    assert cotton["captured_at"] == "2026-04-09T07:08:00"
    assert cotton["photo_path"] == "photos/C01.jpg"
    assert cotton["wavelength_nm"].tolist() == [float(text) for text in nm]
    assert background["unknown_pct"] == 100.0
    assert np.isnan(background["cotton_pct"])


def test_wavenumbers_become_wavelengths_and_the_corrected_share_is_the_truth(
    tmp_path: Path,
) -> None:
    heads = (
        "file,pet_pct_filename,cotton_pct_filename,specimen,area,spot,date,session,fabric,"
        "cotton_pct_corrected"
    )
    wavenumbers = [str(10000.0 - 500.0 * place) for place in range(9)]
    _gzip(
        tmp_path / "nir_absorbance.csv.gz",
        [
            ",".join([heads, *wavenumbers]),
            "d/a.txt,77,23,1,0,10,240412,240412_nir,F23,31.57,.1,.2,.3,.4,.5,.6,.7,.8,.9",
        ],
    )

    row = import_source("cotton-pet", tmp_path).frame.iloc[0]

    assert row["wavelength_nm"][0] == pytest.approx(1000.0)
    assert (np.diff(row["wavelength_nm"]) > 0).all()
    assert row["absorbance"][0] == pytest.approx(0.1)
    assert row["cotton_pct"] == 31.57
    assert row["polyester_pct"] == pytest.approx(68.43)
    assert row["cotton_percent_nominal"] == 23
    assert (row["subject"], row["session"], row["captured_at"]) == ("F23", "240412_nir", "2024-04-12")


def test_reference_fibres_get_our_names_and_unsettled_ones_none(tmp_path: Path) -> None:
    axis = [str(4000.0 - 100 * place) for place in range(9)]
    percent = ",".join(["50"] * 4 + ["101.5"] * 5)
    _gzip(
        tmp_path / "raw_transmittance.csv.gz",
        [
            ",".join(["Spectrum_ID,Sample_ID,Replica,Origin,Type,Subtype", *axis]),
            f"1,A,1,Natural,Cellulose,Linen,{percent}",
            f"2,A,2,Natural,Cellulose,Linen,{percent}",
            f'3,B,1,Man-made,Polyamide,"PA 6,6",{percent}',
            f"4,C,1,Man-made,Regenerated cellulose,Unspecified Regenerated Cellulose Polymer,{percent}",
        ],
    )

    manifest = import_source("fastex", tmp_path)
    rows = manifest.frame.set_index("capture")

    assert manifest.fibres == ("flax", "nylon")
    assert rows.loc["A-2", "flax_pct"] == 100.0
    assert rows.loc["B-1", "nylon_pct"] == 100.0
    assert np.isnan(rows.loc["C-1", "nylon_pct"])
    assert rows.loc["C-1", "label_note"].startswith("fibre not settled by the source")
    assert rows.loc["A-1", "absorbance"][0] == pytest.approx(0.30103, abs=1e-5)


def test_plastics_are_all_unknown_and_may_reflect_more_than_everything(tmp_path: Path) -> None:
    nm = [str(1014.0 + 5 * place) for place in range(9)]
    _gzip(
        tmp_path / "reflectance_pct.csv.gz",
        [
            ",".join(["session,file,sample,polymer,rep", *nm]),
            "20230419,001_PP_1.txt,001,PP,1," + ",".join(["297.7"] * 8 + ["10"]),
        ],
    )

    row = import_source("plastics", tmp_path).frame.iloc[0]

    assert row["subject"] == "001"
    assert row["unknown_pct"] == 100.0
    assert row["klass"] == "pp"
    assert row["quantity"] == "reflectance_percent"
    assert row["absorbance"][-1] == pytest.approx(1.0)
    assert row["absorbance"][0] == pytest.approx(-np.log10(2.977), abs=1e-6)


def test_a_source_of_another_kind_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"holds no weight\.xls, frames; this kind of source has"):
        import_source("ducks", tmp_path)
    with pytest.raises(ManifestError, match="no importer is called 'duck'; there are ecustfd, ducks"):
        import_source("duck", tmp_path)


REAL = {
    "ecustfd": ("photos/weighed_food_with_coin", 1552, 129),
    "ducks": ("photos/weighed_ducks_on_line", 800, 40),
    "nirscan": ("spectra/nirscan_fabrics", 162, 30),
    "cotton-pet": ("spectra/cotton_pet_ftnir", 620, 7),
    "fastex": ("spectra/fastex_ftir", 160, 137),
    "plastics": ("spectra/plastics_nir", 513, 165),
}


@pytest.mark.real_data
@pytest.mark.parametrize("kind", REAL)
def test_a_real_source_gives_every_capture_and_subject(kind: str, real_data: Path, tmp_path: Path) -> None:
    folder, captures, subjects = REAL[kind]

    written = write_manifest(import_source(kind, real_data / folder), tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")

    assert len(manifest.frame) == captures
    assert manifest.frame["subject"].nunique() == subjects
    assert manifest.missing_files() == []
    assert value_faults(manifest.frame) == []
    assert manifest.fingerprint() == written.fingerprint()


@pytest.mark.real_data
def test_the_real_food_has_a_coin_in_all_but_thirteen_photos(real_data: Path) -> None:
    frame = import_source("ecustfd", real_data / REAL["ecustfd"][0]).frame

    assert frame["mark_mm_per_pixel_truth"].isna().sum() == 13
    assert frame["mark_mm_per_pixel_truth"].between(0.15, 0.85).sum() == 1539
    assert frame["view"].value_counts().to_dict() == {"side": 780, "top": 772}


@pytest.mark.real_data
def test_each_real_duck_has_twenty_frames_and_the_weight_of_its_cell(real_data: Path) -> None:
    frame = import_source("ducks", real_data / REAL["ducks"][0]).frame

    assert set(frame.groupby("subject").size()) == {20}
    weights = frame.groupby("subject")["grams"].first()
    assert (weights["duck01"], weights["duck10"], weights["duck11"], weights["duck40"]) == (
        3450,
        2800,
        2650,
        2750,
    )


@pytest.mark.real_data
def test_the_real_swatches_keep_the_doubt_about_c03(real_data: Path) -> None:
    manifest: Manifest = import_source("nirscan", real_data / REAL["nirscan"][0])
    frame = manifest.frame

    assert manifest.fibres == ("cotton", "wool", "polyester", "nylon", "acrylic", "acetate")
    assert frame.loc[frame["subject"] == "Cotton_C03", "label_note"].str.contains("SUSPECT").all()
    assert (frame.loc[frame["subject"] == "Background_PVC", "unknown_pct"] == 100).all()
    assert frame.loc[frame["photo_path"].notna(), "subject"].nunique() == 15
    assert frame[truth_columns(frame.columns)].notna().any(axis=1).all()
