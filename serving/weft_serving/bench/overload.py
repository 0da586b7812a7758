"""Three times what the server can do, for a while: what is answered, turned away, how soon all is well."""

import asyncio
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from weft_serving.bench.bill import bill
from weft_serving.bench.load import Crew, Round, Work
from weft_serving.bench.measure import Say, share_below
from weft_serving.bench.talk import Address

TIMES: Final = 3.0
_CALM_S: Final = 0.05
_GIVE_UP_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Overload:
    """`normal_after_s`: until three answers in a row came as soon as before the load."""

    capacity: Round
    load: Round
    offered: int
    memory_mib: tuple[float, float, float] | None  # before, most during, after
    normal_after_s: float

    def told(self) -> dict[str, Any]:
        """As `--json` prints it."""
        turned = self.load.turned_away_s
        made: dict[str, Any] = {
            "times_capacity": TIMES,
            "seconds": round(self.load.seconds, 1),
            "offered": self.offered,
            "answered": len(self.load.latencies_s),
            "turned_away": len(turned),
            "throughput_of_capacity": round(self.load.rps / self.capacity.rps, 3),
            "answered_p99_ms": round(1000 * share_below(self.load.latencies_s, 0.99), 1),
            "normal_after_s": round(self.normal_after_s, 2),
        }
        if turned:
            made["turned_away_p99_ms"] = round(1000 * share_below(turned, 0.99), 1)
            made["turned_away_most_ms"] = round(1000 * max(turned), 1)
        if self.memory_mib is not None:
            made["memory_mib"] = [round(each, 1) for each in self.memory_mib]
        return made


async def overload(
    work: Work, *, clients: int, seconds: float, address: Address, pid: int | None, say: Say
) -> Overload:
    """Find the capacity, offer three times as much, then ask one by one until answers come as before."""
    crew = await Crew.hire(address, work, clients)
    try:
        await crew.at_once(min(1.0, seconds))
        capacity = await crew.at_once(min(10.0, seconds))
    finally:
        crew.dismiss()
    alone = await Crew.hire(address, work, 1)
    try:
        usual = median((await alone.at_once(min(2.0, seconds))).latencies_s)
        rps = TIMES * capacity.rps
        say(f"overload: {rps:.0f} requests a second for {seconds:g} s, {TIMES:g} times what it answers")
        seen: list[float] = []
        watch = asyncio.create_task(_watch(pid, seen))
        before = None if pid is None else bill(pid).resident_mib
        load = await alone.at_rate(rps, seconds, seed=1, crowd=True)
        normal = await _until_normal(address, work, usual)
        watch.cancel()
        after = None if pid is None else bill(pid).resident_mib
    finally:
        alone.dismiss()
    memory = None if before is None or after is None else (before, max([*seen, before]), after)
    return Overload(capacity, load, len(load.latencies_s) + len(load.turned_away_s), memory, normal)


async def _until_normal(address: Address, work: Work, usual: float) -> float:
    start, quick = time.perf_counter(), 0
    alone = await Crew.hire(address, work, 1)
    try:
        while quick < 3 and time.perf_counter() - start < _GIVE_UP_S:
            asked = time.perf_counter()
            right = await alone.ask_once()
            quick = quick + 1 if right and time.perf_counter() - asked < 2 * usual else 0
            await asyncio.sleep(0 if right else _CALM_S)
    finally:
        alone.dismiss()
    return time.perf_counter() - start


async def _watch(pid: int | None, seen: list[float]) -> None:
    while pid is not None:
        seen.append(bill(pid).resident_mib)
        await asyncio.sleep(0.5)
