"""How long training waits for photos: an epoch's steps against the same steps on batches that lie ready.

    python benchmarks/loader.py configs/X.yaml [KEY=VALUE]... --steps 8

The floor is the bare update on batches made before. A ratio of 1 means that the loader costs nothing.
"""

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from weft_training.data import load_captures
from weft_training.fit import Course, make_fabric, make_task
from weft_training.rates import parameter_groups
from weft_training.recipe import load_recipe
from weft_training.step import train_step


def measure(recipe_path: Path, overrides: list[str], steps: int) -> dict[str, float]:
    """Seconds a step, by what it had to wait for."""
    found: dict[str, float] = {}
    for name, more in (
        ("decoded_anew", ["compute.decoded_gb=0", "compute.workers=0"]),
        ("decoded_once", ["compute.workers=0"]),
        ("decoded_once_and_made_ahead", ["compute.workers=1"]),
    ):
        recipe = load_recipe(recipe_path, [*overrides, *more])
        task = make_task(recipe, load_captures(recipe))
        task.prepare(quiet=True)
        rows = np.arange(len(task.captures))
        fabric = make_fabric(recipe)
        net = task.build(rows, seed=1)
        module = task.trained(net).train()
        if recipe.compute.channels_last:
            module.to(memory_format=torch.channels_last)
        groups = parameter_groups(module, task.backbone(net), recipe.optim)
        trained, optimizer = fabric.setup(module, torch.optim.AdamW(groups))
        course = Course(task, recipe, rows, rows[:0], seed=1, folder=Path(tempfile.gettempdir()))
        of_epoch = round(len(rows) / recipe.optim.batch)

        def step(batch: object, trained=trained, task=task, optimizer=optimizer, fabric=fabric) -> None:  # noqa: ANN001
            train_step(trained, batch, task.criterion, optimizer, engine=fabric, clip_norm=1.0)

        ready = list(itertools.islice(course.batches(0, of_epoch, rank=0, world_size=1), steps))
        step(ready[0])  # the first one sets up memory
        if "bare_step" not in found:
            start = time.perf_counter()
            for batch in ready:
                step(batch)
            found["bare_step"] = (time.perf_counter() - start) / len(ready)
        start = time.perf_counter()
        for batch in itertools.islice(course.batches(0, of_epoch, rank=0, world_size=1), steps):
            step(batch)
        found[name] = (time.perf_counter() - start) / len(ready)
    floor = found["bare_step"]
    return {name: round(value, 4) for name, value in found.items()} | {
        f"{name}_over_floor": round(value / floor, 3) for name, value in found.items() if name != "bare_step"
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=8)
    asked = parser.parse_args()
    print(json.dumps(measure(asked.recipe, asked.overrides, asked.steps), indent=2))


if __name__ == "__main__":
    main()
