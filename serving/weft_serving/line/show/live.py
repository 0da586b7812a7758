"""What a line does, told to whoever watches its page: one JSON object a message, bounded for each watcher.

The line hands over and goes on; a thread of ours works out what is shown and writes each message once for
all. A watcher that reads too slowly loses the oldest messages, never the line's time or memory.
"""

import asyncio
import base64
import json
import threading
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Final

from weft.line.chance import chance
from weft.line.description import LineDescription
from weft.line.lanes import Lane, LaneRules
from weft.line.records import Alarm, Decision, LineState, Piece
from weft_serving.line.show.live_figures import STEP_S, Figures
from weft_serving.line.sinks import Evidence
from weft_serving.watch.observe import log_fault

_WAITING: Final = 1_000  # records between the line and our thread
_MESSAGES: Final = 200  # between our thread and one watcher, about a megabyte
_PIECES: Final = 40  # the last ones, for whoever comes later
_ALARMS: Final = 30
_QUIET_S: Final = 10.0  # without a message; then a sign of life, so that proxies do not close
WATCHERS: Final = 32  # of one line


class Watcher:
    """One open page. Made and read on the event loop, fed from any thread."""

    def __init__(self, first: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._messages: deque[str] = deque([first], maxlen=_MESSAGES)
        self._closed = False
        self._news.set()

    def tell(self, message: str) -> None:
        self._messages.append(message)
        self._wake()

    def close(self) -> None:
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it whoever listened
            self._loop.call_soon_threadsafe(self._news.set)

    async def messages(self) -> AsyncIterator[str | None]:
        """Messages in order until the line stops; None where nothing came for some seconds."""
        while not self._closed:
            try:
                await asyncio.wait_for(self._news.wait(), _QUIET_S)
            except TimeoutError:
                yield None
                continue
            self._news.clear()
            while self._messages and not self._closed:
                yield self._messages.popleft()


class PageSink:
    """The page's sink of one line. Its thread starts with it and ends with `close`.

    Args:
        rules: The rules in force now; asked again when a decision or a state names another version.
        chance: That a piece is truly what a lane takes, 0..1; called from our thread.
    """

    def __init__(
        self,
        description: LineDescription,
        rules: Callable[[], LaneRules],
        *,
        chance: Callable[[Lane, Piece], float] = chance,
    ) -> None:
        self.description = description
        self._ask_rules = rules
        self._rules = rules()
        self._chance = chance
        self._taken: deque[tuple[Decision, Evidence] | Alarm | LineState] = deque(maxlen=_WAITING)
        self._news = threading.Event()
        self._closing = False
        self._lock = threading.Lock()  # over all below
        self._watchers: set[Watcher] = set()
        self._pieces: OrderedDict[int, tuple[Decision, Evidence]] = OrderedDict()
        self._alarms: OrderedDict[tuple[str, str], Alarm] = OrderedDict()
        self._figures = Figures()
        self._state: LineState | None = None
        self._thread = threading.Thread(target=self._run, name=f"page-{description.name}", daemon=True)
        self._thread.start()

    @property
    def state(self) -> LineState | None:
        """The newest, None before the first."""
        return self._state

    @property
    def rules(self) -> LaneRules:
        return self._rules

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        self._taken.append((decision, evidence))
        self._news.set()

    def alarmed(self, alarm: Alarm) -> None:
        self._taken.append(alarm)
        self._news.set()

    def stood(self, state: LineState) -> None:
        self._taken.append(state)
        self._news.set()

    def close(self) -> None:
        self._closing = True
        self._news.set()
        self._thread.join(timeout=2.0)
        with self._lock:
            for watcher in self._watchers:
                watcher.close()

    def watch(self) -> Watcher | None:
        """Who is told what was, then all that comes; None where too many watch already."""
        with self._lock:
            if len(self._watchers) >= WATCHERS or self._closing:
                return None
            watcher = Watcher(_text(self._hello()))
            self._watchers.add(watcher)
            return watcher

    def leave(self, watcher: Watcher) -> None:
        with self._lock:
            self._watchers.discard(watcher)

    def _run(self) -> None:
        while not self._closing:
            self._news.wait()
            self._news.clear()
            while self._taken and not self._closing:
                taken = self._taken.popleft()
                try:
                    with self._lock:
                        for message in self._take(taken):
                            self._tell(message)
                except Exception as error:  # a fault of ours in one piece must not freeze the page
                    log_fault(f"page-{self.description.name}", error)

    def _take(self, taken: tuple[Decision, Evidence] | Alarm | LineState) -> list[dict[str, Any]]:
        """Note it, and say what to tell."""
        if isinstance(taken, Alarm):
            self._alarms.pop((taken.code, taken.since.isoformat()), None)
            self._alarms[taken.code, taken.since.isoformat()] = taken
            while len(self._alarms) > _ALARMS:
                self._alarms.popitem(last=False)
            return [{"type": "alarm", **taken.model_dump(mode="json")}]
        if isinstance(taken, LineState):
            self._state = taken
            return [*self._refresh(taken.rules_version), self._said_state(last=1)]
        decision, evidence = taken
        news = self._refresh(decision.rules_version)
        chances = {lane.name: self._chance(lane, decision.piece) for lane in self._rules.lanes}
        self._figures.add(decision, chances, time.monotonic())
        self._pieces[decision.piece.number] = taken
        while len(self._pieces) > _PIECES:
            self._pieces.popitem(last=False)
        return [*news, {"type": "piece", **shown_piece(decision, evidence)}] if self._watchers else []

    def _refresh(self, version: str) -> list[dict[str, Any]]:
        if version == self._rules.version:
            return []
        found = self._ask_rules()
        if found.version == self._rules.version:
            return []
        self._rules = found
        return [{"type": "rules", **shown_rules(found)}]

    def _tell(self, message: dict[str, Any]) -> None:
        if not self._watchers:
            return
        text = _text(message)
        for watcher in self._watchers:
            watcher.tell(text)

    def _hello(self) -> dict[str, Any]:
        return {
            "type": "hello",
            "line": shown_line(self.description),
            "rules": shown_rules(self._rules),
            "pieces": [shown_piece(*piece) for piece in self._pieces.values()],
            "alarms": [alarm.model_dump(mode="json") for alarm in self._alarms.values()],
            "now": self._said_state(last=10_000),
        }

    def _said_state(self, *, last: int) -> dict[str, Any]:
        at_s = time.monotonic()
        return {
            "type": "state",
            "state": None if self._state is None else self._state.model_dump(mode="json"),
            "lanes": self._figures.lanes(at_s),
            "history": self._figures.history(at_s, last=last),
        }


def shown_line(description: LineDescription) -> dict[str, Any]:
    """What the drawn belt needs: places in mm, as `weft.line.description` has them."""
    colour = description.colour
    return {
        "name": description.name,
        "width_mm": description.belt.width_mm,
        "counts_per_mm": description.belt.counts_per_mm,
        "speed_mm_per_s": description.belt.speed_mm_per_s,
        "nir_mm": description.nir.position_mm,
        "colour_mm": None if colour is None else colour.position_mm,
        "ejectors": [
            {"name": e.name, "position_mm": e.position_mm, "left_mm": e.left_mm, "right_mm": e.right_mm}
            for e in description.ejectors
        ],
        "reference_max_age_s": description.references.max_age_s,
        "step_s": STEP_S,
    }


def shown_rules(rules: LaneRules) -> dict[str, Any]:
    return {
        "version": rules.version,
        "rest": rules.rest,
        "lanes": [
            {
                "name": lane.name,
                "take": lane.take,
                "ejector": lane.ejector,
                "needed_purity": round(1.0 - lane.max_contamination, 4),
            }
            for lane in rules.lanes
        ],
    }


def shown_piece(decision: Decision, evidence: Evidence) -> dict[str, Any]:
    """The decision in the words of its record, without what a page has no use for, with its picture."""
    shown = decision.model_dump(
        mode="json",
        include={
            "piece": {
                "number",
                "seen_at",
                "place",
                "outline_mm",
                "shares",
                "unknown",
                "flags",
                "colour",
                "mass",
            },
            **dict.fromkeys(
                (
                    "lane",
                    "wanted",
                    "reason",
                    "outcome",
                    "ejector",
                    "latency_ms",
                    "rules_version",
                    "simulated",
                ),
                True,
            ),
        },
    )
    picture = evidence.picture
    shown["picture"] = None if picture is None else base64.b64encode(picture).decode()
    return shown


def _text(message: dict[str, Any]) -> str:
    return json.dumps(message, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
