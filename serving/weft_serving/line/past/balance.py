"""Sums of estimated masses with their margins: how much of what fibre went where.

Each piece brings a mass and shares with margins at a stated coverage. Two margins are carried along, because
nobody can say how far the errors of two pieces have a common cause:

- independent: errors of different pieces cancel as chance has it. Mass and share are taken as independent
  within a piece; a margin is read as a normal curve's, the mass's on a logarithmic axis.
- one way: all pieces err to the same side, each by its whole margin. The truth lies further out only where
  single margins fail too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final, NamedTuple

from weft.line.records import Decision, Mass, Share

COVERAGE: Final = 0.9  # of the margins in a piece's record, and so of the sums
NO_COMPOSITION: Final = "no composition"
_WIDTH: Final = NormalDist().inv_cdf((1 + COVERAGE) / 2)  # standard deviations to either side


class Part(NamedTuple):
    """One fibre of one piece, in grams."""

    fibre: str
    grams: float
    variance: float
    least: float
    most: float


@dataclass(slots=True)
class Total:
    pieces: int = 0
    grams: float = 0.0
    variance: float = 0.0
    least: float = 0.0  # if all erred one way
    most: float = 0.0

    def add(self, part: Part) -> None:
        self.pieces += 1
        self.grams += part.grams
        self.variance += part.variance
        self.least += part.least
        self.most += part.most

    @property
    def margin(self) -> float:
        """Grams to either side, if pieces err independently."""
        return _WIDTH * math.sqrt(self.variance)

    @property
    def low(self) -> float:
        return max(0.0, self.grams - self.margin)

    @property
    def high(self) -> float:
        return self.grams + self.margin


def parts_of(decision: Decision) -> Iterator[Part]:
    """The piece's mass, divided among its fibres; none where its mass is not known."""
    mass = decision.piece.mass
    if mass is None:
        return
    if not decision.piece.shares:
        yield whole_of(mass, NO_COMPOSITION)
        return
    for share in decision.piece.shares:
        yield _part(mass, share)


def whole_of(mass: Mass, name: str) -> Part:
    """The piece's mass, undivided."""
    return Part(name, mass.grams, _spread(mass) ** 2, mass.low_grams, mass.high_grams)


def _part(mass: Mass, share: Share) -> Part:
    grams, spread = mass.grams, _spread(mass)
    loose = (share.high - share.low) / (2 * _WIDTH)
    variance = (share.share * spread) ** 2 + (grams * loose) ** 2 + (spread * loose) ** 2
    return Part(
        share.fibre, grams * share.share, variance, mass.low_grams * share.low, mass.high_grams * share.high
    )


def _spread(mass: Mass) -> float:
    """Standard deviation in grams."""
    if mass.low_grams <= 0:
        return (mass.high_grams - mass.low_grams) / (2 * _WIDTH)
    return mass.grams * math.log(mass.high_grams / mass.low_grams) / (2 * _WIDTH)
