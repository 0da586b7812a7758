"""Decoded photos are kept by their content, as far as there is room."""

from pathlib import Path

import numpy as np

from weft_training.data import load_captures
from weft_training.fit import make_task
from weft_training.photo_shelf import PhotoShelf
from weft_training.recipe import WeightRecipe, load_recipe


def shelf(recipe: Path, *overrides: str) -> PhotoShelf:
    settings = load_recipe(recipe, overrides)
    assert isinstance(settings, WeightRecipe)
    made = PhotoShelf(load_captures(settings), settings)
    made.look(quiet=True)
    return made


def test_a_photo_is_decoded_once_and_read_the_same_ever_after(photos_recipe: Path, tmp_path: Path) -> None:
    first, again = shelf(photos_recipe), shelf(photos_recipe)
    decoded = [first.pixels(row) for row in range(len(first))]
    kept = sorted((tmp_path / "cache").glob("decoded-*/*.npy"))
    stamps = [file.stat().st_mtime_ns for file in kept]

    assert len(kept) == 16
    assert all(np.array_equal(again.pixels(row), pixels) for row, pixels in enumerate(decoded))
    assert [file.stat().st_mtime_ns for file in kept] == stamps


def test_no_more_is_kept_than_there_is_room_for(photos_recipe: Path, tmp_path: Path) -> None:
    size = shelf(photos_recipe, "compute.decoded_gb=0").pixels(0).nbytes
    assert not list((tmp_path / "cache").glob("decoded-*/*.npy"))

    small = shelf(photos_recipe, f"compute.decoded_gb={3.2 * size / 1e9}")
    for row in range(len(small)):
        small.pixels(row)

    assert 2 <= len(list((tmp_path / "cache").glob("decoded-*/*.npy"))) <= 3


def test_training_batches_are_the_same_from_any_number_of_threads(
    photos_recipe: Path, tmp_path: Path
) -> None:
    from weft_training.fit import Course

    batches = []
    for workers in (0, 3):
        overrides = ["model.freeze=none", "model.init=none", f"compute.workers={workers}"]
        settings = load_recipe(photos_recipe, overrides)
        task = make_task(settings, load_captures(settings))
        task.prepare(quiet=True)
        course = Course(task, settings, np.arange(16), np.arange(0), seed=5, folder=tmp_path)
        batches.append(list(course.batches(1, 4, rank=0, world_size=1)))

    for one, other in zip(*batches, strict=True):
        assert all(left.equal(right) for left, right in zip(one.inputs, other.inputs, strict=True))
        assert one.truth.equal(other.truth)
