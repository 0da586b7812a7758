"""What a frozen stem sees in every photo and its augmented views: computed once, kept on disk by content."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from weft_training.augment import UNMOVED, PhotoChange
from weft_training.photo_shelf import PhotoShelf, Pixels
from weft_training.recipe import WeightRecipe
from weft_training.weight_stem import WeightStem

Views = NDArray[np.int64]

_KEPT = ("features", "size", "moved")


class PhotoFeatures:
    """Pooled features are held in memory; maps are a hundred times larger and read when asked for."""

    def __init__(
        self, stem: WeightStem, shelf: PhotoShelf, recipe: WeightRecipe, change: PhotoChange
    ) -> None:
        self.digest = _hashed(stem)
        if recipe.compute.channels_last:
            stem.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.stem = stem
        self._shelf = shelf
        self._recipe = recipe
        self._change = change
        self._folder = recipe.compute.cache / f"features-{self._settings_key()}"
        self.pooled = torch.empty(0)  # (rows, 1 + views, D); view 0 is the clean photo
        self.size = torch.empty(0)  # (rows, 1 + views, 2) rows and columns
        self.moved = torch.empty(0)  # (rows, 1 + views, 2, 3) as in `augment.Changed`

    def compute(self, *, quiet: bool) -> None:
        """Look at every photo that no earlier run has looked at with the same stem and settings."""
        self._folder.mkdir(parents=True, exist_ok=True)
        rows = tqdm(range(len(self._shelf)), desc="features", unit="photo", disable=quiet or None)
        found = [self._of_photo(row) for row in rows]
        self.pooled, self.size, self.moved = (torch.stack(parts) for parts in zip(*found, strict=True))

    @property
    def views(self) -> int:
        return self.pooled.shape[1]

    def maps(self, rows: NDArray[np.int64], views: Views) -> Tensor:
        """(len(rows), K, h, w) of one view of each."""
        if not self.stem.levels:
            return torch.zeros(len(rows), 0, 1, 1)
        # Opened as a map of the file: only the view that is asked for is read.
        found = [
            np.load(self._file(int(row), ".npy"), mmap_mode="r")[view]
            for row, view in zip(rows, views, strict=True)
        ]
        return torch.from_numpy(np.stack(found)).float()

    def _of_photo(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features (1 + views, D), rows and columns (1 + views, 2), whereto pixels went (1 + views, 2, 3)."""
        file = self._file(row, ".npz")
        if file.is_file():
            with np.load(file) as kept:
                features, size, moved = (torch.from_numpy(kept[name]) for name in _KEPT)
                return features, size, moved
        pixels = self._shelf.pixels(row)
        # Seeded by content: the views of a photo are the same in every run and on every machine.
        seed = int(self._shelf.digests[row][:8], 16) % 2**31
        changed = [self._change(pixels, seed + view) for view in range(self._recipe.augment.views)]
        photos, size = pad_photos([[pixels, *(view.pixels for view in changed)]])
        pooled, maps = self._look(photos[0], size[0])
        moved = np.stack([UNMOVED, *(view.moved for view in changed)])
        if self.stem.levels:
            # Half precision halves the cache; what it rounds off lies far under what a view changes.
            half = maps.half().numpy()
            _write(self._file(row, ".npy"), lambda path: _save_array(path, half))
        kept = dict(zip(_KEPT, (pooled.float().numpy(), size[0].float().numpy(), moved), strict=True))
        _write(file, lambda path: _save_arrays(path, kept))
        return pooled.float().clone(), size[0].float(), torch.from_numpy(moved)

    def _look(self, photos: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """What the stem sees in a photo, first, and in its views.

        The photo itself is looked at in full precision, as the exported graph will; in its views a rounding
        is one small change more, and mixed precision is three times as fast on one core.
        """
        mixed = self._recipe.compute.precision == "bf16-mixed" and len(photos) > 1
        with torch.inference_mode():
            if not mixed:
                return self.stem.look(photos, size)
            clean = self.stem.look(photos[:1], size[:1])
            with torch.autocast(photos.device.type, torch.bfloat16):
                views = self.stem.look(photos[1:], size[1:])
        pooled, maps = (torch.cat([one, more.float()]) for one, more in zip(clean, views, strict=True))
        return pooled, maps

    def _file(self, row: int, suffix: str) -> Path:
        return self._folder / f"{self._shelf.digests[row]}{suffix}"

    def _settings_key(self) -> str:
        settings = [
            self._recipe.model.input_px,
            self._recipe.model.bands,
            self._recipe.model.levels,
            self._recipe.data.decode_px,
            self._recipe.compute.precision,
            self._recipe.augment.model_dump(exclude={"drop_extras"}),
        ]
        settings += [self._recipe.model.layers, _KEPT]
        return hashlib.sha256((self.digest + json.dumps(settings, sort_keys=True)).encode()).hexdigest()[:16]


def pad_photos(photos: Sequence[Sequence[Pixels]]) -> tuple[Tensor, Tensor]:
    """(B, N, C, H, W) uint8 padded at the bottom and right, and (B, N, 2) rows and columns."""
    count = max(len(item) for item in photos)
    height = max(photo.shape[0] for item in photos for photo in item)
    width = max(photo.shape[1] for item in photos for photo in item)
    bands = photos[0][0].shape[2]
    pixels = torch.zeros(len(photos), count, bands, height, width, dtype=torch.uint8)
    size = torch.ones(len(photos), count, 2, dtype=torch.int64)
    for at, item in enumerate(photos):
        for place, photo in enumerate(item):
            rows, columns = photo.shape[:2]
            pixels[at, place, :, :rows, :columns] = torch.from_numpy(photo).permute(2, 0, 1)
            size[at, place] = torch.tensor([rows, columns])
    return pixels, size


def _hashed(stem: WeightStem) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(stem.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _write(file: Path, write: Callable[[Path], None]) -> None:
    """So that a kill, or a second process, never leaves half a file."""
    beside = file.with_name(f".{os.getpid()}-{file.name}")
    write(beside)
    beside.replace(file)


def _save_array(path: Path, values: NDArray[np.float16]) -> None:
    with path.open("wb") as out:
        np.save(out, values)


def _save_arrays(path: Path, values: dict[str, NDArray[np.float32]]) -> None:
    with path.open("wb") as out:
        np.savez(out, **values)  # pyright: ignore[reportArgumentType]
