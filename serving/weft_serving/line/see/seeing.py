"""What the NIR camera's thread does: rows to pieces, pieces to sightings, those to the sorter."""

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from weft.errors import LineReferenceError
from weft.line.description import LineDescription
from weft.line.frames import Frame
from weft.line.reader import BeltReader
from weft.line.records import AlarmCode, Place
from weft_serving.line.alarms import AlarmBoard, Clock, SteadyTime
from weft_serving.line.inbox import Job, Stretch, spoil
from weft_serving.line.see.nir import NirPath
from weft_serving.line.see.pieces import FoundPiece, PieceFinder
from weft_serving.line.see.references import References, make_references
from weft_serving.line.see.sighting import Colours, Sightings
from weft_serving.line.sorter import Sighting, Sorter
from weft_serving.line.timing import Travel

_TOUCH_MM: Final = 10.0  # a piece this near to a stretch that was not seen may be longer than it looks
_COLOUR_S: Final = 0.025  # that a piece waits for a colour picture which should have come
REFERENCE_CODES: Final[tuple[AlarmCode, ...]] = (
    "reference-missing",
    "reference-stale",
    "reference-saturated",
)
_OFFERED: Final = "references offered"  # the source of their alarms; those in use: "references"


class _Came(NamedTuple):
    """When a frame's last row came."""

    encoder: int
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    found: FoundPiece
    generation: int
    seconds: float
    spoiled: AlarmCode | None
    simulated: bool
    until: float  # seconds at which it is decided without a colour


class Seeing:
    """Everything between the NIR inbox and the sorter. Used from one thread."""

    def __init__(
        self,
        description: LineDescription,
        reader: BeltReader,
        sightings: Sightings,
        colours: Colours,
        sorter: Sorter,
        *,
        travel: Travel,
        clock: Clock,
        steady: SteadyTime,
        board: AlarmBoard,
        threads: int,
    ) -> None:
        self._description = description
        self._reader = reader
        self._sightings = sightings
        self._colours = colours
        self._sorter = sorter
        self._travel = travel
        self._clock = clock
        self._steady = steady
        self._board = board
        self._threads = threads
        self._path: NirPath | None = None
        self._offered: dict[str, Frame] = {}
        self._finder = PieceFinder(description)
        self._spoiled: deque[Stretch] = deque()
        self._came: deque[_Came] = deque()
        self._end: int | None = None  # count of the last row that was read
        self._simulated = False
        self._waiting: list[_Waiting] = []
        self.open: tuple[Place, ...] = ()  # pieces that have not ended or wait for their colour

    @property
    def references(self) -> References | None:
        return None if self._path is None else self._path.references

    def use_references(self, references: References) -> None:
        """Read rows against these from the next one on."""
        if self._path is not None:
            self._path.change_references(references)
            return
        belt, nir = self._description.belt, self._description.nir
        self._path = NirPath(
            nir,
            references,
            self._reader,
            mm_per_line=belt.speed_mm_per_s / nir.lines_per_s,
            threads=self._threads,
        )

    def doubt(self) -> str | None:
        """What speaks against the references although they are young."""
        return None if self._path is None else self._path.doubt()

    def do(self, job: Job) -> None:
        if job.anew:
            self._begin_anew(job)
        if job.references is not None:
            self.use_references(job.references)
        for stretch in job.spoiled:
            spoil(self._spoiled, stretch)
        if job.flush:
            self._end = None
            self._keep(self._finder.flush(), job)
        if job.frame is not None and job.frame.sensor != "nir":
            self._offer(job.frame)
        elif job.frame is not None:
            self._read(job, job.frame)
        self.settle()

    def settle(self) -> None:
        """Pass on the pieces that have their colour, or have waited for it long enough."""
        now_s = self._clock.seconds()
        still: list[_Waiting] = []
        for item in self._waiting:
            if now_s < item.until and not self._colours.covers(item.found.place.last_mm):
                still.append(item)
                continue
            seen_at = self._clock.now() - timedelta(seconds=max(now_s - item.seconds, 0.0))
            piece, look = self._sightings.record(item.found, seen_at)
            decided = self._sorter.decide(
                Sighting(piece, item.generation, item.seconds, item.spoiled, item.simulated)
            )
            # After the command: neither picture nor records may keep the air waiting.
            self._sorter.tell(decided, self._sightings.evidence(item.found, look))
        self._waiting = still
        self.open = (*self._finder.open_places(), *(item.found.place for item in still))

    def recover(self, job: Job) -> None:
        """Begin anew after a fault of ours: what was half seen is not sorted."""
        self._finder = PieceFinder(self._description)
        self._waiting = []
        self._end = None
        if job.frame is not None and job.frame.sensor == "nir":
            counts = job.frame.encoder
            self._spoiled.append(Stretch(int(counts[0]), int(counts[-1]), "engine-fault"))

    def close(self) -> None:
        if self._path is not None:
            self._path.close()

    def _begin_anew(self, job: Job) -> None:
        """The counts before are of another measure: whatever is open ends here and is not sorted."""
        whole = Stretch(-(1 << 62), 1 << 62, "encoder-jump")
        self._spoiled.append(whole)
        self._keep(self._finder.flush(), job)
        self._spoiled.clear()
        self._came.clear()
        self._end = None

    def _read(self, job: Job, frame: Frame) -> None:
        if self._path is None:
            self._spoiled.clear()  # nothing is seen, so nothing is open
            return
        self._came.append(_Came(int(frame.encoder[-1]), job.seconds))
        self._simulated = frame.simulated  # kept: what silence ends has no frame of its own
        # A row at which the belt has not moved on shows nothing new; a belt that stops swings back a little.
        counts = frame.encoder
        before = counts[0] - 1 if self._end is None else self._end
        furthest = np.maximum.accumulate(np.concatenate(([before], counts)))
        moved = np.diff(furthest) > 0
        if not moved.any():
            return
        self._end = int(furthest[-1])
        pixels = frame.counts if moved.all() else frame.counts[moved]
        travel_mm: NDArray[np.float64] = counts[moved] / self._description.belt.counts_per_mm
        block = self._path.read(pixels, travel_mm)
        self._keep(self._finder.add(block), job)
        self._forget()

    def _keep(self, found: list[FoundPiece], job: Job) -> None:
        for piece in found:
            seconds = self._came_at(piece, job)
            self._waiting.append(
                _Waiting(
                    piece,
                    job.generation,
                    seconds,
                    self._spoil_of(piece),
                    self._simulated,
                    seconds + self._colour_after_s(),
                )
            )

    def _colour_after_s(self) -> float:
        """How long after the NIR camera the colour camera has seen a piece; it may sit further down."""
        camera = self._description.colour
        if camera is None:
            return 0.0
        view_mm = camera.height_px * camera.mm_per_pixel / 8
        behind_mm = camera.position_mm + view_mm - self._description.nir.position_mm
        return max(behind_mm, 0.0) / self._description.belt.speed_mm_per_s + _COLOUR_S

    def _counts_of(self, belt_mm: float) -> float:
        return self._description.encoder_at(belt_mm, self._description.nir.position_mm)

    def _came_at(self, piece: FoundPiece, job: Job) -> float:
        """When the piece's last row was taken: before its frame came, by the rows that follow it there."""
        last = self._counts_of(piece.place.last_mm) - 1
        belt = self._description.belt
        for came in self._came:
            if came.encoder >= last:
                behind_mm = (came.encoder - last) / belt.counts_per_mm
                return came.seconds - behind_mm / max(self._travel.speed.mm_per_s, belt.speed_mm_per_s / 10)
        return job.seconds

    def _spoil_of(self, piece: FoundPiece) -> AlarmCode | None:
        touch = _TOUCH_MM * self._description.belt.counts_per_mm
        first = self._counts_of(piece.place.first_mm) - touch
        last = self._counts_of(piece.place.last_mm) + touch
        for stretch in self._spoiled:
            if stretch.first <= last and stretch.end >= first:
                return stretch.code
        return None

    def _forget(self) -> None:
        """Drop what lies further back than any piece reaches."""
        assert self._end is not None
        belt = self._description.belt
        gone = self._end - 3 * self._description.longest_piece_mm * belt.counts_per_mm
        while self._came and self._came[0].encoder < gone:
            self._came.popleft()
        while self._spoiled and self._spoiled[0].end < gone:
            self._spoiled.popleft()

    def _offer(self, frame: Frame) -> None:
        """White or dark lines came: with both, the references are made anew."""
        self._offered[frame.sensor] = frame
        if len(self._offered) < 2:
            return
        try:
            made = make_references(
                self._offered["white"].counts,
                self._offered["dark"].counts,
                self._description.nir,
                taken_at=self._steady.now(),
                max_age_s=self._description.references.max_age_s,
            )
        except LineReferenceError as error:
            kept = "those in use stay" if self._path is not None else "none are in use"
            self._board.begin(error.code, _OFFERED, f"{error}; {kept}")
            return
        for code in REFERENCE_CODES:
            self._board.end(code, _OFFERED)
        self.use_references(made)
