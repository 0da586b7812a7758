"""JCAMP-DX 4.24 and 5, one spectrum a file, in all its packings (AFFN, PAC, SQZ, DIF, DUP).

Own reader: the library `jcamp` (1.3.2) misreads repeat counts of two digits (`V3`, 43 times), says so only on
standard output, and allocates whatever NPOINTS claims. It is an oracle in our tests instead.
"""

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weft.errors import BrokenScanError, QuantityError, ScanTooLargeError, UnsupportedScanError
from weft.limits import SPECTRUM_POINTS
from weft.scans.text import lines
from weft.scans.words import check_unit, quantity_in, quantity_needed, unit_in
from weft.spectra import Scan, check_quantity, make_scan

Floats = NDArray[np.float64]

_LABELS: Final = 2000
_DATA_LABELS: Final = ("XYDATA", "XYPOINTS")
# Tokens are matched one by one: one pattern for the whole line takes exponential time on a bad one.
_AFFN: Final = re.compile(r"[\s,;]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[Ee][+-]?\d+)?|\?)[\s,;]*", re.ASCII)
_PACKED: Final = re.compile(r"\s*,?\s*([@A-Ia-i%J-Rj-rS-Zs+\-]?)(\d*\.?\d*|\?)", re.ASCII)
_SQZ: Final = {"@": "0", **dict(zip("ABCDEFGHI", "123456789", strict=True))} | {
    letter: f"-{digit}" for letter, digit in zip("abcdefghi", "123456789", strict=True)
}
_DIF: Final = {"%": "0", **dict(zip("JKLMNOPQR", "123456789", strict=True))} | {
    letter: f"-{digit}" for letter, digit in zip("jklmnopqr", "123456789", strict=True)
}
_DUP: Final = dict(zip("STUVWXYZs", "123456789", strict=True))


def is_jcampdx(text: str) -> bool:
    head = text[:4000].lstrip().upper().replace(" ", "")
    return head.startswith("##") and ("##JCAMP-DX=" in head or "##JCAMPDX=" in head or "##TITLE=" in head)


def read_jcampdx(name: str, text: str, *, unit: str | None = None, quantity: str | None = None) -> Scan:
    """Read the one spectrum of a file; `unit` and `quantity` count where stated, else XUNITS and YUNITS.

    Raises:
        UnsupportedScanError: Peak tables, NTUPLES, or several spectra in one file.
        BrokenScanError: Labels missing, a checkpoint in the packed data that does not hold, or another number
            of points than NPOINTS says.
        QuantityError: Units we do not read.
        ScanTooLargeError: More than 10,000 points.
    """
    labels, form, data = _split(name, text)
    stated_unit = check_unit(unit)
    if form.startswith("(XY"):
        pairs = np.array([number for row in data for number in _free_row(name, row)])
        if len(pairs) % 2:
            raise BrokenScanError(
                f"{name}: {len(pairs)} numbers in XY pairs; one is missing, export it again"
            )
        axis = pairs[0::2] * _number(name, labels, "XFACTOR", 1.0)
        values = pairs[1::2]
    else:
        values = np.array(_ordinates(name, data))
        axis = _axis(name, labels, len(values))
    _check_count(name, labels, len(values))
    values = values * _number(name, labels, "YFACTOR", 1.0)
    found = stated_unit or unit_in([labels.get("XUNITS", "")], axis)
    if found is None:
        raise QuantityError(f"{name}: XUNITS is {labels.get('XUNITS', '')[:40]!r}; state unit nm, cm-1 or um")
    if quantity is not None:
        stated = check_quantity(quantity)
    else:
        measured = quantity_in([labels.get("YUNITS", "")], values) if len(values) else None
        if measured is None:
            raise quantity_needed(f"{name} (YUNITS {labels.get('YUNITS', '')[:40]!r})")
        stated, values = measured.quantity, values * measured.scale
    instrument = labels.get("SPECTROMETERDATASYSTEM", "")[:80] or None
    if found == "cm-1":
        return make_scan(values=values, quantity=stated, wavenumber_cm1=axis, instrument=instrument)
    scale = 1000 if found == "um" else 1
    return make_scan(values=values, quantity=stated, wavelength_nm=axis * scale, instrument=instrument)


def _split(name: str, text: str) -> tuple[dict[str, str], str, list[str]]:
    """Labels, the form of the data such as `(X++(Y..Y))`, and its lines."""
    labels: dict[str, str] = {}
    form, data = "", list[str]()
    inside = False
    for _, raw in lines(text):
        line = raw.split("$$", 1)[0].strip()
        if not line.startswith("##"):
            if inside and line:
                data.append(line)
            if len(data) > 2 * SPECTRUM_POINTS:
                raise _too_many(name)
            continue
        if len(labels) > _LABELS:
            raise BrokenScanError(f"{name}: more than {_LABELS} labels; export the spectrum alone")
        label, _, value = line[2:].partition("=")
        label = re.sub(r"[\s\-/_]", "", label).upper()  # as the standard says, these do not count
        inside = label in _DATA_LABELS
        if label in ("NTUPLES", "PEAKTABLE", "PEAKASSIGNMENTS", "RADATA"):
            raise UnsupportedScanError(f"{name}: holds {label}, no plain spectrum; export it as XYDATA")
        if inside and form:
            raise UnsupportedScanError(f"{name}: holds several spectra; send one a file")
        if inside:
            form = value.replace(" ", "").upper()
        elif not form:  # labels of a link block are replaced by those of the spectrum in it
            labels[label] = value.strip()[:200]
    if not form or not data:
        raise BrokenScanError(f"{name}: no XYDATA in this JCAMP-DX file; export the spectrum again")
    if not form.startswith(("(X++", "(XY")):
        raise UnsupportedScanError(f"{name}: data of the form {form[:30]!r}; export it as (X++(Y..Y))")
    return labels, form, data


def _number(name: str, labels: dict[str, str], label: str, default: float | None = None) -> float:
    text = labels.get(label, "").replace(",", ".")
    if not text and default is not None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise BrokenScanError(f"{name}: {label} is {text[:40]!r}, needed a number; export it again")
    return value


def _axis(name: str, labels: dict[str, str], points: int) -> Floats:
    """FIRSTX to LASTX; the X of each line are rounded copies."""
    return np.linspace(_number(name, labels, "FIRSTX"), _number(name, labels, "LASTX"), points)


def _check_count(name: str, labels: dict[str, str], points: int) -> None:
    claimed = _number(name, labels, "NPOINTS", float(points))
    if claimed != points:
        raise BrokenScanError(f"{name}: NPOINTS says {claimed:g}, the data has {points}; export it again")


def _free_row(name: str, line: str) -> list[float]:
    row: list[float] = []
    at = 0
    while at < len(line):
        token = _AFFN.match(line, at)
        if token is None:
            raise _no_row(name, line)
        at = token.end()
        row.append(float("nan") if token[1] == "?" else float(token[1]))
        if len(row) > 2 * SPECTRUM_POINTS:
            raise _too_many(name)
    return row


def _no_row(name: str, line: str) -> BrokenScanError:
    return BrokenScanError(f"{name}: {line[:40]!r} is no row of a spectrum; export it again")


def _too_many(name: str) -> ScanTooLargeError:
    return ScanTooLargeError(f"{name}: more than {SPECTRUM_POINTS} points; send fewer or resample")


def _ordinates(name: str, data: list[str]) -> list[float]:
    """Y of all lines. A line that ends in difference form is repeated as the check value of the next."""
    plain = not re.search(r"[@%A-DF-Za-df-z]", "".join(data))  # E alone is an exponent in plain numbers
    values: list[float] = []
    was_difference = False
    for line in data:
        if plain:
            row, is_difference = _free_row(name, line)[1:], False
        else:
            try:
                row, is_difference = _unpack(name, line, room=SPECTRUM_POINTS + 1)
            except (ValueError, OverflowError):  # a lone sign or point, a repeat count beyond all numbers
                raise _no_row(name, line) from None
        if was_difference and row:
            if abs(row[0] - values[-1]) > 1e-6 * max(abs(values[-1]), 1):
                raise BrokenScanError(
                    f"{name}: line {line[:20]!r} should begin at {values[-1]:g}, "
                    f"not {row[0]:g}; export it again"
                )
            row = row[1:]
        values += row
        if len(values) > SPECTRUM_POINTS:
            raise _too_many(name)
        was_difference = is_difference
    return values


def _unpack(name: str, line: str, *, room: int) -> tuple[list[float], bool]:
    """Y of one packed line (its leading X dropped), and whether it ends in difference form."""
    head = re.match(r"\s*[+-]?\d+\.?\d*", line, re.ASCII)
    at = head.end() if head else len(line)
    row: list[float] = []
    step = 0.0
    difference = False
    while at < len(line):
        token = _PACKED.match(line, at)
        if token is None or token.end() == at or (token[1] in "+-" and not token[2]):
            raise _no_row(name, line)
        at = token.end()
        lead, digits = token[1], token[2]
        if lead in _DUP and row:
            more = int(float(_DUP[lead] + digits)) - 1
            if more > room - len(row):
                raise _too_many(name)
            for _ in range(more):
                row.append(row[-1] + step if difference else row[-1])
        elif lead in _DIF and row:
            difference, step = True, float(_DIF[lead] + digits)
            row.append(row[-1] + step)
        elif lead in _DUP or lead in _DIF:
            raise _no_row(name, line)
        else:
            difference = False
            row.append(float("nan") if digits == "?" else float(_SQZ.get(lead, lead) + digits))
    if len(row) > room:
        raise _too_many(name)
    return row, difference
