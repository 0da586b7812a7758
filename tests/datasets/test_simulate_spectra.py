"""The spectra simulator: reproducible, well formed, and physically sensible."""

from pathlib import Path

import numpy as np
import pytest

from weft_datasets.absorption import FIBRE_MATERIALS, coefficient
from weft_datasets.instruments import FLOOR, INNER_NM, PRESETS, blurred, drawn_unit, grid_of, measured
from weft_datasets.makes import Spread, drawn
from weft_datasets.manifest import Manifest, read_manifest
from weft_datasets.plastics import OTHER_MATERIALS
from weft_datasets.scatter import layer_reflectance
from weft_datasets.simulate_spectra import (
    FIBRES,
    SIMULATOR_VERSION,
    parameters_digest,
    write_spectra,
)
from weft_datasets.spectra_sheet import write_sheet

FROZEN_ABSORBANCE = [
    [0.20878, 0.21133, 0.23953, 0.22076],
    [0.07451, 0.00249, 0.03412, 0.035],
]  # at 1000, 1200, 1400 and 1600 nm


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_spectra(tmp_path_factory.mktemp("spectra"), subjects=150, seed=3)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        write_spectra(tmp_path / name, subjects=12, seed=seed)
    one, two, three = ((tmp_path / n / "manifest.parquet").read_bytes() for n in ("one", "two", "three"))

    assert one == two
    assert one != three


def test_a_subject_does_not_change_when_more_are_simulated(tmp_path: Path) -> None:
    few = write_spectra(tmp_path / "few", subjects=3, seed=5).frame
    many = write_spectra(tmp_path / "many", subjects=9, seed=5).frame.head(len(few))

    for left, right in zip(few["absorbance"], many["absorbance"], strict=True):
        np.testing.assert_array_equal(left, right)


def test_what_is_written_reads_back_as_a_manifest_that_says_it_is_simulated(manifest: Manifest) -> None:
    again = read_manifest(manifest.root / "manifest.parquet")

    assert again.frame["simulated"].all()
    assert again.notes["simulator_version"] == SIMULATOR_VERSION
    assert again.fingerprint() == manifest.fingerprint()


def test_every_composition_sums_to_100_and_holds_for_the_whole_subject(manifest: Manifest) -> None:
    columns = [f"{name}_pct" for name in FIBRES] + ["unknown_pct"]
    truth = manifest.frame[columns]

    np.testing.assert_allclose(truth.sum(axis=1), 100.0, atol=1e-6)
    assert (manifest.frame.groupby("subject")[columns].nunique() == 1).all(axis=None)


def test_spectra_are_finite_on_ascending_grids_of_several_instruments(manifest: Manifest) -> None:
    for nm, values in zip(manifest.frame["wavelength_nm"], manifest.frame["absorbance"], strict=True):
        assert (np.diff(nm) > 0).all()
        assert np.isfinite(values).all()
    assert manifest.frame["instrument"].str.split(" #").str[0].nunique() >= 4


def test_an_asked_grid_is_kept_to_the_nanometre(tmp_path: Path) -> None:
    frame = write_spectra(tmp_path, subjects=4, seed=1, scans=(2, 2), grid=(960.0, 1640.0, 8.0)).frame

    assert len(frame) == 8
    for nm in frame["wavelength_nm"]:
        np.testing.assert_array_equal(nm, np.arange(960.0, 1641.0, 8.0))


def test_a_grid_that_no_instrument_covers_is_simulated_all_the_same(tmp_path: Path) -> None:
    frame = write_spectra(tmp_path, subjects=2, seed=1, grid=(360.0, 2550.0, 10.0)).frame

    assert all(np.isfinite(values).all() for values in frame["absorbance"])


@pytest.mark.parametrize(
    "grid", [(1650.0, 950.0, 5.0), (100.0, 900.0, 5.0), (950.0, 1650.0, 0.0), (950.0, 980.0, 10.0)]
)
def test_a_grid_that_cannot_be_is_refused(tmp_path: Path, grid: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="need 350-2550 nm, ascending"):
        write_spectra(tmp_path, subjects=1, seed=1, grid=grid)


def test_no_subjects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one subject"):
        write_spectra(tmp_path, subjects=0, seed=1)


@pytest.mark.parametrize(
    ("fibre", "low", "high", "peak"),
    [
        ("polyester", 1600, 1700, 1660),  # aromatic C-H, first overtone
        ("polyester", 1100, 1150, 1130),  # and second
        ("cotton", 1400, 1640, 1484),  # O-H
        ("nylon", 1450, 1600, 1537),  # bonded N-H
        ("nylon", 1700, 1800, 1727),
        ("polypropylene", 1170, 1202, 1192),
        ("wool", 2000, 2100, 2055),
    ],
)
def test_a_fibre_absorbs_most_where_the_literature_says(fibre: str, low: int, high: int, peak: int) -> None:
    inside = INNER_NM[(low <= INNER_NM) & (high >= INNER_NM)]

    found = inside[coefficient(FIBRE_MATERIALS[fibre], inside).argmax()]

    assert abs(found - peak) <= 8


def test_every_band_lies_in_the_near_infrared_and_absorbs() -> None:
    for rows in (*FIBRE_MATERIALS.values(), *OTHER_MATERIALS.values()):
        assert ((1e7 / rows.centre_cm1 >= 850) & (1e7 / rows.centre_cm1 <= 2550)).all(), rows.name
        assert (rows.strength > 0).all()
        assert (rows.width_cm1 > 20).all()


def test_a_make_without_spread_at_20_degrees_is_the_table_itself() -> None:
    none = Spread(shift_cm1=0.0, width=0.0, strength=0.0, scale=0.0, pedestal=0.0)
    made = drawn(FIBRE_MATERIALS["silk"], np.random.default_rng(0), spread=none)

    np.testing.assert_array_equal(made.centre_cm1, FIBRE_MATERIALS["silk"].centre_cm1)
    np.testing.assert_allclose(made.strength, FIBRE_MATERIALS["silk"].strength)


def test_a_thick_layer_reflects_as_kubelka_and_munk_say_and_a_thin_one_shows_its_backing() -> None:
    absorption, scatter = np.array([0.5]), np.array([10.0])
    ratio = 0.05
    thick = layer_reflectance(absorption, scatter, weight=50.0, backing=np.array([0.0]))
    thin = layer_reflectance(absorption, scatter, weight=1e-6, backing=np.array([0.7]))

    np.testing.assert_allclose(thick, 1 + ratio - np.sqrt(ratio**2 + 2 * ratio), rtol=1e-6)
    np.testing.assert_allclose(thin, 0.7, atol=1e-4)


def test_a_layer_that_absorbs_nothing_over_a_perfect_mirror_loses_no_light() -> None:
    found = layer_reflectance(np.array([0.0]), np.array([10.0]), weight=0.2, backing=np.array([1.0]))

    np.testing.assert_allclose(found, 1.0, atol=1e-3)


def test_a_slit_keeps_the_area_of_a_line_and_widens_it() -> None:
    line = np.zeros_like(INNER_NM)
    line[500] = 1.0
    seen = blurred(line, resolution_nm=20.0)

    assert seen.sum() == pytest.approx(1.0)
    assert 2.0 * (seen > seen.max() / 2).sum() == pytest.approx(20.0, abs=2.1)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_an_instrument_reports_finite_absorbance_even_of_nothing(preset) -> None:  # noqa: ANN001
    rng = np.random.default_rng(2)
    grid = grid_of(preset)

    values = measured(np.zeros_like(INNER_NM), drawn_unit(preset, rng), grid, rng)

    assert values.dtype == np.float32
    assert values.shape == grid.shape
    assert np.isfinite(values).all()
    assert values.max() <= -np.log10(FLOOR) + 1e-6


def test_thousands_of_spectra_are_neither_all_alike_nor_told_apart_by_one_wavelength(
    manifest: Manifest,
) -> None:
    """The simulator must not be a toy: no single wavelength separates polyester from cotton."""
    pure = {}
    for name in ("cotton", "polyester"):
        rows = manifest.frame[manifest.frame[f"{name}_pct"] == 100]
        spectra = [
            np.interp(np.arange(1000, 1651, 10), nm, a)
            for nm, a in zip(rows["wavelength_nm"], rows["absorbance"], strict=True)
        ]
        pure[name] = np.array(spectra)
    overlap = (pure["cotton"].min(0) < pure["polyester"].max(0)) & (
        pure["polyester"].min(0) < pure["cotton"].max(0)
    )

    assert overlap.all()


def test_the_contact_sheet_is_drawn_from_simulated_spectra_and_stays_small(
    manifest: Manifest, tmp_path: Path
) -> None:
    write_sheet(manifest, tmp_path / "sheet.png")

    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "sheet.png").stat().st_size < 300_000


def test_measured_spectra_are_never_drawn_on_the_contact_sheet(manifest: Manifest, tmp_path: Path) -> None:
    real = Manifest(manifest.frame.assign(simulated=False), manifest.root, "real", {})

    with pytest.raises(ValueError, match="simulated spectra only"):
        write_sheet(real, tmp_path / "sheet.png")


def test_the_simulator_is_frozen_a_changed_parameter_needs_a_new_version() -> None:
    """A model is judged as trained on this world: change it, and raise the version and measure again."""
    assert SIMULATOR_VERSION == "2"
    assert parameters_digest() == "b975cf5a81df0262e95a487e39717b2415613fb5433367b6de481919bb22a2e9"


def test_the_frozen_simulator_gives_the_spectra_it_gave(tmp_path: Path) -> None:
    frame = write_spectra(tmp_path, subjects=2, seed=5, scans=(1, 1), grid=(1000.0, 1600.0, 50.0)).frame

    assert frame["klass"].tolist() == ["wool", "viscose"]
    np.testing.assert_allclose(
        [values[::4] for values in frame["absorbance"]], FROZEN_ABSORBANCE, rtol=0, atol=1e-4
    )
