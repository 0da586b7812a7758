"""Light in cloth: Kubelka-Munk with scatter per mass, finite layers over a backing, the surface's own shine.

Arrays are over wavelength, shape (L,), in nm; K and S in m2/kg, basis weight in kg/m2.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REFERENCE_NM = 1300.0  # scatter is stated here


def absorption_per_mass(coefficient_per_mm: Floats, *, density: float) -> Floats:
    """K from a base-10 coefficient of the solid: twice the collimated one, as light runs at all angles."""
    # 1 mm of solid weighs `density` kg/m2.
    return 2.0 * np.log(10.0) * coefficient_per_mm / density


def scatter_per_mass(wavelength_nm: Floats, *, level: float, slope: float) -> Floats:
    """S. Fibres of 10-30 um scatter alike at all wavelengths (slope 0-0.6), TiO2 does not (1-2)."""
    return level * (wavelength_nm / REFERENCE_NM) ** -slope


def layer_reflectance(absorption: Floats, scatter: Floats, *, weight: float, backing: Floats) -> Floats:
    """Reflectance of a layer over `backing`, which shines through a thin one."""
    ratio = 1.0 + absorption / scatter  # a of Kubelka and Munk
    root = np.sqrt(np.maximum(ratio * ratio - 1.0, 1e-12))  # b
    # coth(x) is 1 to fifteen digits from x = 17 on; clipping keeps sinh and cosh finite.
    cotangent = root / np.tanh(np.clip(root * scatter * weight, 1e-9, 40.0))
    return (1.0 - backing * (ratio - cotangent)) / (ratio - backing + cotangent)


def with_surface(reflectance: Floats, *, shine: float) -> Floats:
    """Add light that the outer surface sent back without letting it in, `shine` of all that falls on it."""
    return shine + (1.0 - shine) * reflectance
