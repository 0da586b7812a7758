"""Bytes of bodies in memory: large bodies are read in turn, and none waits for another for ever."""

import asyncio
import random

import pytest

from weft_serving.door import holding as holding_module
from weft_serving.door.holding import Holding
from weft_serving.door.pool import Pool
from weft_serving.problems import BusyError


def test_beyond_a_quarter_only_the_oldest_bodies_are_read_on_and_the_next_follows_when_one_has_come() -> None:
    async def scenario() -> list[str]:
        pool = Pool(workers=1, waiting=9)
        holding, read = Holding(400, pool), list[str]()
        held: list[int] = []

        async def arrive(name: str, pieces: int) -> None:
            for _ in range(pieces):
                await holding.wait_to_read(name)
                holding.take(60)
                held.append(holding.bytes)
                read.append(name)
                await asyncio.sleep(0)
            holding.ended(name)
            await asyncio.sleep(0.01)  # it is worked on
            holding.answered(name, 60 * pieces)

        await asyncio.gather(*(arrive(name, 2) for name in "abcd"))
        assert holding.bytes == 0
        assert max(held) == 240  # two at once: one for the thread, one more
        return read

    read = asyncio.run(asyncio.wait_for(scenario(), 20))

    assert sorted(read) == list("aabbccdd")
    assert read.index("d") > max(n for n, name in enumerate(read) if name == "b")


def test_a_body_that_is_held_up_counts_as_waiting_work_and_leaves_when_its_client_does() -> None:
    async def scenario() -> None:
        pool = Pool(workers=1, waiting=9)
        holding = Holding(400, pool)
        holding.take(200)  # beyond the quarter; places for two
        for name in "ab":
            await holding.wait_to_read(name)
        third = asyncio.create_task(holding.wait_to_read("c"))
        await asyncio.sleep(0)
        assert pool.jobs == 1
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)
        holding.answered("c", 0)
        assert pool.jobs == 0
        holding.ended("a")
        await holding.wait_to_read("b")

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_bodies_that_do_not_come_make_place_for_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_module, "_TURN_S", 0.01)

    async def scenario() -> None:
        holding = Holding(400, Pool(workers=1, waiting=9))
        holding.take(200)
        for silent in "ab":
            await holding.wait_to_read(silent)  # and nothing more comes of it
        await holding.wait_to_read("c")
        holding.ended("c")
        holding.answered("c", 0)
        holding.answered("a", 200)
        await holding.wait_to_read("b")

    asyncio.run(asyncio.wait_for(scenario(), 20))


@pytest.mark.parametrize("turn_s", [1.0, 0.0])
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_no_order_of_pieces_refusals_and_departures_leaves_a_body_waiting(
    first: int, turn_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding_module, "_TURN_S", turn_s)

    async def scenario(dice: random.Random) -> None:
        pool = Pool(workers=dice.randint(1, 3), waiting=99)
        holding = Holding(dice.choice([400, 1000, 4000]), pool)

        async def arrive(name: int) -> None:
            held = 0
            try:
                for _ in range(dice.randint(1, 8)):
                    await holding.wait_to_read(name)
                    await asyncio.sleep(0)
                    count = dice.randint(0, 80)
                    holding.take(count)
                    held += count
                holding.ended(name)
                await asyncio.sleep(0)
            except BusyError:
                pass
            finally:
                holding.answered(name, held)

        tasks = [asyncio.create_task(arrive(name)) for name in range(dice.randint(2, 40))]
        for task in tasks:
            if dice.random() < 0.2:
                await asyncio.sleep(0)
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert (holding.bytes, pool.jobs) == (0, 0)

    for seed in range(first, first + 50):
        asyncio.run(scenario(random.Random(seed)))


def test_beyond_the_most_bytes_requests_are_refused() -> None:
    holding = Holding(100, Pool(workers=1, waiting=0))
    holding.take(100)

    with pytest.raises(BusyError, match="too many uploads") as refused:
        holding.take(1)

    assert refused.value.reason == "bytes"
