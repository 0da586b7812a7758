"""What a line has counted since it started: pieces and kilograms by lane, the last minute, latencies."""

from collections import deque
from typing import Final, NamedTuple

from weft.line.records import Decision, LaneCount
from weft_serving.line.timing import Latencies

_MINUTE_S: Final = 60.0


class Figures(NamedTuple):
    """A tally at one moment."""

    pieces: int
    pieces_per_min: float
    kg_per_h: float
    latency_ms: tuple[float, float] | None  # p50, p99
    lanes: tuple[LaneCount, ...]


class Tally:
    """Counts decisions. Called under the sorter's lock."""

    def __init__(self) -> None:
        self.pieces = 0
        self.latencies = Latencies()
        self._lanes: dict[str, dict[str, float]] = {}
        self._recent: deque[tuple[float, float]] = deque()  # (when in s, grams)
        self._started: float | None = None

    def add(self, decision: Decision, now_s: float) -> None:
        self.pieces += 1
        self.latencies.add(decision.latency_ms)
        if self._started is None:
            self._started = now_s
        grams = _grams(decision)
        self._recent.append((now_s, grams))
        self._enter(decision, 1)

    def correct(self, old: Decision, new: Decision) -> None:
        """A decision was changed afterwards: its command was withdrawn."""
        self._enter(old, -1)
        self._enter(new, 1)

    def figures(self, now_s: float, names: tuple[str, ...]) -> Figures:
        """All figures, for these lanes first."""
        return Figures(self.pieces, *self.last_minute(now_s), self.latencies.percentiles(), self.lanes(names))

    def lanes(self, names: tuple[str, ...]) -> tuple[LaneCount, ...]:
        """Those of the present rules in their order, then those of earlier ones that have counts."""
        order = [*names, *(name for name in self._lanes if name not in names)]
        return tuple(self._count(name) for name in order)

    def last_minute(self, now_s: float) -> tuple[float, float]:
        """Pieces a minute and kilograms an hour."""
        while self._recent and now_s - self._recent[0][0] > _MINUTE_S:
            self._recent.popleft()
        if self._started is None or not self._recent:
            return 0.0, 0.0
        over_s = min(max(now_s - self._started, 1.0), _MINUTE_S)
        grams = sum(item[1] for item in self._recent)
        return len(self._recent) * 60 / over_s, grams * 3.6 / over_s

    def _enter(self, decision: Decision, sign: int) -> None:
        """Pieces and grams count where they go; late and held ones count at the lane that wanted them."""
        landed = self._lane(decision.lane)
        landed["pieces"] += sign
        landed["grams"] += sign * _grams(decision)
        if decision.outcome != "passed":
            self._lane(decision.wanted)[decision.outcome] += sign

    def _lane(self, name: str) -> dict[str, float]:
        return self._lanes.setdefault(name, dict.fromkeys(("pieces", "grams", "fired", "late", "held"), 0.0))

    def _count(self, name: str) -> LaneCount:
        found = self._lane(name)
        return LaneCount(
            lane=name,
            pieces=int(found["pieces"]),
            grams=max(found["grams"], 0.0),
            fired=int(found["fired"]),
            late=int(found["late"]),
            held=int(found["held"]),
        )


def _grams(decision: Decision) -> float:
    mass = decision.piece.mass
    return 0.0 if mass is None else mass.grams
