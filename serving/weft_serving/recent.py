"""Prepared photos of recent estimates, in memory only, so that a photo can be added in a later call."""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from weft.weigher import Prepared


class Recent:
    """At most `most_bytes` of pixels, none older than `seconds`; the oldest go first. Thread-safe."""

    def __init__(self, *, seconds: float, most_bytes: int) -> None:
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._entries: OrderedDict[str, tuple[float, tuple[Prepared, ...], int, object]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(64)]

    def turn(self, key: str) -> threading.Lock:
        """Held while a photo is added, so that two calls for one estimate do not forget each other's."""
        return self._turns[hash(key) % len(self._turns)]

    def put(self, key: str, photos: Sequence[Prepared], *, takes: object) -> None:
        """Remember photos; `takes` says what they were prepared for: `WeightModel.takes`."""
        held = tuple(_alone(photo) for photo in photos)
        size = sum(photo.pixels.nbytes for photo in held if photo.pixels is not None)
        with self._lock:
            self._forget(key)
            if size > self._most_bytes or self._seconds <= 0:
                return
            self._entries[key] = (time.monotonic(), held, size, takes)
            self._bytes += size
            while self._bytes > self._most_bytes:
                self._forget(next(iter(self._entries)))

    def get(self, key: str, *, takes: object) -> tuple[Prepared, ...] | None:
        """The photos, if they were prepared for what `takes` says."""
        with self._lock:
            self._drop_old()
            entry = self._entries.get(key)
            return entry[1] if entry is not None and entry[3] == takes else None

    @property
    def held_bytes(self) -> int:
        with self._lock:
            self._drop_old()
            return self._bytes

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._seconds
        for key in [key for key, (at, *_) in self._entries.items() if at < oldest]:
            self._forget(key)

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry[2]


def _alone(photo: Prepared) -> Prepared:
    """Only what the graph takes: a part of a larger array would keep all of that alive."""
    pixels = photo.pixels
    whole = None if pixels is None else pixels.base
    if pixels is not None and isinstance(whole, np.ndarray) and whole.nbytes > pixels.nbytes:
        pixels = pixels.copy(order="K")
    return Prepared(pixels, photo.mm_per_pixel, photo.finding, mark_at=photo.mark_at)
