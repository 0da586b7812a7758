"""Batches made in threads while the step before them runs; the same batches whichever thread made them."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")

_WAITING = 2  # finished batches a thread may have waiting: enough for an uneven one, little memory


def made_ahead(make: Callable[[int], Made], count: int, *, threads: int) -> Iterator[Made]:
    """`make(0)` to `make(count - 1)`, in this order; `make` may draw only from what its number seeds.

    Threads, not processes: decoding, resizing and NumPy let go of the interpreter's lock, nothing is pickled,
    and containers with a small /dev/shm do not break it. 0 threads make each when it is asked for.
    """
    if threads == 0:
        yield from map(make, range(count))
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
    try:
        waiting: deque[Future[Made]] = deque()
        for number in range(count):
            waiting.append(pool.submit(make, number))
            if len(waiting) > threads * _WAITING:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # also where the loop was left by an error
