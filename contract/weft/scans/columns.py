"""Two columns of text, as every spectrometer's program can export: wavelength and value, in some dialect."""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import numpy as np

from weft.errors import BrokenScanError, QuantityError, ScanTooLargeError
from weft.limits import SPECTRUM_POINTS
from weft.scans.text import lines
from weft.spectra import QUANTITIES, Quantity, Scan, make_scan

UNITS: Final = ("nm", "cm-1", "um")
_COMMENTS: Final = ("#", "%", "//", "!", "'")
_HEADER_CHARS: Final = 20_000
_WAVENUMBER: Final = re.compile(
    r"cm\s*[\^]?\s*[-−⁻]\s*[1¹]|1\s*/\s*cm|wave\s*number|wellenzahl|\bkayser", re.I
)
_NANOMETRE: Final = re.compile(r"\bnm\b|nanomet|\(nm|\[nm", re.I)
_MICROMETRE: Final = re.compile(r"(?<![a-z])[uµμ]m\b|micromet|\bmicrons?\b", re.I)
_WAVELENGTH: Final = re.compile(r"wave\s*length|wellenl|\blambda\b|λ", re.I)
_ABSORBANCE: Final = re.compile(r"absorb|extinktion|\bA\.?U\.?\b|log\s*\(?\s*1\s*/\s*[RT]", re.I)
_REFLECTANCE: Final = re.compile(r"reflect|reflexion|remission|%\s*R\b|\bR\s*\[?\(?%", re.I)
_TRANSMITTANCE: Final = re.compile(r"transmi|%\s*T\b|\bT\s*\[?\(?%", re.I)
_PERCENT: Final = re.compile(r"%|percent|prozent", re.I)


class _Dialect(NamedTuple):
    separator: str | None  # None: any blanks
    decimal: str

    def split(self, line: str) -> list[str]:
        cells = line.split(self.separator)
        while cells and not cells[-1].strip():  # a separator at the line's end
            cells.pop()
        return [cell.strip().strip('"') for cell in cells]

    def numbers(self, line: str) -> list[float] | None:
        """The line as two or more numbers, or None."""
        cells = self.split(line)
        if len(cells) < 2:
            return None
        try:
            # float() also takes "1_000" and non-Latin digits: not what an instrument writes
            return [float(cell.replace(self.decimal, ".")) for cell in cells if "_" not in cell or float("x")]
        except ValueError:
            return None


# A comma comes last: where anything else separates, it is the decimal sign.
_DIALECTS: Final = tuple(
    _Dialect(separator, decimal) for separator in ("\t", ";", None) for decimal in (".", ",")
) + (_Dialect(",", "."),)


@dataclass(slots=True)
class _Table:
    head: str  # everything above the first row
    names: list[str]  # of the columns, empty where the file has none
    rows: list[list[float]]


def read_columns(name: str, text: str, *, unit: str | None = None, quantity: str | None = None) -> Scan:
    """Read wavelength (or wavenumber) and value.

    Args:
        name: What the user calls the file, for messages.
        text: Two columns between tabs, semicolons, commas or blanks, decimal point or comma, with any header and
            comment lines. Of more columns, those are taken whose names say what they are.
        unit: "nm", "cm-1" or "um" of the first column; None: as the header says.
        quantity: One of `weft.spectra.QUANTITIES`; None: as the header says.

    Raises:
        QuantityError: Unit or quantity is neither stated nor found in the header, or does not fit the values.
        BrokenScanError: No table of numbers, or what `make_scan` refuses.
        ScanTooLargeError: More than 10,000 rows.
    """
    if unit is not None and unit not in UNITS:
        raise QuantityError(
            f"unit is {unit[:40]!r}, needed one of {', '.join(UNITS)}; state that of the first column"
        )
    if quantity is not None and quantity not in QUANTITIES:
        raise QuantityError(f"quantity is {quantity[:40]!r}, needed one of {', '.join(QUANTITIES)}")
    table = _read_table(name, text)
    x_place, y_place = _places(name, table)
    axis = np.array([row[x_place] for row in table.rows])
    values = np.array([row[y_place] for row in table.rows])
    labelled = len(table.names) > y_place
    axis_words = [table.names[x_place], table.head] if labelled else [table.head]
    value_words = [table.names[y_place], table.head] if labelled else [table.head]
    found_unit = unit or _unit(name, axis_words, axis)
    if quantity is None:
        quantity, values = _quantity(name, value_words, values)
    if found_unit == "cm-1":
        return make_scan(values=values, quantity=quantity, wavenumber_cm1=axis)
    return make_scan(
        values=values, quantity=quantity, wavelength_nm=axis * (1000 if found_unit == "um" else 1)
    )


def _read_table(name: str, text: str) -> _Table:
    dialect = _dialect(name, text)
    head: list[str] = []
    head_chars = 0
    table = _Table("", [], [])
    for number, line in lines(text):
        if not line:
            continue
        row = dialect.numbers(line)
        comment = line.startswith(_COMMENTS)
        if row is None and table.rows and not comment:
            raise BrokenScanError(
                f"{name}: line {number} is {line[:60]!r}, needed numbers as above it; correct the file"
            )
        if row is None or comment:
            head_chars += len(line)
            if not table.rows and head_chars <= _HEADER_CHARS:
                head.append(line)
            continue
        if len(table.rows) >= SPECTRUM_POINTS:
            raise ScanTooLargeError(
                f"{name}: more than {SPECTRUM_POINTS} points; send one scan a file, or resample it"
            )
        if table.rows and len(row) != len(table.rows[0]):
            raise BrokenScanError(
                f"{name}: line {number} has {len(row)} columns, needed {len(table.rows[0])}; correct the file"
            )
        table.rows.append(row)
    table.head = "\n".join(head)
    if head:
        names = dialect.split(head[-1].lstrip("#%/!' "))
        table.names = names if len(names) == len(table.rows[0]) else []
    return table


def _dialect(name: str, text: str) -> _Dialect:
    """The first dialect in which the last lines of the file are numbers, all with as many columns."""
    sample = [line for _, line in lines(text[-4000:]) if line and not line.startswith(_COMMENTS)][-20:]
    sample = sample[1:] if len(text) > 4000 else sample  # the first may be cut
    for dialect in _DIALECTS:
        # headers count among the last lines of a short file: two rows of numbers are proof enough
        rows = [row for row in map(dialect.numbers, sample) if row is not None]
        if len(rows) < min(2, len(sample)) or not rows or dialect.numbers(sample[-1]) is None:
            continue
        if (
            dialect.separator == ","
            and len(rows[-1]) == 4
            and all(value == int(value) for value in rows[-1] if np.isfinite(value))
        ):
            raise BrokenScanError(
                f"{name}: {sample[-1][:40]!r} may be two numbers with decimal commas or four; separate by semicolons"
            )
        return dialect
    raise BrokenScanError(f"{name}: no table of numbers found; send a wavelength and a value on each line")


def _places(name: str, table: _Table) -> tuple[int, int]:
    """Column of the wavelength and of the value."""
    count = len(table.rows[0])
    if count == 2:
        return 0, 1
    for pattern in (_ABSORBANCE, _REFLECTANCE, _TRANSMITTANCE):
        for place, word in enumerate(table.names):
            if place > 0 and pattern.search(word):
                return 0, place
    raise BrokenScanError(
        f"{name}: {count} columns, and none is named absorbance, reflectance or transmittance; send two columns"
    )


def _unit(name: str, words: list[str], axis: np.ndarray) -> str:
    for text in words:
        found = [
            unit
            for unit, pattern in (("cm-1", _WAVENUMBER), ("nm", _NANOMETRE), ("um", _MICROMETRE))
            if pattern.search(text)
        ]
        if len(found) == 1:
            return found[0]
        if not found and _WAVELENGTH.search(text):
            return "um" if float(np.max(axis)) <= 30 else "nm"
    raise QuantityError(
        f"{name}: the unit of the first column ({axis[0]:g} to {axis[-1]:g}) is not stated; state unit nm, cm-1 or um"
    )


def _quantity(name: str, words: list[str], values: np.ndarray) -> tuple[Quantity, np.ndarray]:
    """The quantity that the header names; percent or fraction by its words, else by the values."""
    for text in words:
        kinds = [
            kind
            for kind, pattern in (
                ("absorbance", _ABSORBANCE),
                ("reflectance", _REFLECTANCE),
                ("transmittance", _TRANSMITTANCE),
            )
            if pattern.search(text)
        ]
        if len(kinds) != 1:
            continue
        if kinds[0] == "absorbance":
            return "absorbance", values
        percent = bool(_PERCENT.search(text)) or float(np.nanmedian(values)) > 1.5
        if kinds[0] == "transmittance":
            return "transmittance_percent", values if percent else values * 100
        return cast(Quantity, "reflectance_percent" if percent else "reflectance"), values
    raise QuantityError(
        f"{name}: what the second column measures is not stated; state quantity {', '.join(QUANTITIES)}"
    )
