"""A recipe's nets without each swatch, asked through other instruments."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weft.errors import RunError
from weft_datasets.manifest import make_manifest, write_manifest
from weft_datasets.stand_ins import STAND_INS, StandIn, as_recorded_by
from weft_training.instrument_plots import draw_effects
from weft_training.instrument_study import Study, empty_scans, make_study, recalls
from weft_training.paired import figure_of
from weft_training.recipe import FibreRecipe, load_recipe

ROOT = Path(__file__).parents[2]
FIBRES = ("cotton", "nylon", "polyester")
NM = np.linspace(901.6, 1700.6, 228)
CENTRES = {"cotton": 1480.0, "nylon": 1530.0, "polyester": 1130.0, "wool": 1200.0}


def scan_of(fibre: str, rng: np.random.Generator) -> np.ndarray:
    band = np.exp(-0.5 * ((NM - CENTRES[fibre]) / 40) ** 2)
    return rng.uniform(0.1, 0.4) + rng.uniform(0.1, 0.3) * band + rng.normal(0, 0.0005, len(NM))


def recipe_of(folder: Path, *overrides: str) -> FibreRecipe:
    rng = np.random.default_rng(0)
    rows = [
        {
            "capture": f"{fibre} {swatch} {scan}",
            "subject": f"{fibre} {swatch}",
            "kind": "spectrum",
            "wavelength_nm": NM,
            "absorbance": scan_of(fibre, rng),
            **{f"{name}_pct": 100.0 * (name == fibre) for name in FIBRES},
        }
        for fibre in FIBRES
        for swatch in range(3)
        for scan in range(2)
    ]
    manifest = make_manifest(pd.DataFrame(rows), root=folder, name="made", notes={})
    write_manifest(manifest, folder / "made.parquet")
    recipe = load_recipe(
        ROOT / "configs/fibre-nirscan.yaml",
        (
            f"data.manifest={folder / 'made.parquet'}",
            "augment.views=3",
            "track=null",
            "data.exclude_subjects=[]",
            *overrides,
        ),
    )
    assert isinstance(recipe, FibreRecipe)
    return recipe


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(recipe_of(tmp_path_factory.mktemp("study")))


def test_every_scan_is_asked_of_the_net_that_has_not_seen_its_swatch(study: Study) -> None:
    found = study.ask(study.manifest, "as recorded")

    assert len(study.nets) == 9
    assert sorted(found["capture"]) == sorted(study.manifest.frame["capture"])
    assert recalls(found, FIBRES) == pytest.approx([1, 1, 1])
    assert recalls(found, FIBRES, by_subject=True) == pytest.approx([1, 1, 1])


def test_a_laboratory_stand_in_is_answered_as_the_handheld_is(study: Study) -> None:
    unit = STAND_INS[4]

    found = study.ask(as_recorded_by(study.manifest, unit), unit.name)

    assert recalls(found, FIBRES).min() == 1
    assert set(found["instrument"]) == {"laboratory, contact probe"}


def test_a_range_that_a_service_would_refuse_is_not_guessed_at(study: Study) -> None:
    short = as_recorded_by(study.manifest, StandIn(name="short", to_nm=1600.0))

    assert study.ask(short, "short").empty


def test_empty_dark_and_saturated_scans_are_unknown(study: Study) -> None:
    for scans in empty_scans(NM, count=12).values():
        assert np.median(study.unknown(NM, scans)) > 0.9


def test_the_least_recall_is_that_of_the_worst_class_on_the_worst_instrument(study: Study) -> None:
    good = study.ask(study.manifest, "a")
    bad = good.assign(instrument="b")
    first = bad.index[bad["cotton_share"] == 1][0]
    bad.loc[first, ["predicted_cotton_share", "predicted_nylon_share"]] = [0.0, 1.0]

    both = pd.concat([good, bad], ignore_index=True)

    assert figure_of(both, "pure.least_recall", resamples=0)["pure.least_recall"] == pytest.approx(5 / 6)


def test_a_recipe_that_steps_is_left_to_the_training(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"optim.epochs is 2; this study takes closed forms"):
        make_study(recipe_of(tmp_path, "optim.epochs=2"))


def test_the_picture_shows_refusals_and_every_effect() -> None:
    curves = pd.DataFrame(
        {"effect": ["shift_nm", "shift_nm", "to_nm"], "strength": [1.0, 2.0, 1600.0],
         "least": [1.0, 0.8, np.nan], "mean": [1.0, 0.9, np.nan]}
    )  # fmt: skip

    assert draw_effects(curves).startswith(b"\x89PNG")
