"""What a search may change of a recipe, as a file in `configs/search/`: YAML -> one frozen, checked object.

objective: subject.balanced_accuracy
parameters:
  model.shrinkage: { kind: float, low: 0.01, high: 1.0, log: true }
  model.preprocess.1.window: { kind: int, low: 5, high: 25, step: 2 }
  model.trunk: { kind: choice, of: [linear, mlp] }
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field, ValidationError, model_validator

from weft.errors import RecipeError
from weft_training.recipe import Recipe, Section, check_recipe

if TYPE_CHECKING:
    from optuna.trial import Trial

Direction = Literal["minimise", "maximise"]

# By the last word of a figure's name, or the last but one: mae_points.cotton.
_BETTER: Final[dict[str, Direction]] = {
    "alde": "minimise",
    "mape": "minimise",
    "mae_grams": "minimise",
    "mae_points": "minimise",
    "width_ratio": "minimise",
    "within_x2": "maximise",
    "balanced_accuracy": "maximise",
    "macro_f1": "maximise",
    "unknown_auroc": "maximise",
}


class FloatRange(Section):
    kind: Literal["float"]
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def holds_together(self) -> "FloatRange":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must lie below high, and above 0 where log is true")
        return self

    def ends(self) -> list[Any]:
        return [self.low, self.high]

    def suggest(self, trial: "Trial", path: str) -> Any:
        return trial.suggest_float(path, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


class IntRange(Section):
    kind: Literal["int"]
    low: int
    high: int
    step: int = Field(default=1, ge=1)
    log: bool = False

    @model_validator(mode="after")
    def holds_together(self) -> "IntRange":
        if not self.low < self.high or (self.log and (self.low < 1 or self.step != 1)):
            raise ValueError("low must lie below high; log needs low from 1 and no step")
        return self

    def ends(self) -> list[Any]:
        return [self.low, self.low + (self.high - self.low) // self.step * self.step]

    def suggest(self, trial: "Trial", path: str) -> Any:
        return trial.suggest_int(path, *self.ends(), step=self.step, log=self.log)

    def holds(self, value: Any) -> bool:
        inside = isinstance(value, int) and self.low <= value <= self.high
        return inside and (value - self.low) % self.step == 0


class Choice(Section):
    kind: Literal["choice"]
    of: tuple[Any, ...] = Field(min_length=2)  # any YAML: also whole lists of preprocessing steps

    def ends(self) -> list[Any]:
        return list(self.of)

    def suggest(self, trial: "Trial", path: str) -> Any:
        # A database keeps only plain values: the choices go there as text.
        return json.loads(trial.suggest_categorical(path, [json.dumps(value) for value in self.of]))

    def holds(self, value: Any) -> bool:
        return value in self.of


class Space(Section):
    objective: str  # a figure of `metrics.metrics_of`, such as one.alde
    direction: Direction | None = None  # None: known by the figure's name
    parameters: dict[str, Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")]] = Field(
        min_length=1
    )

    @model_validator(mode="after")
    def has_a_direction(self) -> "Space":
        self.better()
        return self

    def better(self) -> Direction:
        """Whether less or more of the objective is better."""
        if self.direction is not None:
            return self.direction
        for word in reversed(self.objective.split(".")):
            if word in _BETTER:
                return _BETTER[word]
        raise ValueError(f"objective {self.objective}: write `direction: minimise` or `maximise` with it")

    def suggest(self, trial: "Trial") -> dict[str, Any]:
        """The value of each path that a trial is to use."""
        return {path: within.suggest(trial, path) for path, within in self.parameters.items()}

    def stored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as a database keeps them."""
        choices = {path for path, within in self.parameters.items() if isinstance(within, Choice)}
        return {path: json.dumps(value) if path in choices else value for path, value in values.items()}

    def values(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """The other way round."""
        choices = {path for path, within in self.parameters.items() if isinstance(within, Choice)}
        return {path: json.loads(value) if path in choices else value for path, value in stored.items()}

    def stands_at(self, recipe: Recipe) -> dict[str, Any]:
        """The recipe's own values, of those parameters whose range holds them."""
        plain = OmegaConf.create(recipe.model_dump(mode="json"))
        found = {path: _plain(OmegaConf.select(plain, path)) for path in self.parameters}
        return {path: value for path, value in found.items() if self.parameters[path].holds(value)}


def load_space(path: Path, recipe: Recipe) -> Space:
    """Read a search space and try the ends of each range on the recipe.

    Raises:
        RecipeError: Not readable, a misspelt key, or a value that the recipe refuses.
    """
    try:
        space = Space.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise RecipeError(
            f"{path}: there is no such search space; write one (docs/search.md) and name it with --space"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: not a readable search space: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3]]
        raise RecipeError(f"{path}: {'; '.join(faults)}") from error
    for parameter, within in space.parameters.items():
        for value in within.ends():
            try:
                lay_over(recipe, {parameter: value})
            except RecipeError as error:
                raise RecipeError(f"{path}: {parameter} = {value!r} does not go with it: {error}") from error
    return space


def lay_over(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other values at some paths (model.preprocess.1.window); else RecipeError."""
    plain = OmegaConf.create(recipe.model_dump(mode="json"))
    assert isinstance(plain, DictConfig), "a recipe is a mapping"
    try:
        for path, value in values.items():
            OmegaConf.update(plain, path, value, merge=False)
        changed = OmegaConf.to_container(plain, resolve=True)
    except (OmegaConfBaseException, ValueError, TypeError, IndexError, AttributeError) as error:
        raise RecipeError(f"{recipe.name}: {' '.join(str(error).split())}") from error
    return check_recipe(changed, source=recipe.name)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
