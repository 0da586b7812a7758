"""Two columns of text, as every spectrometer's program can export: wavelength and value, in some dialect."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from weft.errors import BrokenScanError, QuantityError, ScanTooLargeError
from weft.limits import SPECTRUM_POINTS
from weft.scans.text import lines
from weft.scans.words import check_unit, quantity_in, quantity_needed, unit_in
from weft.spectra import Scan, check_quantity, make_scan

_COMMENTS: Final = ("#", "%", "//", "!", "'")
_HEADER_CHARS: Final = 20_000
_COLUMNS: Final = 64
_LINE_CHARS: Final = 4_000
# Stricter than float(), which also takes "1_000", "infinity" and digits of other scripts.
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|[+-]?nan|[+-]?inf", re.ASCII | re.I)
_NAMED: Final = (re.compile("absorb", re.I), re.compile("reflect|%R", re.I), re.compile("transm|%T", re.I))


class _Dialect(NamedTuple):
    separator: str | None  # None: any blanks
    decimal: str

    def split(self, line: str) -> list[str]:
        cells = [cell.strip().strip('"').strip() for cell in line[:_LINE_CHARS].split(self.separator)]
        while cells and not cells[-1]:  # a separator at the line's end
            cells.pop()
        return cells

    def numbers(self, line: str) -> list[float] | None:
        """The line as two or more numbers, or None."""
        if len(line) > _LINE_CHARS:
            return None
        cells = [cell.replace(",", ".") if self.decimal == "," else cell for cell in self.split(line)]
        if not 2 <= len(cells) <= _COLUMNS or not all(_NUMBER.fullmatch(cell) for cell in cells):
            return None
        return [float(cell.lower().replace("d", "e")) for cell in cells]


# A comma comes last: where anything else separates, it is the decimal sign.
_DIALECTS: Final = (
    *(_Dialect(separator, decimal) for separator in ("\t", ";", None) for decimal in (".", ",")),
    _Dialect(",", "."),
)


@dataclass(slots=True)
class _Table:
    head: str  # everything above the first row
    names: list[str]  # of the columns, empty where the file has none
    rows: list[list[float]]


def read_columns(name: str, text: str, *, unit: str | None = None, quantity: str | None = None) -> Scan:
    """Read wavelength (or wavenumber) and value.

    Args:
        name: What the user calls the file, for messages.
        text: Two columns between tabs, semicolons, commas or blanks, decimal point or comma, with any
            header and comment lines. Of more columns, the one is taken whose title says what it is.
        unit: "nm", "cm-1" or "um" of the first column; None: as the header says.
        quantity: One of `weft.spectra.QUANTITIES`; None: as the header says.

    Raises:
        QuantityError: Unit or quantity is neither stated nor found in the header, or does not fit the values.
        BrokenScanError: No table of numbers, or what `make_scan` refuses.
        ScanTooLargeError: More than 10,000 rows.
    """
    stated_unit = check_unit(unit)
    stated = check_quantity(quantity) if quantity is not None else None
    table = _read_table(name, text)
    place = _value_place(name, table)
    axis = np.array([row[0] for row in table.rows])
    values = np.array([row[place] for row in table.rows])
    found = stated_unit or unit_in([*table.names[:1], table.head], axis)
    if found is None:
        raise QuantityError(
            f"{name}: the unit of the first column ({axis[0]:g} to {axis[-1]:g}) is not stated; "
            "state unit nm, cm-1 or um"
        )
    if stated is None:
        measured = quantity_in([*table.names[place : place + 1], table.head], values)
        if measured is None:
            raise quantity_needed(name)
        stated, values = measured.quantity, values * measured.scale
    if found == "cm-1":
        return make_scan(values=values, quantity=stated, wavenumber_cm1=axis)
    return make_scan(values=values, quantity=stated, wavelength_nm=axis * (1000 if found == "um" else 1))


def _read_table(name: str, text: str) -> _Table:
    dialect = _dialect(name, text)
    head: list[str] = []
    rows: list[list[float]] = []
    head_chars = 0
    for number, line in lines(text):
        if not line:
            continue
        row = None if line.startswith(_COMMENTS) else dialect.numbers(line)
        if row is not None:
            _check_row(name, number, row, rows)
            rows.append(row)
        elif not rows:
            head_chars += len(line)
            head += [line] if head_chars <= _HEADER_CHARS else []
        elif not line.startswith(_COMMENTS):
            raise BrokenScanError(
                f"{name}: line {number} is {line[:60]!r}, needed numbers as above it; correct the file"
            )
    titles = dialect.split(head[-1].lstrip("#%/!' ")) if head else []
    return _Table("\n".join(head), titles if rows and len(titles) == len(rows[0]) else [], rows)


def _check_row(name: str, number: int, row: list[float], rows: list[list[float]]) -> None:
    if len(rows) >= SPECTRUM_POINTS:
        raise ScanTooLargeError(
            f"{name}: more than {SPECTRUM_POINTS} points; send one scan a file, or resample"
        )
    if rows and len(row) != len(rows[0]):
        raise BrokenScanError(
            f"{name}: line {number} has {len(row)} columns, needed {len(rows[0])}; correct the file"
        )


def _dialect(name: str, text: str) -> _Dialect:
    """The first dialect in which the last lines of the file are numbers."""
    tail = text[-4000:] if len(text) > 4000 else "\n" + text  # the first line of a tail may be cut
    sample = [line for _, line in lines(tail[tail.find("\n") + 1 :])]
    sample = [line for line in sample if line and not line.startswith(_COMMENTS)][-20:]
    for dialect in _DIALECTS:
        # titles may count among the last lines of a short file: its last two lines are proof enough
        if not sample or any(dialect.numbers(line) is None for line in sample[-2:]):
            continue
        cells = dialect.split(sample[-1])
        if dialect.separator == "," and len(cells) == 4 and all(cell.lstrip("-").isdigit() for cell in cells):
            raise BrokenScanError(
                f"{name}: {sample[-1][:40]!r} may be two numbers with decimal commas, or four; "
                "separate the columns by semicolons"
            )
        return dialect
    raise BrokenScanError(f"{name}: no table of numbers found; send a wavelength and a value on each line")


def _value_place(name: str, table: _Table) -> int:
    count = len(table.rows[0])
    if count == 2:
        return 1
    for pattern in _NAMED:
        for place, word in enumerate(table.names):
            if place > 0 and pattern.search(word):
                return place
    raise BrokenScanError(
        f"{name}: {count} columns, and "
        "none is titled absorbance, reflectance or transmittance; send two columns"
    )
