"""Where pieces come to lie: one after another, now and then against each other or one on another."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from weft_datasets.belt.climate import Climate
from weft_datasets.belt.pieces import BeltPiece, drawn_piece
from weft_datasets.belt.scene import Laid

Meeting = Literal["apart", "touches", "overlaps"]


@dataclass(frozen=True, slots=True)
class LayoutHabits:
    gap_mm: tuple[float, float] = (60.0, 320.0)  # from the end of a piece to the next
    touching: float = 0.04  # share of pieces that lie against the one before
    overlapping: float = 0.03  # share that lie on it
    overlap_mm: tuple[float, float] = (30.0, 160.0)
    first_mm: float = 150.0  # belt_mm of the first piece's leading edge, at least


HABITS = LayoutHabits()


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    laid: Laid
    meets: Meeting  # the piece before


def placed_pieces(
    seed: tuple[int, ...], climate: Climate, *, from_mm: float, until_mm: float
) -> Iterator[Placed]:
    """Pieces in order of their numbers, the first at `from_mm`, until one would begin after `until_mm`."""
    rng = np.random.default_rng([*seed, 11])
    end_mm, number = max(from_mm, HABITS.first_mm), 0
    before: Laid | None = None
    while True:
        number += 1
        piece = drawn_piece(number, (*seed, 12), climate)
        gap = rng.uniform(*HABITS.gap_mm) if before is not None else 0.0
        left_mm = _left(rng, piece, climate)
        meets: Meeting = "apart"
        first_mm = end_mm + gap
        drawn, on = rng.random(), rng.uniform(*HABITS.overlap_mm)
        if before is not None and drawn < HABITS.touching + HABITS.overlapping:
            left_mm = _middle_of(before, piece, climate)
            against = _against(before, piece, left_mm)
            meets = "touches" if drawn < HABITS.touching else "overlaps"
            first_mm = against - (on if meets == "overlaps" else 0.0)
        if first_mm > until_mm:
            return
        laid = Laid(piece, first_mm=float(first_mm), left_mm=left_mm)
        yield Placed(laid, meets)
        before = laid
        end_mm = max(end_mm, laid.last_mm)


def _left(rng: np.random.Generator, piece: BeltPiece, climate: Climate) -> float:
    spare = climate.belt_mm - piece.parts.shape[1] * piece.cell_mm
    edge = 15.0
    return float(rng.uniform(edge, spare - edge)) if spare > 2 * edge else spare / 2


def _middle_of(before: Laid, piece: BeltPiece, climate: Climate) -> float:
    """A left edge that brings its middle over that of the one before."""
    wide = piece.parts.shape[1] * piece.cell_mm
    left = 0.5 * (before.left_mm + before.right_mm - wide)
    return float(np.clip(left, 0.0, max(climate.belt_mm - wide, 0.0)))


def _against(before: Laid, piece: BeltPiece, left_mm: float) -> float:
    """First_mm at which the piece just touches the one before, moved along the belt."""
    cell = piece.cell_mm
    shift = round((left_mm - before.left_mm) / cell)
    last, first = _last_rows(before.piece.parts), _first_rows(piece.parts)
    low, high = max(0, shift), min(len(last), shift + len(first))
    if low >= high:
        return before.last_mm
    room = (
        last[low:high] - first[low - shift : high - shift]
    )  # rows that it must come after the other's first
    room = room[np.isfinite(room)]
    return before.first_mm + (float(room.max()) + 1.0) * cell if len(room) else before.last_mm


def _last_rows(parts: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Last row with cloth in each column, -inf where there is none."""
    found = parts.shape[0] - 1.0 - (parts[::-1] > 0).argmax(axis=0)
    return np.where((parts > 0).any(axis=0), found, -np.inf)


def _first_rows(parts: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.where((parts > 0).any(axis=0), (parts > 0).argmax(axis=0).astype(np.float64), np.inf)
