"""The last day in memory, a minute a row: read off the figures, so that a request pays nothing for it."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from weft_serving.ops.totals import (
    Totals,
    less,
    less_buckets,
    memory_bytes,
    quantile,
    read_totals,
    share_above,
)
from weft_serving.watch.metrics import Metrics

MINUTES: Final = 1_440
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Gauges:
    """What is read at each look."""

    jobs: int
    lag_s: float  # the most since the last look
    database_up: bool


@dataclass(frozen=True, slots=True)
class Minute:
    """One row; None where nothing was there to measure. Shares are 0..1."""

    requests: int
    refused: int  # 503, for load
    problems: int  # other 4xx and 5xx, ours apart
    faults: int  # 500
    p50_ms: float | None
    p99_ms: float | None
    cpu_cores: float
    memory_mib: float
    jobs: int
    lag_ms: float
    estimates: int
    width_ratio: float | None
    photos: int
    unreadable: int
    strangeness: float | None  # median over the card's limit
    strange_share: float | None
    scans: int
    unknown_share: float | None
    weighings: int
    database_up: bool


@dataclass(slots=True)
class _Worst:
    """Gauges of the running minute."""

    memory_mib: float = 0.0
    jobs: int = 0
    lag_s: float = 0.0
    database_up: bool = True


@dataclass(slots=True)
class _Running:
    number: int
    start: Totals
    worst: _Worst = field(default_factory=_Worst)


class History:
    """Look often; rows close by themselves. Times are told by the wall clock of when they are asked for."""

    def __init__(self, metrics: Metrics, *, steady: Clock = time.monotonic, wall: Clock = time.time) -> None:
        self._metrics = metrics
        self._steady = steady
        self._wall = wall
        self._rows: deque[tuple[int, Minute]] = deque(maxlen=MINUTES)
        self._running = _Running(self._number(), read_totals(self._metrics, self._steady()))

    def look(self, gauges: Gauges) -> None:
        """Take the figures as they are now into the running minute."""
        totals, number = read_totals(self._metrics, self._steady()), self._number()
        worst = self._running.worst
        worst.memory_mib = max(worst.memory_mib, memory_bytes() / 2**20)
        worst.jobs = max(worst.jobs, gauges.jobs)
        worst.lag_s = max(worst.lag_s, gauges.lag_s)
        worst.database_up = worst.database_up and gauges.database_up
        row = _between(self._running.start, totals, worst)
        if self._rows and self._rows[-1][0] == self._running.number:
            self._rows.pop()
        self._rows.append((self._running.number, row))
        if number != self._running.number:
            self._running = _Running(number, totals)

    def last(self, minutes: int) -> list[Minute]:
        """The newest rows, the running one included, oldest first; a gap (a halted machine) is not filled."""
        first = self._number() - minutes
        return [row for number, row in self._rows if number > first]

    def rows(self, after: float = 0.0) -> list[tuple[int, Minute]]:
        """Rows with the Unix time at which they began, those that ended by `after` left out."""
        offset = self._wall() - self._steady()
        told = [(round(number * 60 + offset), row) for number, row in self._rows]
        return [(at, row) for at, row in told if at + 60 > after]

    def _number(self) -> int:
        return int(self._steady() // 60)


def _between(start: Totals, end: Totals, worst: _Worst) -> Minute:
    statuses = less(end.statuses, start.statuses)
    counts = less(end.counts, start.counts)
    answers = less_buckets(end.answers, start.answers)
    strangeness = less_buckets(end.strangeness, start.strangeness)
    bad = sum(count for status, count in statuses.items() if status[:1] in {"4", "5"})
    faults, refused, scans = statuses.get("500", 0), counts["refused"], counts["scans"]
    return Minute(
        requests=int(sum(statuses.values())),
        refused=int(refused),
        problems=int(max(0, bad - faults - refused)),
        faults=int(faults),
        p50_ms=_scaled(quantile(answers, 0.5), 1000),
        p99_ms=_scaled(quantile(answers, 0.99), 1000),
        cpu_cores=round((end.cpu_s - start.cpu_s) / max(1.0, end.at - start.at), 3),
        memory_mib=round(worst.memory_mib, 1),
        jobs=worst.jobs,
        lag_ms=round(worst.lag_s * 1000, 1),
        estimates=int(counts["estimates"]),
        width_ratio=_scaled(quantile(less_buckets(end.widths, start.widths), 0.5), 1),
        photos=int(counts["photos"]),
        unreadable=int(counts["unreadable"]),
        strangeness=_scaled(quantile(strangeness, 0.5), 1),
        strange_share=share_above(strangeness, 1.0),
        scans=int(scans),
        unknown_share=round(counts["unknown"] / scans, 4) if scans else None,
        weighings=int(counts["weighings"]),
        database_up=worst.database_up,
    )


def _scaled(value: float | None, by: float) -> float | None:
    return None if value is None else round(value * by, 3)
