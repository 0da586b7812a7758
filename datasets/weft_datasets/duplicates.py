"""Captures that are the same measurement twice. Across subjects they leak from training into measurement.

Thresholds were set on real data. Of 1,552 food photos no two of different objects come nearer than 2.6 grey
levels; the same photo saved again at quality 50 stays within 1.0, at half size within 2.6. Over four spectral
sources, once offset, slope and factor are taken out, no two scans of different things come nearer than 2.1 %
of their own deviation, no two of one thing nearer than 1.1 %; a copy to four decimals lies below 0.1 %.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from weft.errors import InputError
from weft.limits import PHOTO_BYTES
from weft.photos import decode_photo

HASH_SIDE: Final = 16  # a hash of 16 x 16 comparisons of neighbours
THUMB_SIDE: Final = 32
BLOCK: Final = 1024  # rows compared at once: N x 1024 floats in memory
HASH_BITS_APART: Final = 40
COPY_LEVELS: Final = 1.0  # mean grey levels between two thumbnails of 0..255
NEAR_LEVELS: Final = 3.0
NEAR_CORRELATION: Final = 0.99
SAME_SHAPE: Final = 0.004  # of the deviation, what offset, slope and factor leave between two scans


@dataclass(frozen=True)
class Looked:
    """What is kept of a photo once it was decoded: no pixels of use to anybody, no EXIF."""

    sha256: str
    bits: NDArray[np.bool_]  # (HASH_SIDE ** 2,)
    thumb: NDArray[np.float32]  # (THUMB_SIDE ** 2,) grey levels
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Pair:
    first: int  # rows of the manifest
    second: int
    same: bool  # the same measurement beyond doubt; else only very like it


def look_at_photos(files: Sequence[Path], *, bands: int | None) -> list[Looked | str]:
    """Decode every photo once; a sentence stands in place of one that cannot be read."""

    def look(file: Path) -> Looked | str:
        try:
            return _look(file, bands)
        except (InputError, OSError, ValueError) as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(look, files))


def _look(file: Path, bands: int | None) -> Looked:
    if file.stat().st_size > PHOTO_BYTES and file.suffix != ".npy":
        raise ValueError(f"{file.stat().st_size} bytes, {PHOTO_BYTES} is the most")
    data = file.read_bytes()
    if file.suffix == ".npy":
        pixels = read_bands(file, bands)
        height, width = pixels.shape[:2]
        grey = Image.fromarray(pixels.mean(axis=2).astype(np.uint8))
    else:
        photo = decode_photo(data, longest_px=4 * THUMB_SIDE)
        width, height = photo.full_width_px, photo.full_height_px
        grey = Image.fromarray(photo.pixels).convert("L")
    small = np.asarray(grey.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), np.int16)
    thumb = np.asarray(grey.resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX), np.float32)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return Looked(hashlib.sha256(data).hexdigest(), bits, thumb.ravel(), width, height)


def read_bands(file: Path, bands: int | None) -> NDArray[np.uint8]:
    """A multi-band photo, uint8 (H, W, C).

    Raises:
        ValueError: Another type or shape than the manifest promises.
    """
    pixels = np.load(file, allow_pickle=False)
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or (bands is not None and pixels.shape[2] != bands):
        wanted = "C" if bands is None else bands
        raise ValueError(f"array of {pixels.dtype} {pixels.shape}, needed uint8 (H, W, {wanted})")
    return pixels


def photo_pairs(looked: Sequence[Looked | str]) -> Iterator[Pair]:
    """Pairs of rows whose photos are the same file, the same picture saved again, or very alike."""
    rows = np.array([row for row, seen in enumerate(looked) if isinstance(seen, Looked)], int)
    seen = [looked[row] for row in rows]
    good = [one for one in seen if isinstance(one, Looked)]
    if len(good) < 2:
        return
    # Signs make the number of differing bits one matrix product.
    signs = np.stack([np.where(one.bits, 1.0, -1.0).astype(np.float32) for one in good])  # (N, bits)
    thumbs = np.stack([one.thumb for one in good])  # (N, T)
    centred = thumbs - thumbs.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1)
    for start, block in _blocks(signs):
        apart = (signs.shape[1] - block @ signs.T) / 2  # (block, N) bits
        for i, j in _upper(apart <= HASH_BITS_APART, start):
            levels = float(np.abs(thumbs[i] - thumbs[j]).mean())
            alike = float(centred[i] @ centred[j]) / max(float(norms[i] * norms[j]), 1e-9)
            exact = good[i].sha256 == good[j].sha256
            if exact or (levels <= NEAR_LEVELS and alike >= NEAR_CORRELATION):
                yield Pair(int(rows[i]), int(rows[j]), same=exact or levels <= COPY_LEVELS)


def spectrum_pairs(frame: pd.DataFrame) -> Iterator[Pair]:
    """Pairs of rows on one grid whose spectra are equal but for offset, slope, factor and rounding."""
    for rows in grids(frame):
        values = np.stack([np.asarray(frame["absorbance"].iloc[row], np.float64) for row in rows])  # (N, L)
        shape = _without_line(values)
        rough = shape.astype(np.float32)
        for start, block in _blocks(rough):
            for i, j in _upper(block @ rough.T >= 1 - 10 * SAME_SHAPE**2, start):
                if 1 - float(shape[i] @ shape[j]) ** 2 <= SAME_SHAPE**2:
                    yield Pair(int(rows[i]), int(rows[j]), same=True)


def _without_line(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row without offset and slope, of length 1, shape (N, L); a flat row is 0 and like no other."""
    place = np.linspace(-1, 1, values.shape[1])
    line, _ = np.linalg.qr(np.stack([np.ones_like(place), place], axis=1))  # (L, 2)
    bent = values - (values @ line) @ line.T
    norms = np.linalg.norm(bent, axis=1, keepdims=True)
    return np.where(norms > 1e-6, bent / np.maximum(norms, 1e-6), 0.0)


def grids(frame: pd.DataFrame) -> list[NDArray[np.int64]]:
    """Rows that share a wavelength grid, one array a grid, without rows that have no usable spectrum."""
    found: dict[bytes, list[int]] = {}
    for row, (nm, values) in enumerate(zip(frame["wavelength_nm"], frame["absorbance"], strict=True)):
        if nm is None or values is None or len(nm) != len(values) or not np.isfinite(values).all():
            continue
        found.setdefault(np.asarray(nm, np.float64).tobytes(), []).append(row)
    return [np.array(rows, np.int64) for rows in found.values()]


def _blocks(values: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, len(values), BLOCK):
        yield start, values[start : start + BLOCK]


def _upper(hits: NDArray[np.bool_], start: int) -> Iterator[tuple[int, int]]:
    """Each pair once, the earlier row first."""
    for i, j in np.argwhere(hits):
        if start + i < j:
            yield int(start + i), int(j)


def groups(pairs: Sequence[Pair], keep: Callable[[Pair], bool]) -> list[list[int]]:
    """Rows that hang together through the pairs that `keep` accepts, each group sorted."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            row = parent[row]
        return row

    for pair in pairs:
        if keep(pair):
            first, second = sorted((root(pair.first), root(pair.second)))
            parent[second] = first
    together: dict[int, list[int]] = {}
    for row in sorted(parent):
        together.setdefault(root(row), []).append(row)
    return list(together.values())
