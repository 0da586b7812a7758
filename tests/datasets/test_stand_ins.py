"""Stand-in instruments: a frozen set that judges models, and errors one at a time."""

import hashlib

import numpy as np
import pytest

from weft_datasets import stand_ins
from weft_datasets.manifest import make_manifest
from weft_datasets.stand_ins import EFFECTS, SIGNED, STAND_INS, StandIn, grid_of, recorded, with_effect

NM = np.linspace(901.6, 1700.6, 228)


def absorbance(nm: np.ndarray = NM) -> np.ndarray:
    """Three bands on a level, as of a fabric."""
    bands = ((1200.0, 30.0, 0.05), (1480.0, 45.0, 0.2), (1620.0, 18.0, 0.1))
    return 0.25 + sum(high * np.exp(-0.5 * ((nm - at) / wide) ** 2) for at, wide, high in bands)


def test_the_frozen_set_is_the_one_that_the_models_were_judged_on() -> None:
    # If this fails the set was changed: give it a new version, and measure every model again.
    assert stand_ins.VERSION == "stand-ins-1"
    assert stand_ins.digest() == "70c423c40f886f9c4889120f73b572cab5e3a140bd5ce585d71c977830da4efb"


def test_what_the_frozen_set_records_has_not_changed_either() -> None:
    total = hashlib.sha256()
    for unit in STAND_INS:
        scan = recorded(NM, absorbance(), unit, key="made")
        # To a hundredth of an absorbance: other processors round the last digits of a logarithm otherwise.
        total.update(np.round(scan.absorbance[:: len(scan.absorbance) // 20] / 0.01).astype("<i2").tobytes())

    assert total.hexdigest()[:16] == "f0070f4b4f22c5da"


def test_the_same_capture_gives_the_same_scan_whatever_was_asked_before() -> None:
    unit = STAND_INS[0]
    first = recorded(NM, absorbance(), unit, key="a").absorbance
    recorded(NM, absorbance(), unit, key="b")

    assert (recorded(NM, absorbance(), unit, key="a").absorbance == first).all()
    assert (recorded(NM, absorbance(), unit, key="b").absorbance != first).any()


def test_an_instrument_without_errors_only_reads_the_scan_on_its_own_grid() -> None:
    scan = recorded(NM, absorbance(), StandIn(name="plain"), key="a")

    assert np.abs(scan.absorbance - absorbance(scan.wavelength_nm)).max() < 1e-3


def test_a_shifted_axis_moves_the_bands_to_the_blue() -> None:
    scan = recorded(NM, absorbance(), StandIn(name="plain", step_nm=1.0, shift_nm=5.0), key="a")

    assert scan.wavelength_nm[scan.absorbance.argmax()] == pytest.approx(1475, abs=1.5)


def test_a_wider_slit_flattens_a_band_and_a_narrower_one_raises_it() -> None:
    inside = (NM > 1570) & (NM < 1660)

    def height(broader_nm: float) -> float:
        unit = StandIn(name="plain", from_nm=NM[0], to_nm=NM[-1], step_nm=2.0, broader_nm=broader_nm)
        scan = recorded(NM, absorbance(), unit, key="a")
        return float(np.interp(NM[inside], scan.wavelength_nm, scan.absorbance).max())

    assert height(25.0) < height(0.0) < height(-8.0)


def test_stray_light_makes_dark_things_look_brighter_than_they_are() -> None:
    scan = recorded(NM, absorbance() + 1.5, StandIn(name="plain", stray=0.05), key="a")

    assert float(np.median(scan.absorbance)) < float(np.median(absorbance() + 1.5)) - 0.3


@pytest.mark.parametrize("unit", STAND_INS, ids=lambda unit: unit.name)
def test_every_stand_in_gives_a_scan_that_the_door_lets_in(unit: StandIn) -> None:
    scan = recorded(NM, absorbance(), unit, key="a")

    assert len(scan.wavelength_nm) == len(grid_of(unit))
    assert (np.diff(grid_of(unit)) > 0).all()
    assert scan.warnings == ()
    assert np.isfinite(scan.absorbance).all()


@pytest.mark.parametrize("effect", EFFECTS)
def test_every_effect_grows_from_nothing_and_signed_ones_go_both_ways(effect: str) -> None:
    units = with_effect(effect, EFFECTS[effect][0])

    assert len(units) == (2 if effect in SIGNED else 1)
    for unit in units:
        recorded(NM, absorbance(), unit, key="a")


def test_a_manifest_keeps_its_captures_subjects_and_truth() -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "capture": ["a", "b"],
            "subject": ["s", "s"],
            "kind": "spectrum",
            "wavelength_nm": [NM, NM],
            "absorbance": [absorbance(), absorbance() + 0.1],
            "cotton_pct": [100.0, 100.0],
        }
    )
    from pathlib import Path

    given = make_manifest(frame, root=Path(), name="made", notes={})

    other = stand_ins.as_recorded_by(given, STAND_INS[4])

    assert list(other.frame["capture"]) == ["a", "b"]
    assert list(other.frame["cotton_pct"]) == [100.0, 100.0]
    assert len(other.frame["wavelength_nm"].iloc[0]) == 2151
    assert other.frame["instrument"].iloc[0] == "stand-in: laboratory, contact probe"
    assert other.notes["stand_ins"] == "stand-ins-1"
