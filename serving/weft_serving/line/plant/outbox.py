"""What has still to reach the broker: a queue on disk that outlives a lost broker, a full disk and kill -9.

One SQLite file a line, in WAL with a sync at each commit. Bounded by bytes: when it is full the newest
records are refused, and told of, until a tenth of it is free again; the oldest stay, so that what arrives has
one gap that can be named instead of many. A disk that takes no more moves the end of the queue into memory,
bounded too, until it does again.
"""

import contextlib
import sqlite3
import uuid
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from weft.errors import LineError
from weft_serving.private import make_file, make_folder

OUTBOX_BYTES: Final = 268_435_456  # about 120,000 decisions: a day and a half at 50 pieces a minute and line
_SPILL_BYTES: Final = 16_777_216  # in memory, while the disk takes nothing
_OVERHEAD_BYTES: Final = 96  # of a row and its key, beside the payload
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS letter (
  number INTEGER PRIMARY KEY, kind TEXT NOT NULL, label TEXT NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS outbox (name TEXT NOT NULL);
"""


class Draft(NamedTuple):
    kind: str  # a key of `mqtt_messages.SCHEMAS`
    label: str  # a piece's number, an alarm's code
    payload: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.payload) + _OVERHEAD_BYTES


class Letter(NamedTuple):
    number: int  # running; the order in which letters go out
    draft: Draft


class Outbox:
    """The queue. Not for several threads at once; one process alone holds its file.

    Attributes:
        name: Of this file, random, kept for its life.
        waiting: Letters not yet delivered.
        waiting_bytes: Their size with what a row costs.
        trouble: Why the disk takes nothing at the moment; None: it does.
        shut: Whether new letters are refused until there is room again.
    """

    def __init__(
        self, path: Path, *, most_bytes: int = OUTBOX_BYTES, most_spilled_bytes: int = _SPILL_BYTES
    ) -> None:
        """Raises LineError where the file cannot be used; the message says why."""
        self._path = path
        self._db = _open(path)
        self._most_bytes = most_bytes
        self._most_spilled_bytes = most_spilled_bytes
        self._spill: deque[Letter] = deque()
        self._spilled_bytes = 0
        self._delivered = 0  # the last number that needs no sending; the disk may lag behind when it is full
        self.trouble: str | None = None
        self.shut = False
        try:
            self.name = _name(self._db)
            count, size, last = self._db.execute(
                "SELECT count(*), coalesce(sum(length(payload)), 0), coalesce(max(number), 0) FROM letter"
            ).fetchone()
        except sqlite3.Error as error:
            self._db.close()
            raise _unusable(path, error) from error
        self.waiting = int(count)
        self.waiting_bytes = int(size) + _OVERHEAD_BYTES * self.waiting
        self._last = int(last)

    @property
    def spilled(self) -> int:
        """Letters that are in memory alone."""
        return len(self._spill)

    def add(self, drafts: Sequence[Draft]) -> int:
        """Take in order as many as there is room for; return how many. On disk unless `trouble`."""
        self.settle()
        if self.shut and (self.trouble or self.waiting_bytes > 0.9 * self._most_bytes):
            return 0
        self.shut = False
        taken = 0
        for draft in drafts:
            if self.waiting_bytes + draft.size_bytes > self._most_bytes:
                break
            self._last += 1
            self._count(Letter(self._last, draft), 1)
            taken += 1
        self.settle()
        while self._spilled_bytes > self._most_spilled_bytes:
            self._count(self._spill[-1], -1)
            taken -= 1
        self.shut = taken < len(drafts)
        return taken

    def settle(self) -> None:
        """Put on disk what is in memory alone, and forget there what has been delivered."""
        if not self._spill and not self.trouble:
            return
        rows = [(letter.number, *letter.draft) for letter in self._spill]
        with self._writing():
            self._db.execute("DELETE FROM letter WHERE number <= ?", (self._delivered,))
            self._db.executemany("INSERT INTO letter VALUES (?, ?, ?, ?)", rows)
        if self.trouble is None:
            self._spill.clear()
            self._spilled_bytes = 0

    def oldest(self, count: int) -> list[Letter]:
        """The letters to send next, in order; fewer while the disk cannot be read."""
        try:
            rows = self._db.execute(
                "SELECT number, kind, label, payload FROM letter WHERE number > ? ORDER BY number LIMIT ?",
                (self._delivered, count),
            ).fetchall()
        except sqlite3.Error as error:
            self.trouble = _reason(self._path, error)
            return []
        found = [Letter(number, Draft(kind, label, payload)) for number, kind, label, payload in rows]
        return found + list(self._spill)[: count - len(found)]

    def delivered(self, letters: Sequence[Letter]) -> None:
        """Forget letters that the broker has acknowledged: the first ones of `oldest`, without a hole."""
        if not letters:
            return
        self._delivered = letters[-1].number
        self.waiting -= len(letters)
        self.waiting_bytes -= sum(letter.draft.size_bytes for letter in letters)
        while self._spill and self._spill[0].number <= self._delivered:
            self._spilled_bytes -= self._spill.popleft().draft.size_bytes
        with self._writing():
            self._db.execute("DELETE FROM letter WHERE number <= ?", (self._delivered,))

    def close(self) -> None:
        """Settle what can be settled, and let go of the file."""
        self.settle()
        self._db.close()

    def _count(self, letter: Letter, by: int) -> None:
        """Append a letter to what is in memory, or (by = -1) take the last one off again."""
        if by > 0:
            self._spill.append(letter)
        else:
            self._spill.pop()
        self.waiting += by
        size = by * letter.draft.size_bytes
        self.waiting_bytes += size
        self._spilled_bytes += size

    @contextlib.contextmanager
    def _writing(self) -> Generator[None, None, None]:
        """One transaction; a failure is kept in `trouble` and undone, never raised."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):  # a full disk has undone it already
                self._db.execute("ROLLBACK")
            self.trouble = _reason(self._path, error)
        else:
            self.trouble = None


def _open(path: Path) -> sqlite3.Connection:
    try:
        make_folder(path.parent)
        make_file(path)
        # used by another thread than the one that opens it, though never by two at once
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    except (OSError, sqlite3.Error) as error:
        raise _unusable(path, error) from error
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")  # a power cut loses nothing either; commits are in batches
        db.execute("PRAGMA journal_size_limit=4194304")
        db.executescript(_SCHEMA)
        db.execute("BEGIN IMMEDIATE")  # takes the lock now, so that a second service is refused here
        db.execute("COMMIT")
    except sqlite3.Error as error:
        db.close()
        raise _unusable(path, error) from error
    return db


def _name(db: sqlite3.Connection) -> str:
    row = db.execute("SELECT name FROM outbox").fetchone()
    if row is None:
        row = (uuid.uuid4().hex[:12],)
        db.execute("INSERT INTO outbox VALUES (?)", row)
    return str(row[0])


def _unusable(path: Path, error: Exception) -> LineError:
    if "locked" in str(error):
        return LineError(f"{path}: another service holds this outbox; stop that one, or name another folder")
    return LineError(f"{path}: cannot be an outbox ({error}); name a folder on a healthy disk with room")


def _reason(path: Path, error: Exception) -> str:
    return f"the disk under {path} takes nothing ({error}); make room or mend it"
