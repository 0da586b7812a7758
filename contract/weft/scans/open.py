"""One door for every scan file. The kind is told by the content, never by the name alone."""

from pathlib import Path

from weft.errors import BrokenScanError, ScanTooLargeError, UnsupportedScanError
from weft.limits import SCAN_FILE_BYTES
from weft.scans.archive import is_zip
from weft.scans.columns import read_columns
from weft.scans.envi import header_beside, read_envi_path, read_envi_zip
from weft.scans.envi_header import is_envi_header
from weft.scans.jcampdx import is_jcampdx, read_jcampdx
from weft.scans.nirscan import is_nirscan, read_nirscan
from weft.scans.text import decode_text
from weft.spectra import Cube, Scan


def read_scan(
    name: str,
    data: bytes,
    *,
    unit: str | None = None,
    quantity: str | None = None,
    white: bytes | None = None,
    dark: bytes | None = None,
) -> Scan | Cube:
    """Read a scan from memory: NIRscan CSV, JCAMP-DX, two-column text, or an ENVI cube in a zip.

    Args:
        name: What the sender calls it; for messages only.
        data: The file's content.
        unit: "nm", "cm-1" or "um", for files that do not say so themselves.
        quantity: One of `weft.spectra.QUANTITIES`, likewise.
        white: White reference of a cube of raw counts: a zip of its own, or data laid out like the cube's.
        dark: Dark reference, likewise.

    Raises:
        ScanError: Anything wrong with it, under one of its names in `weft.errors`.
    """
    name = name[-80:]
    sent = ((name, data), ("white reference", white or b""), ("dark reference", dark or b""))
    for what, content in sent:
        if len(content) > SCAN_FILE_BYTES:
            raise ScanTooLargeError(
                f"{what}: {len(content):,} bytes, {SCAN_FILE_BYTES:,} is the most; "
                "crop the cube or send one scan"
            )
    if not data:
        raise BrokenScanError(f"{name}: the file is empty; send a scan")
    if is_zip(data):
        return read_envi_zip(name, data, unit=unit, quantity=quantity, white=white, dark=dark)
    if is_envi_header(data):
        raise UnsupportedScanError(f"{name}: an ENVI header without its data; send both in one zip")
    if white is not None or dark is not None:
        raise UnsupportedScanError(f"{name}: white and dark references belong to a cube; send it as a zip")
    return _read_text(name, data, unit=unit, quantity=quantity)


def _read_text(name: str, data: bytes, *, unit: str | None, quantity: str | None) -> Scan:
    text = decode_text(name, data)
    if is_nirscan(text):
        return read_nirscan(name, text)
    if is_jcampdx(text):
        return read_jcampdx(name, text, unit=unit, quantity=quantity)
    return read_columns(name, text, unit=unit, quantity=quantity)


def read_scan_path(
    path: Path,
    *,
    unit: str | None = None,
    quantity: str | None = None,
    white: Path | None = None,
    dark: Path | None = None,
) -> Scan | Cube:
    """Read a scan from disk: as `read_scan`, and an ENVI header with its data beside it, memory-mapped."""
    try:
        if header_beside(path) is not None:
            return read_envi_path(path, unit=unit, quantity=quantity, white=white, dark=dark)
        parts = [None if file is None else _bytes(file) for file in (path, white, dark)]
    except OSError as error:
        raise UnsupportedScanError(
            f"{error.filename or path}: cannot be read ({error.strerror}); name a scan file"
        ) from error
    return read_scan(path.name, parts[0] or b"", unit=unit, quantity=quantity, white=parts[1], dark=parts[2])


def _bytes(path: Path) -> bytes:
    """At most one byte more than is taken, so that the size is refused without reading all of it."""
    with path.open("rb") as file:
        return file.read(SCAN_FILE_BYTES + 1)
