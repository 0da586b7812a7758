"""Photos of simulated parcels with their true mass: `weft simulate parcels`.

Every subject has its own random stream, spawned from the seed by its number, so that the same seed gives the
same bytes however many workers share the job, and subject 7 is the same in a set of ten and of ten thousand.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import simplejpeg
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from weft_datasets.faults import FAULTS, Good, faulty_photo
from weft_datasets.manifest import Manifest, make_manifest, write_manifest
from weft_datasets.parcels import Parcel, draw_parcel, parcel_meshes
from weft_datasets.render import clutter, label
from weft_datasets.render.camera import Camera, Stand, choose_view
from weft_datasets.render.light import Light
from weft_datasets.render.material import BANDS
from weft_datasets.render.mesh import Mesh, turn_z
from weft_datasets.render.room import Room
from weft_datasets.render.scene import Scene, render
from weft_datasets.render.sensor import develop

RGB = ("red", "green", "blue")
_MARK_COLUMNS = (
    "mark",
    "mark_mm",
    "mark_mm_per_pixel_truth",
    "mark_x_px_truth",
    "mark_y_px_truth",
    "mark_tilt_degrees_truth",
)
_CODE_LETTERS = np.array(list("ABCDEFGHJKLMNPQRSTUVWXYZ23456789"))


@dataclass(frozen=True, slots=True)
class _Laid:
    """Where the label lies."""

    mesh: int  # index into the scene's meshes
    centre: NDArray[np.float32]
    axes: NDArray[np.float32]


class Layout(NamedTuple):
    """A parcel with its label and clutter in a room, not lit yet."""

    meshes: list[Mesh]
    room: Room
    laid: _Laid | None
    stand: Stand
    parcel_meshes: int  # the first of the meshes


def write_parcels(
    out: Path,
    *,
    subjects: int,
    seed: int,
    photos: tuple[int, int] = (1, 3),
    size_px: int = 320,
    bands: Sequence[str] = RGB,
    faults: bool = False,
    workers: int = 1,
) -> Manifest:
    """Draw parcels, photograph each one to three times, and write photos and `manifest.parquet` below `out`.

    Args:
        photos: Fewest and most photos of a subject.
        size_px: Longest side of a photo.
        bands: Any of `red green blue nir swir`; other than plain RGB the photos are .npy, uint8 (H, W, C).
        faults: Also a photo of each fault of `weft_datasets.faults`, named in the column `fault`; the good
            photos stay what they are without.
        workers: Processes; the bytes do not depend on it.

    Raises:
        ValueError: A number out of range or a band that is not simulated.
    """
    if subjects < 1 or size_px < 32 or not 1 <= photos[0] <= photos[1] <= 9 or workers < 1:
        raise ValueError(
            f"got {subjects} subjects, {photos[0]}-{photos[1]} photos of {size_px} px, {workers} workers; "
            "needed: at least 1 subject, 1-9 photos, 32 px, 1 worker"
        )
    unknown = [band for band in bands if band not in BANDS]
    if unknown or not bands or len(set(bands)) != len(bands):
        raise ValueError(f"got bands {list(bands)}; needed: different ones out of {list(BANDS)}")
    if faults and tuple(bands) != RGB:
        raise ValueError(
            f"got bands {list(bands)} with faults; needed: {list(RGB)}, as a screen shows no others"
        )
    (out / "photos").mkdir(parents=True, exist_ok=True)
    job = partial(
        _write_subject, out, seed=seed, photos=photos, size_px=size_px, bands=tuple(bands), faults=faults
    )
    rows = [row for found in _each(job, range(subjects), workers) for row in found]
    notes = {
        "source": f"weft simulate parcels --subjects {subjects} --seed {seed}{' --faults' * faults}",
        "licence": "CC0-1.0",
        "simulated": True,
        "bands": list(bands),
    }
    manifest = make_manifest(pd.DataFrame(rows), root=out, name=f"parcels-{seed}", notes=notes)
    return write_manifest(manifest, out / "manifest.parquet")


def _each(
    job: partial[list[dict[str, Any]]], numbers: Iterable[int], workers: int
) -> Iterator[list[dict[str, Any]]]:
    if workers == 1:
        yield from map(job, numbers)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(job, numbers, chunksize=4)


def _write_subject(
    out: Path,
    number: int,
    *,
    seed: int,
    photos: tuple[int, int],
    size_px: int,
    bands: tuple[str, ...],
    faults: bool,
) -> list[dict[str, Any]]:
    """Simulate one parcel and write its photos; one manifest row each."""
    # A fourth child leaves the first three as they are.
    what, looks, views, ill = (default_rng(s) for s in SeedSequence(seed, spawn_key=(number,)).spawn(4))
    parcel = draw_parcel(what)
    code = "".join(looks.choice(_CODE_LETTERS, 8))
    layout = lay_out(looks, parcel, code)
    shown = tuple(BANDS.index(band) for band in bands)
    scene = Scene.lit(layout.meshes, layout.room, Light.draw(looks, shown), shown)
    finer = 2 if size_px <= 800 else 1
    subject = f"s{number:06d}"
    rows: list[dict[str, Any]] = []
    good: Good | None = None
    for view in range(int(views.integers(photos[0], photos[1] + 1))):
        camera = choose_view(views, layout.stand, size_px=size_px)
        picture = render(scene, camera, finer=finer)
        pixels = develop(views, picture.light, visible=[k for k, band in enumerate(bands) if band in RGB])
        name = f"{subject}-{view + 1}"
        path = _save(out / "photos", name, pixels, bands, int(views.integers(70, 96)))
        truth = _mark_truth(camera, layout.laid, picture.owner)
        rows.append(_row(name, f"photos/{path}", parcel, truth) | {"subject": subject, "view": str(view + 1)})
        good = Good(scene, layout.stand, layout.parcel_meshes, camera, picture, finer)
    for fault in FAULTS if faults else ():
        assert good is not None, "a subject has at least one good photo"
        pixels = faulty_photo(ill, fault, good, size_px=size_px)
        name = f"{subject}-{fault}"
        path = _save(out / "photos", name, pixels, bands, int(ill.integers(70, 96)))
        row = _row(name, f"photos/{path}", parcel, {}) | {"subject": subject, "view": fault, "fault": fault}
        rows.append(row | ({"grams": None} if fault in ("several", "no_parcel") else {}))
    return rows


def lay_out(rng: Generator, parcel: Parcel, code: str) -> Layout:
    """Put the parcel, its label and clutter into a room."""
    turn = turn_z(float(rng.uniform(0, 2 * np.pi)))
    meshes = [mesh.moved(turn=turn) for mesh in parcel_meshes(rng, parcel)]
    own = len(meshes)
    points = np.concatenate([mesh.vertices[np.unique(mesh.faces)] for mesh in meshes])
    radius = float(np.linalg.norm(points[:, :2], axis=1).max())
    room = Room.draw(rng, radius=radius)
    laid, edge = None, None
    if rng.random() < 0.86:
        laid = _lay_label(rng, meshes, points, room.facing)
        edge = label.outline() @ laid.axes.T + laid.centre
        meshes = [*meshes, label.label_mesh(code).moved(turn=laid.axes, by=laid.centre)]
    stand = Stand(points[:: max(len(points) // 1500, 1)], room.facing, float(np.deg2rad(65)), edge)
    meshes = [*meshes, *clutter.scatter(rng, radius=radius)]
    return Layout(meshes, room, laid, stand, own)


def _lay_label(rng: Generator, meshes: list[Mesh], points: NDArray[np.float32], facing: float) -> _Laid:
    """On the ground beside the parcel, towards where people stand; or on its top, where that is level."""
    spin = turn_z(float(rng.uniform(0, 2 * np.pi)))
    if rng.random() < 0.45:
        spot = _level_spot(meshes, points)
        if spot is not None:
            return _Laid(len(meshes), spot + np.float32([0, 0, 1.5]), spin)
    angle = facing + float(rng.normal(0, 0.5))
    toward = np.float32([np.cos(angle), np.sin(angle)])
    side = np.float32([-np.sin(angle), np.cos(angle)])
    near = np.abs(points[:, :2] @ side) < 70  # only what stands in the label's lane pushes it away
    reach = float((points[near, :2] @ toward).max()) if near.any() else 0.0
    centre = toward * (reach + 62 + float(rng.exponential(45)))
    return _Laid(len(meshes), np.float32([centre[0], centre[1], 0.6]), spin)


def _level_spot(meshes: list[Mesh], points: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """The middle of a carton's shut lid; nothing else is flat enough for a label to lie on undistorted."""
    highest = float(points[:, 2].max())
    for mesh in meshes:
        flat = (mesh.normals[:, 2] > 0.97).all() and float(mesh.vertices[:, 2].min()) > 0.9 * highest
        wide = float(np.ptp(mesh.vertices[:, :2], axis=0).min())
        if flat and wide > 130:
            middle = mesh.vertices[:, :2].mean(axis=0)
            return np.float32([middle[0], middle[1], float(mesh.vertices[:, 2].max())])
    return None


def _mark_truth(camera: Camera, laid: _Laid | None, owner: NDArray[np.int32]) -> dict[str, Any]:
    """The label's scale, place and tilt by column; none where it is not wholly in the picture.

    Args:
        owner: Index of the mesh that each sample shows, at a whole multiple of the camera's pixels.
    """
    if laid is None:
        return {}
    corners = label.corners_px(camera, laid.centre, laid.axes)
    finer = owner.shape[0] // camera.height
    if (corners < 1).any() or (corners > [camera.width - 2, camera.height - 2]).any():
        return {}
    x, y = corners.T
    area = 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) * finer**2
    if (
        np.count_nonzero(owner == laid.mesh) < 1.84 * area
    ):  # the sheet with its margin is 1.9 times the square
        return {}
    middle = corners.mean(axis=0) + 0.5  # whole numbers at the pixels' corners
    return {
        "mark": "qr",
        "mark_mm": label.SIDE_MM,
        "mark_mm_per_pixel_truth": label.mm_per_pixel(corners),
        "mark_x_px_truth": float(middle[0]),
        "mark_y_px_truth": float(middle[1]),
        "mark_tilt_degrees_truth": label.tilt_degrees(corners),
    }


def _row(name: str, path: str, parcel: Parcel, mark: dict[str, Any]) -> dict[str, Any]:
    return (
        dict.fromkeys(_MARK_COLUMNS)
        | {
            "capture": name,
            "kind": "photo",
            "path": path,
            "grams": round(parcel.grams, 1),
            "season": parcel.season,
            "wrap": parcel.wrap,
            "volume_litres": round(parcel.litres, 3),
            "simulated": True,
        }
        | mark
    )


def _save(folder: Path, name: str, pixels: NDArray[np.uint8], bands: tuple[str, ...], quality: int) -> str:
    """Write one photo; its file's name."""
    if bands == RGB:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=quality, colorsubsampling="420")
        (folder / f"{name}.jpg").write_bytes(data)
        return f"{name}.jpg"
    np.save(folder / f"{name}.npy", pixels)
    return f"{name}.npy"
