"""What a page is told of its line: all to whoever comes late, the newest to whoever is slow, in JSON."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from weft.line.description import LineDescription, read_description
from weft.line.lanes import LaneRules
from weft.line.records import Alarm, Decision, LaneCount, LineState
from weft.line.rules import read_rules, rules_from_text
from weft_serving import problems
from weft_serving.line.past.archive import Kept, LineArchive
from weft_serving.line.show import live, page
from weft_serving.line.show.live import PageSink
from weft_serving.line.show.live_figures import STEP_S, STEPS, Figures
from weft_serving.line.sinks import Evidence
from weft_serving.store import open_store

DEMO = Path(__file__).parents[4] / "configs/lines/demo.yaml"
MakeDecision = Callable[..., Decision]
MakeEvidence = Callable[..., Evidence]


@pytest.fixture(scope="module")
def description() -> LineDescription:
    return read_description(DEMO)


@pytest.fixture
def rules(description: LineDescription) -> LaneRules:
    return read_rules(DEMO, description)


@pytest.fixture
def sink(description: LineDescription, rules: LaneRules) -> Iterator[PageSink]:
    made = PageSink(description, lambda: rules, chance=lambda lane, piece: float(lane.name == "cotton"))
    yield made
    made.close()


def state(rules: LaneRules, **changes: Any) -> LineState:
    told: dict[str, Any] = {
        "line": "demo", "at": datetime(2026, 11, 22, 6, tzinfo=UTC), "running": True,
        "rules_version": rules.version, "bundle_sha256": "b" * 64, "trained_on": "simulated",
        "encoder": 5_000, "speed_mm_per_s": 1000.0, "pieces": 7, "pieces_per_min": 60.0, "kg_per_h": 300.0,
        "latency_p50_ms": 30.0, "latency_p99_ms": 45.0, "deadline_ms": 365.0, "reference_age_s": 60.0,
        "lanes": (LaneCount(lane="cotton", pieces=7, grams=900.0, fired=6, late=1),), "alarms": (),
    }  # fmt: skip
    return LineState(**(told | changes))


async def messages(sink: PageSink, count: int, do: Callable[[], None]) -> list[dict[str, Any]]:
    """The first `count` messages of one watcher, before which `do` was done."""
    watcher = sink.watch()
    assert watcher is not None
    await asyncio.to_thread(do)
    found: list[dict[str, Any]] = []
    async for message in watcher.messages():
        assert message is not None
        found.append(json.loads(message))
        if len(found) == count:
            break
    sink.leave(watcher)
    return found


def settle(sink: PageSink) -> None:
    until = time.monotonic() + 5
    while sink._taken and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.05)


def test_a_watcher_is_greeted_with_the_line_and_told_each_piece_with_its_picture(
    sink: PageSink, rules: LaneRules, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    def happen() -> None:
        sink.decided(line_decision(1, rules_version=rules.version), line_evidence(1))
        sink.stood(state(rules))

    hello, piece, now = asyncio.run(messages(sink, 3, happen))

    assert hello["type"] == "hello"
    assert hello["line"]["ejectors"][0] == {"name": "e1", "position_mm": 400, "left_mm": 0, "right_mm": 1000}
    assert [lane["name"] for lane in hello["rules"]["lanes"]] == ["cotton", "polyester", "blends"]
    assert piece["type"] == "piece"
    assert piece["piece"]["number"] == 1
    assert piece["picture"].startswith("/9g")  # a JPEG's first bytes in base 64
    assert piece["reason"] == "cotton 100 % is at least 95 %"
    assert now["type"] == "state"
    assert now["state"]["deadline_ms"] == 365.0
    assert now["lanes"]["cotton"] == {"pieces": 1, "grams": 250.0, "purity": 1.0, "recovery": 1.0}


def test_who_comes_later_is_told_what_was_and_no_more_than_the_last_pieces(
    sink: PageSink, rules: LaneRules, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    alarm = Alarm(line="demo", code="encoder-still", cause="it stands", since=datetime.now(UTC))
    for number in range(1, 100):
        sink.decided(line_decision(number), line_evidence(number))
    sink.alarmed(alarm)
    sink.stood(state(rules))
    settle(sink)

    (hello,) = asyncio.run(messages(sink, 1, lambda: None))

    assert [each["piece"]["number"] for each in hello["pieces"]] == list(range(60, 100))
    assert hello["alarms"][0]["code"] == "encoder-still"
    assert hello["now"]["state"]["pieces"] == 7
    assert hello["now"]["history"][-1]["pieces_per_min"] == 99 * 6


def test_a_withdrawn_command_moves_the_piece_to_the_rest_and_counts_it_once(
    sink: PageSink, rules: LaneRules, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    sink.decided(line_decision(1), line_evidence(1))
    sink.decided(line_decision(2), line_evidence(2))
    sink.decided(line_decision(2, lane="rest", wanted="cotton", outcome="held"), line_evidence(2))
    settle(sink)

    (hello,) = asyncio.run(messages(sink, 1, lambda: None))

    assert [(each["piece"]["number"], each["outcome"]) for each in hello["pieces"]] == [
        (1, "fired"),
        (2, "held"),
    ]
    lanes = hello["now"]["lanes"]
    assert (lanes["cotton"]["pieces"], lanes["rest"]["pieces"]) == (1, 1)
    assert lanes["cotton"]["recovery"] == 0.5


def test_rules_that_change_are_told_before_the_first_piece_that_they_decided(
    description: LineDescription, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    text = "rest: rest\nlanes:\n  - {name: wool, take: wool >= 80 %, max_contamination: 5 %}\n"
    old, new = read_rules(DEMO, description), rules_from_text(text)
    current = [old]
    sink = PageSink(description, lambda: current[0], chance=lambda lane, piece: 1.0)

    def happen() -> None:
        current[0] = new
        sink.decided(line_decision(1, lane="wool", rules_version=new.version), line_evidence(1))

    found = asyncio.run(messages(sink, 3, happen))
    sink.close()

    assert [message["type"] for message in found] == ["hello", "rules", "piece"]
    assert found[1]["version"] == new.version
    assert found[1]["lanes"][0]["needed_purity"] == 0.95


def test_a_slow_watcher_loses_the_oldest_and_holds_up_nobody(
    sink: PageSink, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    def happen() -> None:
        for number in range(1, 500):
            sink.decided(line_decision(number), line_evidence(number))
            if number % 100 == 0:
                settle(sink)
        settle(sink)

    found = asyncio.run(messages(sink, live._MESSAGES, happen))

    assert [message["piece"]["number"] for message in found] == list(range(300, 500))


def test_handing_over_takes_no_time_even_while_the_page_is_stuck(
    description: LineDescription,
    rules: LaneRules,
    line_decision: MakeDecision,
    line_evidence: MakeEvidence,
) -> None:
    free = threading.Event()
    stuck = PageSink(description, lambda: rules, chance=lambda lane, piece: float(free.wait(10)))
    made = [(line_decision(number), line_evidence(number)) for number in range(1, 3000)]
    began = time.perf_counter()
    for decision, evidence in made:
        stuck.decided(decision, evidence)
    took = time.perf_counter() - began
    free.set()
    stuck.close()

    assert took / len(made) < 0.0005
    assert len(stuck._taken) <= live._WAITING


def test_a_fault_in_one_piece_does_not_freeze_the_page(
    description: LineDescription, rules: LaneRules, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    def chance(_: Any, piece: Any) -> float:
        if piece.number == 1:
            raise KeyError("a lane that is gone")
        return 0.9

    sink = PageSink(description, lambda: rules, chance=chance)

    def happen() -> None:
        sink.decided(line_decision(1), line_evidence(1))
        sink.decided(line_decision(2), line_evidence(2))

    found = asyncio.run(messages(sink, 2, happen))
    sink.close()
    assert found[1]["piece"]["number"] == 2


def test_no_more_watch_than_there_is_room_for_and_leaving_makes_room(sink: PageSink) -> None:
    async def fill() -> None:
        first = [sink.watch() for _ in range(live.WATCHERS)]
        assert None not in first
        assert sink.watch() is None
        assert first[0] is not None
        sink.leave(first[0])
        assert sink.watch() is not None

    asyncio.run(fill())


def test_an_hour_of_figures_is_bounded_and_says_nothing_of_an_empty_lane(line_decision: MakeDecision) -> None:
    figures = Figures()
    for number in range(1, 3 * STEPS):
        figures.add(line_decision(number), {"cotton": 0.9, "blends": 0.0}, number * STEP_S)

    now_s = 3 * STEPS * STEP_S
    assert len(figures.history(now_s)) == STEPS
    lanes = figures.lanes(now_s)
    assert lanes["cotton"]["purity"] == 0.9
    assert lanes["blends"]["purity"] is None
    assert lanes["cotton"]["pieces"] == STEPS
    assert figures.lanes(now_s + 2 * STEPS * STEP_S) == {}


@pytest.fixture
def client(
    sink: PageSink, tmp_path: Path, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> Iterator[TestClient]:
    store = open_store(f"sqlite:///{tmp_path}/weft.db")
    archive = LineArchive(store)
    archive.write(
        [
            Kept(line_decision(1), line_evidence(1)),
            Kept(line_decision(2), line_evidence(2, picture=None)),
            Kept(line_decision(3), None),
        ]
    )
    app = FastAPI()
    page.install(app, {"demo": sink}, archive)
    problems.install(app)
    with TestClient(app) as started:
        yield started
    store.close()


def test_kept_pieces_are_read_with_their_picture_and_spectrum(
    client: TestClient, line_decision: MakeDecision, line_evidence: MakeEvidence
) -> None:
    assert [each["piece"]["number"] for each in client.get("/v1/lines/demo/pieces").json()] == [3, 2, 1]
    assert Decision.model_validate(client.get("/v1/lines/demo/pieces/1").json()) == line_decision(1)
    picture = client.get("/v1/lines/demo/pieces/1/picture")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content == line_evidence(1).picture
    spectrum = client.get("/v1/lines/demo/pieces/2/spectrum").json()
    assert len(spectrum["wavelength_nm"]) == len(spectrum["absorbance"]) == 224


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/lines/demo/pieces/9", "has kept no piece 9"),
        ("/v1/lines/demo/pieces/2/picture", "no picture of piece 2"),
        ("/v1/lines/demo/pieces/3/spectrum", "no spectrum of piece 3"),
        ("/v1/lines/other/pieces", "no line is called 'other' here; running are demo"),
        ("/v1/lines/other/events", "no line is called 'other'"),
        ("/lines/other", "no line is called 'other'"),
    ],
)
def test_what_is_not_there_is_a_404_that_says_what_is(client: TestClient, path: str, words: str) -> None:
    reply = client.get(path)

    assert reply.status_code == 404
    assert words in reply.json()["detail"]


def test_the_list_of_lines_says_how_each_one_is(client: TestClient, sink: PageSink, rules: LaneRules) -> None:
    assert "waiting for frames" in client.get("/lines").text
    alarm = Alarm(line="demo", code="disk-full", cause="<b>full</b>", since=datetime.now(UTC))
    sink.stood(state(rules, alarms=(alarm,)))
    settle(sink)

    shown = client.get("/lines").text
    assert "running" in shown
    assert "1 alarm: disk-full" in shown
    assert "60 pieces/min, 300 kg/h" in shown
    assert 'data-line="demo"' in client.get("/lines/demo").text


def test_without_lines_the_page_says_how_to_start_one(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/weft.db")
    app = FastAPI()
    page.install(app, {}, LineArchive(store))
    assert "weft serve --lines" in TestClient(app).get("/lines").text
    store.close()
