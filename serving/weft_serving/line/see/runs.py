"""Runs of foreground in the rows of a line camera, joined into bodies as the rows come.

A body is one connected patch of the belt. Only the runs of the last few rows are compared with a new row's.
Letters: h rows, W columns.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_SHORTEST: Final = 2  # pixels in a row; a single one is noise, where pixels are small


class Run(NamedTuple):
    row: int  # running number of the camera's row
    first: int  # column
    last: int  # column after its end


@dataclass(slots=True, eq=False)
class Body:
    """A patch that still grows. Rows come in order, so its first run is its first row."""

    first_row: int
    last_row: int
    first: int  # leftmost column
    last: int  # column after the rightmost
    runs: list[Run] = field(default_factory=list[Run])
    continued: bool = False  # its beginning was cut off as too long
    into: "Body | None" = None  # the body that it has become a part of

    def found(self) -> "Body":
        """The body that it is part of by now."""
        body = self
        while body.into is not None:
            if body.into.into is not None:
                body.into = body.into.into
            body = body.into
        return body

    def take(self, run: Run) -> None:
        self.runs.append(run)
        self.last_row = run.row
        self.first, self.last = min(self.first, run.first), max(self.last, run.last)

    def swallow(self, other: "Body") -> None:
        self.runs.extend(other.runs)
        self.first_row = min(self.first_row, other.first_row)
        self.last_row = max(self.last_row, other.last_row)
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.continued |= other.continued
        other.runs, other.into = [], self


def runs_of(foreground: NDArray[np.bool_], first_row: int, *, bridge: int) -> list[list[Run]]:
    """Runs of each row of (h, W), from left to right; gaps of up to `bridge` columns are none."""
    rows, columns = foreground.shape
    padded = np.zeros((rows, columns + 2), np.int8)
    padded[:, 1:-1] = foreground
    steps = np.diff(padded, axis=1)
    row, first = np.nonzero(steps == 1)
    _, last = np.nonzero(steps == -1)
    if len(row):
        apart = np.ones(len(row), np.bool_)  # whether a run begins something new
        apart[1:] = (row[1:] != row[:-1]) | (first[1:] - last[:-1] > bridge)
        begins = np.flatnonzero(apart)
        row, first = row[begins], first[begins]
        last = last[np.append(begins[1:], len(apart)) - 1]
        long = last - first >= (_SHORTEST if bridge else 1)
        row, first, last = row[long], first[long], last[long]
    found: list[list[Run]] = [[] for _ in range(rows)]
    for at, left, right in zip(row.tolist(), first.tolist(), last.tolist(), strict=True):
        found[at].append(Run(first_row + at, left, right))
    return found


class Joiner:
    """Hands each row's runs to bodies; bodies that have not grown for more than `bridge` rows have ended."""

    def __init__(self, *, bridge: int) -> None:
        self._bridge = bridge
        self._recent: list[tuple[int, list[tuple[Run, Body]]]] = []  # the last rows that had runs
        self.open: list[Body] = []

    def add(self, row: int, runs: list[Run]) -> None:
        self._recent = [item for item in self._recent if row - item[0] <= self._bridge + 1]
        placed: list[tuple[Run, Body]] = []
        for run in runs:
            body: Body | None = None
            for _, others in self._recent:
                for other, owner in others:
                    if other.first > run.last:
                        break
                    if other.last < run.first:  # equal: they meet at a corner
                        continue
                    owner = owner.found()
                    if body is None:
                        body = owner
                    elif body is not owner:
                        body = self._united(body, owner)
            if body is None:
                body = Body(row, row, run.first, run.last)
                self.open.append(body)
            body.take(run)
            placed.append((run, body))
        if placed:
            self._recent.append((row, placed))

    def ended(self, row: int) -> list[Body]:
        """Bodies that no run of `row` or later can touch; they are no longer open."""
        done = [body for body in self.open if row - body.last_row > self._bridge + 1]
        if done:
            self.open = [body for body in self.open if row - body.last_row <= self._bridge + 1]
        return done

    def cut(self, body: Body, row: int) -> Body:
        """What there is of a body; it goes on, empty, and knows that it is a continuation."""
        part = Body(body.first_row, body.last_row, body.first, body.last, body.runs, body.continued)
        body.runs, body.first_row, body.continued = [], row + 1, True
        tail = [run for run in part.runs if run.row == body.last_row]
        body.first, body.last = min(run.first for run in tail), max(run.last for run in tail)
        return part

    def _united(self, one: Body, other: Body) -> Body:
        large, small = (one, other) if len(one.runs) >= len(other.runs) else (other, one)
        large.swallow(small)
        self.open.remove(small)
        return large
