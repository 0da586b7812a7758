"""The text header of an ENVI cube: parsed, checked against its limits, and never believed about its size.

Own parser and mapping: those of `spectral` (an oracle in our tests) want keys that instruments leave out
("byte order"), stumble over capitals and search folders named in the environment.
"""

import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weft.errors import BrokenScanError, QuantityError, ScanTooLargeError, UnsupportedScanError
from weft.limits import CUBE_BYTES, SPECTRUM_POINTS, SPECTRUM_POINTS_MIN
from weft.scans.text import lines
from weft.scans.words import check_unit, unit_in
from weft.spectra import wavelength_axis

HEADER_BYTES: Final = 1_000_000  # 10,000 bands with names, wavelengths and widths take 0.5 MB
_FIELDS: Final = 2000
_TYPES: Final = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
_INTERLEAVES: Final = ("bil", "bip", "bsq")
_NM_LIKELY: Final = (350.0, 2600.0)


@dataclass(frozen=True, slots=True)
class Header:
    name: str
    lines: int  # H
    samples: int  # W
    bands: int
    type_code: int
    interleave: str
    byte_order: int  # 0 little, 1 big
    offset: int  # bytes before the data
    scale: float | None  # "reflectance scale factor": values divided by it are reflectance
    ignore: float | None  # "data ignore value"
    fields: dict[str, str]

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return np.dtype((">" if self.byte_order else "<") + _TYPES[self.type_code])

    @property
    def data_bytes(self) -> int:
        return self.offset + self.lines * self.samples * self.bands * self.dtype.itemsize

    @property
    def words(self) -> list[str]:
        """Texts in which the header may name its unit or quantity, the most telling first."""
        keys = ("data units", "data type name", "z plot titles", "description", "band names")
        return [self.fields[key][:2000] for key in keys if key in self.fields]


def is_envi_header(data: bytes) -> bool:
    return data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"ENVI")


def parse_header(name: str, data: bytes) -> Header:
    """Parse a header.

    Raises:
        BrokenScanError: Not an ENVI header, or a field that is missing or no number.
        UnsupportedScanError: Complex values, or a layout we do not read.
        ScanTooLargeError: It claims more than 2 GB or more than 10,000 bands.
    """
    if len(data) > HEADER_BYTES:
        raise ScanTooLargeError(
            f"{name}: a header of over {HEADER_BYTES:,} bytes; send the header of one cube"
        )
    if not is_envi_header(data):
        raise BrokenScanError(f"{name}: does not begin with ENVI; send the header that belongs to the data")
    fields = _fields(name, data.decode("utf-8", errors="replace"))
    type_code = _integer(name, fields, "data type")
    if type_code not in _TYPES:
        raise UnsupportedScanError(
            f"{name}: data type {type_code} is not read; export real numbers (2, 4, 12)"
        )
    interleave = fields.get("interleave", "").lower()
    if interleave not in _INTERLEAVES:
        raise UnsupportedScanError(
            f"{name}: interleave is {interleave[:20]!r}, needed bil, bip or bsq; correct it"
        )
    header = Header(
        name=name,
        lines=_integer(name, fields, "lines", least=1),
        samples=_integer(name, fields, "samples", least=1),
        bands=_integer(name, fields, "bands", least=1),
        type_code=type_code,
        interleave=interleave,
        byte_order=_integer(name, fields, "byte order", default=0),
        offset=_integer(name, fields, "header offset", default=0),
        scale=_real(name, fields, "reflectance scale factor"),
        ignore=_real(name, fields, "data ignore value"),
        fields=fields,
    )
    _check_size(header)
    return header


def _fields(name: str, text: str) -> dict[str, str]:
    """`key = value` and `key = {value, over lines}`; keys in lower case, values without braces."""
    fields: dict[str, str] = {}
    key, parts = "", list[str]()  # a value whose brace is still open
    for _, line in lines(text):
        if parts:
            parts.append(line)
        elif line.startswith(";") or "=" not in line:
            continue
        else:
            left, _, right = line.partition("=")
            key, parts = left.strip().lower(), [right.strip()]
        if not parts[0].startswith("{") or "}" in line:
            fields[key] = "\n".join(parts).strip().lstrip("{").partition("}")[0].strip()
            parts = []
        if len(fields) > _FIELDS:
            raise BrokenScanError(f"{name}: more than {_FIELDS} fields; send the header of one cube")
    if parts:
        raise BrokenScanError(f"{name}: the brace after {key[:40]!r} is never closed; export the cube again")
    return fields


def _check_size(header: Header) -> None:
    shape = f"{header.lines} lines x {header.samples} samples x {header.bands} bands"
    if header.bands < SPECTRUM_POINTS_MIN:
        raise BrokenScanError(
            f"{header.name}: {header.bands} bands, "
            f"at least {SPECTRUM_POINTS_MIN} are needed; send a spectral cube"
        )
    if header.bands > SPECTRUM_POINTS:
        raise ScanTooLargeError(
            f"{header.name}: {header.bands} bands, {SPECTRUM_POINTS} is the most; bin them"
        )
    unpacked = header.lines * header.samples * header.bands * max(header.dtype.itemsize, 4)
    if max(unpacked, header.data_bytes) > CUBE_BYTES:
        raise ScanTooLargeError(
            f"{header.name}: claims {shape}, {unpacked:,} bytes unpacked, "
            f"{CUBE_BYTES:,} is the most; crop or bin it"
        )


def _integer(
    name: str, fields: dict[str, str], key: str, *, least: int = 0, default: int | None = None
) -> int:
    text = fields.get(key)
    if text is None:
        if default is not None:
            return default
        raise BrokenScanError(f"{name}: no {key!r} in the header; export the cube again")
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or int(text) < least:
        raise BrokenScanError(
            f"{name}: {key!r} is {text[:40]!r}, needed a whole number from {least}; correct the header"
        )
    return int(text)


def _real(name: str, fields: dict[str, str], key: str) -> float | None:
    text = fields.get(key)
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise BrokenScanError(
            f"{name}: {key!r} is {text[:40]!r}, needed a number; correct the header"
        ) from None


def wavelengths(header: Header, *, unit: str | None) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Wavelength of each band in nm, shape (bands,), in the file's order, and doubts about them.

    Raises:
        BrokenScanError: None in the header, another number of them than bands, or an impossible axis.
        QuantityError: Their unit is neither stated nor evident.
    """
    stated = check_unit(unit)
    text = header.fields.get("wavelength") or header.fields.get("wavelengths")
    if not text:
        raise BrokenScanError(f"{header.name}: no wavelengths in the header; export the cube with them")
    cells = [cell.strip() for cell in text.replace("\n", " ").split(",") if cell.strip()]
    if len(cells) != header.bands:
        raise BrokenScanError(
            f"{header.name}: {len(cells)} wavelengths for {header.bands} bands; correct the header"
        )
    try:
        axis = np.array([float(cell) for cell in cells])
    except ValueError:
        raise BrokenScanError(f"{header.name}: a wavelength is no number; correct the header") from None
    found = stated or unit_in([header.fields.get("wavelength units", ""), *header.words], axis)
    warnings: tuple[str, ...] = ()
    if found is None and bool(((axis >= _NM_LIKELY[0]) & (axis <= _NM_LIKELY[1])).all()):
        found, warnings = "nm", ("the header states no wavelength unit; nanometres were assumed",)
    elif found is None and bool(((axis >= 0.2) & (axis <= 30)).all()):
        found = "um"  # no other unit has such numbers
    if found is None:
        raise QuantityError(
            f"{header.name}: the header states no wavelength unit ({axis.min():g} to {axis.max():g}); "
            "state unit nm, cm-1 or um"
        )
    if found == "cm-1":
        return wavelength_axis(None, axis), warnings
    return wavelength_axis(axis * (1000 if found == "um" else 1), None), warnings


def good_bands(header: Header) -> NDArray[np.bool_]:
    """False where the header's bad band list says 0, shape (bands,); all True without one."""
    cells = [
        cell.strip() for cell in header.fields.get("bbl", "").replace("\n", " ").split(",") if cell.strip()
    ]
    if len(cells) != header.bands:
        return np.ones(header.bands, np.bool_)
    return np.array([cell not in ("0", "0.0") for cell in cells])
