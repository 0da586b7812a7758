"""Readers of single spectra, against files as instruments and programs write them."""

import csv
import gzip
import io
import itertools
from pathlib import Path

import jcamp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.errors import BrokenScanError, QuantityError, ScanError, ScanTooLargeError, UnsupportedScanError
from weft.scans import read_scan, read_scan_path
from weft.spectra import Scan

NM = np.arange(900, 1700, 20.0)
A = 0.5 + 0.3 * np.sin(NM / 90)
SPECTRA = Path(__file__).parents[2] / ".." / "shared" / "data" / "spectra"


def read(text: str | bytes, **stated: str) -> Scan:
    scan = read_scan("scan.txt", text.encode() if isinstance(text, str) else text, **stated)
    assert isinstance(scan, Scan)
    return scan


def table(row: str = "{nm:.2f},{a:.5f}", head: str = "", comma: bool = False) -> str:
    rows = [
        row.format(nm=nm, a=a, n=1e7 / nm, um=nm / 1000, r=10**-a, p=100 * 10**-a)
        for nm, a in zip(NM, A, strict=True)
    ]
    body = "\n".join(rows)
    return head + (body.replace(".", ",") if comma else body) + "\n"


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        (table(), {"unit": "nm", "quantity": "absorbance"}),
        (table("{nm:.2f}\t{a:.5f}"), {"unit": "nm", "quantity": "absorbance"}),
        (table("{nm:.2f}   {a:.5f}  "), {"unit": "nm", "quantity": "absorbance"}),
        (table("{nm:.2f};{a:.5f};", comma=True), {"unit": "nm", "quantity": "absorbance"}),
        (table("{nm:.2f}\t{a:.5f}", comma=True), {"unit": "nm", "quantity": "absorbance"}),
        (table("{nm:.2f} {a:.5f}", comma=True), {"unit": "nm", "quantity": "absorbance"}),
        (table("{nm:.6e},{a:.6E}"), {"unit": "nm", "quantity": "absorbance"}),
        (table('"{nm:.2f}","{a:.5f}"'), {"unit": "nm", "quantity": "absorbance"}),
        (table("{n:.4f} {p:.5f}"), {"unit": "cm-1", "quantity": "transmittance_percent"}),
        (table("{um:.5f};{r:.5f}"), {"unit": "um", "quantity": "reflectance"}),
        (table(head="Wavelength (nm),Absorbance (AU)\n"), {}),
        (table("{n:.4f}\t{p:.5f}", head="Sample 7\n\nWavenumber (cm-1)\t%T\n"), {}),
        (table("{nm:.2f};{p:.5f}", head="Wellenlänge [nm];Reflexion [%]\n", comma=True), {}),
        (table("{nm:.2f},{r:.5f}", head="# instrument X\n# wavelength nm, reflectance\n"), {}),
        (table("{um:.5f} {r:.5f}", head="wavelength reflectance\n"), {}),
        (table("{nm:.2f},12,{a:.5f}", head="nm,dark,absorbance\n"), {}),
        (table("{n:.4f},{a:.5f}", head="cm⁻¹,log(1/R)\n"), {}),
        (table(head="Wavelength (nm),Absorbance\n") + "# end\n", {}),
        (table(head="Wavelength (nm),Absorbance\n").replace("\n", "\r\n"), {}),
        (table(head="Wavelength (nm),Absorbance\n").replace("\n", "\r"), {}),
    ],
)
def test_two_columns_are_read_in_every_dialect(text: str, stated: dict[str, str]) -> None:
    scan = read(text, **stated)

    np.testing.assert_allclose(scan.wavelength_nm, NM, rtol=1e-5)
    np.testing.assert_allclose(scan.absorbance, A, atol=1e-4)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_the_encoding_is_told_by_the_content(encoding: str) -> None:
    text = table(head="Wellenlänge nm;Absorbanz\n", row="{nm:.2f};{a:.5f}", comma=True)

    np.testing.assert_allclose(read(text.encode(encoding)).absorbance, A, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "stated", "kind", "words"),
    [
        (
            table(),
            {"quantity": "absorbance"},
            QuantityError,
            "unit of the first column .900 to 1680. is not stated",
        ),
        (
            table(),
            {"unit": "nm"},
            QuantityError,
            "state quantity reflectance, reflectance_percent, absorbance",
        ),
        (table(), {"unit": "furlong"}, QuantityError, "unit is 'furlong', needed one of nm, cm-1, um"),
        (table(), {"unit": "nm", "quantity": "grams"}, QuantityError, "quantity is 'grams'"),
        (table("{nm:.0f},5,0,21"), {}, BrokenScanError, "may be two numbers with decimal commas, or four"),
        (table("{nm:.2f},1.5,{a:.3f}"), {}, BrokenScanError, "3 columns, and none is titled"),
        (table() + "oops\n" + table(), {}, BrokenScanError, "line 41 is 'oops'"),
        (table() + "1,2,3\n1700,0.2\n1702,0.2\n", {}, BrokenScanError, "line 41 has 3 columns, needed 2"),
        ("hello, world\nthis is no scan\n", {}, BrokenScanError, "no table of numbers found"),
        (
            "900,0.2\n910,0.2\n920,0.1\n",
            {"unit": "nm", "quantity": "absorbance"},
            BrokenScanError,
            "3 points",
        ),
        (
            table().replace("1300.00,", "nan,"),
            {"unit": "nm", "quantity": "absorbance"},
            BrokenScanError,
            "is nan",
        ),
    ],
)
def test_two_columns_that_do_not_say_enough_are_refused_helpfully(
    text: str, stated: dict[str, str], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        read(text, **stated)


NIRSCAN_HEAD = "\n".join(["Method:,Hadamard 1,,", "Host Date-Time:,28/4/26 @ 17:47:28,,", "Section 1,,"] * 7)
NIRSCAN_HEAD += "\nWavelength (nm),Absorbance (AU),Reference Signal (unitless),Sample Signal (unitless)\n"


def test_a_nirscan_export_says_all_itself() -> None:
    scan = read(table("{nm:f},{a:f},23756.000000,14489.000000", head=NIRSCAN_HEAD))

    assert (scan.quantity, scan.instrument) == ("absorbance", "NIRscan Nano")
    np.testing.assert_allclose(scan.absorbance, A, atol=1e-5)


def test_a_header_only_like_a_nirscans_is_read_as_columns() -> None:
    scan = read(table(head="Wavelength (nm),Sample's absorbance\n"))

    assert scan.instrument is None
    np.testing.assert_allclose(scan.absorbance, A, atol=1e-4)


def test_a_nirscan_row_without_a_number_is_named() -> None:
    with pytest.raises(BrokenScanError, match=r"line 63 is .1700,-nan.ind.*needed numbers under wavelength"):
        read(table("{nm:f},{a:f},1,1", head=NIRSCAN_HEAD) + "1700,-nan(ind),1,0\n")


def test_a_table_under_the_ending_of_a_cube_is_still_a_table(tmp_path: Path) -> None:
    path = tmp_path / "spectrum.dat"
    path.write_text(table(head="nm absorbance\n", row="{nm} {a}"))

    assert isinstance(read_scan_path(path), Scan)


@pytest.mark.real_data
def test_every_real_nirscan_export_equals_the_table_of_its_source() -> None:
    if not SPECTRA.is_dir():
        pytest.skip("needs the measurements in ../shared/data")
    with gzip.open(SPECTRA / "nirscan_fabrics" / "absorbance.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            scan = read_scan_path(SPECTRA / "nirscan_fabrics" / "native_csv" / row["file"])
            points = [key for key in row if key[0].isdigit()]
            np.testing.assert_allclose(scan.absorbance, [float(row[key]) for key in points], atol=1e-5)
            np.testing.assert_allclose(scan.wavelength_nm, [float(key) for key in points], atol=1e-3)


def packed(
    numbers: list[int], dup: bool = True, dif: bool = True, line_points: int = 12
) -> list[tuple[int, str]]:
    """Written from the standard, not from our reader: lines of (index of first point, packed ordinates)."""

    def symbol(value: int, plus: str, minus: str) -> str:
        digits = str(abs(value))
        return (plus if value >= 0 else minus)[int(digits[0])] + digits[1:]

    lines: list[tuple[int, str]] = []
    start = 0
    while start < len(numbers):
        part = numbers[start : start + line_points]
        tokens = [symbol(part[0], "@ABCDEFGHI", "@abcdefghi")]
        for before, value in itertools.pairwise(part):
            step = symbol(value - before, "%JKLMNOPQR", "%jklmnopqr")
            tokens.append(step if dif else symbol(value, "@ABCDEFGHI", "@abcdefghi"))
        text, at = "", 0
        while at < len(tokens):
            same = at
            while dup and same + 1 < len(tokens) and tokens[same + 1] == tokens[at]:
                same += 1
            count = str(same - at + 1)
            text += tokens[at] + (" STUVWXYZs"[int(count[0])] + count[1:] if same > at else "")
            at = same + 1
        lines.append((start, text))
        if dif and start + len(part) >= len(numbers) and len(part) > 1:
            lines.append((len(numbers) - 1, symbol(numbers[-1], "@ABCDEFGHI", "@abcdefghi")))
            break
        # in difference form the last ordinate is repeated as the next line's check
        start += len(part) - 1 if dif and len(part) > 1 else len(part)
    return lines


def jcamp_file(numbers: list[int], lines: list[tuple[int, str]], **labels: str) -> str:
    head = {
        "TITLE": "swatch",
        "JCAMP-DX": "4.24",
        "DATA TYPE": "NEAR INFRARED SPECTRUM",
        "XUNITS": "NANOMETERS",
        "YUNITS": "ABSORBANCE",
        "XFACTOR": "1",
        "YFACTOR": "0.001",
        "FIRSTX": "1000",
        "LASTX": str(1000 + len(numbers) - 1),
        "NPOINTS": str(len(numbers)),
    } | {key.replace("_", " "): value for key, value in labels.items()}
    text = "".join(f"##{key}={value}\n" for key, value in head.items()) + "##XYDATA=(X++(Y..Y))\n"
    return text + "".join(f"{1000 + at}{body}\n" for at, body in lines) + "##END=\n"


SMOOTH = [int(1000 + 300 * np.sin(place / 6)) for place in range(60)]


@given(
    st.lists(st.integers(-300, 3000), min_size=8, max_size=80).flatmap(
        lambda base: st.lists(st.integers(1, 30), min_size=len(base), max_size=len(base)).map(
            lambda counts: [value for value, count in zip(base, counts, strict=True) for _ in range(count)]
        )
    ),
    st.booleans(),
    st.booleans(),
    st.sampled_from([2, 12, 75]),
)
@settings(max_examples=80, deadline=None)
def test_every_jcamp_packing_gives_back_what_was_packed(
    numbers: list[int], dup: bool, dif: bool, line_points: int
) -> None:
    scan = read(jcamp_file(numbers, packed(numbers, dup, dif, line_points)))

    np.testing.assert_allclose(scan.absorbance, np.array(numbers) / 1000, atol=1e-6)
    assert len(scan.wavelength_nm) == len(numbers)


def test_the_jcamp_library_agrees_where_it_can_read() -> None:
    text = jcamp_file(SMOOTH, packed(SMOOTH))

    oracle = jcamp.read(io.BytesIO(text.encode()))

    scan = read(text)
    np.testing.assert_allclose(scan.absorbance, oracle["y"], atol=1e-6)
    np.testing.assert_allclose(scan.wavelength_nm, oracle["x"])


def test_a_repeat_count_of_two_digits_is_read_where_the_jcamp_library_fails() -> None:
    numbers = [500] * 40 + [501] * 3

    assert read(jcamp_file(numbers, packed(numbers, line_points=60))).absorbance[39] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        (["1000 " + " ".join(map(str, SMOOTH[:30])), "1030 " + " ".join(map(str, SMOOTH[30:]))], {}),
        (["1000" + "".join(f"{value:+d}" for value in SMOOTH)], {}),
        (["1000 " + " ".join(f"{value / 1000:.3E}" for value in SMOOTH)], {"YFACTOR": "1"}),
    ],
)
def test_plain_jcamp_rows_are_read(rows: list[str], labels: dict[str, str]) -> None:
    head = jcamp_file(SMOOTH, [], **labels).replace("##END=\n", "")

    scan = read(head + "\n".join(rows) + "\n##END=\n")

    np.testing.assert_allclose(scan.absorbance, np.array(SMOOTH) / 1000, atol=1e-6)


def test_jcamp_pairs_in_descending_wavenumbers_and_percent_are_read() -> None:
    pairs = "\n".join(f"{1e7 / nm:.4f}, {100 * 10**-a:.5f}" for nm, a in zip(NM, A, strict=True))
    text = f"##TITLE=x\n##JCAMP-DX=5.0\n##XUNITS=1/CM\n##YUNITS=%T\n##XYPOINTS=(XY..XY)\n{pairs}\n##END=\n"

    scan = read(text)

    np.testing.assert_allclose(scan.wavelength_nm, NM, rtol=1e-6)
    np.testing.assert_allclose(scan.absorbance, A, atol=1e-5)


def test_jcamp_transmittance_as_a_fraction_is_read() -> None:
    scan = read(jcamp_file(SMOOTH, packed([n // 3 for n in SMOOTH]), YUNITS="TRANSMITTANCE"))

    assert scan.quantity == "transmittance_percent"
    np.testing.assert_allclose(
        scan.absorbance, -np.log10(np.array([n // 3 for n in SMOOTH]) / 1000), atol=1e-5
    )


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            jcamp_file(SMOOTH, packed(SMOOTH), NPOINTS="61"),
            BrokenScanError,
            "NPOINTS says 61, the data has 60",
        ),
        (jcamp_file(SMOOTH, packed(SMOOTH), NPOINTS="1e12"), BrokenScanError, r"NPOINTS says 1e\+12"),
        (jcamp_file(SMOOTH, packed(SMOOTH), FIRSTX="oops"), BrokenScanError, "FIRSTX is 'oops'"),
        (jcamp_file(SMOOTH, packed(SMOOTH), YFACTOR="nan"), BrokenScanError, "YFACTOR is 'nan'"),
        (jcamp_file(SMOOTH, packed(SMOOTH), XUNITS="SECONDS"), QuantityError, "XUNITS is 'SECONDS'"),
        (
            jcamp_file(SMOOTH, packed(SMOOTH), YUNITS="KUBELKA-MUNK"),
            QuantityError,
            "KUBELKA-MUNK.*state quantity",
        ),
        (jcamp_file(SMOOTH, [(0, "A000%9999999999")]), BrokenScanError, "NPOINTS|finite"),
        (jcamp_file(SMOOTH, [(0, "A000s99999999999")]), ScanTooLargeError, "more than 10000 points"),
        (jcamp_file(SMOOTH, [(0, "A000&12")]), BrokenScanError, "no row of a spectrum"),
        (jcamp_file(SMOOTH, [(0, "A000+.B")]), BrokenScanError, "no row of a spectrum"),
        (jcamp_file(SMOOTH, [(0, "A000S" + "9" * 400)]), BrokenScanError, "no row of a spectrum"),
        (jcamp_file(SMOOTH, [(0, "T12A1")]), BrokenScanError, "no row of a spectrum"),
        (jcamp_file(SMOOTH, [(0, "A00J"), (1, "A05J")]), BrokenScanError, "should begin at 101, not 105"),
        (jcamp_file(SMOOTH, []), BrokenScanError, "no XYDATA"),
        ("##TITLE=x\n##JCAMP-DX=5\n##NTUPLES=MASS\n##END=\n", UnsupportedScanError, "holds NTUPLES"),
        (jcamp_file(SMOOTH, packed(SMOOTH)) * 2, UnsupportedScanError, "several spectra"),
    ],
)
def test_a_broken_jcamp_file_is_refused_by_name_of_its_fault(
    text: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        read(text)


def test_a_path_is_read_like_its_content(tmp_path: Path) -> None:
    path = tmp_path / "a scan.csv"
    path.write_text(table(head="nm,absorbance\n"))

    np.testing.assert_allclose(read_scan_path(path).absorbance, A, atol=1e-4)


def test_a_path_that_is_not_there_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedScanError, match=r"missing.csv: cannot be read .No such file"):
        read_scan_path(tmp_path / "missing.csv")


PIECES = (
    b"nan",
    b"inf",
    b"-",
    b"1e999",
    b"{",
    b"=",
    b"9" * 20,
    b"\0",
    b"\xff",
    b",",
    b"##",
    b"%",
    b"\n",
    b"s99",
    b"?",
)


@pytest.mark.parametrize(
    "whole",
    [
        table(head="nm,absorbance\n"),
        table("{nm:f},{a:f},1,1", head=NIRSCAN_HEAD),
        jcamp_file(SMOOTH, packed(SMOOTH)),
        jcamp_file(SMOOTH, packed(SMOOTH, dup=False, dif=False)),
    ],
    ids=["columns", "nirscan", "difference form", "squeezed form"],
)
def test_a_damaged_file_is_read_or_refused_with_one_of_our_errors(whole: str) -> None:
    random = np.random.default_rng(11)
    for _ in range(150):
        damaged = bytearray(whole.encode())
        for _ in range(random.integers(1, 5)):
            at = random.integers(len(damaged))
            damaged[at : at + random.integers(0, 20)] = PIECES[random.integers(len(PIECES))]
        try:
            scan = read(bytes(damaged))
        except ScanError:
            continue
        assert np.isfinite(scan.absorbance).all()
        assert (np.diff(scan.wavelength_nm) > 0).all()
