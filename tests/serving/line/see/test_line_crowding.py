"""Patches of more than one piece are flagged; a garment with sleeves, a print or folds is not."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from weft_serving.line.see.crowding import Evidence, chance, crowding, evidence

MM = (6.0, 6.0)
Picture = NDArray[np.int8]  # 0 belt, else number of a cloth


def judged(picture: Picture, *, seed: int = 0) -> Evidence | None:
    """Evidence of a picture whose cloths differ in brightness and in colour, with grain and slow drifts."""
    rng = np.random.default_rng(seed)
    mask = picture > 0
    own = rng.normal(0, 1, (5, 7)) * np.array([0.15, *[0.15] * 6])
    slow = np.kron(rng.normal(0, 0.02, (20, 20, 7)), np.ones((8, 8, 1)))[: mask.shape[0], : mask.shape[1]]
    tint = own[picture] + slow + rng.normal(0, 0.02, (*mask.shape, 7))
    return evidence(mask, mask, tint[mask].astype(np.float32), mm=MM)


def flags(picture: Picture, *, seed: int = 0) -> list[str]:
    return list(crowding(judged(picture, seed=seed)))


def shirt(cloth: int = 1) -> Picture:
    picture = np.zeros((110, 120), np.int8)
    picture[10:95, 35:85] = cloth
    picture[10:40, 10:110] = cloth  # sleeves
    return picture


def side_by_side(gap: int) -> Picture:
    picture = np.zeros((150, 120), np.int8)
    picture[5:70, 10:70] = 1
    picture[70 + gap : 140, 40:110] = 2
    return picture


@pytest.mark.parametrize("seed", range(4))
def test_two_pieces_that_touch_are_flagged(seed: int) -> None:
    assert flags(side_by_side(0), seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_a_piece_on_another_is_flagged(seed: int) -> None:
    picture = np.zeros((150, 120), np.int8)
    picture[5:90, 10:80] = 1
    picture[60:145, 40:115] = 2

    assert flags(picture, seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_a_shirt_with_sleeves_is_one_piece(seed: int) -> None:
    assert flags(shirt(), seed=seed) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_print_is_no_second_piece(seed: int) -> None:
    picture = shirt()
    picture[50:66, 50:70] = 3

    assert flags(picture, seed=seed) == []


def test_trousers_are_one_piece() -> None:
    picture = np.zeros((130, 90), np.int8)
    picture[5:40, 15:75] = 1
    picture[40:125, 15:40] = picture[40:125, 50:75] = 1

    assert flags(picture) == []


def test_two_pieces_cost_less_to_cut_than_one_and_their_parts_are_rounder() -> None:
    two, one = judged(side_by_side(0)), judged(shirt())

    assert two is not None
    assert one is not None
    assert two.cost < one.cost
    assert two.rounder > one.rounder
    assert chance(two) > 0.9 > 0.3 > chance(one)


def test_what_is_too_small_or_too_dark_to_be_cut_is_not_judged() -> None:
    small = np.ones((4, 4), np.int8)
    assert judged(small) is None

    mask = shirt() > 0
    nothing = np.zeros((0, 7), np.float32)
    assert evidence(mask, np.zeros_like(mask), nothing, mm=MM) is None
    assert crowding(None) == []


def test_a_uniform_tint_without_any_noise_gives_finite_evidence() -> None:
    mask = shirt() > 0
    found = evidence(mask, mask, np.zeros((int(mask.sum()), 7), np.float32), mm=MM)

    assert found is not None
    assert np.isfinite(found).all()


def test_a_patch_of_any_size_is_judged_in_a_few_milliseconds() -> None:
    huge = np.ones((1_000, 640), np.int8)
    mask, tint = huge > 0, np.zeros((huge.size, 7), np.float32)
    start = time.thread_time()
    evidence(mask, mask, tint, mm=(1.5, 1.5))

    assert time.thread_time() - start < 0.5  # nearly all of it is counting 640,000 pixels
