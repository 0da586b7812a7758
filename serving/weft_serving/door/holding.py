"""How many bytes of bodies are in memory, over all requests, and which bodies may be read on.

A body that would only wait for a thread need not wait in memory: beyond a quarter of the most bytes,
large bodies are read on only while there are fewer of them, read or being read, than threads and one;
the first of each client before the second of any, else the oldest first, so that no two of them can wait for
each other. TCP slows the others down. Who has not come after a second of that goes to the end while others
wait: a client may send a byte a second, or nothing more.

One client alone may fill the memory, as one request may be that large. Where another needs a part of it, the
client who holds the most gives up his largest body on its way, as long as he still holds more than the other
would: n clients who take what they can end at an nth each. Requests are refused where nobody holds more.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Protocol

from weft_serving.door.pool import Pool
from weft_serving.problems import BusyError

_PAUSE_SHARE: Final = 0.25
_TURN_S: Final = 1.0
_SPARE: Final = 1  # bodies beside as many as there are threads: the next one is there in time


class Body(Protocol):
    """One request's body, on its way or in memory."""

    key: str  # of the client
    held: int  # bytes of it in memory; kept by `Holding`

    def give_up(self) -> None:
        """Refuse the request with a BusyError; no more of it is read."""
        ...


@dataclass
class _Client:
    bytes: int = 0
    arriving: dict[Body, None] = field(default_factory=dict[Body, None])  # of these, some are in memory


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
        self._clients: dict[str, _Client] = {}
        self._arriving: dict[str, dict[Body, None]] = {}  # large bodies by client, the oldest first
        self._whole: dict[Body, None] = {}  # large bodies that have come, until their requests are answered
        self._held_up: dict[Body, asyncio.Future[None]] = {}
        self._turn: asyncio.TimerHandle | None = None  # runs while any are held up

    def take(self, body: Body, count: int) -> None:
        """Count more bytes of a body on its way; `ended`, if it comes, and `answered` have to follow.

        Raises:
            BusyError: They are too many, and no other client holds more than this one.
        """
        while self.bytes + count > self._most_bytes:
            victim = self._greediest(body.key, count)
            if victim is None:
                raise too_many()
            victim.give_up()
            self.answered(victim)
        client = self._clients.setdefault(body.key, _Client())
        client.arriving[body] = None
        client.bytes += count
        body.held += count
        self.bytes += count

    async def wait_to_read(self, body: Body) -> None:
        """Wait until the next piece of a large body may be read; `answered` has to follow."""
        self._arriving.setdefault(body.key, {}).setdefault(body)
        if self.bytes <= self._pause_bytes or body in self._first():
            return
        with self._pool.elsewhere(at_work=False):
            self._held_up[body] = asyncio.get_running_loop().create_future()
            if self._turn is None:
                self._turn = asyncio.get_running_loop().call_later(_TURN_S, self._next_turn)
            try:
                await self._held_up[body]
            finally:
                self._held_up.pop(body, None)

    def ended(self, body: Body) -> None:
        """Nothing more of it will be read; it is held until `answered`."""
        if client := self._clients.get(body.key):
            client.arriving.pop(body, None)
        if self._arrives_no_more(body):
            self._whole[body] = None

    def answered(self, body: Body) -> None:
        """Nothing is held of it any more."""
        self._arrives_no_more(body)
        self._whole.pop(body, None)
        if client := self._clients.get(body.key):
            client.arriving.pop(body, None)
            client.bytes -= body.held
            if not client.bytes and not client.arriving:
                del self._clients[body.key]
        self.bytes -= body.held
        body.held = 0
        self._let_on()

    def _greediest(self, key: str, count: int) -> Body | None:
        """The largest body on its way of the client who holds the most, if more than this one would."""
        own = count + (self._clients[key].bytes if key in self._clients else 0)
        richer = [client for client in self._clients.values() if client.arriving and client.bytes > own]
        if not richer:
            return None
        richest = max(richer, key=lambda client: client.bytes)
        return max(richest.arriving, key=lambda body: body.held)

    def _arrives_no_more(self, body: Body) -> bool:
        """Whether it did until now, as a large one."""
        line = self._arriving.get(body.key)
        if line is None or body not in line:
            return False
        del line[body]
        if not line:
            del self._arriving[body.key]
        return True

    def _first(self) -> list[Body]:
        """The large bodies that may be read on where not all may."""
        in_hand = Counter(body.key for body in self._whole)
        most = self._pool.workers + _SPARE
        places = most - len(self._whole)
        # Who has nothing in hand does not wait until others' work is done.
        places = max(places, 1 if any(key not in in_hand for key in self._arriving) else 0)
        first: list[Body] = []
        for number in range(most):  # of a client's bodies, with those in hand
            for key, line in self._arriving.items():
                if len(first) == places:
                    return first
                at = number - in_hand[key]
                first += islice(line, at, at + 1) if at >= 0 else ()
        return first

    def _next_turn(self) -> None:
        self._turn = None
        if not self._held_up:
            return
        for body in self._first():
            line = self._arriving[body.key] = self._arriving.pop(body.key)
            line[body] = line.pop(body)
        self._let_on()
        self._turn = asyncio.get_running_loop().call_later(_TURN_S, self._next_turn)

    def _let_on(self) -> None:
        if not self._held_up:
            return
        for body in list(self._held_up) if self.bytes <= self._pause_bytes else self._first():
            future = self._held_up.get(body)
            if future is not None and not future.done():
                future.set_result(None)


def too_many() -> BusyError:
    return BusyError("too many uploads are arriving at once; send it again in a moment", reason="bytes")
