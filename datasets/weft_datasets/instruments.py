"""What an instrument does to a reflectance: its grid, resolution, axis error, stray light, baseline and noise.

Presets are kinds of instruments, not makers' models; each scan draws its unit's errors from the preset's spread.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft_datasets.absorption import Floats

INNER_STEP_NM = 2.0
INNER_NM: Floats = np.arange(
    340.0, 2600.0 + INNER_STEP_NM / 2, INNER_STEP_NM
)  # where the physics is computed
FLOOR = 1e-4  # reflectance; what a scan file would hold instead of a logarithm of nothing


@dataclass(frozen=True, slots=True)
class Preset:
    name: str
    start_nm: float
    stop_nm: float
    points: int
    even_in: str  # "nm", "cm1", or "pixel" for a dispersion that is slightly curved
    resolution_nm: tuple[float, float]
    shift_nm: float  # of the whole axis, standard deviation
    stretch: float  # of the axis about its middle, standard deviation
    noise: float  # of reflectance in the middle of the range, in one scan of a white sample
    blue_rise: float  # how many times the noise has grown at the short end
    red_rise: float  # and at the long end
    edge_nm: float  # over which it grows
    quantity: str
    share: float  # of simulated scans


PRESETS: tuple[Preset, ...] = (
    Preset("handheld mirror array 900-1700", 901.0, 1701.0, 228, "pixel", (8.0, 14.0), 1.2, 0.0015,
           0.0008, 5.0, 3.5, 45.0, "absorbance", 0.34),
    Preset("InGaAs array 900-1700", 900.0, 1700.0, 256, "pixel", (6.0, 14.0), 1.2, 0.0015,
           0.0010, 4.0, 5.0, 40.0, "reflectance", 0.18),
    Preset("InGaAs array 950-1650", 950.0, 1650.0, 128, "pixel", (9.0, 18.0), 1.5, 0.002,
           0.0010, 3.0, 4.0, 35.0, "reflectance", 0.16),
    Preset("line camera 1000-2500", 955.0, 2500.0, 256, "nm", (8.0, 16.0), 1.5, 0.0015,
           0.0030, 4.0, 4.0, 120.0, "reflectance", 0.12),
    Preset("laboratory 350-2500", 350.0, 2500.0, 2151, "nm", (3.0, 11.0), 0.5, 0.0004,
           0.0005, 6.0, 5.0, 150.0, "reflectance", 0.12),
    Preset("FT-NIR 10900-4000 cm-1", 917.4, 2500.0, 863, "cm1", (3.0, 6.0), 0.3, 0.0003,
           0.0003, 8.0, 3.0, 90.0, "absorbance", 0.08),
)  # fmt: skip


def grid_of(preset: Preset) -> Floats:
    """The preset's wavelengths, shape (L,), nm, ascending, as its files state them."""
    if preset.even_in == "cm1":
        return (1e7 / np.linspace(1e7 / preset.start_nm, 1e7 / preset.stop_nm, preset.points)).round(4)
    place = np.linspace(0.0, 1.0, preset.points)
    if preset.even_in == "pixel":
        place = place + 0.05 * place * (1.0 - place)  # steps shrink by 10 % along a grating's arc
    return (preset.start_nm + (preset.stop_nm - preset.start_nm) * place).round(3)


@dataclass(frozen=True, slots=True)
class Unit:
    """One instrument as it stands on one table: what all its scans have in common."""

    preset: Preset
    shift_nm: float
    stretch: float
    resolution_nm: float
    stray: float
    gain: float
    tilt: float  # of log gain over the range: lamp and white reference have aged
    ripple: Floats  # (3,) amplitude, period in nm, phase of the interference left in the reference


def drawn_unit(preset: Preset, rng: np.random.Generator) -> Unit:
    return Unit(
        preset=preset,
        shift_nm=float(np.clip(rng.normal(0.0, preset.shift_nm), -3.0, 3.0)),
        stretch=float(rng.normal(0.0, preset.stretch)),
        resolution_nm=float(rng.uniform(*preset.resolution_nm)),
        stray=float(rng.exponential(0.006)),
        gain=float(np.exp(rng.normal(0.0, 0.05))),
        tilt=float(rng.normal(0.0, 0.02)),
        ripple=np.array([rng.exponential(0.0008), rng.uniform(25.0, 110.0), rng.uniform(0.0, 2 * np.pi)]),
    )


def blurred(reflectance: Floats, *, resolution_nm: float) -> Floats:
    """A Gaussian slit of that full width at half height, over `INNER_NM`; ends are held."""
    steps = resolution_nm / 2.355 / INNER_STEP_NM
    reach = int(np.ceil(4 * steps))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / steps) ** 2)
    padded = np.pad(reflectance, reach, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def noise_shape(preset: Preset, wavelength_nm: Floats) -> Floats:
    """Standard deviation of reflectance, shape (L,): lowest in the middle, rising to both ends of the detector."""
    inside = np.clip(wavelength_nm, preset.start_nm, preset.stop_nm)
    blue = np.exp(-(inside - preset.start_nm) / preset.edge_nm)
    red = np.exp((inside - preset.stop_nm) / preset.edge_nm)
    return preset.noise * (1.0 + (preset.blue_rise - 1.0) * blue + (preset.red_rise - 1.0) * red)


def measured(
    reflectance: Floats, unit: Unit, wavelength_nm: Floats, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Absorbance that `unit` would report at `wavelength_nm`, shape (L,), of a reflectance over `INNER_NM`."""
    middle = 0.5 * (unit.preset.start_nm + unit.preset.stop_nm)
    true_nm = wavelength_nm + unit.shift_nm + unit.stretch * (wavelength_nm - middle)
    seen = np.interp(true_nm, INNER_NM, blurred(reflectance, resolution_nm=unit.resolution_nm))
    along = (wavelength_nm - middle) / (unit.preset.stop_nm - unit.preset.start_nm)
    amplitude, period, phase = unit.ripple
    response = (
        unit.gain
        * np.exp(unit.tilt * along)
        * (1.0 + amplitude * np.sin(2 * np.pi * wavelength_nm / period + phase))
    )
    seen = (seen + unit.stray) / (1.0 + unit.stray) * response
    shape = noise_shape(unit.preset, wavelength_nm)
    white = rng.normal(size=len(shape))
    # A third of a detector's noise is common to its neighbours: crosstalk, multiplexing, the maker's smoothing.
    noise = 0.8 * white + 0.35 * (np.roll(white, 1) + np.roll(white, -1))
    quality = np.exp(rng.normal(0.0, 0.5))  # averaging time
    seen = seen + quality * shape * noise
    return (-np.log10(np.maximum(seen, FLOOR))).astype(np.float32)
