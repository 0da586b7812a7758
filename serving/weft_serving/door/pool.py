"""The bounded crew of threads that decode photos and run the models, off the event loop.

Work waits in one line a client, and the lines take turns: who sends too much waits behind himself. A job is
refused where it would have to wait longer than `longest_wait_s`, which is known before its body is read: jobs
ahead of it, times the running mean of the work of one, over the threads. See docs/load.md.
"""

import asyncio
import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from typing import Any, Final, TypeVar, cast

from weft_serving.door.caller import Caller, caller
from weft_serving.problems import BusyError

Answer = TypeVar("Answer")

_FIRST_GUESS_S: Final = 0.05  # of work in a job, until one was done
_SHARE_OF_NEW: Final = 1 / 16  # of each job's time in the running mean; more for the first ones
_TRIED: Final = 16  # of so many deadlines that an idle server would miss one is tried: the mean may be old
_LONGEST_RETRY_S: Final = 60
_STOPPING: Final = "this server is stopping; send it again in a moment"


class Pool:
    """`workers` threads. Its methods are called on one event loop; the jobs run in the threads.

    Args:
        waiting: Most jobs that wait for a thread.
        longest_wait_s: A job that would have to wait longer is refused; None: `waiting` alone decides.
        waited: Told the seconds that each job waited for its thread.
    """

    def __init__(
        self,
        *,
        workers: int,
        waiting: int,
        longest_wait_s: float | None = None,
        waited: Callable[[float], object] | None = None,
    ) -> None:
        self.workers = workers
        self.mean_work_s = _FIRST_GUESS_S
        self.refused = 0
        self.left = 0  # jobs that nobody waited for when their turn came
        self._most_waiting = waiting
        self._longest_wait_s = longest_wait_s
        self._waited = waited
        self._lines: OrderedDict[str, deque[_Ticket]] = OrderedDict()  # none of them empty
        self._waiting = 0
        self._running = 0
        self._done = 0
        self._too_short = 0  # deadlines that could not be kept though nobody else waited
        self._elsewhere: Counter[str] = Counter()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._turn = threading.Condition()  # guards all of the above

    @property
    def jobs(self) -> int:
        """Jobs running or waiting, and work elsewhere."""
        return self._running + self._waiting + self._elsewhere.total()

    def predict_wait_s(self, key: str = "") -> float:
        """How long a job of this client would wait if it came now."""
        with self._turn:
            return self._predict(key)

    def check_room(self) -> None:
        """Raise BusyError where a job would be refused; asked before a large body is read.

        One that is let in here is refused afterwards only if its wait has become more than twice the longest.
        """
        who = caller()
        with self._turn:
            self._check(who)
        who.admitted = True

    async def run(self, job: Callable[[], Answer]) -> Answer:
        """Run `job` in a thread.

        Raises:
            BusyError: It would wait too long.
            ClientGoneError: The caller left before the job's turn came; it is not run.
            TooLateError: The caller's deadline passed before.
        """
        who = caller()
        with self._turn:
            self._check(who)
            ticket = self._queue(job, who)
        return cast(Answer, await self._answer(ticket))

    async def run_in_turn(self, job: Callable[[], Answer]) -> Answer:
        """Like `run`, but never refused: for streams, whose senders are slowed down instead."""
        with self._turn:
            ticket = self._queue(job, caller())
        return cast(Answer, await self._answer(ticket))

    @contextmanager
    def elsewhere(self, *, at_work: bool = True) -> Generator[None, None, None]:
        """Count a part of a request's work that other threads do now: decoding while its body arrives.

        Args:
            at_work: False where it only waits; the time is then no work.
        """
        who = caller()
        started = time.perf_counter()
        self._elsewhere[who.key] += 1
        try:
            yield
        finally:
            self._elsewhere[who.key] -= 1
            if not self._elsewhere[who.key]:
                del self._elsewhere[who.key]
            if at_work:
                who.work_s += time.perf_counter() - started

    def close(self, *, within_s: float = 10.0) -> bool:
        """Drop what waits and let the threads finish; False where one of them still works after that time."""
        until = time.monotonic() + within_s
        with self._turn:
            self._closed = True
            for ticket in (ticket for line in self._lines.values() for ticket in line):
                ticket.tell(None, BusyError(_STOPPING, reason="stopping"))
            self._lines.clear()
            self._waiting = 0
            self._turn.notify_all()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _predict(self, key: str) -> float:
        """Seconds until a thread would take a job of this client."""
        busy = self._running + self._waiting + self._elsewhere.total()
        if busy < self.workers:
            return 0.0
        own = self._work_of(key)
        # Lines take turns: of each other line at most one job more than of one's own comes before.
        others = (self._lines.keys() | self._elsewhere.keys()) - {key}
        ahead = own + sum(min(self._work_of(other), own + 1) for other in others)
        return (ahead + 1) * self.mean_work_s / self.workers

    def _work_of(self, key: str) -> int:
        return len(self._lines.get(key, ())) + self._elsewhere[key]

    def _check(self, who: Caller) -> None:
        wait_s = self._predict(who.key)
        longest_s = math.inf if self._longest_wait_s is None else self._longest_wait_s
        if who.admitted:
            longest_s *= 2
        # A free thread takes a job even where none may wait.
        full = self._running + self._waiting >= self.workers + self._most_waiting
        if full or wait_s > longest_s:
            self.refused += 1
            raise BusyError(
                f"this would have to wait for {wait_s:.1f} s, longer than this server lets anyone wait; "
                "send it again when Retry-After has passed",
                retry_after=_retry_after(wait_s),
            )
        self._check_deadline(who, wait_s)

    def _check_deadline(self, who: Caller, wait_s: float) -> None:
        if who.deadline_s is None:
            return
        left_s = max(0.0, who.deadline_s - time.monotonic())
        need_s = wait_s + self.mean_work_s
        if need_s <= left_s:
            return
        if wait_s == 0.0:
            self._too_short += 1
            if self._too_short % _TRIED == 0:
                return
        self.refused += 1
        later = self.mean_work_s <= left_s  # it could be kept where nobody else waits
        raise BusyError(
            f"your deadline of {1000 * left_s:.0f} ms cannot be kept: about {math.ceil(1000 * need_s)} ms "
            f"are needed; {'send it again when Retry-After has passed' if later else 'allow more time'}",
            retry_after=_retry_after(wait_s) if later else None,
            reason="deadline",
        )

    def _queue(self, job: Callable[[], object], who: Caller) -> "_Ticket":
        who.check()
        if self._closed:
            raise BusyError(_STOPPING, reason="stopping")
        ticket = _Ticket(job, who)
        self._lines.setdefault(who.key, deque()).append(ticket)
        self._waiting += 1
        if self._running + self._waiting > len(self._threads) < self.workers:
            thread = threading.Thread(target=self._work, name=f"weft-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._turn.notify()
        return ticket

    async def _answer(self, ticket: "_Ticket") -> object:
        who = ticket.who
        who.when_left(lambda: self._drop(ticket))
        try:
            return await ticket.future
        finally:
            who.when_left(None)
            if not ticket.taken:  # cancelled while it waited
                self._drop(ticket)

    def _drop(self, ticket: "_Ticket") -> None:
        """Take a job out of its line, if it still waits."""
        with self._turn:
            line = self._lines.get(ticket.who.key)
            if ticket.taken or line is None or ticket not in line:
                return
            line.remove(ticket)
            if not line:
                del self._lines[ticket.who.key]
            self._waiting -= 1
            self.left += 1
        ticket.refuse()

    def _work(self) -> None:
        while (ticket := self._take()) is not None:
            started = time.perf_counter()
            if self._waited is not None:
                ticket.context.run(self._waited, started - ticket.queued)
            answer, error = ticket.run()
            seconds = time.perf_counter() - started
            who = ticket.who
            with self._turn:
                self._running -= 1
                self._done += 1
                self.mean_work_s += max(_SHARE_OF_NEW, 1 / (1 + self._done)) * (
                    who.work_s + seconds - self.mean_work_s
                )
                who.work_s = 0.0
            ticket.tell(answer, error)
            del (
                ticket,
                answer,
                error,
            )  # what they hold, a photo perhaps, must not stay until the next one comes

    def _take(self) -> "_Ticket | None":
        with self._turn:
            while True:
                while not self._lines:
                    if self._closed:
                        return None
                    self._turn.wait()
                key, line = next(iter(self._lines.items()))
                ticket = line.popleft()
                if line:
                    self._lines.move_to_end(key)
                else:
                    del self._lines[key]
                self._waiting -= 1
                if not (ticket.who.gone or ticket.who.late):
                    ticket.taken = True
                    self._running += 1
                    return ticket
                self.left += 1
                ticket.tell(None, None)


def _retry_after(wait_s: float) -> int:
    return min(_LONGEST_RETRY_S, max(1, math.ceil(wait_s)))


class _Ticket:
    """One job in line."""

    def __init__(self, job: Callable[[], object], who: Caller) -> None:
        self.who = who
        self.taken = False
        self.queued = time.perf_counter()
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._job: Callable[[], object] | None = job
        self.context = copy_context()

    def run(self) -> tuple[object, BaseException | None]:
        """Do it; called in a thread."""
        job, self._job = self._job, None
        assert job is not None
        try:
            return self.context.run(job), None
        except BaseException as error:
            return None, error

    def tell(self, answer: object, error: BaseException | None) -> None:
        """Settle it from a thread: with an answer, an error, or as one that nobody waits for."""
        settle = self.refuse if error is None and not self.taken else lambda: self._settle(answer, error)
        with suppress(RuntimeError):  # the loop is closed
            self.future.get_loop().call_soon_threadsafe(settle)

    def refuse(self) -> None:
        try:
            self.who.check()
        except Exception as error:
            self._settle(None, error)

    def _settle(self, answer: object, error: BaseException | None) -> None:
        if self.future.done():  # cancelled
            return
        if error is not None:
            self.future.set_exception(error)
        else:
            self.future.set_result(answer)
