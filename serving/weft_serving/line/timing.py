"""When to fire: the belt's speed from the encoder, the counts of a pulse, and what else lies in its air."""

from collections import deque
from typing import Final, NamedTuple

import numpy as np

from weft.line.description import Ejector, LineDescription
from weft.line.records import Place

_SPEED_S: Final = 0.5  # of frames that a speed is taken from
_SIGMAS: Final = 3.0  # of an ejector's jitter that a decision keeps clear of
_END: Final = 0.1  # of its length: air there turns a piece instead of taking it along
HANDOVER_S: Final = 0.010  # for a command to reach whoever switches the valve
_CARRIED_S: Final = 1.0  # a count is not carried on for longer than this
_LATENCIES: Final = 4_096


class Command(NamedTuple):
    """For whoever counts the encoder's pulses: open the ejector at one count, close it at the other.

    Commands whose counts overlap at one ejector are one long pulse.
    """

    piece: int
    ejector: str
    fire_encoder: int
    hold_encoder: int


class Withdrawal(NamedTuple):
    """A command that must not be carried out any more."""

    piece: int
    ejector: str


class Speed:
    """Speed of the belt from encoder counts and the camera's times, which come in step with each other."""

    def __init__(self, description: LineDescription) -> None:
        self._per_mm = description.belt.counts_per_mm
        self.mm_per_s = description.belt.speed_mm_per_s  # until it is measured
        self._parts: deque[tuple[float, float]] = deque()
        self._mm = self._s = 0.0

    def add(self, counts: int, seconds: float) -> None:
        """The belt moved by `counts` in that time; 0 s for frames that were stamped together."""
        if seconds < 0 or counts < 0:
            return
        self._parts.append((counts / self._per_mm, seconds))
        self._mm += counts / self._per_mm
        self._s += seconds
        while len(self._parts) > 1 and self._s - self._parts[0][1] >= _SPEED_S:
            mm, s = self._parts.popleft()
            self._mm -= mm
            self._s -= s
        if self._s >= 0.2 * _SPEED_S:
            self.mm_per_s = max(self._mm, 0.0) / self._s

    def forget(self) -> None:
        """Measure anew; until then the last speed holds."""
        self._parts.clear()
        self._mm = self._s = 0.0


class Travel:
    """Where the belt is: the newest count, and how far it has moved since that came."""

    def __init__(self, description: LineDescription) -> None:
        self.speed = Speed(description)
        self._per_mm = description.belt.counts_per_mm
        self._newest: tuple[int, float] | None = None
        self.still = False

    @property
    def encoder(self) -> int:
        """The newest count that came; 0 before the first."""
        return 0 if self._newest is None else self._newest[0]

    def note(self, encoder: int, seconds: float, *, anew: bool = False) -> None:
        """A count that came at `seconds` of our clock. Cameras differ by a little: the furthest holds."""
        if anew or self._newest is None or encoder >= self._newest[0]:
            self._newest = (encoder, seconds)

    def encoder_at(self, seconds: float) -> int:
        """The count now, carried on at the measured speed for as long as that can be trusted."""
        if self._newest is None:
            return 0
        encoder, came = self._newest
        if self.still:
            return encoder
        gone_s = min(max(seconds - came, 0.0), _CARRIED_S)
        return encoder + round(gone_s * self.speed.mm_per_s * self._per_mm)


class Shot(NamedTuple):
    """One pulse: the counts of its command, and the stretch of belt that its air may reach."""

    ejector: Ejector
    fire_encoder: int
    hold_encoder: int
    air_first_mm: float
    air_last_mm: float

    def reaches(self, place: Place) -> bool:
        """Whether a piece lying there would feel the pulse."""
        return (
            place.first_mm < self.air_last_mm
            and place.last_mm > self.air_first_mm
            and place.left_mm < self.ejector.right_mm
            and place.right_mm > self.ejector.left_mm
        )


def aim(description: LineDescription, ejector: Ejector, place: Place, mm_per_s: float, now: float) -> Shot:
    """The pulse that can still be fired, its middle as near to the middle of the piece as may be.

    The ejector's delay is taken off at this speed. A piece longer than the way to its ejector is known when
    its middle has passed: it is blown further back, all of the air within it, but never on its last tenth.

    Args:
        now: The count at which the command goes out.
    """
    per_mm = description.belt.counts_per_mm
    lead_mm = (ejector.delay_ms + ejector.pulse_ms / 2) / 1e3 * mm_per_s
    reach_mm = (ejector.pulse_ms / 2 + _SIGMAS * ejector.jitter_ms) / 1e3 * mm_per_s
    middle_mm = (place.first_mm + place.last_mm) / 2
    first_mm = (now + margin_counts(description, ejector, mm_per_s)) / per_mm - ejector.position_mm + lead_mm
    # One millimetre further, or rounding would make it late.
    jitter_mm = _SIGMAS * ejector.jitter_ms / 1e3 * mm_per_s
    end_mm = max(reach_mm, _END * (place.last_mm - place.first_mm) + jitter_mm)
    aimed_mm = max(middle_mm, min(first_mm + 1, place.last_mm - end_mm))
    fire = description.encoder_at(aimed_mm, ejector.position_mm) - lead_mm * per_mm
    hold = fire + ejector.pulse_ms / 1e3 * mm_per_s * per_mm
    return Shot(ejector, round(fire), round(hold), aimed_mm - reach_mm, aimed_mm + reach_mm)


def margin_counts(description: LineDescription, ejector: Ejector, mm_per_s: float) -> float:
    """How many counts before its firing a command has to go out."""
    safe_s = HANDOVER_S + _SIGMAS * ejector.jitter_ms / 1e3
    return safe_s * mm_per_s * description.belt.counts_per_mm


def reaches_across(ejector: Ejector, place: Place) -> bool:
    """Whether the middle of a piece lies where the ejector blows."""
    return ejector.left_mm <= (place.left_mm + place.right_mm) / 2 <= ejector.right_mm


class Latencies:
    """The last few thousand times from a piece's last line to its decision, in ms."""

    def __init__(self) -> None:
        self._ms: deque[float] = deque(maxlen=_LATENCIES)

    def add(self, ms: float) -> None:
        self._ms.append(ms)

    def percentiles(self) -> tuple[float, float] | None:
        """p50 and p99; None before the first piece."""
        if not self._ms:
            return None
        p50, p99 = np.percentile(np.array(self._ms), (50, 99))
        return float(p50), float(p99)
