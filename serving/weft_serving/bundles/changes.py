"""Bundles change while the service runs: load, prove, warm, swap; the one before is kept for a rollback.

All of it in one thread of its own, one change at a time, apart from the requests: they read one reference.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from weft.bundle import Bundle, open_bundle
from weft.bundle_files import FILES
from weft.card import Task
from weft.errors import BundleError
from weft.memory import give_back
from weft.stages import Stage
from weft_serving.bundles.figures import BundleFigures
from weft_serving.bundles.models import Models, ServedTask
from weft_serving.bundles.slot import Slot, SlotTools
from weft_serving.bundles.trial import Trial, TrialTools
from weft_serving.problems import BusyError
from weft_serving.settings import Settings
from weft_serving.store import Store
from weft_serving.watch.observe import log_fault

Answer = TypeVar("Answer")
LOOK_SECONDS: Final = 1.0  # between two looks at the files; a change is taken up after two
_IN_LINE: Final = 4  # changes, the one under way among them; each may hold a bundle of 60 MB


def open_served(
    data: bytes, source: str, task: Task, *, settings: Settings, learn: Callable[[Bundle], None]
) -> Bundle:
    """A bundle as this service runs it, and what company gains it."""
    bundle = open_bundle(data, source=source, task=task, threads=1, engine=settings.engine_of(task))
    learn(bundle)
    return bundle


class Changes:
    """Both tasks' bundles: what is in service, what was, what is on trial, and the ways to change it."""

    def __init__(
        self,
        settings: Settings,
        models: Models,
        store: Store,
        figures: BundleFigures,
        *,
        stage: Stage,
        idle: Callable[[], bool],
        learn: Callable[[Bundle], None],
    ) -> None:
        opened = partial(open_served, settings=settings, learn=learn)
        self._slots: dict[ServedTask, Slot] = {}
        for task in ("weight", "composition"):
            trial = Trial(task, TrialTools(store, figures, idle), share=settings.shadow_share)
            tools = SlotTools(models, figures, stage, opened)
            self._slots[task] = Slot(task, tools, file_of(settings, task), trial)
        self._one_at_a_time = ThreadPoolExecutor(1, thread_name_prefix="weft-bundles")
        self._places = threading.BoundedSemaphore(_IN_LINE)
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def slot(self, task: ServedTask) -> Slot:
        return self._slots[task]

    def trial(self, task: ServedTask) -> Trial:
        return self._slots[task].trial

    def run(self, change: Callable[[], Answer]) -> Future[Answer]:
        """Make a change after those before it. Raises BusyError where four are in line already."""
        if not self._places.acquire(blocking=False):
            raise BusyError("other bundles are being proven just now; send it again in a moment")
        future = self._one_at_a_time.submit(change)
        future.add_done_callback(lambda _: self._places.release())
        return future

    def tidy(self) -> None:
        """Give back what loading has left behind, once nobody holds the bundle's bytes any more."""
        with suppress(RuntimeError):  # the service stops: all of it goes
            self._one_at_a_time.submit(give_back)

    def start(self) -> None:
        """Watch the files, where there are any."""
        if any(slot.file is not None for slot in self._slots.values()):
            self._watcher = threading.Thread(target=self._watch, name="weft-bundle-files", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        self._one_at_a_time.shutdown(wait=True, cancel_futures=True)
        for slot in self._slots.values():
            slot.trial.close()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            for slot in self._slots.values():
                if slot.files_changed():
                    self._take(slot)

    def _take(self, slot: Slot) -> None:
        try:
            self._one_at_a_time.submit(slot.take_files).result()
            self.tidy()
        except Exception as error:  # whatever is in a file: the watch goes on, and the old one answers
            log_fault("bundle-files", error)
            told = f"what was put there cannot be loaded ({type(error).__name__}); see the log"
            slot.refuse(BundleError(told), from_file=True)


def file_of(settings: Settings, task: ServedTask) -> Path | None:
    """The operator's file of a task's bundle, there or not; None where only the package has one."""
    chosen = settings.weight if task == "weight" else settings.fibre
    if chosen is not None:
        return chosen
    return None if settings.bundles is None else settings.bundles / FILES[task]
