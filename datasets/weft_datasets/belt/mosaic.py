"""The belt as the colour camera sees it: a growing picture in linear light, and frames cut from it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from weft.line.description import ColourCamera
from weft_datasets.belt.pixels import VISIBLE_NM
from weft_datasets.belt.scene import Floats32, Laid, Surface, belt_shade, fields
from weft_datasets.belt.wardrobe import linear_rgb
from weft_datasets.render.noise import SIDE, cloud, field, read, read_smooth

Image8 = NDArray[np.uint8]

STRIP_ROWS: Final = 96
_SRGB: Final = np.array(  # (4097,) linear light in 1/4096 to a byte
    [
        round(255 * (12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055))
        for v in np.arange(4097) / 4096
    ],
    np.uint8,
)


@dataclass(frozen=True, slots=True)
class ColourHabits:
    crease: float = 0.10  # of log light
    grain: float = 0.05  # of log light, weave and knit
    vignette: float = 0.06  # lost at the corners
    noise: float = 0.010  # of linear light at white
    quality: int = 88  # JPEG
    shadow_mm: float = 5.0  # along the edges of a piece, on the belt
    shadow: float = 0.25


HABITS = ColourHabits()


class Mosaic:
    """Rows of belt in linear RGB, from belt_mm 0 upstream; made strip by strip as they come into view."""

    def __init__(self, surface: Surface, camera: ColourCamera) -> None:
        self._surface = surface
        self._camera = camera
        self._belt_rgb = linear_rgb(surface.belt.visible, VISIBLE_NM)
        self._lint_rgb = [linear_rgb(lint.visible, VISIBLE_NM) for lint in surface.lint]
        self._laid: dict[int, Laid] = {}
        self._strips: dict[int, Floats32] = {}

    @property
    def strip_mm(self) -> float:
        """How far beyond its frame it draws: what lies there has to be laid down before."""
        return STRIP_ROWS * self._camera.mm_per_pixel

    def lay(self, laid: Laid) -> None:
        self._laid[laid.piece.number] = laid

    def take_away(self, before_mm: float) -> None:
        for number in [n for n, laid in self._laid.items() if laid.last_mm < before_mm]:
            del self._laid[number]
        first = int(np.floor(before_mm / self._camera.mm_per_pixel / STRIP_ROWS))
        for strip in [s for s in self._strips if s < first]:
            del self._strips[strip]

    def frame(self, travel_mm: float, rng: np.random.Generator) -> Image8:
        """The picture at that travel, (H, W, 3), row 0 furthest upstream."""
        camera = self._camera
        mm = camera.mm_per_pixel
        lowest = (travel_mm - camera.position_mm) / mm - camera.height_px / 2  # mosaic row of its last edge
        whole = int(np.floor(lowest))
        part = np.float32(lowest - whole)
        rows = self._rows(whole, camera.height_px + 1)
        seen = (1 - part) * rows[:-1] + part * rows[1:]
        return _developed(seen[::-1], rng, camera)

    def _rows(self, first: int, count: int) -> Floats32:
        strips = range(first // STRIP_ROWS, (first + count - 1) // STRIP_ROWS + 1)
        for strip in strips:
            if strip not in self._strips:
                self._strips[strip] = self._strip(strip)
        stacked = np.concatenate([self._strips[strip] for strip in strips])
        skip = first - strips[0] * STRIP_ROWS
        return stacked[skip : skip + count]

    def _strip(self, strip: int) -> Floats32:
        mm = self._camera.mm_per_pixel
        belt = ((strip * STRIP_ROWS + np.arange(STRIP_ROWS) + 0.5) * mm).astype(np.float32)
        across = (self._camera.left_mm + (np.arange(self._camera.width_px) + 0.5) * mm).astype(np.float32)
        belt_mm, x_mm = (
            np.ascontiguousarray(grid).ravel() for grid in np.meshgrid(belt, across, indexing="ij")
        )
        light = self._belt_rgb * np.exp(self._belt_shade(belt_mm, x_mm))[:, None]
        low, high = float(belt[0]), float(belt[-1])
        for laid in (laid for _, laid in sorted(self._laid.items())):
            if laid.last_mm >= low - HABITS.shadow_mm and laid.first_mm <= high + HABITS.shadow_mm:
                _draw(light, laid, belt_mm, x_mm)
        self._dust(light, belt_mm, x_mm)
        return light.reshape(STRIP_ROWS, self._camera.width_px, 3).astype(np.float32)

    def _belt_shade(self, belt_mm: Floats32, x_mm: Floats32) -> Floats32:
        normal = fields((*self._surface.seed, 0), belt_mm, x_mm, self._camera.mm_per_pixel)
        return belt_shade(belt_mm, x_mm, normal)

    def _dust(self, light: Floats32, belt_mm: Floats32, x_mm: Floats32) -> None:
        specks = self._surface.specks
        start, stop = np.searchsorted(specks.belt_mm, [belt_mm[0] - 8.0, belt_mm[-1] + 8.0])
        for at in range(int(start), int(stop)):
            away = np.hypot(belt_mm - specks.belt_mm[at], x_mm - specks.x_mm[at])
            light[away < specks.radius_mm[at]] = self._lint_rgb[specks.kind[at]]


def _draw(light: Floats32, laid: Laid, belt_mm: Floats32, x_mm: Floats32) -> None:
    """One piece over what lies there already, with the shadow that it throws beside itself."""
    piece = laid.piece
    row, column, inside = laid.cells(belt_mm + HABITS.shadow_mm, x_mm + HABITS.shadow_mm)
    light[inside & (piece.parts[row, column] > 0)] *= 1.0 - HABITS.shadow
    row, column, inside = laid.cells(belt_mm, x_mm)
    on = np.flatnonzero(inside & (piece.parts[row, column] > 0))
    row, column = row[on], column[on]
    part = piece.parts[row, column].astype(np.int32)
    colour = piece.colours[part - 1]
    if piece.pattern is not None:
        second = piece.pattern[row, column] & (part == 1)
        colour[second] = piece.colours[-1]
    shade = _shade(piece.seed, belt_mm[on] - np.float32(laid.first_mm), x_mm[on])
    if piece.stain is not None:
        shade -= 0.3 * piece.stain[row, column]
    light[on] = colour * np.exp(shade)[:, None]


def _shade(seed: tuple[int, ...], belt_mm: Floats32, x_mm: Floats32) -> Floats32:
    places = np.random.default_rng([*seed, 78]).integers(0, SIDE, 4).astype(np.float32)
    zoom = np.float32(5.0 / 22.0)
    crease = read_smooth(cloud(), x_mm * zoom * 2 + places[0], belt_mm * zoom * 2 + places[1])
    grain = read(field(0.0), x_mm / 1.5 + places[2], belt_mm / 1.5 + places[3])
    return (HABITS.crease * (crease - 0.3 * crease**2) + HABITS.grain * grain).astype(np.float32)


def _developed(light: Floats32, rng: np.random.Generator, camera: ColourCamera) -> Image8:
    height, width = light.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    seen = light * (1 - np.float32(HABITS.vignette) * 0.5 * (y * y + x * x))[..., None]
    # One field of grain from a place of its own for each frame and band: fresh draws would take longer.
    a, b, c = (int(v) for v in rng.integers(0, SIDE, 3))
    rows, columns = (np.arange(height) + a) % SIDE, (np.arange(width) + b) % SIDE
    noise = np.stack([field(0.0)[np.ix_((rows + 97 * k + c) % SIDE, columns)] for k in range(3)], axis=2)
    seen += noise * (np.float32(HABITS.noise) * np.sqrt(np.maximum(seen, 0) + np.float32(0.01)))
    return _SRGB[np.clip(seen * np.float32(4096), 0, 4096).astype(np.int16)]


def jpeg(image: Image8) -> bytes:
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=HABITS.quality, colorsubsampling="420")
