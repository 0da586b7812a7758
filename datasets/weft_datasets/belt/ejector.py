"""Simulated ejectors: which piece a pulse of air takes off the belt, with the valve's delay and jitter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from weft.line.description import Ejector, LineDescription
from weft_datasets.belt.truth import PieceTruth

OF_PULSE: Final = 0.5  # of the air must meet a piece to lift it
NEAR_END: Final = 0.1  # of its length: air on an end only turns it
ACROSS: Final = 0.5  # of its width must lie within the nozzles' reach


@dataclass(frozen=True, slots=True)
class Fire:
    """What a line commanded: both are encoder counts at which the command switches."""

    ejector: str
    fire_encoder: int
    hold_encoder: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """Air on the belt: a rectangle in belt coordinates."""

    ejector: str
    from_mm: float  # belt_mm
    to_mm: float
    left_mm: float  # x_mm
    right_mm: float

    def takes(self, piece: PieceTruth) -> bool:
        """Whether it blows away a piece, wanted or not."""
        reach = min(self.right_mm, piece.right_mm) - max(self.left_mm, piece.left_mm)
        if reach < ACROSS * (piece.right_mm - piece.left_mm):
            return False
        start, stop = max(self.from_mm, piece.first_mm), min(self.to_mm, piece.last_mm)
        if stop - start < OF_PULSE * (self.to_mm - self.from_mm):
            return False
        end = NEAR_END * (piece.last_mm - piece.first_mm)
        return piece.first_mm + end <= 0.5 * (start + stop) <= piece.last_mm - end


def pulse_of(
    fire: Fire, description: LineDescription, rng: np.random.Generator, *, speed_mm_per_s: float | None = None
) -> Pulse:
    """Where the air of a command meets the belt.

    Args:
        speed_mm_per_s: Of the belt at that moment; None: the described one.

    Raises:
        ValueError: The line has no ejector of that name, or the command ends before it begins.
    """
    ejector = _ejector(description, fire.ejector)
    if fire.hold_encoder < fire.fire_encoder:
        raise ValueError(
            f"ejector {fire.ejector}: hold encoder {fire.hold_encoder} lies before fire encoder "
            f"{fire.fire_encoder}; give them in order"
        )
    speed = description.belt.speed_mm_per_s if speed_mm_per_s is None else speed_mm_per_s
    # A valve cannot open before it is told to.
    delay_ms = max(rng.normal(ejector.delay_ms, ejector.jitter_ms), 0.0)
    late_mm = delay_ms / 1000.0 * speed
    return Pulse(
        ejector=fire.ejector,
        from_mm=description.travel_mm(fire.fire_encoder) + late_mm - ejector.position_mm,
        to_mm=description.travel_mm(fire.hold_encoder) + late_mm - ejector.position_mm,
        left_mm=ejector.left_mm,
        right_mm=ejector.right_mm,
    )


def landed(
    pieces: Sequence[PieceTruth], fires: Iterable[Fire], description: LineDescription, *, seed: int
) -> dict[int, str | None]:
    """By piece, the ejector that took it, or None where it ran off the end of the belt.

    A piece that one ejector took is gone for those further down; a pulse takes whatever lies in its reach.
    """
    rng = np.random.default_rng([seed, 31])
    pulses = [pulse_of(fire, description, rng) for fire in fires]
    where: dict[int, str | None] = {piece.piece: None for piece in pieces}
    for ejector in sorted(description.ejectors, key=lambda each: each.position_mm):
        for pulse in pulses:
            if pulse.ejector != ejector.name:
                continue
            for piece in pieces:
                if where[piece.piece] is None and pulse.takes(piece):
                    where[piece.piece] = ejector.name
    return where


def _ejector(description: LineDescription, name: str) -> Ejector:
    for ejector in description.ejectors:
        if ejector.name == name:
            return ejector
    known = ", ".join(ejector.name for ejector in description.ejectors)
    raise ValueError(f"line {description.name} has no ejector {name!r}; it has {known}")
