"""Counts judged: whether coverage lies in its band, whether what comes in is still like it was.

A parcel counts once, however often it was estimated: photos of one parcel are not independent.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, NamedTuple

from weft.binomial import at_least, band, drawn_at_least
from weft.cells import CELLS, SUBJECTS_OF_A_GROUP, name_of_cell

ALL: Final = "all"
SHOWN: Final = 0.95  # the band that reports draw
# Judged again every minute, in nine groups: by the band of 95 % one of them would soon lie outside by chance.
ALARM: Final = 0.999
RARE: Final = 0.001  # a share that chance alone reaches this seldom is drift
FEWEST: Final = 50  # estimates or scans that drift is judged by
WIDER: Final = 1.5  # intervals so many times as wide as at export, in the middle


class Weighed(NamedTuple):
    """One parcel that a scale had the last word on."""

    subject: str
    cell: str
    held: bool  # whether the interval holds the last weighing


class Seen(NamedTuple):
    """One estimate."""

    subject: str
    cell: str | None  # None: no photo was usable
    ratio: float | None  # upper over lower end of the interval
    strange: bool | None  # of its first photo that the graph judged


@dataclass(frozen=True, slots=True)
class Coverage:
    """Weighed parcels of one group whose interval held the scale's word."""

    group: str  # "all", or as "marked.3-4": see `weft.cells`
    subjects: int
    covered: float  # share 0..1; a parcel estimated several times counts by the share of its estimates
    nominal: float
    band_low: float | None  # 95 % band of the share; None: under 20 subjects, too few to judge
    band_high: float | None
    inside: bool | None  # whether it lies in that band
    alarm: bool  # whether it lies below what chance does once in 2,000 times


@dataclass(frozen=True, slots=True)
class Drift:
    """A share that should be no larger than it was."""

    seen: int
    share: float  # of the newest; 0 where none was seen
    expected: float | None  # None: nothing to compare with yet
    chance: float | None  # that it is so large by chance; None: too few to judge
    alarm: bool


@dataclass(frozen=True, slots=True)
class Width:
    """Intervals of the newest estimates against those at export, each with those of its group."""

    seen: int
    times: float | None  # median of width over the expected one; None: too few, or the card has none
    alarm: bool


def judge_cells(weighed: Sequence[Weighed], nominal: float) -> tuple[Coverage, ...]:
    """All of them first, then the groups that were seen."""
    if not weighed:
        return ()
    groups = [name_of_cell(cell) for cell in range(len(CELLS))]
    parts = [(group, [one for one in weighed if one.cell == group]) for group in groups]
    return (
        _cover(ALL, weighed, nominal),
        *(_cover(group, part, nominal) for group, part in parts if part),
    )


def _cover(group: str, weighed: Iterable[Weighed], nominal: float) -> Coverage:
    by_subject: defaultdict[str, list[bool]] = defaultdict(list)
    for one in weighed:
        by_subject[one.subject].append(one.held)
    subjects = len(by_subject)
    covered = sum(sum(held) / len(held) for held in by_subject.values())
    share = covered / subjects
    if subjects < SUBJECTS_OF_A_GROUP:
        return Coverage(group, subjects, share, nominal, None, None, None, alarm=False)
    low, high = band(subjects, nominal, SHOWN)
    lowest, _ = band(subjects, nominal, ALARM)
    return Coverage(
        group,
        subjects,
        share,
        nominal,
        low / subjects,
        high / subjects,
        low - 1e-9 <= covered <= high + 1e-9,  # halves and thirds of subjects are summed in floats
        alarm=covered < lowest - 1e-9,
    )


def judge_strangers(seen: Iterable[Seen], expected: float) -> Drift:
    """Share of parcels whose first photo is called unfamiliar, against what held-out subjects had at most."""
    first: dict[str, bool] = {}
    for one in seen:
        if one.strange is not None:
            first.setdefault(one.subject, one.strange)
    count, strange = len(first), sum(first.values())
    if count < FEWEST:
        return Drift(count, strange / count if count else 0.0, expected, None, alarm=False)
    chance = at_least(strange, count, expected)
    return Drift(count, strange / count, expected, chance, alarm=chance < RARE)


def judge_shares(newest: Sequence[bool], earlier: Sequence[bool]) -> Drift:
    """Share of hits among the newest against those before them: Fisher's exact test."""
    share = sum(newest) / len(newest) if newest else 0.0
    expected = sum(earlier) / len(earlier) if earlier else None
    if min(len(newest), len(earlier)) < FEWEST:
        return Drift(len(newest), share, expected, None, alarm=False)
    hits = sum(newest)
    chance = drawn_at_least(hits, len(newest), hits + sum(earlier), len(newest) + len(earlier))
    return Drift(len(newest), share, expected, chance, alarm=chance < RARE)


def judge_widths(seen: Iterable[Seen], expected: Mapping[str, float]) -> Width:
    """How many times as wide as at export; groups are compared with their own width."""
    times = [
        one.ratio / usual
        for one in seen
        if one.ratio is not None
        and one.cell is not None
        and (usual := expected.get(one.cell, expected.get(ALL))) is not None
    ]
    if len(times) < FEWEST:
        return Width(len(times), None, alarm=False)
    found = median(times)
    return Width(len(times), found, alarm=found > WIDER)
