"""What happens the moment a frame comes: it is judged, the belt's count is noted, and a thread gets its job.

Nothing here computes on pixels: it runs in whichever thread received the frame, the event loop's too.
"""

from threading import Lock
from typing import Final

from weft.line.description import LineDescription
from weft.line.frames import Frame
from weft.line.records import AlarmCode
from weft_serving.line.alarms import QUIET_S, AlarmBoard, Clock
from weft_serving.line.inbox import Inbox, Job, Stretch
from weft_serving.line.order import STILL_S, Order, Verdict
from weft_serving.line.see.references import References
from weft_serving.line.sorter import Sorter
from weft_serving.line.timing import Travel

_SILENT_S: Final = 0.3  # without a frame
_SILENT_FRAMES: Final = 3.0  # or so many of the camera's frames, where they come slower
_WAITING_S: Final = 0.4  # of lines that may wait: what is older comes too late anyway
_COLOUR_WAITING: Final = 8  # pictures; most are never decoded
_MEANWHILE: Final = {
    "nir": "what was not seen goes to the rest",
    "colour": "pieces may go without a colour",
}
_ANEW_MM: Final = 100.0  # of belt after a jump: what lies there may reach back over it
_OVERLOAD_ENDS_S: Final = 3.0


class Arrivals:
    """Both cameras' frames of one line. Safe for threads."""

    def __init__(
        self,
        description: LineDescription,
        *,
        clock: Clock,
        board: AlarmBoard,
        travel: Travel,
        sorter: Sorter,
    ) -> None:
        nir, colour = description.nir, description.colour
        self._description = description
        self._clock = clock
        self._board = board
        self._travel = travel
        self._sorter = sorter
        self._lock = Lock()
        self._nir = Order(description, "nir", per_s=nir.lines_per_s)
        self._colour = None if colour is None else Order(description, "colour", per_s=colour.frames_per_s)
        self.nir_inbox = Inbox(most_rows=max(256, round(_WAITING_S * nir.lines_per_s)))
        self.colour_inbox = Inbox(most_rows=_COLOUR_WAITING)
        self._rows = 1  # of the last NIR frame
        self._still = False
        self._silent: set[str] = set()
        self.dropped_frames = 0

    @property
    def running(self) -> bool:
        """Lines come and the belt moves."""
        return self._nir.last is not None and not self._still and "nir" not in self._silent

    def take(self, frame: Frame) -> None:
        with self._lock:
            if frame.sensor == "nir":
                self._take_nir(frame)
            elif frame.sensor == "colour":
                self._take_colour(frame)
            else:
                self._put(self.nir_inbox, Job(self._clock.seconds(), self._sorter.generation, frame), "nir")

    def refer(self, references: References) -> None:
        """Use these references for the rows that come from now on."""
        with self._lock:
            job = Job(self._clock.seconds(), self._sorter.generation, references=references)
            self._put(self.nir_inbox, job, "nir")

    def refuse(self, sensor: str | None, cause: str, code: AlarmCode = "broken-frame") -> None:
        """A frame could not be read: its place on the belt was not seen."""
        with self._lock:
            self._refuse(sensor, cause, code)

    def watch(self) -> None:
        """See whether a camera has fallen silent; called every few hundredths of a second."""
        with self._lock:
            now_s = self._clock.seconds()
            frame_s = self._rows / self._description.nir.lines_per_s
            self._watch(self._nir, "nir", frame_s, now_s)
            if self._colour is not None and self._description.colour is not None:
                self._watch(self._colour, "colour", 1 / self._description.colour.frames_per_s, now_s)

    def _refuse(self, sensor: str | None, cause: str, code: AlarmCode) -> None:
        self._board.begin(code, sensor or "stream", cause, ends_after_s=QUIET_S)
        if sensor == "colour" and self._colour is not None:
            self._colour.leave_out()
        elif sensor != "colour":
            self._nir.leave_out()

    def _take_nir(self, frame: Frame) -> None:
        nir = self._description.nir
        _, bands, pixels = frame.shape
        if (bands, pixels) != (len(nir.wavelength_nm), nir.pixels):
            self._refuse(
                "nir",
                f"nir frame {frame.number} has {bands} bands of {pixels} pixels, the line's camera has "
                f"{len(nir.wavelength_nm)} of {nir.pixels}; set the camera's binning and window, or the file",
                "wrong-bands",
            )
            return
        seconds = self._clock.seconds()
        before_ns, before = self._nir.last_timestamp_ns, self._nir.last
        count = self._travel.encoder_at(seconds)
        verdict = self._nir.check(frame, seconds)
        self._tell(verdict, "nir")
        if verdict.anew:
            code = verdict.findings[0].code
            self._sorter.withdraw_all(code, count, anew=True)
            self._travel.speed.forget()
        if not (verdict.take or verdict.anew):
            return
        first, end = int(frame.encoder[0]), int(frame.encoder[-1])
        self._rows = frame.encoder.size
        self._travel.note(end, seconds, anew=verdict.anew)
        if before is not None and verdict.time_holds:
            self._travel.speed.add(end - before[0], (frame.timestamp_ns - before_ns) / 1e9)
        job = Job(seconds, 0, frame if verdict.take else None, anew=verdict.anew)
        if verdict.spoiled is not None:
            job.spoiled.append(
                Stretch(*verdict.spoiled, verdict.findings[0].code if verdict.findings else "broken-frame")
            )
        if verdict.anew:
            reach = round(_ANEW_MM * self._description.belt.counts_per_mm)
            job.spoiled.append(Stretch(first - reach, end + reach, verdict.findings[0].code))
        if "nir" in self._silent:
            self._silent.discard("nir")
            self._board.end("camera-silent", "nir")
            since = end if before is None or verdict.anew else before[0]
            job.spoiled.append(Stretch(min(since, first), max(since, first), "camera-silent"))
        self._follow_stillness(job, end, count)
        job.generation = self._sorter.generation
        self._put(self.nir_inbox, job, "nir")

    def _take_colour(self, frame: Frame) -> None:
        if self._colour is None:
            self._refuse("colour", "a picture came, but the line's file has no colour camera", "broken-frame")
            return
        seconds = self._clock.seconds()
        verdict = self._colour.check(frame, seconds)
        self._tell(verdict, "colour")
        if "colour" in self._silent and (verdict.take or verdict.anew):
            self._silent.discard("colour")
            self._board.end("camera-silent", "colour")
        if verdict.take:
            self._put(self.colour_inbox, Job(seconds, self._sorter.generation, frame), "colour")

    def _tell(self, verdict: Verdict, sensor: str) -> None:
        for code, cause in verdict.findings:
            self._board.begin(code, sensor, cause, ends_after_s=QUIET_S)

    def _follow_stillness(self, job: Job, end: int, count: int) -> None:
        still = self._nir.still_s >= STILL_S
        if still and not self._still:
            self._board.begin(
                "encoder-still",
                "nir",
                f"the encoder has stood at {end:,} for {self._nir.still_s:.1f} s while lines come; what is "
                "on the belt goes to the rest; start the belt, or see to the encoder and its cable",
            )
            self._travel.still = True
            self._sorter.withdraw_all("encoder-still", count, anew=False)
        elif self._still and not still:
            self._board.end("encoder-still", "nir")
            self._travel.still = False
            self._travel.speed.forget()
        if still or self._still:
            job.spoiled.append(Stretch(end, end, "encoder-still"))
        self._still = still

    def _watch(self, order: Order, sensor: str, frame_s: float, now_s: float) -> None:
        last = order.last
        if last is None or sensor in self._silent:
            return
        silent_s = now_s - last[1]
        if silent_s < max(_SILENT_S, _SILENT_FRAMES * frame_s):
            return
        self._silent.add(sensor)
        self._board.begin(
            "camera-silent",
            sensor,
            f"no frame of the {sensor} camera for {silent_s:.1f} s; {_MEANWHILE[sensor]}; see to the "
            "camera, its cable and the process that sends",
        )
        if sensor == "nir":
            spoiled = [Stretch(last[0], last[0], "camera-silent")]
            generation = self._sorter.generation
            self._put(self.nir_inbox, Job(now_s, generation, spoiled=spoiled, flush=True), "nir")

    def _put(self, inbox: Inbox, job: Job, sensor: str) -> None:
        dropped = inbox.put(job)
        if dropped:
            self.dropped_frames += dropped
            self._board.begin(
                "overload",
                sensor,
                f"{dropped} waiting {sensor} frames were dropped, {self.dropped_frames:,} since the start; "
                f"{_MEANWHILE[sensor]}; give the line more cores or a slower camera",
                ends_after_s=_OVERLOAD_ENDS_S,
            )
