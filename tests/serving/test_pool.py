"""The line before the threads: turns between clients, refusals by predicted wait, and who no longer waits."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from weft_serving.door.caller import Caller, call_for, check_caller, key_of, read_deadline
from weft_serving.door.pool import Pool
from weft_serving.problems import BusyError, ClientGoneError, InvalidRequestError, TooLateError


class Gate:
    """A job that holds a thread until it is opened."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self._open = threading.Event()

    def __call__(self) -> None:
        self.held.set()
        assert self._open.wait(20)

    def open(self) -> None:
        self._open.set()


async def asked(pool: Pool, who: Caller, job: Callable[[], Any]) -> Any:
    call_for(who)
    return await pool.run(job)


def ask(pool: Pool, who: Caller, job: Callable[[], Any]) -> "asyncio.Task[Any]":
    return asyncio.create_task(asked(pool, who, job))


async def hold(pool: Pool) -> tuple[Gate, "asyncio.Task[Any]"]:
    """Occupy the one thread of a pool."""
    gate = Gate()
    task = ask(pool, Caller("house"), gate)
    await asyncio.to_thread(gate.held.wait, 20)
    return gate, task


def one_thread(*, waiting: int = 100, longest_wait_s: float | None = None, mean_work_s: float = 0.1) -> Pool:
    pool = Pool(workers=1, waiting=waiting, longest_wait_s=longest_wait_s)
    pool.mean_work_s = mean_work_s
    return pool


def test_clients_take_turns_however_much_one_of_them_sends() -> None:
    async def scenario() -> list[str]:
        pool, done = one_thread(), list[str]()
        gate, held = await hold(pool)
        tasks = [ask(pool, Caller("flood"), lambda n=n: done.append(f"flood {n}")) for n in range(4)]
        await asyncio.sleep(0)
        tasks += [ask(pool, Caller("neighbour"), lambda n=n: done.append(f"neighbour {n}")) for n in range(2)]
        await asyncio.sleep(0)
        gate.open()
        await asyncio.gather(held, *tasks)
        assert pool.close()
        return done

    assert asyncio.run(scenario()) == [
        "flood 0",
        "neighbour 0",
        "flood 1",
        "neighbour 1",
        "flood 2",
        "flood 3",
    ]


def test_who_floods_is_refused_and_told_when_to_come_back_while_the_neighbour_is_let_in() -> None:
    async def scenario() -> None:
        pool = one_thread(longest_wait_s=1.0, mean_work_s=0.3)
        gate, held = await hold(pool)
        tasks = [ask(pool, Caller("flood"), lambda: None) for _ in range(3)]
        await asyncio.sleep(0)

        with pytest.raises(BusyError, match=r"would have to wait for 1\.2 s, longer than") as refused:
            await asked(pool, Caller("flood"), lambda: None)
        assert refused.value.retry_after == 2
        assert pool.refused == 1
        tasks.append(ask(pool, Caller("neighbour"), lambda: None))
        await asyncio.sleep(0)
        assert pool.jobs == 5  # the one that runs, three of the flood, the neighbour's
        gate.open()
        await asyncio.gather(held, *tasks)
        pool.close()

    asyncio.run(scenario())


def test_one_that_was_let_in_before_its_body_is_not_refused_for_a_little_more_wait() -> None:
    async def scenario() -> None:
        pool = one_thread(longest_wait_s=1.0, mean_work_s=0.4)
        gate, held = await hold(pool)
        early = Caller("slow uplink")
        call_for(early)
        pool.check_room()
        tasks = [ask(pool, Caller("slow uplink"), lambda: None) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(BusyError):
            await asked(pool, Caller("slow uplink"), lambda: None)
        tasks.append(ask(pool, early, lambda: None))
        gate.open()
        await asyncio.gather(held, *tasks)
        pool.close()

    asyncio.run(scenario())


def test_nothing_is_done_for_a_client_that_left() -> None:
    async def scenario() -> list[str]:
        pool, done = one_thread(), list[str]()
        gate, held = await hold(pool)
        who = Caller("a")
        task = ask(pool, who, lambda: done.append("for nobody"))
        await asyncio.sleep(0)
        who.leave()
        with pytest.raises(ClientGoneError):
            await task
        assert pool.jobs == 1
        gate.open()
        await held
        assert pool.left == 1
        pool.close()
        return done

    assert asyncio.run(scenario()) == []


def test_a_cancelled_request_leaves_the_line() -> None:
    async def scenario() -> None:
        pool = one_thread()
        gate, held = await hold(pool)
        task = ask(pool, Caller("a"), lambda: None)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert pool.jobs == 1
        gate.open()
        await held
        pool.close()

    asyncio.run(scenario())


def test_work_under_way_can_notice_that_nobody_waits() -> None:
    async def scenario() -> None:
        pool, who, gate = one_thread(), Caller("a"), Gate()

        def work() -> None:
            gate()
            check_caller()

        task = ask(pool, who, work)
        await asyncio.to_thread(gate.held.wait, 20)
        who.leave()
        gate.open()
        with pytest.raises(ClientGoneError):
            await task
        pool.close()

    asyncio.run(scenario())


def test_a_deadline_that_passes_in_line_ends_the_wait_and_one_that_cannot_be_kept_is_refused_at_once() -> (
    None
):
    async def scenario() -> None:
        pool = one_thread(longest_wait_s=5.0, mean_work_s=0.01)
        gate, held = await hold(pool)
        waiting = ask(pool, Caller("a", deadline_s=time.monotonic() + 0.1), lambda: None)
        await asyncio.sleep(0.15)
        pool.mean_work_s = 2.0
        with pytest.raises(BusyError, match="cannot be kept: about") as refused:
            await asked(pool, Caller("b", deadline_s=time.monotonic() + 1.0), lambda: None)
        assert refused.value.reason == "deadline"
        gate.open()
        with pytest.raises(TooLateError, match="allow more time"):
            await waiting
        await held
        pool.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("allowed_s", "advice", "retry_after"), [(0.5, "allow more time", None), (3, "again", 4)]
)
def test_a_deadline_that_cannot_be_kept_is_told_with_what_is_needed_and_whether_waiting_helps(
    allowed_s: float, advice: str, retry_after: int | None
) -> None:
    async def scenario() -> None:
        pool = one_thread(longest_wait_s=60.0, mean_work_s=0.001)
        gate, held = await hold(pool)
        waiting = ask(pool, Caller("a"), lambda: None)
        await asyncio.sleep(0)
        pool.mean_work_s = 2.0
        call_for(Caller("b", deadline_s=time.monotonic() + allowed_s))
        with pytest.raises(
            BusyError, match=r"your deadline of \d+ ms cannot be kept: about 6000 ms"
        ) as refused:
            pool.check_room()
        assert refused.value.retry_after == retry_after
        assert advice in str(refused.value)
        gate.open()
        await asyncio.gather(held, waiting)
        pool.close()

    asyncio.run(scenario())


def test_an_idle_server_learns_that_it_can_keep_a_deadline_after_all() -> None:
    async def scenario() -> tuple[int, int]:
        pool, answers = Pool(workers=1, waiting=9, longest_wait_s=1.0), list[object]()
        pool.mean_work_s = 30.0  # of what it did before, or a guess
        for _ in range(40):
            with suppress(BusyError):
                answers.append(await asked(pool, Caller("a", deadline_s=time.monotonic() + 20), lambda: 1))
        pool.close()
        return len(answers), pool.refused

    assert asyncio.run(scenario()) == (25, 15)


def test_streams_wait_for_their_turn_instead_of_being_refused() -> None:
    async def scenario() -> int:
        pool = one_thread(waiting=0, longest_wait_s=0.0)
        gate, held = await hold(pool)
        call_for(Caller("stream"))
        task = asyncio.create_task(pool.run_in_turn(lambda: 7))
        await asyncio.sleep(0)
        gate.open()
        await held
        found = await task
        pool.close()
        return found

    assert asyncio.run(scenario()) == 7


def test_work_elsewhere_counts_as_work_ahead_and_into_the_mean() -> None:
    async def scenario() -> None:
        pool, who = one_thread(mean_work_s=0.2), Caller("a")
        call_for(who)
        with pool.elsewhere():
            assert pool.predict_wait_s("a") == pytest.approx(0.4)
            time.sleep(0.02)
        assert pool.predict_wait_s("a") == 0
        assert who.work_s >= 0.02
        await pool.run(lambda: None)
        assert who.work_s == 0
        pool.close()

    asyncio.run(scenario())


def test_closing_refuses_what_waits_and_says_whether_a_thread_still_works() -> None:
    async def scenario() -> None:
        pool = one_thread()
        gate, held = await hold(pool)
        waiting = ask(pool, Caller("a"), lambda: None)
        await asyncio.sleep(0)
        assert not pool.close(within_s=0.01)
        with pytest.raises(BusyError, match="is stopping"):
            await waiting
        with pytest.raises(BusyError, match="is stopping"):
            await asked(pool, Caller("b"), lambda: None)
        gate.open()
        await held
        assert pool.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("client", "key"),
    [
        (("192.0.2.7", 5000), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5000), "2001:0db8:0001:0002"),
        (("2001:db8:1:2::9", 5001), "2001:0db8:0001:0002"),
        (("::ffff:192.0.2.7", 5000), "192.0.2.7"),
        (("fe80::1%eth0", 5000), "fe80:0000:0000:0000"),
        (None, ""),
    ],
)
def test_a_client_is_its_address_or_the_network_it_may_choose_addresses_in(client: Any, key: str) -> None:
    assert key_of(client) == key


@pytest.mark.parametrize("value", [b"", b"soon", b"-5", b"0", b"1.5", b"9" * 30, b"\xb2"])
def test_a_deadline_that_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="a whole number of milliseconds from 1 to"):
        read_deadline(value)


def test_clients_behind_a_trusted_proxy_have_lines_of_their_own() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(key_of(scope["client"]))

    async def ask(trusted: str) -> None:
        from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

        scope: Any = {
            "type": "http",
            "client": ("127.0.0.1", 5),
            "scheme": "http",
            "headers": [(b"x-forwarded-for", b"198.51.100.9, 192.0.2.7")],
        }
        await ProxyHeadersMiddleware(app, trusted)(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(ask("127.0.0.1"))
    asyncio.run(ask("10.0.0.0/8"))

    assert seen == [
        "192.0.2.7",
        "127.0.0.1",
    ]  # what the nearest proxy saw; what a client claims is not believed
