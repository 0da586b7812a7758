"""Photos that should not be weighed by, with the reason known: what advice is learnt from and measured on.

Each fault is drawn in the same room, light and phone as the good photos, so that nothing but the fault tells
them apart. How large a fault must be to count is part of the truth: a parcel is cut off from an eighth of its
surface on, covered from an eighth of what was seen of it on.
"""

from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from weft_datasets.parcels import draw_parcel, parcel_meshes
from weft_datasets.render import clutter
from weft_datasets.render.camera import Camera, Stand, choose_view
from weft_datasets.render.light import Light
from weft_datasets.render.mesh import Mesh, turn_z
from weft_datasets.render.occluders import cover
from weft_datasets.render.photographed_screen import photograph_screen
from weft_datasets.render.room import Room
from weft_datasets.render.scene import Picture, Scene, render
from weft_datasets.render.sensor import develop

Fault = Literal["cut_off", "several", "no_parcel", "covered", "screen"]
Spoilt = Literal["cut_off", "covered", "screen"]
SPOILT: Final[tuple[Spoilt, ...]] = get_args(Spoilt)
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)
LEAST_CUT: Final = 0.125  # share of the parcel's surface points outside the frame
MOST_CUT: Final = 0.7
LEAST_COVERED: Final = 0.125  # share of the parcel's pixels behind the hand
MOST_COVERED: Final = 0.9

Floats = NDArray[np.float32]
_TRIES = 40


@dataclass(frozen=True, slots=True)
class Good:
    """A good photo of a parcel, and what it was made of."""

    scene: Scene
    stand: Stand
    parcel_meshes: int  # so many of the scene's meshes, from the first, are the parcel
    camera: Camera
    picture: Picture
    finer: int


def faulty_photo(rng: Generator, fault: Fault, good: Good, *, size_px: int) -> NDArray[np.uint8]:
    """A photo (H, W, 3) with this fault, RGB."""
    if fault == "screen":
        shown = develop(rng, good.picture.light, visible=[0, 1, 2])
        light = photograph_screen(rng, shown, size_px=size_px)
    elif fault == "covered":
        light = _covered(rng, good)
    elif fault == "cut_off":
        camera = cut_off(rng, choose_view(rng, good.stand, size_px=size_px), good.stand)
        light = render(good.scene, camera, finer=good.finer).light
    else:
        scene, stand = _several(rng, good) if fault == "several" else _emptied(rng, good)
        light = render(scene, choose_view(rng, stand, size_px=size_px), finer=good.finer).light
    return develop(rng, light, visible=[0, 1, 2])


def spoiled_photo(rng: Generator, fault: Spoilt, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Any RGB photo (H, W, 3) taken from a screen, with a hand, head or finger before it, or cut through.

    So real photos are spoilt where none with the fault exists. The thing is taken to be where people put it,
    about the middle; the other faults need to know more of what lies where.
    """
    if fault == "cut_off":
        return _cut(rng, pixels)
    if fault == "screen":
        return develop(rng, photograph_screen(rng, pixels, size_px=max(pixels.shape)), visible=[0, 1, 2])
    height, width, _ = pixels.shape
    # A phone held over the floor; only where its light comes from and how wide it sees matter here.
    slope = float(rng.uniform(0.4, 1.4))
    forward = np.array([0.0, np.cos(slope), -np.sin(slope)])
    right = np.array([1.0, 0.0, 0.0])
    axes = np.stack([right, np.cross(forward, right), forward]).astype(np.float32)
    film = float(np.exp(rng.uniform(np.log(24), np.log(40))))
    camera = Camera(np.float32([0, 0, 1500]), axes, film / 36 * max(height, width), width, height)
    scene = Scene.lit(clutter.bottle(rng), Room.draw(rng, radius=500), Light.draw(rng, (0, 1, 2)), (0, 1, 2))
    at = np.float32(rng.uniform(0.3, 0.7, 2) * [width, height])
    light = (pixels.astype(np.float32) / 255) ** 2.2
    return develop(rng, cover(rng, scene, light, camera, at=at)[0], visible=[0, 1, 2])


def _cut(rng: Generator, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A window of the photo's own proportions, one of whose sides passes near the middle."""
    share = float(rng.uniform(0.42, 0.66))
    aside = int(rng.integers(2))
    spans: list[slice] = []
    for axis in (0, 1):
        length = pixels.shape[axis]
        room = length - round(share * length)
        start = room * int(rng.integers(2)) if axis == aside else int(rng.integers(room + 1))
        spans.append(slice(start, start + length - room))
    return np.ascontiguousarray(pixels[spans[0], spans[1]])


def share_outside(camera: Camera, stand: Stand) -> float:
    """Share of the subject's surface points that the frame leaves out, 0..1."""
    pixel, _ = camera.project(stand.points)
    size = [camera.width - 1, camera.height - 1]
    return float(1 - ((pixel >= 0) & (pixel <= size)).all(axis=1).mean())


def cut_off(rng: Generator, camera: Camera, stand: Stand) -> Camera:
    """The same phone turned aside, or brought closer, until the frame cuts the parcel."""
    best = camera
    for _ in range(_TRIES):
        closer = float(np.exp(rng.uniform(0, np.log(2.6)))) if rng.random() < 0.6 else 1.0
        angle, reach = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0, 0.75))
        aside = np.array([np.cos(angle) * camera.width, np.sin(angle) * camera.height]) * reach
        best = _turned(replace(camera, focal_px=camera.focal_px * closer), aside / camera.focal_px)
        if LEAST_CUT <= share_outside(best, stand) <= MOST_CUT:
            break
    return best


def _turned(camera: Camera, aside: NDArray[np.float64]) -> Camera:
    """Turned by small angles (2,), right and down, given as slopes."""
    right, down, forward = camera.axes.astype(np.float64)
    ahead = forward + aside[0] * right + aside[1] * down
    ahead /= np.linalg.norm(ahead)
    right = right - (right @ ahead) * ahead
    right /= np.linalg.norm(right)
    return replace(camera, axes=np.stack([right, np.cross(ahead, right), ahead]).astype(np.float32))


def _covered(rng: Generator, good: Good) -> Floats:
    """A hand, a head or a finger over part of the parcel."""
    owner = good.picture.owner[:: good.finer, :: good.finer]
    parcel = (owner >= 0) & (owner < good.parcel_meshes)
    rows, columns = np.nonzero(parcel)
    light = good.picture.light
    for _ in range(_TRIES):
        chosen = int(rng.integers(len(rows))) if len(rows) else 0
        at = np.float32([columns[chosen], rows[chosen]] if len(rows) else [0, 0])
        found, share = cover(rng, good.scene, good.picture.light, good.camera, at=at)
        hidden = float(share[parcel].mean()) if len(rows) else 1.0
        light = found
        if LEAST_COVERED <= hidden <= MOST_COVERED:
            break
    return light


def _several(rng: Generator, good: Good) -> tuple[Scene, Stand]:
    """One or two more parcels beside the first, all of them in view."""
    scene, room = good.scene, good.scene.room
    points = [good.stand.points]
    meshes: list[Mesh] = list(scene.meshes)
    side = float(rng.choice([-1.0, 1.0]))
    for number in range(int(rng.choice([1, 2], p=[0.75, 0.25]))):
        turn = turn_z(float(rng.uniform(0, 2 * np.pi)))
        other = [mesh.moved(turn=turn) for mesh in parcel_meshes(rng, draw_parcel(rng))]
        surface = np.concatenate([mesh.vertices[np.unique(mesh.faces)] for mesh in other])
        angle = room.facing + side * (-1) ** number * float(rng.uniform(0.9, 1.7))
        toward = np.float32([np.cos(angle), np.sin(angle), 0])
        reach = float((good.stand.points @ toward).max()) - float((surface @ toward).min())
        by = toward * np.float32(reach + float(rng.uniform(5, 220)))
        away = np.float32([-np.cos(room.facing), -np.sin(room.facing), 0])
        beyond = float(((surface + by) @ away).max()) - (room.wall_mm - 15)
        by = by - away * np.float32(max(beyond, 0.0))  # not into the wall
        meshes += [mesh.moved(by=by) for mesh in other]
        points.append((surface + by)[:: max(len(surface) // 1500, 1)])
    stand = replace(good.stand, points=np.concatenate(points).astype(np.float32), label=None)
    return Scene.lit(meshes, room, scene.light, scene.bands), stand


def _emptied(rng: Generator, good: Good) -> tuple[Scene, Stand]:
    """The room without a parcel: what stood about it, or other things where it stood."""
    meshes = list(good.scene.meshes[good.parcel_meshes :]) if rng.random() < 0.5 else []
    while not meshes or rng.random() < 0.5:
        meshes += clutter.scatter(rng, radius=float(rng.uniform(-300, 200)))
    return Scene.lit(meshes, good.scene.room, good.scene.light, good.scene.bands), good.stand
