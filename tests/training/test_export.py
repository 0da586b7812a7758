"""A bundle answers like the net it came from, for whatever a caller may send, and carries nobody's photo."""

from pathlib import Path

import numpy as np
import pytest

from weft.bundle import PROOF_KEY, Bundle, load_bundle, unpack_proof
from weft.errors import RunError
from weft_training.export import CASES, export_run
from weft_training.fit import fit_run, make_fabric
from weft_training.proof_inputs import made_photos, made_scans
from weft_training.recipe import load_recipe
from weft_training.run import Run, create_run


def trained(recipe: Path, runs: Path, *overrides: str) -> Run:
    settings = load_recipe(recipe, overrides)
    run = create_run(settings, runs)
    fit_run(run, make_fabric(settings))
    return run


def ask(bundle: Bundle, wavelength: np.ndarray, absorbance: np.ndarray) -> dict[str, np.ndarray]:
    return bundle.run(
        {"wavelength_nm": wavelength.astype(np.float32), "absorbance": absorbance.astype(np.float32)}
    )


@pytest.mark.slow
def test_a_fibre_bundle_answers_on_any_grid_in_any_order(spectra_recipe: Path, tmp_path: Path) -> None:
    run = trained(spectra_recipe, tmp_path / "runs")
    report = export_run(run, tmp_path / "out" / "fibre.onnx")
    bundle = load_bundle(report.path, task="composition")

    card = bundle.card
    assert card.proof.measured <= card.proof.bound
    assert card.proof.cases == CASES
    assert (card.trained_on, card.subjects, card.coverage, card.calibration_subjects) == (
        "simulated", 28, 0.9, 24,
    )  # fmt: skip
    assert card.metrics == run.metrics()
    assert card.composition is not None
    assert card.composition.share_range["cotton"] == (0, 1)
    for points in (8, 77, 228, 10_000):
        wavelength = np.linspace(915, 1690, points)
        absorbance = 1.0 * np.exp(-(((wavelength - 1180) / 60) ** 2))[None].repeat(3, 0)
        found = ask(bundle, wavelength, absorbance)
        turned = ask(bundle, wavelength[::-1], absorbance[:, ::-1])
        assert found["shares"].sum(1) == pytest.approx(1, abs=1e-5)
        assert found["shares"] == pytest.approx(turned["shares"], abs=1e-4)
        assert (found["low"] <= found["shares"]).all()
        assert (found["shares"] <= found["high"]).all()
        assert ((found["unknown"] >= 0) & (found["unknown"] <= 1)).all()
    # A grid that hits the bundle's own wavelengths exactly once gave 0 / 0 in the exported graph.
    hit = np.linspace(920, 1680, 39)
    assert np.isfinite(ask(bundle, hit, np.exp(-(((hit - 1180) / 60) ** 2))[None])["shares"]).all()


@pytest.mark.slow
@pytest.mark.parametrize("more", [(), ("model.init=none", "model.layers=[1,2]", "model.kernel_share=0.5")])
def test_a_weight_bundle_takes_one_to_nine_photos_of_any_size(
    photos_recipe: Path, tmp_path: Path, more: tuple[str, ...]
) -> None:
    run = trained(photos_recipe, tmp_path / "runs", *more)
    report = export_run(run, tmp_path / "weight.onnx")
    bundle = load_bundle(report.path, task="weight")

    assert bundle.card.coverage is None  # eight parcels: no honest interval
    assert bundle.card.weight is not None
    assert bundle.card.weight.uses == ("season",)
    for inputs in made_photos(12, bands=3, seed=9):
        found = bundle.run(inputs)
        assert np.isfinite(found["grams"]).all()
        assert np.array_equal(found["grams"], found["low_grams"])
        assert np.array_equal(found["strangeness"] > 0, inputs["mask"])
        assert np.array_equal(found["photo_grams"] > 0, inputs["mask"])
        turned = {
            name: value if name in {"season", "wrap"} else value[:, ::-1] for name, value in inputs.items()
        }
        assert bundle.run(turned)["grams"] == pytest.approx(found["grams"], rel=1e-4)
    # What travels is made: small textures, none of them from the manifest.
    import onnx

    model = onnx.load(report.path)
    metadata = {item.key: item.value for item in model.metadata_props}
    cases = unpack_proof(metadata[PROOF_KEY], source="test")
    made = made_photos(CASES // 2, bands=3, seed=run.recipe.seed)[: len(cases)]
    for (inputs, _), expected in zip(cases, made, strict=True):
        assert max(inputs["photos"].shape[-2:]) <= 96
        assert np.array_equal(inputs["photos"], expected["photos"])
    # The exporter notes the source files of every node; the graph must not tell whose machine it was.
    del model.metadata_props[:]
    assert b".py" not in model.SerializeToString()


@pytest.mark.slow
def test_a_file_that_answers_otherwise_than_torch_is_not_written(
    spectra_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(spectra_recipe, tmp_path / "runs", "export.bound=1e-12")

    with pytest.raises(RunError, match=r"differ by .* on 64 inputs, the bound is 1e-12"):
        export_run(run, tmp_path / "fibre.onnx")
    assert not (tmp_path / "fibre.onnx").exists()


def test_made_inputs_are_small_where_they_travel_and_mixed_where_they_do_not() -> None:
    photos, scans = made_photos(32, bands=3, seed=0), made_scans(32, grid_nm=[950.0, 960.0, 1650.0], seed=0)

    assert all(max(case["photos"].shape[-2:]) <= 96 for case in photos[:4])
    assert {case["photos"].shape[1] for case in photos} >= {1, 3, 9} or len(
        {case["photos"].shape[1] for case in photos}
    ) >= 6
    assert all(case["mask"].any(1).all() for case in photos)
    assert any(case["wavelength_nm"][0] > case["wavelength_nm"][-1] for case in scans)
    assert all(case["wavelength_nm"].min() <= 950 <= 1650 <= case["wavelength_nm"].max() for case in scans)


def test_a_run_that_is_not_finished_cannot_be_exported(spectra_recipe: Path, tmp_path: Path) -> None:
    run = create_run(load_recipe(spectra_recipe), tmp_path / "runs")

    with pytest.raises(RunError, match=r"not finished; go on with `weft train --resume"):
        export_run(run, tmp_path / "x.onnx")
