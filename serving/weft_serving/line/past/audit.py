"""Every decision into the database, by a thread of its own; what the database cannot take waits its turn.

Records go from memory to the database in a batch each half second. While the database is away they wait in
memory, and from the second failure on in a file (`past.spill`); when it is back, the file goes
first, so the order is kept. Nothing is given up before memory and file are both full, pictures and spectra go
before numbers, and the alarm tells how many.
"""

import errno
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from weft.errors import StoreError
from weft.line.records import Alarm, AlarmCode, Decision, LineState
from weft_serving.line.past.archive import Kept, LineArchive, Retention
from weft_serving.line.past.spill import Spill
from weft_serving.line.sinks import Evidence
from weft_serving.store import Store
from weft_serving.watch.observe import log_fault

SPILL_BYTES: Final = 2_000_000_000  # two days at one piece a second with pictures
_BATCH: Final = 500
_BATCH_S: Final = 0.5
_MOST_WAIT_S: Final = 8.0
_IN_MEMORY: Final = 2_000  # records with evidence, about 20 MB
_NUMBERS_IN_MEMORY: Final = 50_000  # records without, where neither database nor file takes them
_AGE_EVERY_S: Final = 600.0
_NUMBERS: Final = 10_000  # reserved at a time: two hours of pieces, should the database be away meanwhile
_FULL: Final = ("is full", "No space left", "disk I/O error", "could not extend file")
Tell = Callable[[AlarmCode, str | None], None]


class AuditSink:
    """The store's sink of one line. Its thread starts with it and ends with `close`.

    Args:
        spill: The file for what waits; only this sink may use it. What an earlier run left goes first.
        alarm: Told (code, cause) when the store fails and (code, None) when it works again, by our thread.
    """

    def __init__(
        self,
        store: Store,
        line: str,
        *,
        spill: Path,
        alarm: Tell,
        keep: Retention,
        spill_bytes: int = SPILL_BYTES,
    ) -> None:
        self._archive = LineArchive(store)
        self._line = line
        self._tell = alarm
        self._keep = keep
        self._spill = Spill(spill, most_bytes=spill_bytes)
        self._waiting: deque[Kept | Alarm] = deque()
        self._lock = threading.Lock()
        self._file_lock = threading.Lock()
        self._wake = threading.Event()
        self._settled = threading.Event()
        self._closing = False
        self._told: dict[AlarmCode, bool] = {}  # and whether it was said that records are lost
        self._failures = 0
        self._lost = 0
        self._number = self._reserved = 0
        self._started: datetime | None = datetime.now(UTC)  # None: what an earlier run left is put right
        self._aged_at = time.monotonic() - _AGE_EVERY_S + 60.0  # not in the hurry of starting
        self._thread = threading.Thread(target=self._run, name=f"audit-{line}", daemon=True)
        self._thread.start()

    def reserve_from(self, last_number: int) -> None:
        """Reserve the numbers behind this one, before the first of them is given; a kill frees none.

        Raises:
            StoreError: The database does not take it.
        """
        self._archive.reserve(self._line, last_number + _NUMBERS)
        self._number, self._reserved = last_number, last_number + _NUMBERS

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        self._number = max(self._number, decision.piece.number)
        self._take(Kept(decision, evidence))

    def alarmed(self, alarm: Alarm) -> None:
        self._take(alarm)

    def stood(self, state: LineState) -> None:
        """States are not kept: the pieces and alarms say what was."""

    def settle(self, seconds: float = 5.0) -> bool:
        """Wait until all that was taken is in the database; whether that came true."""
        with self._lock:
            self._settled.clear()
        self._wake.set()
        return self._settled.wait(seconds)

    def close(self) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=5.0)
        if self._thread.is_alive():  # it hangs in the database; written twice is as good as once
            self._put_aside(all_of_it=True)

    def _take(self, record: Kept | Alarm) -> None:
        with self._lock:
            self._waiting.append(record)
            self._settled.clear()
            self._make_room()

    def _make_room(self) -> None:
        """Only where the file takes nothing either: the oldest pictures first, then the oldest numbers."""
        if len(self._waiting) > _IN_MEMORY:
            place = len(self._waiting) - _IN_MEMORY - 1
            record = self._waiting[place]
            if isinstance(record, Kept) and record.evidence is not None:
                self._waiting[place] = Kept(record.decision, None)
        if len(self._waiting) > _NUMBERS_IN_MEMORY:
            self._waiting.popleft()
            self._lost += 1

    def _run(self) -> None:
        again_at = 0.0
        while not self._closing:
            if time.monotonic() >= again_at:
                self._write()
                wait_s = min(_BATCH_S * 2 ** min(self._failures, 6), _MOST_WAIT_S)
                again_at = time.monotonic() + (wait_s if self._failures else 0.0)
            else:
                self._put_aside()
            if time.monotonic() - self._aged_at > _AGE_EVERY_S:
                self._age()
            self._wake.wait(_BATCH_S)
            self._wake.clear()
        self._write()
        if self._waiting:
            self._put_aside(all_of_it=True)

    def _write(self) -> None:
        """As much as the database takes now, the file first."""
        try:
            while self._spill.holds:
                records, length = self._spill.peek(_BATCH)
                self._write_all(records)
                self._spill.drop(length)
            if self._started is not None:
                self._archive.end_orphans(self._line, self._started)
                self._started = None
            while batch := self._first(_BATCH):
                self._write_all(batch)
                self._forget(batch)
            self._reserve()
        except StoreError as error:
            self._failures += 1
            code = "disk-full" if _is_full(str(error)) else "store-down"
            self._alarm(code, f"{error}; {self._said()}, and is stored when it works again")
            self._put_aside()
        except OSError as error:  # the file, not the database
            self._failures += 1
            self._alarm(_code_of(error), f"what waits for the database cannot be read ({error.strerror})")
        except Exception as error:  # a fault of ours must not end the recording of all that follows
            self._failures += 1
            log_fault(f"audit-{self._line}", error)
            self._alarm(
                "engine-fault", f"a record cannot be handled ({type(error).__name__}); please report it"
            )
            self._put_aside()
        else:
            self._failures = 0
            self._over()
            with self._lock:
                if not self._waiting:
                    self._settled.set()

    def _reserve(self) -> None:
        """The next numbers in good time; at the end, all that were not given are free again."""
        if not self._reserved:
            return
        upto = self._number if self._closing else self._number + _NUMBERS
        if self._closing or upto - self._reserved > _NUMBERS // 2:
            self._archive.reserve(self._line, upto)
            self._reserved = upto

    def _write_all(self, records: list[Kept | Alarm]) -> None:
        """Raises StoreError, but not for a record that no database would take: that is told and left out."""
        try:
            self._archive.write(records)
        except (StoreError, ArithmeticError, ValueError, TypeError) as error:
            if isinstance(error, StoreError) and not _records_fault(error):
                raise
            if len(records) == 1:
                self._lost += 1
                self._alarm("store-down", f"a record cannot be stored ({error}); please report it")
                return
            half = len(records) // 2
            self._write_all(records[:half])
            self._write_all(records[half:])

    def _put_aside(self, *, all_of_it: bool = False) -> None:
        """Move what waits from memory into the file, from the second failure on or before the end."""
        if self._failures < 2 and not all_of_it:
            return
        with self._file_lock:
            self._fill_file()

    def _fill_file(self) -> None:
        try:
            while batch := self._first(_BATCH):
                taken = self._spill.append(batch)
                self._forget(batch[:taken])
                if taken < len(batch):
                    self._alarm(
                        "disk-full", f"the database is away and the room beside it is used up; {self._said()}"
                    )
                    return
        except OSError as error:
            self._alarm(
                _code_of(error),
                f"the database is away and so is its stand-in ({error.strerror}); {self._said()}",
            )

    def _first(self, most: int) -> list[Kept | Alarm]:
        with self._lock:
            return list(islice(self._waiting, most))

    def _forget(self, records: list[Kept | Alarm]) -> None:
        """These are safe elsewhere. Compared by what they are: room may have been made meanwhile."""
        with self._lock:
            for record in records:
                if self._waiting and _same(self._waiting[0], record):
                    self._waiting.popleft()

    def _said(self) -> str:
        waiting = f"{len(self._waiting):,} records wait in memory"
        waiting += " and more in a file" if self._spill.holds else ""
        return f"{waiting}, {self._lost:,} are lost" if self._lost else waiting

    def _alarm(self, code: AlarmCode, cause: str) -> None:
        lost = self._lost > 0
        if self._told.get(code) != lost:
            self._told[code] = lost
            self._tell(code, cause)

    def _over(self) -> None:
        for code in sorted(self._told):
            self._tell(code, None)
        self._told.clear()

    def _age(self) -> None:
        self._aged_at = time.monotonic()
        try:
            self._archive.age(self._line, self._keep)
        except StoreError:
            return  # the next write says so


def _same(one: Kept | Alarm, other: Kept | Alarm) -> bool:
    if isinstance(one, Kept) and isinstance(other, Kept):
        return one.decision is other.decision
    return one is other


def _records_fault(error: StoreError) -> bool:
    cause = error.__cause__
    if isinstance(cause, DataError | IntegrityError):
        return True
    return isinstance(cause, StatementError) and not isinstance(cause, DBAPIError)


def _is_full(words: str) -> bool:
    return any(word in words for word in _FULL)


def _code_of(error: OSError) -> AlarmCode:
    return "disk-full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "store-down"
