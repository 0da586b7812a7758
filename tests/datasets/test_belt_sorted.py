"""Which piece a pulse of air takes, and what the sorting was worth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from weft.line.description import LineDescription, NirCamera, read_description
from weft.line.rules import read_rules
from weft_datasets.belt.ejector import Fire, landed, pulse_of
from weft_datasets.belt.labels import class_of
from weft_datasets.belt.sorted import sorted_by, takes
from weft_datasets.belt.stream import Belt
from weft_datasets.belt.truth import PieceTruth

DEMO = Path(__file__).parents[2] / "configs" / "lines" / "demo.yaml"


@pytest.fixture(scope="module")
def line() -> LineDescription:
    return read_description(DEMO)


def still(line: LineDescription) -> LineDescription:
    """The same line with valves that do not jitter."""
    return line.model_copy(
        update={"ejectors": tuple(each.model_copy(update={"jitter_ms": 0.0}) for each in line.ejectors)}
    )


def piece(number: int, first_mm: float, shares: dict[str, float], *, grams: float = 200.0) -> PieceTruth:
    return PieceTruth(
        piece=number,
        first_mm=first_mm,
        last_mm=first_mm + 500.0,
        left_mm=200.0,
        right_mm=700.0,
        first_encoder=round(first_mm * 10),
        composition=shares,
        kind="t-shirt",
        colour="white",
        lab=(90.0, 0.0, 0.0),
        area_cm2=2_000.0,
        grams=grams,
        material=class_of(shares),
        mixed=False,
    )


def aimed(line: LineDescription, at: PieceTruth, name: str, *, late_ms: float = 0.0) -> Fire:
    """A pulse whose air is over the piece's middle, or that much later."""
    ejector = next(each for each in line.ejectors if each.name == name)
    middle = 0.5 * (at.first_mm + at.last_mm)
    half_mm = ejector.pulse_ms / 2_000.0 * line.belt.speed_mm_per_s
    early_mm = (ejector.delay_ms - late_ms) / 1_000.0 * line.belt.speed_mm_per_s
    ends = [line.encoder_at(middle + off - early_mm, ejector.position_mm) for off in (-half_mm, half_mm)]
    return Fire(name, round(ends[0]), round(ends[1]))


def test_a_pulse_over_a_pieces_middle_takes_it_and_leaves_its_neighbours(line: LineDescription) -> None:
    pieces = [piece(n, 700.0 * n, {"cotton": 1.0}) for n in (1, 2, 3)]

    where = landed(pieces, [aimed(line, pieces[1], "e1")], line, seed=0)

    assert where == {1: None, 2: "e1", 3: None}


def test_a_pulse_that_comes_too_late_takes_the_next_piece_instead(line: LineDescription) -> None:
    pieces = [piece(n, 700.0 * n, {"cotton": 1.0}) for n in (1, 2)]

    where = landed(pieces, [aimed(line, pieces[0], "e1", late_ms=700.0)], still(line), seed=0)

    assert where == {1: None, 2: "e1"}


@pytest.mark.parametrize(("first_mm", "taken"), [(150.0, "e1"), (240.0, None), (260.0, None)])
def test_a_piece_on_another_goes_with_it_where_the_air_meets_enough_of_it(
    line: LineDescription, first_mm: float, taken: str | None
) -> None:
    under, over = piece(1, 0.0, {"cotton": 1.0}), piece(2, first_mm, {"polyester": 1.0})

    where = landed([under, over], [aimed(line, under, "e1")], still(line), seed=0)

    assert where == {1: "e1", 2: taken}


@pytest.mark.parametrize(("behind_ms", "taken"), [(150.0, "e1"), (215.0, None), (250.0, None)])
def test_air_behind_the_middle_still_takes_a_piece_and_on_its_end_only_turns_it(
    line: LineDescription, behind_ms: float, taken: str | None
) -> None:
    one = piece(1, 0.0, {"cotton": 1.0})

    assert landed([one], [aimed(line, one, "e1", late_ms=behind_ms)], still(line), seed=0) == {1: taken}


def test_what_the_first_ejector_took_is_gone_for_the_second(line: LineDescription) -> None:
    one = piece(1, 0.0, {"cotton": 1.0})

    where = landed([one], [aimed(line, one, "e3"), aimed(line, one, "e1")], line, seed=0)

    assert where == {1: "e1"}


def test_an_ejector_that_reaches_half_a_belt_leaves_what_lies_on_the_other_half(
    line: LineDescription,
) -> None:
    narrow = line.ejectors[0].model_copy(update={"left_mm": 700.0})
    half = line.model_copy(update={"ejectors": (narrow, *line.ejectors[1:])})
    one = piece(1, 0.0, {"cotton": 1.0})

    assert landed([one], [aimed(line, one, "e1")], half, seed=0) == {1: None}


def test_valves_open_after_their_delay_and_jitter_about_it(line: LineDescription) -> None:
    rng = np.random.default_rng(0)
    starts = [pulse_of(Fire("e1", 10_000, 10_600), line, rng).from_mm for _ in range(500)]

    # 1,000 mm of travel, 15 ms of delay at 1 m/s, 400 mm downstream; 2 ms are 2 mm.
    assert np.mean(starts) == pytest.approx(615.0, abs=0.5)
    assert np.std(starts) == pytest.approx(2.0, abs=0.3)


def test_a_command_for_an_ejector_that_is_not_there_names_those_that_are(line: LineDescription) -> None:
    with pytest.raises(ValueError, match="has no ejector 'e9'; it has e1, e2, e3"):
        pulse_of(Fire("e9", 0, 10), line, np.random.default_rng(0))
    with pytest.raises(ValueError, match="hold encoder 5 lies before fire encoder 9"):
        pulse_of(Fire("e1", 9, 5), line, np.random.default_rng(0))


def test_purity_and_recovery_count_grams_and_the_rest_is_right_for_what_no_lane_takes(
    line: LineDescription,
) -> None:
    rules = read_rules(DEMO, line)
    pieces = [
        piece(1, 0.0, {"cotton": 1.0}, grams=300.0),
        piece(2, 700.0, {"cotton": 1.0}, grams=100.0),
        piece(3, 1_400.0, {"polyester": 1.0}, grams=100.0),
        piece(4, 2_100.0, {"wool": 1.0}, grams=500.0),
        piece(5, 2_800.0, {}, grams=50.0),
    ]

    found = sorted_by(pieces, {1: "e1", 3: "e1", 5: "e2"}, rules)

    cotton, rest = found.lanes["cotton"], found.lanes["rest"]
    assert (cotton.purity, cotton.recovery) == (pytest.approx(0.75), pytest.approx(0.75))
    assert (cotton.purity_by_pieces, cotton.recovery_by_pieces) == (0.5, 0.5)
    assert found.lanes["polyester"].purity == 0.0
    assert found.lanes["polyester"].recovery == 0.0
    assert found.lanes["blends"].purity is None
    assert rest.purity == pytest.approx(500 / 600)
    assert found.sorted_right == {"cotton": 0.5, "other": 1.0, "polyester": 0.0, "stranger": 0.0}
    assert found.sorted_right_by_mass["cotton"] == pytest.approx(0.75)
    assert found.as_json()["simulated"] is True


def test_pieces_that_touch_count_only_in_the_figure_for_all(line: LineDescription) -> None:
    rules = read_rules(DEMO, line)
    alone = piece(1, 0.0, {"cotton": 1.0})
    touching = replace(piece(2, 700.0, {"cotton": 1.0}), touches=(1,))

    found = sorted_by([alone, touching], {1: "e1"}, rules)

    assert found.sorted_right == {"cotton": 1.0}
    assert found.sorted_right_all == {"cotton": 0.5}


def test_whoever_knows_the_truth_and_aims_at_the_middle_sorts_a_whole_belt_right(
    line: LineDescription,
) -> None:
    rules = read_rules(DEMO, line)
    coarse = {"pixels": 8, "bands": 8, "lines_per_s": 10.0, "wavelength_nm": ()}
    nir = NirCamera.model_validate({**line.nir.model_dump(), **coarse})
    belt = Belt(line.model_copy(update={"nir": nir}), seconds=20, seed=9, tail_mm=1_200.0)
    list(belt.blocks())
    wanted = [(lane, one) for one in belt.truth for lane in rules.lanes if takes(rules, lane.name, one)]
    fires = [aimed(line, one, str(lane.ejector)) for lane, one in wanted]

    found = sorted_by(belt.truth, landed(belt.truth, fires, line, seed=0), rules)

    assert len(belt.truth) > 12
    assert set(found.sorted_right_all.values()) == {1.0}
    assert {lane.purity for lane in found.lanes.values()} == {1.0}


def test_an_ejector_without_a_lane_is_refused(line: LineDescription) -> None:
    with pytest.raises(ValueError, match="ejector 'e7' belongs to no lane"):
        sorted_by([piece(1, 0.0, {"cotton": 1.0})], {1: "e7"}, read_rules(DEMO, line))
