"""From pieces with their pixels to votes, margins and a bundle."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from weft.bundle import load_bundle
from weft.errors import ManifestError, RecipeError
from weft.line.reader import BeltReader
from weft_datasets.belt.samples import PIXELS_FILE, STEP
from weft_datasets.manifest import make_manifest, write_manifest
from weft_training.belt_mass import fit_mass
from weft_training.belt_task import BeltTask, vote_rules
from weft_training.data import load_captures
from weft_training.export import export_run
from weft_training.fit import fit_run, make_fabric
from weft_training.recipe import BeltRecipe, check_recipe, load_recipe
from weft_training.run import create_run

CONFIGS = Path(__file__).parents[2] / "configs"
BANDS, PIXELS = 30, 24
NM = np.round(np.linspace(935, 1720, BANDS), 4)
FIBRES = ("cotton", "polyester", "wool")


def spectrum(shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    peaks = np.array([1000 + 250 * place for place in range(3)])
    bands = (shares[:, None] * np.exp(-(((NM - peaks[:, None]) / 70) ** 2))).sum(0)
    return 10 ** -(bands * rng.uniform(0.8, 1.2) + rng.uniform(0.1, 0.5))


def write_pieces(folder: Path, pieces: int = 48) -> Path:
    """Pieces of three fibres, every third a blend of two; every eighth is a stranger; a zip in each."""
    rng = np.random.default_rng(4)
    rows, seen, truth, numbers = [], [], [], []
    for number in range(pieces):
        shares = np.eye(3)[number % 3]
        if number % 3 == 2:
            shares = np.array([0.5, 0.5, 0.0])
        if number % 9 == 4:
            shares = np.array([0.0, 0.0, 1.0])
        stranger = number % 8 == 7
        light = spectrum(np.zeros(3) if stranger else shares, rng)
        own = light * rng.normal(1, 0.01, (PIXELS, BANDS)) * rng.uniform(0.8, 1.2, (PIXELS, 1))
        own[:3] = 0.5 * rng.normal(1, 0.02, (3, BANDS))  # the zip
        textile = np.tile(0 * shares if stranger else shares, (PIXELS, 1))
        textile[:3] = 0
        seen.append(own)
        truth.append(textile)
        numbers += [number] * PIXELS
        area = rng.uniform(800, 3000)
        rows.append(
            {
                "capture": f"p{number:03d}",
                "subject": f"p{number:03d}",
                "kind": "spectrum",
                "path": PIXELS_FILE,
                "pixel_row": float(number),
                "wavelength_nm": NM,
                "absorbance": -np.log10(own.mean(0)),
                "grams": area * (0.05 if shares[0] == 1 else 0.03) * np.exp(rng.normal(0, 0.1)),
                "area_cm2": area,
                **{
                    f"{name}_pct": 0.0 if stranger else 100 * share
                    for name, share in zip(FIBRES, shares, strict=True)
                },
                "unknown_pct": 100.0 * stranger,
                "klass": "stranger" if stranger else "textile",
            }
        )
    np.savez(
        folder / PIXELS_FILE,
        reflectance=np.rint(np.concatenate(seen) / STEP).astype(np.uint16),
        shares=np.concatenate(truth).astype(np.float16),
        fibres=np.array(FIBRES),
        piece=np.array(numbers, np.int32),
    )
    manifest = make_manifest(pd.DataFrame(rows), root=folder, name="made pieces", notes={"simulated": True})
    return write_manifest(manifest, folder / "manifest.parquet").root / "manifest.parquet"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "seed": 3,
        "name": "made-belt",
        "task": "belt",
        "data": {
            "manifest": str(write_pieces(tmp_path)),
            "fibres": list(FIBRES),
            "others": "unknown",
        },
        "split": {"scheme": "folds", "folds": 2},
        "model": {
            "camera": {"name": "30 made bands", "first_nm": 935, "last_nm": 1720, "bands": BANDS},
            "components": 8,
            "hidden": [16],
        },
        "augment": {"pixels": 8},
        "optim": {"epochs": 20, "batch": 4, "peak_lr": 0.02},
        "compute": {"cache": str(tmp_path / "cache"), "device": "cpu"},
        "export": {"name": "made-belt", "dataset": "48 made pieces"},
        "track": None,
    }


def task_of(settings: dict[str, Any]) -> BeltTask:
    recipe = check_recipe(settings, source="made")
    assert isinstance(recipe, BeltRecipe)
    task = BeltTask(load_captures(recipe), recipe)
    task.prepare(quiet=True)
    return task


def test_the_recipe_that_comes_along_is_one_and_reads_the_demo_lines_bands() -> None:
    recipe = load_recipe(CONFIGS / "belt-fx17.yaml")

    assert isinstance(recipe, BeltRecipe)
    nm = recipe.model.camera.wavelengths()
    line = yaml.safe_load((CONFIGS / "lines" / "demo.yaml").read_text())["line"]["nir"]
    assert (len(nm), nm[0], nm[-1]) == (line["bands"], line["first_nm"], line["last_nm"])


def test_a_recipe_without_its_camera_is_refused_by_the_keys_path(settings: dict[str, Any]) -> None:
    del settings["model"]["camera"]

    with pytest.raises(RecipeError, match=r"model\.camera: this key is missing"):
        check_recipe(settings, source="made")


def test_a_belt_without_epochs_is_refused(settings: dict[str, Any]) -> None:
    settings["optim"]["epochs"] = 0

    with pytest.raises(RecipeError, match="a belt's net has no closed form"):
        check_recipe(settings, source="made")


def test_a_batch_holds_as_many_pixels_of_every_piece(settings: dict[str, Any]) -> None:
    task = task_of(settings)
    rng = np.random.default_rng(0)

    batch = task.batch(task.items(np.arange(6), rng), rng)

    assert batch.inputs[0].shape == (6 * 8, BANDS)
    assert batch.truth.sum(1).numpy() == pytest.approx(np.ones(48), abs=1e-3)


def test_rows_that_are_filtered_out_leave_the_others_their_own_pixels(settings: dict[str, Any]) -> None:
    whole = task_of(settings)
    settings["data"]["where"] = {"klass": "textile"}
    part = task_of(settings)
    names = part.captures.manifest.frame["capture"].tolist()
    row = names.index("p008")  # after the first stranger, p007

    assert len(names) == 42
    first = part.pixels.first
    np.testing.assert_array_equal(
        part.pixels.reflectance[first[row] : first[row + 1]],
        whole.pixels.reflectance[8 * PIXELS : 9 * PIXELS],
    )


def test_pixels_of_another_camera_are_refused(settings: dict[str, Any]) -> None:
    settings["model"]["camera"]["last_nm"] = 1700

    with pytest.raises(
        ManifestError, match=r"p000 has 30 bands, 935-1720 nm; model\.camera has 30, 935-1700"
    ):
        task_of(settings)


def rewrite_pixels(settings: dict[str, Any], **changes: Any) -> None:
    """The file of pixels with some of its arrays as `changes` make them of the old."""
    path = Path(settings["data"]["manifest"]).parent / PIXELS_FILE
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, **{name: changes[name](arrays) if name in changes else arrays[name] for name in arrays})


def test_a_piece_without_a_pixel_is_refused_not_lent_anothers(settings: dict[str, Any]) -> None:
    rewrite_pixels(settings, piece=lambda was: np.where(was["piece"] == 5, 6, was["piece"]))

    with pytest.raises(ManifestError, match=r"capture p005 has no pixel in pixels\.npz; leave it out"):
        task_of(settings)


def test_a_piece_beyond_the_end_of_the_file_of_pixels_is_refused(settings: dict[str, Any]) -> None:
    rewrite_pixels(settings, piece=lambda was: np.minimum(was["piece"], 40))

    with pytest.raises(ManifestError, match=r"capture p041 has no pixel"):
        task_of(settings)


def test_pixels_of_fewer_bands_than_their_manifest_says_are_refused(settings: dict[str, Any]) -> None:
    rewrite_pixels(settings, reflectance=lambda was: was["reflectance"][:, 1:])

    with pytest.raises(ManifestError, match=r"shape \(1152, 29\), model\.camera has 30 bands"):
        task_of(settings)


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_what_is_no_file_of_pixels_is_refused(settings: dict[str, Any], content: bytes) -> None:
    (Path(settings["data"]["manifest"]).parent / PIXELS_FILE).write_bytes(content)

    with pytest.raises(ManifestError, match=r"pixels\.npz: no file of pixels .* reflectance, shares, fibres"):
        task_of(settings)


def test_a_spectrum_without_pixels_is_a_pieces_only_one(settings: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        {
            "capture": f"v{number}",
            "subject": f"v{number}",
            "kind": "spectrum",
            "wavelength_nm": NM,
            "absorbance": -np.log10(spectrum(np.eye(3)[number % 3], rng)),
            **{f"{name}_pct": 100.0 * (place == number % 3) for place, name in enumerate(FIBRES)},
        }
        for number in range(6)
    ]
    manifest = make_manifest(pd.DataFrame(rows), root=tmp_path, name="verified", notes={})
    write_manifest(manifest, tmp_path / "verified.parquet")
    settings["data"]["manifest"] = str(tmp_path / "verified.parquet")
    task = task_of(settings)

    votes = task.predict(task.build(np.arange(6), seed=1), np.arange(6))

    assert task.pixels.first.tolist() == list(range(7))
    np.testing.assert_allclose(
        task.pixels.reflectance[2] * STEP, 10.0 ** -rows[2]["absorbance"], atol=STEP, rtol=0
    )
    assert (votes["voted"] <= 1).all()


def told_right(task: BeltTask) -> pd.DataFrame:
    """Predictions in two folds, each of them true."""
    frame = task.captures.manifest.frame
    table = pd.DataFrame({"capture": frame["capture"], "subject": frame["subject"]})
    for name in FIBRES:
        table[f"{name}_share"] = table[f"predicted_{name}_share"] = frame[f"{name}_pct"].to_numpy() / 100
    table["unknown_truth"] = frame["unknown_pct"].to_numpy() / 100
    return table.assign(fold=np.arange(len(table)) % 2)


def test_mass_follows_the_area_and_the_fibre_that_was_predicted(settings: dict[str, Any]) -> None:
    task = task_of(settings)

    found = fit_mass(task.captures, told_right(task), coverage=0.8)

    assert found is not None
    assert found.pieces == 42
    assert found.low_ratio < 1 < found.high_ratio < 3
    # Few pieces are of one fibre here: all share one median.
    assert set(found.grams_per_cm2) == set(FIBRES)
    assert 0.025 < found.grams_per_cm2["cotton"] < 0.06


def test_of_fewer_weighed_pieces_than_an_end_of_the_interval_needs_no_mass_is_said(
    settings: dict[str, Any],
) -> None:
    """19 pieces are the fewest that say where 95 % of them end, and 90 % lie between two such ends."""
    task = task_of(settings)
    known = told_right(task).query("unknown_truth < 0.5")

    assert fit_mass(task.captures, known.head(18), coverage=0.9) is None
    enough = fit_mass(task.captures, known.head(19), coverage=0.9)
    assert enough is not None
    assert 0.1 < enough.low_ratio < 1 < enough.high_ratio < 10


def test_without_masses_there_is_no_mass_card(settings: dict[str, Any]) -> None:
    task = task_of(settings)
    frame = task.captures.manifest.frame.drop(columns=["area_cm2"])
    captures = type(task.captures)(
        make_manifest(frame, root=task.captures.manifest.root, name="no area", notes={}), "", "simulated"
    )

    assert fit_mass(captures, pd.DataFrame(), coverage=0.9) is None


@pytest.mark.slow
def test_a_belt_is_trained_calibrated_exported_and_read(settings: dict[str, Any], tmp_path: Path) -> None:
    recipe = check_recipe(settings, source="made")
    run = create_run(recipe, tmp_path / "runs")
    fit_run(run, make_fabric(recipe))
    report = export_run(run, tmp_path / "belt.onnx")
    reader = BeltReader(load_bundle(report.path, task="belt"))
    task = task_of(settings)

    votes = []
    for row in range(9):
        places = slice(task.pixels.first[row], task.pixels.first[row + 1])
        found = reader.read(task.pixels.reflectance[places] * np.float32(STEP))
        votes.append(reader.vote(found.shares, found.unknown))

    assert report.card.proof.measured <= 1e-4
    assert report.card.calibration_subjects == 42
    assert reader.card.vote.margin is not None
    assert reader.trial is not None
    assert len(reader.trial.unknown) == 48
    assert reader.trial.grams is not None
    assert votes[0].shares[0].fibre == "cotton"
    assert votes[0].shares[0].share > 0.9
    assert {votes[2].shares[0].fibre, votes[2].shares[1].fibre} == {"cotton", "polyester"}
    assert votes[0].voted <= PIXELS - 3
    assert votes[7].unknown > 0.5
    rules = vote_rules(recipe.vote) if isinstance(recipe, BeltRecipe) else None
    assert rules is not None
    assert reader.card.vote.model_dump(exclude={"margin", "edges_share"}) == rules.model_dump(
        exclude={"margin", "edges_share"}
    )
