"""Scan in, fibre shares out: through a tiny but real bundle whose answers can be computed by hand."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft import identifier as identifier_module
from weft.bundle import load_bundle
from weft.errors import GridMismatchError, WrongTaskError
from weft.fibres import fibre
from weft.identifier import Composition, Identifier
from weft.spectra import Cube, Scan, make_scan

Writer = Callable[..., Path]
NM = np.linspace(900, 1700, 161)
CENTRES = {"cotton": 1000, "wool": 1200, "polyester": 1400, "nylon": 1600}  # of the tiny bundle's formula


def spectrum(name: str, nm: np.ndarray = NM, height: float = 1.0) -> np.ndarray:
    return 0.2 + height * np.exp(-(((nm - CENTRES[name]) / 90) ** 2))


def scan_of(name: str, nm: np.ndarray = NM, instrument: str | None = None) -> Scan:
    return make_scan(
        values=spectrum(name, nm), quantity="absorbance", wavelength_nm=nm, instrument=instrument
    )


@pytest.fixture(scope="module")
def identifier(tiny_fibre_bundle: Path) -> Identifier:
    return Identifier(load_bundle(tiny_fibre_bundle))


def main_fibre(composition: Composition) -> str:
    return max(composition.shares, key=lambda item: item.share).fibre


@pytest.mark.parametrize("name", list(CENTRES))
def test_a_scan_becomes_shares_with_codes_and_intervals(identifier: Identifier, name: str) -> None:
    found = identifier.identify(scan_of(name))

    assert main_fibre(found) == name
    assert [item.fibre for item in found.shares] == list(CENTRES)
    assert [item.code for item in found.shares] == [fibre(item).code for item in CENTRES]
    assert sum(item.share for item in found.shares) == pytest.approx(1, abs=1e-6)
    assert found.map is None
    assert found.warnings == ()
    for item in found.shares:
        assert item.low is not None
        assert item.high is not None
        assert 0 <= item.low <= item.share <= item.high <= 1


@given(st.lists(st.floats(-2, 5), min_size=161, max_size=161))
@settings(max_examples=60, deadline=None)
def test_whatever_is_scanned_shares_sum_to_one_and_intervals_hold_them(
    identifier: Identifier, values: list[float]
) -> None:
    found = identifier.identify(make_scan(values=values, quantity="absorbance", wavelength_nm=NM))

    assert sum(item.share for item in found.shares) == pytest.approx(1, abs=1e-6)
    assert 0 <= found.unknown <= 1
    assert all(item.low is not None and item.high is not None for item in found.shares)
    assert all(0 <= (item.low or 0) <= item.share <= (item.high or 0) <= 1 for item in found.shares)


def test_the_order_and_grid_of_the_instrument_do_not_matter(identifier: Identifier) -> None:
    fine = np.linspace(850, 1750, 900)
    turned = make_scan(
        values=spectrum("wool", fine)[::-1], quantity="absorbance", wavenumber_cm1=1e7 / fine[::-1]
    )

    one, other = identifier.identify(scan_of("wool")), identifier.identify(turned)

    np.testing.assert_allclose(
        [item.share for item in one.shares], [item.share for item in other.shares], atol=0.01
    )


def test_without_calibration_there_is_no_interval(write_fibre_bundle: Writer, tmp_path: Path) -> None:
    bundle = load_bundle(write_fibre_bundle(tmp_path / "b.onnx", coverage=None, calibration_subjects=0))

    found = Identifier(bundle).identify(scan_of("nylon"))

    assert all(item.low is None and item.high is None for item in found.shares)


def test_a_scan_outside_the_bundles_range_is_refused_not_guessed(identifier: Identifier) -> None:
    with pytest.raises(GridMismatchError, match="covers 400-900 nm, bundle needs 950-1650 nm"):
        identifier.identify(scan_of("wool", np.linspace(400, 900, 100)))


@pytest.mark.parametrize(
    ("first", "last", "fits"), [(959, 1641, True), (961, 1700, False), (900, 1639, False)]
)
def test_one_step_of_the_grid_may_be_missing(
    identifier: Identifier, first: float, last: float, fits: bool
) -> None:
    scan = scan_of("wool", np.linspace(first, last, 100))
    if fits:
        identifier.check_grid(scan)
    else:
        with pytest.raises(GridMismatchError):
            identifier.check_grid(scan)


def test_a_flat_spectrum_is_said_to_be_no_textile(identifier: Identifier) -> None:
    flat = make_scan(values=np.linspace(0.5, 0.501, 161), quantity="absorbance", wavelength_nm=NM)

    found = identifier.identify(flat)

    assert found.unknown > 0.5
    assert any("not a textile the model knows" in warning for warning in found.warnings)


def test_a_share_outside_what_was_trained_on_is_warned_of(write_fibre_bundle: Writer, tmp_path: Path) -> None:
    ranges = {"cotton": [0.27, 0.5], "wool": [0, 1], "polyester": [0, 1], "nylon": [0, 1]}
    bundle = load_bundle(write_fibre_bundle(tmp_path / "b.onnx", composition={"share_range": ranges}))

    found = Identifier(bundle).identify(scan_of("cotton"))

    assert any("lies outside the 27% to 50% that the model was trained on" in text for text in found.warnings)


def test_an_unseen_instrument_and_points_far_apart_are_warned_of(identifier: Identifier) -> None:
    known = identifier.identify(scan_of("wool", instrument="nirscan nano"))
    make_alone = identifier.identify(scan_of("wool", instrument="NIRscan"))
    other = identifier.identify(scan_of("wool", np.linspace(900, 1700, 12), instrument="Spectro X"))

    assert known.warnings == make_alone.warnings == ()
    assert any("has not seen this instrument (Spectro X)" in text for text in other.warnings)
    assert any(
        "points are up to 72.7 nm apart, the model was trained on 10 nm" in text for text in other.warnings
    )


def test_doubts_of_the_scan_travel_to_the_answer(identifier: Identifier) -> None:
    dark = 10 ** -spectrum("wool") / 500
    found = identifier.identify(make_scan(values=dark, quantity="reflectance", wavelength_nm=NM))

    assert any("almost no light" in text for text in found.warnings)


def cube_of_stripes() -> Cube:
    """Four stripes of 3 x 10 pixels, one fibre each, with a background column on either side."""
    absorbance = np.full((12, 12, len(NM)), 0.05, np.float32)
    for place, name in enumerate(CENTRES):
        absorbance[3 * place : 3 * place + 3, 1:11] = spectrum(name)
    foreground = np.zeros((12, 12), bool)
    foreground[:, 1:11] = True
    return Cube(NM, absorbance, foreground)


def test_a_cube_gives_a_map_and_the_composition_of_its_mean(identifier: Identifier) -> None:
    cube = cube_of_stripes()

    found = identifier.identify_cube(cube)

    assert found.map is not None
    assert found.map.dtype == np.int8
    np.testing.assert_array_equal(found.map[:, 1:11], np.repeat(np.arange(4), 3)[:, None].repeat(10, 1))
    assert (found.map[:, [0, 11]] == -1).all()
    mean = identifier.identify(cube.mean_scan())
    assert found.shares == mean.shares
    assert sum(item.share for item in found.shares) == pytest.approx(1, abs=1e-6)


def test_a_cube_goes_through_the_graph_in_bounded_parts(
    identifier: Identifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = identifier.identify_cube(cube_of_stripes())
    sizes: list[int] = []
    run = identifier.bundle.run

    def counted(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes.append(len(inputs["absorbance"]))
        return run(inputs)

    monkeypatch.setattr(identifier.bundle, "run", counted)
    monkeypatch.setattr(identifier_module, "CHUNK", 7)

    parted = identifier.identify_cube(cube_of_stripes())

    assert max(sizes) == 7
    np.testing.assert_array_equal(parted.map, whole.map)


def test_unknown_pixels_are_left_out_of_the_map_and_counted(identifier: Identifier) -> None:
    cube = cube_of_stripes()
    cube.absorbance[0:6, 1:11] = 0.5

    found = identifier.identify_cube(cube)

    assert found.map is not None
    assert (found.map[0:6] == -1).all()
    assert any("50% of the foreground's pixels are no textile" in text for text in found.warnings)


def test_many_threads_may_share_one_identifier(identifier: Identifier) -> None:
    expected = {name: identifier.identify(scan_of(name)).shares for name in CENTRES}
    wrong: list[str] = []

    def ask(name: str) -> None:
        wrong.extend(name for _ in range(20) if identifier.identify(scan_of(name)).shares != expected[name])

    threads = [threading.Thread(target=ask, args=(name,)) for name in CENTRES for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_weight_bundle_is_refused(tiny_weight_bundle: Path) -> None:
    with pytest.raises(WrongTaskError, match="a bundle for weight, needed one for composition"):
        Identifier(load_bundle(tiny_weight_bundle))
