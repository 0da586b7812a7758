"""A challenger on trial: it answers the same photos and scans beside the one in service, and tells nobody.

Never in the way: a share of the answers is offered, only while a thread is free; what does not fit into a
short queue is dropped and counted. Only figures are kept, no photos.
"""

import queue
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, select

from weft.engine_names import NATIVE
from weft.errors import StoreError, WeftError
from weft_serving.bundles.comparing import Ask, Said, compare
from weft_serving.bundles.figures import BundleFigures
from weft_serving.bundles.models import Model, ServedTask, make_model
from weft_serving.store import Store
from weft_serving.tables import TrialRow, now
from weft_serving.watch.observe import log_fault

KEPT: Final = 10_000  # answers of a pair of bundles, the newest
_QUEUE: Final = 4  # answers that wait, with their photos: at most some 30 MB
_FLUSH_ROWS: Final = 50
_FLUSH_SECONDS: Final = 2.0
_WAIT_SECONDS: Final = 1.0  # for a free thread; then this answer is left out
_TIMED_EVERY: Final = 5  # both are asked again, one after the other, to compare what they cost


class TrialTools(NamedTuple):
    store: Store
    figures: BundleFigures
    idle: Callable[[], bool]  # whether a thread that answers requests has nothing to do


class _Case(NamedTuple):
    served: Model
    challenger: Model
    ask: Ask
    said: Said
    subject: str | None


class Trial:
    """One task's challenger and its worker. `offer` may be called from any thread; it costs microseconds."""

    def __init__(self, task: ServedTask, tools: TrialTools, *, share: float) -> None:
        self.task: ServedTask = task
        self.share = share
        self.challenger: Model | None = None
        self.since = now()
        # What became of the answers that were offered: compared, dropped because the server was busy, refused
        # or failed by the challenger, lost because the database did not take the figures.
        self.outcomes: dict[str, int] = dict.fromkeys(("compared", "busy", "refused", "failed", "lost"), 0)
        self._tools = tools
        self._cases: queue.Queue[_Case] = queue.Queue(_QUEUE)
        self._rows: list[TrialRow] = []
        self._flushed = time.monotonic()
        self._timed = 0
        self._worker: threading.Thread | None = None
        self._stop = threading.Event()

    def begin(self, model: Model) -> None:
        """Put a model on trial in place of the one before."""
        self.outcomes = dict.fromkeys(self.outcomes, 0)
        self.since = now()
        self.challenger = model
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, name=f"weft-trial-{self.task}", daemon=True)
            self._worker.start()

    def end(self) -> None:
        self.challenger = None

    def offer(self, served: Model, ask: Ask, said: Said, subject: str | None) -> None:
        """Have an answer compared, if a challenger is there and nobody has to wait for it.

        Args:
            served: The model that answered.
            ask: Asks any model the same; it holds on to the photos until then.
            said: What was answered.
            subject: Id of the estimate; None where it is not stored.
        """
        challenger = self.challenger
        if challenger is None or random.random() >= self.share or why_not(served, challenger) is not None:
            return
        if not self._tools.idle() or self._cases.full():
            self._count("busy")
            return
        with suppress(queue.Full):  # another thread was quicker
            self._cases.put_nowait(_Case(served, challenger, ask, said, subject))

    def close(self) -> None:
        self._stop.set()
        if self._worker is not None:
            self._worker.join()

    def _work(self) -> None:
        # At the usual priority: a thread of a lower one, put aside while it holds the interpreter's lock,
        # would hold up all the others.
        while not self._stop.is_set():
            with suppress(queue.Empty):
                self._compare(self._cases.get(timeout=0.2))
            if self._rows and time.monotonic() - self._flushed > _FLUSH_SECONDS:
                self._flush()
        self._flush()

    def _compare(self, case: _Case) -> None:
        if case.challenger is not self.challenger or not self._wait_for_idle():
            self._count("busy")
            return
        try:
            figures: dict[str, Any] = compare(case.said, case.ask(case.challenger))
            self._timed += 1
            if self._timed % _TIMED_EVERY == 1 and _in_this_thread(case):
                figures["cpu_ms"] = self._time(case)
        except WeftError as error:  # a scan that this bundle cannot take
            figures = {"refused": error.slug}
        except Exception as error:  # a fault of the challenger is what trials are for
            log_fault(f"trial-{self.task}", error)
            figures = {"failed": type(error).__name__}
        self._count(next((word for word in ("refused", "failed") if word in figures), "compared"))
        self._rows.append(
            TrialRow(
                task=self.task,
                at=now(),
                served_sha256=case.served.bundle.sha256,
                challenger_sha256=case.challenger.bundle.sha256,
                subject=case.subject,
                figures=figures,
            )
        )
        if len(self._rows) >= _FLUSH_ROWS:
            self._flush()

    def _wait_for_idle(self) -> bool:
        until = time.monotonic() + _WAIT_SECONDS
        while not self._tools.idle():
            if time.monotonic() > until or self._stop.wait(0.02):
                return False
        return True

    def _time(self, case: _Case) -> list[float]:
        """CPU milliseconds of the one in service and of the challenger; which comes first alternates."""
        pair = [make_model(model.bundle) for model in (case.served, case.challenger)]  # tell no stages
        order = (0, 1) if self._timed % (2 * _TIMED_EVERY) == 1 else (1, 0)
        taken = [0.0, 0.0]
        for place in order:
            started = time.thread_time()
            case.ask(pair[place])
            taken[place] = round((time.thread_time() - started) * 1000, 3)
        return taken

    def _flush(self) -> None:
        rows, self._rows, self._flushed = self._rows, [], time.monotonic()
        if not rows:
            return
        try:
            with self._tools.store.writing() as session:
                session.add_all(rows)
                session.flush()
                last = rows[-1]
                pair = (
                    TrialRow.served_sha256 == last.served_sha256,
                    TrialRow.challenger_sha256 == last.challenger_sha256,
                )
                newest = select(TrialRow.number).where(*pair).order_by(TrialRow.number.desc())
                oldest = session.scalar(newest.offset(KEPT).limit(1))
                if oldest is not None:
                    session.execute(delete(TrialRow).where(*pair, TrialRow.number <= oldest))
        except StoreError:
            self._count("lost", len(rows))

    def _count(self, outcome: str, number: int = 1) -> None:
        self.outcomes[outcome] += number
        self._tools.figures.trials.labels(self.task, outcome).inc(number)


def _in_this_thread(case: _Case) -> bool:
    """Whether a thread's own clock sees what both cost: other engines compute in threads of theirs."""
    return all(model.bundle.engine == NATIVE for model in (case.served, case.challenger))


def why_not(served: Model, challenger: Model) -> str | None:
    """What keeps two models from being compared on the same prepared photos; None: nothing."""
    if challenger.bundle.sha256 == served.bundle.sha256:
        return "it is the bundle in service itself"
    if challenger.takes == served.takes:
        return None
    return (
        f"photos are prepared for {_told(served)}, the challenger needs {_told(challenger)}: "
        "compare the two with `weft evaluate`"
    )


def _told(model: Model) -> str:
    section = model.bundle.card.weight
    assert section is not None  # only these take anything in particular
    return f"{section.decode_px} px and {', '.join(section.bands)}"
