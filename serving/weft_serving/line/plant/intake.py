"""Between the line's thread, which must not wait, and the outbox, which waits for the disk."""

from collections import deque
from collections.abc import Callable
from typing import Final

from weft.line.records import Alarm, AlarmCode, Decision, Gap
from weft_serving.line.plant.mqtt_messages import alarm_draft, decision_draft, gap_draft
from weft_serving.line.plant.outbox import Draft, Outbox

Tell = Callable[[AlarmCode, str | None], None]  # a code and its cause; None: the cause has gone
_MOST_HANDED: Final = 10_000  # minutes of a disk that does not answer; then only a piece's number is kept


class Intake:
    """Takes records over at once and files them later. What finds no room is counted into a `Gap`.

    Attributes:
        on_disk: Records handed over so far that can no longer be lost.
    """

    def __init__(self, line: str, outbox: Outbox, tell: Tell) -> None:
        self._line = line
        self._outbox = outbox
        self._tell = tell
        self._handed: deque[Decision | Alarm | int] = deque()
        self._taken = 0
        self._missed: Gap | None = None
        self._told: tuple[bool, bool] = (False, False)
        self.on_disk = 0

    def hand(self, record: Decision | Alarm) -> None:
        """From any thread; never waits."""
        if len(self._handed) < _MOST_HANDED:
            self._handed.append(record)
        else:
            self._handed.append(_piece_of(record) or 0)

    def file(self) -> None:
        """In the outbox's thread: put on disk what was handed over, in one commit."""
        batch: list[Decision | Alarm] = []
        while self._handed:
            record = self._handed.popleft()
            if not isinstance(record, int):
                batch.append(record)
                continue
            if batch:
                self._add(batch)
                batch = []
            self._miss(record or None, "the disk did not answer in time")
        self._tell_of_trouble()  # before the gap is filed, or it would never have been told
        self._add(batch)
        if not self._outbox.spilled:
            self.on_disk = self._taken
        self._tell_of_trouble()

    def _add(self, records: list[Decision | Alarm]) -> None:
        drafts = [_draft(record) for record in records]
        missed = self._missed
        if missed is not None:  # goes first: a gap is told at its place in the stream
            taken = self._outbox.add([gap_draft(missed), *drafts])
            self._missed = None if taken else missed
            taken = max(0, taken - 1)
        elif drafts:
            taken = self._outbox.add(drafts)
        else:
            self._outbox.settle()
            return
        self._taken += taken
        for record in records[taken:]:
            self._miss(_piece_of(record), self._outbox.trouble or "the queue to the broker is full")

    def _miss(self, piece: int | None, cause: str) -> None:
        before = self._missed
        if before is None:
            self._missed = Gap(line=self._line, records=1, first_piece=piece, last_piece=piece, cause=cause)
            return
        pieces = [number for number in (before.first_piece, before.last_piece, piece) if number is not None]
        self._missed = before.model_copy(
            update={
                "records": before.records + 1,
                "first_piece": min(pieces, default=None),
                "last_piece": max(pieces, default=None),
            }
        )

    def _tell_of_trouble(self) -> None:
        """The alarm begins with the trouble, is told anew when records begin to be left out, and ends."""
        trouble, missed = self._outbox.trouble, self._missed
        now = (trouble is not None, missed is not None)
        if now == self._told:
            return
        self._told = now
        if missed is not None:
            said = f"records for MQTT are left out from piece {missed.first_piece} on, because {missed.cause}"
            self._tell(
                "disk-full", f"{said}; the line's store still has them; bring the broker back or make room"
            )
        elif trouble is not None:
            self._tell("disk-full", f"records for MQTT wait in memory: {trouble}")
        else:
            self._tell("disk-full", None)


def _draft(record: Decision | Alarm) -> Draft:
    return decision_draft(record) if isinstance(record, Decision) else alarm_draft(record)


def _piece_of(record: Decision | Alarm) -> int | None:
    return record.piece.number if isinstance(record, Decision) else None
