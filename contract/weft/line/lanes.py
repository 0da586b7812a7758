"""The lanes of a line: what each takes, how clean it must stay, what it is worth.

All of it is frozen: rules that change while the line runs are other rules, with another version.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import yaml

from weft.line.records import Flag
from weft.line.rule_tree import Facts, Rule, asked_flags, holds, number, words

# A piece with one of these goes to the rest, unless a lane's rule asks for it by name.
DOUBTS: Final[frozenset[Flag]] = frozenset(
    ("touching", "overlapping", "mixed", "long", "cut", "dark", "unknown", "few-pixels")
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the rules that whoever wrote them should know."""

    level: Literal["error", "warning", "note"]
    words: str
    lane: str | None = None
    example: tuple[tuple[str, float], ...] = ()  # a composition that shows it: fibre, share by weight

    def __str__(self) -> str:
        return f"lane {self.lane!r}: {self.words}" if self.lane else self.words


@dataclass(frozen=True)
class Lane:
    name: str
    rule: Rule
    max_contamination: float  # 0..1: share by weight of what is in it and should not be
    ejector: str | None = None  # None: nothing blows; what it takes runs on to the belt's end
    price_per_kg: float = 0.0  # in the plant's own currency
    spoil_per_kg: float = 0.0  # what a kilogram of the wrong material costs this lane

    @cached_property
    def take(self) -> str:
        return words(self.rule)

    def worth_from(self, rest_price_per_kg: float) -> float:
        """The chance from which on a piece is worth more here than in the rest."""
        gain = self.price_per_kg + self.spoil_per_kg
        return min(max((rest_price_per_kg + self.spoil_per_kg) / gain, 0.0), 1.0) if gain > 0 else 0.0

    @cached_property
    def asks_for(self) -> frozenset[Flag]:
        return asked_flags(self.rule)

    def takes(self, shares: Mapping[str, float], facts: Facts = Facts()) -> bool:
        """Whether a piece of known composition belongs here.

        Args:
            shares: By weight, 0..1, of a textile; empty for what is none, which belongs nowhere.
        """
        if not shares or any(flag in DOUBTS and flag not in self.asks_for for flag in facts.flags):
            return False
        return bool(holds(self.rule, lambda name: shares.get(name, 0.0), facts))


@dataclass(frozen=True)
class LaneRules:
    """All lanes of a line, in the file's order, which settles a tie."""

    lanes: tuple[Lane, ...]
    rest: str  # the name of the lane for all that no other takes
    rest_price_per_kg: float = 0.0
    # Warnings and notes of the check; no part of what the rules are, nor of their version.
    findings: tuple[Finding, ...] = field(default=(), compare=False)

    @cached_property
    def text(self) -> str:
        """Canonical YAML, which `weft.line.rules.rules_from_text` reads as the same rules."""
        return yaml.safe_dump(self.as_json(), sort_keys=False, allow_unicode=True, width=10_000)

    @cached_property
    def version(self) -> str:
        """Names these rules in every decision: the first ten digits of the canonical text's SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:10]

    def lane(self, name: str) -> Lane:
        """Raises KeyError for the rest, which has no rule, and for a name that is none of these."""
        return {lane.name: lane for lane in self.lanes}[name]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values, in the words of a line's file."""
        rest = {"name": self.rest, "price_per_kg": self.rest_price_per_kg}
        return {
            "rest": rest if self.rest_price_per_kg else self.rest,
            "lanes": [_lane_json(lane) for lane in self.lanes],
        }


def _lane_json(lane: Lane) -> dict[str, Any]:
    return {
        "name": lane.name,
        "take": lane.take,
        **({"ejector": lane.ejector} if lane.ejector else {}),
        "max_contamination": f"{number(100 * lane.max_contamination)} %",
        "price_per_kg": lane.price_per_kg,
        **({"spoil_per_kg": lane.spoil_per_kg} if lane.spoil_per_kg != max(lane.price_per_kg, 0) else {}),
    }
