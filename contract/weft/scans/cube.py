"""From the values of a cube on disk to absorbance and foreground, a block of lines at a time."""

import tempfile
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.errors import BrokenScanError, QuantityError, ReferenceNeededError
from weft.foreground import features, foreground_mask
from weft.limits import SPECTRUM_POINTS_MIN
from weft.scans.envi_header import Header, good_bands, wavelengths
from weft.scans.words import quantity_in
from weft.spectra import Cube, Quantity, check_quantity, fraction_to_absorbance, to_absorbance

Floats32 = NDArray[np.float32]

_BLOCK_BYTES: Final = 8_000_000
_IN_MEMORY: Final = 256_000_000  # larger cubes of absorbance live in a nameless temporary file
_DARK: Final = 0.005
_BRIGHT: Final = 1.5
_SAMPLE_PIXELS: Final = 2000
_ABSORBANCE_RANGE: Final = (-3.0, 10.0)


class Levels(NamedTuple):
    """Counts of the references per column and band, shape (W, L), (1, L) or (L,)."""

    white: Floats32
    dark: Floats32


class _Reading(NamedTuple):
    """How a value of the file becomes the quantity: by its references, or times `scale`."""

    quantity: Quantity
    scale: float
    levels: Levels | None
    warnings: tuple[str, ...]


def build_cube(
    header: Header, values: NDArray[Any], levels: Levels | None, *, unit: str | None, quantity: str | None
) -> Cube:
    """Convert a cube of shape (H, W, bands) and find its foreground; raises as `read_envi_path`."""
    nm, doubts = wavelengths(header, unit=unit)
    bands = np.argsort(nm)
    bands = bands[good_bands(header)[bands]]  # the file's bands in ascending wavelength, bad ones left out
    if len(bands) < SPECTRUM_POINTS_MIN:
        raise BrokenScanError(
            f"{header.name}: {len(bands)} usable bands, at least {SPECTRUM_POINTS_MIN} are needed; "
            "check its bbl"
        )
    sample = _sample(header, values, bands)
    reading = _reading(header, sample, levels, quantity=quantity)
    doubts += reading.warnings
    if reading.levels is None:
        # As for one scan, but a hundredth at either end may be dead or hot pixels.
        usual = np.clip(sample, *np.percentile(sample, (1, 99))) * reading.scale
        doubts += to_absorbance(usual, reading.quantity, nm=nm[bands]).warnings
    height, width = header.lines, header.samples
    absorbance = _room((height, width, len(bands)))
    brightness = np.zeros((height, width), np.float32)
    contrast = np.zeros((height, width), np.float32)
    valid = np.zeros((height, width), np.bool_)
    for rows in _blocks(height, width * header.bands * max(4, header.dtype.itemsize)):
        block = _picked(np.array(values[rows], np.float32), bands)  # (h, W, L)
        valid[rows] = _valid(block, header)
        block[~valid[rows]] = 0
        light = _light(block, reading, bands)
        brightness[rows], contrast[rows] = features(light)
        if reading.quantity == "absorbance":
            absorbance[rows] = np.clip(block, *_ABSORBANCE_RANGE)
        else:
            absorbance[rows] = fraction_to_absorbance(light)
        absorbance[rows][~valid[rows]] = 0
    if not valid.any():
        raise BrokenScanError(f"{header.name}: no pixel holds numbers in every band; export the cube again")
    lost = int(valid.size - valid.sum())
    if lost:
        doubts += (f"{lost} of {valid.size} pixels hold no numbers and were left out",)
    mask = foreground_mask(brightness, contrast, valid)
    if reading.levels is not None:
        doubts += _light_doubts(brightness[mask])
    instrument = header.fields.get("sensor type", "")[:80]
    return Cube(
        wavelength_nm=nm[bands],
        absorbance=absorbance,
        foreground=mask,
        quantity=reading.quantity,
        instrument=None if instrument.lower() in ("", "unknown") else instrument,
        warnings=doubts,
    )


def _light_doubts(brightness: Floats32) -> tuple[str, ...]:
    """Doubts about a calibrated foreground, from the mean reflectance of its pixels."""
    median = float(np.median(brightness))
    if median < _DARK:
        return ("almost no light comes back from the foreground; check the lamp and the references",)
    if median > _BRIGHT:
        return (f"the foreground is {median:.1f} times as bright as the white reference; record it anew",)
    return ()


def _sample(header: Header, values: NDArray[Any], bands: NDArray[np.intp]) -> NDArray[np.float64]:
    """Up to 2,000 pixels spread over the cube that hold numbers, shape (pixels, L)."""
    pixels = header.lines * header.samples
    flat = np.unique(np.linspace(0, pixels - 1, min(pixels, _SAMPLE_PIXELS)).astype(np.int64))
    rows, columns = np.divmod(flat, header.samples)
    taken = np.asarray(values[rows, columns])[:, bands].astype(np.float64)
    taken = taken[_valid(taken, header)]
    if not len(taken):
        raise BrokenScanError(
            f"{header.name}: no numbers in any of {len(flat)} pixels; export the cube again"
        )
    return taken


def _valid(block: NDArray[Any], header: Header) -> NDArray[np.bool_]:
    """Pixels that hold a usable number in every band; the last axis is L."""
    good = np.asarray(np.abs(block).max(axis=-1) < 1e15, np.bool_)  # NaN and infinity are not below it
    if header.ignore is not None and np.isfinite(header.ignore):
        good &= ~(block == block.dtype.type(header.ignore)).all(axis=-1)
    return good


def _reading(
    header: Header, sample: NDArray[np.float64], levels: Levels | None, *, quantity: str | None
) -> _Reading:
    """What the values are: stated, calibrated by references, named by the header, or told by their size."""
    stated = None if quantity is None else check_quantity(quantity)
    if levels is not None:
        if stated not in (None, "reflectance"):
            raise QuantityError(
                f"{header.name}: white and dark references make reflectance, "
                f"{stated} was stated; leave one out"
            )
        return _Reading("reflectance", 1, levels, ())
    if stated is not None:
        scale = 1 / header.scale if header.scale and stated == "reflectance" else 1
        return _Reading(stated, scale, None, ())
    if header.scale:
        return _Reading("reflectance", 1 / header.scale, None, ())
    median = float(np.median(sample))
    if header.dtype.kind in "iu" or median > 1000:
        raise ReferenceNeededError(
            f"{header.name}: raw counts (median {median:g}, {header.dtype.name}) without references; "
            "send the white and the dark reference recorded with it"
        )
    measured = quantity_in(header.words, sample)
    if measured is not None:
        return _Reading(measured.quantity, measured.scale, None, ())
    if -0.1 <= median <= 1.5:
        return _Reading("reflectance", 1, None, ("the header names no quantity; reflectance was assumed",))
    raise QuantityError(
        f"{header.name}: the header names no quantity and values have a median of {median:g}; state it"
    )


def _light(block: Floats32, reading: _Reading, bands: NDArray[np.intp]) -> Floats32:
    """A block (h, W, L) of the file's values as the part of the light that came back, 1 = all."""
    if reading.levels is not None:
        white, dark = (level[..., bands] for level in reading.levels)
        return np.divide(block - dark, white - dark, dtype=np.float32)
    block *= np.float32(reading.scale)
    if reading.quantity == "absorbance":
        return np.power(np.float32(10), -np.clip(block, *_ABSORBANCE_RANGE)).astype(np.float32)
    if reading.quantity.endswith("_percent"):
        block /= np.float32(100)
    return block


def _picked(block: Floats32, bands: NDArray[np.intp]) -> Floats32:
    """The wanted bands in a block of its own; without a gather where they lie in order already."""
    steps = np.diff(bands)
    if bool((steps == 1).all()):
        return np.ascontiguousarray(block[..., bands[0] : bands[-1] + 1])
    return block[..., bands]


def _room(shape: tuple[int, int, int]) -> Floats32:
    if int(np.prod(shape)) * 4 <= _IN_MEMORY:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile(
        prefix="weft-absorbance-"
    ) as file:  # the mapping keeps it after the name is gone
        return np.memmap(file, np.float32, "w+", shape=shape)


def _blocks(height: int, line_bytes: int) -> Iterator[slice]:
    step = max(1, _BLOCK_BYTES // line_bytes)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
