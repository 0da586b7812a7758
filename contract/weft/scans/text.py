"""Text out of bytes of unknown origin, at a bounded cost."""

import codecs
from collections.abc import Iterator
from typing import Final

from weft.errors import ScanTooLargeError, UnsupportedScanError

TEXT_BYTES: Final = 5_000_000  # 10,000 points in the widest text we know take 2 MB
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
KINDS: Final = "NIRscan CSV, two-column text, JCAMP-DX, or ENVI header and data in one zip"


def decode_text(name: str, data: bytes) -> str:
    """Decode by byte order mark, else UTF-8, else Windows-1252.

    Raises:
        ScanTooLargeError: More than `TEXT_BYTES`.
        UnsupportedScanError: Binary content.
    """
    if len(data) > TEXT_BYTES:
        raise ScanTooLargeError(
            f"{name}: {len(data):,} bytes of text, {TEXT_BYTES:,} is the most for one spectrum; "
            "send one scan a file"
        )
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    strange = sum(not (char.isprintable() or char in "\t\r\n\f") for char in text[:4096])
    if strange > len(text[:4096]) * 0.02:
        raise UnsupportedScanError(f"{name}: not a scan file we read; send {KINDS}")
    return text


def _encoding(data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return encoding
    # UTF-16 that lacks its mark has a zero in every second byte of plain numbers.
    for encoding, zeros, others in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if len(data) > 1 and not any(data[zeros:200:2]) and all(data[others:200:2]):
            return encoding
    return "utf-8"


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Line number from 1 and stripped line, one at a time; a file of 5 million line ends costs no list."""
    start, number = 0, 0
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        number += 1
        yield number, text[start:end].strip()
        start = end + 1
