"""What is wrong with lanes, or worth knowing: impossible and shadowed rules, overlaps, gaps.

A rule is a union of convex pieces of the simplex of compositions, so nothing here is guessed: whether a piece
is empty is a linear programme, solved exactly (`weft.line.halfspaces`), and its solution is the example told.
"""

from collections.abc import Sequence
from itertools import combinations, product
from typing import Final

from weft.errors import RuleError
from weft.line.colours import COLOURS
from weft.line.description import LineDescription
from weft.line.halfspaces import Point, roomiest
from weft.line.lanes import DOUBTS, Finding, Lane, LaneRules
from weft.line.rule_tree import (
    Amount,
    Coloured,
    Either,
    Every,
    Flagged,
    Leaf,
    Measure,
    Rule,
    compare,
    named_fibres,
    opposite,
    words,
)

OTHER: Final = "another fibre"
_MOST_CLAUSES: Final = 300
_MOST_CELLS: Final = 3_000  # looked at for a gap: about a second
_EDGE: Final = 1e-6  # room of a region that is one point or an edge
Clause = tuple[Leaf, ...]  # all of these at once


def check_lanes(
    rules: LaneRules, description: LineDescription | None, fibres: Sequence[str] | None
) -> list[Finding]:
    """All findings, errors first.

    Args:
        fibres: What the bundle tells apart; None: not known, any fibre may be named.
    """
    found = _names(rules)
    if description is not None:
        found += _ejectors(rules, description)
    if fibres is not None:
        found += _strange_fibres(rules, fibres)
    axis = _axis(rules, fibres)
    regions: dict[str, list[Clause]] = {}
    for lane in rules.lanes:
        try:
            regions[lane.name] = clauses(_whole_rule(lane))
        except RuleError as error:
            found.append(Finding("error", str(error), lane.name))
    several = sum(map(len, regions.values()))
    if several > _MOST_CLAUSES:
        words_ = f"{several} alternatives in all lanes together, {_MOST_CLAUSES} are compared; write fewer"
        return [*found, Finding("error", words_)]
    found += _impossible(rules, regions, axis)
    possible = [lane for lane in rules.lanes if any(_room(each, axis) for each in regions.get(lane.name, []))]
    for number, one in enumerate(possible):
        for other in possible[number + 1 :]:
            found += _meeting(one, other, regions, axis, description)
    found += _gaps(rules, possible, axis, fibres)
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda finding: order[finding.level])


def clauses(rule: Rule) -> list[Clause]:
    """The rule as alternatives, each a list of leaves that must all hold.

    Raises:
        RuleError: There are more than 300.
    """
    if isinstance(rule, Either):
        found = [clause for part in rule.parts for clause in clauses(part)]
    elif isinstance(rule, Every):
        found: list[Clause] = [()]
        for part in rule.parts:
            found = [(*left, *right) for left, right in product(found, clauses(part))]
            if len(found) > _MOST_CLAUSES:
                break
    else:
        found = [(rule,)]
    if len(found) > _MOST_CLAUSES:
        raise RuleError(f"more than {_MOST_CLAUSES} alternatives in one rule; split it into lanes")
    return found


def said(example: Sequence[tuple[str, float]]) -> str:
    """`cotton 97.5 %, elastane 2.5 %`, the largest first."""
    ordered = sorted(example, key=lambda item: -item[1])
    return ", ".join(f"{name} {100 * share:.3g} %" for name, share in ordered if share >= 5e-4)


def _names(rules: LaneRules) -> list[Finding]:
    names = [lane.name for lane in rules.lanes]
    twice = sorted({name for name in names if names.count(name) > 1})
    found = [Finding("error", f"two lanes are called {name!r}; give each its own name") for name in twice]
    if rules.rest in names:
        found.append(Finding("error", f"the rest is called {rules.rest!r} like a lane; name it otherwise"))
    return found


def _ejectors(rules: LaneRules, description: LineDescription) -> list[Finding]:
    known = [ejector.name for ejector in description.ejectors]
    found: list[Finding] = []
    for lane in rules.lanes:
        if lane.ejector is None:
            words_ = "has no ejector: what it takes runs on with the rest"
            found.append(Finding("warning", words_, lane.name))
        elif lane.ejector not in known:
            words_ = f"no ejector is called {lane.ejector!r}; {description.name} has {', '.join(known)}"
            found.append(Finding("error", words_, lane.name))
    for one, other in combinations(rules.lanes, 2):
        if one.ejector is not None and one.ejector == other.ejector:
            words_ = f"shares ejector {one.ejector!r} with {other.name!r}: both end in one container"
            found.append(Finding("warning", words_, one.name))
    idle = sorted(set(known) - {lane.ejector for lane in rules.lanes})
    return found + [Finding("note", f"no lane uses ejector {name!r}") for name in idle]


def _strange_fibres(rules: LaneRules, fibres: Sequence[str]) -> list[Finding]:
    return [
        Finding("error", f"the bundle does not tell {name}; it tells {', '.join(fibres)}", lane.name)
        for lane in rules.lanes
        for name in named_fibres(lane.rule)
        if name not in fibres
    ]


def _axis(rules: LaneRules, fibres: Sequence[str] | None) -> tuple[str, ...]:
    """The fibres that any rule names, and one for all others, if there are any."""
    named = tuple(dict.fromkeys(name for lane in rules.lanes for name in named_fibres(lane.rule)))
    whole = fibres is not None and set(fibres) <= set(named)
    return named if whole and named else (*named, OTHER)


def _whole_rule(lane: Lane) -> Rule:
    """With the flags that send a piece to the rest unless they are asked for."""
    absent = [Flagged(flag, wanted=False) for flag in sorted(DOUBTS - lane.asks_for)]
    return Every((lane.rule, *absent))


def _room(clause: Clause, axis: tuple[str, ...]) -> Point | None:
    """The composition furthest inside a clause, or None where nothing can fulfil it."""
    return roomiest(tuple(_amounts(clause)), axis) if _possible(clause) else None


def _amounts(clause: Clause) -> list[Amount]:
    return [leaf for leaf in clause if isinstance(leaf, Amount)]


def _possible(clause: Clause) -> bool:
    """Whether what is asked besides the composition can be so at once."""
    colours: set[str | None] = {None, *COLOURS}
    flags: dict[str, bool] = {}
    bounds: dict[str, list[float]] = {}
    for leaf in clause:
        if isinstance(leaf, Coloured):
            colours = {name for name in colours if (name in leaf.names) == leaf.wanted}
        elif isinstance(leaf, Flagged):
            if flags.setdefault(leaf.flag, leaf.wanted) != leaf.wanted:
                return False
        elif isinstance(leaf, Measure):
            span = bounds.setdefault(leaf.quantity, [-1e-12, 1e12])
            side, pull = (0, max) if leaf.comparison[0] == ">" else (1, min)
            tight = 0.0 if leaf.comparison.endswith("=") else 1e-9
            span[side] = pull(span[side], leaf.value + (tight if side == 0 else -tight))
    return bool(colours) and all(low <= high for low, high in bounds.values())


def _impossible(rules: LaneRules, regions: dict[str, list[Clause]], axis: tuple[str, ...]) -> list[Finding]:
    found: list[Finding] = []
    for lane in rules.lanes:
        each = regions.get(lane.name, [])
        empty = [clause for clause in each if _room(clause, axis) is None]
        if each and len(empty) == len(each):
            words_ = f"no piece can be {lane.take}: shares sum to 100 %; correct the rule"
            found.append(Finding("error", words_, lane.name))
        elif empty:
            shown = [leaf for leaf in empty[0] if not (isinstance(leaf, Flagged) and not leaf.wanted)]
            words_ = f"one of its alternatives can never be: {' and '.join(map(words, shown))}"
            found.append(Finding("warning", words_, lane.name))
    return found


def _meeting(
    one: Lane,
    other: Lane,
    regions: dict[str, list[Clause]],
    axis: tuple[str, ...],
    description: LineDescription | None,
) -> list[Finding]:
    """What two lanes both take: nothing, an overlap, or all of one, which then may never get a piece."""
    pairs = product(regions[one.name], regions[other.name])
    rooms = [room for left, right in pairs if (room := _room((*left, *right), axis)) is not None]
    if not rooms:
        return []
    best = max(rooms, key=lambda room: room.room)
    thin = any(max(_rooms(regions[lane.name], axis)) <= _EDGE for lane in (one, other))
    if best.room <= _EDGE and not thin:
        return []  # they only touch
    for inner, outer in ((one, other), (other, one)):
        if _covers(outer, inner, regions, axis):
            if _always_better(outer, inner, first=outer is one, description=description):
                said_ = (
                    f"all that it takes, {outer.name!r} takes too and is worth no less: it would stay empty"
                )
                return [Finding("error", said_, inner.name, best.shares)]
            said_ = f"all that it takes, {outer.name!r} takes too; the expected value decides each piece"
            return [Finding("warning", said_, inner.name, best.shares)]
    said_ = f"overlaps {other.name!r}: both take {said(best.shares)}; the expected value decides"
    return [Finding("warning", said_, one.name, best.shares)]


def _rooms(region: list[Clause], axis: tuple[str, ...]) -> list[float]:
    return [room.room for clause in region if (room := _room(clause, axis)) is not None]


def _covers(outer: Lane, inner: Lane, regions: dict[str, list[Clause]], axis: tuple[str, ...]) -> bool:
    """Whether nothing is in `inner` that is not in `outer`; False also where that is too long to tell."""
    try:
        outside = clauses(opposite(_known_colours(_whole_rule(outer))))
    except RuleError:
        return False
    return all(_room((*clause, *out), axis) is None for clause in regions[inner.name] for out in outside)


def _known_colours(rule: Rule) -> Rule:
    """A rule without negated colours: what is not white has a colour, so its opposite may have none."""
    if isinstance(rule, Every | Either):
        return type(rule)(tuple(_known_colours(part) for part in rule.parts))
    if isinstance(rule, Coloured) and not rule.wanted:
        return Coloured(tuple(name for name in COLOURS if name not in rule.names))
    return rule


def _always_better(outer: Lane, inner: Lane, *, first: bool, description: LineDescription | None) -> bool:
    """Whether the outer lane wins every piece that both could take.

    It is never less sure of one, and a piece's value is linear in that chance: it is enough to compare the
    ends, certainty and a half, below which a piece is in neither lane's interest.
    """
    if description is not None and inner.ejector != outer.ejector:
        reach = {ejector.name: (ejector.left_mm, ejector.right_mm) for ejector in description.ejectors}
        ours, theirs = reach.get(str(inner.ejector)), reach.get(str(outer.ejector))
        if ours and theirs and (theirs[0] > ours[0] or theirs[1] < ours[1]):
            return False
    certain = outer.price_per_kg - inner.price_per_kg
    doubtful = certain - (outer.spoil_per_kg - inner.spoil_per_kg)
    no_less = certain >= 0 and doubtful >= 0 and outer.max_contamination >= inner.max_contamination
    return no_less and (first or certain > 0 or doubtful > 0)


def _gaps(
    rules: LaneRules, possible: list[Lane], axis: tuple[str, ...], fibres: Sequence[str] | None
) -> list[Finding]:
    """Compositions that no lane takes, whatever the colour and size: they go to the rest."""
    takers = [_by_composition(clause) for lane in possible for clause in clauses(lane.rule)]
    takers = [clause for clause in takers if clause is not None]
    gap = _outside(takers, axis)
    if gap is None:
        return []

    def taken(shares: dict[str, float]) -> bool:
        return any(all(_fits(leaf, shares) for leaf in clause) for clause in takers)

    names = fibres or [name for name in axis if name != OTHER]
    pure = [name for name in names if not taken({name: 1.0})]
    found = [Finding("note", f"no lane takes pure {', '.join(pure)}: to {rules.rest!r}")] if pure else []
    halves = (
        ((one, share), (other, 1 - share))
        for one, other in combinations(names, 2)
        for share in (0.8, 0.5, 0.2)
    )
    example = next((each for each in halves if not taken(dict(each))), None)
    shares = example or gap.shares
    words_ = f"a gap between the lanes: {said(shares)} fits none and goes to {rules.rest!r}"
    return [*found, Finding("note", words_, None, tuple(shares))]


def _outside(takers: Sequence[tuple[Amount, ...]], axis: tuple[str, ...]) -> Point | None:
    """A composition that fulfils none of the clauses; None where there is none, or none was found in time.

    Looks at the roomiest point of a cell: if a clause takes it, the cell parts into those beyond each of that
    clause's bounds. Whatever lies outside all clauses is in one of the parts.
    """
    cells: list[tuple[Amount, ...]] = [()]
    for _ in range(_MOST_CELLS):
        if not cells:
            return None
        cell = cells.pop()
        point = roomiest(cell, axis)
        if point is None:
            continue
        shares = dict(point.shares)
        taker = next((clause for clause in takers if all(_fits(leaf, shares) for leaf in clause)), None)
        if taker is None:
            return point
        cells += [(*cell, _turned(leaf)) for leaf in taker]
    return None


def _by_composition(clause: Clause) -> tuple[Amount, ...] | None:
    """Its amounts alone, or None for a clause that asks for a flag, which a plain piece does not carry."""
    if any(isinstance(leaf, Flagged) and leaf.wanted for leaf in clause):
        return None
    return tuple(_amounts(clause))


def _turned(leaf: Amount) -> Amount:
    turned = opposite(leaf)
    assert isinstance(turned, Amount)
    return turned


def _fits(leaf: Amount, shares: dict[str, float]) -> bool:
    return bool(
        compare(100 * sum(shares.get(name, 0.0) for name in leaf.fibres), leaf.comparison, leaf.percent)
    )
