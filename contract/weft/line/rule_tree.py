"""What a lane takes, as a tree: amounts of fibres, colours, flags and measures, joined by and / or.

There is no node for "not": it is carried down to the leaves (`opposite`), so that a leaf that cannot be told,
such as the colour of a piece that no colour camera saw, never makes a rule true, negated or not.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from weft.line.records import Flag, Piece

Comparison = Literal[">=", ">", "<=", "<"]
Quantity = Literal["mass", "area", "unknown"]
FLAGS: Final[tuple[Flag, ...]] = get_args(Flag)
UNITS: Final[Mapping[Quantity, str]] = {"mass": "g", "area": "cm2", "unknown": "%"}
# So much of a point of percent does not count: 0.95 * 100 is not 95 in floating point.
SLACK_POINTS: Final = 1e-7
_OPPOSITE: Final[Mapping[Comparison, Comparison]] = {">=": "<", "<": ">=", ">": "<=", "<=": ">"}


@dataclass(frozen=True, slots=True)
class Amount:
    """`wool + silk >= 80 %`: shares by weight, summed."""

    fibres: tuple[str, ...]
    comparison: Comparison
    percent: float


@dataclass(frozen=True, slots=True)
class Measure:
    """`mass >= 100 g`, `area < 900 cm2`, `unknown < 20 %`."""

    quantity: Quantity
    comparison: Comparison
    value: float  # in the unit of `UNITS`


@dataclass(frozen=True, slots=True)
class Coloured:
    names: tuple[str, ...]  # any of them
    wanted: bool = True  # False: none of them


@dataclass(frozen=True, slots=True)
class Flagged:
    flag: Flag
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Every:
    parts: tuple["Rule", ...]


@dataclass(frozen=True, slots=True)
class Either:
    parts: tuple["Rule", ...]


Leaf: TypeAlias = Amount | Measure | Coloured | Flagged
Rule: TypeAlias = Leaf | Every | Either


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a piece besides its composition; None: not known."""

    colour: str | None = None
    flags: tuple[Flag, ...] = ()
    grams: float | None = None
    area_cm2: float | None = None
    unknown: float | None = None  # 0..1

    def percent_or_size(self, quantity: Quantity) -> float | None:
        if quantity == "unknown":
            return None if self.unknown is None else 100 * self.unknown
        return self.grams if quantity == "mass" else self.area_cm2


def facts_of(piece: Piece) -> Facts:
    return Facts(
        colour=piece.colour.name if piece.colour else None,
        flags=piece.flags,
        grams=piece.mass.grams if piece.mass else None,
        area_cm2=piece.area_cm2,
        unknown=piece.unknown,
    )


def every(parts: list[Rule]) -> Rule:
    """All of them; a list of one is that one, and what is already joined so is taken apart."""
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, Every) else (part,))]
    return flat[0] if len(flat) == 1 else Every(tuple(flat))


def either(parts: list[Rule]) -> Rule:
    flat = [inner for part in parts for inner in (part.parts if isinstance(part, Either) else (part,))]
    return flat[0] if len(flat) == 1 else Either(tuple(flat))


def opposite(rule: Rule) -> Rule:
    match rule:
        case Amount():
            return Amount(rule.fibres, _OPPOSITE[rule.comparison], rule.percent)
        case Measure():
            return Measure(rule.quantity, _OPPOSITE[rule.comparison], rule.value)
        case Coloured():
            return Coloured(rule.names, not rule.wanted)
        case Flagged():
            return Flagged(rule.flag, not rule.wanted)
        case Every():
            return either([opposite(part) for part in rule.parts])
        case Either():
            return every([opposite(part) for part in rule.parts])


def leaves(rule: Rule) -> Iterator[Leaf]:
    if isinstance(rule, Every | Either):
        for part in rule.parts:
            yield from leaves(part)
    else:
        yield rule


def named_fibres(rule: Rule) -> tuple[str, ...]:
    """Each once, in the order of the text."""
    found = (name for leaf in leaves(rule) if isinstance(leaf, Amount) for name in leaf.fibres)
    return tuple(dict.fromkeys(found))


def asked_flags(rule: Rule) -> frozenset[Flag]:
    """Flags that the rule asks for; pieces that carry another one are not for it."""
    return frozenset(leaf.flag for leaf in leaves(rule) if isinstance(leaf, Flagged) and leaf.wanted)


def words(rule: Rule) -> str:
    """The canonical text, which `weft.line.rule_text.parse_rule` reads as the same tree."""
    match rule:
        case Amount():
            return f"{' + '.join(rule.fibres)} {rule.comparison} {number(rule.percent)} %"
        case Measure():
            return f"{rule.quantity} {rule.comparison} {number(rule.value)} {UNITS[rule.quantity]}"
        case Coloured():
            return f"{'' if rule.wanted else 'not '}colour: {', '.join(rule.names)}"
        case Flagged():
            return f"{'' if rule.wanted else 'not '}{rule.flag}"
        case Every():
            inner = (f"({words(part)})" if isinstance(part, Either) else words(part) for part in rule.parts)
            return " and ".join(inner)
        case Either():
            return " or ".join(words(part) for part in rule.parts)


def number(value: float) -> str:
    return f"{value:.10g}"


def compare(value: Any, comparison: Comparison, bound: float) -> Any:
    """For a number, or for each of an array."""
    if comparison == ">=":
        return value >= bound - SLACK_POINTS
    if comparison == ">":
        return value > bound + SLACK_POINTS
    if comparison == "<=":
        return value <= bound + SLACK_POINTS
    return value < bound - SLACK_POINTS


def holds(rule: Rule, share_of: Callable[[str], Any], facts: Facts) -> NDArray[np.bool_]:
    """Whether the rule holds, for one composition, shape (), or for S of them, shape (S,).

    Args:
        share_of: The share by weight (0..1) of a fibre, a number or (S,); 0 for one that is not there.
    """
    match rule:
        case Amount():
            total = sum((100 * share_of(name) for name in rule.fibres[1:]), 100 * share_of(rule.fibres[0]))
            return np.asarray(compare(total, rule.comparison, rule.percent))
        case Measure():
            value = facts.percent_or_size(rule.quantity)
            return np.asarray(value is not None and compare(value, rule.comparison, rule.value))
        case Coloured():
            known = facts.colour is not None
            return np.asarray(known and (facts.colour in rule.names) == rule.wanted)
        case Flagged():
            return np.asarray((rule.flag in facts.flags) == rule.wanted)
        case Every():
            found = holds(rule.parts[0], share_of, facts)
            for part in rule.parts[1:]:
                found = found & holds(part, share_of, facts)
            return np.asarray(found)
        case Either():
            found = holds(rule.parts[0], share_of, facts)
            for part in rule.parts[1:]:
                found = found | holds(part, share_of, facts)
            return np.asarray(found)
