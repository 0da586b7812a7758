"""The load: clients that ask again once they are answered, that ask at a rate, and one on a slow link."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from weft.errors import BenchError
from weft_serving.bench.talk import (
    Address,
    Answer,
    HttpLine,
    Reader,
    SocketLine,
    dial,
    form,
    message,
    post,
    read_answer,
)  # fmt: skip

_SEATS: Final = 2_000  # different addresses of a crowd
PIECE_BYTES: Final = 16_384  # what a slow link hands over at once


@dataclass(frozen=True, slots=True)
class Work:
    """Requests as bytes, with the grams that are right for each.

    Args:
        expected: Grams by the bundle asked directly; None: any answer will do (the floor has no grams).
        bound: Largest relative difference of grams; the tenth that answers are rounded to comes on top.
    """

    name: str
    bodies: Sequence[bytes]
    expected: Sequence[float | None]
    bound: float
    stream: bool = False
    fields: dict[str, str] = field(default_factory=dict[str, str])
    pack: Callable[[Address, bytes], bytes] | None = None  # for servers that take photos in another way
    read: Reader = read_answer

    def requests(self, address: Address) -> list[bytes]:
        if self.stream:
            return [message(body) for body in self.bodies]
        if self.pack is not None:
            return [self.pack(address, body) for body in self.bodies]
        return [post(address, "/v1/estimates", form(body, self.fields)) for body in self.bodies]

    def check(self, number: int, answer: Answer) -> bool:
        """True if it is right, False if it was turned away in good order; a BenchError for anything else."""
        if answer.status == 503 and answer.retry_after_s:
            return False
        if answer.status != 200:
            raise BenchError(
                f"{self.name}: a request was answered {answer.status} ({answer.problem or 'no detail'}); "
                "measured are servers that answer right: ask with fewer --clients, or mend it"
            )
        want = self.expected[number]
        if want is None:
            return True
        if answer.grams is None or abs(answer.grams - want) > self.bound * want + 0.051:
            raise BenchError(
                f"{self.name}: answered {answer.grams} g, the bundle says {want:.2f} g within "
                f"{self.bound:g}; name the bundle that this server serves with --bundle"
            )
        return True


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of load saw: latencies in seconds, one for each request that was answered right.

    A wrong answer ends the measurement: a server that errs fast is not fast.
    """

    seconds: float
    latencies_s: list[float]
    client_cpu_s: float
    turned_away_s: list[float]  # latencies of 503 with Retry-After

    @property
    def rps(self) -> float:
        return len(self.latencies_s) / self.seconds


Line = HttpLine | SocketLine


async def open_line(address: Address, work: Work, seat: int) -> Line:
    line = await dial(address, seat=seat)
    if not work.stream:
        return HttpLine(line, work.read, lambda: dial(address, seat=seat))
    stream = SocketLine(line)
    await stream.greet(address)
    return stream


class Crew:
    """Open connections to one server, each with one request in flight at most."""

    def __init__(self, address: Address, work: Work, lines: list[Line]) -> None:
        self._address = address
        self._work = work
        self._requests = work.requests(address)
        self._lines = lines

    @classmethod
    async def hire(cls, address: Address, work: Work, clients: int) -> "Crew":
        """Connect, and ask once each: nobody's first request is measured."""
        made = cls(address, work, [await open_line(address, work, seat) for seat in range(clients)])
        try:
            await asyncio.gather(*(made._ask(line, n) for n, line in enumerate(made._lines)))
        except BaseException:
            made.dismiss()
            raise
        return made

    async def ask_once(self) -> bool:
        """One request by the first client; False where it was turned away."""
        return await self._ask(self._lines[0], 0) == 0

    async def _ask(self, line: Line, n: int) -> float:
        """Seconds to wait before this client may ask again: 0 where it was answered right."""
        number = n % len(self._requests)
        answer = await line.ask(self._requests[number])
        return 0.0 if self._work.check(number, answer) else answer.retry_after_s

    async def at_once(self, seconds: float) -> Round:
        """Every client asks again as soon as it is answered, or as told where it was turned away."""
        latencies: list[float] = []
        turned: list[float] = []
        until = time.perf_counter() + seconds

        async def client(n: int, line: Line) -> None:
            while (start := time.perf_counter()) < until:
                wait_s = await self._ask(line, n)
                (turned if wait_s else latencies).append(time.perf_counter() - start)
                n += len(self._lines)
                await asyncio.sleep(min(wait_s, max(0.0, until - time.perf_counter())))

        return await self._round(latencies, turned, [client(n, line) for n, line in enumerate(self._lines)])

    async def at_rate(self, rps: float, seconds: float, *, seed: int, crowd: bool = False) -> Round:
        """Requests come at random (a Poisson process), whatever was answered; waiting for a client counts.

        `crowd`: nobody waits; whoever finds all clients busy is a new one.
        """
        latencies: list[float] = []
        turned: list[float] = []
        idle: asyncio.Queue[Line] = asyncio.Queue()
        for line in [] if crowd else self._lines:
            idle.put_nowait(line)
        start = time.perf_counter()

        async def request(n: int, due: float) -> None:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            line = await open_line(self._address, self._work, n % _SEATS) if crowd else await idle.get()
            wait_s = await self._ask(line, n)
            (turned if wait_s else latencies).append(time.perf_counter() - due)
            line.close() if crowd else idle.put_nowait(line)

        dues = arrivals(rps, seconds, seed=seed)
        return await self._round(latencies, turned, [request(n, start + due) for n, due in enumerate(dues)])

    async def _round(
        self, latencies: list[float], turned: list[float], tasks: Sequence[Coroutine[Any, Any, None]]
    ) -> Round:
        start, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*tasks)
        if not latencies:
            raise BenchError(f"{self._work.name}: all requests were turned away; ask with fewer --clients")
        return Round(time.perf_counter() - start, latencies, time.process_time() - cpu, turned)

    def dismiss(self) -> None:
        for line in self._lines:
            line.close()


def arrivals(rps: float, seconds: float, *, seed: int) -> list[float]:
    """Times of a Poisson process, seconds from its start."""
    dice = random.Random(seed)
    times: list[float] = []
    at = dice.expovariate(rps)
    while at < seconds:
        times.append(at)
        at += dice.expovariate(rps)
    return times


async def send_slowly(address: Address, work: Work, *, mbit_per_s: float, takes: int) -> list[float]:
    """Seconds from a photo's last byte to its answer, over a link of this speed."""
    line = HttpLine(await dial(address))
    waits: list[float] = []
    requests = work.requests(address)
    try:
        for take in range(takes):
            number = take % len(requests)
            view = memoryview(requests[number])
            start = time.perf_counter()
            for at in range(0, len(view), PIECE_BYTES):
                piece = view[at : at + PIECE_BYTES]
                due = (
                    start + (at + len(piece)) * 8e-6 / mbit_per_s
                )  # when its last bit has come over the link
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await line.send(piece)
            sent = time.perf_counter()
            work.check(number, await line.answer())
            waits.append(time.perf_counter() - sent)
    finally:
        line.close()
    return waits
