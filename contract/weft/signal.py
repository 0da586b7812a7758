"""How much of a spectrum is signal: its bands against its noise, and how much light came back at all."""

from typing import Final

import numpy as np

from weft.spectra import Scan

# Measured on 162 scans of 30 swatches: 3.4 and more for fabrics, 1.2 to 2.3 for a bare tile.
LEAST_SIGNAL: Final = 3.0
DARK: Final = 0.1  # reflectance; half of the swatches' scans under it had bands less than 7 times the noise
_POINTS: Final = 12  # of which a noise can be told


def signal_to_noise(scan: Scan, *, from_nm: float, to_nm: float, step_nm: float) -> float | None:
    """Spread of the absorbance about a straight line, over the noise that is left on a grid of `step_nm`.

    The noise is read off third differences, which see next to nothing of bands. None for too few points.
    """
    inside = (scan.wavelength_nm >= from_nm) & (scan.wavelength_nm <= to_nm)
    nm, absorbance = scan.wavelength_nm[inside], scan.absorbance[inside].astype(np.float64)
    if len(nm) < _POINTS:
        return None
    # A finer scan is averaged on its way to the grid, and its noise with it.
    averaged = min(1.0, float(np.median(np.diff(nm))) / step_nm) ** 0.5
    noise = float(np.sqrt(np.square(np.diff(absorbance, n=3)).mean() / 20.0)) * averaged
    line = np.polyfit(nm - nm.mean(), absorbance, 1)
    spread = float((absorbance - np.polyval(line, nm - nm.mean())).std())
    if spread < 1e-6:  # without bands, whatever the noise
        return 0.0
    return spread / max(noise, 1e-9)


def signal_doubts(scan: Scan, *, from_nm: float, to_nm: float, step_nm: float) -> list[str]:
    """What a user must know of a scan with little signal, in words; empty for a good one."""
    inside = (scan.wavelength_nm >= from_nm) & (scan.wavelength_nm <= to_nm)
    if not inside.any():
        return []
    light = float(10.0 ** -np.median(scan.absorbance[inside]))
    ratio = signal_to_noise(scan, from_nm=from_nm, to_nm=to_nm, step_nm=step_nm)
    if ratio is not None and ratio < LEAST_SIGNAL:
        return [
            f"little signal: the bands are {ratio:.1f} times the noise, {LEAST_SIGNAL:g} are needed "
            f"({light:.0%} of the light comes back); scan longer, closer, or several layers"
        ]
    if light < DARK:
        return [
            f"dark: {light:.0%} of the light comes back and dye may hide the bands; scan a lighter place, "
            "longer, or several layers"
        ]
    return []
