"""A simulated parcel: what is in it, how much room it takes, what it looks like.

The room follows from the garments' loose volumes and from how tightly they are packed. How tightly is drawn,
not measured: people squeeze a bag's content to about 0.7 of its loose volume, a carton's a little more, and a
heap not at all, each give or take a few per cent. A photo does not show that spread; it is the floor under
any estimate.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.random import Generator

from weft_datasets.garments import SEASONS, Piece, draw_pieces
from weft_datasets.render import bags, boxes
from weft_datasets.render.clothes import FRAY_MM, drop_pile
from weft_datasets.render.mesh import Mesh, Skin, sheet

Wrap = Literal["bag", "box", "loose"]
# Share of the loose volume that is left, and the standard deviation of its logarithm from parcel to parcel.
PACKING: dict[Wrap, tuple[float, float]] = {"bag": (0.70, 0.075), "box": (0.64, 0.075), "loose": (1.0, 0.09)}
WRAP_SHARES: dict[Wrap, float] = {"bag": 0.55, "box": 0.27, "loose": 0.18}
MOST_PIECES_SEEN = 26  # of a heap: the others lie beneath


@dataclass(frozen=True, slots=True)
class Parcel:
    season: str
    wrap: Wrap
    pieces: tuple[Piece, ...]
    litres: float  # volume as it stands there

    @property
    def grams(self) -> float:
        return sum(piece.grams for piece in self.pieces)


def draw_parcel(rng: Generator) -> Parcel:
    """A parcel of 0.5-25 kg."""
    season = SEASONS[int(rng.integers(2))]
    wrap: Wrap = list(WRAP_SHARES)[int(rng.choice(3, p=list(WRAP_SHARES.values())))]
    pieces = draw_pieces(rng, season=season)
    left, spread = PACKING[wrap]
    litres = sum(piece.litres for piece in pieces) * left * float(np.exp(spread * rng.standard_normal()))
    return Parcel(season, wrap, tuple(pieces), litres)


def parcel_meshes(rng: Generator, parcel: Parcel) -> list[Mesh]:
    """The parcel's surface, standing on z = 0 about the origin."""
    if parcel.wrap == "box":
        if rng.random() < 0.5:
            return boxes.shut_box(rng, parcel.litres)
        return boxes.open_box(rng, parcel.litres, season=parcel.season)
    if parcel.wrap == "bag":
        if rng.random() < 0.75:
            return bags.tied_bag(rng, parcel.litres, season=parcel.season)
        return bags.open_bag(rng, parcel.litres, season=parcel.season)
    return _heap(rng, parcel)


def _heap(rng: Generator, parcel: Parcel) -> list[Mesh]:
    seen = min(len(parcel.pieces), MOST_PIECES_SEEN)
    pile = drop_pile(rng, parcel.litres, pieces=seen, season=parcel.season)
    cell = 2 * pile.half_mm / (len(pile.heights) - 1)
    found = float(np.maximum(pile.heights, 0).sum()) * cell**2 / 1e6
    scale = (parcel.litres / found) ** (1 / 3)
    half = pile.half_mm * scale
    mesh = sheet(
        pile.heights * scale,
        (half, half),
        Skin(pile.materials, pile.owner, (-half, -half), (half, half), FRAY_MM),
    )
    above = mesh.vertices[mesh.faces, 2].max(axis=1) > 0
    return [replace(mesh, faces=mesh.faces[above])]
