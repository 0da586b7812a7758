"""A mark is told at the place where a changed photo shows it, whichever way training sees the photo."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from weft_datasets.manifest import make_manifest, write_manifest
from weft_training.data import load_captures
from weft_training.fit import make_task
from weft_training.recipe import load_recipe
from weft_training.weight_task import WeightTask

_SIZES = ((640, 480), (480, 640), (600, 337))  # width, height


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Twelve grey photos, each with a red square where its simulated mark is said to lie."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(12):
        width, height = _SIZES[number % 3]
        pixels = np.full((height, width, 3), 120, np.uint8)
        x, y = (int(rng.integers(60, side - 60)) for side in (width, height))
        pixels[y - 10 : y + 10, x - 10 : x + 10] = (255, 0, 0)
        pixels[0, 0] = number  # no two alike
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        truth = {"mark_x_px_truth": float(x), "mark_y_px_truth": float(y), "mark_tilt_degrees_truth": 30.0}
        mark = {"mark": "qr", "mark_mm": 60.0, "mark_mm_per_pixel_truth": 1.5, "simulated": True}
        names = {"capture": f"c{number}", "subject": f"s{number // 3}", "path": f"{number}.png"}
        rows.append(names | mark | truth | {"kind": "photo", "grams": 100.0 + number // 3})
    manifest = make_manifest(pd.DataFrame(rows), root=tmp_path, name="red", notes={"simulated": True})
    write_manifest(manifest, tmp_path / "manifest.parquet")
    still = {"light": 0, "colour": 0, "blur_px": 0, "noise": 0, "drop_extras": 0, "views": 3}
    settings = {
        "seed": 1,
        "name": "red",
        "task": "weight",
        "data": {"manifest": str(tmp_path / "manifest.parquet"), "decode_px": 160},
        "model": {"backbone": "test_efficientnet", "input_px": 64},
        "augment": still,
        "optim": {"epochs": 1, "batch": 4, "peak_lr": 1e-3},
        "compute": {"cache": str(tmp_path / "cache")},
        "split": {"folds": 2},
        "export": {"name": "red", "dataset": "red squares"},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path / "recipe.yaml"


def prepared(recipe: Path, freeze: str) -> WeightTask:
    settings = load_recipe(recipe, [f"model.freeze={freeze}"])
    task = make_task(settings, load_captures(settings))
    assert isinstance(task, WeightTask)
    task.prepare(quiet=True)
    return task


def middle_of_red(pixels: np.ndarray) -> np.ndarray:
    """(x, y) in pixels (H, W, 3), whole numbers at their corners."""
    red = np.clip(pixels[..., 0].astype(float) - pixels[..., 1] - 40, 0, None)
    y, x = np.indices(red.shape) + 0.5
    return np.array([(red * x).sum(), (red * y).sum()]) / red.sum()


def test_a_batch_of_pixels_comes_with_the_places_of_its_marks(recipe: Path) -> None:
    task = prepared(recipe, "none")
    items = task.items(np.arange(12), np.random.default_rng(1))

    photos, size, mask, scale, mark_at, *_ = task.batch(items, np.random.default_rng(2)).inputs

    whole = ((mark_at[..., :2] > 5) & (mark_at[..., :2] < size.flip(-1) - 5)).all(-1)  # not cut by an edge
    told = (mask & (scale > 0) & whole).nonzero().tolist()
    assert len(told) >= 8
    for item, place in told:
        rows, columns = size[item, place].tolist()
        seen = middle_of_red(photos[item, place, :, :rows, :columns].permute(1, 2, 0).numpy())
        assert mark_at[item, place, :2].numpy() == pytest.approx(seen, abs=1.2)
    assert not mark_at[scale == 0].any()


def test_the_views_of_a_frozen_net_come_with_the_places_of_their_marks(recipe: Path) -> None:
    task = prepared(recipe, "all")
    assert task._features is not None
    one = [np.array([row]) for row in range(12)]

    told = task.batch(one, np.random.default_rng(2)).inputs[3]  # (12, 1, 5)

    views = np.random.default_rng(2)
    for row, view in enumerate(int(views.integers(task._features.views, size=1)[0]) for _ in one):
        seed = int(task.shelf.digests[row][:8], 16) % 2**31
        pixels = task.shelf.pixels(row)
        pixels = task._change(pixels, seed + view - 1).pixels if view else pixels
        if told[row, 0, 0] > 0:
            rows, columns = pixels.shape[:2]
            seen = (middle_of_red(pixels) - [columns / 2, rows / 2]) / max(rows, columns)
            assert told[row, 0, 2:4].numpy() == pytest.approx(seen, abs=1.2 / max(rows, columns))
    assert (told[:, 0, 0] > 0).sum() >= 5
