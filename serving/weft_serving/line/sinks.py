"""Where a line's decisions, alarms and state go: the store, MQTT, OPC UA, the page, the one who streams."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from weft.line.records import Alarm, Decision, LineState


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What of a piece is no number and is kept beside its record."""

    wavelength_nm: NDArray[np.float64]  # (L,)
    absorbance: NDArray[np.float32]  # (L,) mean over the pixels that voted
    picture: bytes | None  # JPEG, longest side 160 px; None: no colour camera saw it


class Sink(Protocol):
    """Called from the line's own thread, which must not wait: hand over and return at once.

    One that cannot deliver keeps what it was given and tells of it by an alarm of its own; it raises nothing.
    """

    def decided(self, decision: Decision, evidence: Evidence) -> None: ...

    def alarmed(self, alarm: Alarm) -> None:
        """At the start of an alarm, and once more with `until` at its end."""
        ...

    def stood(self, state: LineState) -> None:
        """About once a second."""
        ...

    def close(self) -> None:
        """Deliver or put on disk what is left; a few seconds at most."""
        ...
