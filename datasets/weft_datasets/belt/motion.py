"""How the belt moves: a motor's slow swing and jitter in its speed, and the encoder that counts it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.line.description import Belt as BeltDescription

STEP_S = 0.002
START_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z: a simulated clock has a fixed start


@dataclass(frozen=True, slots=True)
class MotionHabits:
    swing: float = 0.008  # of the speed, over some seconds: load and slip
    jitter: float = 0.010  # of the speed, over some hundredths of a second
    jitter_s: float = 0.05


HABITS = MotionHabits()


class Motion:
    """Travel of one belt over time."""

    def __init__(self, rng: np.random.Generator, belt: BeltDescription, seconds: float) -> None:
        time_s = np.arange(0.0, seconds + 2.0, STEP_S)
        swing = HABITS.swing * np.sin(2 * np.pi * time_s / rng.uniform(2.0, 6.0) + rng.uniform(0.0, 6.28))
        white = rng.standard_normal(len(time_s))
        # A moving mean of white noise has 1/sqrt(n) of its size.
        width = max(round(HABITS.jitter_s / STEP_S), 1)
        kernel = np.full(width, HABITS.jitter / np.sqrt(width))
        speed = belt.speed_mm_per_s * (1.0 + swing + np.convolve(white, kernel, mode="same"))
        self._time_s = time_s
        self._travel_mm = np.concatenate([[0.0], np.cumsum(speed[:-1]) * STEP_S])
        self._counts_per_mm = belt.counts_per_mm

    def travel_mm(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(time_s, self._time_s, self._travel_mm)

    def encoder(self, time_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Whole counts since the start."""
        return np.floor(self.travel_mm(time_s) * self._counts_per_mm).astype(np.int64)


def clock_ns(time_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Nanoseconds since 1970 of a simulated clock."""
    return START_NS + np.round(time_s * 1e9).astype(np.int64)
