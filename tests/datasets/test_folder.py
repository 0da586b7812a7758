"""What a stranger brings: their headings, their units, their slips."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weft.errors import ManifestError
from weft_datasets.importers.folder import Said, read
from weft_datasets.manifest import Manifest

Photos = Callable[..., Path]
NM = [f"{900 + 50 * place}" for place in range(17)]
POINTS = ",".join(f"{0.2 + place / 50:.2f}" for place in range(17))


def table(folder: Path, *lines: str, name: str = "captures.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path: Path, write_photo: Photos) -> Path:
    for number in range(4):
        write_photo(tmp_path / "img" / f"{number}.jpg", seed=number)
    return tmp_path


def test_photos_with_kilograms_come_in_as_grams(photos: Path) -> None:
    table(
        photos,
        "Subject, Path, Kilograms, view",
        "007, img/0.jpg, 1.25, top",
        "007, img/1.jpg, 1.25,",
        "bag 8, img\\2.jpg, 0.8, side",
    )

    manifest = read(photos)

    assert manifest.kind == "photo"
    assert manifest.frame["subject"].tolist() == ["007", "007", "bag 8"]
    assert manifest.frame["grams"].tolist() == [1250.0, 1250.0, 800.0]
    assert manifest.frame["path"].tolist()[2] == "img/2.jpg"
    assert manifest.missing_files() == []
    assert manifest.name == "captures"


def test_every_documented_column_is_taken(photos: Path) -> None:
    table(
        photos,
        "capture,subject,path,grams,view,mark,mark_mm,instrument,site,captured_at,session,season,wrap,split,klass",
        "c1,a,img/0.jpg,500,top,Disc,25,phone,depot 3,2026-11-21T10:00:00,s1,Winter,bag,train,coat",
        "c2,b,img/1.jpg,300,top,disc,25,phone,depot 3,2026-11-21T10:05:00,s1,winter,LOOSE,test,shirt",
    )

    row = read(photos).frame.iloc[1].to_dict()

    assert row == {
        "capture": "c2",
        "subject": "b",
        "kind": "photo",
        "path": "img/1.jpg",
        "grams": 300.0,
        "klass": "shirt",
        "view": "top",
        "mark": "disc",
        "mark_mm": 25.0,
        "instrument": "phone",
        "site": "depot 3",
        "captured_at": "2026-11-21T10:05:00",
        "session": "s1",
        "season": "winter",
        "wrap": "loose",
        "split": "test",
        "simulated": False,
    }


def test_a_mark_of_a_size_alone_is_taken_as_a_qr_label_and_said(photos: Path) -> None:
    table(photos, "subject,path,grams,mark_mm", "a,img/0.jpg,500,60", "b,img/1.jpg,400,")

    manifest = read(photos)

    assert manifest.frame["mark"].fillna("-").tolist() == ["qr", "-"]
    assert "taken as the side of a QR label" in manifest.notes["remarks"][0]


def spectra(folder: Path, heads: str, *rows: str) -> Path:
    return table(folder, heads, *rows)


def test_spectra_in_columns_named_by_wavelength(tmp_path: Path) -> None:
    spectra(
        tmp_path,
        ",".join(["subject,Cotton %,spandex_pct", *NM]),
        f"a,95,5,{POINTS}",
        f"a,95,5,{POINTS}",
        f"b,100,,{POINTS}",
    )

    manifest = read(tmp_path, Said(quantity="absorbance"))

    assert manifest.kind == "spectrum"
    assert manifest.fibres == ("cotton", "elastane")
    assert manifest.frame["capture"].tolist() == ["a-001", "a-002", "b-001"]
    assert manifest.frame["wavelength_nm"].iloc[0].tolist() == [float(text) for text in NM]
    assert manifest.frame["absorbance"].iloc[0][1] == pytest.approx(0.22)
    assert any("17 headings from 900 to 1700 were read as nm" in r for r in manifest.notes["remarks"])


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ([f"{text} nm" for text in NM], None),
        ([f"X{text}" for text in NM], None),
        ([f"wl_{text}" for text in NM], None),
        ([f"{float(text) / 1000}" for text in NM], None),
        ([f"{float(text) / 1000}um" for text in NM], None),
        ([f"{1e7 / float(text):.4f}" for text in NM], None),
        ([f"wn_{1e7 / float(text):.4f}" for text in NM], None),
        ([f"{1e7 / float(text):.4f} cm-1" for text in NM], None),
        (NM[::-1], "nm"),
    ],
)
def test_wavelengths_are_understood_in_the_ways_people_write_them(
    tmp_path: Path, heads: list[str], said: str | None
) -> None:
    spectra(tmp_path, ",".join(["subject,cotton_pct,quantity", *heads]), f"a,100,absorbance,{POINTS}")

    nm = read(tmp_path, Said(axis=said)).frame["wavelength_nm"].iloc[0]  # type: ignore[arg-type]

    np.testing.assert_allclose(nm, [float(text) for text in NM], rtol=1e-5)


@pytest.mark.parametrize("heads", [NM[::-1], [str(500 + 250 * place) for place in range(17)]])
def test_headings_that_may_be_nm_or_wavenumbers_are_not_guessed(tmp_path: Path, heads: list[str]) -> None:
    spectra(tmp_path, ",".join(["subject,cotton_pct", *heads]), f"a,100,{POINTS}")

    with pytest.raises(
        ManifestError, match="which may be nm or cm-1; say --axis nm, --axis um or --axis cm-1"
    ):
        read(tmp_path, Said(quantity="absorbance"))


def test_numbered_columns_are_not_taken_for_wavelengths(tmp_path: Path) -> None:
    spectra(tmp_path, ",".join(["subject,cotton_pct", *[f"x{n}" for n in range(1, 18)]]), f"a,100,{POINTS}")

    with pytest.raises(ManifestError, match="17 headings run from 1 to 17, which may be"):
        read(tmp_path, Said(quantity="absorbance"))


def test_a_semicolon_table_with_decimal_commas_is_read(tmp_path: Path) -> None:
    row = POINTS.replace(",", ";").replace(".", ",")
    spectra(tmp_path, "\ufeff" + ";".join(["subject;cotton_pct", *NM]), f"a;97,5;{row}")

    frame = read(tmp_path, Said(quantity="reflectance")).frame

    assert frame["cotton_pct"].iloc[0] == 97.5
    assert frame["absorbance"].iloc[0][0] == pytest.approx(-np.log10(0.2))


def test_numbers_with_a_decimal_comma_in_a_table_of_photos(photos: Path) -> None:
    table(photos, "subject;path;kilograms;mark_mm", "a;img/0.jpg;0,2445;25", "b;img/1.jpg;1,250;25,5")

    frame = read(photos).frame

    assert frame["grams"].tolist() == [244.5, 1250.0]
    assert frame["mark_mm"].tolist() == [25.0, 25.5]


def test_a_comma_that_may_part_thousands_is_refused(photos: Path) -> None:
    table(photos, "subject,path,grams", 'a,img/0.jpg,"1,250"')

    with pytest.raises(ManifestError, match="'1,250' is no number"):
        read(photos)


def test_everything_that_is_wrong_with_the_headings_is_said_at_once(photos: Path) -> None:
    table(photos, "Item ID,image,kg", "a,img/0.jpg,1")

    with pytest.raises(ManifestError) as refused:
        read(photos)

    for said in ('--column "subject=Item ID"', "--column path=image", "--column kilograms=kg"):
        assert said in str(refused.value)


def test_a_parquet_with_lists_is_read(tmp_path: Path) -> None:
    nm = np.linspace(2500.0, 900.0, 17)
    pd.DataFrame(
        {
            "subject": ["a"],
            "nylon_pct": [100.0],
            "wavelength_nm": [nm],
            "values": [np.full(17, 0.1)],
            "x_lab": ["L"],
        }
    ).to_parquet(tmp_path / "mine.parquet")

    manifest = read(tmp_path, Said(quantity="reflectance"))

    assert manifest.frame["wavelength_nm"].iloc[0][0] == 900.0
    assert manifest.frame["absorbance"].iloc[0][0] == pytest.approx(1.0)
    assert manifest.frame["x_lab"].tolist() == ["L"]


def test_what_a_spectrum_is_must_be_said(tmp_path: Path) -> None:
    spectra(tmp_path, ",".join(["subject,cotton_pct", *NM]), f"a,100,{POINTS}")

    with pytest.raises(
        ManifestError, match="not said for 1 of 1 rows; say --quantity or add a column 'quantity'"
    ):
        read(tmp_path)
    with pytest.raises(ManifestError, match="quantity is transmission; it may be reflectance"):
        read(tmp_path, Said(quantity="transmission"))


def test_a_hole_in_a_spectrum_is_named_by_its_row(tmp_path: Path) -> None:
    holed = POINTS.replace("0.30", "")
    spectra(tmp_path, ",".join(["subject,cotton_pct", *NM]), f"a,100,{POINTS}", f"b,100,{holed}")

    with pytest.raises(ManifestError, match=r"1 of 2 spectra cannot be read: row 2: values\[5\] is nan"):
        read(tmp_path, Said(quantity="absorbance"))


def nirscan_file(path: Path) -> None:
    head = ["Method:,Hadamard 1,,", "Host Date-Time:,28/4/26 @ 17:48:45,,", "Serial Number:,6460024,,"]
    columns = "Wavelength (nm),Absorbance (AU),Reference Signal (unitless),Sample Signal (unitless)"
    lines = [f"{900 + 10 * n}.0,{0.2 + n / 100:.4f},1000.0,800.0" for n in range(20)]
    path.write_text("\n".join([*head, columns, *lines]) + "\n")


def test_vendor_scan_files_are_read_into_the_manifest(tmp_path: Path) -> None:
    nirscan_file(tmp_path / "one.csv")
    (tmp_path / "two.txt").write_text("\n".join(f"{900 + 10 * n}\t{0.3 + n / 100:.3f}" for n in range(20)))
    table(
        tmp_path,
        "subject,path,cotton_pct,quantity",
        "a,one.csv,100,",
        "b,two.txt,100,reflectance",
    )

    frame = read(tmp_path, Said(axis="nm")).frame

    assert frame["scan_path"].tolist() == ["one.csv", "two.txt"]
    assert frame["quantity"].tolist() == ["absorbance", "reflectance"]
    assert frame["absorbance"].iloc[0][0] == pytest.approx(0.2)
    assert frame["absorbance"].iloc[1][0] == pytest.approx(-np.log10(0.3), abs=1e-6)


def test_an_envi_cube_comes_in_as_the_mean_of_its_foreground(tmp_path: Path) -> None:
    bands = 12
    cube = np.full((6, 6, bands), 0.95, "<f4")
    cube[2:5, 2:5] = np.linspace(0.2, 0.5, bands)
    cube.tofile(tmp_path / "belt.dat")
    nm = ", ".join(str(1000 + 50 * band) for band in range(bands))
    (tmp_path / "belt.hdr").write_text(
        f"ENVI\nsamples = 6\nlines = 6\nbands = {bands}\ninterleave = bip\ndata type = 4\nbyte order = 0\n"
        f"header offset = 0\nwavelength units = nm\nwavelength = {{{nm}}}\n"
    )
    table(tmp_path, "subject,path,wool_pct,quantity", "a,belt.hdr,100,reflectance")

    row = read(tmp_path).frame.iloc[0]

    assert row["kind"] == "spectrum"
    np.testing.assert_allclose(row["absorbance"], -np.log10(np.linspace(0.2, 0.5, bands)), atol=0.01)


def test_scan_files_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    nirscan_file(tmp_path / "good.csv")
    (tmp_path / "bad.csv").write_text("this is no scan\n")
    table(tmp_path, "subject,path,cotton_pct", "a,good.csv,100", "b,bad.csv,100")

    with pytest.raises(ManifestError, match=r"1 of 2 spectra cannot be read: bad\.csv: "):
        read(tmp_path / "captures.csv")


@pytest.mark.parametrize(
    ("heads", "row", "words"),
    [
        ("garment_id,path,grams", "a,img/0.jpg,1", "no column 'subject'.*say --column subject=garment_id"),
        ("path,grams", "img/0.jpg,1", "no column 'subject'.*add one that names the physical thing"),
        (
            "subject,path,coton_pct",
            "a,img/0.jpg,100",
            "column 'coton_pct' is not read.*did you mean 'cotton_pct'",
        ),
        (
            "subject,path,polyster %",
            "a,img/0.jpg,100",
            "'polyster %' is not read.*did you mean 'polyester_pct'",
        ),
        (
            "subject,path,qwertz_pct",
            "a,img/0.jpg,100",
            "'qwertz_pct' would be a fibre's share, but no fibre is called",
        ),
        ("subject,path,cotton", "a,img/0.jpg,100", "column 'cotton' is not read.*did you mean 'cotton_pct'"),
        ("subject,path,weight_g", "a,img/0.jpg,1", "did you mean 'grams'.*--column grams=weight_g"),
        ("subject,image,grams", "a,img/0.jpg,1", "did you mean 'path'"),
        ("subject,path,grams,splt", "a,img/0.jpg,1,x", "did you mean 'split'"),
        ("subject,path,grams,mark_cm", "a,img/0.jpg,1,6", "did you mean 'mark_mm'"),
        ("subject,path,grams,Kilograms", "a,img/0.jpg,1,2", "both 'grams' and 'kilograms'"),
        (
            "subject,path,cotton_pct,CO_pct",
            "a,img/0.jpg,1,2",
            "columns cotton_pct, CO_pct all mean 'cotton_pct'",
        ),
        ("subject,path,grams,grams", "a,img/0.jpg,1,2", "more than one column called grams"),
        ("subject,path,grams", "a,img/0.jpg,1.2 kg", "column 'grams', row 1: '1.2 kg' is no number"),
        ("subject,path,grams", ",img/0.jpg,1", "1 of 1 rows have no subject, the first is row 1"),
        ("subject,path,grams", "a,,1", "1 of 1 rows have no path, the first is row 1"),
        (
            "subject,path,grams",
            "a,img/9.jpg,1",
            r"1 of 1 files are missing: img/9\.jpg; paths start at the folder",
        ),
        ("subject,grams", "a,1", "neither a column 'path' nor columns named by wavelength"),
        (
            "subject,path,cotton_pct,wool_pct",
            "a,img/0.jpg,0.4,0.6",
            "as fractions do; give percent, 0 to 100",
        ),
    ],
)
def test_a_slip_is_refused_with_what_to_do(photos: Path, heads: str, row: str, words: str) -> None:
    table(photos, heads, row)

    with pytest.raises(ManifestError, match=words):
        read(photos)


def test_a_column_can_be_named_without_touching_the_table(photos: Path) -> None:
    table(photos, "garment_id,file,Weight", "a,img/0.jpg,120")

    manifest = read(photos, Said(columns={"subject": "garment_id", "path": "file", "grams": "Weight"}))

    assert manifest.frame[["subject", "path", "grams"]].to_numpy().tolist() == [["a", "img/0.jpg", 120.0]]


def test_a_column_that_is_not_there_is_refused_with_the_nearest(photos: Path) -> None:
    table(photos, "garment_id,path,grams", "a,img/0.jpg,120")

    with pytest.raises(ManifestError, match="no column 'garmentid'; did you mean 'garment_id'"):
        read(photos, Said(columns={"subject": "garmentid"}))
    with pytest.raises(ManifestError, match="Weft has no column 'thing'"):
        read(photos, Said(columns={"thing": "garment_id"}))


def test_other_columns_are_kept_and_said(photos: Path) -> None:
    table(photos, "subject,path,grams,humidity %,operator,x_gram", "a,img/0.jpg,120,33,Ann,9")

    manifest: Manifest = read(photos)

    assert manifest.frame[["humidity %", "operator", "x_gram"]].to_numpy().tolist() == [[33, "Ann", 9]]
    assert manifest.notes["remarks"] == [
        "kept as they are, Weft does not use them: humidity %, operator, x_gram"
    ]


def test_bad_sums_are_left_for_the_check_to_show(photos: Path) -> None:
    table(photos, "subject,path,cotton_pct,wool_pct", "a,img/0.jpg,40,50", "b,img/1.jpg,100,")

    assert len(read(photos).frame) == 2


def test_two_tables_in_a_folder_are_not_chosen_between(photos: Path) -> None:
    table(photos, "subject,path,grams", "a,img/0.jpg,120", name="one.csv")
    table(photos, "subject,path,grams", "a,img/0.jpg,120", name="two.csv")

    with pytest.raises(ManifestError, match=r"needed is one table of captures, it holds one\.csv, two\.csv"):
        read(photos)
    with pytest.raises(ManifestError, match="no such file or folder"):
        read(photos / "nowhere")


def test_a_scan_may_have_a_photo_beside_it_and_a_wrong_path_is_named(photos: Path) -> None:
    head = f"subject,quantity,photo_path,cotton_pct,{','.join(NM)}"
    table(photos, head, f"a,reflectance,img/0.jpg,100,{POINTS}", f"b,reflectance,,100,{POINTS}")

    found = read(photos, Said())

    assert found.frame["photo_path"].fillna("").tolist() == ["img/0.jpg", ""]
    assert found.missing_files() == []
    table(photos, head, f"a,reflectance,img/9.jpg,100,{POINTS}")
    with pytest.raises(ManifestError, match=r"1 of 1 files are missing: img/9\.jpg"):
        read(photos, Said())
