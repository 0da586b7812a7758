"""A small line whose frames, clocks and faults a test writes by hand: `plant`.

Its belt moves 1 mm a millisecond, 10 counts a millimetre; a NIR frame of 10 rows comes every 20 ms.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from weft.bundle import load_bundle
from weft.line.description import LineDescription
from weft.line.frames import Frame, lines_frame, picture_frame
from weft.line.reader import BeltReader
from weft.line.records import Alarm, AlarmCode, Decision, LineState
from weft.line.rules import rules_from_text
from weft_serving.line.engine import LineEngine, Tools
from weft_serving.line.see.references import References, make_references
from weft_serving.line.sinks import Evidence
from weft_serving.line.timing import Command, Withdrawal

WIDTH = 60
ROWS = 10  # of a frame
ROW_MM = 2.0
FRAME_S = 0.020
CENTRES_NM = {"cotton": 1000.0, "wool": 1200.0, "polyester": 1400.0, "nylon": 1600.0}  # of the tiny bundle
LANES = """
rest: rest
lanes:
  - {name: cotton, take: cotton >= 50 %, ejector: e1, max_contamination: 20 %, price_per_kg: 0.6}
  - {name: polyester, take: polyester >= 50 %, ejector: e2, max_contamination: 20 %, price_per_kg: 0.3}
"""
START = datetime(2026, 11, 22, 8, tzinfo=UTC)
LINE: dict[str, Any] = {
    "name": "small",
    "belt": {"width_mm": 120, "speed_mm_per_s": 1000, "counts_per_mm": 10},
    "nir": {
        "position_mm": 0, "field_of_view_mm": 120, "pixels": WIDTH, "lines_per_s": 500,
        "wavelength_nm": [float(nm) for nm in range(930, 1705, 25)],
    },
    "references": {"max_age_s": 3600},
    "ejectors": [
        {"name": "e1", "position_mm": 400, "left_mm": 0, "right_mm": 120, "delay_ms": 15, "jitter_ms": 2},
        {"name": "e2", "position_mm": 900, "left_mm": 0, "right_mm": 120, "delay_ms": 15, "jitter_ms": 2},
    ],
}  # fmt: skip
COLOUR = {"position_mm": -300, "width_px": 60, "height_px": 48, "mm_per_pixel": 2, "frames_per_s": 50}


class HandClock:
    """Two clocks that only a test moves."""

    def __init__(self) -> None:
        self.s = 1_000.0
        self.at = START

    def seconds(self) -> float:
        return self.s

    def now(self) -> datetime:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.s += seconds
        self.at += timedelta(seconds=seconds)


class Camera:
    """Counts of a belt with rectangles of fibre on it, as a line camera gives them."""

    def __init__(self, description: LineDescription) -> None:
        self.nir = description.nir
        self.nm = np.array(self.nir.wavelength_nm)
        self.rng = np.random.default_rng(0)
        self.lamp = 2800 * np.sin(np.linspace(0.7, 2.5, len(self.nm))) * np.linspace(0.8, 1, WIDTH)[:, None]

    def counts(self, light: NDArray[np.floating]) -> NDArray[np.uint16]:
        """(h, W, L) raw counts of reflectance in that shape."""
        seen = 110 + self.lamp * light + self.rng.normal(0, 6, light.shape)
        return np.clip(seen.round(), 0, 4095).astype(np.uint16)

    def plain(self, level: float, rows: int = 20) -> NDArray[np.uint16]:
        return self.counts(np.full((rows, WIDTH, len(self.nm)), level))

    def cloth(self, fibre: str) -> NDArray[np.float64]:
        return 10 ** -(0.25 + 0.4 * np.exp(-(((self.nm - CENTRES_NM[fibre]) / 60) ** 2)))


@dataclass
class Garment:
    fibre: str
    first_mm: float  # travel at which its first row passes
    last_mm: float
    left_mm: float = 20.0
    right_mm: float = 100.0


@dataclass
class Told:
    """A sink and a listener that keep everything."""

    decisions: list[Decision] = field(default_factory=list[Decision])
    evidence: list[Evidence] = field(default_factory=list[Evidence])
    alarms: list[Alarm] = field(default_factory=list[Alarm])
    states: list[LineState] = field(default_factory=list[LineState])
    commands: list[Command | Withdrawal] = field(default_factory=list[Command | Withdrawal])
    closed: bool = False

    def decided(self, decision: Decision, evidence: Evidence) -> None:
        self.decisions.append(decision)
        self.evidence.append(evidence)

    def alarmed(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)

    def stood(self, state: LineState) -> None:
        self.states.append(state)

    def close(self) -> None:
        self.closed = True

    def begun(self, code: AlarmCode) -> list[Alarm]:
        return [alarm for alarm in self.alarms if alarm.code == code and alarm.until is None]

    def ended(self, code: AlarmCode) -> list[Alarm]:
        return [alarm for alarm in self.alarms if alarm.code == code and alarm.until is not None]

    @property
    def outcomes(self) -> list[tuple[str, str]]:
        """(wanted lane, outcome) of each piece, as it stands at the end."""
        last = {decision.piece.number: decision for decision in self.decisions}
        return [(decision.wanted, decision.outcome) for decision in last.values()]


class Plant:
    """A line, its camera, its clock and what it told. `run` moves the belt."""

    def __init__(self, reader: BeltReader, *, given: bool = True, **changes: Any) -> None:
        """`given`: it has its references from the start. `changes` are those of the description."""
        self.description = LineDescription.model_validate(LINE | changes)
        self.camera = Camera(self.description)
        self.clock = HandClock()
        rules = rules_from_text(LANES, self.description, reader.fibres)
        tools = Tools(reader, self.clock, self.references() if given else None, threads=1)
        self.engine = LineEngine(self.description, rules, tools)
        self.told = Told()
        self.engine.subscribe(self.told)
        self.engine.listen(self.told.commands.append)
        self.garments: list[Garment] = []
        self.number = 0  # of the last NIR frame
        self.pictures = 0
        self.travel_mm = 0.0
        self.offset = 5_000  # of the encoder
        self.slow = 1.0  # times as long for every frame
        self.row_mm = ROW_MM
        self.references_at = START  # when the references were taken
        self.camera_ahead_ns = 0  # of its clock

    def references(self, taken_at: datetime = START) -> References:
        return make_references(
            self.camera.plain(1.0), self.camera.plain(0.0), self.description.nir,
            taken_at=taken_at, max_age_s=self.description.references.max_age_s,
        )  # fmt: skip

    def lay(self, fibre: str, after_mm: float, length_mm: float = 80.0, **place: float) -> Garment:
        """Put a garment on the belt so that it comes after so many mm."""
        first = self.travel_mm + after_mm
        self.garments.append(Garment(fibre, first, first + length_mm, **place))
        return self.garments[-1]

    def frame(self, **changes: Any) -> Frame:
        """The next NIR frame; the belt and the clocks have moved on to its end."""
        self.clock.pass_by(FRAME_S * self.slow)
        self.number += 1
        rows_mm = self.travel_mm + self.row_mm * np.arange(1, ROWS + 1)
        self.travel_mm = float(rows_mm[-1])
        options: dict[str, Any] = {
            "number": self.number,
            "encoder": np.round(rows_mm * 10).astype(np.int64) + self.offset,
            "timestamp_ns": round(self.clock.at.timestamp() * 1e9) + self.camera_ahead_ns,
        }
        counts = self.camera.counts(self._light(rows_mm))  # (h, W, L)
        return lines_frame(changes.pop("lines", counts.transpose(0, 2, 1)), **(options | changes))

    def run(self, mm: float) -> None:
        """Let the belt pass, frame by frame, as it should be."""
        for _ in range(round(mm / self.row_mm / ROWS)):
            self.take(self.frame())

    def take(self, frame: Frame) -> None:
        self.engine.take(frame)
        self.engine.step()

    def told_now(self, code: AlarmCode) -> str:
        """The cause of an alarm that is on."""
        self.engine.step()
        return next(alarm.cause for alarm in self.engine.state().alarms if alarm.code == code)

    def wait(self, seconds: float) -> None:
        """Nothing comes."""
        for _ in range(round(seconds / 0.02)):
            self.clock.pass_by(0.02)
            self.engine.step()

    def reference(self, sensor: Any, level: float) -> Frame:
        """White or dark lines as a frame."""
        lines = self.camera.plain(level).transpose(0, 2, 1)
        return lines_frame(lines, sensor=sensor, number=1, encoder=[0], timestamp_ns=1)

    def picture(self, **changes: Any) -> Frame:
        self.pictures += 1
        camera = self.description.colour
        assert camera is not None
        image = np.full((camera.height_px, camera.width_px, 3), (200, 30, 30), np.uint8)
        options: dict[str, Any] = {
            "number": self.pictures,
            "encoder": round(self.travel_mm * 10) + self.offset,
            "timestamp_ns": round(self.clock.at.timestamp() * 1e9),
        }
        return picture_frame(image, **(options | changes))

    def _light(self, rows_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        ribs = 0.10 * (1 + 0.25 * np.sin(rows_mm / 16 * 2 * np.pi))
        light = np.tile(ribs[:, None, None], (1, WIDTH, len(self.camera.nm)))
        light *= 1 + 0.1 * (self.camera.nm - 1300) / 400
        for item in self.garments:
            rows = (rows_mm > item.first_mm) & (rows_mm <= item.last_mm)
            columns = slice(round(item.left_mm / 2), round(item.right_mm / 2))
            light[np.flatnonzero(rows), columns] = self.camera.cloth(item.fibre)
        return light


@pytest.fixture(scope="session")
def reader(tiny_belt_bundle: Path) -> BeltReader:
    return BeltReader(load_bundle(tiny_belt_bundle, task="belt", threads=1))


@pytest.fixture
def plant(reader: BeltReader, request: pytest.FixtureRequest) -> Iterator[Plant]:
    """A plant that has run a little; parametrized indirectly, its description is changed by that."""
    made = Plant(reader, **getattr(request, "param", {}))
    made.run(200)
    yield made
    made.engine.close()


def sorts_again(plant: Plant) -> None:
    """A garment laid now is sorted as if nothing had been."""
    plant.run(400)
    before = len(plant.told.decisions)
    plant.lay("cotton", 40)
    plant.run(300)
    after = plant.told.decisions[before:]
    assert [(decision.wanted, decision.outcome) for decision in after] == [("cotton", "fired")]


def told_once_each_way(plant: Plant, code: AlarmCode, words: str) -> None:
    """The alarm began once with these words, and ended once."""
    begun, ended = plant.told.begun(code), plant.told.ended(code)
    assert [words in alarm.cause for alarm in begun] == [True], begun
    assert [alarm.since for alarm in ended] == [begun[0].since]
    assert ended[0].until is not None
    assert plant.engine.state().alarms == ()


def never_fired(plant: Plant, number: int) -> None:
    """No command for this piece stands at the end."""
    orders = [order for order in plant.told.commands if order.piece == number]
    assert len([order for order in orders if isinstance(order, Command)]) == len(
        [order for order in orders if isinstance(order, Withdrawal)]
    )
