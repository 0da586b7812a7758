"""Where a piece goes: expected value, the chance behind it, and a contamination that holds."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.line.account import Account, Mix
from weft.line.chance import Calibrated, chance, draw_shares
from weft.line.decide import Decider
from weft.line.description import read_description
from weft.line.records import Colour, Flag, Mass, Piece, Place, Share
from weft.line.rules import LaneRules, read_rules, rules_from_text
from weft.line.spread import Outcome, normal_spread

DEMO = Path("configs/lines/demo.yaml")
Margins = tuple[str, float, float, float]  # fibre, share, low, high

RULES = """
rest: rest
lanes:
- {name: cotton, take: cotton >= 95 %, ejector: e1, max_contamination: 5 %, price_per_kg: 0.6}
- {name: polyester, take: polyester >= 95 % and elastane < 2 %, ejector: e2, max_contamination: 5 %,
   price_per_kg: 0.35}
- {name: blends, take: cotton >= 20 % and polyester >= 20 %, ejector: e3, max_contamination: 10 %,
   price_per_kg: 0.2}
"""


def share(fibre: str, share: float, low: float, high: float) -> Share:
    return Share(fibre=fibre, share=share, low=low, high=high)


def piece(*shares: Margins, flags: tuple[Flag, ...] = (), colour: str | None = None, **fields: Any) -> Piece:
    grams = fields.pop("grams", 200.0)
    usual: dict[str, Any] = {
        "line": "demo",
        "number": 1,
        "seen_at": datetime(2026, 5, 4, tzinfo=UTC),
        "place": Place(first_mm=0, last_mm=600, left_mm=100, right_mm=500),
        "outline_mm": (),
        "area_cm2": 2_400,
        "pixels": 900,
        "voted": 800,
        "unknown": 0.02,
        "mass": Mass(grams=grams, low_grams=grams / 2, high_grams=2 * grams) if grams else None,
        "bundle_sha256": "0",
    }
    seen = Colour(name=colour, lightness=90, a=0, b=0) if colour else None
    made = tuple(share(*each) for each in shares)
    return Piece.model_validate({**usual, "shares": made, "flags": flags, "colour": seen, **fields})


@pytest.fixture
def rules() -> LaneRules:
    return rules_from_text(RULES)


def random_shares(rng: np.random.Generator) -> tuple[Share, ...]:
    """An estimate with margins, often near a lane's bound."""
    main = float(rng.choice([0.99, 0.97, 0.95, 0.93, 0.6]))
    width = float(rng.choice([0.01, 0.03, 0.08]))
    rest = 1 - main
    first, second = ("cotton", "polyester") if rng.random() < 0.5 else ("polyester", "cotton")
    return (
        share(first, main, max(0, main - width), min(1, main + width)),
        share(second, 0.8 * rest, max(0, 0.8 * rest - width), min(1, 0.8 * rest + width)),
        share("elastane", 0.2 * rest, 0, min(1, 0.2 * rest + width / 3)),
    )


def drawn_truth(shares: tuple[Share, ...], rng: np.random.Generator) -> dict[str, float]:
    """One of the compositions that the margins allow."""
    draws = draw_shares(shares, normal_spread(0.9))
    at = int(rng.integers(len(draws["cotton"])))
    return {fibre: float(values[at]) for fibre, values in draws.items()}


def test_each_share_of_the_draws_lies_inside_its_margins_as_often_as_stated() -> None:
    shares = (
        share("cotton", 0.6, 0.5, 0.66),
        share("polyester", 0.38, 0.3, 0.5),
        share("wool", 0.02, 0, 0.05),
    )
    draws = draw_shares(shares, normal_spread(0.9))

    for each in shares:
        values = draws[each.fibre]
        assert ((values >= each.low) & (values <= each.high)).mean() == pytest.approx(
            0.9, abs=0.02 + 0.05 * (each.low == 0)
        )
        assert np.median(values) == pytest.approx(each.share, abs=0.005)
    assert np.std(draws["cotton"] + draws["polyester"]) < np.std(draws["cotton"])


def test_a_sure_piece_goes_to_its_lane_and_says_why(rules: LaneRules) -> None:
    choice = Decider(rules).decide(piece(("cotton", 0.99, 0.975, 1.0), ("polyester", 0.01, 0, 0.02)))

    assert (choice.lane, choice.ejector) == ("cotton", "e1")
    assert choice.reason.startswith(
        "cotton 99 % (98 to 100) fits cotton >= 95 % with chance 1.00, needed 0.9"
    )
    assert choice.expected_value == pytest.approx(0.2 * 0.6, rel=0.02)


def test_a_doubtful_piece_goes_to_the_rest_and_says_what_it_lacked(rules: LaneRules) -> None:
    choice = Decider(rules).decide(piece(("cotton", 0.96, 0.9, 1.0)))

    assert (choice.lane, choice.ejector, choice.chance) == ("rest", None, None)
    assert "needed 0.95 for at most 5 % contamination; goes to the rest" in choice.reason


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("overlapping", "what is whose"),
        ("mixed", "clearly different"),
        ("unknown", "no textile"),
        ("cut", "edge"),
    ],
)
def test_a_flagged_piece_goes_to_the_rest(rules: LaneRules, flag: Flag, said: str) -> None:
    choice = Decider(rules).decide(piece(("cotton", 1.0, 0.99, 1.0), flags=(flag,)))

    assert choice.lane == "rest"
    assert choice.reason.startswith(f"flagged {flag}: ")
    assert said in choice.reason


def test_a_lane_gets_flagged_pieces_if_it_asks_for_them() -> None:
    asking = "rest: rest\nlanes:\n- {name: layers, take: mixed, max_contamination: 5 %, price_per_kg: 0.1}"
    decider = Decider(rules_from_text(asking))

    assert decider.decide(piece(("cotton", 1.0, 0.9, 1.0), flags=("mixed",))).lane == "layers"
    assert decider.decide(piece(("cotton", 1.0, 0.9, 1.0), flags=("mixed", "cut"))).lane == "rest"
    assert decider.decide(piece(("cotton", 1.0, 0.9, 1.0))).lane == "rest"


def test_a_lane_for_a_colour_gets_no_piece_without_one() -> None:
    lane = "{name: w, take: cotton >= 90 %, colour: white, max_contamination: 5 %, price_per_kg: 1}"
    decider = Decider(rules_from_text(f"rest: r\nlanes:\n- {lane}"))
    sure: Margins = ("cotton", 1.0, 0.98, 1.0)

    assert decider.decide(piece(sure, colour="white")).lane == "w"
    assert decider.decide(piece(sure, colour="black")).lane == "r"
    assert decider.decide(piece(sure)).lane == "r"


def test_no_composition_fits_no_lane_even_one_that_only_forbids() -> None:
    text = "rest: r\nlanes:\n- {name: dry, take: elastane < 2 %, max_contamination: 5 %, price_per_kg: 1}"
    choice = Decider(rules_from_text(text)).decide(piece())

    assert choice.lane == "r"
    assert "no composition could be told" in choice.reason


def test_of_two_lanes_the_one_worth_more_gets_it_if_the_rest_is_not_worth_more_still() -> None:
    text = """
rest: {name: rest, price_per_kg: REST}
lanes:
- {name: cheap, take: cotton >= 80 %, max_contamination: 5 %, price_per_kg: 0.2}
- {name: dear, take: cotton >= 95 %, max_contamination: 5 %, price_per_kg: 0.9}
"""
    sure: Margins = ("cotton", 1.0, 0.98, 1.0)

    assert Decider(rules_from_text(text.replace("REST", "0.1"))).decide(piece(sure)).lane == "dear"
    assert Decider(rules_from_text(text.replace("REST", "1.1"))).decide(piece(sure)).lane == "rest"
    doubtful: Margins = ("cotton", 0.95, 0.9, 1.0)
    assert Decider(rules_from_text(text.replace("REST", "0.1"))).decide(piece(doubtful)).lane == "cheap"


def test_a_lane_is_offered_only_where_its_ejector_reaches() -> None:
    description = read_description(DEMO)
    narrow = description.ejectors[0].model_copy(update={"right_mm": 250.0})
    reach = description.model_copy(update={"ejectors": (narrow, *description.ejectors[1:])})
    sure: Margins = ("cotton", 1.0, 0.98, 1.0)
    inside = piece(sure, place=Place(first_mm=0, last_mm=1, left_mm=0, right_mm=400))
    outside = piece(sure, place=Place(first_mm=0, last_mm=1, left_mm=300, right_mm=900))
    decider = Decider(read_rules(DEMO), description=reach)
    (lane,) = [each.name for each in decider.rules.lanes if each.ejector == narrow.name][:1] or [""]

    assert lane in {option.lane.name for option in decider.options(inside)}
    assert lane not in {option.lane.name for option in decider.options(outside)}


def test_a_value_without_a_mass_is_not_made_up(rules: LaneRules) -> None:
    choice = Decider(rules).decide(piece(("cotton", 1.0, 0.98, 1.0), grams=None))

    assert (choice.lane, choice.expected_value) == ("cotton", None)


def test_the_same_piece_gets_the_same_chance_again(rules: LaneRules) -> None:
    one = piece(("cotton", 0.97, 0.93, 0.99), ("polyester", 0.03, 0.01, 0.07))

    assert chance(rules.lane("cotton"), one) == chance(rules.lane("cotton"), one)


@given(
    st.floats(0.951, 1.0),
    st.floats(0, 0.3),
    st.floats(0, 0.3),
    st.floats(0.0, 1.0),
    st.sampled_from([0.8, 0.9]),
)
@settings(deadline=None)
def test_narrower_margins_never_make_a_piece_that_fits_less_likely_to(
    main: float, below: float, above: float, factor: float, coverage: float
) -> None:
    lane = rules_from_text(RULES).lane("cotton")

    def likely(width: float) -> float:
        margins = ("cotton", main, max(0.0, main - width * below), min(1.0, main + width * above))
        return chance(lane, piece(margins), coverage=coverage)

    assert likely(factor) >= likely(1.0)


@given(
    st.lists(st.tuples(st.floats(1, 2_000), st.floats(0, 1)), max_size=60), st.sampled_from([0.01, 0.05, 0.2])
)
@settings(deadline=None)
def test_the_expected_contamination_of_what_was_taken_never_passes_the_limit(
    pieces: list[tuple[float, float]], limit: float
) -> None:
    """In whatever order they come, over all of them and over the last container."""
    account = Account(limit, window_grams=5_000)
    grams = wrong = 0.0
    for each, likely in pieces:
        if likely >= account.needed(each):
            account.take(each, likely)
            grams, wrong = grams + each, wrong + each * (1 - likely)
        assert wrong <= limit * grams + 1e-6
        assert account.contamination <= limit + 1e-9


@given(
    st.lists(st.tuples(st.floats(1, 2_000), st.floats(0, 1)), max_size=60),
    st.floats(0.5, 1),
    st.floats(0, 0.06),
)
@settings(deadline=None)
def test_where_the_belt_is_worse_than_the_plan_no_more_than_its_credit_is_lost(
    pieces: list[tuple[float, float]], chance: float, contamination: float
) -> None:
    account = Account(0.05, Mix(chance, contamination), window_grams=5_000)
    credit, excess = account.credit_grams, 0.0
    for each, likely in pieces:
        if likely >= account.needed(each):
            account.take(each, likely)
            excess += each * (1 - likely - 0.05)
        assert excess <= credit + 1e-6
    assert credit <= 250


def test_a_lane_over_its_limit_recovers_by_itself() -> None:
    account = Account(0.05, Mix(0.9, 0.03))
    for _ in range(20):
        account.take(200, 0.8)  # as if rules had changed under it

    assert account.contamination > 0.05
    assert account.needed(200) == pytest.approx(0.95)
    for _ in range(200):
        account.take(200, 0.999)
    assert account.needed(200) < 0.9


def test_a_plan_opens_a_lane_from_its_first_piece_on() -> None:
    assert Account(0.05).needed(200) == pytest.approx(0.95)
    assert Account(0.05, Mix(0.8, 0.03)).needed(200) == pytest.approx(0.8)
    assert Account(0.05, Mix(0.97, 0.03)).needed(200) == pytest.approx(0.97)


@given(
    st.lists(st.tuples(st.floats(50, 500), st.floats(0.5, 1)), min_size=1, max_size=30),
    st.floats(0, 0.5),
    st.floats(50, 500),
)
@settings(deadline=None)
def test_surer_pieces_never_raise_what_the_next_one_needs(
    pieces: list[tuple[float, float]], more: float, grams: float
) -> None:
    usual, surer = Account(0.05), Account(0.05)
    for each, likely in pieces:
        usual.take(each, likely)
        surer.take(each, min(1.0, likely + more))

    assert surer.needed(grams) <= usual.needed(grams) + 1e-9


def test_a_lane_that_took_doubtful_pieces_asks_for_surer_ones() -> None:
    account = Account(0.05)
    for _ in range(200):
        account.take(200, 0.999)
    before = account.needed(200)
    for _ in range(12):
        account.take(200, 0.5)

    assert before < 0.5 < account.needed(200)


def test_what_was_not_blown_in_pays_for_nothing(rules: LaneRules) -> None:
    decider = Decider(rules)
    choices = [decider.decide(piece(("cotton", 1.0, 0.98, 1.0))) for _ in range(30)]
    assert decider.accounts["cotton"].needed(200) < 0.9
    for choice in choices:
        decider.missed(choice)

    assert decider.accounts["cotton"].needed(200) == pytest.approx(0.95)


@given(st.integers(0, 1_000_000))
@settings(max_examples=8, deadline=None)
def test_the_stated_contamination_holds_on_pieces_that_are_what_their_margins_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    decider = Decider(rules_from_text(RULES))
    wrong: dict[str, list[tuple[float, bool, float]]] = {}
    for _ in range(250):
        shares, grams = random_shares(rng), float(rng.lognormal(5.3, 0.4))
        choice = decider.decide(piece(*((s.fibre, s.share, s.low, s.high) for s in shares), grams=grams))
        if choice.lane != "rest" and choice.chance is not None:
            right = decider.rules.lane(choice.lane).takes(drawn_truth(shares, rng))
            wrong.setdefault(choice.lane, []).append((grams, not right, choice.chance))
    for lane, taken in wrong.items():
        grams = np.array([each[0] for each in taken])
        misses = np.array([each[1] for each in taken])
        doubt = 1 - np.array([each[2] for each in taken])
        limit = decider.rules.lane(lane).max_contamination
        luck = np.sqrt(grams**2 @ (doubt * (1 - doubt))) / grams.sum()
        assert grams @ doubt <= limit * grams.sum()  # in expectation, always
        assert grams @ misses / grams.sum() <= limit + 4 * luck


def recovered(noise: float) -> float:
    """Share of pure cotton that gets into its lane where the instrument errs by so much."""
    rng = np.random.default_rng(11)
    decider = Decider(rules_from_text(RULES))
    came = 0
    for _ in range(120):
        seen = float(np.clip(1 - abs(rng.normal(0, noise)), 0, 1))
        low, high = max(0.0, seen - 1.645 * noise), min(1.0, seen + 1.645 * noise)
        came += decider.decide(piece(("cotton", seen, low, high))).lane == "cotton"
    return came / 120


def test_a_surer_instrument_recovers_more() -> None:
    found = [recovered(noise) for noise in (0.002, 0.01, 0.02, 0.05)]

    assert found == sorted(found, reverse=True)
    assert found[0] == 1.0


def test_a_calibrated_chance_is_what_was_measured() -> None:
    rng = np.random.default_rng(2)
    said = rng.uniform(0, 1, 4_000)
    right = rng.random(4_000) < said**2  # the margins promise too much
    found = Calibrated(said, right, np.ones(4_000))

    for level in (0.2, 0.5, 0.8, 0.95):
        assert found(level) == pytest.approx(level**2, abs=0.1)
    steps = [found(level) for level in np.linspace(0, 1, 200)]
    assert steps == sorted(steps)


def outcomes(rng: np.random.Generator, truth: Mapping[str, float], count: int) -> list[Outcome]:
    """Pieces whose margins are three times as wide as their errors."""
    found: list[Outcome] = []
    for _ in range(count):
        cotton = float(np.clip(truth["cotton"] + rng.normal(0, 0.01), 0, 1))
        wide = 3 * 1.645 * 0.01
        cotton_share = share("cotton", cotton, max(0, cotton - wide), min(1, cotton + wide))
        other = share("polyester", 1 - cotton, max(0, 1 - cotton - wide), min(1, 1 - cotton + wide))
        found.append(Outcome((cotton_share, other), truth))
    return found


def test_pieces_of_known_composition_win_back_what_wide_margins_would_lose(rules: LaneRules) -> None:
    rng = np.random.default_rng(4)
    known = outcomes(rng, {"cotton": 1.0, "polyester": 0.0}, 80) + outcomes(
        rng, {"cotton": 0.9, "polyester": 0.1}, 80
    )
    doubted = piece(("cotton", 0.985, 0.936, 1.0), ("polyester", 0.015, 0.0, 0.064))

    assert Decider(rules).decide(doubted).lane == "rest"
    assert Decider(rules, outcomes=known).decide(doubted).lane == "cotton"
    assert Decider(rules, outcomes=known[:40]).decide(doubted).lane == "rest"  # too few to learn from
