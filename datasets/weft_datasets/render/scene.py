"""A scene and its picture: what each pixel sees, what colour that is, how much light falls on it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft_datasets.render import noise
from weft_datasets.render.camera import Camera
from weft_datasets.render.light import Light, Shade, gloss
from weft_datasets.render.material import Table, colours
from weft_datasets.render.mesh import Mesh
from weft_datasets.render.raster import Hits, rasterise
from weft_datasets.render.room import Room

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    meshes: list[Mesh]
    room: Room
    light: Light
    bands: tuple[int, ...]  # indices into material.BANDS
    shade: Shade

    @classmethod
    def lit(cls, meshes: list[Mesh], room: Room, light: Light, bands: tuple[int, ...]) -> "Scene":
        return cls(meshes, room, light, bands, Shade.cast(meshes, light))


@dataclass(frozen=True, slots=True)
class Surface:
    """The visible points of a picture, P = H x W."""

    points: Floats  # (P, 3)
    normals: Floats  # (P, 3) as lit, relief included
    albedo: Floats  # (P, C)
    shine: Floats  # (P,)
    polish: Floats  # (P,)


@dataclass(frozen=True, slots=True)
class Picture:
    light: Floats  # (H, W, C) linear
    owner: NDArray[np.int32]  # (H, W) index of the mesh, -1 for ground and wall; at the finer grid


def render(scene: Scene, camera: Camera, *, finer: int) -> Picture:
    """Light that reaches the camera; `finer` x `finer` samples a pixel."""
    fine = camera.finer(finer)
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in scene.meshes])
    faces = np.concatenate([mesh.faces + np.int32(s) for mesh, s in zip(scene.meshes, starts, strict=False)])
    screen, near = fine.project(np.concatenate([mesh.vertices for mesh in scene.meshes]))
    hits = rasterise(screen, near, faces, width=fine.width, height=fine.height)
    rays = fine.rays()
    owner_of_face = np.repeat(
        np.arange(len(scene.meshes), dtype=np.int32), [len(m.faces) for m in scene.meshes]
    )
    owner = np.where(hits.face >= 0, owner_of_face[hits.face], -1).astype(np.int32)
    surface = _surface(scene, fine, rays, hits, owner, faces, near)
    light = _shine(scene, surface, rays)
    grid = light.reshape(camera.height, finer, camera.width, finer, -1).mean(axis=(1, 3))
    return Picture(grid, owner.reshape(fine.height, fine.width))


def _surface(
    scene: Scene,
    camera: Camera,
    rays: Floats,
    hits: Hits,
    owner: NDArray[np.int32],
    faces: NDArray[np.int32],
    near: Floats,
) -> Surface:
    count = len(rays)
    far, on_wall = scene.room.strike(camera.place, rays)
    hidden = np.flatnonzero((owner >= 0) & (1 / np.maximum(hits.near, 1e-9) > far))
    owner[hidden] = -1  # behind the wall
    points = camera.place + rays * far[:, None]
    away = np.float32([np.cos(scene.room.facing), np.sin(scene.room.facing), 0])
    normals = np.where(on_wall[:, None], away, np.float32([0, 0, 1]))
    bare = owner < 0
    surface = Surface(
        points,
        normals,
        np.empty((count, len(scene.bands)), np.float32),
        np.where(on_wall, np.float32(0), np.float32(scene.room.shine)),
        np.full(count, 25, np.float32),
    )
    for here, albedo in (
        (np.flatnonzero(bare & ~on_wall), scene.room.ground_albedo),
        (np.flatnonzero(bare & on_wall), scene.room.wall_albedo),
    ):
        surface.albedo[here] = albedo(points[here], scene.bands)
    _cover(scene, surface, hits, owner, faces, near)
    return surface


def _cover(
    scene: Scene,
    surface: Surface,
    hits: Hits,
    owner: NDArray[np.int32],
    faces: NDArray[np.int32],
    near: Floats,
) -> None:
    """Fill in what the meshes show."""
    here = np.flatnonzero(owner >= 0)
    corner = faces[hits.face[here]]  # (n, 3)
    weight = hits.weight[here] * near[corner]  # perspective: weights on the screen -> on the triangle
    weight /= weight.sum(axis=1, keepdims=True)

    def across(values: Floats) -> Floats:
        return sum(values[corner[:, k]] * weight[:, k : k + 1] for k in range(3))  # pyright: ignore[reportReturnType]

    surface.points[here] = across(np.concatenate([mesh.vertices for mesh in scene.meshes]))
    normals = across(np.concatenate([mesh.normals for mesh in scene.meshes]))
    uv = across(np.concatenate([mesh.uv for mesh in scene.meshes]))
    materials = [material for mesh in scene.meshes for material in mesh.skin.materials]
    first = np.cumsum([0] + [len(mesh.skin.materials) for mesh in scene.meshes])
    index = first[owner[here]]
    for number, mesh in enumerate(scene.meshes):
        if mesh.skin.chart is not None:
            mine = np.flatnonzero(owner[here] == number)
            index[mine] += mesh.skin.index(uv[mine])
    table = Table.of(materials, scene.bands)
    surface.albedo[here] = colours(table, index, uv)
    surface.normals[here] = _relief(table, index, uv, normals)
    surface.shine[here], surface.polish[here] = table.shine[index], table.polish[index]


def _relief(table: Table, index: NDArray[np.intp], uv: Floats, normals: Floats) -> Floats:
    """Tilt normals (n, 3) by the fine relief of their material."""
    film = table.polish[index] > 13
    cells = 512 / (table.bump_mm[index] * 8) * 4
    right, down = np.zeros(len(index), np.float32), np.zeros(len(index), np.float32)
    for mask, kind in ((film, "creases"), (~film, "cloud")):
        here = np.flatnonzero(mask)
        u, v = uv[here, 0] * cells[here], uv[here, 1] * cells[here]
        slope_u, slope_v = noise.slopes(kind)
        right[here], down[here] = noise.read(slope_u, u, v), noise.read(slope_v, u, v)
    side = np.stack([-normals[:, 1], normals[:, 0], np.zeros(len(index), np.float32)], axis=1)
    flat = np.abs(normals[:, 2]) > 0.8
    side[flat] = [1, 0, 0]
    other = np.cross(normals, side)
    bump = table.bump[index][:, None]
    tilted = normals + bump * (right[:, None] * side + down[:, None] * other)
    return tilted / (np.linalg.norm(tilted, axis=1, keepdims=True) + 1e-9)


def _shine(scene: Scene, surface: Surface, rays: Floats) -> Floats:
    """Light leaving the surface towards the camera, (P, C)."""
    light = scene.light
    reach = scene.shade.lit(surface.points, surface.normals)
    angle, distance, depth = light.edge
    beyond = surface.points[:, 0] * np.cos(angle) + surface.points[:, 1] * np.sin(angle) - distance
    reach = reach * (1 - np.float32(depth) * np.clip(0.5 + beyond / 120, 0, 1))
    opening = scene.shade.openness(surface.points)
    facing = surface.normals @ light.toward
    lambert = np.clip((facing + 0.1) / 1.1, 0, 1) * reach
    sky = opening * (0.65 + 0.35 * surface.normals[:, 2])
    result = surface.albedo * (lambert[:, None] * light.key + sky[:, None] * light.around)
    glossy = np.flatnonzero(surface.shine > 0.015)
    view = rays[glossy] / np.linalg.norm(rays[glossy], axis=1, keepdims=True)
    mirrored = gloss(light, view, surface.normals[glossy], surface.polish[glossy])
    graze = 1 - np.abs(np.einsum("ij,ij->i", view, surface.normals[glossy]))
    strength = surface.shine[glossy] * (0.6 + 2.2 * graze**3) * mirrored * (0.35 + 0.65 * reach[glossy])
    result[glossy] += (strength * opening[glossy])[:, None] * (light.key * 0.5 + light.around)
    return result
