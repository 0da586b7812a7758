"""A phone held by a person: where it stands, how it looks, what it sees."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_FULL_FRAME_MM = 36.0  # longest side of the film that equivalent focal lengths refer to


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole; pixel centres lie at whole numbers."""

    place: Floats  # (3,) mm
    axes: Floats  # (3, 3) rows right, down, forward
    focal_px: float
    width: int
    height: int

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Points (n, 3) mm -> pixels (n, 2), 1/depth (n,); NaN depth where behind or closer than 50 mm."""
        seen = (points - self.place) @ self.axes.T
        depth = np.where(seen[:, 2] > 50, seen[:, 2], np.nan)
        pixel = seen[:, :2] / depth[:, None] * self.focal_px + self._middle()
        return np.nan_to_num(pixel, nan=-1e6).astype(np.float32), (1 / depth).astype(np.float32)

    def rays(self) -> Floats:
        """Directions through all pixels, row by row, forward part 1, shape (H*W, 3), world axes."""
        middle = self._middle()
        x = (np.arange(self.width, dtype=np.float32) - middle[0]) / np.float32(self.focal_px)
        y = (np.arange(self.height, dtype=np.float32) - middle[1]) / np.float32(self.focal_px)
        right, down, forward = (np.float32(axis) for axis in self.axes)
        return (y[:, None, None] * down + x[None, :, None] * right + forward).reshape(-1, 3)

    def finer(self, factor: int) -> "Camera":
        """The same view with `factor` times the pixels a side."""
        return Camera(
            self.place, self.axes, self.focal_px * factor, self.width * factor, self.height * factor
        )

    def _middle(self) -> Floats:
        return np.array([(self.width - 1) / 2, (self.height - 1) / 2], np.float32)


@dataclass(frozen=True, slots=True)
class Stand:
    """What a view is chosen around."""

    points: Floats  # (n, 3) the subject's surface, mm
    facing: float  # direction (radians) from which people photograph here: away from the wall
    spread: float  # how far to its sides they walk, radians
    label: Floats | None = None  # (n, 3) what most people also want in the picture


def choose_view(rng: Generator, stand: Stand, *, size_px: int) -> Camera:
    """A view in which the subject fills 20-80 % of the frame.

    The share is drawn first and evenly, the distance follows from it: apparent size says nothing about true
    size, except that people keep 0.5-2.5 m away and the phone 0.55-2.4 m up, where that can be had.
    """
    best: tuple[float, Camera] | None = None
    for _ in range(24):
        share = float(rng.uniform(0.27, 0.78))
        film = float(np.exp(rng.uniform(np.log(24), np.log(65))))
        camera = _aim(rng, stand, share, film, size_px)
        distance = float(np.linalg.norm(camera.place - stand.points.mean(axis=0)))
        height = float(camera.place[2])
        off = max(500 - distance, distance - 2500, 0) + max(550 - height, height - 2400, 0)
        if best is None or off < best[0]:
            best = (off, camera)
        if off == 0:
            break
    assert best is not None
    return best[1]


def _aim(rng: Generator, stand: Stand, share: float, film: float, size_px: int) -> Camera:
    short = round(size_px * float(rng.choice([0.75, 0.5625], p=[0.85, 0.15])))
    width, height = (short, size_px) if rng.random() < 0.62 else (size_px, short)
    focal = film / _FULL_FRAME_MM * size_px
    azimuth = stand.facing + float(rng.uniform(-stand.spread, stand.spread))
    elevation = np.deg2rad(float(rng.triangular(22, 48, 84)))
    roll = np.deg2rad(float(np.clip(rng.normal(0, 4), -12, 12)))
    low, high = stand.points.min(axis=0), stand.points.max(axis=0)
    target = (low + high) / 2
    toward = np.array(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    )
    axes = _look(-toward, roll)
    distance = float(np.linalg.norm(high - low)) * 1.4 * focal / (share * min(width, height))
    for _ in range(3):
        place = target + toward * distance
        camera = Camera(place.astype(np.float32), axes, focal, width, height)
        pixel, _ = camera.project(stand.points)
        extent = pixel.max(axis=0) - pixel.min(axis=0)
        filled = float(np.max(extent / [width, height]))
        distance *= float(np.clip(filled / share, 0.5, 2.0))
    wanted = stand.points
    if stand.label is not None and rng.random() < 0.85:
        wanted = np.concatenate([stand.points, stand.label])
        pixel, _ = Camera(
            (target + toward * distance).astype(np.float32), axes, focal, width, height
        ).project(wanted)
        filled = float(np.max((pixel.max(axis=0) - pixel.min(axis=0)) / [width, height]))
        distance *= float(np.clip(filled / 0.9, 1, 1.3))  # a step back
    camera = Camera((target + toward * distance).astype(np.float32), axes, focal, width, height)
    return _turned_aside(camera, wanted, rng.uniform(-0.5, 0.5, 2), roll)


def _turned_aside(camera: Camera, points: Floats, shift: NDArray[np.float64], roll: float) -> Camera:
    """Turned, not moved: `points` leave the middle by `shift` of the room they have, but not the frame."""
    size = np.array([camera.width, camera.height])
    turned = camera
    for _ in range(4):
        pixel, _ = camera.project(points)
        low, high = pixel.min(axis=0), pixel.max(axis=0)
        aside = (
            (low + high) / 2 - size / 2 + shift * np.maximum(size - (high - low), 0) * 0.9
        ) / camera.focal_px
        forward = camera.axes[2] + aside[0] * camera.axes[0] + aside[1] * camera.axes[1]
        turned = replace(camera, axes=_look(forward / np.linalg.norm(forward), roll))
        pixel, _ = turned.project(points)
        if (pixel.min(axis=0) >= 0.01 * size).all() and (pixel.max(axis=0) <= 0.99 * size).all():
            break
        shift = shift / 2
    return turned


def _look(forward: NDArray[np.float64], roll: float) -> Floats:
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward]).astype(np.float32)
