"""The measurement: the floor and the server in turn, round by round, and what is made of the rounds."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from weft.cores import usable_cores
from weft_serving.bench.bill import Bill, bill, can_bill
from weft_serving.bench.floor import Floor
from weft_serving.bench.load import Crew, Round, Work, send_slowly
from weft_serving.bench.served import Served
from weft_serving.bench.talk import Address

# What the server does after its answers, such as writing them down, is on its bill as well.
_SETTLE_S: Final = 0.4
QUANTILES: Final = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100)  # percent
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Args:
        clients: Connections that ask at once.
        rounds: Of floor and server in turn.
        seconds: Of load in each round.
        mbit_per_s: The slow link's speed.
        takes: Photos sent over it.
        starts: Of the server, timed to their first right answer.
        overload_s: Seconds of three times what it can do.
    """

    clients: int = 16
    rounds: int = 5
    seconds: float = 5.0
    mbit_per_s: float = 40.0
    takes: int = 12
    starts: int = 5
    overload_s: float = 60.0


@dataclass(frozen=True, slots=True)
class FloorRound:
    """CPU milliseconds a request, with every core at it; `alone`: decode and run on one thread."""

    decode: float
    run: float
    receive: float
    search: float = 0.0
    alone: float = 0.0

    @property
    def total(self) -> float:
        return self.decode + self.run + self.receive + self.search

    @property
    def total_alone(self) -> float:
        return self.alone + self.receive + self.search


@dataclass(slots=True)
class Part:
    """The rounds of one kind of request; without a bill the server's CPU time is not known."""

    floors: list[FloorRound] = field(default_factory=list[FloorRound])
    rounds: list[Round] = field(default_factory=list[Round])
    cpu_ms: list[float] = field(default_factory=list[float])
    half: list[Round] = field(default_factory=list[Round])
    half_cpu_ms: list[float] = field(default_factory=list[float])

    def told(self) -> dict[str, Any]:
        """As `--json` prints it: medians over the rounds, p50 and p99 of all requests at half of capacity."""
        cpu = median(self.cpu_ms) if self.cpu_ms else None
        floor = median(each.total for each in self.floors) if self.floors else None
        waits = [wait for each in self.half for wait in each.latencies_s]
        made: dict[str, Any] = {
            "cpu_ms": _rounded(cpu),
            "floor_cpu_ms": _rounded(floor),
            "ratio": None if cpu is None or floor is None else round(cpu / floor, 3),
            "rps": _rounded(median(each.rps for each in self.rounds)),
            "p50_ms": _rounded(1000 * share_below(waits, 0.50)),
            "p99_ms": _rounded(1000 * share_below(waits, 0.99)),
            "p99_over_p50": round(share_below(waits, 0.99) / share_below(waits, 0.50), 2),
            "quantiles_ms": {
                f"{share:g}": _rounded(1000 * share_below(waits, share / 100)) for share in QUANTILES
            },
            "requests": sum(len(each.latencies_s) for each in self.rounds),
            "requests_at_half": len(waits),
            "turned_away": sum(len(each.turned_away_s) for each in (*self.rounds, *self.half)),
            "client_cpu_ms": _rounded(
                median(each.client_cpu_s * 1000 / len(each.latencies_s) for each in self.rounds)
            ),
            "rounds": {
                "cpu_ms": [_rounded(each) for each in self.cpu_ms],
                "cpu_ms_at_half": [_rounded(each) for each in self.half_cpu_ms],
                "rps": [_rounded(each.rps) for each in self.rounds],
            },
        }
        if self.floors:
            made["floor"] = {
                name: _rounded(median(getattr(each, name) for each in self.floors))
                for name in ("decode", "run", "receive", "search")
            }
            alone = median(each.total_alone for each in self.floors)
            made["floor_alone_cpu_ms"] = _rounded(alone)
            made["ratio_alone"] = None if cpu is None else round(cpu / alone, 3)
            made["rounds"]["floor_cpu_ms"] = [_rounded(each.total) for each in self.floors]
        return made


@dataclass(slots=True)
class Found:
    """All that was measured."""

    parts: dict[str, Part] = field(default_factory=dict[str, Part])
    last_byte_s: list[float] = field(default_factory=list[float])
    last_byte_cpu_ms: float | None = None
    first_answer_s: list[float] = field(default_factory=list[float])
    peak_mib: float | None = None
    overload: dict[str, Any] | None = None


def share_below(values: Sequence[float], share: float) -> float:
    """The value that `share` of all lie at or below; the nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def measure(
    plan: Plan,
    works: dict[str, Work],
    *,
    files: dict[str, Path],
    floor: Floor,
    address: Address,
    pid: int | None,
    say: Say,
) -> Found:
    """Measure each kind of work; `pid`: whose CPU time is billed, None where it is not ours to see.

    Args:
        works: By name; those named `photo` also go over the slow link.
        files: For each name the file that the floor decodes.
    """
    found = Found(parts={name: Part() for name in works})
    if pid is not None and not can_bill():
        pid = None
        say("CPU time and memory are read from /proc, which this system lacks: they stay unknown")
    searching = {name: work for name, work in works.items() if work.fields}
    for name, work in works.items():
        if name not in searching:
            await _all_rounds(plan, work, files[name], floor, address, pid, found.parts[name], say)
    if "photo" in works:
        say(f"photos over a link of {plan.mbit_per_s:g} Mbit/s, one at a time")
        before = _bill(pid)
        waits = await send_slowly(address, works["photo"], mbit_per_s=plan.mbit_per_s, takes=plan.takes + 1)
        found.last_byte_s = waits[1:]
        found.last_byte_cpu_ms = await _spent_ms(pid, before, len(waits))
    after = _bill(pid)
    found.peak_mib = None if after is None else after.peak_mib
    for name, work in searching.items():  # last: its finer decodes take memory that the others do not
        await _all_rounds(plan, work, files[name], floor, address, pid, found.parts[name], say)
    return found


async def _all_rounds(
    plan: Plan,
    work: Work,
    file: Path,
    floor: Floor,
    address: Address,
    pid: int | None,
    part: Part,
    say: Say,
) -> None:
    say(f"{work.name}: {plan.rounds} rounds of the floor and the server in turn")
    await _one_round(plan, work, address, pid, Part(), seconds=min(1.0, plan.seconds))  # warms up
    for turn in range(plan.rounds):
        part.floors.append(await floor_round(floor, work, file, plan))
        await _one_round(plan, work, address, pid, part, seconds=plan.seconds)
        await _half_round(plan, work, address, pid, part, seed=turn)


async def floor_round(floor: Floor, work: Work, file: Path, plan: Plan) -> FloorRound:
    seconds = min(1.0, plan.seconds / 2)
    cores = usable_cores()
    decode, run = await asyncio.to_thread(floor.work, file, seconds=seconds, at_once=cores)
    alone = sum(await asyncio.to_thread(floor.work, file, seconds=seconds, at_once=1))
    search = 0.0
    if work.fields:
        search = await asyncio.to_thread(floor.search, file, seconds=seconds, at_once=cores)
    bare = Work(work.name, work.bodies, [None] * len(work.bodies), work.bound, fields=work.fields)
    crew = await Crew.hire(floor.address, bare, plan.clients)
    try:
        before = floor.cpu_s()
        load = await crew.at_once(seconds)
        receive = 1000 * (floor.cpu_s() - before) / len(load.latencies_s)
    finally:
        crew.dismiss()
    return FloorRound(decode, run, receive, search, alone)


async def _one_round(
    plan: Plan, work: Work, address: Address, pid: int | None, part: Part, *, seconds: float
) -> None:
    crew = await Crew.hire(address, work, plan.clients)
    try:
        load, cpu_ms = await _billed(pid, crew.at_once(seconds))
    finally:
        crew.dismiss()
    part.rounds.append(load)
    part.cpu_ms += [] if cpu_ms is None else [cpu_ms]


async def _half_round(
    plan: Plan, work: Work, address: Address, pid: int | None, part: Part, *, seed: int
) -> None:
    """At half of what the rounds so far answered in a second."""
    crew = await Crew.hire(address, work, plan.clients)
    rps = median(each.rps for each in part.rounds) / 2
    try:
        load, cpu_ms = await _billed(pid, crew.at_rate(rps, max(plan.seconds, 3 / rps), seed=seed))
    finally:
        crew.dismiss()
    part.half.append(load)
    part.half_cpu_ms += [] if cpu_ms is None else [cpu_ms]


async def _billed(pid: int | None, load: Coroutine[Any, Any, Round]) -> tuple[Round, float | None]:
    """The load and the server's CPU milliseconds a request."""
    before = _bill(pid)
    done = await load
    return done, await _spent_ms(pid, before, len(done.latencies_s))


async def _spent_ms(pid: int | None, before: Bill | None, requests: int) -> float | None:
    await asyncio.sleep(_SETTLE_S)
    after = _bill(pid)
    return None if after is None or before is None else 1000 * (after.cpu_s - before.cpu_s) / requests


def _bill(pid: int | None) -> Bill | None:
    return None if pid is None else bill(pid)


async def time_starts(bundle: Path | None, variables: dict[str, str], work: Work, starts: int) -> list[float]:
    """Seconds from the process's start to its first right answer, each time anew."""
    times: list[float] = []
    for _ in range(starts):
        server = Served(bundle, variables)
        try:
            await server.wait(work)
        finally:
            server.close()
        times.append(server.first_answer_s)
    return times


def _rounded(value: float | None) -> float | None:
    """Four significant figures tell no less than was measured."""
    return None if value is None else float(f"{value:.4g}")
