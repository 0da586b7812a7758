"""A line's page in a real browser: the belt moves, nothing piles up, and it comes back by itself."""

import io
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from weft.line.description import read_description
from weft.line.records import Alarm, Decision, LaneCount, LineState
from weft.line.rules import read_rules
from weft_serving import pages, problems
from weft_serving.line.past.archive import LineArchive
from weft_serving.line.show import page as line_page
from weft_serving.line.show.live import PageSink
from weft_serving.run import listen
from weft_serving.store import open_store

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

DEMO = Path(__file__).parents[4] / "configs/lines/demo.yaml"
WIDTHS_PX = (390, 820, 1280)
WAIT_MS = 10_000

pytestmark = [pytest.mark.browser, pytest.mark.slow]


class ShownLine:
    """One line's page on a real port, without engine or bundle: what it shows is what a test hands it."""

    def __init__(self, folder: Path) -> None:
        self.description = read_description(DEMO)
        self.rules = read_rules(DEMO, self.description)
        self.store = open_store(f"sqlite:///{folder}/weft.db")
        self.began = time.monotonic()
        self.port = 0
        self.start()

    def start(self) -> None:
        self.sink = PageSink(self.description, lambda: self.rules, chance=lambda lane, piece: 0.97)
        app = FastAPI()
        pages.install(app)
        line_page.install(app, {"demo": self.sink}, LineArchive(self.store))
        problems.install(app)
        self._socket = listen("127.0.0.1", self.port)
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=2))
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[self._socket]), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.sink.close()
        self._server.should_exit = True
        self._thread.join(timeout=10)
        self._socket.close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/lines/demo"

    def stand(self, **changes: Any) -> None:
        told: dict[str, Any] = {
            "line": "demo", "at": datetime.now(UTC), "running": True, "rules_version": self.rules.version,
            "bundle_sha256": "b" * 64, "trained_on": "simulated", "speed_mm_per_s": 1000.0,
            "encoder": int((time.monotonic() - self.began) * 10_000), "pieces": 1234, "pieces_per_min": 61.0,
            "kg_per_h": 402.0, "latency_p50_ms": 30.0, "latency_p99_ms": 45.0, "deadline_ms": 365.0,
            "reference_age_s": 7200.0, "alarms": (),
            "lanes": (LaneCount(lane="cotton", pieces=7, grams=900.0, fired=6, late=1),),
        }  # fmt: skip
        self.sink.stood(LineState(**(told | changes)))


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[ShownLine]:
    made = ShownLine(tmp_path)
    yield made
    made.stop()
    made.store.close()


@pytest.fixture
def page(browser: "sync_api.Browser", shown: ShownLine) -> Iterator["sync_api.Page"]:
    opened = browser.new_page(viewport={"width": 390, "height": 844})
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(shown.address)
    # An assertion waits from out here; a function polled in the page would be refused as eval by our policy.
    sync_api.expect(opened.locator("#rules")).to_have_text(re.compile(".{6,}"), timeout=WAIT_MS)
    yield opened
    opened.close()
    assert complaints == []


@pytest.fixture
def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (90, 120), (200, 40, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


def piece_at(
    shown: ShownLine, line_decision: Callable[..., Decision], number: int, **changes: Any
) -> Decision:
    """A piece whose last line has just passed under the NIR camera."""
    travel_mm = (time.monotonic() - shown.began) * 1000
    decision = line_decision(number, ejector="e1", simulated=True, **changes)
    place = decision.piece.place.model_copy(update={"first_mm": travel_mm - 600, "last_mm": travel_mm})
    outline = ((travel_mm, 200.0), (travel_mm, 700.0), (travel_mm - 600, 700.0), (travel_mm - 600, 200.0))
    piece = decision.piece.model_copy(update={"place": place, "outline_mm": outline})
    return decision.model_copy(update={"piece": piece})


def reds(page: "sync_api.Page") -> list[int]:
    """The first and last column of the drawn belt that shows the red garment, or nothing."""
    return page.evaluate(
        """() => { const belt = document.getElementById('belt');
        const { data, width, height } = belt.getContext('2d').getImageData(0, 0, belt.width, belt.height);
        const found = [];
        for (let x = 0; x < width; x += 1) { const at = 4 * (Math.floor(height * 0.3) * width + x);
          if (data[at] > 120 && data[at + 1] < 90 && data[at + 2] < 90) found.push(x); }
        return found.length > 20 ? [found[0], found.at(-1)] : []; }"""
    )


def test_what_has_nothing_to_show_yet_takes_no_room_until_a_piece_comes(
    page: "sync_api.Page", shown: ShownLine, line_decision: Any, line_evidence: Any
) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    last, chart = page.locator("section", has=page.locator("#last")), page.locator("#throughput")
    lanes = page.locator("section", has=page.locator("#lanes"))
    assert chart.is_hidden()
    assert box(last)["height"] < 120
    assert box(last)["width"] == box(lanes)["width"]  # and no empty column beside it

    shown.sink.decided(piece_at(shown, line_decision, 1), line_evidence(1))
    page.locator("#last li").first.wait_for(timeout=WAIT_MS)
    assert box(last)["x"] > box(lanes)["x"] + box(lanes)["width"]


def box(place: "sync_api.Locator") -> dict[str, float]:
    found = place.bounding_box()
    assert found is not None
    return dict(found)


def test_a_garment_moves_along_the_belt_with_its_picture(
    page: "sync_api.Page", shown: ShownLine, line_decision: Any, line_evidence: Any, picture: bytes
) -> None:
    shown.stand()
    page.locator("#status", has_text="running").wait_for(timeout=WAIT_MS)
    shown.sink.decided(piece_at(shown, line_decision, 1), line_evidence(1, picture=picture))

    seen: list[list[int]] = []
    until = time.monotonic() + 8
    while len(seen) < 4 and time.monotonic() < until:
        shown.stand()
        page.wait_for_timeout(150)
        found = reds(page)
        if found:
            seen.append(found)

    assert len(seen) == 4
    ends = [last for _, last in seen]
    assert ends == sorted(ends)
    assert ends[-1] > ends[0] + 20


def test_figures_lanes_pieces_and_alarms_are_shown_and_go_when_they_end(
    page: "sync_api.Page", shown: ShownLine, line_decision: Any, line_evidence: Any
) -> None:
    alarm = Alarm(
        line="demo",
        code="reference-stale",
        cause="<img src=x onerror=alert(1)> 5 h old; take it anew",
        since=datetime.now(UTC),
    )
    shown.sink.decided(piece_at(shown, line_decision, 7), line_evidence(7))
    late = piece_at(shown, line_decision, 8, lane="rest", wanted="cotton", outcome="late")
    shown.sink.decided(late, line_evidence(8, picture=None))
    shown.sink.alarmed(alarm)
    shown.stand(alarms=(alarm,))

    page.locator("#last li").nth(1).wait_for(timeout=WAIT_MS)
    assert "wanted cotton, too late, goes to the rest" in page.locator("#last li").first.inner_text()
    assert page.locator("#pieces-per-min").inner_text() == "61"
    assert "365 allowed" in page.locator("#latency-tile").inner_text()
    assert page.locator("#reference").inner_text() == "2.0 h"
    assert "97.0" in page.locator("#lanes tr").first.inner_text()
    assert "Model trained on simulated data" in page.locator("#simulated").inner_text()
    assert "Simulated belt" in page.locator("#simulated").inner_text()
    assert "<img src=x onerror=alert(1)> 5 h old" in page.locator("#alarms").inner_text()
    assert page.locator("#alarms img").count() == 0

    shown.sink.alarmed(alarm.model_copy(update={"until": datetime.now(UTC)}))
    shown.stand()
    page.locator("#earlier li").wait_for(timeout=WAIT_MS)
    assert page.locator("#alarms .problem").count() == 0


@pytest.mark.parametrize("width_px", WIDTHS_PX)
def test_nothing_scrolls_sideways_at(
    width_px: int, page: "sync_api.Page", shown: ShownLine, line_decision: Any, line_evidence: Any
) -> None:
    page.set_viewport_size({"width": width_px, "height": 844})
    shares = {"polyester": 0.55, "cotton": 0.3, "elastane": 0.1, "viscose": 0.05}
    for number in range(1, 20):
        decision = piece_at(shown, line_decision, number, shares=shares, flags=("touching", "mixed"))
        shown.sink.decided(decision, line_evidence(number, picture=None))
    shown.stand(pieces=1_234_567, kg_per_h=4_500.0)
    page.locator("#last li").nth(5).wait_for(timeout=WAIT_MS)

    wide = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert len(set(page.evaluate(wide))) == 1
    assert page.locator("#throughput canvas").count() <= 1


def test_a_thousand_pieces_leave_no_more_behind_than_a_few(
    page: "sync_api.Page", shown: ShownLine, line_decision: Any, line_evidence: Any
) -> None:
    nodes = "document.getElementsByTagName('*').length"
    for number in range(1, 60):
        shown.sink.decided(piece_at(shown, line_decision, number), line_evidence(number))
    shown.stand()
    page.locator("#last li[data-number='59']").wait_for(timeout=WAIT_MS)  # on a busy machine it comes late
    page.wait_for_timeout(1500)
    before = page.evaluate(nodes)
    for start in range(60, 1060, 100):
        for number in range(start, start + 100):
            shown.sink.decided(piece_at(shown, line_decision, number), line_evidence(number))
        shown.stand()
        page.wait_for_timeout(300)
    page.locator("#last li[data-number='1059']").wait_for(timeout=WAIT_MS)

    assert page.locator("#last li").count() == 12
    assert page.evaluate(nodes) <= before + 20


def test_it_comes_back_by_itself_when_the_service_was_away(page: "sync_api.Page", shown: ShownLine) -> None:
    shown.stand()
    page.locator("#status", has_text="running").wait_for(timeout=WAIT_MS)
    shown.stop()
    page.locator("#status", has_text="no connection").wait_for(timeout=WAIT_MS)

    shown.start()
    shown.stand(pieces=4321)
    until = time.monotonic() + 20
    while page.locator("#pieces").inner_text() != "4,321" and time.monotonic() < until:
        shown.stand(pieces=4321)
        page.wait_for_timeout(300)
    assert page.locator("#status").inner_text() == "running"
