"""A moving belt in memory: blocks of NIR lines and colour pictures in order of time, and what was true."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weft.line.description import LineDescription
from weft_datasets.belt.camera import Camera, Counts, drawn_camera
from weft_datasets.belt.climate import Climate
from weft_datasets.belt.layout import Placed, placed_pieces
from weft_datasets.belt.mosaic import Mosaic, jpeg
from weft_datasets.belt.motion import Motion, clock_ns
from weft_datasets.belt.pixels import drawn_belt
from weft_datasets.belt.scene import Ints, Scene, drawn_surface
from weft_datasets.belt.truth import PieceTruth, truth_of

BLOCK_LINES: Final = 32
HUMIDITY: Final = (0.3, 0.7)  # of the hall, relative
_AHEAD_MM: Final = 300.0  # a piece is laid this long before a camera may see it


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Successive lines of the NIR camera."""

    first_line: int
    counts: Counts  # (h, W, L) raw
    encoder: NDArray[np.int64]  # (h,)
    timestamp_ns: NDArray[np.int64]  # (h,)
    travel_mm: NDArray[np.float64]  # (h,) true
    codes: Ints  # (h, W) what lies in the middle of each pixel: see `scene.Scene.codes`


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    number: int
    jpeg: bytes
    encoder: int
    timestamp_ns: int
    travel_mm: float


class Belt:
    """One stretch of simulated belt; the same description, seed and length give the same bytes.

    Args:
        seconds: How long it runs.
        block_lines: NIR lines in a block.
        tail_mm: No piece begins on so much of the belt before the NIR camera stops: with 1,200 all are seen.
    """

    def __init__(
        self,
        description: LineDescription,
        *,
        seconds: float,
        seed: int,
        block_lines: int = BLOCK_LINES,
        tail_mm: float = 0.0,
    ) -> None:
        if not seconds > 0 or block_lines < 1:
            raise ValueError(f"need a time above 0 s and a line in a block, got {seconds:g} s, {block_lines}")
        self.description = description
        self.seconds = seconds
        self.seed = seed
        self._block_lines = block_lines
        self.camera: Camera = drawn_camera(np.random.default_rng([seed, 1]), description.nir)
        rng = np.random.default_rng([seed, 2])
        colour = description.colour
        self.climate = Climate(
            backing=drawn_belt(rng),
            humidity=float(rng.uniform(*HUMIDITY)),
            cell_mm=1.5 if colour is None else float(np.clip(colour.mm_per_pixel, 1.0, 2.5)),
            belt_mm=description.belt.width_mm,
        )
        self.motion = Motion(rng, description.belt, seconds)
        end_mm = float(self.motion.travel_mm(np.array([seconds]))[0])
        self._seen_mm = end_mm - description.nir.position_mm  # belt_mm that the NIR camera reaches
        half = 0.0 if colour is None else colour.height_px * colour.mm_per_pixel / 2
        middle = 0.0 if colour is None else -colour.position_mm
        # The first piece is where both cameras see it; the last where either still sees belt.
        self._from_mm = middle - half + 50.0
        last_mm = max(self._seen_mm, end_mm + middle + half)
        self._until_mm = self._seen_mm - tail_mm if tail_mm else last_mm
        self._surface = drawn_surface((seed, 3), self.climate, from_mm=-2_000.0, to_mm=last_mm + 500.0)
        self._truth: list[PieceTruth] = []

    @property
    def truth(self) -> list[PieceTruth]:
        """Pieces that the NIR camera has seen to their end, once the belt has been run."""
        return [row for row in self._truth if row.last_mm <= self._seen_mm]

    def references(self, *, lines: int = 64) -> tuple[Counts, Counts]:
        """White and dark, each (lines, W, L), taken before the run."""
        rng = np.random.default_rng([self.seed, 5])
        return self.camera.white(rng, lines=lines), self.camera.dark_lines(rng, lines=lines)

    def blocks(self) -> Iterator[Block]:
        """The NIR lines alone."""
        return (event for event in self._run(nir=True, colour=False) if isinstance(event, Block))

    def pictures(self) -> Iterator[Picture]:
        """The colour frames alone; none where the line has no colour camera."""
        return (event for event in self._run(nir=False, colour=True) if isinstance(event, Picture))

    def events(self) -> Iterator[Block | Picture]:
        """Both, in order of the time at which they are complete."""
        return self._run(nir=True, colour=True)

    def _run(self, *, nir: bool, colour: bool) -> Iterator[Block | Picture]:
        self._truth = []
        feed = _Feed(self._placed(), self)
        lines = int(self.seconds * self.description.nir.lines_per_s) if nir else 0
        rate = self.description.nir.lines_per_s
        scene = self._scene()
        camera = self.description.colour if colour else None
        mosaic = None if camera is None else Mosaic(self._surface, camera)
        frames = 0 if camera is None else int(self.seconds * camera.frames_per_s)
        line = frame = 0
        while line < lines or frame < frames:
            block_done = min(line + self._block_lines, lines) / rate if line < lines else np.inf
            frame_done = np.inf if camera is None or frame >= frames else frame / camera.frames_per_s
            if frame_done <= block_done:
                assert mosaic is not None
                yield self._picture(frame, frame_done, feed, mosaic)
                frame += 1
            else:
                stop = min(line + self._block_lines, lines)
                yield self._block(line, stop, feed, scene)
                line = stop
        feed.exhaust()

    def _placed(self) -> Iterator[Placed]:
        return placed_pieces((self.seed, 4), self.climate, from_mm=self._from_mm, until_mm=self._until_mm)

    def _scene(self) -> Scene:
        nir = self.description.nir
        return Scene(self._surface, self.camera, pixel_mm=nir.mm_per_pixel)

    def _picture(self, number: int, time_s: float, feed: "_Feed", mosaic: Mosaic) -> Picture:
        camera = self.description.colour
        assert camera is not None
        now = np.array([time_s])
        travel = float(self.motion.travel_mm(now)[0])
        half = camera.height_px * camera.mm_per_pixel / 2
        middle = travel - camera.position_mm
        feed.lay_until(middle + half + mosaic.strip_mm, mosaic)
        mosaic.take_away(middle - half - 50.0)
        image = mosaic.frame(travel, np.random.default_rng([self.seed, 6, number]))
        return Picture(
            number=number,
            jpeg=jpeg(image),
            encoder=int(self.motion.encoder(now)[0]),
            timestamp_ns=int(clock_ns(now)[0]),
            travel_mm=travel,
        )

    def _block(self, first: int, stop: int, feed: "_Feed", scene: Scene) -> Block:
        nir = self.description.nir
        time_s = (np.arange(first, stop) + 0.5) / nir.lines_per_s
        travel = self.motion.travel_mm(time_s)
        belt_mm = travel - nir.position_mm
        feed.lay_until(float(belt_mm[-1]), scene)
        scene.take_away(float(belt_mm[0]) - 50.0)
        columns = np.tile(np.arange(nir.pixels, dtype=np.intp), stop - first)
        true, codes = scene.reflectance(
            np.repeat(belt_mm, nir.pixels).astype(np.float32),
            columns,
            left_mm=nir.left_mm,
            length_mm=self.description.belt.speed_mm_per_s / nir.lines_per_s,
        )
        rng = np.random.default_rng([self.seed, 7, first])
        counts = self.camera.counts(true, columns, rng, seconds=float(time_s[0]))
        return Block(
            first_line=first,
            counts=counts.reshape(stop - first, nir.pixels, -1),
            encoder=self.motion.encoder(time_s),
            timestamp_ns=clock_ns(time_s),
            travel_mm=travel,
            codes=codes.reshape(stop - first, nir.pixels),
        )

    def note(self, placed: Placed) -> None:
        """Keep what is true of a piece that has just been laid down."""
        row = truth_of(placed, self.description)
        if placed.meets != "apart" and self._truth:
            before = self._truth[-1]
            self._truth[-1] = before.meeting(placed.meets, row.piece)
            row = row.meeting(placed.meets, before.piece)
        self._truth.append(row)


class _Feed:
    """Lays pieces into the views that need them, each view at its own time, each piece made once."""

    def __init__(self, pieces: Iterator[Placed], belt: Belt) -> None:
        self._pieces = pieces
        self._belt = belt
        self._made: list[Placed] = []
        self._next: dict[int, int] = {}  # by view: place in `_made` of the next piece it lacks
        self._dropped = 0

    def lay_until(self, belt_mm: float, view: Scene | Mosaic) -> None:
        wanted = self._next.setdefault(id(view), 0)
        while True:
            place = wanted - self._dropped
            if place >= len(self._made) and not self._make():
                break
            placed = self._made[place]
            if placed.laid.first_mm > belt_mm + _AHEAD_MM:
                break
            view.lay(placed.laid)
            wanted += 1
        self._next[id(view)] = wanted
        self._forget()

    def exhaust(self) -> None:
        """The pieces that no view has asked for are still on the belt."""
        while self._make():
            self._made.clear()

    def _make(self) -> bool:
        placed = next(self._pieces, None)
        if placed is None:
            return False
        self._belt.note(placed)
        self._made.append(placed)
        return True

    def _forget(self) -> None:
        done = min(self._next.values()) - self._dropped
        # The other view may not have asked yet; what one alone has is kept for it.
        if len(self._next) > 1 or len(self._made) > 64:
            del self._made[: max(done, 0)]
            self._dropped += max(done, 0)
