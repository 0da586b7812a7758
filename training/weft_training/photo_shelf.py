"""Photos as the service would see them: decoded by the same code, with the scale their mark gives.

Looking for the mark is the slow part, and its answer never changes: kept on disk by the photo's content. The
decoded pixels are kept too, up to `compute.decoded_gb`: without a frozen stem every epoch asks for them.
"""

import hashlib
import io
import json
import math
import os
import threading
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from weft import marks, photos, weigher
from weft.errors import ManifestError
from weft.marks import NOWHERE, MarkAt, MarkHint
from weft.marks.qr import MOST_TILT
from weft.weigher import prepare_pixels
from weft_training.data import Captures, manifest_bands
from weft_training.recipe import Mark, WeightRecipe

Pixels = NDArray[np.uint8]

_READABLE_PX: Final = 1600  # longest side at which a 60 mm label in a room is looked for
_FOUND: Final = 0.77  # of labels in simulated photos at that size, 10 of 13 were found,
_SPREAD: Final = 0.01  # within 1.4 % of the truth
_FACING_SPREAD: Final = 0.02  # of the tilt's cosine; 0.009 on 46 labels drawn in perspective at 1,600 px


class _Truth(NamedTuple):
    mm_per_pixel: float
    at: MarkAt


class PhotoShelf:
    """The photos of a run by row number. `look` must have run before scales are asked for."""

    def __init__(self, captures: Captures, recipe: WeightRecipe) -> None:
        frame = captures.manifest.frame
        self._files = [captures.manifest.file(path) for path in frame["path"]]
        self._hints = [_hint(recipe, kind, size) for kind, size in _marks(captures)]
        wanted = recipe.data.marks != "none"
        self._simulated = _simulated_marks(captures) if wanted else [None] * len(frame)  # of the whole photo
        have = manifest_bands(captures.manifest)
        self._order = [have.index(band) for band in recipe.model.bands]
        self._decode_px = recipe.data.decode_px
        self._cache = recipe.compute.cache
        self._decoded = self._cache / f"decoded-{self._decode_px}-{_digest_of(photos)}"
        self._budget = int(recipe.compute.decoded_gb * 1e9)
        self._room: int | None = None  # bytes that may still be written there; None: not looked yet
        self._marks: dict[int, tuple[float, MarkAt]] = {}  # millimetres per pixel, 0 unknown, and the place
        self.digests: list[str] = []

    def __len__(self) -> int:
        return len(self._files)

    def look(self, *, quiet: bool) -> None:
        """Hash every photo and find its scale, from the cache where it is known."""
        self.digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self._files]
        known_at = self._cache / f"marks-{self._decode_px}-{_finder()}.json"
        known: dict[str, list[float]] = json.loads(known_at.read_text()) if known_at.is_file() else {}
        for row in tqdm(range(len(self)), desc="scale marks", unit="photo", disable=quiet or None):
            hint = self._hints[row]
            if hint is None:
                self._marks[row] = 0.0, NOWHERE
                continue
            # Simulated again with the same seed a photo is the same; what is told of its mark may not be.
            key = f"{self.digests[row]} {hint.kind} {hint.size_mm:g} {self._simulated[row] or ''}"
            if key not in known:
                scale, at = self._find(row, hint)
                known[key] = [scale, *at]
            self._marks[row] = known[key][0], MarkAt(*known[key][1:])
        self._cache.mkdir(parents=True, exist_ok=True)
        beside = known_at.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(known))
        beside.replace(known_at)

    def pixels(self, row: int) -> Pixels:
        """(H, W, C) in the order of the recipe's bands."""
        file = self._files[row]
        if file.suffix == ".npy" or not self.digests:  # as it lies there, or not yet looked at
            return self._read(row, None)[0]
        kept = self._decoded / f"{self.digests[row]}.npy"
        try:
            return np.load(kept, allow_pickle=False)[..., self._order]
        except FileNotFoundError:
            prepared = prepare_pixels(file.read_bytes(), decode_px=self._decode_px, hint=None)
            self._keep(kept, prepared.photo.pixels)
            return prepared.photo.pixels[..., self._order]

    def mm_per_pixel(self, row: int) -> float:
        """Of the pixels that `pixels` gives; 0 where no mark was found."""
        return self._marks[row][0]

    def mark_at(self, row: int) -> MarkAt:
        """In the pixels that `pixels` gives."""
        return self._marks[row][1]

    @property
    def scaled(self) -> NDArray[np.bool_]:
        """(rows,) true where a mark gave the scale."""
        return np.array([self._marks[row][0] > 0 for row in range(len(self))])

    def mark_seen(self) -> str | None:
        """The commonest kind of mark that gave a scale, with its size: "disc 25 mm"."""
        seen = [
            f"{hint.kind} {hint.size_mm:g} mm"
            for row, hint in enumerate(self._hints)
            if hint and self._marks[row][0]
        ]
        return max(sorted(set(seen)), key=seen.count) if seen else None

    def _find(self, row: int, hint: MarkHint) -> tuple[float, MarkAt]:
        """Millimetres per pixel of `pixels`, 0 where no mark was found, and where it lies.

        A small simulated photo stands for a phone's: its label has too few pixels to be read, the original's
        has enough. So its scale is the simulator's, found as often and read as closely as at full size.
        """
        truth = self._simulated[row]
        if truth is None or self._files[row].suffix == ".npy":
            return self._read(row, hint)[1:]
        photo = prepare_pixels(self._files[row].read_bytes(), decode_px=self._decode_px, hint=None).photo
        if max(photo.full_width_px, photo.full_height_px) >= _READABLE_PX:
            return self._read(row, hint)[1:]
        draw = np.random.default_rng(int(self.digests[row][:16], 16))
        if draw.random() >= _FOUND or truth.at.facing < MOST_TILT:
            return 0.0, NOWHERE
        per_pixel = photo.full_per_pixel
        scale = float(truth.mm_per_pixel * per_pixel * draw.normal(1.0, _SPREAD))
        facing = min(float(truth.at.facing + draw.normal(0.0, _FACING_SPREAD)), 1.0)
        return scale, MarkAt(truth.at.x_px / per_pixel, truth.at.y_px / per_pixel, facing)

    def _keep(self, kept: Path, pixels: Pixels) -> None:
        """Write decoded pixels while there is room; a reader in another process finds all of them or none."""
        if self._room is None:
            self._decoded.mkdir(parents=True, exist_ok=True)
            self._room = self._budget - sum(entry.stat().st_size for entry in os.scandir(self._decoded))
        if pixels.nbytes > self._room:
            return
        self._room -= pixels.nbytes
        beside = kept.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        with beside.open("wb") as out:
            np.save(out, pixels)
        beside.replace(kept)

    def _read(self, row: int, hint: MarkHint | None) -> tuple[Pixels, float, MarkAt]:
        file = self._files[row]
        data = file.read_bytes()
        if file.suffix != ".npy":
            prepared = prepare_pixels(data, decode_px=self._decode_px, hint=hint)
            return prepared.photo.pixels[..., self._order], prepared.mm_per_pixel, prepared.mark_at
        pixels: Pixels = np.load(io.BytesIO(data), allow_pickle=False)
        if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[2] <= max(self._order):
            raise ManifestError(
                f"{file}: got an array {pixels.shape} of {pixels.dtype}, need uint8 (H, W, C) with the "
                f"manifest's bands on the last axis"
            )
        return pixels[..., self._order], 0.0, NOWHERE


def _finder() -> str:
    """Digest of the code that finds marks: a scale it no longer gives must not be trained on."""
    return _digest_of(marks, photos, weigher, own=Path(__file__).read_bytes())


def _digest_of(*modules: ModuleType, own: bytes = b"") -> str:
    total = hashlib.sha256(own)
    for module in modules:
        assert module.__file__ is not None, "they are files"
        file = Path(module.__file__)
        for part in sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else [file]:
            total.update(part.read_bytes())
    return total.hexdigest()[:12]


def _simulated_marks(captures: Captures) -> list[_Truth | None]:
    """The simulator's truth; never that of a real photo, which a service could not know.

    Raises:
        ManifestError: Of a simulated mark the scale is known alone: it was simulated by an older Weft.
    """
    names = ("mark_mm_per_pixel_truth", "mark_x_px_truth", "mark_y_px_truth", "mark_tilt_degrees_truth")
    truth = np.column_stack([captures.column(name).astype(float) for name in names])
    made = captures.column("simulated").astype(bool).to_numpy() & (truth[:, 0] > 0)
    if np.isnan(truth[made]).any():
        raise ManifestError(
            f"manifest '{captures.manifest.name}' tells of simulated marks without {', '.join(names[1:])}; "
            f"simulate the photos again, or set data.marks: none"
        )
    return [
        _Truth(scale, MarkAt(x, y, math.cos(math.radians(tilt)))) if told else None
        for told, (scale, x, y, tilt) in zip(made, truth.tolist(), strict=True)
    ]


def _marks(captures: Captures) -> list[tuple[object, object]]:
    return list(zip(captures.column("mark"), captures.column("mark_mm"), strict=True))


def _hint(recipe: WeightRecipe, kind: object, size_mm: object) -> MarkHint | None:
    wanted = recipe.data.marks
    if isinstance(wanted, Mark):
        return MarkHint(kind=wanted.kind, size_mm=wanted.size_mm)
    if wanted == "none" or not isinstance(kind, str) or not isinstance(size_mm, float) or not size_mm > 0:
        return None
    return MarkHint(kind=kind, size_mm=size_mm)  # pyright: ignore[reportArgumentType]
