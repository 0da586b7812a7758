"""Light: one sun or lamp with a soft shadow, light from all around, darkening where things meet."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from weft_datasets.render.mesh import Mesh
from weft_datasets.render.raster import rasterise

Floats = NDArray[np.float32]
_MAP_PX = 288


@dataclass(frozen=True, slots=True)
class Light:
    toward: Floats  # (3,) unit vector to the sun or lamp
    key: Floats  # (C,) strength of it
    around: Floats  # (C,) strength of the sky or the room
    softness_mm: float  # width of a shadow's edge
    windows: Floats  # (k, 3) directions of bright things that gloss mirrors
    edge: tuple[float, float, float]  # a shadow's edge across the scene: direction, distance mm, depth 0..1

    @classmethod
    def draw(cls, rng: Generator, bands: tuple[int, ...]) -> "Light":
        azimuth = float(rng.uniform(0, 2 * np.pi))
        elevation = np.deg2rad(float(rng.uniform(28, 80)))
        toward = np.float32(
            [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
        )
        share = float(rng.uniform(0.3, 0.88))  # of the light that comes from the key
        warm = float(rng.normal(0, 0.12))
        tint = np.array([1 + warm, 1.0, 1 - warm, rng.uniform(0.4, 1.3), rng.uniform(0.3, 1.2)])
        cool = np.array([1 - 0.5 * warm, 1.0, 1 + 0.5 * warm, tint[3] * 0.8, tint[4] * 0.8])
        index = list(bands)
        windows = rng.normal(0, 1, (4, 3))
        windows[:, 2] = np.abs(windows[:, 2]) + 0.3
        windows /= np.linalg.norm(windows, axis=1, keepdims=True)
        edge = (float(rng.uniform(0, 6.28)), float(rng.uniform(-500, 900)), float(rng.uniform(0.3, 0.85)))
        return cls(
            toward,
            (1.9 * share * tint[index]).astype(np.float32),
            (1.15 * (1 - share) * cool[index]).astype(np.float32),
            float(np.exp(rng.uniform(np.log(10), np.log(90)))),
            np.vstack([windows, toward[None]]).astype(np.float32),
            edge if rng.random() < 0.25 else (0.0, 1e9, 0.0),
        )


@dataclass(frozen=True, slots=True)
class Shade:
    """Where light does not reach, worked out once per scene."""

    axes: Floats  # (3, 3) right, down, forward of the light
    low: Floats  # (2,) mm, corner of the shadow map
    step: float  # mm a cell
    mean: Floats  # (M, M) blurred distance along the light
    square: Floats  # (M, M) blurred square of it
    crowd: Floats  # (K, K) blurred heights seen from above, mm
    crowd_low: Floats
    crowd_step: float
    crowd_mm: float  # so much crowd above a point darkens it markedly

    @classmethod
    def cast(cls, meshes: list[Mesh], light: Light) -> "Shade":
        vertices = np.concatenate([mesh.vertices for mesh in meshes])
        faces = _joined_faces(meshes)
        right = np.cross(-light.toward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(-light.toward, right), -light.toward]).astype(np.float32)
        near, low, step = _flat(vertices @ axes.T, faces)
        rows = low[1] + step * np.arange(_MAP_PX, dtype=np.float32)
        ground = -rows * axes[1, 2] / axes[2, 2]  # how far along the light the plane z = 0 lies
        far = np.where(np.isfinite(near), -near, ground[:, None]).astype(np.float32)
        sigma = max(light.softness_mm / step / 2, 0.7)
        crowd, crowd_low, crowd_step = _flat(vertices * np.float32([1, -1, -1]), faces, side=128)
        heights = np.where(np.isfinite(crowd), crowd, np.float32(0))
        # What darkens its surroundings does so in proportion to its size: a bag's belly farther than a shoe.
        size = math.sqrt(np.count_nonzero(heights > 20)) * crowd_step + 60
        blurred = sum(
            share * gaussian_filter(heights, size * part / crowd_step)
            for share, part in ((0.4, 0.025), (0.35, 0.08), (0.25, 0.2))
        )
        tall = max(0.3 * float(np.quantile(heights[heights > 0], 0.9)), 40.0)
        return cls(
            axes,
            low,
            step,
            gaussian_filter(far, sigma),
            gaussian_filter(far**2, sigma),
            np.asarray(blurred, np.float32),
            crowd_low,
            crowd_step,
            tall,
        )

    def lit(self, points: Floats, normals: Floats) -> Floats:
        """Share of the key light that reaches points (n, 3): 0 in full shadow, 1 in the open, (n,)."""
        seen = (points + normals * 6) @ self.axes.T
        place = ((seen[:, :2] - self.low) / self.step).T[::-1]
        mean = map_coordinates(self.mean, place, order=1, mode="nearest", prefilter=False)
        square = map_coordinates(self.square, place, order=1, mode="nearest", prefilter=False)
        behind = seen[:, 2] - mean
        spread = np.maximum(square - mean**2, 30.0)
        chance = spread / (spread + np.maximum(behind - 4, 0) ** 2)  # Chebyshev's bound
        reach = np.clip((chance - 0.4) / 0.6, 0, 1)  # cuts what leaks where a thing meets the ground
        return reach.astype(np.float32)

    def openness(self, points: Floats) -> Floats:
        """Share of the light from around that reaches points (n, 3), (n,)."""
        flipped = points[:, :2] * np.float32([1, -1])
        place = ((flipped - self.crowd_low) / self.crowd_step).T[::-1]
        crowd = map_coordinates(self.crowd, place, order=1, mode="nearest", prefilter=False)
        return np.maximum(np.exp(-1.3 / self.crowd_mm * np.maximum(crowd - points[:, 2], 0)), 0.15)


def _joined_faces(meshes: list[Mesh]) -> NDArray[np.int32]:
    start = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return np.concatenate([mesh.faces + np.int32(first) for mesh, first in zip(meshes, start, strict=False)])


def _flat(seen: Floats, faces: NDArray[np.int32], *, side: int = _MAP_PX) -> tuple[Floats, Floats, float]:
    """Parallel view along +z of points (V, 3): nearness (side, side), its corner in mm and mm a cell."""
    margin = 220.0  # room for the blur to fall off
    low = seen[:, :2].min(axis=0) - margin
    step = float((seen[:, :2].max(axis=0) + margin - low).max()) / (side - 1)
    hits = rasterise(
        ((seen[:, :2] - low) / step).astype(np.float32),
        (-seen[:, 2]).astype(np.float32),
        faces,
        width=side,
        height=side,
    )
    return hits.near.reshape(side, side), low.astype(np.float32), step


def gloss(light: Light, view: Floats, normals: Floats, polish: Floats) -> Floats:
    """What a glossy surface mirrors of windows and lamp, (n,); view (n, 3) runs from the eye, length 1."""
    mirrored = view - 2 * np.einsum("ij,ij->i", view, normals)[:, None] * normals
    toward = mirrored @ light.windows.T  # (n, k)
    strength = np.float32([1.0] * (len(light.windows) - 1) + [2.5])
    return (np.exp((toward - 1) * polish[:, None]) @ strength + 0.12 * np.clip(mirrored[:, 2], 0, 1)).astype(
        np.float32
    )
