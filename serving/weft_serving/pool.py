"""The bounded crew of threads that decode photos and run the models, off the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from weft_serving.problems import BusyError

Answer = TypeVar("Answer")


class Pool:
    """At most `workers` jobs at once and `waiting` in line; more are refused, not queued without end."""

    def __init__(self, *, workers: int, waiting: int) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="weft")
        self._most = workers + waiting
        self._jobs = 0

    @property
    def jobs(self) -> int:
        """Jobs running or waiting."""
        return self._jobs

    def check_room(self) -> None:
        """Raise BusyError where a new job would be refused; asked before a large body is read."""
        if self._jobs >= self._most:
            raise BusyError("more work is waiting than this server can do soon; send it again in a moment")

    async def run(self, job: Callable[[], Answer]) -> Answer:
        """Run `job` in a thread. A caller who goes away does not free its place before the thread is done."""
        self.check_room()
        return await asyncio.wrap_future(self._start(job))

    async def run_in_turn(self, job: Callable[[], Answer]) -> Answer:
        """Like `run`, but wait for room: for streams, whose senders are slowed down instead of refused."""
        while self._jobs >= self._most:
            await asyncio.sleep(0.01)
        return await asyncio.wrap_future(self._start(job))

    def _start(self, job: Callable[[], Answer]) -> Future[Answer]:
        loop = asyncio.get_running_loop()
        future = self._threads.submit(job)
        self._jobs += 1
        future.add_done_callback(lambda _: self._tell(loop))
        return future

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._done)

    def _done(self) -> None:
        self._jobs -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
