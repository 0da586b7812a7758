import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from weft.bundle import load_bundle
from weft.errors import InputError, WrongPhotosError
from weft.weigher import Estimate, PhotoFinding, Prepared, Subject, Weigher
from weft_serving.bundles.batcher import Batcher, photos_at_once


def photo(shade: int, height: int = 24, width: int = 32) -> list[Prepared]:
    return [Prepared(np.full((height, width, 3), shade, np.uint8), 0.0, PhotoFinding(True, (), None))]


class Held(Weigher):
    """A real weigher whose calls wait for a word, and are noted: (shades, ...) a call."""

    def __init__(self, path: Path) -> None:
        super().__init__(load_bundle(path, threads=1))
        self.calls: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def weigh_many(self, subjects: Sequence[Subject]) -> list[Estimate]:
        self.calls.append([_shade(subject) for subject in subjects])
        self.begun.release()
        assert self.go.acquire(timeout=20)
        return super().weigh_many(subjects)


def _shade(subject: Subject) -> int:
    pixels = subject.photos[0].pixels
    return -1 if pixels is None else int(pixels[0, 0, 0])


@pytest.fixture
def held(tiny_weight_bundle: Path) -> Held:
    return Held(tiny_weight_bundle)


async def begun(weigher: Held) -> None:
    assert await asyncio.to_thread(weigher.begun.acquire, timeout=20)


async def waiting(batcher: Batcher, count: int) -> None:
    while len(batcher._line) < count:
        await asyncio.sleep(0.001)


def running(scene: Callable[[Batcher], Any], **chosen: Any) -> Any:
    """Play a scene with a batcher of one thread that never waits for company, unless told otherwise."""
    batcher = Batcher(**{"workers": 1, "budget_s": 0.0, **chosen})

    async def play() -> Any:
        async with asyncio.timeout(60):
            return await scene(batcher)

    try:
        return asyncio.run(play())
    finally:
        batcher.close()


def test_an_idle_server_answers_at_once_however_long_photos_may_wait(held: Held) -> None:
    async def scene(batcher: Batcher) -> Estimate:
        held.go.release()
        return await batcher.weigh(held, photo(20))

    found = running(scene, budget_s=3600)  # an answer within the scene's minute: nothing was waited for

    assert found.grams == pytest.approx(300)
    assert held.calls == [[20]]


def test_what_waits_while_a_call_runs_goes_together_up_to_the_most(held: Held) -> None:
    async def scene(batcher: Batcher) -> list[Estimate]:
        first = asyncio.create_task(batcher.weigh(held, photo(1)))
        await begun(held)
        others = [asyncio.create_task(batcher.weigh(held, photo(shade))) for shade in range(2, 8)]
        await waiting(batcher, 6)
        held.go.release(9)
        return await asyncio.gather(first, *others)

    found = running(scene)

    assert held.calls == [[1], [2, 3, 4, 5], [6, 7]]
    assert [estimate.grams for estimate in found] == pytest.approx([100 + 10 * n for n in range(1, 8)])


def test_answers_are_those_of_asking_alone_bit_for_bit(tiny_weight_bundle: Path) -> None:
    weigher = Weigher(load_bundle(tiny_weight_bundle, threads=1))
    rng = np.random.default_rng(0)
    sizes = [(24, 32), (24, 32), (32, 24), (24, 32), (8, 9), (24, 32)] * 5
    asked = [
        (
            [Prepared(rng.integers(0, 256, (*size, 3), np.uint8), 0.3 * n, PhotoFinding(True, (), None))],
            season,
        )
        for n, (size, season) in enumerate(zip(sizes, ["summer", None, "winter"] * 10, strict=True))
    ]

    async def scene(batcher: Batcher) -> list[Estimate]:
        return await asyncio.gather(
            *(batcher.weigh(weigher, prepared, season=season) for prepared, season in asked)
        )

    sizes_called: list[int] = []
    found = running(scene, workers=2, budget_s=0.01, called=lambda count, _: sizes_called.append(count))

    assert found == [weigher.weigh(prepared, season=season) for prepared, season in asked]
    assert sum(sizes_called) == len(asked)


def test_other_sizes_several_photos_and_photos_of_no_use_go_alone(held: Held) -> None:
    spoilt = [Prepared(None, 0.0, PhotoFinding(False, ("broken",), None))]

    async def scene(batcher: Batcher) -> list[Estimate]:
        first = asyncio.create_task(batcher.weigh(held, photo(1)))
        await begun(held)
        asked = [photo(2), photo(3, 32, 24), photo(4), [*photo(5), *photo(6)], spoilt, photo(7, 32, 24)]
        others = [asyncio.create_task(batcher.weigh(held, each)) for each in asked]
        await waiting(batcher, 6)
        held.go.release(9)
        return await asyncio.gather(first, *others)

    found = running(scene)

    assert held.calls == [[1], [2, 4], [3, 7], [5], [-1]]
    assert found[5].grams is None


def test_two_models_never_share_a_call(held: Held, tiny_weight_bundle: Path) -> None:
    other = Held(tiny_weight_bundle)

    async def scene(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.weigh(held, photo(1)))
        await begun(held)
        pairs = [(held, 2), (other, 3), (held, 4), (other, 5)]
        others = [asyncio.create_task(batcher.weigh(model, photo(shade))) for model, shade in pairs]
        await waiting(batcher, 4)
        held.go.release(9)
        other.go.release(9)
        await asyncio.gather(first, *others)

    running(scene)

    assert held.calls == [[1], [2, 4]]
    assert other.calls == [[3, 5]]


def test_a_fault_of_one_is_not_its_neighbours(held: Held) -> None:
    async def scene(batcher: Batcher) -> list[Any]:
        first = asyncio.create_task(batcher.weigh(held, photo(1)))
        await begun(held)
        seasons = ["summer", "monsoon", "winter"]
        others = [
            asyncio.create_task(batcher.weigh(held, photo(2 + n), season=season))
            for n, season in enumerate(seasons)
        ]
        await waiting(batcher, 3)
        held.go.release(9)
        return await asyncio.gather(first, *others, return_exceptions=True)

    found = running(scene)

    assert [type(each) for each in found] == [Estimate, Estimate, InputError, Estimate]
    assert [found[1].grams, found[3].grams] == pytest.approx([100 + 20 + 50, 100 + 40 + 100])


def test_who_has_left_costs_nothing(held: Held) -> None:
    async def scene(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.weigh(held, photo(1)))
        await begun(held)
        gone, stays = (asyncio.create_task(batcher.weigh(held, photo(shade))) for shade in (2, 3))
        await waiting(batcher, 2)
        gone.cancel()
        await asyncio.wait([gone])
        held.go.release(9)
        await asyncio.gather(first, stays)

    running(scene)

    assert held.calls == [[1], [3]]


def test_a_photo_waits_for_company_while_another_call_runs(held: Held) -> None:
    async def scene(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.weigh(held, photo(1)))
        await begun(held)
        second = asyncio.create_task(batcher.weigh(held, photo(2), most=2))
        while batcher._line:  # the other thread has taken it, and waits
            await asyncio.sleep(0.001)
        third = asyncio.create_task(batcher.weigh(held, photo(3)))
        await begun(held)
        held.go.release(9)
        await asyncio.gather(first, second, third)

    running(scene, workers=2, budget_s=3600)

    assert held.calls == [[1], [2, 3]]


def test_who_waited_for_company_goes_when_no_call_runs_any_more(held: Held) -> None:
    async def scene(batcher: Batcher) -> None:
        first = asyncio.create_task(batcher.weigh(held, photo(1)))
        await begun(held)
        second = asyncio.create_task(batcher.weigh(held, photo(2)))
        while batcher._line:
            await asyncio.sleep(0.001)
        held.go.release(9)
        await asyncio.gather(first, second)

    running(scene, workers=2, budget_s=3600)

    assert held.calls == [[1], [2]]


def test_no_photo_at_all_is_refused_before_it_waits(held: Held) -> None:
    with pytest.raises(WrongPhotosError, match="no photo was sent"):
        running(lambda batcher: batcher.weigh(held, []))


def test_onnx_runtime_weighs_one_by_one_and_is_not_measured(held: Held) -> None:
    assert photos_at_once(held) == 1
    assert held.calls == []


def test_another_engine_is_measured(write_weight_bundle: Callable[..., Path], tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    bounds = dict.fromkeys(("grams", "low_grams", "high_grams"), 1e-4)
    admitted = {"bound": bounds, "measured": bounds, "cases": 2, "measured_on": "a test"}
    proof = {
        "engine": "onnxruntime", "bound": 1e-4, "measured": 1e-6, "cases": 2,
        "engines": {"openvino": admitted},
    }  # fmt: skip
    path = write_weight_bundle(tmp_path / "weight.onnx", proof=proof)

    assert photos_at_once(Weigher(load_bundle(path, threads=1, engine="openvino"))) in (1, 4)
