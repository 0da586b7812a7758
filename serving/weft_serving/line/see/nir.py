"""Raw counts of a NIR line camera to reflectance, foreground and fibre shares, at the rate of the camera.

Rows go through in blocks that fit the cache, each in a few passes over one reused float32 buffer, on threads
of which numpy and ONNX Runtime let go the interpreter's lock.
Letters: h rows of a block, W columns of the camera, L bands, P foreground pixels of the block, F fibres.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from weft.errors import FrameError
from weft.line.description import NirCamera
from weft.line.reader import PixelShares
from weft.spectra import fraction_to_absorbance
from weft_serving.line.see.belt_model import BeltModel
from weft_serving.line.see.references import References

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

# Pixels that a thread takes at once: each chunk costs some 30 calls, and 5,120 are 4.6 MB at 224 bands.
# Of the bare rate there remained 61 % with 640 in a chunk, 62 % with 1,280, 67 % with 2,560, 72 % with 5,120.
_CHUNK_PIXELS: Final = 5_120
_LEAST_PIXELS: Final = 1_280  # fewer are not worth a second thread
_SAMPLE_MM: Final = 12.0  # one pixel in so many mm either way is kept with its spectrum
_DARK: Final = 0.02  # mean reflectance under which noise and stray light are most of what is seen
_RELEARN_MM: Final = 4_000.0  # so much belt without a belt pixel, and the belt is not what was learnt
_LEARN_MM: Final = 400.0  # of belt that its picture is learnt from
_LEARN_ROWS: Final = 64  # that are looked at for it, and
_LEARN_COLUMNS: Final = 64
_FOLLOW_MM: Final = 2_000.0  # of belt, over which its picture follows what is seen
_LEAST_BELT: Final = 0.02  # of a block's pixels
_DOUBTFUL: Final = 0.15  # change of the belt's own reflectance


class PixelReader(Protocol):
    """What is needed of `weft.line.reader.BeltReader`."""

    @property
    def fibres(self) -> tuple[str, ...]: ...

    @property
    def unknown_threshold(self) -> float: ...

    def check_axis(self, wavelength_nm: tuple[float, ...]) -> None: ...

    def read(self, reflectance: Floats) -> PixelShares: ...


@dataclass(frozen=True, slots=True, eq=False)
class NirBlock:
    """Some rows of the belt, read. Pixels stand row by row."""

    travel_mm: NDArray[np.float64]  # (h,)
    foreground: Bools  # (h, W) what is not belt
    shares: Floats  # (P, F) by weight, of the foreground's pixels
    unknown: Floats  # (P,)
    brightness: Floats  # (P,) mean reflectance
    tint: Floats  # (P, K) log of reflectance in a few groups of bands: tells cloths apart where fibres do not
    readable: Bools  # (P,) neither saturated nor too dark
    sampled: NDArray[np.intp]  # (S,) places among the P
    absorbance: Floats  # (S, L)


class _Part(NamedTuple):
    """What a chunk of rows came to."""

    foreground: Bools  # (rows, W)
    shares: PixelShares
    brightness: Floats  # (p,)
    tint: Floats  # (p, K)
    readable: Bools  # (p,)
    sampled: NDArray[np.intp]
    absorbance: Floats
    belt: Floats  # (W, K + 1) sum over the belt's own pixels
    belt_pixels: NDArray[np.intp]  # (W,)


class NirPath:
    """One camera's way from counts to shares. `read` is called from one thread; it uses several.

    Args:
        reader: With one thread of its own for each call: the threads here are the parallel ones.
        every_pixel: Read the belt's pixels too, and drop them; for measuring.

    Raises:
        LineDescriptionError: The camera's wavelengths are not the reader's.
    """

    def __init__(
        self,
        camera: NirCamera,
        references: References,
        reader: PixelReader,
        *,
        mm_per_line: float,
        threads: int = 2,
        every_pixel: bool = False,
    ) -> None:
        reader.check_axis(camera.wavelength_nm)
        self._camera, self._reader, self._every_pixel = camera, reader, every_pixel
        self._rows = max(1, _CHUNK_PIXELS // camera.pixels)
        self._every_column = max(1, round(_SAMPLE_MM / camera.mm_per_pixel))
        self._every_row = max(1, round(_SAMPLE_MM / mm_per_line))
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="weft-nir")
        self._scratch = threading.local()
        self._row = 0  # running number of the next row
        self._rows_to_learn = int(_LEARN_MM / mm_per_line) + 1
        self._rows_to_follow = _FOLLOW_MM / mm_per_line
        self._travel_mm = 0.0
        self.change_references(references)

    @property
    def references(self) -> References:
        return self._references

    def change_references(self, references: References) -> None:
        """Use others from the next block on; the belt is learnt anew with them."""
        self._references = references
        self._peak = int(references.gain.mean(axis=0).argmin())  # the brightest band saturates first
        self._forget_belt()

    def _forget_belt(self) -> None:
        self._belt = BeltModel(self._camera.pixels, len(self._camera.wavelength_nm))
        self._lesson: list[tuple[Floats, Bools]] = []  # of some rows: grouped reflectance, no textile
        self._rows_learnt, self._next_lesson = 0, 0
        self._covered_mm = 0.0

    def doubt(self) -> str | None:
        """What speaks against the references although they are young: the belt itself looks different."""
        drift = self._belt.drift
        if abs(drift) < _DOUBTFUL:
            return None
        return (
            f"the empty belt has become {abs(drift):.0%} {'brighter' if drift > 0 else 'darker'} in some "
            "bands since the references were taken; clean belt and window, see to the lamp, record both again"
        )

    def close(self) -> None:
        self._pool.shutdown()

    def read(self, counts: NDArray[Any], travel_mm: NDArray[np.float64]) -> NirBlock:
        """Shares of every foreground pixel of some rows.

        Args:
            counts: Raw, shape (h, W, L); a transposed view of BIL rows will do. Any h, also 0.
            travel_mm: The belt's, at each row, shape (h,).

        Raises:
            FrameError: Of another width or number of bands than the camera's.
        """
        needed = (self._camera.pixels, len(self._camera.wavelength_nm))
        if counts.ndim != 3 or counts.shape[1:] != needed or travel_mm.shape != counts.shape[:1]:
            raise FrameError(
                f"counts of shape {counts.shape} at {travel_mm.shape} places came, needed "
                f"(lines, {needed[0]}, {needed[1]}) and a place for each line; set the camera as the line's "
                "file says"
            )
        if not len(counts):
            return self._joined([], travel_mm)
        if self._rows_learnt < self._rows_to_learn:
            self._learn(counts)
        fair = -(-len(counts) // self._threads)
        rows = min(max(fair, -(-_LEAST_PIXELS // self._camera.pixels)), self._rows)

        def part(at: int) -> _Part:
            return self._part(counts[at : at + rows], self._row + at)

        parts = list(self._pool.map(part, range(0, len(counts), rows)))
        self._row += len(counts)
        self._follow(parts, travel_mm)
        return self._joined(parts, travel_mm)

    def _part(self, counts: NDArray[Any], row: int) -> _Part:
        rows = len(counts)
        light = self._light(counts)  # (rows, W, L)
        flat = light.reshape(-1, light.shape[2])
        assert self._belt.lens is not None
        # (rows, W, K + 1): row by row, so that BLAS finds each product too small for threads of its own.
        seen = np.ascontiguousarray(light[:, :, :: self._belt.step]) @ self._belt.lens
        foreground = self._belt.foreground(seen)
        places = np.flatnonzero(foreground)
        if self._every_pixel:
            shares = PixelShares(*(found[places] for found in self._reader.read(flat)))
        else:
            whole = len(places) == len(flat)
            shares = self._reader.read(flat if whole else flat[places])
        thing = seen.reshape(len(flat), -1)[places]  # (p, K + 1)
        brightness = thing[:, -1]
        saturated = (counts[:, :, self._peak] >= self._references.full_scale).ravel()[places]
        kept = np.flatnonzero(self._grid(row, rows).ravel()[places])
        bare = rows * ~foreground[0]  # one row stands for the few: enough to follow the belt by
        return _Part(
            foreground,
            shares,
            brightness,
            self._belt.tint(thing),
            (brightness > _DARK) & ~saturated,
            kept,
            fraction_to_absorbance(flat[places[kept]]),
            seen[0] * bare[:, None],
            bare,
        )

    def _light(self, counts: NDArray[Any]) -> Floats:
        """Reflectance in this thread's own buffer: it holds until the thread's next call."""
        if not hasattr(self._scratch, "light"):
            shape = (self._rows, *self._references.gain.shape)
            self._scratch.light = np.empty(shape, np.float32)
            self._scratch.turned = np.empty(shape, np.uint16)
        light: Floats = self._scratch.light[: len(counts)]
        if counts.dtype == np.uint16 and not counts.flags.c_contiguous:
            # Turning BIL to BIP in two bytes a number, then widening, is faster than both in one.
            turned: NDArray[np.uint16] = self._scratch.turned[: len(counts)]
            np.copyto(turned, counts)
            counts = turned
        np.copyto(light, counts)
        np.subtract(light, self._references.offset, out=light)
        np.multiply(light, self._references.gain, out=light)
        self._references.mend.apply(light)
        return light

    def _learn(self, counts: NDArray[Any]) -> None:
        """Learn the belt from all rows since the start, each time that they have doubled in number."""
        step, columns = max(1, len(counts) // _LEARN_ROWS), max(1, self._camera.pixels // _LEARN_COLUMNS)
        for at in range(0, len(counts), step):
            light = self._light(counts[at : at + 1])[0, ::columns]  # (w, L)
            strange = self._reader.read(np.ascontiguousarray(light)).unknown >= self._reader.unknown_threshold
            self._lesson.append((light[:, :: self._belt.step] @ self._belt.groups, strange))
        self._rows_learnt += len(counts)
        if self._belt.lens is None or self._rows_learnt >= self._next_lesson:
            self._next_lesson = 2 * self._rows_learnt
            skip = -(-len(self._lesson) // (2 * _LEARN_ROWS))
            seen, strange = zip(*self._lesson[::skip], strict=True)
            self._belt.learn(np.concatenate(seen), np.concatenate(strange))

    def _grid(self, row: int, rows: int) -> Bools:
        """Which pixels of rows that begin at `row` are kept whole, (rows, W)."""
        found = np.zeros((rows, self._camera.pixels), np.bool_)
        found[-row % self._every_row :: self._every_row, :: self._every_column] = True
        return found

    def _follow(self, parts: list[_Part], travel_mm: NDArray[np.float64]) -> None:
        """Let the belt's picture follow the belt, and begin it anew where none has been seen for long."""
        pixels = np.sum([part.belt_pixels for part in parts], axis=0)
        self._belt.follow(np.sum([part.belt for part in parts], axis=0), pixels, rows=self._rows_to_follow)
        moved = abs(float(travel_mm[-1]) - self._travel_mm)
        self._travel_mm = float(travel_mm[-1])
        bare = float(pixels.sum()) >= _LEAST_BELT * len(travel_mm) * self._camera.pixels
        self._covered_mm = 0.0 if bare else self._covered_mm + min(moved, _RELEARN_MM / 4)
        if self._covered_mm >= _RELEARN_MM:
            self._forget_belt()

    def _joined(self, parts: list[_Part], travel_mm: NDArray[np.float64]) -> NirBlock:
        bands, columns = len(self._camera.wavelength_nm), self._camera.pixels

        def all_of(pieces: Iterator[NDArray[Any]], shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
            return np.concatenate([np.empty((0, *shape), kind), *pieces])

        starts = np.cumsum([0, *(len(part.brightness) for part in parts)])
        fibres = len(self._reader.fibres)
        return NirBlock(
            travel_mm=np.asarray(travel_mm, np.float64),
            foreground=all_of((part.foreground for part in parts), (columns,), np.bool_),
            shares=all_of((part.shares.shares for part in parts), (fibres,), np.float32),
            unknown=all_of((part.shares.unknown for part in parts), (), np.float32),
            brightness=all_of((part.brightness for part in parts), (), np.float32),
            tint=all_of((part.tint for part in parts), (self._belt.groups.shape[1],), np.float32),
            readable=all_of((part.readable for part in parts), (), np.bool_),
            sampled=all_of(
                (part.sampled + start for part, start in zip(parts, starts, strict=False)), (), np.intp
            ),
            absorbance=all_of((part.absorbance for part in parts), (bands,), np.float32),
        )
