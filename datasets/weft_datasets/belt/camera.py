"""From reflectance to raw counts: a simulated NIR line camera with its lamp, detector, dark level and faults.

Noise as measured and set in `instruments`: its line camera's 0.0020 of a white sample in one scan is the shot
noise of some 3,000 counts at a hundred electrons each, and it grows towards the ends because there the lamp
and the detector leave fewer counts.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.line.description import NirCamera
from weft_datasets.absorption import Floats
from weft_datasets.instruments import Wave, drawn_wave

Counts = NDArray[np.uint16]
Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CameraHabits:
    """How cameras differ from unit to unit; standard deviations where nothing else is said."""

    shift_nm: float = 0.8  # of the whole axis
    stretch: float = 0.0010  # of the axis about its middle
    smile_nm: float = 0.6  # from the middle of the stripe to its ends
    resolution_nm: tuple[float, float] = (7.0, 10.0)
    white: tuple[float, float] = (0.70, 0.82)  # of full scale, the brightest band on the white tile
    falloff: float = 0.25  # of the light, from the middle of the belt to its edges
    pattern: float = 0.02  # of gain, element by element
    dark: tuple[float, float] = (0.02, 0.05)  # of full scale
    dark_pattern: float = 0.0015  # of full scale, element by element
    dark_drift: float = 0.0002  # of full scale since the reference: the additive pattern of real dark scans
    electrons: float = 400_000.0  # of a full pixel: 98 for each of 4,095 counts
    read: float = 170.0  # electrons
    bad: float = 4e-4  # share of dead or hot elements
    stray: float = 0.004
    lamp_drift: float = 0.008  # of log gain since the reference, slow
    lamp_tilt: float = 0.006  # of log gain from end to end: the lamp's temperature
    ripple: float = 0.002  # of log gain: ripple that the white reference leaves
    edge: float = 0.05  # of log gain: the detector's cut-off has moved since the reference


HABITS = CameraHabits()


class Levels(NamedTuple):
    dark: Pixels  # (W, L) counts
    span: Pixels  # (W, L) counts of the white tile above dark; NaN at bad elements


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera over one belt. W pixels across, L bands."""

    wavelength_nm: Floats  # (L,) as it states them
    true_nm: Floats  # (L,) what it sees in the middle of the stripe
    smile_nm: Pixels  # (W,) further away from that, by column
    resolution_nm: float
    full_scale: int
    gain: Pixels  # (W, L) counts above dark on a perfect white
    dark: Pixels  # (W, L) counts
    drifted: Pixels  # (L,) log gain that has come since the reference was taken
    swing: float  # of log gain with time
    dark_drift: Pixels  # (L,) counts
    bad: NDArray[np.int8]  # (W, L): 0 good, 1 dead, 2 hot
    stray: float
    habits: CameraHabits

    @property
    def counts_per_electron(self) -> float:
        return self.full_scale / self.habits.electrons

    def counts(
        self,
        reflectance: Pixels,
        columns: NDArray[np.intp],
        rng: np.random.Generator,
        *,
        seconds: float = 0.0,
    ) -> Counts:
        """Raw counts of P pixels, shape (P, L), each in its column (P,), `seconds` into the recording."""
        lamp = np.exp(self.drifted + np.float32(self.swing * np.sin(seconds / 40.0)))
        light = (reflectance + np.float32(self.stray)) * np.float32(1.0 / (1.0 + self.stray))
        light *= self.gain[columns]
        light *= lamp
        return self._exposed(light, columns, rng, drift=True)

    def white(self, rng: np.random.Generator, *, lines: int = 64) -> Counts:
        """The reference of a 99 % tile, shape (lines, W, L)."""
        return self._reference(np.float32(0.99), rng, lines)

    def dark_lines(self, rng: np.random.Generator, *, lines: int = 64) -> Counts:
        """The reference with the shutter closed, shape (lines, W, L)."""
        return self._reference(np.float32(0.0), rng, lines)

    def _reference(self, level: np.float32, rng: np.random.Generator, lines: int) -> Counts:
        columns = np.tile(np.arange(len(self.smile_nm)), lines)
        light = level * self.gain[columns]
        return self._exposed(light, columns, rng, drift=False).reshape(lines, *self.gain.shape)

    def _exposed(
        self, light: Pixels, columns: NDArray[np.intp], rng: np.random.Generator, *, drift: bool
    ) -> Counts:
        """Counts of that much light above dark: shot and read noise, rounding, full wells, bad elements."""
        each = np.float32(self.counts_per_electron)
        noise = np.sqrt(np.maximum(light, 0.0) * each + np.float32((self.habits.read * each) ** 2))
        noise *= rng.standard_normal(light.shape, np.float32)
        light = light + self.dark[columns]
        light += noise
        if drift:
            light += self.dark_drift
        np.rint(light, out=light)
        np.clip(light, 0, self.full_scale, out=light)
        out = light.astype(np.uint16)
        bad = self.bad[columns]
        if bad.any():
            out[bad == 1] = 3
            hot = bad == 2
            out[hot] = rng.integers(self.full_scale // 2, self.full_scale + 1, int(hot.sum()))
        return out

    def levels(self, rng: np.random.Generator, *, lines: int = 64) -> Levels:
        """References of that many lines, averaged."""
        white = self.white(rng, lines=lines).mean(axis=0, dtype=np.float32)
        dark = self.dark_lines(rng, lines=lines).mean(axis=0, dtype=np.float32)
        return Levels(dark, np.where(self.bad == 0, white - dark, np.float32(np.nan)))

    def measured(
        self,
        reflectance: Pixels,
        columns: NDArray[np.intp],
        rng: np.random.Generator,
        *,
        levels: Levels | None = None,
    ) -> Pixels:
        """Reflectance (P, L) as the line works it out, the white tile being 1; NaN at bad elements.

        Args:
            levels: References taken before; None: taken for this alone, which is slow.
        """
        dark, span = self.levels(rng) if levels is None else levels
        return (self.counts(reflectance, columns, rng) - dark[columns]) / span[columns]


def lamp_and_detector(wavelength_nm: Floats) -> Floats:
    """Counts along the axis, shape (L,), 1 at the best band: halogen light on InGaAs behind a grating."""
    halogen = wavelength_nm**-5.0 / np.expm1(1.4388e7 / (wavelength_nm * 2900.0)) * wavelength_nm
    rise = 1.0 / (1.0 + np.exp(-(wavelength_nm - 945.0) / 18.0))
    fall = 1.0 / (1.0 + np.exp((wavelength_nm - 1702.0) / 12.0))
    grating = np.exp(-0.5 * ((wavelength_nm - 1250.0) / 380.0) ** 2)
    found = halogen * rise * fall * grating
    return found / found.max()


def drawn_camera(rng: np.random.Generator, described: NirCamera, *, habits: CameraHabits = HABITS) -> Camera:
    """One unit of the described camera, with its own axis, light, dark level and bad elements."""
    nominal = np.array(described.wavelength_nm)
    across = np.linspace(-1.0, 1.0, described.pixels)
    middle = 0.5 * (nominal[0] + nominal[-1])
    axis = nominal + rng.normal(0.0, habits.shift_nm)
    axis = axis + rng.normal(0.0, habits.stretch) * (nominal - middle)
    shape = (described.pixels, len(nominal))
    full = float(described.full_scale)
    light = 1.0 - habits.falloff * (across - rng.normal(0.0, 0.1)) ** 2
    gain = rng.uniform(*habits.white) * full * light[:, None] * lamp_and_detector(axis)
    gain = gain * (1.0 + habits.pattern * rng.standard_normal(shape))
    dark = rng.uniform(*habits.dark) * full + habits.dark_pattern * full * rng.standard_normal(shape)
    bad = rng.choice(
        np.array([0, 1, 2], np.int8), shape, p=[1 - habits.bad, 0.6 * habits.bad, 0.4 * habits.bad]
    )
    return Camera(
        wavelength_nm=nominal,
        true_nm=axis,
        smile_nm=(rng.normal(0.0, habits.smile_nm) * across**2).astype(np.float32),
        resolution_nm=float(rng.uniform(*habits.resolution_nm)),
        full_scale=described.full_scale,
        gain=np.maximum(gain, 1.0).astype(np.float32),
        dark=np.maximum(dark, 4.0).astype(np.float32),
        drifted=_drifted(rng, nominal, habits),
        swing=float(rng.normal(0.0, 0.5 * habits.lamp_drift)),
        dark_drift=_at(rng, nominal, size=habits.dark_drift * full, length_nm=15.0),
        bad=bad,
        stray=float(rng.exponential(habits.stray)),
        habits=habits,
    )


def _drifted(rng: np.random.Generator, nominal: Floats, habits: CameraHabits) -> Pixels:
    along = (nominal - nominal.mean()) / (nominal[-1] - nominal[0])
    ripple = drawn_wave(rng, size=rng.exponential(habits.ripple), length_nm=rng.uniform(8.0, 40.0))
    found = rng.normal(0.0, habits.lamp_drift) + rng.normal(0.0, habits.lamp_tilt) * along
    found = found + ripple.at(nominal)
    # The step near the cut-off that real scans of one handheld showed at 1660 nm (`instruments`).
    found += rng.normal(0.0, habits.edge) / (1.0 + np.exp(-(nominal - 1690.0) / 6.0))
    return found.astype(np.float32)


def _at(rng: np.random.Generator, nominal: Floats, *, size: float, length_nm: float) -> Pixels:
    wave: Wave = drawn_wave(rng, size=size, length_nm=length_nm)
    return wave.at(nominal).astype(np.float32)
