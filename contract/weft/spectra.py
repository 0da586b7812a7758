"""Spectra as Weft computes with them: absorbance over ascending wavelengths in nanometres.

`make_scan` is the one door: whatever order, axis or quantity a spectrum came in, what leaves it is checked.
Letters: L wavelengths, H W pixels.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weft.errors import BrokenScanError, QuantityError, ReferenceNeededError, ScanTooLargeError
from weft.limits import SPECTRUM_POINTS, SPECTRUM_POINTS_MIN

Quantity = Literal["reflectance", "reflectance_percent", "absorbance", "transmittance_percent"]
QUANTITIES: Final[tuple[Quantity, ...]] = get_args(Quantity)

RANGE_NM: Final = (200.0, 30_000.0)
FLOOR: Final = 1e-4  # reflectance below it is noise on any instrument we know: absorbance ends at 4
_DARK: Final = 0.005
_FULL_SCALES: Final = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16))

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """One spectrum. Made by `make_scan`."""

    wavelength_nm: Floats  # (L,) strictly ascending, also as float32
    absorbance: NDArray[np.float32]  # (L,) -log10 of reflectance or transmittance
    quantity: Quantity  # what it was given as
    instrument: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Cube:
    """An image with a spectrum in each pixel. `absorbance` may be file-backed: go through it in parts."""

    wavelength_nm: Floats  # (L,) strictly ascending
    absorbance: NDArray[np.float32]  # (H, W, L)
    foreground: NDArray[np.bool_]  # (H, W) where the thing lies, not the belt or tile
    quantity: Quantity = "reflectance"
    instrument: str | None = None
    warnings: tuple[str, ...] = field(default=())

    def mean_scan(self) -> Scan:
        """Mean absorbance of the foreground, summed row by row."""
        total = np.zeros(len(self.wavelength_nm), np.float64)  # (L,)
        for row, mask in zip(self.absorbance, self.foreground, strict=True):
            total += row[mask].sum(axis=0, dtype=np.float64)  # (W, L) -> (L,)
        mean = (total / max(int(self.foreground.sum()), 1)).astype(np.float32)
        return Scan(self.wavelength_nm, mean, self.quantity, self.instrument, self.warnings)


class Converted(NamedTuple):
    absorbance: NDArray[np.float32]
    warnings: tuple[str, ...]


def make_scan(
    *,
    values: ArrayLike,
    quantity: str,
    wavelength_nm: ArrayLike | None = None,
    wavenumber_cm1: ArrayLike | None = None,
    instrument: str | None = None,
) -> Scan:
    """Check one spectrum and turn it into absorbance over ascending wavelengths.

    Args:
        values: One number per point, shape (L,), 8 to 10,000 of them, in any order of wavelength.
        quantity: What the values are; one of `QUANTITIES`.
        wavelength_nm: Shape (L,), nanometres, or
        wavenumber_cm1: shape (L,), cm-1. Exactly one of the two.

    Raises:
        ScanTooLargeError: More than 10,000 points.
        BrokenScanError: Too few points, lengths that differ, NaN, wavelengths that repeat or lie outside
            200-30,000 nm.
        QuantityError: An unknown quantity, or values that cannot be it.
    """
    if (wavelength_nm is None) == (wavenumber_cm1 is None):
        got = "neither" if wavelength_nm is None else "both"
        raise BrokenScanError(f"got {got} of wavelength_nm and wavenumber_cm1; send exactly one of them")
    checked = check_quantity(quantity)
    numbers = _numbers(values, "values")
    nm = wavelength_axis(wavelength_nm, wavenumber_cm1, points=len(numbers))
    order = np.argsort(nm)
    nm, numbers = nm[order], numbers[order]
    converted = to_absorbance(numbers, checked, nm=nm)
    return Scan(nm, converted.absorbance, checked, instrument, converted.warnings)


def check_quantity(quantity: str) -> Quantity:
    for known in QUANTITIES:
        if quantity == known:
            return known
    raise QuantityError(
        f"quantity is {quantity[:40]!r}, needed one of {', '.join(QUANTITIES)}; state what was measured"
    )


def wavelength_axis(
    wavelength_nm: ArrayLike | None, wavenumber_cm1: ArrayLike | None, *, points: int | None = None
) -> Floats:
    """Wavelengths in nm, shape (L,), in the order given; checked for count, range and repeats."""
    name = "wavelength_nm" if wavelength_nm is not None else "wavenumber_cm1"
    axis = _numbers(wavelength_nm if wavelength_nm is not None else wavenumber_cm1, name)
    if points is not None and points != len(axis):
        raise BrokenScanError(f"got {points} values for {len(axis)} of {name}; send one value per wavelength")
    if len(axis) < SPECTRUM_POINTS_MIN:
        raise BrokenScanError(
            f"spectrum has {len(axis)} points, at least {SPECTRUM_POINTS_MIN} are needed; send the whole scan"
        )
    if (axis <= 0).any():
        place = int(np.argmax(axis <= 0))
        raise BrokenScanError(f"{name}[{place}] is {axis[place]:g}, needed more than 0; correct the axis")
    nm = axis if wavelength_nm is not None else 1e7 / axis
    _check_range(axis, nm, name)
    ordered = np.sort(nm)
    # The graph takes float32: two wavelengths that round to one there are one.
    same = np.flatnonzero(np.diff(ordered.astype(np.float32)) <= 0)
    if same.size:
        raise BrokenScanError(f"wavelength {ordered[same[0]]:g} nm is there twice; send each point once")
    return nm


def _check_range(axis: Floats, nm: Floats, name: str) -> None:
    low, high = float(nm.min()), float(nm.max())
    if low >= RANGE_NM[0] and high <= RANGE_NM[1]:
        return
    advice = "correct the axis or its unit"
    if name == "wavelength_nm" and axis.min() >= RANGE_NM[0] / 1000 and axis.max() <= RANGE_NM[1] / 1000:
        advice = "these look like micrometres, multiply by 1000"
    raise BrokenScanError(
        f"{name} spans {axis.min():g} to {axis.max():g} ({low:g}-{high:g} nm), needed within "
        f"{RANGE_NM[0]:g}-{RANGE_NM[1]:g} nm; {advice}"
    )


def _numbers(values: Any, name: str) -> Floats:
    """A flat float64 array of finite numbers, whatever was sent."""
    try:
        points = len(values)
    except TypeError:
        raise BrokenScanError(f"{name} is not a list of numbers; send one number per point") from None
    if points > SPECTRUM_POINTS:  # before a copy of it is made
        raise ScanTooLargeError(
            f"{name} has {points} points, {SPECTRUM_POINTS} is the most; send fewer or resample"
        )
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BrokenScanError(f"{name} is not a flat list of numbers; send one number per point") from None
    if numbers.ndim != 1:
        raise BrokenScanError(
            f"{name} has shape {numbers.shape}, needed one flat list; send one number per point"
        )
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if wrong.size:
        raise BrokenScanError(
            f"{name}[{wrong[0]}] is {numbers[wrong[0]]}, needed a finite number ({wrong.size} such); "
            "leave these points out or measure again"
        )
    return numbers


def to_absorbance(values: NDArray[Any], quantity: Quantity, *, nm: Floats | None = None) -> Converted:
    """Absorbance of finite values of any shape whose last axis is L, and what is doubtful about them.

    Raises:
        QuantityError: The values cannot be the stated quantity; the message says which they look like.
    """
    _check_plausible(values, quantity)
    if quantity == "absorbance":
        return Converted(
            values.astype(np.float32), tuple(_doubts(10.0 ** -np.clip(values, -2, 10), nm, absorbance=True))
        )
    fraction = values / 100 if quantity.endswith("_percent") else values
    warnings = _doubts(fraction, nm)
    return Converted(fraction_to_absorbance(fraction), tuple(warnings))


def fraction_to_absorbance(fraction: NDArray[Any]) -> NDArray[np.float32]:
    """-log10 of reflectance or transmittance (1 = all light), same shape; clipped at `FLOOR`."""
    return (-np.log10(np.maximum(fraction, FLOOR))).astype(np.float32)


def _check_plausible(values: NDArray[Any], quantity: Quantity) -> None:
    median, least, most = float(np.median(values)), float(values.min()), float(values.max())
    seen = f"values have a median of {median:g} (from {least:g} to {most:g})"
    if quantity == "absorbance":
        if abs(median) > 6 or most > 20 or least < -3:
            what = (
                "these look like percent, state that"
                if median > 6
                else "state the quantity that was measured"
            )
            raise QuantityError(f"{seen}, absorbance lies between -1 and 6; {what}")
    elif quantity == "reflectance":
        if median > 1.5 or most > 10:
            what = (
                "reflectance_percent or divide by 100"
                if most <= 1000
                else "a measured quantity, not raw counts"
            )
            raise QuantityError(f"{seen}, reflectance lies between 0 and 1; state {what}")
        if median < -0.1 or least < -1:
            raise QuantityError(
                f"{seen}, reflectance cannot be negative; state absorbance or correct the dark level"
            )
    else:
        unit = quantity.removesuffix("_percent")
        if median > 150 or most > 1000:
            raise QuantityError(
                f"{seen}, {unit} in percent lies between 0 and 100; send reflectance, not raw counts"
            )
        if median < -10 or least < -100:
            raise QuantityError(
                f"{seen}, {unit} cannot be negative; state absorbance or correct the dark level"
            )
        if median >= 0.02 and most <= 1.5:
            fix = "state reflectance or multiply by 100" if unit == "reflectance" else "multiply by 100"
            raise QuantityError(
                f"{seen}, {unit} in percent lies between 0 and 100; these look like fractions, {fix}"
            )


def _doubts(fraction: NDArray[Any], nm: Floats | None, *, absorbance: bool = False) -> list[str]:
    """What is wrong with reflectance or transmittance (1 = all light) that can still be computed with."""
    found: list[str] = []
    if float(np.ptp(fraction)) == 0:
        found.append("every point has the same value; this is not a measured spectrum")
        return found
    low = np.flatnonzero(fraction.ravel() < FLOOR)
    if low.size:
        where = f", first at {nm[low[0] % len(nm)]:g} nm" if nm is not None else ""
        found.append(
            f"{low.size} of {fraction.size} values are at or below the noise floor and were clipped{where}"
        )
    if float(np.median(fraction)) < _DARK:
        found.append("almost no light comes back (median under 0.5 %); clean the window or move closer")
    top = float(fraction.max())
    if not absorbance and fraction.size >= 20 and float((fraction >= top).mean()) > 0.1:
        found.append(
            "the highest value repeats over more than a tenth of the points; the detector may be saturated"
        )
    return found


def reflectance_from_counts(
    counts: NDArray[Any], *, white: NDArray[Any], dark: NDArray[Any]
) -> NDArray[np.float32]:
    """Turn raw sensor counts into reflectance, per pixel and band.

    Args:
        counts: Raw frame, shape (H, W, L).
        white: Counts on the reference tile: one level per band (L,), per column and band (W, L), or a frame
            of its own (lines, W, L), which is averaged over its lines.
        dark: Counts with the shutter closed, likewise.

    Returns:
        Reflectance, shape (H, W, L), unitless. Specular spots may exceed 1.

    Raises:
        ReferenceNeededError: The white reference is saturated, or no brighter than the dark in some band.
        ValueError: Shapes that do not belong together.
    """
    level, floor = reference_levels(counts.shape[1:], white=white, dark=dark)
    return ((counts - floor) / (level - floor)).astype(np.float32)


def reference_levels(
    shape: tuple[int, ...], *, white: NDArray[Any], dark: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """White and dark level per column and band, shape (W, L) or (L,), checked against each other."""
    for name, frame in (("white", white), ("dark", dark)):
        if frame.ndim not in (1, 2, 3) or not _fits(frame.shape, shape):
            raise ValueError(
                f"{name} has shape {frame.shape}, needed (L,), (W, L) or (lines, W, L) of {shape}"
            )
    level, floor = _level(white), _level(dark)
    for name, found in (("white", level), ("dark", floor)):
        if not bool(np.isfinite(found).all()):
            raise ReferenceNeededError(
                f"the {name} reference holds NaN, infinity or numbers beyond float32; record it again"
            )
    top = float(white.max())
    full = int(top) in _FULL_SCALES and np.issubdtype(white.dtype, np.integer)
    if full and float((white == white.max()).mean()) > 0.01:
        raise ReferenceNeededError(
            f"the white reference is saturated at {top:g} counts; record it again with a shorter exposure"
        )
    span = level - floor
    if not bool((span > 0).all()):
        place = np.unravel_index(int(np.argmin(span)), span.shape)
        raise ReferenceNeededError(
            f"band {int(place[-1])}: white {np.broadcast_to(level, span.shape)[place]:g} must exceed dark "
            f"{np.broadcast_to(floor, span.shape)[place]:g}; record both references again or swap them"
        )
    return level, floor


def _fits(frame: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return frame[-1] == shape[-1] and (len(frame) == 1 or frame[-2] in (1, shape[-2]))


def _level(frame: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by its name
        return (frame.mean(axis=0) if frame.ndim == 3 else frame).astype(np.float32)
