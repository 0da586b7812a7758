"""Whether a frame follows from those before it: numbers, encoder counts and times held against each other.

Three witnesses tell which one lies. A frame that is late has an older number and an older time; a clock that
jumped has a time that neither the encoder nor our own monotonic clock bears out; an encoder that jumped has
counts that no belt can have moved meanwhile.
"""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from weft.line.description import LineDescription
from weft.line.frames import Frame
from weft.line.records import AlarmCode

_BACKLASH_MM: Final = 2.0  # a belt that stops swings back by less; a counter that jumps, by more
_FASTEST: Final = 2.0  # times the usual speed: no belt does that
_SLACK_S: Final = 0.03  # in the times between counts
_JUMP_S: Final = 0.5  # a time that is wrong by less harms nothing
_STILL_MM: Final = 0.2
_AGAIN: Final = 6  # frames in a row that look old are a camera that began again
_AWAY_S: Final = 1.0  # and so is the first one after such a silence
STILL_S: Final = 0.3  # lines come, the count stands
_RATE_S: Final = 0.5  # of frames that a rate is taken from
_TOO_FAST: Final = 1.4  # times the camera's rate
_REMEMBERED: Final = 256  # numbers, to tell a repeated frame from a late one


class Finding(NamedTuple):
    """One thing that is wrong with a frame."""

    code: AlarmCode
    cause: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a frame.

    `spoiled` are counts between which rows are missing or doubtful: what was seen there is not sorted.
    `anew`: the counts before this frame are of another measure; nothing that waits for one may be fired.
    """

    take: bool
    findings: tuple[Finding, ...] = ()
    spoiled: tuple[int, int] | None = None
    anew: bool = False
    time_holds: bool = True  # the time since the last frame can be reckoned with


class _Last(NamedTuple):
    number: int
    timestamp_ns: int
    encoder: int  # of its last row
    seconds: float  # ours, when it came


class Order:
    """Follows the frames of one camera. Used from one thread."""

    def __init__(self, description: LineDescription, sensor: str, *, per_s: float) -> None:
        self._belt = description.belt
        self._sensor = sensor
        self._per_s = per_s  # rows of the NIR camera, or pictures
        self._last: _Last | None = None
        self._seen: deque[int] = deque(maxlen=_REMEMBERED)
        self._still: tuple[int, float] | None = None  # count that the belt stands at, and since when
        self._pace = _Pace()
        self._strays: list[tuple[int, int]] = []  # numbers and times of frames that were left out in a row
        self._left_out = 0

    @property
    def still_s(self) -> float:
        """For how long frames have come at one count; 0 while the belt moves."""
        if self._last is None or self._still is None:
            return 0.0
        return self._last.seconds - self._still[1]

    @property
    def last(self) -> tuple[int, float] | None:
        """The last count, and when it came by our clock; None before the first frame."""
        return None if self._last is None else (self._last.encoder, self._last.seconds)

    @property
    def last_timestamp_ns(self) -> int:
        return 0 if self._last is None else self._last.timestamp_ns

    def leave_out(self) -> None:
        """A frame was refused before it came here: the gap that it leaves is no news."""
        self._left_out += 1

    def check(self, frame: Frame, seconds: float) -> Verdict:
        """Judge the next frame, which came at `seconds` of our monotonic clock."""
        first, end = int(frame.encoder[0]), int(frame.encoder[-1])
        last = self._last
        if last is None:
            return self._accept(frame, seconds, Verdict(take=True))
        if (stale := self._stale(frame, last)) is not None:
            if not self._starts_again(frame, last, seconds):
                return Verdict(take=False, findings=(stale,))
            return self._begin_anew(frame, seconds, self._restart(frame, last))
        self._strays.clear()
        if (jump := self._encoder_jump(frame, last, seconds)) is not None:
            return self._begin_anew(frame, seconds, jump)
        findings: list[Finding] = []
        spoiled: tuple[int, int] | None = None
        jumped = self._clock_jump(frame, last, seconds)
        if jumped is not None:
            findings.append(jumped)
            spoiled = (min(last.encoder, first), end)
            self._pace = _Pace()
        missing = max(frame.number - last.number - 1, 0) if jumped is None else 0
        if missing or self._left_out:
            spoiled = (last.encoder, max(first, last.encoder))
        if missing > self._left_out:
            findings.append(self._gap(missing - self._left_out))
        self._left_out = 0
        self._follow_stillness(end, seconds)
        if jumped is None and (pace := self._too_fast(frame, last)) is not None:
            findings.append(pace)
            spoiled = (last.encoder, max(end, last.encoder))
        verdict = Verdict(take=True, findings=tuple(findings), spoiled=spoiled, time_holds=jumped is None)
        return self._accept(frame, seconds, verdict)

    def _accept(self, frame: Frame, seconds: float, verdict: Verdict) -> Verdict:
        self._seen.append(frame.number)
        self._last = _Last(frame.number, frame.timestamp_ns, int(frame.encoder[-1]), seconds)
        return verdict

    def _stale(self, frame: Frame, last: _Last) -> Finding | None:
        """A frame that came twice, or after a later one. A camera that starts again counts anew: no fault."""
        if frame.number > last.number or frame.timestamp_ns > last.timestamp_ns:
            return None
        what = f"{self._sensor} frame {frame.number}"
        if frame.number in self._seen:
            return Finding(
                "repeated-frame",
                f"{what} came twice; the second is left out; see that the sender sends each frame once",
            )
        return Finding(
            "out-of-order",
            f"{what} came after frame {last.number}; it is left out and what it shows goes to the rest; "
            "see that the sender keeps the order",
        )

    def _encoder_jump(self, frame: Frame, last: _Last, seconds: float) -> Finding | None:
        counts = [last.encoder, *map(int, frame.encoder)]
        back = min(later - earlier for earlier, later in pairwise(counts))
        per_mm = self._belt.counts_per_mm
        if back < -_BACKLASH_MM * per_mm:
            return Finding(
                "encoder-jump",
                f"the encoder jumped back by {-back:,} counts at {self._sensor} frame {frame.number}; what "
                "is on the belt goes to the rest; see to the encoder, its cable and its reset",
            )
        took_s = max((frame.timestamp_ns - last.timestamp_ns) / 1e9, seconds - last.seconds, 1 / self._per_s)
        moved_mm = (counts[-1] - last.encoder) / per_mm
        most_mm = _FASTEST * self._belt.speed_mm_per_s * (took_s + _SLACK_S)
        if moved_mm > most_mm:
            return Finding(
                "encoder-jump",
                f"the encoder jumped ahead by {moved_mm:,.0f} mm in {took_s:.3f} s, at most {most_mm:,.0f} "
                "can be; what is on the belt goes to the rest; see to the encoder and its counts_per_mm",
            )
        return None

    def _clock_jump(self, frame: Frame, last: _Last, seconds: float) -> Finding | None:
        told_s = (frame.timestamp_ns - last.timestamp_ns) / 1e9
        ours_s = seconds - last.seconds
        moved_mm = (int(frame.encoder[-1]) - last.encoder) / self._belt.counts_per_mm
        moved_s = moved_mm / self._belt.speed_mm_per_s
        rows_s = (frame.number - last.number) * frame.encoder.size / self._per_s
        # Ahead: neither our clock, nor the belt, nor the number of frames bears it out.
        ahead = told_s - max(ours_s, 2 * moved_s, 2 * rows_s) > _JUMP_S
        if told_s >= 0 and not ahead:
            return None
        where = "back" if told_s < 0 else "ahead"
        return Finding(
            "clock-jump",
            f"the clock of the {self._sensor} camera jumped {where} by {abs(told_s - ours_s):.3f} s; speeds "
            "are taken anew and what passed meanwhile goes to the rest; set it by PTP or NTP, never by hand",
        )

    def _gap(self, missing: int) -> Finding:
        return Finding(
            "camera-rate",
            f"{missing:,} {self._sensor} frames are missing; what they would have shown goes to the rest; "
            "see to the camera's cable and to the sender's load",
        )

    def _follow_stillness(self, end: int, seconds: float) -> None:
        if self._still is None or end - self._still[0] > _STILL_MM * self._belt.counts_per_mm:
            self._still = (end, seconds)

    def _begin_anew(self, frame: Frame, seconds: float, why: Finding) -> Verdict:
        self._pace, self._still, self._left_out = _Pace(), None, 0
        self._strays.clear()
        self._seen.clear()
        return self._accept(frame, seconds, Verdict(take=False, findings=(why,), anew=True, time_holds=False))

    def _starts_again(self, frame: Frame, last: _Last, seconds: float) -> bool:
        """Whether frames that look old are of a camera that began again: a late one comes alone."""
        if self._strays and (frame.number, frame.timestamp_ns) <= self._strays[-1]:
            self._strays.clear()
        self._strays.append((frame.number, frame.timestamp_ns))
        return seconds - last.seconds > _AWAY_S or len(self._strays) >= _AGAIN

    def _restart(self, frame: Frame, last: _Last) -> Finding:
        behind_s = (last.timestamp_ns - frame.timestamp_ns) / 1e9
        return Finding(
            "clock-jump",
            f"the {self._sensor} camera began again at frame {frame.number} with times {behind_s:.3f} s "
            "before its last; it is followed anew, what is on the belt goes to the rest; let its clock run",
        )

    def _too_fast(self, frame: Frame, last: _Last) -> Finding | None:
        rows = frame.encoder.size
        self._pace.add(rows, (frame.timestamp_ns - last.timestamp_ns) / 1e9)
        per_s = self._pace.per_s()
        if per_s is None or per_s <= _TOO_FAST * self._per_s:
            return None
        return Finding(
            "camera-rate",
            f"the {self._sensor} camera gives {per_s:,.0f} a second, the line's description says "
            f"{self._per_s:,.0f}; what passes meanwhile goes to the rest; set the camera or the description",
        )


class _Pace:
    """Rows a second over the last half second, by the camera's clock."""

    def __init__(self) -> None:
        self._parts: deque[tuple[int, float]] = deque()
        self._rows = 0
        self._s = 0.0

    def add(self, rows: int, seconds: float) -> None:
        self._parts.append((rows, seconds))
        self._rows += rows
        self._s += seconds
        while len(self._parts) > 1 and self._s - self._parts[0][1] >= _RATE_S:
            gone, s = self._parts.popleft()
            self._rows -= gone
            self._s -= s

    def per_s(self) -> float | None:
        return self._rows / self._s if self._s >= 0.8 * _RATE_S else None
