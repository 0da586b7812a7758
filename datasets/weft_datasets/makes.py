"""One make of a fibre or plastic, drawn about the table of `absorption`: no two garments absorb quite alike.

The spread holds two things that cannot be told apart here: how unlike makes of one fibre are, and how far the
table may be wrong. A net that is right over all of it does not lean on one band.
"""

from dataclasses import dataclass, replace

import numpy as np

from weft_datasets.absorption import Material


@dataclass(frozen=True, slots=True)
class Spread:
    """How far one garment's bands may lie from the table: sources that differ, unlike makes of a fibre."""

    shift_cm1: float = (
        8.0  # of a band at 6000 cm-1, standard deviation: 2.2 nm; the next overtone's is half more
    )
    width: float = 0.10  # of one band, natural logarithm
    strength: float = 0.35  # of one band, natural logarithm
    scale: float = 0.15  # of all bands together
    pedestal: float = 0.12  # of the strongest band of each region: weak combinations that nobody lists


# Where the overtones crowd, nm: each region stands on a broad, low hump of bands that are too many to name.
_REGIONS_NM = ((1100.0, 1260.0), (1340.0, 1480.0), (1500.0, 1800.0), (1900.0, 2500.0))


def drawn(rows: Material, rng: np.random.Generator, *, spread: Spread, warming_k: float = 0.0) -> Material:
    """One make of a material; `warming_k` kelvin above 20 C loosen the hydrogen bonds of O-H and N-H."""
    rows = _with_pedestals(rows, rng, size=spread.pedestal)
    count = len(rows.centre_cm1)
    scale = np.exp(rng.normal(0.0, spread.scale))
    # What moves a bond's fundamental moves its overtones by as many times as they are of it.
    shift = spread.shift_cm1 * rows.centre_cm1 / 6000.0
    # O-H and N-H of water and alcohols move up by about 1 cm-1 a kelvin [H]; in fibres taken at half of it.
    bonds = np.where(rows.bonded, 0.5 * warming_k + rng.normal(0.0, spread.shift_cm1), 0.0)
    return Material(
        name=rows.name,
        centre_cm1=rows.centre_cm1 + bonds + shift * rng.normal(size=count),
        width_cm1=rows.width_cm1 * np.exp(rng.normal(0.0, spread.width, count)),
        strength=rows.strength * scale * np.exp(rng.normal(0.0, spread.strength, count)),
        bonded=rows.bonded,
        density=rows.density,
        regain=rows.regain,
    )


def _with_pedestals(rows: Material, rng: np.random.Generator, *, size: float) -> Material:
    """Add one broad band a region, drawn for one make."""
    if size == 0.0:
        return rows
    nm = 1e7 / rows.centre_cm1
    inside = [rows.strength[(low <= nm) & (nm <= high)] for low, high in _REGIONS_NM]
    strongest = np.array([float(found.max()) if len(found) else 0.0 for found in inside])
    centre = np.array([rng.uniform(low, high) for low, high in _REGIONS_NM])
    return replace(
        rows,
        centre_cm1=np.append(rows.centre_cm1, 1e7 / centre),
        width_cm1=np.append(rows.width_cm1, rng.uniform(450.0, 1000.0, len(centre))),
        strength=np.append(rows.strength, strongest * rng.exponential(size, len(centre)) + 1e-6),
        bonded=np.append(rows.bonded, np.zeros(len(centre), bool)),
    )
