"""One door for every scan file. The kind is told by the content, never by the name alone."""

from pathlib import Path

from weft.errors import BrokenScanError, ScanTooLargeError, UnsupportedScanError
from weft.limits import SCAN_FILE_BYTES
from weft.scans.columns import read_columns
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
    """Read one scan from memory; see `read_scan_path` for files on disk."""
    if not data:
        raise BrokenScanError(f"{name}: the file is empty; send a scan")
    if len(data) > SCAN_FILE_BYTES:
        raise ScanTooLargeError(
            f"{name}: {len(data):,} bytes, {SCAN_FILE_BYTES:,} is the most; send one scan"
        )
    text = decode_text(name, data)
    if is_nirscan(text):
        return read_nirscan(name, text)
    return read_columns(name, text, unit=unit, quantity=quantity)


def read_scan_path(
    path: Path,
    *,
    unit: str | None = None,
    quantity: str | None = None,
    white: Path | None = None,
    dark: Path | None = None,
) -> Scan | Cube:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnsupportedScanError(
            f"{path.name}: cannot be read ({error.strerror}); name a scan file"
        ) from error
    return read_scan(path.name, data, unit=unit, quantity=quantity)
