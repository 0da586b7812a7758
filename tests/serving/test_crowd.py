"""What many connections bring at once, before any of it has been looked at."""

from collections.abc import Callable
from typing import Any

from weft_serving.door.connection import Crowd


class Loop:
    def __init__(self) -> None:
        self.later: list[Callable[[], object]] = []

    def call_soon(self, act: Callable[[], object]) -> None:
        self.later.append(act)


class One:
    """As much of a connection as a crowd looks at."""

    def __init__(self, key: str, loop: Loop) -> None:
        self.key = key
        self.loop = loop


def test_of_bodies_that_come_at_once_those_of_whoever_brings_the_most_are_refused() -> None:
    loop = Loop()
    greedy, neighbour = One("greedy", loop), One("neighbour", loop)
    crowd: Any = Crowd(10, burst_bytes=100)
    for one in (greedy, neighbour):
        assert crowd.enter(one, open_now=2)

    assert [crowd.bring(greedy, 30) for _ in range(4)] == [True, True, True, False]
    assert crowd.bring(neighbour, 40)
    assert len(loop.later) == 1
    loop.later[0]()  # what came has been looked at, and is counted elsewhere
    assert crowd.bring(greedy, 90)
