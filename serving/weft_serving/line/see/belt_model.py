"""What the empty belt looks like to the NIR camera: learnt from what it shows most, followed slowly.

A pixel is foreground where it lies further from the belt's own spectra than they lie from each other. Ribs,
wear and shadow move a belt's pixels along a few directions: there it takes more to be foreground than across.
Letters: W columns of the camera, P pixels, b bands looked at, K groups of them.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

GROUPS: Final = 7  # bands are averaged in this many; with the mean, 8 columns are BLAS's cheapest product
_BANDS: Final = 24  # of the camera's, at least; small enough a product for BLAS to leave on its own thread
_STARTS: Final = 7  # brightnesses at which the belt is looked for
_TIGHT: Final = 0.25  # part of the pixels that the belt shows at least, when it is learnt
_STEPS: Final = 8
_NOISE: Final = 0.0005  # of reflectance, in a group of bands: no belt is seen more evenly
_STRUCTURE: Final = 0.08  # of its brightness: ribs and wear that the pixels looked at may not have shown
_DIMMEST: Final = 0.005  # reflectance whose logarithm is still told from noise
_LIMIT: Final = 25.0  # squared distance from which two pixels side by side are foreground: a black garment
_ALONE: Final = 60.0  # and one pixel by itself
_KEEP: Final = 24.0  # and once in 1,000: what counts as belt when its spread is learnt


def grouping(bands: int) -> Floats:
    """Averages neighbouring bands out of b, shape (b, K)."""
    edges = np.linspace(0, bands, min(GROUPS, bands) + 1).astype(np.intp)
    found = np.zeros((bands, len(edges) - 1), np.float32)
    for group, (first, last) in enumerate(pairwise(edges)):
        found[first:last, group] = 1 / (last - first)
    return found


class BeltModel:
    """Mean by column and shared spread. Reading is safe from several threads while nobody learns.

    `step`: every so many bands are looked at. `lens`, (b, K + 1), is what their reflectance is multiplied
    with to be held against the belt: one small product gives differences in which its spread is 1 in each
    of K directions, and the mean reflectance.
    """

    def __init__(self, columns: int, bands: int) -> None:
        self._columns = columns
        self.step = max(1, bands // _BANDS)
        self.groups = grouping(len(range(0, bands, self.step)))  # (b, K)
        self.lens: Floats | None = None  # None: nothing learnt
        self._whiten = np.empty((0, 0))  # (K, K)
        self._plain = np.empty((0, 0), np.float32)  # its inverse
        self._mean = np.empty((0, 0), np.float32)  # (W, K) seen through the lens
        self._first = np.empty(0)  # (K,) grouped reflectance, mean over columns, when learnt

    @property
    def drift(self) -> float:
        """How much brighter (+) or darker (-) the belt is than when it was learnt, of 1; the worst group."""
        if self.lens is None:
            return 0.0
        now = np.linalg.solve(self._whiten.T, self._mean.mean(axis=0, dtype=np.float64))
        change = (now - self._first) / np.maximum(np.abs(self._first), 0.02)
        return float(change[np.argmax(np.abs(change))])

    def learn(self, seen: Floats, unknown: Bools) -> None:
        """Find the belt among pixels from all over the view.

        Where the net knows no textile like a good part of them, the belt is among those, and is most of
        them; else it is the tightest crowd of all.

        Args:
            seen: Grouped reflectance (P, K), P > 0.
            unknown: Whether the net knows no textile like it, (P,).
        """
        strange = float(unknown.mean()) >= _TIGHT
        sample = np.asarray(seen[unknown] if strange else seen, np.float64)
        order = np.argsort(sample.mean(axis=1))
        many = max(1, int((0.5 if strange else _TIGHT) * len(sample)))
        best, found = np.inf, order
        for start in np.linspace(0, len(sample) - 1, _STARTS).astype(np.intp):
            low = int(np.clip(start - many // 2, 0, len(sample) - many))
            crowd = _tightened(sample, order[low : low + many])
            size = float(np.linalg.slogdet(_moments(sample[crowd])[1])[1])
            if size < best:
                best, found = size, crowd
        mean, spread = _moments(sample[_grown(sample, found)])
        self._whiten = np.linalg.cholesky(np.linalg.inv(spread))
        self._plain = np.linalg.inv(self._whiten).astype(np.float32)
        self._mean = np.tile((mean @ self._whiten).astype(np.float32), (self._columns, 1))
        self._first = mean
        bands = len(self.groups)
        self.lens = np.column_stack([self.groups @ self._whiten, np.full(bands, 1 / bands)]).astype(
            np.float32
        )

    def foreground(self, seen: Floats) -> Bools:
        """Shape (h, W), of what the lens shows, (h, W, K + 1)."""
        off = seen[..., :-1] - self._mean
        far = np.einsum("hwk,hwk->hw", off, off)
        weak, found = far > _LIMIT, far > _ALONE
        found[:, 1:] |= weak[:, 1:] & weak[:, :-1]
        found[:, :-1] |= weak[:, 1:] & weak[:, :-1]
        return found

    def tint(self, seen: Floats) -> Floats:
        """Natural log of grouped reflectance, (P, K), of what the lens shows, (P, K + 1)."""
        return np.log(np.maximum(seen[:, :-1] @ self._plain, _DIMMEST))

    def follow(self, total: Floats, pixels: NDArray[np.intp], *, rows: float) -> None:
        """Move towards what the belt's own pixels of a block showed: their sum (W, K + 1) and number (W,).

        `rows` of them move the belt's picture most of the way.
        """
        bare = pixels > 0
        rate = np.minimum(pixels[bare] / rows, 1)[:, None].astype(np.float32)
        self._mean[bare] += rate * (total[bare, :-1] / pixels[bare][:, None] - self._mean[bare])


def _tightened(sample: NDArray[np.float64], chosen: NDArray[np.intp]) -> NDArray[np.intp]:
    """As many pixels as were chosen, closer together: Rousseeuw's steps of concentration."""
    for _ in range(_STEPS):
        mean, spread = _moments(sample[chosen])
        chosen = np.argsort(_distance(sample, mean, spread))[: len(chosen)]
    return chosen


def _grown(sample: NDArray[np.float64], chosen: NDArray[np.intp]) -> NDArray[np.intp]:
    """All pixels that are as alike as those chosen."""
    least = len(chosen) // 2
    mean, spread = _moments(sample[chosen])
    spread *= 2  # the tightest of a Gaussian are narrower than all of it
    for _ in range(2 * _STEPS):
        near = np.flatnonzero(_distance(sample, mean, spread) < _KEEP)
        if len(near) < least or np.array_equal(near, chosen):
            break
        chosen = near
        mean, spread = _moments(sample[chosen])
    return chosen


def _moments(
    sample: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (K,) and spread (K, K), which no belt stays below."""
    mean = sample.mean(axis=0)
    off = sample - mean
    least = np.eye(len(mean)) * _NOISE**2 + np.outer(mean, mean) * _STRUCTURE**2
    return mean, off.T @ off / len(sample) + least


def _distance(
    sample: NDArray[np.float64], mean: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    off = sample - mean
    return np.einsum("pk,pk->p", off @ np.linalg.inv(spread), off)
