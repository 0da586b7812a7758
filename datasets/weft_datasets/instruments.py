"""What an instrument does to a reflectance: grid, resolution, axis error, stray light, baseline and noise.

Presets are kinds of instruments, not makers' models; each unit draws its errors from its preset's spread.
Measured on real scans, as noise and instrument effects only: the handheld's noise (0.00015 of full scale in
the middle, 4 and 6 times that at its ends), its fixed ripple and in dark scans an additive one (0.0002 of
full scale), the step near its detector's cut-off at 1660 nm, and that a plastics instrument adds a smooth
baseline some 150 nm wide and sees lines of 20 nm and more.
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


# Wavelength errors are as far as units of one type are apart in the field, not as a data sheet promises;
# widths reach to the interferometers and filters on a chip, whose lines are 20 nm wide and more.
PRESETS: tuple[Preset, ...] = (
    Preset("handheld mirror array 900-1700", 901.0, 1701.0, 228, "pixel", (8.0, 16.0), 1.8, 0.0020,
           0.0003, 4.0, 6.0, 30.0, "absorbance", 0.30),
    Preset("InGaAs array 900-1700", 900.0, 1700.0, 256, "pixel", (6.0, 16.0), 1.8, 0.0020,
           0.0006, 4.0, 6.0, 35.0, "reflectance", 0.16),
    Preset("InGaAs array 950-1650", 950.0, 1650.0, 128, "pixel", (9.0, 22.0), 2.0, 0.0025,
           0.0008, 3.0, 4.0, 35.0, "reflectance", 0.15),
    Preset("line camera 955-2500", 955.0, 2500.0, 256, "nm", (8.0, 18.0), 1.8, 0.0020,
           0.0020, 4.0, 4.0, 120.0, "reflectance", 0.11),
    Preset("laboratory 350-2500", 350.0, 2500.0, 2151, "nm", (3.0, 11.0), 0.6, 0.0004,
           0.0003, 6.0, 5.0, 150.0, "reflectance", 0.11),
    Preset("FT-NIR 10900-4000 cm-1", 917.4, 2500.0, 863, "cm1", (3.0, 6.0), 0.3, 0.0003,
           0.0003, 8.0, 3.0, 90.0, "absorbance", 0.07),
    Preset("sensor on a chip 1000-1900", 1000.0, 1900.0, 226, "nm", (14.0, 28.0), 2.0, 0.0025,
           0.0010, 3.0, 3.0, 50.0, "reflectance", 0.10),
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
class Wave:
    """A smooth random curve: a sum of cosines whose frequencies make it vary over `length_nm`."""

    size: float  # standard deviation
    per_nm: Floats  # (8,) radians per nm
    phase: Floats  # (8,)

    def at(self, wavelength_nm: Floats) -> Floats:
        angle = wavelength_nm[:, None] * self.per_nm + self.phase  # (L, 8)
        return self.size * np.sqrt(2.0 / len(self.phase)) * np.cos(angle).sum(axis=1)


def drawn_wave(rng: np.random.Generator, *, size: float, length_nm: float) -> Wave:
    return Wave(size, rng.normal(0.0, 1.0 / length_nm, 8), rng.uniform(0.0, 2 * np.pi, 8))


@dataclass(frozen=True, slots=True)
class Unit:
    """One instrument as it stands on one table: what all its scans have in common."""

    preset: Preset
    shift_nm: float
    stretch: float
    resolution_nm: float
    stray: float
    stray_colour: Wave
    gain: float
    tilt: float  # of log gain over the range: lamp and white reference have aged
    pattern: Wave  # of log gain: ripple that the white reference leaves
    dark: float  # reflectance that the dark level has drifted by
    dark_pattern: Wave  # reflectance: what the dark reference leaves; all that is left of a black garment
    baseline: Wave  # of log gain: white tile, optics, angle of the lamps
    edge: float  # of log gain: the detector's cut-off has moved with its temperature since the reference
    edge_nm: float


def drawn_unit(preset: Preset, rng: np.random.Generator) -> Unit:
    return Unit(
        preset=preset,
        shift_nm=float(np.clip(rng.normal(0.0, preset.shift_nm), -5.0, 5.0)),
        stretch=float(rng.normal(0.0, preset.stretch)),
        resolution_nm=float(rng.uniform(*preset.resolution_nm)),
        stray=float(rng.exponential(0.005)),
        stray_colour=drawn_wave(rng, size=0.3, length_nm=rng.uniform(40.0, 150.0)),
        gain=float(np.exp(rng.normal(0.0, 0.05))),
        tilt=float(rng.normal(0.0, 0.03)),
        pattern=drawn_wave(rng, size=rng.exponential(0.002), length_nm=rng.uniform(4.0, 20.0)),
        dark=float(rng.normal(0.0, 0.0015)),
        dark_pattern=drawn_wave(rng, size=rng.exponential(0.0003), length_nm=rng.uniform(6.0, 20.0)),
        baseline=drawn_wave(rng, size=rng.exponential(0.02), length_nm=rng.uniform(60.0, 200.0)),
        edge=float(rng.normal(0.0, 0.15)),
        edge_nm=float(rng.uniform(25.0, 45.0)),
    )


def blurred(reflectance: Floats, *, resolution_nm: float) -> Floats:
    """A Gaussian slit of that full width at half height, over `INNER_NM`; ends are held."""
    steps = resolution_nm / 2.355 / INNER_STEP_NM
    reach = int(np.ceil(4 * steps))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / steps) ** 2)
    padded = np.pad(reflectance, reach, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def noise_shape(preset: Preset, wavelength_nm: Floats) -> Floats:
    """Standard deviation of reflectance, shape (L,): rising to both ends of the detector."""
    inside = np.clip(wavelength_nm, preset.start_nm, preset.stop_nm)
    blue = np.exp(-(inside - preset.start_nm) / preset.edge_nm)
    red = np.exp((inside - preset.stop_nm) / preset.edge_nm)
    return preset.noise * (1.0 + (preset.blue_rise - 1.0) * blue + (preset.red_rise - 1.0) * red)


def response(unit: Unit, wavelength_nm: Floats, rng: np.random.Generator) -> Floats:
    """What a scan is multiplied by, shape (L,): the unit's own errors and this scan's distance and angle."""
    preset = unit.preset
    along = (wavelength_nm - 0.5 * (preset.start_nm + preset.stop_nm)) / (preset.stop_nm - preset.start_nm)
    log_gain = unit.gain - 1.0 + rng.normal(0.0, 0.08) + (unit.tilt + rng.normal(0.0, 0.02)) * along
    log_gain = log_gain + unit.pattern.at(wavelength_nm) + unit.baseline.at(wavelength_nm)
    log_gain += drawn_wave(rng, size=rng.exponential(0.006), length_nm=rng.uniform(60.0, 200.0)).at(
        wavelength_nm
    )
    log_gain += unit.edge / (1.0 + np.exp(-(wavelength_nm - preset.stop_nm + unit.edge_nm) / 4.0))
    return np.exp(log_gain)


def measured(
    reflectance: Floats, unit: Unit, wavelength_nm: Floats, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Absorbance that `unit` reports at `wavelength_nm`, shape (L,), of a reflectance over `INNER_NM`."""
    middle = 0.5 * (unit.preset.start_nm + unit.preset.stop_nm)
    true_nm = wavelength_nm + unit.shift_nm + unit.stretch * (wavelength_nm - middle)
    seen = np.interp(true_nm, INNER_NM, blurred(reflectance, resolution_nm=unit.resolution_nm))
    stray = unit.stray * np.maximum(1.0 + unit.stray_colour.at(wavelength_nm), 0.0)
    seen = (seen + stray) / (1.0 + stray) * response(unit, wavelength_nm, rng)
    seen = seen + unit.dark + unit.dark_pattern.at(wavelength_nm)
    shape = noise_shape(unit.preset, wavelength_nm)
    white = rng.normal(size=len(shape))
    # Part of a detector's noise is common to neighbours: crosstalk, multiplexing, the maker's smoothing.
    noise = 0.8 * white + 0.35 * (np.roll(white, 1) + np.roll(white, -1))
    seen = seen + np.exp(rng.normal(0.0, 0.7)) * shape * noise  # the factor: averaging time
    return (-np.log10(np.maximum(seen, FLOOR))).astype(np.float32)
