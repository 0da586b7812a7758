"""What a share was read from must lie where the model looks, and be told beside what is known."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from weft.bands import KNOWN_BANDS, known_bands
from weft.bundle import BUNDLED, load_bundle
from weft.errors import GridMismatchError, InputError
from weft.explain_drawing import draw_influence
from weft.explain_scan import explain_scan
from weft.fibres import fibre
from weft.identifier import Identifier
from weft.scans import read_scan_path
from weft.spectra import Scan, make_scan

EXAMPLE = Path("serving/weft_serving/pages/static/example-scan.csv")


def high_at(*peaks_nm: float, step_nm: float = 5.0, noise: float = 0.0) -> Scan:
    nm = np.arange(900.0, 1700.0 + step_nm / 2, step_nm)
    values = sum(np.exp(-(((nm - peak) / 30) ** 2)) for peak in peaks_nm)
    return make_scan(
        values=0.1 + values + np.random.default_rng(0).normal(0, noise, len(nm)),
        quantity="absorbance",
        wavelength_nm=nm,
    )


@pytest.fixture
def identifier(tiny_fibre_bundle: Path) -> Identifier:
    """cotton, wool, polyester and nylon are read around 1000, 1200, 1400 and 1600 nm."""
    return Identifier(load_bundle(tiny_fibre_bundle))


@pytest.mark.parametrize(("fibre_name", "peak_nm"), [("wool", 1200), ("polyester", 1400)])
def test_the_share_was_read_where_the_model_looks(
    identifier: Identifier, fibre_name: str, peak_nm: float
) -> None:
    found = explain_scan(identifier, high_at(peak_nm))

    assert found.fibre == fibre_name
    assert found.peaks[0].nm == pytest.approx(peak_nm, abs=25)
    near = np.abs(found.wavelength_nm - peak_nm) < 60
    assert found.log_odds[near].mean() > 5 * np.abs(found.log_odds[~near]).mean()
    assert found.points[near].max() > 1


def test_a_fibre_that_is_asked_for_is_explained_and_a_band_of_another_speaks_against_it(
    identifier: Identifier,
) -> None:
    found = explain_scan(identifier, high_at(1200, 1600), "wool")

    at_1600 = found.log_odds[np.abs(found.wavelength_nm - 1600) < 30].mean()
    assert found.fibre == "wool"
    assert at_1600 < 0 < found.log_odds[np.abs(found.wavelength_nm - 1200) < 30].mean()
    with pytest.raises(InputError, match="does not know 'linen'; it knows cotton, wool"):
        explain_scan(identifier, high_at(1200), "linen")


def test_a_spectrum_without_a_band_was_read_from_nothing(identifier: Identifier) -> None:
    found = explain_scan(identifier, high_at())

    assert np.abs(found.log_odds).max() < 1e-3


def test_a_scan_that_does_not_reach_far_enough_is_refused(identifier: Identifier) -> None:
    nm = np.arange(1000.0, 1500.0, 5.0)
    short = make_scan(values=np.ones(len(nm)), quantity="absorbance", wavelength_nm=nm)

    with pytest.raises(GridMismatchError, match="bundle needs 950-1650 nm"):
        explain_scan(identifier, short)


def test_the_same_scan_is_explained_the_same_way_on_coarse_and_fine_points(identifier: Identifier) -> None:
    fine, again, coarse = (explain_scan(identifier, high_at(1400, step_nm=step)) for step in (1, 1, 12))

    assert (fine.log_odds == again.log_odds).all()
    assert np.corrcoef(fine.log_odds, coarse.log_odds)[0, 1] > 0.95


def test_the_picture_is_sound_and_names_the_known_bands(identifier: Identifier) -> None:
    scan = high_at(1200)
    found = explain_scan(identifier, scan)

    words = " ".join(ElementTree.fromstring(draw_influence(scan, found)).itertext())

    assert "wool" in words
    assert all(f"{band.nm:.0f} {band.bond}" in words for band in found.bands)
    assert found.bands == known_bands("wool", from_nm=950, to_nm=1650)


def test_every_table_of_bands_is_of_a_fibre_and_in_the_near_infrared() -> None:
    for name, bands in KNOWN_BANDS.items():
        assert fibre(name).name == name
        assert all(800 < band.nm < 2500 and band.bond and band.source for band in bands)
    assert known_bands("no such fibre", from_nm=900, to_nm=2500) == ()


def test_the_bundled_model_reads_the_example_beside_a_known_band_of_its_fibre() -> None:
    scan = read_scan_path(EXAMPLE)
    assert isinstance(scan, Scan)

    found = explain_scan(Identifier(load_bundle(BUNDLED / "fibre.onnx")), scan)

    assert any(peak.band is not None for peak in found.peaks)
