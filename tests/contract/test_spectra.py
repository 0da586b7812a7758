"""One door for a spectrum: any order, axis and quantity in, checked absorbance out."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.errors import BrokenScanError, QuantityError, ReferenceNeededError, ScanTooLargeError
from weft.spectra import Cube, make_scan, reflectance_from_counts

NM = np.linspace(900, 1700, 81)
R = 0.4 + 0.2 * np.sin(NM / 90)


@pytest.mark.parametrize(
    ("values", "quantity"),
    [
        (R, "reflectance"),
        (100 * R, "reflectance_percent"),
        (100 * R, "transmittance_percent"),
        (-np.log10(R), "absorbance"),
    ],
)
def test_every_quantity_becomes_the_same_absorbance(values: Any, quantity: str) -> None:
    scan = make_scan(values=values, quantity=quantity, wavelength_nm=NM)

    np.testing.assert_allclose(scan.absorbance, -np.log10(R), atol=1e-6)
    assert scan.absorbance.dtype == np.float32
    assert scan.wavelength_nm.dtype == np.float64
    assert scan.warnings == ()


def test_wavenumbers_are_turned_and_sorted() -> None:
    scan = make_scan(values=R, quantity="reflectance", wavenumber_cm1=1e7 / NM)

    np.testing.assert_allclose(scan.wavelength_nm, NM)
    np.testing.assert_allclose(scan.absorbance, -np.log10(R), atol=1e-6)


@given(
    st.permutations(range(20)),
    st.lists(st.floats(0.01, 1), min_size=20, max_size=20),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_points_never_matters(
    order: list[int], values: list[float], wavenumbers: bool
) -> None:
    nm = np.linspace(1000, 1600, 20)
    axis = 1e7 / nm if wavenumbers else nm
    name = "wavenumber_cm1" if wavenumbers else "wavelength_nm"

    straight = make_scan(values=values, quantity="reflectance", **{name: axis})
    shuffled = make_scan(values=np.array(values)[order], quantity="reflectance", **{name: axis[order]})

    np.testing.assert_array_equal(straight.wavelength_nm, shuffled.wavelength_nm)
    np.testing.assert_array_equal(straight.absorbance, shuffled.absorbance)
    assert np.isfinite(straight.absorbance).all()
    assert (np.diff(straight.wavelength_nm) > 0).all()


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=0, max_size=30),
    st.sampled_from(["reflectance", "reflectance_percent", "absorbance", "transmittance_percent"]),
)
@settings(max_examples=150, deadline=None)
def test_any_numbers_give_a_finite_spectrum_or_a_refusal(values: list[float], quantity: str) -> None:
    nm = np.linspace(1000, 1600, len(values))
    try:
        scan = make_scan(values=values, quantity=quantity, wavelength_nm=nm)
    except (BrokenScanError, QuantityError):
        return
    assert np.isfinite(scan.absorbance).all()


def _with(values: Any = R, nm: Any = NM) -> dict[str, Any]:
    return {"values": values, "quantity": "reflectance", "wavelength_nm": nm}


def _spoilt(place: int, value: float) -> np.ndarray:
    spoilt = R.copy()
    spoilt[place] = value
    return spoilt


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (_with([0.1, 0.2, 0.3], [900, 1000, 1100]), "has 3 points, at least 8"),
        (_with(R[:-1]), "80 values for 81 of wavelength_nm"),
        (_with(_spoilt(7, np.nan)), r"values\[7\] is nan"),
        (_with(_spoilt(9, np.inf)), r"values\[9\] is inf"),
        (_with([*R[:-1], None]), r"values\[80\] is nan"),
        (_with([*R[:-1], "x"]), "not a flat list of numbers"),
        (_with([[r] for r in R]), "needed one flat list"),
        (_with([[1, 2], [3]]), "not a flat list of numbers"),
        (_with(5), "not a list of numbers"),
        (_with(nm=np.append(NM[:-1], NM[3])), "wavelength 930 nm is there twice"),
        (_with(nm=NM / 1000), "look like micrometres, multiply by 1000"),
        (_with(nm=NM - 900), r"wavelength_nm\[0\] is 0, needed more than 0"),
        (_with(nm=NM * 100), "needed within 200-30000 nm"),
        ({"values": R, "quantity": "reflectance"}, "got neither of wavelength_nm and wavenumber_cm1"),
        (_with() | {"wavenumber_cm1": NM}, "got both of wavelength_nm and wavenumber_cm1"),
        ({"values": R, "quantity": "reflectance", "wavenumber_cm1": NM / 1000}, "needed within 200-30000 nm"),
    ],
)
def test_a_broken_spectrum_is_refused_by_name_of_its_fault(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(BrokenScanError, match=words):
        make_scan(**arguments)


def test_more_points_than_the_limit_are_refused_before_they_are_copied() -> None:
    class Claimed(list[float]):
        def __len__(self) -> int:
            return 1_000_000

    with pytest.raises(ScanTooLargeError, match="1000000 points, 10000 is the most"):
        make_scan(values=Claimed(), quantity="absorbance", wavelength_nm=NM)


@pytest.mark.parametrize(
    ("values", "quantity", "words"),
    [
        (R, "kubelka_munk", "quantity is 'kubelka_munk', needed one of reflectance,"),
        (100 * R, "reflectance", "median of 3.*state reflectance_percent or divide by 100"),
        (R, "reflectance_percent", "look like fractions, state reflectance or multiply by 100"),
        (R, "transmittance_percent", "look like fractions, multiply by 100"),
        (100 * R, "absorbance", "look like percent"),
        (-R, "reflectance", "cannot be negative"),
        (-100 * R, "reflectance_percent", "cannot be negative"),
        (30_000 * R, "reflectance", "not raw counts"),
        (30_000 * R, "reflectance_percent", "not raw counts"),
        (30_000 * R, "absorbance", "absorbance lies between"),
    ],
)
def test_values_that_cannot_be_the_stated_quantity_are_refused(
    values: Any, quantity: str, words: str
) -> None:
    with pytest.raises(QuantityError, match=words):
        make_scan(values=values, quantity=quantity, wavelength_nm=NM)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            _spoilt(4, -0.01),
            "1 of 81 values are at or below the noise floor and were clipped, first at 940 nm",
        ),
        (R * 0.001, "almost no light comes back"),
        (np.zeros(81), "every point has the same value"),
        (np.minimum(R, 0.45), "detector may be saturated"),
    ],
)
def test_a_doubtful_spectrum_is_read_with_a_warning(values: Any, words: str) -> None:
    scan = make_scan(values=values, quantity="reflectance", wavelength_nm=NM)

    assert any(words in warning for warning in scan.warnings), scan.warnings
    assert np.isfinite(scan.absorbance).all()


def test_a_specular_spot_above_one_is_no_error() -> None:
    assert make_scan(values=_spoilt(4, 1.4), quantity="reflectance", wavelength_nm=NM).absorbance[4] < 0


def test_counts_become_reflectance_per_pixel_and_band() -> None:
    rng = np.random.default_rng(3)
    true = rng.uniform(0.05, 1.1, (5, 4, 9))
    dark = rng.uniform(80, 120, (4, 9)).round()
    white = dark + rng.uniform(2000, 3000, (4, 9)).round()

    found = reflectance_from_counts(
        dark + true * (white - dark), white=np.stack([white - 5, white + 5]), dark=dark
    )

    np.testing.assert_allclose(found, true, rtol=1e-5)


def test_references_of_one_level_per_band_are_enough() -> None:
    counts = np.full((2, 3, 4), 600.0)

    found = reflectance_from_counts(counts, white=np.full(4, 1100.0), dark=np.full(4, 100.0))

    np.testing.assert_allclose(found, 0.5)


def test_a_white_reference_that_is_not_brighter_than_the_dark_is_refused() -> None:
    white, dark = np.full(9, 3000), np.full(9, 100)
    white[6] = 100
    with pytest.raises(ReferenceNeededError, match="band 6: white 100 must exceed dark 100"):
        reflectance_from_counts(np.ones((2, 3, 9)), white=white, dark=dark)


def test_a_saturated_white_reference_is_refused() -> None:
    white = np.full((10, 3, 9), 4095, np.uint16)
    with pytest.raises(ReferenceNeededError, match="white reference is saturated at 4095 counts"):
        reflectance_from_counts(np.ones((2, 3, 9)), white=white, dark=np.full(9, 100))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("which", ["white", "dark"])
def test_a_reference_that_holds_no_number_in_one_place_is_refused(which: str, wrong: float) -> None:
    frames = {"white": np.full((4, 3, 8), 2000.0), "dark": np.full((4, 3, 8), 10.0)}
    frames[which][1, 2, 5] = wrong

    with pytest.raises(ReferenceNeededError, match=f"the {which} reference holds NaN, infinity"):
        reflectance_from_counts(np.full((5, 3, 8), 900.0), **frames)


def test_references_of_another_shape_are_a_callers_slip() -> None:
    with pytest.raises(ValueError, match=r"white has shape \(8,\)"):
        reflectance_from_counts(np.ones((2, 3, 9)), white=np.ones(8), dark=np.ones(9))


def test_the_mean_of_a_cube_is_that_of_its_foreground() -> None:
    absorbance = np.ones((2, 2, 8), np.float32)
    absorbance[0, 0] = 3
    foreground = np.array([[True, True], [False, False]])

    mean = Cube(np.arange(900.0, 908.0), absorbance, foreground, warnings=("dusty",)).mean_scan()

    np.testing.assert_allclose(mean.absorbance, 2)
    assert mean.warnings == ("dusty",)
