"""Bytes of bodies in memory: large bodies are read in turn, and none waits for another for ever."""

import asyncio
import random

import pytest

from weft_serving.door import holding as holding_module
from weft_serving.door.holding import Holding
from weft_serving.door.pool import Pool
from weft_serving.problems import BusyError


class Sent:
    """A body that is told when it is given up."""

    def __init__(self, key: str = "one client") -> None:
        self.key = key
        self.held = 0
        self.given_up = False

    def give_up(self) -> None:
        self.given_up = True


def test_beyond_a_quarter_only_the_oldest_bodies_are_read_on_and_the_next_follows_when_one_has_come() -> None:
    async def scenario() -> list[str]:
        pool = Pool(workers=1, waiting=9)
        holding, read = Holding(400, pool), list[str]()
        held: list[int] = []

        async def arrive(name: str, pieces: int) -> None:
            body = Sent()
            for _ in range(pieces):
                await holding.wait_to_read(body)
                holding.take(body, 60)
                held.append(holding.bytes)
                read.append(name)
                await asyncio.sleep(0)
            holding.ended(body)
            await asyncio.sleep(0.01)  # it is worked on
            holding.answered(body)

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
        a, b, c = Sent(), Sent(), Sent()
        holding.take(a, 200)  # beyond the quarter; places for two
        await holding.wait_to_read(a)
        await holding.wait_to_read(b)
        third = asyncio.create_task(holding.wait_to_read(c))
        await asyncio.sleep(0)
        assert pool.jobs == 1
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)
        holding.answered(c)
        assert pool.jobs == 0
        holding.ended(a)
        await holding.wait_to_read(b)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_bodies_that_do_not_come_make_place_for_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding_module, "_TURN_S", 0.01)

    async def scenario() -> None:
        holding = Holding(400, Pool(workers=1, waiting=9))
        a, b, c = Sent(), Sent(), Sent()
        holding.take(a, 200)
        for silent in (a, b):
            await holding.wait_to_read(silent)  # and nothing more comes of it
        await holding.wait_to_read(c)
        holding.ended(c)
        holding.answered(c)
        holding.answered(a)
        await holding.wait_to_read(b)

    asyncio.run(asyncio.wait_for(scenario(), 20))


@pytest.mark.parametrize("turn_s", [1.0, 0.0])
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_no_order_of_pieces_refusals_and_departures_leaves_a_body_waiting(
    first: int, turn_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding_module, "_TURN_S", turn_s)

    async def scenario(dice: random.Random) -> None:
        pool = Pool(workers=dice.randint(1, 3), waiting=99)
        most, clients = dice.choice([400, 1000, 4000]), dice.choice([1, 3, 40])
        holding = Holding(most, pool)

        async def arrive(name: int) -> None:
            body = Sent(f"client {name % clients}")
            try:
                for _ in range(dice.randint(1, 8)):
                    await holding.wait_to_read(body)
                    await asyncio.sleep(0)
                    if body.given_up:
                        break
                    holding.take(body, dice.randint(0, 80))
                    assert holding.bytes <= most
                holding.ended(body)
                await asyncio.sleep(0)
            except BusyError:
                pass
            finally:
                holding.answered(body)

        tasks = [asyncio.create_task(arrive(name)) for name in range(dice.randint(2, 40))]
        for task in tasks:
            if dice.random() < 0.2:
                await asyncio.sleep(0)
                task.cancel()
        came = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        assert not [each for each in came if isinstance(each, Exception)]
        assert (holding.bytes, pool.jobs) == (0, 0)

    for seed in range(first, first + 50):
        asyncio.run(scenario(random.Random(seed)))


def test_beyond_the_most_bytes_requests_are_refused() -> None:
    holding = Holding(100, Pool(workers=1, waiting=0))
    body = Sent()
    holding.take(body, 100)

    with pytest.raises(BusyError, match="too many uploads") as refused:
        holding.take(body, 1)

    assert refused.value.reason == "bytes"


def test_who_holds_the_most_gives_up_his_largest_body_for_a_neighbour_and_not_one_that_has_come() -> None:
    holding = Holding(100, Pool(workers=1, waiting=0))
    whole, large, small = (Sent("greedy") for _ in range(3))
    for body, count in ((whole, 50), (large, 30), (small, 20)):
        holding.take(body, count)
    holding.ended(whole)
    neighbour = Sent("neighbour")

    holding.take(neighbour, 25)

    assert [body.given_up for body in (whole, large, small, neighbour)] == [False, True, False, False]
    assert holding.bytes == 50 + 20 + 25
    assert (large.held, neighbour.held) == (0, 25)


def test_nobody_gives_up_anything_for_one_who_would_then_hold_more() -> None:
    holding = Holding(100, Pool(workers=1, waiting=0))
    one, other = Sent("one"), Sent("other")
    holding.take(one, 50)
    holding.take(other, 50)

    with pytest.raises(BusyError):
        holding.take(other, 1)

    assert not one.given_up


def test_of_many_greedy_clients_each_ends_at_his_part() -> None:
    holding = Holding(1200, Pool(workers=1, waiting=0))
    bodies = [Sent(f"client {number % 4}") for number in range(100)]
    refused = 0
    for _ in range(50):
        for body in bodies:
            try:
                if not body.given_up:
                    holding.take(body, 10)
            except BusyError:
                refused += 1

    held = {key: sum(body.held for body in bodies if body.key == key) for key in (b.key for b in bodies)}
    assert refused
    assert all(250 <= count <= 350 for count in held.values()), held


def test_the_first_body_of_each_client_is_read_before_the_second_of_any() -> None:
    async def scenario() -> None:
        holding = Holding(400, Pool(workers=1, waiting=9))  # two places
        greedy = [Sent("greedy") for _ in range(3)]
        holding.take(greedy[0], 200)
        for body in greedy[:2]:
            await holding.wait_to_read(body)
        await holding.wait_to_read(neighbour := Sent("neighbour"))
        for body in (*greedy[:2], neighbour):  # all places are taken by what has come
            holding.ended(body)
        held_up = asyncio.create_task(holding.wait_to_read(greedy[2]))
        await holding.wait_to_read(Sent("third"))  # has nothing in hand
        assert not held_up.done()
        held_up.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 0.9))  # before the next turn
