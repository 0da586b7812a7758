"""The CSV that the tools of TI's DLP NIRscan Nano write: about 22 lines of settings, then four columns."""

import itertools
from typing import Final

from weft.errors import BrokenScanError, ScanTooLargeError
from weft.limits import SPECTRUM_POINTS
from weft.scans.text import lines
from weft.spectra import Scan, make_scan

INSTRUMENT: Final = "NIRscan Nano"
_HEADER_LINES: Final = 80


def is_nirscan(text: str) -> bool:
    return any(_titles(line) for _, line in itertools.islice(lines(text[:20_000]), _HEADER_LINES))


def _titles(line: str) -> list[str]:
    """The column titles where the line holds them, else nothing."""
    words = [word.strip().lower() for word in line[:1000].split(",")]
    starts = (("absorbance",), ("reference", "sample"))
    found = all(any(word.startswith(start) for word in words) for start in starts)
    return words if found and words[0].startswith("wavelength") else []


def read_nirscan(name: str, text: str) -> Scan:
    """Wavelength in nm and absorbance; the file states both, and its signal columns are not needed.

    Raises:
        BrokenScanError: A row that is not numbers, or whatever `make_scan` refuses.
        ScanTooLargeError: More than 10,000 rows.
    """
    wavelength_nm: list[float] = []
    absorbance: list[float] = []
    columns: list[str] = []
    for number, line in lines(text):
        if not columns:
            columns = _titles(line)
            continue
        if not line.strip(" ,"):
            continue
        if len(absorbance) >= SPECTRUM_POINTS:
            raise ScanTooLargeError(f"{name}: more than {SPECTRUM_POINTS} points; send one scan a file")
        cells = line.split(",", 16)
        try:
            wavelength_nm.append(float(cells[0]))
            absorbance.append(float(cells[_place(columns)]))
        except (ValueError, IndexError):
            raise BrokenScanError(
                f"{name}: line {number} is {line[:60]!r}, "
                f"needed numbers under {', '.join(columns[:2])}; export it again"
            ) from None
    return make_scan(
        values=absorbance, quantity="absorbance", wavelength_nm=wavelength_nm, instrument=INSTRUMENT
    )


def _place(columns: list[str]) -> int:
    return next(place for place, word in enumerate(columns) if word.startswith("absorbance"))
