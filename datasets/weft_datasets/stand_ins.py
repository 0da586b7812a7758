"""Stand-in instruments: what another maker's would have recorded of the very things that were scanned here.

`STAND_INS` is a frozen set. It was written before any model was tuned on it, carries a version in its name,
and a test pins its digest: a model that fails on it is to be mended, never the set. `EFFECTS` are the same
errors one at a time, at growing strength. Nothing here is shared with the simulator that models are trained
on (`instruments`), nor with `augment`: a model is not to be judged by the very code that taught it.

Letters: L wavelengths of a scan, I of the inner grid.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.spectra import FLOOR, Quantity, Scan, make_scan
from weft_datasets.manifest import Manifest

VERSION: Final = "stand-ins-1"
Floats = NDArray[np.float64]

_INNER_STEP_NM: Final = 1.0
_MIDDLE_NM: Final = 1300.0  # what the axis is stretched about, and where slopes are 0
_HALF_NM: Final = 350.0  # from the middle to either end of 950-1650 nm: slopes and curves are stated there
_TO_SIGMA: Final = 2.0 * np.sqrt(2.0 * np.log(2.0))  # a Gaussian's full width at half height
_SPLICE_NM: Final = 1000.0  # where a laboratory spectrometer goes from its silicon to its InGaAs detector
_EDGE_NM: Final = 1650.0  # from where a handheld's own response shows


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """One unit of an instrument. Errors are those left after its own white and dark reference."""

    name: str
    from_nm: float = 901.0
    to_nm: float = 1700.0
    step_nm: float = 3.5  # at the short end; even in what `even_in` says
    even_in: Literal["nm", "cm1", "pixel"] = "nm"
    quantity: Quantity = "absorbance"
    descending: bool = False
    shift_nm: float = 0.0  # what it calls 1300 nm lies this much further to the red
    stretch: float = 0.0  # relative, about 1300 nm
    broader_nm: float = 0.0  # full width of the slit on top of the scan's own; below 0: sharpened by so much
    stray: float = 0.0  # share of the full light that reaches the detector without meeting the sample
    dark: float = 0.0  # reflectance that a drifted dark level adds
    gain: float = 1.0  # of reflectance: distance, white tile
    scan_gain: float = 0.0  # standard deviation of its logarithm from scan to scan
    offset: float = 0.0  # absorbance
    slope: float = 0.0  # absorbance, from the middle to 1650 nm
    curve: float = 0.0  # absorbance, at 950 and 1650 nm against the middle
    baseline: float = (
        0.0  # standard deviation, absorbance, of a smooth curve some 120 nm long: white tile, optics
    )
    scan_slope: float = 0.0  # standard deviation from scan to scan, absorbance
    ripple: float = 0.0  # amplitude, absorbance, of fringes every 25 nm
    edge: float = 0.0  # amplitude, absorbance, of the wiggle beyond 1650 nm
    splice: float = 0.0  # absorbance, the step between two detectors at 1000 nm
    noise: float = 0.0  # standard deviation of reflectance, in the middle of the range


STAND_INS: Final = (
    # A second unit of the same handheld: another calibration of the mirror array, another detector edge.
    StandIn(name="second handheld, +2 nm", from_nm=900.9, step_nm=3.95, even_in="pixel", shift_nm=2.0,
            stretch=0.001, broader_nm=2.0, gain=1.08, offset=0.01, baseline=0.004, scan_gain=0.05, edge=0.02,
            noise=0.0004),
    StandIn(name="second handheld, -2 nm", from_nm=902.3, step_nm=3.95, even_in="pixel", shift_nm=-2.0,
            stretch=-0.001, gain=0.93, slope=0.01, baseline=0.004, scan_gain=0.05, edge=-0.03, noise=0.0006),
    StandIn(name="second handheld, +4 nm, warm", from_nm=899.4, step_nm=3.95, even_in="pixel", shift_nm=4.0,
            stretch=0.002, broader_nm=4.0, gain=1.15, slope=-0.02, baseline=0.006, scan_gain=0.08, edge=0.06,
            noise=0.001),
    StandIn(name="second handheld, -4 nm, warm", from_nm=904.1, step_nm=3.95, even_in="pixel", shift_nm=-4.0,
            stretch=-0.002, gain=0.88, slope=0.02, curve=0.01, baseline=0.006, scan_gain=0.08, edge=-0.06,
            noise=0.001),
    # Laboratory, reflectance, 1 nm: sharper or about as sharp, two detectors, a contact probe's gloss.
    StandIn(name="laboratory, contact probe", from_nm=350.0, to_nm=2500.0, step_nm=1.0,
            quantity="reflectance", shift_nm=0.5, stray=0.02, gain=0.9, scan_gain=0.05, slope=0.03,
            curve=-0.02, baseline=0.008, splice=0.02, noise=0.0004),
    StandIn(name="laboratory, sphere", from_nm=350.0, to_nm=2500.0, step_nm=1.0,
            quantity="reflectance_percent", shift_nm=-1.0, broader_nm=-5.0, gain=1.2, offset=-0.03,
            slope=-0.04, curve=0.02, baseline=0.01, splice=-0.03, noise=0.0003),
    StandIn(name="laboratory, sphere, 5 nm", from_nm=350.0, to_nm=2500.0, step_nm=5.0, quantity="reflectance",
            descending=True, shift_nm=1.0, broader_nm=6.0, gain=0.8, slope=0.05, curve=0.03, baseline=0.012,
            splice=0.04, noise=0.0008),
    # InGaAs arrays that end at 1650 nm: coarser, noisier, stray light of a grating.
    StandIn(name="InGaAs array to 1650, 256 pixels", from_nm=900.0, to_nm=1650.0, step_nm=3.1,
            even_in="pixel", quantity="reflectance", shift_nm=1.5, stretch=0.002, broader_nm=6.0, stray=0.015,
            scan_gain=0.1, slope=0.03, baseline=0.008, ripple=0.001, noise=0.001),
    StandIn(name="InGaAs array to 1650, 128 pixels", from_nm=950.0, to_nm=1650.0, step_nm=5.8,
            even_in="pixel", quantity="reflectance", shift_nm=-2.0, stretch=-0.003, broader_nm=12.0,
            stray=0.03, dark=0.005, scan_gain=0.1, slope=-0.04, curve=0.02, baseline=0.01, ripple=0.002,
            noise=0.0015),
    StandIn(name="linear variable filter, 125 points", from_nm=908.0, to_nm=1676.0, step_nm=6.2,
            quantity="reflectance", shift_nm=1.0, broader_nm=16.0, stray=0.01, gain=1.1, scan_gain=0.1,
            slope=0.02, curve=-0.02, baseline=0.008, noise=0.0008),
    # Others that a line or a laboratory may have.
    StandIn(name="line camera 900-1700", from_nm=900.0, to_nm=1700.0, step_nm=3.6, quantity="reflectance",
            shift_nm=-1.5, stretch=0.003, broader_nm=8.0, stray=0.02, dark=-0.005, gain=0.7, scan_gain=0.2,
            scan_slope=0.03, slope=0.05, baseline=0.012, noise=0.003),
    StandIn(name="FT-NIR, 16 per cm", from_nm=910.0, to_nm=1700.0, step_nm=0.66, even_in="cm1",
            quantity="absorbance", descending=True, shift_nm=0.0, broader_nm=-6.0, offset=0.1, slope=-0.05,
            curve=0.03, baseline=0.01, noise=0.0005),
)  # fmt: skip

# One error at a time, at growing strength; signed ones are tried both ways.
EFFECTS: Final[Mapping[str, tuple[float, ...]]] = {
    "shift_nm": (1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
    "stretch": (0.002, 0.004, 0.006, 0.01, 0.015, 0.02),
    "broader_nm": (4.0, 8.0, 12.0, 16.0, 24.0, 32.0),
    "sharper_nm": (2.0, 4.0, 6.0, 8.0),
    "step_nm": (1.0, 6.0, 8.0, 10.0, 12.0, 16.0),
    "offset": (0.02, 0.05, 0.1, 0.2, 0.4),
    "slope": (0.02, 0.05, 0.1, 0.15, 0.2),
    "curve": (0.01, 0.02, 0.05, 0.1, 0.15),
    "baseline": (0.002, 0.005, 0.01, 0.02, 0.03),
    "gain": (0.5, 0.7, 0.85, 1.2, 1.5),
    "stray": (0.01, 0.02, 0.05, 0.1, 0.2),
    "dark": (0.005, 0.01, 0.02, 0.04),
    "ripple": (0.0005, 0.001, 0.002, 0.004),
    "edge": (0.02, 0.05, 0.1, 0.2),
    "splice": (0.01, 0.02, 0.05, 0.1),
    "noise": (0.0005, 0.001, 0.002, 0.004, 0.008),
    "to_nm": (1690.0, 1675.0, 1660.0, 1650.0, 1640.0, 1620.0),
    "from_nm": (920.0, 950.0, 975.0, 1000.0, 1025.0),
}
SIGNED: Final = frozenset({"shift_nm", "stretch", "offset", "slope", "curve", "dark", "edge", "splice"})


def digest() -> str:
    """sha256 over every number of the frozen set and of the effects."""
    plain = {
        "version": VERSION,
        "stand_ins": [asdict(item) for item in STAND_INS],
        "effects": EFFECTS,
        "signed": sorted(SIGNED),
    }
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def with_effect(effect: str, strength: float) -> tuple[StandIn, ...]:
    """The instruments that have this one error at this strength: two where it has a sign.

    Raises:
        KeyError: No such effect; `EFFECTS` has their names.
    """
    if effect not in EFFECTS:
        raise KeyError(effect)
    plain = StandIn(name=f"{effect} {strength:g}")
    if effect == "sharper_nm":
        return (replace(plain, broader_nm=-strength),)
    signs = (1.0, -1.0) if effect in SIGNED else (1.0,)
    return tuple(replace(plain, **{effect: sign * strength}) for sign in signs)


def grid_of(unit: StandIn) -> Floats:
    """The unit's wavelengths as its files state them, shape (L,), nm, ascending."""
    if unit.even_in == "cm1":
        step = 1e7 / unit.from_nm - 1e7 / (unit.from_nm + unit.step_nm)
        return 1e7 / np.arange(1e7 / unit.from_nm, 1e7 / unit.to_nm, -step)
    if unit.even_in == "nm":
        return np.arange(unit.from_nm, unit.to_nm + 1e-6, unit.step_nm)
    # A grating's or mirror array's dispersion: the step shrinks by a quarter towards the red.
    mean = 0.875 * unit.step_nm
    place = np.linspace(0.0, 1.0, round((unit.to_nm - unit.from_nm) / mean) + 1)
    return unit.from_nm + (unit.to_nm - unit.from_nm) * (place + 0.125 * place * (1.0 - place))


def recorded(wavelength_nm: Floats, absorbance: NDArray[np.floating], unit: StandIn, *, key: str) -> Scan:
    """What `unit` would have recorded of the thing whose scan this is, as its file would be read.

    Beyond the scan's ends its last values are held: there is no telling what was there.

    Args:
        wavelength_nm: (L,) ascending.
        absorbance: (L,).
        key: Name of the capture; with the unit's name it fixes what differs from scan to scan.
    """
    of_unit = _generator(unit.name)
    of_scan = _generator(f"{unit.name}/{key}")
    inner = np.arange(wavelength_nm[0], wavelength_nm[-1] + 1e-6, _INNER_STEP_NM)  # (I,)
    seen = 10.0 ** -np.interp(inner, wavelength_nm, np.asarray(absorbance, float))
    seen = _through_slit(seen, broader_nm=unit.broader_nm)
    stated = grid_of(unit)
    true = stated + unit.shift_nm + unit.stretch * (stated - _MIDDLE_NM)
    seen = np.interp(true, inner, seen)  # (L',)
    along = (stated - _MIDDLE_NM) / _HALF_NM
    # Stray light is what the grating scatters of the whole lamp: a little more of it where the lamp is weak.
    stray = unit.stray * (1.0 + 0.3 * np.clip(along, -1.5, 1.5))
    seen = (seen + stray) / (1.0 + stray) + unit.dark
    added = unit.offset + (unit.slope + of_scan.normal(0.0, 1.0) * unit.scan_slope) * along
    added = (
        added + unit.curve * np.clip(along, -2.0, 2.0) ** 2 + unit.baseline * _smooth_curve(stated, of_unit)
    )
    added = added + unit.ripple * np.sin(2 * np.pi * stated / 25.0 + of_unit.uniform(0, 2 * np.pi))
    beyond = np.clip(stated - _EDGE_NM, 0.0, 50.0)
    added = added + unit.edge * np.sin(beyond / 50.0 * 2 * np.pi) - unit.splice * (stated < _SPLICE_NM)
    gain = unit.gain * np.exp(of_scan.normal(0.0, 1.0) * unit.scan_gain)
    seen = gain * seen * 10.0**-added
    # Detectors grow noisy to both ends.
    shape = 1.0 + 3.0 * np.exp((stated[0] - stated) / 30.0) + 3.0 * np.exp((stated - stated[-1]) / 30.0)
    seen = seen + unit.noise * shape * of_scan.normal(size=len(stated))
    return _filed(stated, seen, unit)


def as_recorded_by(manifest: Manifest, unit: StandIn) -> Manifest:
    """The same captures as `unit` would have recorded them; names of captures and subjects stay."""
    frame = manifest.frame.copy()
    scans = [
        recorded(np.asarray(nm, float), np.asarray(values, float), unit, key=str(capture))
        for nm, values, capture in zip(
            frame["wavelength_nm"], frame["absorbance"], frame["capture"], strict=True
        )
    ]
    frame["wavelength_nm"] = pd.Series([scan.wavelength_nm for scan in scans], index=frame.index)
    frame["absorbance"] = pd.Series([scan.absorbance for scan in scans], index=frame.index)
    frame["instrument"] = f"stand-in: {unit.name}"
    frame["quantity"] = unit.quantity
    notes = dict(manifest.notes) | {"stand_ins": VERSION}
    return replace(manifest, frame=frame, name=f"{manifest.name} on {unit.name}", notes=notes)


def _filed(nm: Floats, reflectance: Floats, unit: StandIn) -> Scan:
    """As the unit's file states it, read by the same door as a user's."""
    held = np.maximum(reflectance, FLOOR)
    values = -np.log10(held) if unit.quantity == "absorbance" else held
    if unit.quantity == "reflectance_percent":
        values = 100.0 * held
    order = slice(None, None, -1) if unit.descending else slice(None)
    axis = {"wavenumber_cm1": 1e7 / nm[order]} if unit.even_in == "cm1" else {"wavelength_nm": nm[order]}
    return make_scan(
        values=values[order], quantity=unit.quantity, instrument=f"stand-in: {unit.name}", **axis
    )


def _through_slit(reflectance: Floats, *, broader_nm: float) -> Floats:
    """A Gaussian slit of that full width on top of the scan's own; below 0 the heat equation backwards."""
    sigma = abs(broader_nm) / _TO_SIGMA / _INNER_STEP_NM
    if sigma < 0.2:
        return reflectance
    reach = int(np.ceil(4 * sigma)) + 1
    place = np.arange(-reach, reach + 1)
    kernel: Floats = np.exp(-0.5 * (place / sigma) ** 2)
    padded: Floats = np.pad(reflectance, reach, mode="reflect", reflect_type="odd")
    blurred = np.asarray(np.convolve(padded, kernel / kernel.sum(), mode="valid"), np.float64)
    # What a narrower slit would show is, to first order, as much more as a wider one shows less.
    return blurred if broader_nm > 0 else 2.0 * reflectance - blurred


def _smooth_curve(nm: Floats, rng: np.random.Generator) -> Floats:
    """Six cosines that vary over some 120 nm and more, standard deviation 1."""
    per_nm = rng.normal(0.0, 1.0 / 120.0, 6)
    phase = rng.uniform(0.0, 2 * np.pi, 6)
    return np.sqrt(2.0 / 6.0) * np.cos(nm[:, None] * per_nm + phase).sum(axis=1)


def _generator(key: str) -> np.random.Generator:
    """Numbers that depend on the names alone, not on the order in which anything is asked."""
    words = hashlib.sha256(f"{VERSION}/{key}".encode()).digest()
    return np.random.default_rng(int.from_bytes(words[:8], "little"))
