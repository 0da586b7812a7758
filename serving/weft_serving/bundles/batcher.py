"""Photos that wait at the same moment, weighed in one call of the graph where that is faster.

Nobody waits for company on an idle server: a photo that finds no call running goes at once. While calls run,
photos of one size and one model gather, and each call takes all that have, at most `most`; one that could
start may wait `budget_s` for more. Photos of several sizes would have to be padded, several photos of one
thing fill a call by themselves: they go alone. A model never shares a call with another: a swap mixes none.
"""

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median
from threading import Condition
from typing import Final

import numpy as np

from weft.bundle import Bundle
from weft.engine_names import NATIVE
from weft.weigher import Estimate, PhotoFinding, Prepared, Subject, Weigher, check_count, stack

_MOST: Final = 4  # of 2, 4 and 8 the best where any is: benchmarks/engines.py
_WORTH: Final = 1.1  # times as fast, or it is left: a neighbour's photo is waited for
_ROUNDS: Final = 5


@dataclass(slots=True, eq=False)
class _Asked:
    weigher: Weigher
    subject: Subject
    shape: tuple[int, ...] | None  # of the one photo; None: goes alone
    answer: Future[Estimate] = field(default_factory=Future[Estimate])
    since: float = field(default_factory=time.perf_counter)

    def goes_with(self, other: "_Asked") -> bool:
        return self.shape is not None and (self.weigher, self.shape) == (other.weigher, other.shape)


class Batcher:
    """Gathers what is asked at once. Used from the event loop; its threads start with the first question.

    Args:
        workers: Calls of the graph at once.
        budget_s: How long a photo may wait for company at most.
        called: Told the number of parcels in each call, and how long each of them had waited (s).
    """

    def __init__(
        self, *, workers: int, budget_s: float, called: Callable[[int, list[float]], object] | None = None
    ) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="weft-batch")
        self._budget_s = budget_s
        self._called = called
        self._gaining: weakref.WeakSet[Bundle] = weakref.WeakSet()
        self._line: deque[_Asked] = deque()
        self._running = 0
        self._changed = Condition()

    def learn(self, bundle: Bundle) -> None:
        """Measure whether this bundle gains by company; where that is not known, photos go one by one."""
        if bundle.card.weight is not None and photos_at_once(Weigher(bundle)) > 1:
            self._gaining.add(bundle)

    def gathers(self, bundle: Bundle) -> bool:
        """Whether to ask here, instead of in the job that prepares the photos."""
        return bundle in self._gaining

    async def weigh(
        self,
        weigher: Weigher,
        prepared: Sequence[Prepared],
        *,
        season: str | None = None,
        wrap: str | None = None,
        most: int = _MOST,
    ) -> Estimate:
        """As `Weigher.weigh`, with whoever asks at the same moment; another's fault is never one's own.

        Raises:
            PhotoError, InputError: As `Weigher.weigh`.
        """
        check_count(len(prepared))
        asked = _Asked(weigher, Subject(prepared, season, wrap), _shape(prepared))
        with self._changed:
            self._line.append(asked)
            self._changed.notify_all()
        # One turn a question: it takes along what else waits, and the turns of these find nothing.
        self._threads.submit(self._take_turn, most)
        return await asyncio.wrap_future(asked.answer)

    def close(self) -> None:
        """Answer what was asked, then stop."""
        self._threads.shutdown(wait=True)

    def _take_turn(self, most: int) -> None:
        together = self._gather(most)
        if not together:
            return
        try:
            _answer(together)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _gather(self, most: int) -> list[_Asked]:
        """The longest waiting and those that go with it; empty where an earlier turn took all."""
        with self._changed:
            together = self._pick(None, 1)
            if not together:
                return []
            first = together[0]
            together += self._pick(first, most - 1)
            until = first.since + self._budget_s
            while first.shape is not None and self._running and len(together) < most:
                left_s = until - time.perf_counter()
                if left_s <= 0 or not self._changed.wait(left_s):
                    break
                together += self._pick(first, most - len(together))
            self._running += 1
        if self._called is not None:
            at = time.perf_counter()
            self._called(len(together), [at - asked.since for asked in together])
        return together

    def _pick(self, like: _Asked | None, most: int) -> list[_Asked]:
        """Take at most so many out of the line, without those whom nobody waits for any more."""
        picked: list[_Asked] = []
        kept: deque[_Asked] = deque()
        while self._line and len(picked) < most:
            asked = self._line.popleft()
            if like is not None and not asked.goes_with(like):
                kept.append(asked)
            elif asked.answer.set_running_or_notify_cancel():
                picked.append(asked)
        self._line.extendleft(reversed(kept))
        return picked


def _answer(together: list[_Asked]) -> None:
    """Answer all of them; where that fails, each by itself, so that a fault finds whose it is."""
    try:
        found = together[0].weigher.weigh_many([asked.subject for asked in together])
    except Exception as error:
        if len(together) == 1:
            together[0].answer.set_exception(error)
            return
        for asked in together:
            _answer([asked])
        return
    for asked, estimate in zip(together, found, strict=True):
        asked.answer.set_result(estimate)


def _shape(prepared: Sequence[Prepared]) -> tuple[int, ...] | None:
    if len(prepared) != 1 or not prepared[0].finding.usable or prepared[0].pixels is None:
        return None
    return prepared[0].pixels.shape


def photos_at_once(weigher: Weigher) -> int:
    """How many photos are weighed faster in one call than one by one, measured here and now; 1: none.

    ONNX Runtime is not measured, which would delay every start by 0.2 s: on one thread it gains nothing from
    company (docs/engines.md).
    """
    section = weigher.card.weight
    if weigher.bundle.engine == NATIVE or section is None:
        return 1
    height, width = section.decode_px * 3 // 4, section.decode_px
    grey = np.full((height, width, len(section.bands)), 128, np.uint8)
    subject = Subject([Prepared(grey, 0.0, PhotoFinding(True, (), None))])
    alone, together = stack([subject]), stack([subject] * _MOST)
    seconds: dict[int, list[float]] = {1: [], _MOST: []}
    for _ in range(1 + _ROUNDS):  # the first ones are slower, and left out
        for count, inputs in ((1, alone), (_MOST, together)):
            begun = time.perf_counter()
            weigher.bundle.run(inputs)
            seconds[count].append((time.perf_counter() - begun) / count)
    gain = median(seconds[1][1:]) / median(seconds[_MOST][1:])
    return _MOST if gain >= _WORTH else 1
