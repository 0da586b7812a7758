"""Batches made in threads: the same, in the same order, and no silent end."""

import threading
import time

import numpy as np
import pytest

from weft_training.ahead import made_ahead


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_in_order_and_the_same_whichever_thread_made_them(threads: int) -> None:
    def make(number: int) -> float:
        time.sleep(0.002 * (number % 3))
        return float(np.random.default_rng([7, number]).random())

    assert list(made_ahead(make, 12, threads=threads)) == [make(number) for number in range(12)]


def test_batches_are_made_while_the_step_runs_but_not_all_at_once() -> None:
    started: list[int] = []
    enough = threading.Event()

    def make(number: int) -> int:
        started.append(number)
        if len(started) >= 2:
            enough.set()
        return number

    made = made_ahead(make, 50, threads=1)
    next(made)

    assert enough.wait(5), "the second batch was not begun while the first was in use"
    time.sleep(0.05)
    assert len(started) <= 4
    made.close()


def test_an_error_in_a_thread_ends_the_epoch() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise OSError("the photo is gone")
        return number

    with pytest.raises(OSError, match="the photo is gone"):
        list(made_ahead(make, 9, threads=2))
