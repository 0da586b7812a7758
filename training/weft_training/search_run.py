"""The whole of `weft search`: trials, the best measured again, its recipe and a page about it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weft_training.recipe import Recipe
from weft_training.run import write_atomically
from weft_training.search import Search, measure_again, run_search, write_best
from weft_training.search_report import as_json, lines, write_page
from weft_training.search_space import load_space


@dataclass(frozen=True)
class Searched:
    best: Path
    page: Path
    lines: list[str]
    json: dict[str, Any]


def search_recipe(
    recipe: Recipe,
    space: Path,
    *,
    runs: Path,
    trials: int,
    workers: int = 1,
    storage: str | None = None,
    study: str | None = None,
    again: int = 2,
    heartbeat: int = 20,
    resume: bool = False,
) -> Searched:
    """Search, measure the best on `again` other splits, write best.yaml, search.json and search.html.

    Raises:
        RecipeError: The space does not fit the recipe.
        RunError: See `search.run_search`.
    """
    name = study or recipe.name
    folder = runs / "search" / name
    folder.mkdir(parents=True, exist_ok=True)
    settings = Search(
        recipe=recipe,
        space=load_space(space, recipe),
        folder=folder,
        storage=storage or f"sqlite:///{folder / 'study.db'}",
        study=name,
        trials=trials,
        heartbeat_s=heartbeat,
    )
    done = run_search(settings, workers=workers, resume=resume)
    found = measure_again(settings, done, seeds=again)
    said = lines(settings, found)
    best = write_best(
        folder / "best.yaml", recipe, found.values, said="\n".join(["Found by weft search.", *said])
    )
    result = as_json(settings, done, found)
    write_atomically(folder / "search.json", (json.dumps(result, indent=2) + "\n").encode())
    return Searched(best, write_page(settings, done, found), said, result)
