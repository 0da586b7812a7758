"""Which sets of photos a net is judged on."""

import numpy as np

from weft_training.photo_sets import sets_of_subject


def asked(marked: list[bool], *, ever_marked: bool = True) -> dict[str, list[tuple[int, ...]]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for one in sets_of_subject(marked, ever_marked=ever_marked, rng=np.random.default_rng(0)):
        found.setdefault(one.mode, []).append(one.places)
    return found


def test_every_photo_is_asked_alone_and_all_of_them_together() -> None:
    found = asked([True] * 4)

    assert found["one"] == [(0,), (1,), (2,), (3,)]
    assert found["all"] == [(0, 1, 2, 3)]


def test_few_photos_are_fewer_than_all_and_never_the_same_twice() -> None:
    found = asked([False] * 12)["few"]

    assert {len(places) for places in found} == set(range(2, 10))
    assert all(len(set(places)) == len(places) for places in found)


def test_a_wrong_scale_is_asked_only_where_there_is_one() -> None:
    assert asked([True, False])["mismarked"] == [(0,), (0,)]


def test_a_mark_is_hidden_only_where_the_data_have_any() -> None:
    assert set(asked([False, False], ever_marked=False)) == {"one", "all"}
    hidden = [
        one
        for one in sets_of_subject([True] * 3, ever_marked=True, rng=np.random.default_rng(0))
        if one.mode == "unmarked"
    ]
    assert all(one.scale_factor == 0 for one in hidden)
    assert sorted(len(one.places) for one in hidden) == [1, 1, 1, 2, 3]


def test_one_photo_is_asked_once() -> None:
    assert asked([False], ever_marked=False) == {"one": [(0,)]}
