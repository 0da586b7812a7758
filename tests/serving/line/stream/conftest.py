"""A small line behind a real port: what socket, client, replay and watched folder are tried on."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image

from weft.errors import FrameError
from weft.limits import FRAME_BYTES
from weft.line.description import LineDescription
from weft.line.frames import Frame, lines_frame
from weft.line.recording import Recording
from weft.line.records import Alarm, Decision, LineState
from weft_serving.line.sinks import Evidence, Sink
from weft_serving.line.stream import socket as line_socket
from weft_serving.line.timing import Command, Withdrawal
from weft_serving.run import listen
from weft_serving.settings import Settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class serving:
    """A real server in a thread, for as long as the block lasts; `with serving(app) as url`."""

    def __init__(self, app: FastAPI, port: int = 0) -> None:
        self._socket = listen("127.0.0.1", port)
        config = uvicorn.Config(app, log_config=None, ws_max_size=FRAME_BYTES + 3_000_000, lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return f"ws://127.0.0.1:{self._socket.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class SmallLine:
    """What a connection needs of a line, without models: it keeps frames and says what a test asks."""

    def __init__(self, **changes: Any) -> None:
        nir = {"position_mm": 0, "field_of_view_mm": 500, "pixels": 8, "lines_per_s": 100}
        self.description = LineDescription.model_validate(
            {
                "name": "small",
                "belt": {"width_mm": 500, "speed_mm_per_s": 1000, "counts_per_mm": 10},
                "nir": {**nir, "first_nm": 935, "last_nm": 1720, "bands": 16},
                "ejectors": [
                    {"name": "e1", "position_mm": 400, "left_mm": 0, "right_mm": 500, "delay_ms": 15}
                ],
                **changes,
            }
        )
        self.frames: list[Frame] = []
        self.refused: list[tuple[str | None, str]] = []
        self.dropped_frames = self.waiting_rows = 0
        self.sinks: list[Sink] = []
        self.listeners: list[Callable[[Command | Withdrawal], None]] = []

    def take(self, frame: Frame) -> None:
        self.frames.append(frame)

    def refuse(self, sensor: str | None, error: FrameError) -> None:
        self.refused.append((sensor, str(error)))

    def subscribe(self, sink: Sink) -> Callable[[], None]:
        self.sinks.append(sink)
        return lambda: self.sinks.remove(sink)

    def listen(self, callback: Callable[[Command | Withdrawal], None]) -> Callable[[], None]:
        self.listeners.append(callback)
        return lambda: self.listeners.remove(callback)

    def state(self) -> LineState:
        figures: dict[str, Any] = dict.fromkeys(("pieces_per_min", "kg_per_h", "speed_mm_per_s"), 0.0)
        absent = dict.fromkeys(("latency_p50_ms", "latency_p99_ms", "deadline_ms", "reference_age_s"))
        return LineState(
            line="small", at=NOW, running=False, rules_version="v1", bundle_sha256="0" * 64, lanes=(),
            alarms=(), trained_on="simulated", encoder=0, pieces=0, **figures, **absent,
        )  # fmt: skip

    def decide(self, decision: Decision, evidence: Evidence) -> None:
        """Say that a piece was decided on, with its command."""
        number = decision.piece.number
        for callback in self.listeners:
            callback(Command(number, "e1", number * 10, number * 10 + 5))
        for sink in self.sinks:
            sink.decided(decision, evidence)

    def alarm(self, cause: str) -> None:
        for sink in self.sinks:
            sink.alarmed(Alarm(line="small", code="camera-silent", cause=cause, since=NOW))


@pytest.fixture
def small_line() -> SmallLine:
    return SmallLine()


@pytest.fixture
def line_app(small_line: SmallLine) -> FastAPI:
    """The socket of one small line, without the rest of the service."""
    app = FastAPI()
    app.state.lines = {"small": small_line}
    app.state.service = SimpleNamespace(settings=Settings())
    app.include_router(line_socket.router)
    return app


@pytest.fixture
def line_url(line_app: FastAPI) -> Iterator[str]:
    """The small line behind a real port."""
    with serving(line_app) as url:
        yield f"{url}/v1/lines/small"


@pytest.fixture
def serve_app() -> type[serving]:
    return serving


@pytest.fixture(scope="session")
def nir_frame() -> Callable[..., Frame]:
    return _nir_frame


def _nir_frame(number: int, *, sensor: Any = "nir", rows: int = 4, bands: int = 16) -> Frame:
    """`rows` lines of the small line's camera, 10 ms and 100 counts after those of the number before."""
    lines = np.random.default_rng(number).integers(0, 4096, (rows, bands, 8)).astype(np.uint16)
    encoder = number * 100 + np.arange(rows) * 100 // rows
    return lines_frame(
        lines, sensor=sensor, number=number, encoder=encoder, timestamp_ns=10_000_000 * (number + 1)
    )


@pytest.fixture
def recording(tmp_path: Path, small_line: SmallLine) -> Path:
    """A second of the small line's belt: 100 lines, 10 pictures, references, as a plant would record it."""
    folder = tmp_path / "recording"
    (folder / "colour").mkdir(parents=True)
    rng = np.random.default_rng(3)
    write_cube(folder / "nir", rng.integers(0, 4096, (100, 16, 8)))
    write_cube(folder / "white", rng.integers(3000, 4096, (5, 16, 8)))
    write_cube(folder / "dark", rng.integers(0, 100, (5, 16, 8)))
    began = 1_700_000_000_000_000_000
    rows = [f"{row},{500 + row * 100},{began + row * 10_000_000}" for row in range(100)]
    (folder / "nir.csv").write_text("\n".join(["line,encoder,timestamp_ns", *rows]) + "\n")
    pictures = ["file,encoder,timestamp_ns"]
    for number in range(10):
        Image.new("RGB", (40, 32), (number, 0, 0)).save(folder / "colour" / f"{number:06d}.jpg")
        pictures.append(f"{number:06d}.jpg,{500 + number * 1000},{began + number * 100_000_000}")
    (folder / "colour.csv").write_text("\n".join(pictures) + "\n")
    made = Recording(
        line="small", simulated=True, speed_mm_per_s=1000, lines=100, frames=10,
        references_at=datetime.fromtimestamp(began / 1e9 - 600, UTC),
    )  # fmt: skip
    (folder / "recording.json").write_text(made.model_dump_json())
    return folder


@pytest.fixture(scope="session")
def write_envi() -> Callable[..., Path]:
    return write_cube


def write_cube(stem: Path, lines: np.ndarray[Any, Any]) -> Path:
    """Lines (h, L, W) as ENVI, BIL, uint16; returns the header."""
    stem.with_suffix(".raw").write_bytes(lines.astype("<u2").tobytes())
    height, bands, width = lines.shape
    axis = ", ".join(f"{nm:g}" for nm in np.linspace(935, 1720, bands))
    stem.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {width}\nlines = {height}\nbands = {bands}\nheader offset = 0\ndata type = 12\n"
        f"interleave = bil\nbyte order = 0\nwavelength units = nm\nwavelength = {{{axis}}}\n"
    )
    return stem.with_suffix(".hdr")
