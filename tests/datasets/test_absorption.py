"""The simulator's bands and those an explanation is held against are the same bands."""

from weft.bands import KNOWN_BANDS
from weft_datasets.absorption import FIBRE_MATERIALS


def test_every_known_band_of_a_fibre_is_in_the_simulators_table() -> None:
    for name, bands in KNOWN_BANDS.items():
        simulated_nm = 1e7 / FIBRE_MATERIALS[name].centre_cm1
        for band in bands:
            assert abs(simulated_nm - band.nm).min() <= 12, f"{name} {band.nm} nm"
