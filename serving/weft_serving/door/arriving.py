"""The small crew of threads that decode photos while their bodies arrive.

Each upload belongs to one thread from first to last, as `weft.photo_arriving` asks. While a piece of it
is decoded, those that come meanwhile wait on the event loop and are handed over together: a fast one costs
a few hand-overs, a slow one holds no thread.
"""

import asyncio
import math
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from typing import Final

from weft.errors import PhotoError
from weft.photo_arriving import ArrivingPhoto
from weft.photos import Arrived

Elsewhere = Callable[[], AbstractContextManager[None]]
Spent = Callable[[str, float], object]

_AFTER_S: Final = 0.03  # a body that is there sooner is decoded whole: that is the cheaper way
_LEAST_BYTES: Final = 65_536  # handed over at once


class Crew:
    """Threads that start when they are first needed. Its methods are called on one event loop.

    Args:
        threads: Most of them.
        most: Photos decoded at once while they arrive; others, all with 0, are decoded when they are there.
        after_s: A file that takes longer than this to arrive is decoded meanwhile.
        idle: Whether nothing else is done. Decoding in pieces costs a sixth more CPU time than decoding the
            whole: it buys an early answer where nobody else waits for that time.
        elsewhere: Entered while the crew works for the present request.
        spent: Told `arrive` and the seconds of decoding, once a photo.
    """

    def __init__(
        self,
        *,
        threads: int,
        most: int,
        after_s: float = _AFTER_S,
        idle: Callable[[], bool],
        elsewhere: Elsewhere,
        spent: Spent,
    ) -> None:
        self.after_s = after_s if most else math.inf
        self.idle = idle
        self.elsewhere = elsewhere
        self.spent = spent
        self.places = threading.Semaphore(most)
        self._most_threads = threads
        self._threads: list[_Thread] = []

    def begin(self, *, longest_px: int) -> "Arrival":
        """An upload that has just begun; see `weft.photos.decode_photo` for `longest_px`."""
        return Arrival(self, longest_px)

    def thread(self) -> "_Thread":
        """The one with the fewest uploads, a new one while there may be more."""
        if len(self._threads) < self._most_threads:
            self._threads.append(_Thread(f"weft-arriving-{len(self._threads)}"))
        return min(self._threads, key=lambda thread: thread.uploads)

    @property
    def uploads(self) -> int:
        """Uploads that threads hold something for."""
        return sum(thread.uploads for thread in self._threads)

    def close(self) -> None:
        for thread in self._threads:
            thread.close()


class Arrival:
    """One file on its way. Called on the event loop; `finish` or `abandon` it in any case."""

    def __init__(self, crew: Crew, longest_px: int) -> None:
        self._crew = crew
        self._longest_px = longest_px
        self._begun = time.monotonic()
        self._pieces: list[bytes] = []  # to be handed over
        self._bytes = 0  # of these
        self._photo: ArrivingPhoto | None = None
        self._thread: _Thread | None = None
        self._work: AbstractContextManager[None] | None = None  # the crew has something of it in hand
        self._scheduled = False
        self._finished: asyncio.Future[Arrived] | None = None
        self._seconds = 0.0
        self._gone = False
        self._fault: Exception | None = None
        self._context = copy_context()  # of the request: its caller, its trace

    @property
    def refused(self) -> PhotoError | None:
        """What the file is refused for, as soon as it is known."""
        return self._photo.refused if self._photo is not None else None

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the file."""
        if self._gone:
            return
        self._pieces.append(piece)
        self._bytes += len(piece)
        if self._thread is None:
            self._start()
        elif self._bytes >= _LEAST_BYTES:
            self._schedule()

    def _start(self) -> None:
        if time.monotonic() - self._begun >= self._crew.after_s and self._crew.idle():
            self._thread = self._crew.thread()
            self._thread.uploads += 1
            self._photo = ArrivingPhoto(longest_px=self._longest_px, places=self._crew.places)
            self._schedule()

    async def finish(self) -> Arrived:
        """What has come of it. `photo` is None where it was there too soon, or has to be decoded whole."""
        if self._fault is not None:
            raise self._fault
        if self._thread is None:
            pieces, self._pieces = self._pieces, []
            return Arrived(pieces, self._longest_px)
        self._finished = asyncio.get_running_loop().create_future()
        self._schedule()
        return await self._finished

    def abandon(self) -> None:
        """Free all that is held; harmless after `finish`."""
        self._pieces.clear()
        if self._gone or self._thread is None:
            return
        self._gone = True
        if self._work is None:
            self._leave()

    def _schedule(self) -> None:
        # After what else this turn of the loop brings: the end of a body often comes with its last piece.
        if self._thread is not None and self._work is None and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._hand_over, context=self._context)

    def _hand_over(self) -> None:
        self._scheduled = False
        photo, thread = self._photo, self._thread
        if photo is None or thread is None or self._work is not None or self._gone:
            return
        pieces, self._pieces, self._bytes = self._pieces, [], 0
        last = self._finished is not None
        loop = asyncio.get_running_loop()
        self._work = self._crew.elsewhere()
        self._work.__enter__()

        def work() -> None:
            started = time.perf_counter()
            try:
                for piece in pieces:
                    photo.feed(piece)
                done, error = (photo.finish() if last else None), None
            except Exception as caught:  # a fault of ours: it belongs to this request, not to the thread
                done, error = None, caught
            seconds = time.perf_counter() - started
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._handed_back, done, error, seconds, context=self._context)

        thread.put(work)

    def _handed_back(self, done: Arrived | None, error: Exception | None, seconds: float) -> None:
        self._seconds += seconds
        if self._work is not None:
            self._work.__exit__(None, None, None)
            self._work = None
        if self._gone:
            self._leave()
        elif error is not None or done is not None:
            self._gone, self._fault = True, error
            self._pieces.clear()
            self._leave()
            self._crew.spent("arrive", self._seconds)
            if self._finished is not None and not self._finished.done():
                _settle(self._finished, done, error)
        elif self._bytes >= _LEAST_BYTES or self._finished is not None:
            self._hand_over()

    def _leave(self) -> None:
        """Free what the thread holds of it; there, where it is held."""
        photo, thread, self._photo = self._photo, self._thread, None
        if photo is not None and thread is not None:
            thread.put(photo.abandon)
            thread.uploads -= 1


def _settle(future: "asyncio.Future[Arrived]", done: Arrived | None, error: Exception | None) -> None:
    if done is not None:
        future.set_result(done)
    elif error is not None:
        future.set_exception(error)


class _Thread:
    """Does what is put to it, in order."""

    def __init__(self, name: str) -> None:
        self.uploads = 0
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(5.0)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # what it holds, pieces of a photo, must not stay until the next one comes
