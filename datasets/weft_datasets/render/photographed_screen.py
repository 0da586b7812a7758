"""A photo of a photo: a picture on a monitor, a laptop or a phone, taken once more with a camera.

What gives it away: moire where the display's grid beats with the sensor's, a bezel with the room around it,
black that glows, a reflection on the glass, a cast and a gamma of its own, lines of the display's refresh.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

Floats = NDArray[np.float32]


def photograph_screen(rng: Generator, shown: NDArray[np.uint8], *, size_px: int) -> Floats:
    """Show RGB pixels (H, W, 3) on a display, look at it: linear light (H', W', 3) of longest side `size_px`.

    The result is light that reaches the camera; `sensor.develop` makes a photo of it.
    """
    short = round(size_px * float(rng.choice([0.75, 0.5625], p=[0.85, 0.15])))
    upright = shown.shape[0] > shown.shape[1]
    if rng.random() < 0.2:
        upright = not upright  # a landscape picture seen with a phone held upright
    height, width = (size_px, short) if upright else (short, size_px)
    content = _on_display(rng, shown)
    where = _plane(rng, content.shape[:2], (height, width))  # (2, H', W') place on the display, 0..1 inside
    u, v = where
    inside = ((u >= 0) & (u <= 1) & (v >= 0) & (v <= 1)).astype(np.float32)
    rows, columns = content.shape[:2]
    place = np.stack([np.clip(v, 0, 1) * (rows - 1), np.clip(u, 0, 1) * (columns - 1)])
    seen = np.stack(
        [map_coordinates(content[..., k], place, order=1, mode="nearest", prefilter=False) for k in range(3)],
        axis=2,
    )
    seen = seen * _moire(rng, u, v) * _refresh(rng, v)
    seen = (seen + _reflection(rng, height, width)) * inside[..., None]
    light = seen + _around(rng, u, v) * (1 - inside[..., None])
    blur = float(rng.uniform(0.2, 0.9))
    return np.stack([gaussian_filter(band, blur) for band in np.moveaxis(light, 2, 0)], axis=2)


def _on_display(rng: Generator, shown: NDArray[np.uint8]) -> Floats:
    """Linear light of the display: its own gamma, white and black; sometimes a viewer's frame about it."""
    level = (shown.astype(np.float32) / 255) ** np.float32(rng.uniform(1.9, 2.5))
    blue = float(rng.normal(0.08, 0.1))
    level = level * np.float32([1 - blue, 1.0, 1 + blue])
    if rng.random() < 0.5:  # not full screen: bars of the viewer beside or above and below the picture
        rows, columns, _ = level.shape
        grey = float(rng.choice([0.0, 0.01, 0.7]))
        pad = [int(rng.uniform(0, 0.3) * rows), int(rng.uniform(0, 0.3) * columns)]
        level = np.pad(level, ((pad[0],) * 2, (pad[1],) * 2, (0, 0)), constant_values=grey)
        if rng.random() < 0.5:  # a tool bar
            level[: max(int(0.06 * len(level)), 1)] = float(rng.choice([0.05, 0.5, 0.8]))
    return level + np.float32(rng.uniform(0.004, 0.06))


def _plane(rng: Generator, content: tuple[int, int], frame: tuple[int, int]) -> Floats:
    """For every pixel of the photo, where on the display it looks: (2, H, W), 0..1 where it hits it."""
    height, width = frame
    aspect = content[1] / content[0] * height / width
    fill = float(rng.choice([rng.uniform(0.55, 0.95), rng.uniform(0.95, 1.5)]))  # bezel in view, or not
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, width), np.linspace(-0.5, 0.5, height))
    turn = float(rng.normal(0, 0.06))
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    tilt = rng.normal(0, 0.16, 2)
    depth = 1 + tilt[0] * x + tilt[1] * y
    wide, high = (1.0, 1 / aspect) if aspect > 1 else (aspect, 1.0)
    u = x / depth / (fill * wide) + 0.5 + float(rng.normal(0, 0.05))
    v = y / depth / (fill * high) + 0.5 + float(rng.normal(0, 0.05))
    return np.stack([u, v]).astype(np.float32)


def _moire(rng: Generator, u: Floats, v: Floats) -> Floats:
    """Fringes (H, W, 3) about 1: the beat of two grids, bent by the lens, in other phase for each colour."""
    strength = float(np.exp(rng.uniform(np.log(0.02), np.log(0.35))))
    fringes = np.zeros((*u.shape, 3), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        angle, lines = float(rng.uniform(0, np.pi)), float(np.exp(rng.uniform(np.log(6), np.log(110))))
        bend = rng.normal(0, 0.25, 2)
        along = u * np.cos(angle) + v * np.sin(angle)
        phase = 2 * np.pi * lines * (along + bend[0] * along**2 + bend[1] * (u - 0.5) * (v - 0.5))
        shift = float(rng.choice([0.0, 2.1])) + float(rng.normal(0, 0.3))  # coloured, or grey
        for k in range(3):
            fringes[..., k] += np.sin(phase + k * shift)
    if rng.random() < 0.35:  # so close that the grid itself is seen
        pitch = float(rng.uniform(110, 260))
        grid = np.maximum(np.sin(2 * np.pi * pitch * u), np.sin(2 * np.pi * pitch * v))
        fringes += 0.8 * grid[..., None]
    return np.maximum(1 + strength * fringes, 0.05).astype(np.float32)


def _refresh(rng: Generator, v: Floats) -> Floats:
    """Dark bands of a refresh that the exposure caught, (H, W, 1); mostly none."""
    if rng.random() < 0.7:
        return np.ones((*v.shape, 1), np.float32)
    wave = np.sin(2 * np.pi * (v * float(rng.uniform(0.7, 4)) + float(rng.random())))
    return (1 + float(rng.uniform(0.05, 0.25)) * wave)[..., None].astype(np.float32)


def _reflection(rng: Generator, height: int, width: int) -> Floats:
    """Lamps and windows on the glass, (H, W, 3)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    total = np.zeros((height, width), np.float32)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.35, 0.4, 0.25]))):
        half = rng.uniform(0.03, 0.22, 2) * max(height, width)
        centre = rng.uniform(0, 1, 2) * [width, height]
        patch = (np.abs(x - centre[0]) < half[0]) & (np.abs(y - centre[1]) < half[1])
        if rng.random() < 0.5:
            patch = np.hypot((x - centre[0]) / half[0], (y - centre[1]) / half[1]) < 1
        soft = gaussian_filter(patch.astype(np.float32), float(rng.uniform(0.004, 0.06)) * max(height, width))
        total += soft * float(np.exp(rng.uniform(np.log(0.03), np.log(0.7))))
    veil = float(rng.uniform(0, 0.04))
    return (total + veil)[..., None] * np.float32([1.0, 0.97, 0.9])


def _around(rng: Generator, u: Floats, v: Floats) -> Floats:
    """Bezel and the room behind, (H, W, 3)."""
    wide = rng.uniform(0.015, 0.08)
    bezel = (u > -wide) & (u < 1 + wide) & (v > -wide) & (v < 1 + wide * float(rng.uniform(1, 3)))
    frame = float(rng.choice([0.008, 0.02, 0.25, 0.6], p=[0.45, 0.3, 0.15, 0.1]))
    wall = float(np.exp(rng.uniform(np.log(0.01), np.log(0.5))))
    slope = 1 + float(rng.normal(0, 0.3)) * (u - 0.5) + float(rng.normal(0, 0.3)) * (v - 0.5)
    tint = np.float32(1 + rng.normal(0, 0.12, 3))
    room = wall * np.clip(slope, 0.2, 3)[..., None] * tint
    # A keyboard or a table's edge below it.
    table = (v > 1 + float(rng.uniform(0.05, 0.3)))[..., None] * float(np.exp(rng.uniform(-1.5, 1.0)))
    room = np.where(table > 0, room * table, room)
    return np.where(bezel[..., None], np.float32(frame), room).astype(np.float32)
