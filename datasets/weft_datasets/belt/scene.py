"""What lies where on the belt, and the NIR reflectance of any pixel that looks at it.

Places are in the coordinates of `weft.line.description`: belt_mm grows upstream, x_mm to the right. A pixel
is the mean of nine spots of its square, so edges, thin zips and specks are mixtures as a camera has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weft_datasets.belt.camera import Camera, Levels
from weft_datasets.belt.climate import Climate
from weft_datasets.belt.pieces import BeltPiece
from weft_datasets.belt.pixels import (
    NEAR,
    STATES,
    STEPS,
    VISIBLE,
    Garment,
    Pixels,
    Spectra,
    drawn_garment,
    reflectance,
    spectra_on,
    states_from,
)
from weft_datasets.render.noise import SIDE, field, read, read_smooth

Ints = NDArray[np.int32]
Floats32 = NDArray[np.float32]

SPOTS: Final = 3  # along each side of a pixel
SPREAD: Final = 1.2  # a pixel's square of view over its pitch: the optics' blur
PARTS: Final = 16  # codes a piece has: its cloths and trims
BELT: Final = 0
STAINED, SECOND_DYE = 4.0, 3.0  # standard deviations of moisture and of dye


@dataclass(frozen=True, slots=True)
class SceneHabits:
    slow: float = 0.70  # of a state's variance, over hand's breadths; the rest is from pixel to pixel
    slow_mm: float = 70.0
    fold_mm: float = 22.0  # shade: how far apart creases lie
    weave_mm: float = 9.0  # repeat of the belt's structure
    weave: float = 0.06  # of log reflectance
    seam_every_mm: float = 7_300.0
    specks_per_m: float = 22.0  # lint and dust on belt and garments
    speck_mm: float = 2.0  # mean radius


HABITS = SceneHabits()


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """A piece in its place."""

    piece: BeltPiece
    first_mm: float  # belt_mm of its leading edge
    left_mm: float  # x_mm

    @property
    def last_mm(self) -> float:
        return self.first_mm + self.piece.parts.shape[0] * self.piece.cell_mm

    @property
    def right_mm(self) -> float:
        return self.left_mm + self.piece.parts.shape[1] * self.piece.cell_mm

    def cells(self, belt_mm: Floats32, x_mm: Floats32) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Row and column of its maps at each place, clipped, and whether the place lies in its box."""
        row = np.floor((belt_mm - self.first_mm) / self.piece.cell_mm).astype(np.int32)
        column = np.floor((x_mm - self.left_mm) / self.piece.cell_mm).astype(np.int32)
        tall, wide = self.piece.parts.shape
        inside = (row >= 0) & (row < tall) & (column >= 0) & (column < wide)
        return row.clip(0, tall - 1), column.clip(0, wide - 1), inside


@dataclass(frozen=True, slots=True)
class Specks:
    belt_mm: Floats32  # (D,) ascending
    x_mm: Floats32
    radius_mm: Floats32
    kind: Ints  # place in the lint of the belt


@dataclass(frozen=True, slots=True)
class Surface:
    """The empty belt and the dust on it."""

    belt: Garment
    lint: tuple[Garment, ...]
    specks: Specks
    seed: tuple[int, ...]


def drawn_surface(seed: tuple[int, ...], climate: Climate, *, from_mm: float, to_mm: float) -> Surface:
    """The empty belt of that seed with dust between two places."""
    rng = np.random.default_rng([*seed, 0])
    lint = tuple(
        drawn_garment(rng, backing=climate.backing, shares={fibre: 1.0}, weight=0.08)
        for fibre in ("cotton", "cotton", "polyester", "wool")
    )
    count = int(rng.poisson(max(to_mm - from_mm, 0.0) / 1000.0 * HABITS.specks_per_m))
    specks = Specks(
        belt_mm=np.sort(rng.uniform(from_mm, to_mm, count)).astype(np.float32),
        x_mm=rng.uniform(0.0, climate.belt_mm, count).astype(np.float32),
        radius_mm=(0.4 + rng.exponential(HABITS.speck_mm, count)).clip(0.4, 8.0).astype(np.float32),
        kind=rng.integers(0, len(lint), count).astype(np.int32),
    )
    return Surface(_belt_garment(climate), lint, specks, seed)


def _belt_garment(climate: Climate) -> Garment:
    near = climate.backing[NEAR]
    bend = np.zeros((len(STATES), len(near)))
    bend[3] = 0.04  # wear and dirt: brighter all over
    return Garment(
        shares={},
        material="stranger",
        name="belt",
        layers=1.0,
        near=np.tile(near, (STEPS, 1)),
        by_state=bend,
        visible=climate.backing[VISIBLE],
        weight=3.0,
        shine=0.0,
    )


class Scene:
    """Pieces and belt through one camera. Pieces may come and go; spectra are worked out once for each."""

    def __init__(self, surface: Surface, camera: Camera, *, pixel_mm: float) -> None:
        self._surface = surface
        self._camera = camera
        self._pixel_mm = pixel_mm
        self._laid: dict[int, Laid] = {}  # by number: later ones lie on earlier
        self._spectra: dict[int, Spectra] = {}

    def lay(self, laid: Laid) -> None:
        self._laid[laid.piece.number] = laid

    def take_away(self, before_mm: float) -> None:
        """Forget pieces that have passed this place."""
        for number in [n for n, laid in self._laid.items() if laid.last_mm < before_mm]:
            del self._laid[number]
            for code in range(number * PARTS, (number + 1) * PARTS):
                self._spectra.pop(code, None)

    def codes(self, belt_mm: Floats32, x_mm: Floats32) -> Ints:
        """What is on top at each place: BELT, -1 - kind of lint, or number x PARTS + part."""
        out = np.zeros(belt_mm.shape, np.int32)
        if not belt_mm.size:
            return out
        low, high = float(belt_mm.min()), float(belt_mm.max())
        for number, laid in sorted(self._laid.items()):
            if laid.last_mm < low or laid.first_mm > high:
                continue
            row, column, inside = laid.cells(belt_mm, x_mm)
            part = laid.piece.parts[row, column].astype(np.int32)
            on = inside & (part > 0)
            out[on] = number * PARTS + part[on]
        self._dust(out, belt_mm, x_mm, low, high)
        return out

    def _dust(self, out: Ints, belt_mm: Floats32, x_mm: Floats32, low: float, high: float) -> None:
        specks = self._surface.specks
        start, stop = np.searchsorted(specks.belt_mm, [low - 8.0, high + 8.0])
        for at in range(int(start), int(stop)):
            away = np.hypot(belt_mm - specks.belt_mm[at], x_mm - specks.x_mm[at])
            out[away < specks.radius_mm[at]] = -1 - specks.kind[at]

    def reflectance(
        self, belt_mm: Floats32, columns: NDArray[np.intp], *, left_mm: float, length_mm: float
    ) -> tuple[Pixels, Ints]:
        """Reflectance of P pixels and what lies in their middle.

        Args:
            belt_mm: Middle of each pixel, (P,).
            columns: Of the camera, (P,).
            left_mm: x_mm of the camera's first pixel's edge.
            length_mm: How far the belt moves while a line is exposed.

        Returns:
            (P, L), unitless, and codes (P,).
        """
        steps = (np.arange(SPOTS, dtype=np.float32) - (SPOTS - 1) / 2) / SPOTS * SPREAD
        x_mm = (left_mm + (columns + 0.5) * self._pixel_mm).astype(np.float32)
        shape = (len(belt_mm), SPOTS, SPOTS)
        spots_mm = np.broadcast_to((belt_mm[:, None] + steps * length_mm)[:, :, None], shape)
        spots_x = np.broadcast_to((x_mm[:, None] + steps * self._pixel_mm)[:, None, :], shape)
        found = self.codes(np.ascontiguousarray(spots_mm), np.ascontiguousarray(spots_x)).reshape(
            len(belt_mm), -1
        )
        smile = self._camera.smile_nm[columns]
        out = np.zeros((len(belt_mm), len(self._camera.true_nm)), np.float32)
        for code in np.unique(found):
            share = (found == code).mean(axis=1, dtype=np.float32)
            at = np.flatnonzero(share)
            seen = self._part(int(code), belt_mm[at], x_mm[at], smile[at])
            seen *= share[at, None]
            out[at] += seen
        return out, found[:, SPOTS * SPOTS // 2]

    def _part(self, code: int, belt_mm: Floats32, x_mm: Floats32, smile: Floats32) -> Pixels:
        """One cloth, trim, lint or belt at P places."""
        if code > BELT:
            laid = self._laid[code // PARTS]
            cloth = laid.piece.cloths[code % PARTS - 1]
            normal = fields((*laid.piece.seed, code % PARTS), belt_mm - laid.first_mm, x_mm, self._pixel_mm)
            row, column, _ = laid.cells(belt_mm, x_mm)
            layers = laid.piece.layers[row, column].clip(1, 8) * np.float32(cloth.layers)
            _mark(normal, laid.piece, code % PARTS, row, column)
        else:
            cloth = self._surface.belt if code == BELT else self._surface.lint[-1 - code]
            normal = fields((*self._surface.seed, -code), belt_mm, x_mm, self._pixel_mm)
            layers = np.ones(len(belt_mm), np.float32)
        states = states_from(normal, layers=layers)
        if code == BELT:
            states.shade[:] = belt_shade(belt_mm, x_mm, normal)
        return reflectance(self._spectrum(code, cloth), states, smile)

    def _spectrum(self, code: int, cloth: Garment) -> Spectra:
        if code not in self._spectra:
            camera = self._camera
            self._spectra[code] = spectra_on(cloth, camera.true_nm, resolution_nm=camera.resolution_nm)
        return self._spectra[code]


def _mark(normal: Floats32, piece: BeltPiece, part: int, row: Ints, column: Ints) -> None:
    """Stains are damp, stripes hold more dye: on the main cloth alone."""
    if part != 1:
        return
    if piece.stain is not None:
        normal[STATES.index("moisture")] += STAINED * piece.stain[row, column]
    if piece.pattern is not None:
        normal[STATES.index("dye")] += SECOND_DYE * piece.pattern[row, column]


def fields(seed: Sequence[int], belt_mm: Floats32, x_mm: Floats32, pixel_mm: float) -> Floats32:
    """Standard normal fields of a cloth at P places, shape (J + 3, P): slow drifts, creases, grain."""
    rng = np.random.default_rng([*seed, 77])
    count = len(STATES) + 3
    places = rng.integers(0, SIDE, (count, 4)).astype(np.float32)
    out = np.empty((count, len(belt_mm)), np.float32)
    zoom = np.float32(5.0 / HABITS.slow_mm)
    fine = np.float32(1.0 / pixel_mm)
    slow, fast = np.sqrt(HABITS.slow), np.sqrt(1.0 - HABITS.slow)
    for channel, (a, b, c, d) in enumerate(places):
        sharp = np.float32(HABITS.slow_mm / HABITS.fold_mm) if channel == count - 2 else np.float32(1.0)
        far = read_smooth(field(5.0), x_mm * zoom * sharp + a, belt_mm * zoom * sharp + b)
        near = read(field(0.0), x_mm * fine + c, belt_mm * fine + d)
        out[channel] = slow * far + fast * near
    return out


def belt_shade(belt_mm: Floats32, x_mm: Floats32, normal: Floats32) -> Floats32:
    """Log of the empty belt's brightness, (P,): a woven diamond, tracks along it, a seam once a turn."""
    turn = np.float32(2 * np.pi / HABITS.weave_mm)
    weave = np.sin((belt_mm + x_mm) * turn) * np.sin((belt_mm - x_mm) * turn)
    tracks = read_smooth(field(5.0), x_mm * np.float32(0.12), np.full_like(x_mm, 40.5))
    seam = (belt_mm % HABITS.seam_every_mm) < 12.0
    return (HABITS.weave * weave + 0.08 * tracks + 0.05 * normal[-2] + 0.35 * seam).astype(np.float32)


@dataclass(frozen=True, slots=True)
class PiecePixels:
    """Pixels of one piece as the line reads them."""

    reflectance: Pixels  # (n, L) from counts and references; NaN at bad elements
    part: Ints  # (n,) in the pixel's middle: 0 belt, 1 the main cloth, then second cloth and trims
    pure: NDArray[np.bool_]  # (n,) nothing else in view


def piece_pixels(
    piece: BeltPiece,
    surface: Surface,
    camera: Camera,
    rng: np.random.Generator,
    *,
    count: int,
    pixel_mm: float,
    levels: Levels | None = None,
) -> PiecePixels:
    """Random pixels of a piece that lies alone on its belt, drawn evenly over what the camera sees of it.

    Args:
        pixel_mm: Side of a pixel on the belt, both ways.
        levels: The camera's references; None: taken for this piece alone, which is slow.
    """
    columns = len(camera.smile_nm)
    spare = max(columns * pixel_mm - piece.parts.shape[1] * piece.cell_mm, 0.0)
    laid = Laid(piece, first_mm=float(rng.uniform(0.0, 1000.0)), left_mm=float(rng.uniform(0.0, spare)))
    scene = Scene(surface, camera, pixel_mm=pixel_mm)
    scene.lay(laid)
    rows, across = np.nonzero(piece.parts)
    drawn = rng.integers(0, len(rows), count)
    belt_mm = (laid.first_mm + (rows[drawn] + 0.5) * piece.cell_mm).astype(np.float32)
    column = ((laid.left_mm + (across[drawn] + 0.5) * piece.cell_mm) / pixel_mm).astype(np.intp)
    column = column.clip(0, columns - 1)
    true, middle = scene.reflectance(belt_mm, column, left_mm=0.0, length_mm=pixel_mm)
    half = np.float32(0.5 * SPREAD * pixel_mm)
    x_mm = ((column + 0.5) * pixel_mm).astype(np.float32)
    around = [scene.codes(belt_mm + a * half, x_mm + b * half) for a in (-1, 1) for b in (-1, 1)]
    pure = np.all([each == middle for each in around], axis=0)
    part = np.where(middle > 0, middle % PARTS, 0).astype(np.int32)
    return PiecePixels(camera.measured(true, column, rng, levels=levels), part, pure)
