"""Looks after the running service: at its figures every few seconds, at its answers every minute."""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from weft import __version__
from weft.errors import StoreError
from weft_serving.bundles.models import Models, ServedTask
from weft_serving.ops.alerts import LONG_MINUTES, Alert, Standing, find_alerts
from weft_serving.ops.history import Gauges, History
from weft_serving.ops.quality import Quality, read_quality
from weft_serving.store import Store
from weft_serving.watch.logs import log_fault, log_line
from weft_serving.watch.metrics import Metrics

if TYPE_CHECKING:
    from weft.line.records import LineState

LOOK_SECONDS: Final = 5.0
LAG_SECONDS: Final = 0.5
QUALITY_SECONDS: Final = 60.0
DATABASE_SECONDS: Final = 3.0
MARKS: Final = 200
LINGER_SECONDS: Final = 120.0
AT_ONCE: Final = frozenset({"WeftDatabaseAway", "WeftSwapFailed", "WeftLineAlarm"})  # over when it is over
TASKS: Final[tuple[ServedTask, ...]] = ("weight", "composition")


_LIMITS: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Line(Protocol):
    """`weft_serving.line.engine.LineEngine`, as far as this is concerned."""

    def state(self) -> "LineState": ...


class Mark(NamedTuple):
    """Something that happened, for the charts: a bundle, an alert."""

    at: float  # Unix seconds
    kind: str  # bundle, alert, over
    says: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What there is to look at."""

    metrics: Metrics
    models: Models
    store: Store
    jobs: Callable[[], int]
    lines: Mapping[str, Line]


class Overseer:
    """Everything it keeps is bounded: a day of minutes, the last marks, the last word on quality."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.history = History(watched.metrics)
        self.marks: deque[Mark] = deque(maxlen=MARKS)
        self.alerts: dict[tuple[str, str], tuple[Alert, float]] = {}  # what is on, and since when
        self._seen_s: dict[tuple[str, str], float] = {}
        self.quality: Quality | None = None
        self.database_up = True
        self.started_at = time.time()
        self.memory_limit_mib = memory_limit_bytes() / 2**20
        self._lag_s = 0.0
        self._serving = self._bundles()
        self._tasks: list[asyncio.Task[None]] = []
        self._asking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """On the running loop."""
        for task, name in self._serving.items():
            self._mark("bundle", f"{task}: {name} answers")
        log_line("started", version=__version__, lines=len(self.watched.lines), bundles=self._serving)
        self._tasks = [
            asyncio.create_task(self._lag()),
            asyncio.create_task(self._regularly(LOOK_SECONDS, self.look)),
            asyncio.create_task(self._regularly(QUALITY_SECONDS, self.judge)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._asking = None

    def standing(self) -> Standing:
        return Standing(
            minutes=self.history.last(LONG_MINUTES),
            memory_limit_mib=self.memory_limit_mib,
            database_up=self.database_up,
            refused_bundles=self.refused_bundles(),
            quality=self.quality,
            lines={name: line.state() for name, line in self.watched.lines.items()},
        )

    def refused_bundles(self) -> list[str]:
        """Tasks whose last bundle that came was refused."""
        registry = self.watched.metrics.registry.restricted_registry(["weft_bundle_refused"])
        return [
            sample.labels["task"]
            for metric in registry.collect()
            for sample in metric.samples
            if sample.value == 1
        ]

    async def look(self) -> None:
        """Take one row's worth of figures, and see what has changed."""
        lag_s, self._lag_s = self._lag_s, 0.0
        await self._ask_database()
        self.history.look(Gauges(self.watched.jobs(), lag_s, self.database_up))
        serving = self._bundles()
        for task, name in serving.items():
            if name != self._serving[task]:
                self._mark("bundle", f"{task}: {name} answers instead of {self._serving[task]}")
                self.quality = None  # it was of the other one
        self._serving = serving
        self._raise_alerts()

    async def judge(self) -> None:
        """Read the quality of the answers anew."""
        try:
            self.quality = await asyncio.to_thread(read_quality, self.watched.store, self.watched.models)
        except StoreError:
            return  # told by the database's own alert

    def _raise_alerts(self) -> None:
        found = {(alert.name, alert.about): alert for alert in find_alerts(self.standing())}
        now, steady_s = time.time(), time.monotonic()
        self._seen_s |= dict.fromkeys(found, steady_s)
        for key, alert in found.items():
            since = self.alerts[key][1] if key in self.alerts else now
            if key not in self.alerts:
                log_line("alert", level=logging.WARNING, name=alert.name, says=alert.says)
                self._mark("alert", f"{alert.name}: {alert.says}")
            self.alerts[key] = (alert, since)
        for key in set(self.alerts) - set(found):
            # What hovers around its threshold is one alert, not twenty.
            if key[0] not in AT_ONCE and steady_s - self._seen_s[key] < LINGER_SECONDS:
                continue
            alert, _ = self.alerts.pop(key)
            del self._seen_s[key]
            log_line("alert-over", name=alert.name)
            self._mark("over", f"{alert.name} is over")

    async def _regularly(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # a fault here must not end the watch over the others
                log_fault("overseer", error)
            await asyncio.sleep(seconds)

    async def _lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            late = max(0.0, loop.time() - due)
            self._lag_s = max(self._lag_s, late)
            self.watched.metrics.lag.observe(late)

    async def _ask_database(self) -> None:
        """One that hangs is away; it is not asked again before it has answered."""
        asking = self._asking or asyncio.create_task(asyncio.to_thread(self.watched.store.check))
        self._asking = asking
        done, _ = await asyncio.wait([asking], timeout=DATABASE_SECONDS)
        self.database_up = bool(done) and asking.exception() is None
        if done:
            self._asking = None

    def _bundles(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for task in TASKS:
            name = self.watched.models.of(task).name
            found[task] = f"{name.name} {name.version} ({name.sha256[:8]})"
        return found

    def _mark(self, kind: str, says: str) -> None:
        self.marks.append(Mark(time.time(), kind, says))


def memory_limit_bytes() -> int:
    """What the container may take, else what the machine has."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for place in _LIMITS:
        try:
            told = Path(place).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if told.isdigit():
            return min(whole, int(told))
    return whole
