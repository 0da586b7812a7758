"""Which wavelengths carried a fibre's share: each stretch of the spectrum is straightened out in turn.

Within a window the absorbance is replaced by the straight line between its ends, which takes a band away and
leaves slope and level; the graph is asked again for all windows at once. Windows of three widths are laid
over the spectrum in small steps, and a wavelength is given the mean of those that cover it. It works on any
bundle and draws nothing at random. A net that reads one band twice, in an overtone and in a combination,
loses little by either alone: a flat curve does not mean that nothing was read.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weft.bands import Band, known_bands
from weft.errors import BrokenScanError, InputError
from weft.identifier import Identifier
from weft.spectra import Scan

Floats = NDArray[np.float64]

_WIDTHS_NM: Final = (30.0, 60.0, 120.0)
_STEP_NM: Final = 10.0
_MOST_WINDOWS: Final = 1000  # a wider range is looked at in larger steps
_LEAST: Final = 1e-4  # shares beyond are taken for it: the odds of 0 and 1 have no logarithm
_NEAR_NM: Final = 20.0  # a peak this close to a known band is named after it


@dataclass(frozen=True, slots=True)
class Peak:
    """A stretch that mattered, with the known band of the fibre beside it."""

    nm: float
    log_odds: float
    band: Band | None


@dataclass(frozen=True, slots=True, eq=False)
class ScanExplanation:
    fibre: str
    share: float  # of the scan as it is
    wavelength_nm: Floats  # (K,) ascending
    log_odds: Floats  # (K,) by how much the fibre's log odds fall without this stretch
    points: Floats  # (K,) likewise in percentage points of its share
    peaks: tuple[Peak, ...]  # the strongest first, at most six
    bands: tuple[Band, ...]  # known ones of the fibre within the range


def explain_scan(identifier: Identifier, scan: Scan, fibre: str | None = None) -> ScanExplanation:
    """What the share of `fibre` (the main one) was read from.

    Raises:
        GridMismatchError: As `Identifier.identify`.
        BrokenScanError: The model finds no number for the scan.
        InputError: The bundle does not know this fibre.
    """
    identifier.check_grid(scan)
    nm = np.asarray(scan.wavelength_nm, np.float64)
    low, high = identifier.card.needed_nm
    low, high = max(low, float(nm[0])), min(high, float(nm[-1]))
    windows = _windows(low, high)
    versions = np.stack(
        [scan.absorbance, *(_straightened(nm, scan.absorbance, *window) for window in windows)]
    )
    shares = identifier.answer(scan.wavelength_nm, versions).shares  # (1 + windows, F)
    if not np.isfinite(shares).all():
        raise BrokenScanError("the model gives no number for this spectrum; measure it again")
    place = _place(identifier, fibre, shares[0])
    odds = _log_odds(shares[:, place])
    at = np.arange(math.ceil(low / 5) * 5.0, high + 1e-6, 5.0)  # (K,)
    fallen = _spread(at, windows, odds[0] - odds[1:])
    points = _spread(at, windows, 100 * (shares[0, place] - shares[1:, place]))
    name = identifier.card.fibres[place]
    bands = known_bands(name, from_nm=low, to_nm=high)
    return ScanExplanation(
        name, float(shares[0, place]), at, fallen, points, _peaks(at, fallen, bands), bands
    )


def _windows(low: float, high: float) -> list[tuple[float, float]]:
    step = max(_STEP_NM, len(_WIDTHS_NM) * (high - low) / _MOST_WINDOWS)
    found: list[tuple[float, float]] = []
    for width in _WIDTHS_NM:
        starts = np.arange(low - width / 2, high - width / 2 + 1e-6, step)
        found += [(max(low, float(start)), min(high, float(start) + width)) for start in starts]
    return found


def _straightened(
    nm: Floats, absorbance: NDArray[np.float32], low: float, high: float
) -> NDArray[np.float32]:
    """The spectrum with the line between the window's ends; they are read as the mean of what lies about."""
    inside = (nm >= low) & (nm <= high)
    about = max((high - low) / 6, 1.01 * float(np.median(np.diff(nm))))
    ends: list[float] = []
    for edge in (low, high):
        near = np.abs(nm - edge) <= about
        ends.append(float(absorbance[near].mean()) if near.any() else float(np.interp(edge, nm, absorbance)))
    changed = absorbance.copy()
    changed[inside] = np.interp(nm[inside], (low, high), ends)
    return changed


def _place(identifier: Identifier, fibre: str | None, shares: Floats) -> int:
    if fibre is None:
        return int(shares.argmax())
    names = identifier.card.fibres
    if fibre not in names:
        raise InputError(f"this bundle does not know {fibre!r}; it knows {', '.join(names)}")
    return names.index(fibre)


def _log_odds(share: Floats) -> Floats:
    share = share.clip(_LEAST, 1 - _LEAST)
    return np.log(share / (1 - share))


def _spread(at: Floats, windows: list[tuple[float, float]], values: Floats) -> Floats:
    """(K,) mean of the windows that cover each wavelength."""
    edges = np.array(windows)  # (windows, 2)
    covers = (at[:, None] >= edges[:, 0] - 1e-6) & (at[:, None] <= edges[:, 1] + 1e-6)
    return (covers * values).sum(1) / covers.sum(1).clip(1)


def _peaks(at: Floats, fallen: Floats, bands: tuple[Band, ...]) -> tuple[Peak, ...]:
    around = np.concatenate([[-np.inf], fallen, [-np.inf]])
    top = (fallen > around[:-2]) & (fallen >= around[2:]) & (fallen > 0.1 * max(float(fallen.max()), 1e-12))
    strongest = sorted(np.flatnonzero(top).tolist(), key=lambda place: -fallen[place])[:6]
    peaks: list[Peak] = []
    for place in strongest:
        near = min(bands, key=lambda band: abs(band.nm - at[place]), default=None)
        named = near if near is not None and abs(near.nm - at[place]) <= _NEAR_NM else None
        peaks.append(Peak(float(at[place]), float(fallen[place]), named))
    return tuple(peaks)
