"""Unit and quantity as files name them, in headers and column titles."""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.errors import QuantityError
from weft.spectra import QUANTITIES, Quantity

Unit = Literal["nm", "cm-1", "um"]
UNITS: Final[tuple[Unit, ...]] = ("nm", "cm-1", "um")

_WAVENUMBER: Final = re.compile(r"cm[\s^]*[-−⁻]\s*[1¹]|1\s*/\s*cm|wave\s*number|wellenzahl|\bkayser", re.I)
_NANOMETRE: Final = re.compile(r"\bnm\b|_nm\b|nanomet", re.I)
_MICROMETRE: Final = re.compile(r"(?<![a-z])[uµμ]m\b|micromet|\bmicrons?\b", re.I)
_UNIT_WORDS: Final[tuple[tuple[Unit, re.Pattern[str]], ...]] = (
    ("cm-1", _WAVENUMBER),
    ("nm", _NANOMETRE),
    ("um", _MICROMETRE),
)
_WAVELENGTH: Final = re.compile(r"wave\s*length|wellenl|\blambda\b|λ", re.I)
_ABSORBANCE: Final = re.compile(r"absorb|extinktion|\bA\.?U\.?\b|log\s*\(?\s*1\s*/\s*[RT]", re.I)
_REFLECTANCE: Final = re.compile(r"reflect|reflexion|remission|%\s*R\b|\bR\s*[\[(]?%", re.I)
_TRANSMITTANCE: Final = re.compile(r"transmi|%\s*T\b|\bT\s*[\[(]?%", re.I)
_PERCENT: Final = re.compile(r"%|percent|prozent", re.I)


class Measured(NamedTuple):
    quantity: Quantity
    scale: float  # multiply the file's values by this


def check_unit(unit: str | None) -> Unit | None:
    """Raises QuantityError where a unit is stated that we do not know."""
    if unit is None:
        return None
    for known in UNITS:
        if unit == known:
            return known
    raise QuantityError(
        f"unit is {unit[:40]!r}, needed one of {', '.join(UNITS)}; state that of the wavelengths"
    )


def unit_in(texts: Iterable[str], axis: NDArray[Any]) -> Unit | None:
    """The unit that the first telling text names; bare "wavelength" is told by its numbers."""
    for text in texts:
        found: list[Unit] = [unit for unit, pattern in _UNIT_WORDS if pattern.search(text)]
        if len(found) == 1:
            return found[0]
        if not found and _WAVELENGTH.search(text):
            return "um" if float(np.max(axis)) <= 30 else "nm"
    return None


def quantity_in(texts: Iterable[str], values: NDArray[Any]) -> Measured | None:
    """The quantity that the first of the texts names which names exactly one.

    Percent is told by its sign or word, else by the values: no fraction has a median above 1.5.
    """
    for text in texts:
        kinds = [pattern for pattern in (_ABSORBANCE, _REFLECTANCE, _TRANSMITTANCE) if pattern.search(text)]
        if len(kinds) != 1:
            continue
        if kinds[0] is _ABSORBANCE:
            return Measured("absorbance", 1)
        percent = bool(_PERCENT.search(text)) or float(np.nanmedian(values)) > 1.5
        if kinds[0] is _TRANSMITTANCE:
            return Measured("transmittance_percent", 1 if percent else 100)
        return Measured("reflectance_percent" if percent else "reflectance", 1)
    return None


def quantity_needed(name: str) -> QuantityError:
    return QuantityError(
        f"{name}: what the values measure is not stated; state quantity {', '.join(QUANTITIES)}"
    )
