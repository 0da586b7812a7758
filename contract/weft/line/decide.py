"""Which lane a piece goes to: the highest expected value among those whose purity allows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from weft.line.account import Account
from weft.line.chance import Floats, calibrate, chance, chance_of, draw_shares
from weft.line.description import LineDescription
from weft.line.lanes import DOUBTS, Lane, LaneRules
from weft.line.records import Flag, Piece, Share
from weft.line.rule_tree import Facts, facts_of, named_fibres, number
from weft.line.spread import Outcome, learned_spread, normal_spread

__all__ = ["Choice", "Decider", "Option", "chance", "grams_of", "most_valuable"]

_FEWEST_KNOWN: Final = 50  # pieces of known composition to learn from
_GRAMS_PER_CM2: Final = 0.04  # two layers of 200 g/m2, where no mass was estimated
_WHY: Final[dict[Flag, str]] = {
    "touching": "what is whose cannot be told",
    "overlapping": "what is whose cannot be told",
    "mixed": "it has parts of clearly different fibres",
    "long": "it is longer than a single garment",
    "cut": "it runs over the edge of the camera's view",
    "dark": "too little light comes back from it",
    "unknown": "it looks like no textile that the bundle knows",
    "few-pixels": "too little of it could be read",
}


@dataclass(frozen=True, slots=True)
class Choice:
    lane: str
    reason: str
    expected_value: float | None  # None: no mass is known, so its value is not either
    ejector: str | None = None
    chance: float | None = None  # that its rule truly holds; None: the rest, which takes all
    needed: float | None = None  # the chance that purity and price asked for
    grams: float = 0.0  # that the lane's account was charged with


@dataclass(frozen=True, slots=True)
class Option:
    """A lane that could take a piece."""

    lane: Lane
    chance: float
    needed: float
    value: float  # expected, in the currency of the prices

    @property
    def allowed(self) -> bool:
        return self.chance >= self.needed


class Decider:
    """Decides piece by piece for one line and one version of its rules; called from one thread."""

    def __init__(
        self,
        rules: LaneRules,
        *,
        description: LineDescription | None = None,
        coverage: float = 0.9,
        outcomes: Sequence[Outcome] = (),
    ) -> None:
        """
        Args:
            description: Lets a lane be chosen only where its ejector reaches the piece's middle.
            coverage: Of the margins around a piece's shares, from the bundle's card.
            outcomes: Pieces of known composition that the bundle was not trained on; with 50 or more the
                chance of each lane is calibrated on them.
        """
        self.rules = rules
        enough = len(outcomes) >= _FEWEST_KNOWN
        self._spread = learned_spread(outcomes, coverage) if enough else normal_spread(coverage)
        self._fibres = {name for lane in rules.lanes for name in named_fibres(lane.rule)}
        self._reach = {each.name: each for each in description.ejectors} if description else {}
        self._calibrated = calibrate(rules.lanes, outcomes, self._spread)
        self.accounts = {lane.name: self._account(lane) for lane in rules.lanes}

    def decide(self, piece: Piece) -> Choice:
        """Choose a lane and charge its account; call `missed` if the piece does not land there."""
        options, grams = self.options(piece), grams_of(piece)
        best = most_valuable([option for option in options if option.allowed])
        known = piece.mass is not None
        rest_value = self.rules.rest_price_per_kg * grams / 1_000
        if best is None or best.value < rest_value:
            reason = self._why_rest(piece, options, rest_value)
            return Choice(self.rules.rest, reason, rest_value if known else None)
        self.accounts[best.lane.name].take(grams, best.chance)
        needed = max(best.needed, best.lane.worth_from(self.rules.rest_price_per_kg))
        reason = (
            f"{_shown(best.lane, piece)} fits {best.lane.take} with chance {best.chance:.2f}, "
            f"needed {needed:.2f}"
        )
        value = best.value if known else None
        return Choice(best.lane.name, reason, value, best.lane.ejector, best.chance, needed, grams)

    def missed(self, choice: Choice) -> None:
        """The piece was late or held and went on to the rest: its lane's account must not count on it."""
        if choice.chance is not None:
            self.accounts[choice.lane].give_back(choice.grams, choice.chance)

    def chance(self, lane: str, piece: Piece) -> float:
        """Calibrated, as `decide` takes it; 0 for a lane that this piece's flags keep it out of."""
        found = {option.lane.name: option.chance for option in self.options(piece)}
        return found.get(lane, 0.0)

    def options(self, piece: Piece) -> list[Option]:
        """Lanes that could take it, each with its chance and the one it needs at this moment."""
        doubts = {flag for flag in piece.flags if flag in DOUBTS}
        draws, facts = draw_shares(piece.shares, self._spread, self._fibres), facts_of(piece)
        middle = (piece.place.left_mm + piece.place.right_mm) / 2
        found: list[Option] = []
        for lane in self.rules.lanes:
            if doubts - lane.asks_for or not self._reaches(lane, middle):
                continue
            likely = self._chance(lane, draws, facts)
            grams = grams_of(piece)
            value = (lane.price_per_kg * likely - lane.spoil_per_kg * (1 - likely)) * grams / 1_000
            found.append(Option(lane, likely, self.accounts[lane.name].needed(grams), value))
        return found

    def _account(self, lane: Lane) -> Account:
        calibrated = self._calibrated.get(lane.name)
        return Account(lane.max_contamination, calibrated.mix(lane.max_contamination) if calibrated else None)

    def _chance(self, lane: Lane, draws: dict[str, Floats], facts: Facts) -> float:
        said = chance_of(lane.rule, draws, facts)
        calibrated = self._calibrated.get(lane.name)
        return calibrated(said) if calibrated is not None and said > 0 else said

    def _reaches(self, lane: Lane, middle_mm: float) -> bool:
        ejector = self._reach.get(lane.ejector or "")
        return ejector is None or ejector.left_mm <= middle_mm <= ejector.right_mm

    def _why_rest(self, piece: Piece, options: list[Option], rest_value: float) -> str:
        doubts: list[Flag] = [flag for flag in piece.flags if flag in DOUBTS]
        if doubts and not options:
            return f"flagged {doubts[0]}: {_WHY[doubts[0]]}; goes to the rest"
        if not piece.shares:
            return "no composition could be told; goes to the rest"
        likeliest = max(options, key=lambda option: option.chance, default=None)
        if likeliest is None or likeliest.chance < 0.01:
            return f"{_composition(piece.shares)} fits no lane; goes to the rest"
        lane, said = likeliest.lane, f"{likeliest.chance:.2f}"
        fits = f"{_shown(lane, piece)} fits {lane.take} with chance {said}"
        if not likeliest.allowed:
            most = f"at most {number(100 * lane.max_contamination)} % contamination"
            return f"{fits}, needed {likeliest.needed:.2f} for {most}; goes to the rest"
        return f"{fits}, worth {likeliest.value:.3f} there and {rest_value:.3f} in the rest; goes to the rest"


def most_valuable(options: Sequence[Option]) -> Option | None:
    """Of equals the surest, then the first in the file."""
    return max(options, key=lambda option: (option.value, option.chance), default=None)


def grams_of(piece: Piece) -> float:
    """Estimated, or as much as its area in two layers of cloth would weigh."""
    return piece.mass.grams if piece.mass is not None else piece.area_cm2 * _GRAMS_PER_CM2


def _shown(lane: Lane, piece: Piece) -> str:
    """The shares that the lane's rule speaks of, or all where it speaks of none."""
    named = named_fibres(lane.rule)
    return _composition([share for share in piece.shares if share.fibre in named] or piece.shares)


def _composition(shares: Sequence[Share]) -> str:
    shown = [
        f"{item.fibre} {100 * item.share:.0f} % ({100 * item.low:.0f} to {100 * item.high:.0f})"
        for item in shares[:3]
    ]
    return ", ".join(shown) or "it"
