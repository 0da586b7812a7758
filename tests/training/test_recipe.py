"""Recipes: one hop from YAML to a frozen object, and no key that is guessed."""

import subprocess
import sys
from pathlib import Path

import pytest

from weft.errors import RecipeError
from weft_training.recipe import FibreRecipe, WeightRecipe, check_recipe, dump_recipe, load_recipe

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_comes_along_is_valid_and_says_how_to_run_it(path: Path) -> None:
    recipe = load_recipe(path)

    assert recipe.name == path.stem
    assert f"weft train configs/{path.name}" in path.read_text().split("seed:")[0]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_read_back_from_its_run_is_the_same(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))

    assert load_recipe(tmp_path / "recipe.yaml") == recipe


def test_overrides_win_over_the_file() -> None:
    recipe = load_recipe(
        CONFIGS / "smoke-weight.yaml", ["optim.epochs=99", "data.simulate.subjects=7", "track=null"]
    )

    assert isinstance(recipe, WeightRecipe)
    assert (recipe.optim.epochs, recipe.data.simulate.subjects, recipe.track) == (99, 7, None)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("optim.peek_lr=1", "optim.peek_lr: there is no such key"),
        ("optim.epochs=many", "optim.epochs: Input should be a valid integer"),
        ("optim.peak_lr=-1", "optim.peak_lr: Input should be greater than 0"),
        ("split.scheme=random", "split.scheme"),
        ("data.simulate=null", "needs either `manifest` or `simulate`"),
        ("data.simulate.bands=[red]", "data.simulate.bands and model.bands differ"),
        ("model.init=ridge", "init: ridge needs freeze: all"),
        ("model.kernel_share=0.5", "kernel_share needs freeze: all"),
        ("model.layers=[1]", "layers needs kernel_share"),
        ("task=sorting", "weight"),
        ("epochs", "write key=value"),
        ("=3", "write key=value"),
        ("weight=3", "weight: there is no such key"),
        ("model.hidden=${no.such.key}", "not a readable recipe"),
    ],
)
def test_a_misspelt_or_impossible_setting_is_refused_with_its_path(override: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(CONFIGS / "smoke-weight.yaml", [override])

    assert words in str(caught.value)


def test_a_missing_key_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text("seed: 1\nname: x\ntask: weight\noptim: {epochs: 1, batch: 1}\n")

    with pytest.raises(RecipeError, match=r"optim\.peak_lr: this key is missing"):
        load_recipe(tmp_path / "short.yaml")


def test_a_recipe_that_is_not_there_or_no_yaml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [1,")

    with pytest.raises(RecipeError, match="there is no such recipe"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="not a readable recipe"):
        load_recipe(tmp_path / "bad.yaml")
    with pytest.raises(RecipeError):
        check_recipe([1, 2], source="a list")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    with pytest.raises(RecipeError, match="not a readable recipe"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(RecipeError, match="task: this key is missing; write `task: weight`"):
        load_recipe(tmp_path / "empty.yaml")


def test_a_fibre_that_has_another_name_here_is_named() -> None:
    with pytest.raises(RecipeError, match="'polyamide' is called 'nylon' here"):
        load_recipe(CONFIGS / "smoke-fibre.yaml", ["data.fibres=[cotton,polyamide]"])


def test_members_of_a_linear_net_are_refused_since_they_would_all_be_one() -> None:
    with pytest.raises(RecipeError, match="members need trunk: mlp or conv"):
        load_recipe(CONFIGS / "smoke-fibre.yaml", ["model.trunk=linear", "model.members=2"])


def test_the_grid_has_the_wavelengths_it_says() -> None:
    grid_of = "model.grid={from_nm: 900, to_nm: 1700, step_nm: 3.5}"
    recipe = load_recipe(CONFIGS / "smoke-fibre.yaml", [grid_of])

    assert isinstance(recipe, FibreRecipe)
    grid = recipe.model.grid.wavelengths()
    assert (grid[0], grid[1], grid[-1]) == (900, 903.5, 1698)


def test_reading_a_recipe_or_asking_for_help_does_not_load_torch() -> None:
    code = (
        "import sys; import weft_training.cli, weft_training.recipe, weft_training; "
        "print([name for name in ('torch', 'timm', 'lightning', 'mlflow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("override", ["model.preprocess=[{kind: snv}]", "model.init=none"])
def test_solving_by_branch_needs_branches_and_a_closed_form(override: str) -> None:
    given = [override, "model.solve=by_branch", "optim.epochs=1"]

    with pytest.raises(
        RecipeError, match="solve: by_branch needs a closed form and a preprocess that ends in"
    ):
        load_recipe(CONFIGS / "fibre-nirscan.yaml", given)
