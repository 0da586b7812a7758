"""How many bytes of bodies are in memory, over all requests, and which bodies may be read on.

A body that would only wait for a thread need not wait in memory: beyond a quarter of the most bytes,
large bodies are read on only while there are fewer of them, read or being read, than threads and one;
the oldest first, so that no two of them can wait for each other. TCP slows the others down. Who has not come
after a second of that goes to the end while others wait: a client may send a byte a second, or nothing more.
Beyond the most bytes, requests are refused.
"""

import asyncio
from collections.abc import Hashable
from itertools import islice
from typing import Final

from weft_serving.door.pool import Pool
from weft_serving.problems import BusyError

_PAUSE_SHARE: Final = 0.25
_TURN_S: Final = 1.0
_SPARE: Final = 1  # bodies beside as many as there are threads: the next one is there in time


class Holding:
    """Called on one event loop.

    Args:
        most_bytes: Of all bodies together.
        pool: What the bodies are for; one that is held up counts there as work that waits.
    """

    def __init__(self, most_bytes: int, pool: Pool) -> None:
        self.bytes = 0
        self._most_bytes = most_bytes
        self._pause_bytes = _PAUSE_SHARE * most_bytes
        self._pool = pool
        self._arriving: dict[Hashable, None] = {}  # large bodies, the oldest first
        self._whole: set[Hashable] = set()  # large bodies that have come, until their requests are answered
        self._held_up: dict[Hashable, asyncio.Future[None]] = {}
        self._turn: asyncio.TimerHandle | None = None  # runs while any are held up

    def take(self, count: int) -> None:
        """Raise BusyError where these bytes are too many."""
        if self.bytes + count > self._most_bytes:
            raise BusyError(
                "too many uploads are arriving at once; send it again in a moment", reason="bytes"
            )
        self.bytes += count

    def release(self, count: int) -> None:
        """These bytes are no longer in memory."""
        self.bytes -= count
        self._let_on()

    async def wait_to_read(self, body: Hashable) -> None:
        """Wait until the next piece of a large body may be read; `ended` has to follow."""
        self._arriving.setdefault(body)
        if self._may_read(body):
            return
        with self._pool.elsewhere(at_work=False):
            self._held_up[body] = asyncio.get_running_loop().create_future()
            if self._turn is None:
                self._turn = asyncio.get_running_loop().call_later(_TURN_S, self._next_turn)
            try:
                await self._held_up[body]
            finally:
                self._held_up.pop(body, None)

    def ended(self, body: Hashable) -> None:
        """Nothing more of it will be read; it is held until `answered`."""
        if body in self._arriving:
            del self._arriving[body]
            self._whole.add(body)

    def answered(self, body: Hashable, held: int) -> None:
        """Nothing is held of it any more; `held` bytes were."""
        self._arriving.pop(body, None)
        self._whole.discard(body)
        self.release(held)

    def _may_read(self, body: Hashable) -> bool:
        if self.bytes <= self._pause_bytes:
            return True
        return body in self._first()

    def _first(self) -> list[Hashable]:
        places = self._pool.workers + _SPARE - len(self._whole)
        return list(islice(self._arriving, max(0, places)))

    def _next_turn(self) -> None:
        self._turn = None
        if not self._held_up:
            return
        for body in self._first():
            self._arriving[body] = self._arriving.pop(body)
        self._let_on()
        self._turn = asyncio.get_running_loop().call_later(_TURN_S, self._next_turn)

    def _let_on(self) -> None:
        for body, future in self._held_up.items():
            if not future.done() and self._may_read(body):
                future.set_result(None)
