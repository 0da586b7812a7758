"""What simulated sorting was worth: purity and recovery by lane, share sorted right by class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weft.line.lanes import LaneRules
from weft.line.rule_tree import Facts
from weft_datasets.belt.truth import PieceTruth


@dataclass(frozen=True, slots=True)
class LaneResult:
    """One lane; shares are None where nothing was in it, or nothing for it on the belt."""

    pieces: int
    grams: float
    purity: float | None  # of its grams, what it takes by its rule
    purity_by_pieces: float | None
    recovery: float | None  # of all grams on the belt that it takes, what is in it
    recovery_by_pieces: float | None


@dataclass(frozen=True, slots=True)
class Sorted:
    """All of it is of a simulated belt."""

    lanes: dict[str, LaneResult]  # the rest among them, whose purity is of what no lane takes
    sorted_right: dict[str, float]  # by class, of pieces that lie alone and are of one cloth
    sorted_right_by_mass: dict[str, float]
    sorted_right_all: dict[str, float]  # touching and overlapping ones too
    pieces: dict[str, int]  # by class

    def as_json(self) -> dict[str, Any]:
        lanes = {
            name: {
                "purity": lane.purity,
                "recovery": lane.recovery,
                "pieces": lane.pieces,
                "grams": lane.grams,
            }
            for name, lane in self.lanes.items()
        }
        return {"simulated": True, "sorted_right": self.sorted_right, "lanes": lanes, "pieces": self.pieces}


def takes(rules: LaneRules, lane: str, piece: PieceTruth) -> bool:
    """Whether a piece truly belongs in a lane; in the rest what no other lane takes."""
    facts = Facts(
        colour=piece.colour,
        flags=("mixed",) if piece.mixed else (),
        grams=piece.grams,
        area_cm2=piece.area_cm2,
        unknown=0.0 if piece.composition else 1.0,
    )
    if lane == rules.rest:
        return not any(each.takes(piece.composition, facts) for each in rules.lanes)
    return any(each.takes(piece.composition, facts) for each in rules.lanes if each.name == lane)


def sorted_by(pieces: Sequence[PieceTruth], where: Mapping[int, str | None], rules: LaneRules) -> Sorted:
    """Judge a run.

    Args:
        where: By piece, the ejector that took it; None and pieces left out are in the rest.

    Raises:
        ValueError: An ejector that no lane has.
    """
    by_ejector = {lane.ejector: lane.name for lane in rules.lanes if lane.ejector is not None}
    lane_of: dict[int, str] = {}
    for piece in pieces:
        ejector = where.get(piece.piece)
        if ejector is not None and ejector not in by_ejector:
            raise ValueError(f"ejector {ejector!r} belongs to no lane; there are {', '.join(by_ejector)}")
        lane_of[piece.piece] = rules.rest if ejector is None else by_ejector[ejector]
    names = [*(lane.name for lane in rules.lanes), rules.rest]
    wanted = {name: {piece.piece for piece in pieces if takes(rules, name, piece)} for name in names}
    right = {piece.piece for piece in pieces if piece.piece in wanted[lane_of[piece.piece]]}
    alone = [piece for piece in pieces if not piece.overlaps and not piece.touches and not piece.mixed]
    return Sorted(
        lanes={name: _lane(pieces, lane_of, name, wanted[name]) for name in names},
        sorted_right=_right(alone, right, by_mass=False),
        sorted_right_by_mass=_right(alone, right, by_mass=True),
        sorted_right_all=_right(pieces, right, by_mass=False),
        pieces={name: len(found) for name, found in _classes(pieces).items()},
    )


def _lane(
    pieces: Sequence[PieceTruth], lane_of: Mapping[int, str], name: str, wanted: set[int]
) -> LaneResult:
    inside = [piece for piece in pieces if lane_of[piece.piece] == name]
    good = [piece for piece in inside if piece.piece in wanted]
    all_wanted = [piece for piece in pieces if piece.piece in wanted]
    return LaneResult(
        pieces=len(inside),
        grams=round(_grams(inside), 1),
        purity=_ratio(_grams(good), _grams(inside)),
        purity_by_pieces=_ratio(len(good), len(inside)),
        recovery=_ratio(_grams(good), _grams(all_wanted)),
        recovery_by_pieces=_ratio(len(good), len(all_wanted)),
    )


def _right(pieces: Sequence[PieceTruth], right: set[int], *, by_mass: bool) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, found in _classes(pieces).items():
        weights = [(piece.grams if by_mass else 1.0, piece.piece in right) for piece in found]
        out[name] = sum(weight for weight, good in weights if good) / sum(weight for weight, _ in weights)
    return out


def _classes(pieces: Sequence[PieceTruth]) -> dict[str, list[PieceTruth]]:
    out: dict[str, list[PieceTruth]] = {}
    for piece in pieces:
        out.setdefault(piece.material, []).append(piece)
    return dict(sorted(out.items()))


def _grams(pieces: Sequence[PieceTruth]) -> float:
    return sum(piece.grams for piece in pieces)


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
