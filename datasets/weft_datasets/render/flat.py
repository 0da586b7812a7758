"""Photos of flat prints lying on the ground, of any size: what scale marks are tested and measured on.

The ground is one plane and everything on it is a picture of known size, so a photo of 8 megapixels takes two
seconds where the renderer of parcels takes minutes. Light falls off across the scene, a shadow may cross it;
lens blur, shake, noise and the tone curve follow. What is not there: relief, gloss, things that stand up.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from weft.marks.drawing import Page
from weft_datasets.render.room import Room

Floats = NDArray[np.float32]
RGB = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Print:
    """A picture on the ground.

    Args:
        albedo: Shape (H, W) or (H, W, 3), 0..1; NaN where nothing is printed and the ground shows.
        wide_mm: What its width measures on paper.
        place_mm: Its middle on the ground.
        turn: Radians.
    """

    albedo: Floats
    wide_mm: float
    place_mm: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0


@dataclass(frozen=True, slots=True)
class View:
    """Where the camera stands.

    Args:
        wide_mm: What the photo's longer side spans on the ground, at the point in its middle.
        tilt_degrees: Between the ground and the sensor.
        target_mm: The point of the ground in the photo's middle.
        focal: In the photo's longer side; a phone has about 0.75.
    """

    wide_mm: float
    tilt_degrees: float = 0.0
    roll_degrees: float = 0.0
    target_mm: tuple[float, float] = (0.0, 0.0)
    size_px: tuple[int, int] = (3264, 2448)
    focal: float = 0.75

    def homography(self) -> NDArray[np.float64]:
        """Points of the ground (mm, y up) to pixels, whole numbers at the pixels' corners, shape (3, 3)."""
        width, height = self.size_px
        longest = max(self.size_px)
        focal_px = self.focal * longest
        distance = self.focal * self.wide_mm
        tilt, roll = math.radians(self.tilt_degrees), math.radians(self.roll_degrees)
        lean = np.array(
            [[1, 0, 0], [0, -math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), -math.cos(tilt)]]
        )
        spin = np.array(
            [[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]]
        )
        axes = spin @ lean
        target = np.array([*self.target_mm, 0.0])
        moved = np.array([0.0, 0.0, distance]) - axes @ target
        lens = np.array([[focal_px, 0, width / 2], [0, focal_px, height / 2], [0, 0, 1]])
        return lens @ np.column_stack([axes[:, 0], axes[:, 1], moved])

    def mm_per_pixel(self, place_mm: tuple[float, float]) -> float:
        """Scale on the ground there, along the direction that the tilt does not shorten."""
        matrix = self.homography()
        out = matrix @ [*place_mm, 1.0]
        jacobian = (matrix[:2, :2] - np.outer(out[:2] / out[2], matrix[2, :2])) / out[2]
        return 1 / float(np.linalg.svd(jacobian, compute_uv=False)[0])


@dataclass(frozen=True, slots=True)
class Shot:
    """What spoils a photo. `blur_px` and `shake_px` at full size; `grain` in linear light, 1 is white."""

    exposure: float = 0.9
    shadow: float = 0.0  # depth of a shadow whose edge runs through the mark, 0..1
    slope: float = 0.2  # how much the light falls off from one side to the other, 0..1
    blur_px: float = 0.8
    shake_px: float = 0.0
    grain: float = 0.006
    warm: tuple[float, float, float] = field(default=(1.0, 1.0, 1.0))


PAPER, TONER = np.float32(0.8), np.float32(0.03)  # albedo


def printed(page: Page, *, place_mm: tuple[float, float] = (0.0, 0.0), turn: float = 0.0) -> Print:
    """A page of `weft label` on white paper, without its words and cutting lines."""
    per_mm = 8
    albedo = np.full((round(page.tall * per_mm), round(page.wide * per_mm)), PAPER)
    for x, y, wide, tall in page.black:
        left, top, right, low = (round(v * per_mm) for v in (x, y, x + wide, y + tall))
        albedo[top:low, left:right] = TONER
    rows, columns = np.mgrid[: albedo.shape[0], : albedo.shape[1]].astype(np.float32)
    for x, y, across in page.dots:
        round_here = np.hypot(columns + 0.5 - x * per_mm, rows + 0.5 - y * per_mm) < across / 2 * per_mm
        albedo[round_here] = TONER
    return Print(albedo, page.wide, place_mm, turn)


def cut(page: Page, box: tuple[float, float, float, float]) -> Page:
    """A part of a page (left, top, width, height in mm): what is left after cutting along the lines."""
    left, top, wide, tall = box
    black = [(x - left, y - top, w, h) for x, y, w, h in page.black]
    dots = [(x - left, y - top, across) for x, y, across in page.dots]
    return Page(wide, tall, black=black, dots=dots)


def flat_photo(
    rng: Generator, room: Room, prints: Sequence[Print], view: View, shot: Shot
) -> NDArray[np.uint8]:
    """The photo, shape (H, W, 3): later prints lie on earlier ones."""
    width, height = view.size_px
    back = np.linalg.inv(view.homography())
    coarse = 2 if max(view.size_px) > 2000 else 1
    points = _ground_points(back, (0, 0, width, height), coarse)
    albedo = room.ground_albedo(points.reshape(-1, 3), RGB).reshape(*points.shape[:2], 3)
    if coarse > 1:
        bands = [Image.fromarray(albedo[..., band]).resize((width, height)) for band in RGB]
        albedo = np.stack([np.asarray(band) for band in bands], axis=2)
    albedo = np.ascontiguousarray(albedo, np.float32)
    for each in prints:
        _lay(albedo, each, view, back)
    return _developed(rng, albedo * _light(rng, view, shot)[..., None], shot)


def _ground_points(back: NDArray[np.float64], box: tuple[int, int, int, int], step: float) -> Floats:
    """Ground points (mm) of samples every `step` pixels of a box left, top, right, bottom: (h, w, 3)."""
    left, top, right, bottom = box
    x = np.arange(left + step / 2, right, step)
    y = np.arange(top + step / 2, bottom, step)[:, None]
    out = [row[0] * x + row[1] * y + row[2] for row in back]
    return np.stack([out[0] / out[2], out[1] / out[2], np.zeros_like(out[0])], axis=2).astype(np.float32)


def _lay(albedo: Floats, each: Print, view: View, back: NDArray[np.float64]) -> None:
    """Draw one print into the albedo (H, W, 3), 3 x 3 samples a pixel."""
    height, width = albedo.shape[:2]
    rows, columns = each.albedo.shape[:2]
    half = np.array([each.wide_mm / 2, each.wide_mm / 2 * rows / columns])
    c, s = math.cos(each.turn), math.sin(each.turn)
    corners = (np.array([[-1, 1], [1, 1], [1, -1], [-1, -1]]) * half) @ [[c, s], [-s, c]] + each.place_mm
    seen = np.column_stack([corners, np.ones(4)]) @ view.homography().T
    seen = seen[:, :2] / seen[:, 2:]
    left, top = np.floor(seen.min(axis=0)).clip(0, [width, height]).astype(int)
    right, bottom = np.ceil(seen.max(axis=0)).clip(0, [width, height]).astype(int)
    if right <= left or bottom <= top:
        return
    points = _ground_points(back, (left, top, right, bottom), 1 / 3)[..., :2] - np.float32(each.place_mm)
    u = points[..., 0] * c + points[..., 1] * s
    v = points[..., 1] * c - points[..., 0] * s
    column = np.floor((u / (2 * half[0]) + 0.5) * columns).astype(np.int32)
    row = np.floor((0.5 - v / (2 * half[1])) * rows).astype(np.int32)
    inside = (column >= 0) & (row >= 0) & (column < columns) & (row < rows)
    colour = each.albedo[row.clip(0, rows - 1), column.clip(0, columns - 1)]
    colour = colour if colour.ndim == 3 else np.repeat(colour[..., None], 3, axis=2)
    shown = inside & ~np.isnan(colour[..., 0])
    share = _blocks(shown.astype(np.float32)[..., None])
    ink = _blocks(np.where(shown[..., None], colour, 0).astype(np.float32))
    part = albedo[top:bottom, left:right]
    part[:] = part * (1 - share) + ink


def _blocks(samples: Floats) -> Floats:
    """Means over blocks of 3 x 3."""
    total = samples[::3, ::3].copy()
    for i in range(3):
        for j in range(3):
            if i or j:
                total += samples[i::3, j::3]
    return total / 9


def _light(rng: Generator, view: View, shot: Shot) -> Floats:
    width, height = view.size_px
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    angle = rng.uniform(0, 2 * math.pi)
    along = x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))
    light = 1 + np.float32(shot.slope) * along
    if shot.shadow:
        place = view.homography() @ [0.0, 0.0, 1.0]
        middle = (2 * place[0] / place[2] / width - 1, 2 * place[1] / place[2] / height - 1)
        turn = rng.uniform(0, 2 * math.pi)
        beyond = (x - middle[0]) * math.cos(turn) + (y - middle[1]) * math.sin(turn)
        light = light * (1 - np.float32(shot.shadow) * np.clip(0.5 + beyond / 0.02, 0, 1))
    return light.astype(np.float32)


def _developed(rng: Generator, light: Floats, shot: Shot) -> NDArray[np.uint8]:
    light = light * np.float32(shot.exposure) * np.float32(shot.warm)
    # Blur belongs before the tone curve; the root keeps the dark parts of eight bits apart.
    eight = Image.fromarray((np.sqrt(np.clip(light, 0, 1)) * 255).astype(np.uint8))
    if shot.blur_px:
        eight = eight.filter(ImageFilter.GaussianBlur(shot.blur_px))
    linear = (np.asarray(eight, np.float32) / 255) ** 2
    if shot.shake_px >= 1:
        linear = _shaken(linear, shot.shake_px, rng.uniform(0, math.pi))
    # One field of grain, laid down anew each time: eight million draws would take longer than all the rest.
    grain = rng.standard_normal((509, 641, 3), dtype=np.float32)
    height, width = linear.shape[:2]
    tiles = (-(-height // 509), -(-width // 641), 1)
    noise = np.tile(grain, tiles)[:height, :width]
    linear = linear + noise * (np.float32(shot.grain) * np.sqrt(linear + 0.01))
    return (np.clip(linear, 0, 1) ** np.float32(1 / 2.2) * 255 + 0.5).astype(np.uint8)


def _shaken(linear: Floats, shake_px: float, angle: float) -> Floats:
    """Averaged along a line of this length."""
    total, steps = np.zeros_like(linear), max(2, round(shake_px) + 1)
    for away in np.linspace(-shake_px / 2, shake_px / 2, steps):
        shift = (round(away * math.sin(angle)), round(away * math.cos(angle)))
        total += np.roll(linear, shift, (0, 1))
    return total / steps
