"""What the graph says of single photos: who hears it, and who is left out for it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image

from weft.bundle import load_bundle
from weft.card import AdviceRule
from weft.errors import CardError
from weft.quality import ADVICE, WHAT_TO_DO, Fault, in_order
from weft.weigher import Subject, Weigher

Writer = Callable[..., Path]


def rule(word: str, advise_above: float, refuse_above: float) -> dict[str, Any]:
    rates = dict.fromkeys(("hit_rate", "refusal_rate", "false_alarm_rate", "false_refusal_rate"), 0.5)
    return {
        "word": word,
        "advise_above": advise_above,
        "refuse_above": refuse_above,
        **rates,
        "faulty_photos": 10,
        "good_photos": 10,
        "simulated": True,
    }


# Of the tiny graph: bright photos (over 130, over 150 of 255) are screens, dim ones (under 70) are cut off.
RULES = [rule("screen", 0.65, 0.75), rule("cut_off", 0.65, 1.0)]


@pytest.fixture(scope="module")
def weigher(tmp_path_factory: pytest.TempPathFactory, write_weight_bundle: Writer) -> Weigher:
    path = write_weight_bundle(tmp_path_factory.mktemp("judging") / "w.onnx", weight={"advice": RULES})
    return Weigher(load_bundle(path, task="weight"))


def photo(level: int) -> Any:
    y, x = np.mgrid[:480, :640]
    pixels = np.where((x // 40 + y // 40) % 2, level + 30, level - 30).astype(np.uint8)
    from io import BytesIO

    buffer = BytesIO()
    Image.fromarray(pixels).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_a_photo_that_the_graph_calls_a_screen_has_no_say(weigher: Weigher) -> None:
    found = weigher.weigh(weigher.prepare_all([photo(100), photo(180)]))

    assert [(each.usable, each.advice) for each in found.photos] == [(True, ()), (False, ("screen",))]
    assert found.grams == pytest.approx(100 + 10 * 100, rel=0.01)  # of the first alone


def test_advice_below_the_refusal_is_said_and_the_photo_still_weighed_by(weigher: Weigher) -> None:
    found = weigher.weigh(weigher.prepare_all([photo(60)]))

    assert [(each.usable, each.advice) for each in found.photos] == [(True, ("cut_off",))]
    assert found.grams == pytest.approx(100 + 10 * 60, rel=0.01)


def test_where_all_photos_are_refused_there_are_no_grams(weigher: Weigher) -> None:
    found = weigher.weigh(weigher.prepare_all([photo(180), photo(200)]))

    assert found.grams is None
    assert found.warnings == ("no photo is usable; retake as advised",)
    assert [each.advice for each in found.photos] == [("screen",), ("screen",)]


def test_several_subjects_are_judged_as_if_each_were_asked_alone(weigher: Weigher) -> None:
    sets = [[100], [180], [100, 180], [90, 110, 60]]
    subjects = [Subject(weigher.prepare_all([photo(level) for level in levels])) for levels in sets]

    together = weigher.weigh_many(subjects)

    for subject, found in zip(subjects, together, strict=True):
        alone = weigher.weigh(subject.photos)
        assert found.photos == alone.photos
        assert found.grams == (None if alone.grams is None else pytest.approx(alone.grams, rel=1e-5))


def test_what_is_measured_and_what_is_learnt_stand_together_in_order(weigher: Weigher) -> None:
    found = weigher.weigh(weigher.prepare_all([photo(40), photo(100)]))

    assert found.photos[0].advice == ("dark",)  # not usable before the graph is asked: it says no more
    assert in_order(["cut_off", "dark", "screen", "dark"]) == ("dark", "screen", "cut_off")


def test_a_bundle_whose_graph_does_not_judge_says_nothing(tiny_weight_bundle: Path) -> None:
    plain = Weigher(load_bundle(tiny_weight_bundle))

    assert plain.weigh(plain.prepare_all([photo(180)])).photos[0].advice == ()


@pytest.mark.parametrize("count", [1, 3])
def test_a_card_that_names_another_number_of_faults_is_refused(
    tmp_path: Path, write_weight_bundle: Writer, count: int
) -> None:
    rules = [*RULES, rule("several", 0.5, 0.5)][:count]
    path = write_weight_bundle(tmp_path / "w.onnx", weight={"advice": rules})

    with pytest.raises(CardError, match=f"judges 2 faults, the card names {count}"):
        load_bundle(path)


def test_every_word_has_one_sentence_that_says_what_to_do() -> None:
    assert tuple(sorted(WHAT_TO_DO, key=ADVICE.index)) == ADVICE
    assert set(get_args(Fault)) < set(ADVICE)
    for sentence in WHAT_TO_DO.values():
        assert re.fullmatch(r"[A-Z][^.!]+: [a-z][^.!]+", sentence)


def test_the_rates_of_a_rule_are_shares() -> None:
    with pytest.raises(ValueError, match="hit_rate"):
        AdviceRule.model_validate(rule("screen", 0.5, 0.5) | {"hit_rate": 1.5})


SHIFT = {"strange_above": 1.5, "false_alarm_rate": 0.02, "then": "refuse", "subjects": 50}


@pytest.fixture(scope="module")
def wary(tmp_path_factory: pytest.TempPathFactory, write_weight_bundle: Writer) -> Callable[..., Weigher]:
    """A weigher whose tiny graph finds photos brighter than 150 of 255 strange."""

    def make(coverage: float | None = 0.9, **changes: Any) -> Weigher:
        path = tmp_path_factory.mktemp("wary") / "w.onnx"
        write_weight_bundle(path, coverage=coverage, weight={"shift": SHIFT | changes})
        return Weigher(load_bundle(path, task="weight"))

    return make


def test_a_photo_unlike_anything_trained_on_is_refused_and_has_no_say(wary: Callable[..., Weigher]) -> None:
    weigher = wary()
    found = weigher.weigh(weigher.prepare_all([photo(100), photo(180)]))

    assert [(each.usable, each.advice) for each in found.photos] == [(True, ()), (False, ("unfamiliar",))]
    assert found.grams == pytest.approx(100 + 10 * 100, rel=0.01)
    assert weigher.weigh([weigher.prepare(photo(180))]).grams is None


def test_where_strange_photos_are_weighed_the_interval_is_all_that_the_bundle_knows(
    wary: Callable[..., Weigher],
) -> None:
    weigher = wary(then="widen")
    known, strange = (weigher.weigh([weigher.prepare(photo(level))]) for level in (100, 180))

    assert (known.low_grams, known.high_grams) == (
        pytest.approx(0.8 * known.grams),
        pytest.approx(1.25 * known.grams),
    )
    assert strange.photos[0].usable
    assert strange.photos[0].advice == ("unfamiliar",)
    assert (strange.low_grams, strange.high_grams) == (200, 2400)  # the tiny bundle's range of masses
    assert strange.warnings == (
        "this is unlike anything the bundle was trained on; its interval is all that it knows, 200-2400 g",
    )


def test_photos_that_say_masses_too_far_apart_are_said_to_disagree(wary: Callable[..., Weigher]) -> None:
    weigher = wary(disagree_above=(0.5, 0.8, 9.0))
    pair = [photo(60), photo(110)]  # 700 and 1200 g: ln 1.7 = 0.54
    told = [
        weigher.weigh(weigher.prepare_all(files)).warnings
        for files in (pair, [*pair, photo(80)], [photo(70)])
    ]

    assert told == [
        ("the photos disagree more than photos of one thing do; send photos of one parcel",), (), (),
    ]  # fmt: skip


def test_a_bundle_that_does_not_judge_familiarity_refuses_nothing(tiny_weight_bundle: Path) -> None:
    weigher = Weigher(load_bundle(tiny_weight_bundle))

    assert weigher.weigh([weigher.prepare(photo(180))]).photos[0].advice == ()
