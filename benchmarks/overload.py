"""What a service does with more than it can do: its capacity, half of it, three times it, and afterwards.

    python benchmarks/overload.py                      frames and photos, about five minutes
    python benchmarks/overload.py --only frame --seconds 10 --json
    python benchmarks/overload.py --plot overload.png

Capacity is what 16 clients get that ask again as soon as they are answered. Then requests come at random
times (a Poisson process) whatever was answered: at half of capacity, and at three times it for a minute. Then
capacity is measured again: the share that is answered is of the mean of both, and of answers a second of
the server's own CPU time as well, which other work on the machine changes less.
A request's time counts from when it was due. Clients have 16 addresses of their own and keep their
connections; one that is refused while it still sends stops sending, as curl does (`--stubborn`: it sends
to the end, as many libraries do). This process makes the load on the cores that the server works on: it goes
before the server where the system allows that (root, Linux), and states its CPU time, and how much later than
due it wrote its requests. That is in the times, and so is other work on the machine; on a busy one, as root:

    setsid sh -c 'echo -15 > /proc/self/autogroup; python benchmarks/overload.py'
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import uvloop

from weft_serving.bench.bill import bill
from weft_serving.bench.load import Work, arrivals
from weft_serving.bench.scenes import make_frames, make_photos
from weft_serving.bench.served import Served
from weft_serving.bench.talk import Address, form, post

CLIENTS: Final = 16
SCENES: Final = 8
PATIENCE_S: Final = 30.0
_NICENESS: Final = -10


class Line(asyncio.Protocol):
    """One connection, one request at a time; answers are read as far as their status."""

    def __init__(self, *, stubborn: bool) -> None:
        self._stubborn = stubborn
        self._got = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self.usable = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        self._answer = asyncio.get_running_loop().create_future()
        self._got.clear()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._got[:end]).lower()
        at = head.index(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._got) < end + 4 + length:
            return
        sending = self.transport.get_write_buffer_size() > 0
        if b"connection: close" in head or sending:
            self.usable = False
            if not (sending and self._stubborn):
                self.transport.abort()
        self._settle(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._settle(0)  # reset, or closed without an answer

    def _settle(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)


@dataclass
class Load:
    """Requests of one kind to one server, over as many connections as it takes."""

    address: Address
    requests: Sequence[bytes]
    stubborn: bool
    idle: list[Line] = field(default_factory=list[Line])
    opened: int = 0

    async def ask(self, number: int, sent: Callable[[], object] = lambda: None) -> int:
        """The status; 0 where the connection ended without one, or nothing came in half a minute.

        `sent` is called when the request has been written.
        """
        line = await self._line()
        answer = line.ask(self.requests[number % len(self.requests)])
        sent()
        try:
            status = await asyncio.wait_for(answer, PATIENCE_S)
        except TimeoutError:
            line.transport.abort()
            return 0
        if line.usable:
            self.idle.append(line)
        return status

    async def _line(self) -> Line:
        while self.idle:
            line = self.idle.pop()
            if line.usable:
                return line
        self.opened += 1
        seat = f"127.0.1.{1 + self.opened % CLIENTS}" if sys.platform == "linux" else "127.0.0.1"
        _, line = await asyncio.get_running_loop().create_connection(
            lambda: Line(stubborn=self.stubborn), self.address.host, self.address.port, local_addr=(seat, 0)
        )
        return line

    def close(self) -> None:
        for line in self.idle:
            line.transport.abort()


@dataclass(frozen=True)
class Asked:
    at_s: float  # when it was due, after the load began
    took_s: float  # from then to its answer
    status: int


@dataclass
class Phase:
    """What came of one load."""

    seconds: float
    asked: list[Asked]
    late_s: list[float]  # from due to written
    server_cpu_s: float
    own_cpu_s: float
    resident_mib: list[float]

    def times_ms(self, status: int) -> list[float]:
        return sorted(1000 * each.took_s for each in self.asked if each.status == status)

    @property
    def rps(self) -> float:
        return len(self.times_ms(200)) / self.seconds

    @property
    def cpu_s_per_answer(self) -> float:
        return self.server_cpu_s / max(1, len(self.times_ms(200)))


async def drive(load: Load, pid: int, *, seconds: float, rps: float | None, seed: int) -> Phase:
    """Ask at a rate, or, without one, as 16 clients that wait for their answers."""
    asked: list[Asked] = []
    late: list[float] = []
    memory: list[float] = []
    before, own, begun = bill(pid), time.process_time(), time.perf_counter()

    async def one(number: int, due: float) -> None:
        status = await load.ask(number, lambda: late.append(time.perf_counter() - due))
        asked.append(Asked(due - begun, time.perf_counter() - due, status))

    async def client(number: int) -> None:
        while (now := time.perf_counter()) < begun + seconds:
            await one(number, now)
            number += CLIENTS

    async def watch() -> None:
        while True:
            memory.append(bill(pid).resident_mib)
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(watch())
    if rps is None:
        await asyncio.gather(*(client(n) for n in range(CLIENTS)))
    else:
        tasks: list[asyncio.Task[None]] = []
        for number, due in enumerate(arrivals(rps, seconds, seed=seed)):
            await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(number, begun + due)))
        await asyncio.gather(*tasks)
    watching.cancel()
    took = time.perf_counter() - begun
    spent = bill(pid).cpu_s - before.cpu_s
    return Phase(max(seconds, took), asked, late, spent, time.process_time() - own, memory)


async def recover(load: Load, *, normal_ms: float) -> tuple[float, list[Asked]]:
    """Seconds after the load until every answer is 200 within `normal_ms`, asked ten times a second."""
    begun = time.perf_counter()
    asked: list[Asked] = []
    for number in range(50):
        due = begun + number / 10
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        status = await load.ask(number)
        asked.append(Asked(due - begun, time.perf_counter() - due, status))
    bad = [each.at_s for each in asked if each.status != 200 or 1000 * each.took_s > normal_ms]
    return (max(bad) + 0.1 if bad else 0.0), asked


def share_below(times: Sequence[float], share: float) -> float | None:
    return round(times[min(len(times) - 1, int(share * len(times)))], 1) if times else None


def told_of(phase: Phase) -> dict[str, Any]:
    right = phase.times_ms(200)
    return {
        "seconds": round(phase.seconds, 1),
        "offered_rps": round(len(phase.asked) / phase.seconds, 1),
        "answered_rps": round(phase.rps, 1),
        "p50_ms": share_below(right, 0.5),
        "p99_ms": share_below(right, 0.99),
        "server_cpu_ms_per_answer": round(1000 * phase.cpu_s_per_answer, 2),
        "own_cpu_cores": round(phase.own_cpu_s / phase.seconds, 2),
        "written_late_p99_ms": share_below(sorted(1000 * each for each in phase.late_s), 0.99),
        "memory_mib": round(max(phase.resident_mib), 1),
    }


def told_of_refusals(phase: Phase, capacity: Sequence[Phase]) -> dict[str, Any]:
    refused = phase.times_ms(503)
    strange = [each for each in phase.asked if each.status not in (200, 503)]
    return {
        "share_of_capacity": round(phase.rps / statistics.mean(each.rps for each in capacity), 3),
        "share_by_cpu_time": round(
            statistics.mean(each.cpu_s_per_answer for each in capacity) / phase.cpu_s_per_answer, 3
        ),
        "refused": len(refused),
        "neither_answered_nor_refused": len(strange),
        "refused_p50_ms": share_below(refused, 0.5),
        "refused_p99_ms": share_below(refused, 0.99),
        "refused_slowest_ms": round(refused[-1], 1) if refused else None,
        "refused_within_100_ms": round(sum(ms <= 100 for ms in refused) / max(1, len(refused)), 4),
        "memory_by_quarter_mib": quarters(phase.resident_mib),
    }


def quarters(measured: Sequence[float]) -> list[float]:
    """The median of each quarter."""
    edges = [round(n * len(measured) / 4) for n in range(5)]
    return [round(statistics.median(measured[a:b]), 1) for a, b in pairwise(edges) if b > a]


def go_first(niceness: int) -> None:
    with suppress(OSError, AttributeError):  # not for everybody, nor on every system
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


async def overload(name: str, bodies: Sequence[bytes], options: argparse.Namespace) -> dict[str, Any]:
    variables = dict(pair.split("=", 1) for pair in options.set)
    served = Served(None, variables)
    go_first(_NICENESS)
    try:
        work = Work(name, bodies, [None] * len(bodies), 0.0)
        await served.wait(work)
        requests = [post(served.address, "/v1/estimates", form(body, {})) for body in bodies]
        load = Load(served.address, requests, options.stubborn)
        await drive(load, served.pid, seconds=min(3.0, options.seconds), rps=None, seed=0)  # warm
        capacity = await drive(load, served.pid, seconds=options.seconds, rps=None, seed=1)
        half = await drive(load, served.pid, seconds=options.seconds, rps=0.5 * capacity.rps, seed=2)
        triple = await drive(load, served.pid, seconds=options.long, rps=3 * capacity.rps, seed=3)
        normal_ms = 1.5 * (share_below(half.times_ms(200), 0.99) or 0.0)
        recovery_s, after = await recover(load, normal_ms=normal_ms)
        again = await drive(load, served.pid, seconds=options.seconds, rps=None, seed=4)
        load.close()
    finally:
        served.close()
        go_first(0)  # the next server is not to inherit it
    half_told = told_of(half)
    half_told["ratio"] = round(half_told["p99_ms"] / half_told["p50_ms"], 2)
    half_told["not_answered"] = sum(each.status != 200 for each in half.asked)
    if options.plot is not None:
        plot(options.plot.with_stem(f"{options.plot.stem}-{name}"), name, half, triple, after)
    return {
        "capacity": told_of(capacity),
        "capacity_again": told_of(again),
        "half": half_told,
        "triple": told_of(triple) | told_of_refusals(triple, [capacity, again]),
        "recovery_s": round(recovery_s, 1),
        "normal_means_ms": round(normal_ms, 1),
    }


def plot(path: Path, name: str, half: Phase, triple: Phase, after: Sequence[Asked]) -> None:
    """Every request as a point: when it was due, how long it took, what came of it."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(11, 4.5))
    shift = 0.0
    for phase in (half.asked, triple.asked, after):
        for status, colour, told in ((200, "tab:blue", "answered"), (503, "tab:orange", "503")):
            points = [each for each in phase if each.status == status]
            axis.plot(
                [shift + each.at_s for each in points],
                [1000 * each.took_s for each in points],
                ".",
                markersize=2,
                color=colour,
                label=told if shift == 0 else None,
            )
        shift += max((each.at_s for each in phase), default=0.0) + 1
        axis.axvline(shift - 0.5, color="grey", linewidth=0.5)
    axis.set(yscale="log", xlabel="seconds", ylabel="ms from due to answer")
    axis.set_title(f"{name}: half of capacity, three times capacity, and after it")
    axis.legend(markerscale=5, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", choices=["frame", "photo"])
    parser.add_argument("--seconds", type=float, default=20.0, help="at capacity, and at half of it")
    parser.add_argument("--long", type=float, default=60.0, help="seconds at three times capacity")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="server's environment"
    )
    parser.add_argument("--stubborn", action="store_true", help="refused clients send to the end")
    parser.add_argument("--plot", type=Path, help="draw every request; the file's name gets -frame, -photo")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    random.seed(0)
    made = {"frame": make_frames, "photo": make_photos}
    told = {
        name: uvloop.run(overload(name, made[name](SCENES), options))
        for name in ([options.only] if options.only else made)
    }
    if options.json:
        print(json.dumps(told, indent=1))
        return
    for name, parts in told.items():
        for part, figures in parts.items():
            print(f"{name:6} {part:16} {figures if not isinstance(figures, dict) else json.dumps(figures)}")


if __name__ == "__main__":
    main()
