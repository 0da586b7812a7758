"""Frames on their way from a camera to its thread: a queue that drops the oldest, and says what that cost."""

from collections import deque
from collections.abc import MutableSequence
from dataclasses import dataclass, field
from threading import Condition
from typing import NamedTuple

from weft.line.frames import Frame
from weft.line.records import AlarmCode
from weft_serving.line.see.references import References


class Stretch(NamedTuple):
    """Encoder counts between which the belt was not seen as it should be, and what was wrong."""

    first: int
    end: int
    code: AlarmCode


def spoil(known: MutableSequence[Stretch], stretch: Stretch) -> None:
    """Add a stretch, as a part of the last one where it goes on from there: a fault may last for hours."""
    last = known[-1] if known else None
    if last is not None and last.code == stretch.code and last.first <= stretch.first <= last.end:
        known[-1] = last._replace(end=max(last.end, stretch.end))
    else:
        known.append(stretch)


@dataclass(slots=True, eq=False)
class Job:
    """One frame for a thread, with what it has to know of what went before."""

    seconds: float  # of our monotonic clock, when it came
    generation: int  # how often commands had been withdrawn until then
    frame: Frame | None = None  # None: only what follows is news
    spoiled: list[Stretch] = field(default_factory=list[Stretch])
    anew: bool = False  # counts before it are of another measure
    flush: bool = False  # no more rows will follow the last ones for now
    references: References | None = None  # use these from here on

    @property
    def rows(self) -> int:
        return 0 if self.frame is None else self.frame.encoder.size


class Inbox:
    """At most so many rows wait; a newer frame is worth more than an older one. Safe for threads."""

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._jobs: deque[Job] = deque()
        self._rows = 0
        self._news = Condition()

    def put(self, job: Job) -> int:
        """Hand over a job; returns how many frames had to be dropped for it."""
        dropped = 0
        with self._news:
            while self._jobs and self._rows + job.rows > self._most_rows:
                dropped += self._drop_oldest(job)
            self._jobs.append(job)
            self._rows += job.rows
            self._news.notify()
        return dropped

    def get(self, timeout_s: float) -> Job | None:
        with self._news:
            if not self._jobs and timeout_s > 0:
                self._news.wait(timeout_s)
            if not self._jobs:
                return None
            job = self._jobs.popleft()
            self._rows -= job.rows
            return job

    @property
    def rows(self) -> int:
        """That wait."""
        return self._rows

    def _drop_oldest(self, newest: Job) -> int:
        """What the dropped job knew goes to the next one: a gap that nobody knows of would be sorted."""
        gone = self._jobs.popleft()
        self._rows -= gone.rows
        heir = self._jobs[0] if self._jobs else newest
        known = gone.spoiled
        if gone.frame is not None:
            spoil(known, Stretch(int(gone.frame.encoder[0]), int(gone.frame.encoder[-1]), "overload"))
        if not heir.anew:  # else those counts mean nothing any more
            heir.spoiled[:0] = known
        heir.anew |= gone.anew
        heir.references = heir.references or gone.references
        heir.flush |= gone.flush and heir.frame is None
        return 0 if gone.frame is None else 1
