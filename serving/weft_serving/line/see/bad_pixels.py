"""Pixels of a NIR camera that cannot be believed: found in its references, mended from their neighbours.

Letters: W columns of the camera, L bands, h lines.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

_AROUND: Final = 8  # columns on either side that a pixel is compared with: a lamp changes little over them
_DEAD: Final = 0.4  # of the neighbours' response; gains of sound pixels differ by a tenth
_HOT: Final = 0.02  # of the full scale, and
_HOT_SIGMAS: Final = 10.0  # robust ones, above the dark of its band
_FLICKER: Final = 4.0  # times the usual noise of its band
_LEAST_LINES: Final = 16  # below it a standard deviation says too little
_REACH: Final = 6  # bands, about 20 nm: textile spectra are nearly straight over them


class Mend(NamedTuple):
    """How each bad pixel is replaced by two good ones: of its column, else of its band."""

    column: NDArray[np.intp]  # (B,)
    band: NDArray[np.intp]  # (B,)
    from_column: NDArray[np.intp]  # (2, B)
    from_band: NDArray[np.intp]  # (2, B)
    weight: Floats  # (2, B) sums to 1

    def apply(self, reflectance: Floats) -> None:
        """In place, shape (h, W, L), contiguous."""
        if self.column.size:
            bands = reflectance.shape[2]
            flat = reflectance.reshape(len(reflectance), -1)  # (h, W * L)
            first, second = self.from_column * bands + self.from_band
            flat[:, self.column * bands + self.band] = (
                flat[:, first] * self.weight[0] + flat[:, second] * self.weight[1]
            )


def find_bad(white: NDArray[Any], dark: NDArray[Any], *, full_scale: int) -> Bools:
    """Dead, hot, saturated and flickering pixels, shape (W, L), from frames of shape (lines, W, L)."""
    level, floor = white.mean(axis=0, dtype=np.float32), dark.mean(axis=0, dtype=np.float32)
    span = level - floor
    around = _local_median(span)
    bad = (span < _DEAD * around) | (span > around / _DEAD) | (span <= 0)
    bad |= level >= full_scale * 0.995
    usual = np.median(floor, axis=0)  # (L,)
    spread = 1.4826 * np.median(np.abs(floor - usual), axis=0)
    bad |= floor - usual > np.maximum(_HOT_SIGMAS * spread, _HOT * full_scale)
    for frames in (white, dark):
        if len(frames) >= _LEAST_LINES:
            noise = frames.std(axis=0, dtype=np.float32)  # (W, L)
            # Half a count at least: a dark of constant counts has no noise to compare with.
            bad |= noise > _FLICKER * np.maximum(np.median(noise, axis=0), 0.5)
    return np.asarray(bad, np.bool_)


def mend_of(bad: Bools) -> Mend | None:
    """Where each bad pixel of (W, L) takes its value from; None where some have no good neighbour at all."""
    column, band = np.nonzero(bad)
    before, after = _nearest_good(bad)  # along L
    near = [side[column, band] for side in (before, after)]
    have = [(place >= 0) & (place < bad.shape[1]) & (np.abs(place - band) <= _REACH) for place in near]
    across = [side.T[column, band] for side in _nearest_good(bad.T)]  # along W
    have_across = [(place >= 0) & (place < bad.shape[0]) for place in across]
    own = have[0] | have[1]  # mended within its own spectrum
    if not bool((own | have_across[0] | have_across[1]).all()):
        return None
    weight = np.zeros((2, len(band)), np.float32)
    from_column, from_band = np.tile(column, (2, 1)), np.tile(band, (2, 1))
    for places, there, where, rows in (
        (near, have, band, own),
        (across, have_across, column, ~own),
    ):
        distance = [np.abs(place - where).astype(np.float32) for place in places]
        total = np.maximum(distance[0] + distance[1], 1)
        for side in range(2):
            alone = there[side] & ~there[1 - side]
            share = np.where(alone, 1.0, np.where(there[side], distance[1 - side] / total, 0.0))
            weight[side, rows] = share[rows]
            target = from_band if rows is own else from_column
            target[side, rows] = np.where(there[side], places[side], places[1 - side])[rows]
    return Mend(column, band, from_column, from_band, weight)


def _local_median(values: Floats) -> Floats:
    """Median over the columns around each, shape (W, L)."""
    reach = min(_AROUND, (len(values) - 1) // 2)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    return np.median(windows, axis=-1)


def _nearest_good(bad: Bools) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Last good place before and first one after, along the last axis; -1 and its length where none."""
    length = bad.shape[1]
    place = np.broadcast_to(np.arange(length), bad.shape)
    before = np.maximum.accumulate(np.where(bad, -1, place), axis=1)
    after = np.minimum.accumulate(np.where(bad, length, place)[:, ::-1], axis=1)[:, ::-1]
    return before, after
