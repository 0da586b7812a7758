"""What a stranger may send as a scan: each is refused by its right name, in bounded time and memory."""

import contextlib
import io
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.errors import BrokenScanError, ScanError, ScanTooLargeError, UnsupportedScanError
from weft.scans import read_scan

HEADER = (
    "ENVI\nsamples = 1000\nlines = 1000\nbands = 100\ndata type = 4\ninterleave = bip\n"
    "wavelength units = nm\n"
    "wavelength = {" + ",".join(str(900 + place) for place in range(100)) + "}\n"
)
SECONDS = 10  # of a busy machine; none takes one second here
MEGABYTES = 400


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zeros(megabytes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("c.hdr", HEADER)
        with archive.open("c.dat", "w") as file:
            for _ in range(megabytes):
                file.write(bytes(1_000_000))
    return buffer.getvalue()


def zip_that_lies_about_its_size() -> bytes:
    """50 MB of zeros in a member whose directory entry claims 400 bytes."""
    packed = zlib.compress(bytes(50_000_000), 9)[2:-4]
    local = (
        struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, 33, 0, len(packed), 400, 5, 0)
        + b"c.dat"
        + packed
    )
    hdr = HEADER.encode()
    local2 = struct.pack(
        "<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 33, zlib.crc32(hdr), len(hdr), len(hdr), 5, 0
    )
    local2 += b"c.hdr" + hdr
    entries = b""
    for name, method, crc, size, claimed, at in (
        (b"c.dat", 8, 0, len(packed), 400, 0),
        (b"c.hdr", 0, zlib.crc32(hdr), len(hdr), len(hdr), len(local)),
    ):
        entries += struct.pack(
            "<4sHHHHHHIIIHHHHHII",
            b"PK\1\2",
            20,
            20,
            0,
            method,
            0,
            33,
            crc,
            size,
            claimed,
            5,
            0,
            0,
            0,
            0,
            0,
            at,
        )
        entries += name
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 2, 2, len(entries), len(local) + len(local2), 0)
    return local + local2 + entries + end


def encrypted() -> bytes:
    data = bytearray(zipped({"c.hdr": HEADER.encode()}))
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def numbers(rows: int, row: str = "{at} 0.5\n") -> bytes:
    return "".join(row.format(at=900 + at / 1000) for at in range(rows)).encode()


CORPUS: dict[str, tuple[Callable[[], bytes], type[ScanError]]] = {
    "nothing": (lambda: b"", BrokenScanError),
    "one byte": (lambda: b"\0", UnsupportedScanError),
    "binary rubbish": (lambda: np.random.default_rng(0).bytes(100_000), UnsupportedScanError),
    "a JPEG": (
        lambda: b"\xff\xd8\xff\xe0\0\x10JFIF" + np.random.default_rng(1).bytes(9000),
        UnsupportedScanError,
    ),
    "a PDF in plain letters": (lambda: b"%PDF-1.7\n1 0 obj <</Type /Catalog>>\n" * 99, BrokenScanError),
    "61 MB": (lambda: bytes(61_000_000), ScanTooLargeError),
    "a million points": (lambda: numbers(1_000_000), ScanTooLargeError),
    "20,000 points": (lambda: b"nm absorbance\n" + numbers(20_000), ScanTooLargeError),
    "three points": (lambda: b"nm absorbance\n" + numbers(3), BrokenScanError),
    "one line of 4 MB": (lambda: b"9" * 4_000_000, BrokenScanError),
    "one line of 2 million numbers": (lambda: b"1 " * 2_000_000, BrokenScanError),
    "4 million empty lines": (lambda: b"\n" * 4_000_000, BrokenScanError),
    "4 million returns": (lambda: b"\r" * 4_000_000, BrokenScanError),
    "comments only": (lambda: b"# nm absorbance\n" * 200_000, BrokenScanError),
    "a header of 20,000 blanks": (lambda: b"cm" + b" " * 19_900 + b"\n" + numbers(50), ScanError),
    "a NIRscan line of 4 MB": (
        lambda: b"Wavelength (nm),Absorbance (AU),Reference Signal\n" + b"1," * 2_000_000,
        BrokenScanError,
    ),
    "a NIRscan of 100,000 rows": (
        lambda: b"Wavelength (nm),Absorbance (AU),Reference Signal\n" + numbers(100_000, "{at},0.5,1\n"),
        ScanTooLargeError,
    ),
    "UTF-16 without a table": (lambda: "Guten Tag\n".encode("utf-16") * 1000, ScanError),
    "half a UTF-16 character": (lambda: "900 0.5\n".encode("utf-16")[:-1], ScanError),
    "JCAMP of 400,000 labels": (
        lambda: b"##TITLE=x\n" + b"".join(b"##A%d=\n" % n for n in range(400_000)),
        BrokenScanError,
    ),
    "JCAMP of a million rows": (
        lambda: b"##TITLE=x\n##XYDATA=(X++(Y..Y))\n" + b"1 1\n" * 1_000_000,
        ScanTooLargeError,
    ),
    "a JCAMP row of a million digits and a letter": (
        lambda: b"##TITLE=x\n##XYPOINTS=(XY..XY)\n" + b"1" * 1_000_000 + b"x\n",
        BrokenScanError,
    ),
    "JCAMP repeats without end": (
        lambda: b"##TITLE=x\n##XYDATA=(X++(Y..Y))\n##" + b"\n1A1s9999999\n",
        ScanError,
    ),
    "a zip of 100 MB of zeros": (lambda: zeros(100), ScanTooLargeError),
    "a zip that lies about its size": (zip_that_lies_about_its_size, BrokenScanError),
    "a zip in a zip": (lambda: zipped({"c.hdr": HEADER.encode(), "c.zip": zeros(100)}), ScanError),
    "a zip of 2,000 files": (lambda: zipped({f"{n}.hdr": b"" for n in range(2000)}), ScanTooLargeError),
    "a zip cut in half": (lambda: zeros(1)[:-200], BrokenScanError),
    "a zip of its first bytes only": (lambda: b"PK\x03\x04" + bytes(40), BrokenScanError),
    "a zip that points upwards": (lambda: zipped({"../../evil.hdr": HEADER.encode()}), BrokenScanError),
    "a zip that points to the root": (lambda: zipped({"/etc/evil.hdr": HEADER.encode()}), BrokenScanError),
    "a zip that points to a drive": (lambda: zipped({"C:\\evil.hdr": HEADER.encode()}), BrokenScanError),
    "an encrypted zip": (encrypted, UnsupportedScanError),
    "a zip in LZMA": (lambda: zipped({"c.hdr": HEADER.encode()}, zipfile.ZIP_LZMA), UnsupportedScanError),
    "a header of 900,000 blanks": (
        lambda: zipped({"c.hdr": b"ENVI\n" + b" " * 900_000 + b"=", "c.dat": b"x"}),
        BrokenScanError,
    ),
    "a header of 240,000 open braces": (
        lambda: zipped({"c.hdr": b"ENVI\n" + b"a={\n" * 240_000, "c.dat": b"x"}),
        BrokenScanError,
    ),
    "a header of 90,000 fields": (
        lambda: zipped({"c.hdr": b"ENVI\n" + b"".join(b"k%d=1\n" % n for n in range(90_000)), "c.dat": b"x"}),
        BrokenScanError,
    ),
    "a header of 3 MB": (
        lambda: zipped({"c.hdr": b"ENVI\n" + bytes(3_000_000), "c.dat": b"x"}),
        ScanTooLargeError,
    ),
    "a header that claims 400 MB": (
        lambda: zipped({"c.hdr": HEADER.encode(), "c.dat": b"x"}),
        BrokenScanError,
    ),
}


@pytest.mark.parametrize("case", list(CORPUS))
def test_a_hostile_scan_is_refused_by_its_right_name_at_a_bounded_cost(case: str) -> None:
    make, kind = CORPUS[case]
    data = make()
    started = time.perf_counter()
    with pytest.raises(kind) as caught:
        read_scan("scan", data)
    assert time.perf_counter() - started < SECONDS
    tracemalloc.start()  # slows it down five times, hence a second go
    try:
        with contextlib.suppress(kind):
            read_scan("scan", data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTES * 1_000_000
    assert len(str(caught.value)) < 400, "a message is one sentence"
    assert "; " in str(caught.value), "a message says what to do"


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused_with_one_of_our_errors(data: bytes) -> None:
    for head in (b"", b"##TITLE=x\n##XYDATA=(X++(Y..Y))\n", b"PK\x03\x04", b"ENVI\n", b"nm absorbance\n"):
        with pytest.raises(ScanError):
            read_scan("scan", head + data)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_zip_is_read_or_refused_with_one_of_our_errors(data: st.DataObject) -> None:
    small = HEADER.replace("1000", "3")
    whole = bytearray(zipped({"c.hdr": small.encode(), "c.dat": np.full(900, 0.5, "<f4").tobytes()}))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ScanError):
        read_scan("c.zip", bytes(whole))


@given(
    st.text(alphabet="0123456789.,;eE+- \tabc#%\n", max_size=200),
)
@settings(max_examples=200, deadline=None)
def test_any_text_like_a_table_is_read_or_refused_with_one_of_our_errors(text: str) -> None:
    try:
        scan = read_scan("scan", text.encode(), unit="nm", quantity="absorbance")
    except ScanError:
        return
    assert np.isfinite(scan.absorbance).all()
