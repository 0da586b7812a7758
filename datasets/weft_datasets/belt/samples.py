"""Pixels of many pieces that lie alone, each with its truth: what a belt bundle is trained on.

`out/manifest.parquet` has one row a piece, with the mean absorbance of its pixels; the pixels of all lie in
`out/pixels.npz`, in the manifest's order:

reflectance   (P, L) uint16, in steps of `STEP`, as a line works it out from raw counts and references
shares        (P, F) float16 by weight, of the pixel's own material; all 0 where it is no known textile
fibres        (F,) names
piece         (P,) the manifest's `pixel_row`
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.line.description import NirCamera
from weft_datasets.absorption import Floats
from weft_datasets.belt.camera import Camera, Levels, drawn_camera
from weft_datasets.belt.climate import Climate
from weft_datasets.belt.pieces import BeltPiece, drawn_piece
from weft_datasets.belt.pixels import drawn_belt
from weft_datasets.belt.scene import PiecePixels, Surface, drawn_surface, piece_pixels
from weft_datasets.manifest import Manifest, make_manifest, write_manifest
from weft_datasets.swatches import PURE, Shares

PIXELS_FILE: Final = "pixels.npz"
STEP: Final = 1 / 40_000  # of reflectance; a 12-bit camera's counts are ten times as far apart
FIBRES: Final = tuple(PURE)
ORIGIN: Final = "simulated by Weft; no measured spectrum was copied"
_CELL_MM: Final = 4.0  # of the pieces' maps: finer ones take three times as long and change no spectrum
_BELT_MM: Final = 1_000.0
# A line takes a piece's edges off before it votes, those by the belt at least; of pixels that hold two
# materials so many are left: seams, the rims of zips and prints.
_IMPURE: Final = 0.3
_OWN_SEEDS: Final = 1 << 40  # so that no piece is one of a belt with the same seed

Pixels = NDArray[np.float32]


@dataclass(eq=False)
class _Sampled:
    """What has been made so far."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    seen: list[Pixels] = field(default_factory=list)
    shares: list[Floats] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """One camera over one belt."""

    number: int
    seed: tuple[int, ...]
    camera: Camera
    levels: Levels
    climate: Climate
    surface: Surface
    pixel_mm: float


def write_samples(
    out: Path, *, camera: NirCamera, pieces: int, seed: int, pixels: int, cameras: int
) -> Manifest:
    """Simulate pieces under `cameras` units of one camera and write their manifest and pixels to `out`.

    The same seed gives the same bytes. Every other unit sees a quarter as many pixels across the belt, four
    times as large: binned, as a line in a hurry reads them.

    Args:
        pixels: Drawn of each piece; those of its edges are left out again.

    Raises:
        ValueError: No pieces, pixels or cameras.
    """
    if min(pieces, pixels, cameras) < 1:
        raise ValueError(f"need pieces, pixels and cameras, got {pieces}, {pixels} and {cameras}")
    found = _Sampled()
    for number in range(min(cameras, pieces)):
        unit = _drawn_unit(camera, seed, number)
        for piece in range(number, pieces, cameras):
            _add(found, unit, piece, pixels=pixels)
    frame = pd.DataFrame(found.rows)
    order = frame["pixel_row"].argsort(kind="stable").to_numpy()
    notes = {"source": ORIGIN, "licence": "Apache-2.0", "simulated": True, "seed": seed, "pieces": pieces}
    out.mkdir(parents=True, exist_ok=True)
    np.savez(
        out / PIXELS_FILE,
        reflectance=_steps(np.concatenate([found.seen[at] for at in order])),
        shares=np.concatenate([found.shares[at] for at in order]).astype(np.float16),
        fibres=np.array(FIBRES),
        piece=np.repeat(np.arange(len(order), dtype=np.int32), [len(found.seen[at]) for at in order]),
    )
    manifest = make_manifest(
        frame.iloc[order].reset_index(drop=True), root=out, name="simulated-belt-pieces", notes=notes
    )
    return write_manifest(manifest, out / "manifest.parquet")


def mended(seen: Pixels) -> Pixels:
    """Reflectance (P, L) without its gaps: a bad band is drawn straight between its neighbours."""
    at = np.arange(seen.shape[1])
    for row in np.flatnonzero(np.isnan(seen).any(1)):
        gaps = np.isnan(seen[row])
        seen[row, gaps] = np.interp(at[gaps], at[~gaps], seen[row, ~gaps])
    return seen


def _drawn_unit(described: NirCamera, seed: int, number: int) -> _Unit:
    own = (seed, _OWN_SEEDS, number)
    rng = np.random.default_rng(own)
    across = described.pixels // 4 if number % 2 else described.pixels
    camera = drawn_camera(rng, described.model_copy(update={"pixels": max(across, 8)}))
    climate = Climate(drawn_belt(rng), float(rng.uniform(0.35, 0.65)), cell_mm=_CELL_MM)
    return _Unit(
        number=number,
        seed=own,
        camera=camera,
        levels=camera.levels(rng),
        climate=climate,
        surface=drawn_surface(own, climate, from_mm=0.0, to_mm=3_000.0),
        pixel_mm=_BELT_MM / len(camera.smile_nm),
    )


def _add(found: _Sampled, unit: _Unit, number: int, *, pixels: int) -> None:
    piece = drawn_piece(number + 1, unit.seed, unit.climate)
    rng = np.random.default_rng([*unit.seed, number + 1, 1])
    seen = piece_pixels(
        piece, unit.surface, unit.camera, rng, count=pixels, pixel_mm=unit.pixel_mm, levels=unit.levels
    )
    own = seen.part > 0
    kept = own & (seen.pure | (rng.random(pixels) < _IMPURE))
    if not kept.any():
        kept = own if own.any() else np.ones(pixels, np.bool_)
    reflectance = mended(seen.reflectance[kept])
    found.rows.append(_row(number, piece, reflectance, unit))
    found.seen.append(reflectance)
    found.shares.append(_shares_of(piece, seen, kept))


def _shares_of(piece: BeltPiece, seen: PiecePixels, kept: NDArray[np.bool_]) -> Floats:
    """(pixels, F) of what lies in each pixel's middle; a belt and a stranger have none."""
    by_part = np.array([_by_fibre({}), *(_by_fibre(cloth.shares) for cloth in piece.cloths)])
    return by_part[seen.part[kept]]


def _row(number: int, piece: BeltPiece, own: Pixels, unit: _Unit) -> dict[str, Any]:
    mean = np.clip(own, 1e-4, None).mean(0)
    shares = {f"{name}_pct": round(100 * piece.shares.get(name, 0.0), 4) for name in FIBRES}
    return {
        "capture": f"p{number:06d}",
        "subject": f"p{number:06d}",
        "kind": "spectrum",
        "path": PIXELS_FILE,
        "pixel_row": float(number),
        "wavelength_nm": unit.camera.wavelength_nm,
        "absorbance": (-np.log10(mean)).astype(np.float32),
        "grams": piece.grams,
        "area_cm2": piece.area_cm2,
        **shares,
        "unknown_pct": 0.0 if piece.shares else 100.0,
        "klass": piece.material,
        "mixed": float(piece.mixed),
        "instrument": f"simulated line camera #{unit.number}",
        "quantity": "reflectance",
        "simulated": True,
    }


def _by_fibre(shares: Shares) -> Floats:
    return np.array([shares.get(name, 0.0) for name in FIBRES])


def _steps(seen: Pixels) -> NDArray[np.uint16]:
    return np.clip(np.rint(seen / np.float32(STEP)), 0, 65_535).astype(np.uint16)
