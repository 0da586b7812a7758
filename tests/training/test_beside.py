"""A run says plainly whether it was worth it beside a frozen backbone with ridge."""

import json
from pathlib import Path

import pytest

from weft_training.beside import Beside, beside_ridge
from weft_training.data import load_captures
from weft_training.recipe import load_recipe
from weft_training.run import create_run


@pytest.mark.parametrize(
    ("percent", "low", "high", "words"),
    [
        (-31, -40, -22, "to -22): beats the simple model by a fifth"),
        (-25, -60, 5, "beats the simple model by a fifth, though so few subjects do not show it surely"),
        (-10, -15, -4, "better than the simple model, but not by a fifth"),
        (-10, -30, 4, "NOT shown to be better than the simple model"),
        (12, 3, 20, "NOT shown to be better than the simple model"),
    ],
)
def test_the_verdict_is_said_in_plain_words(percent: float, low: float, high: float, words: str) -> None:
    sentence = Beside(0.2, 0.25, percent, low, high).sentence

    assert words in sentence
    assert "ALDE 0.200 against 0.250 of the same backbone, frozen, with ridge" in sentence


def test_a_trained_run_is_held_against_its_own_backbone_on_its_own_folds(
    photos_recipe: Path, tmp_path: Path
) -> None:
    from weft_training.fit import fit_run, make_fabric  # isort: skip  # mends torchvision for timm

    import timm
    from safetensors.torch import save_file

    weights = tmp_path / "weights.safetensors"
    save_file(timm.create_model("test_efficientnet").state_dict(), weights)
    recipe = load_recipe(photos_recipe, [f"model.pretrained={weights}"])
    run = create_run(recipe, tmp_path / "runs")
    fit_run(run, make_fabric(recipe))

    found = beside_ridge(run, load_captures(recipe))

    assert found is not None
    kept = json.loads((run.folder / "beside.json").read_text())
    assert kept["sentence"] == found.sentence
    assert found.ours == pytest.approx(run.metrics()["one.alde"])
    assert found.percent == pytest.approx(100 * (found.ours / found.theirs - 1))
    assert len(list(recipe.compute.cache.glob("rivals-*.npy"))) == 1  # looked at once, then kept


def test_a_net_that_starts_from_nothing_has_no_such_simple_model(photos_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(photos_recipe)

    assert beside_ridge(create_run(recipe, tmp_path), load_captures(recipe)) is None


def test_spectra_have_no_such_simple_model(spectra_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(spectra_recipe)

    assert beside_ridge(create_run(recipe, tmp_path), load_captures(recipe)) is None
