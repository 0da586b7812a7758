"""A running service on the tiny bundles, what is sent to it, databases of both kinds, and a browser."""

import io
import os
import runpy
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from weft.bundle import load_bundle
from weft.line.records import Colour, Decision, Mass, Piece, Place, Share
from weft_serving.app import create_app
from weft_serving.line.sinks import Evidence
from weft_serving.settings import Settings
from weft_serving.store import open_store

Start = Callable[..., TestClient]
POSTGRES = runpy.run_path(str(Path(__file__).parents[1] / "postgres.py"))
CHROMIUM_FLAGS = (
    "no-sandbox",
    "disable-gpu",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/weft.db"
        return
    with POSTGRES["empty_database"]() as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium for a module's pages; no longer, as asyncio.run cannot be called while it is there."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None and not os.environ.get("WEFT_REQUIRE_BROWSER"):
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as play:
        started = play.chromium.launch(
            executable_path=chromium, args=[f"--{flag}" for flag in CHROMIUM_FLAGS]
        )
        yield started
        started.close()


@pytest.fixture
def start(tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a service with changed settings; `weight` and `fibre` name other bundle files."""
    with ExitStack() as stack:

        def started(
            *, weight: Path = tiny_weight_bundle, fibre: Path = tiny_fibre_bundle, **settings: Any
        ) -> TestClient:
            settings.setdefault("database_url", f"sqlite:///{tmp_path}/weft.db")
            # Less than an operator may choose: no test has to send 60 MB.
            beyond = {name: settings.pop(name) for name in ("in_flight_bytes",) if name in settings}
            made = Settings(**settings).model_copy(update=beyond)
            app = create_app(
                made,
                weight=load_bundle(weight, task="weight"),
                fibre=load_bundle(fibre, task="composition"),
                store=open_store(made.database_url),
            )
            return stack.enter_context(TestClient(app, raise_server_exceptions=False))

        yield started


@pytest.fixture
def client(start: Start) -> TestClient:
    return start()


@pytest.fixture(scope="session")
def heavier_weight_bundle(
    tiny_weight_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Write a weight bundle that says more grams of everything: no answer of it passes for the tiny one's."""

    def write(*, more_grams: float = 1000.0) -> Path:
        path = tmp_path_factory.mktemp("heavier") / "weight.onnx"
        path.write_bytes(_heavier(tiny_weight_bundle, more_grams))
        return path

    return write


def _heavier(bundle: Path, more_grams: float) -> bytes:
    import onnx
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    from weft.bundle import CARD_KEY, PROOF_KEY, pack_proof, sealed, unpack_proof

    model = onnx.load_model_from_string(bundle.read_bytes())
    kept = {entry.key: entry.value for entry in model.metadata_props}
    for number in model.graph.initializer:
        if number.name == "hundred":
            number.CopyFrom(numpy_helper.from_array(np.float32(100 + more_grams), "hundred"))
    names = [output.name for output in model.graph.output]
    cases = [
        (inputs, dict(zip(names, ReferenceEvaluator(model).run(None, dict(inputs)), strict=True)))
        for inputs, _ in unpack_proof(kept[PROOF_KEY], source="tiny")
    ]
    helper.set_model_props(model, {CARD_KEY: kept[CARD_KEY], PROOF_KEY: pack_proof(cases)})
    return sealed(model.SerializeToString())


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    return _jpeg


@pytest.fixture(scope="session")
def photos() -> Callable[..., Any]:
    return _photos


@pytest.fixture(scope="session")
def scan() -> Callable[..., dict[str, Any]]:
    return _scan


def _pixels(seed: int = 0, *, height: int = 480, width: int = 640) -> np.ndarray[Any, Any]:
    """A sharp, lit scene: blocks of different brightness with fine grain."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(40, 220, (height // 40 + 1, width // 40 + 1, 3)).repeat(40, 0).repeat(40, 1)
    grain = rng.integers(-30, 30, (height, width, 3))
    return np.clip(blocks[:height, :width] + grain, 0, 255).astype(np.uint8)


def _jpeg(seed: int = 0, **options: Any) -> bytes:
    size = {name: options.pop(name) for name in ("height", "width") if name in options}
    buffer = io.BytesIO()
    Image.fromarray(_pixels(seed, **size)).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def _photos(*files: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("photos", (f"{number}.jpg", data, "image/jpeg")) for number, data in enumerate(files, start=1)]


def _scan(*, points: int = 81, from_nm: float = 900, to_nm: float = 1700, **changes: Any) -> dict[str, Any]:
    """A spectrum that the tiny bundle reads as mostly wool."""
    nm = np.linspace(from_nm, to_nm, points)
    values = 0.8 - 0.6 * np.exp(-(((nm - 1200) / 90) ** 2))
    return {"wavelength_nm": nm.tolist(), "values": values.tolist(), "quantity": "reflectance"} | changes


@pytest.fixture(scope="session")
def line_decision() -> Callable[..., Decision]:
    return _line_decision


@pytest.fixture(scope="session")
def line_evidence() -> Callable[..., Evidence]:
    return _line_evidence


def _line_decision(
    number: int = 1,
    *,
    lane: str = "cotton",
    shares: dict[str, float] | None = None,
    grams: float | None = 250.0,
    **changes: Any,
) -> Decision:
    """A decision on one garment of cotton; shares have margins of 5 points, grams of 20 %."""
    given = {"cotton": 1.0} if shares is None else shares
    seen_at = datetime(2026, 11, 22, 6, tzinfo=UTC) + timedelta(seconds=number % 86_400)
    piece = Piece(
        line=changes.pop("line", "demo"),
        number=number,
        seen_at=changes.pop("seen_at", seen_at),
        place=Place(first_mm=900.0 * number, last_mm=900.0 * number + 600, left_mm=200, right_mm=700),
        outline_mm=((900.0 * number, 200), (900.0 * number + 600, 450), (900.0 * number, 700)),
        area_cm2=3_000.0,
        pixels=4_000,
        voted=3_600,
        shares=tuple(
            Share(fibre=fibre, share=share, low=max(0.0, share - 0.05), high=min(1.0, share + 0.05))
            for fibre, share in given.items()
        ),
        unknown=changes.pop("unknown", 0.02),
        flags=changes.pop("flags", ()),
        colour=Colour(name="navy", lightness=22.0, a=4.0, b=-20.0),
        mass=None if grams is None else Mass(grams=grams, low_grams=0.8 * grams, high_grams=1.25 * grams),
        bundle_sha256="b" * 64,
    )
    told: dict[str, Any] = {
        "wanted": lane,
        "reason": "cotton 100 % is at least 95 %",
        "rules_version": "5eed",
        "decided_encoder": 9_000 * number + 7_000,
        "latency_ms": 42.0,
        "outcome": "fired",
        "simulated": False,
    }
    return Decision(piece=piece, lane=lane, **(told | changes))


def _line_evidence(number: int = 1, *, picture: bytes | None = b"\xff\xd8 a picture") -> Evidence:
    wavelength_nm = np.linspace(935.0, 1720.0, 224)
    absorbance = (0.3 + 0.1 * np.sin(wavelength_nm / 90 + number)).astype(np.float32)
    return Evidence(wavelength_nm=wavelength_nm, absorbance=absorbance, picture=picture)
