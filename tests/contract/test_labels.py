"""Printed marks: what is drawn is read back from the bytes of the SVG and the PDF, at its true size."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zxingcpp
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from weft.errors import InputError
from weft.labels import label
from weft.marks import MarkHint, find_mark
from weft.marks.prints import make_label
from weft.photos import Photo

PX = 8  # a mm, of the drawings below
POINTS = 72 / 25.4
NUMBER = r"(-?[\d.]+)"


def run(*args: object) -> Result:
    return CliRunner().invoke(label, [str(arg) for arg in args])


def printed(tmp_path: Path, *args: object) -> Path:
    """Without its ending."""
    done = run(*args, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    return tmp_path / "out"


def drawn(boxes: Iterator[list[float]], wide: float, tall: float) -> NDArray[np.uint8]:
    """Black boxes (x, y, w, h in mm) on white, as a grey picture."""
    image = Image.new("L", (round(wide * PX), round(tall * PX)), 255)
    brush = ImageDraw.Draw(image)
    for x, y, w, h in boxes:
        brush.rectangle(
            [round(x * PX), round(y * PX), round((x + w) * PX) - 1, round((y + h) * PX) - 1], fill=0
        )
    return np.asarray(image)


def from_svg(file: Path) -> NDArray[np.uint8]:
    text = file.read_text()
    size = re.search(rf'width="{NUMBER}mm" height="{NUMBER}mm" viewBox="0 0 \1 \2"', text)
    assert size is not None, "one unit of the view box is one mm"
    path = re.search(r'<path d="([^"]*)"', text)
    assert path is not None
    boxes = re.findall(rf"M{NUMBER} {NUMBER}h{NUMBER}v{NUMBER}h", path[1])
    return drawn(([float(n) for n in box] for box in boxes), float(size[1]), float(size[2]))


def pdf_pages(file: Path) -> list[tuple[float, float, str]]:
    """Width and height in mm and the drawing orders of each page."""
    data = file.read_bytes()
    sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    streams = [zlib.decompress(body) for body in re.findall(rb"stream\n(.*?)\nendstream", data, re.DOTALL)]
    return [
        (float(w) / POINTS, float(h) / POINTS, stream.decode("latin-1"))
        for (w, h), stream in zip(sizes, streams, strict=True)
    ]


def from_pdf(file: Path, page: int = 0) -> NDArray[np.uint8]:
    wide, tall, orders = pdf_pages(file)[page]
    scale = re.match(rf"{NUMBER} 0 0 {NUMBER} 0 {NUMBER} cm", orders)
    assert scale is not None
    assert float(scale[1]) == pytest.approx(POINTS, rel=1e-5), "one unit is one mm"
    assert float(scale[2]) == pytest.approx(-POINTS, rel=1e-5)
    black = orders[orders.index("0 g") :]
    boxes = re.findall(rf"{NUMBER} {NUMBER} {NUMBER} {NUMBER} re", black)
    return drawn(([float(n) for n in box] for box in boxes), wide, tall)


def codes(picture: NDArray[np.uint8]) -> list[Any]:
    return list(zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode))


def side_mm(code: Any) -> float:
    at = code.position
    return (np.hypot(at.top_right.x - at.top_left.x, at.top_right.y - at.top_left.y) + 0.5) / PX


@pytest.mark.parametrize("side", [25, 60, 120])
@pytest.mark.parametrize("read", [from_svg, from_pdf])
def test_a_label_reads_back_as_its_code_at_its_true_size(tmp_path: Path, side: int, read: Any) -> None:
    out = printed(tmp_path, "--side-mm", side, "WEFT-0001")

    (found,) = codes(read(out.with_suffix(".svg" if read is from_svg else ".pdf")))

    assert found.text == "WEFT-0001"
    assert side_mm(found) == pytest.approx(side, abs=0.3)


def test_the_quiet_zone_is_four_modules_of_white(tmp_path: Path) -> None:
    picture = from_svg(printed(tmp_path, "A").with_suffix(".svg"))
    rows, columns = np.nonzero(picture < 128)
    quiet = 4 * 60 / 21 * PX

    assert columns.min() == pytest.approx(quiet, abs=1.5)
    assert rows.min() == pytest.approx(quiet, abs=1.5)
    assert picture.shape[1] - 1 - columns.max() == pytest.approx(quiet, abs=1.5)


def test_a_person_can_read_the_code_and_the_size_on_the_label(tmp_path: Path) -> None:
    out = printed(tmp_path, "Box <7> & (more)")

    assert "Box &lt;7&gt; &amp; (more)</text>" in out.with_suffix(".svg").read_text()
    assert "60 mm from edge to edge" in out.with_suffix(".svg").read_text()
    assert r"(Box <7> & \(more\)) Tj" in pdf_pages(out.with_suffix(".pdf"))[0][2]


def test_a_pdf_is_as_large_as_it_says_and_asks_to_be_printed_unscaled(tmp_path: Path) -> None:
    out = printed(tmp_path, "A", "--paper", "a4").with_suffix(".pdf")
    data = out.read_bytes()

    assert pdf_pages(out)[0][:2] == pytest.approx((210, 297), abs=0.01)
    assert b"/PrintScaling /None" in data
    places = [int(place) for place in re.findall(rb"(\d{10}) 00000 n", data)]
    assert [data[place : place + 7] for place in places] == [
        b"%d 0 obj" % n for n in range(1, len(places) + 1)
    ]


def test_several_codes_share_pages_of_a4(tmp_path: Path) -> None:
    names = [f"P-{number:03d}" for number in range(8)]
    out = printed(tmp_path, *names)

    pages = pdf_pages(out.with_suffix(".pdf"))
    read = [
        code.text for page in range(len(pages)) for code in codes(from_pdf(out.with_suffix(".pdf"), page))
    ]

    assert len(pages) == 2
    assert sorted(read) == names
    assert (tmp_path / "out-2.svg").is_file()


def test_codes_come_from_a_file_and_in_copies(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text("A-1\n\nA-2\nA-1\n")
    out = printed(tmp_path, "--codes-from", tmp_path / "codes.txt", "--copies", 2, "--side-mm", 30)

    read = [code.text for code in codes(from_pdf(out.with_suffix(".pdf")))]

    assert sorted(read) == ["A-1", "A-1", "A-2", "A-2"]


def test_an_ending_chooses_the_one_kind(tmp_path: Path) -> None:
    assert run("A", "--out", tmp_path / "one.svg").exit_code == 0

    assert [path.name for path in tmp_path.iterdir()] == ["one.svg"]


def test_letters_that_a_pdf_cannot_write_are_left_to_the_svg(tmp_path: Path) -> None:
    refused = run("北京-7", "--out", tmp_path / "x.pdf")

    assert refused.exit_code == 2
    assert "only write Latin letters below the code; write an SVG" in refused.output
    assert run("北京-7", "--out", tmp_path / "x.svg").exit_code == 0
    assert codes(from_svg(tmp_path / "x.svg"))[0].text == "北京-7"


@pytest.mark.parametrize(
    ("code", "side", "message"),
    [
        ("A", 9, "a label's side is 9 mm; 10 to 170 mm fit"),
        ("A", 171, "10 to 170 mm fit"),
        ("A", float("nan"), "a label's side is nan mm"),
        ("", 60, "1 to 64 printable letters"),
        ("a\nb", 60, "1 to 64 printable letters"),
        ("x" * 65, 60, "1 to 64 printable letters"),
        ("x" * 64, 15, "too fine to read; take 22 mm or more, or a shorter code"),
    ],
)
def test_what_cannot_be_printed_legibly_is_refused(code: str, side: float, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        make_label(code, side)


@pytest.mark.parametrize(
    "args",
    [[], ["A", "--ruler"], ["A", "--dot"], ["--dot", "--ruler"]],
    ids=lambda args: "+".join(args) or "none",
)
def test_exactly_one_thing_is_printed(args: list[str], tmp_path: Path) -> None:
    done = run(*args, "--out", tmp_path / "x")

    assert done.exit_code == 2
    assert "one of the three" in done.output


@pytest.mark.parametrize("length", [120, 250, 380])
def test_the_printed_ruler_is_found_as_a_ruler_of_its_length(tmp_path: Path, length: int) -> None:
    out = printed(tmp_path, "--ruler", length)
    grey = from_pdf(out.with_suffix(".pdf"))

    found = find_mark(
        Photo(np.stack([grey] * 3, axis=2), grey.shape[1], grey.shape[0]), MarkHint("ruler", length)
    )

    assert found is not None
    assert found.mm_per_pixel == pytest.approx(1 / PX, rel=0.006)
    assert np.array_equal(grey, from_svg(out.with_suffix(".svg")))


@pytest.mark.parametrize("length", ["90", "386", "200.5", "nan"])
def test_a_ruler_that_no_page_holds_is_refused(tmp_path: Path, length: str) -> None:
    with pytest.raises(InputError, match="whole mm from 100 to 385 fit A4 or A3"):
        CliRunner().invoke(label, ["--ruler", length, "--out", str(tmp_path / "x")], catch_exceptions=False)


def test_a_dot_has_its_diameter_in_both_kinds(tmp_path: Path) -> None:
    out = printed(tmp_path, "--dot", 40)

    assert 'r="20" fill="#000"' in out.with_suffix(".svg").read_text()
    orders = pdf_pages(out.with_suffix(".pdf"))[0][2]
    (curves,) = re.findall(r"^.* c f$", orders, re.MULTILINE)
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", curves)]
    assert max(numbers[::2]) - min(numbers[::2]) == pytest.approx(40, abs=0.01)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (b"\xf6\x00\xff", "no text in UTF-8; write one code a line"),
        (b"", "no code in it"),
        (None, "is a directory"),
    ],
    ids=["bytes", "nothing", "folder"],
)
def test_a_file_that_holds_no_codes_is_refused_in_one_line(
    held: bytes | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "codes"
    file.mkdir() if held is None else file.write_bytes(held)

    refused = run("--codes-from", file, "--out", tmp_path / "x")

    assert refused.exit_code == 2
    assert message in refused.output


def test_a_picture_is_not_written_under_a_doubled_ending(tmp_path: Path) -> None:
    refused = run("A", "--out", tmp_path / "x.png")

    assert refused.exit_code == 2
    assert "only as .pdf or .svg" in refused.output
    assert not list(tmp_path.iterdir())


def test_a_code_far_too_long_is_not_repeated_whole() -> None:
    with pytest.raises(InputError, match=r"of 3000 letters cannot stand") as caught:
        make_label("x" * 3000, 60)

    assert len(str(caught.value)) < 300
