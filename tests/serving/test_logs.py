"""The log: JSON lines with what an operator needs, nothing personal, and no flood of what repeats."""

import asyncio
import io
import json
import logging
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from websockets.sync.client import connect

from weft_serving.watch.logs import JsonLine, Repeats, Shedding, log, log_fault, log_line

SECRETS = {
    "parcel": "PARCEL-Anna-Ottosen",
    "file": "anna.ottosen@example.org.jpg",
    "token": "sk-live-4f1f2e",
    "query": "geheim-query",
    "header": "Bearer-geheim-header",
    "agent": "AnnasPhone/17",
    "path": "nowhere-anna",
    "camera": "AnnasCamera",
    "scan": "annas-scan-secret",
    "cookie": "session-annas-cookie",
}


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the service has logged so far, as it would stand on standard error."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLine())
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    log.removeHandler(handler)
    log.setLevel(level)


def with_gps(data: bytes) -> bytes:
    """The photo with a position and a camera's name in its EXIF."""
    image = Image.open(io.BytesIO(data))
    exif = image.getexif()
    exif[0x010F] = SECRETS["camera"]
    exif.get_ifd(0x8825).update({1: "N", 2: (55.0, 40.0, 34.0), 3: "E", 4: (12.0, 34.0, 7.0)})
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.slow
def test_nothing_personal_reaches_the_log_of_a_served_process(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path, jpeg: Callable[..., bytes]
) -> None:
    command = [sys.executable, "-c", "from weft_serving.cli import serve; serve()", "--port", "0"]
    bundles = ["--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle)]
    process = subprocess.Popen(
        [*command, *bundles], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    base = re.findall(r"http://\S+?:\d+", process.stdout.readline())[0]
    try:
        _ask_everything(base, with_gps(jpeg(1)))
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)

    told = [json.loads(line) for line in said.splitlines()]
    assert len([line for line in told if line["event"] == "request"]) >= 9
    assert all({"time", "level", "event"} <= set(line) for line in told)
    assert [name for name, secret in SECRETS.items() if secret.lower() in said.lower()] == []
    # Without what is counted: a request may well come 12.5 s past a minute, or take as many milliseconds.
    kept = json.dumps([{key: line[key] for key in line.keys() - {"time", "milliseconds"}} for line in told])
    assert not re.search(r"anna|geheim|55\.6|12\.5|127\.0\.0\.1|GPS", kept, re.IGNORECASE)


def _ask_everything(base: str, photo: bytes) -> None:
    headers = {
        "authorization": SECRETS["header"],
        "user-agent": SECRETS["agent"],
        "cookie": SECRETS["cookie"],
        "referer": f"https://{SECRETS['query']}",
    }
    with httpx.Client(base_url=base, headers=headers, timeout=30) as client:
        files = [("photos", (SECRETS["file"], photo, "image/jpeg"))]
        made = client.post("/v1/estimates", files=files, data={"parcel": SECRETS["parcel"]})
        assert made.status_code == 200
        address = f"/v1/estimates/{made.json()['id']}"
        client.post(f"{address}/weighing?token={SECRETS['token']}", json={"grams": 900})
        client.post(f"{address}/photos", files=files)
        client.post("/v1/estimates", files=[("photos", (SECRETS["file"], photo[:500], "image/jpeg"))])
        client.post("/v1/estimates", files=files, data={"mark": SECRETS["parcel"]})
        client.post("/v1/estimates", content=SECRETS["token"], headers={"content-type": SECRETS["query"]})
        client.post(
            "/v1/compositions", files={"file": (SECRETS["scan"], SECRETS["scan"].encode(), "text/csv")}
        )
        client.post("/v1/compositions", json={"wavelength_nm": SECRETS["scan"]})
        client.get(f"/{SECRETS['path']}?q={SECRETS['query']}")
        client.get(f"/v1/estimates/{SECRETS['parcel']}")
        client.get("/v1/ops", params={"after": SECRETS["query"]})
    with connect(base.replace("http", "ws") + f"/v1/stream?token={SECRETS['token']}") as socket:
        socket.send(json.dumps({"task": "weight"}))
        socket.send(SECRETS["parcel"])
        socket.recv()
        socket.send(photo)
        socket.recv()


def test_a_refusal_for_load_is_summed_up_once_a_second(lines: Callable[[], list[dict[str, Any]]]) -> None:
    async def storm() -> None:
        planned: list[Callable[[], None]] = []
        shedding = Shedding(lambda _, call: planned.append(call))
        for _ in range(500):
            shedding.add("queue")
        shedding.add("bytes")
        assert len(planned) == 1
        planned[0]()
        shedding.add("queue")
        assert len(planned) == 2
        planned[1]()

    asyncio.run(storm())
    told = [(line["requests"], line["reasons"]) for line in lines()]
    assert told == [(501, {"queue": 500, "bytes": 1}), (1, {"queue": 1})]


def test_requests_refused_for_load_have_no_line_of_their_own(
    start: Any, photos: Any, jpeg: Callable[..., bytes], lines: Callable[[], list[dict[str, Any]]]
) -> None:
    client = start(in_flight_bytes=1_000)
    for _ in range(5):
        assert client.post("/v1/estimates", files=photos(jpeg(1))).status_code == 503
    client.get("/healthz")

    assert [line["route"] for line in lines() if line["event"] == "request"] == ["/healthz"]


def test_a_refused_request_is_told_with_its_kind(
    client: Any, photos: Any, lines: Callable[[], list[dict[str, Any]]]
) -> None:
    client.post("/v1/estimates", files=photos(b"no photo"))

    (line,) = [line for line in lines() if line["event"] == "request"]
    assert (line["status"], line["problem"], line["route"]) == (415, "unsupported-photo", "/v1/estimates")


def test_a_fault_is_told_where_it_was_and_not_what_it_said(lines: Callable[[], list[dict[str, Any]]]) -> None:
    for _ in range(50):
        try:
            raise ValueError(SECRETS["parcel"])
        except ValueError as error:
            log_fault("request-1", error)

    (line,) = lines()
    assert (line["kind"], line["request"]) == ("ValueError", "request-1")
    assert "test_logs.py" in line["at"][-1]
    assert SECRETS["parcel"] not in json.dumps(line)


def test_what_repeats_is_told_again_with_how_often_it_came() -> None:
    repeats = Repeats(10.0)

    assert repeats.due("disk", 100.0) == 0
    assert [repeats.due("disk", 100.0 + n) for n in range(1, 10)] == [None] * 9
    assert repeats.due("other", 105.0) == 0
    assert repeats.due("disk", 110.5) == 9


def test_what_repeats_is_remembered_within_bounds() -> None:
    repeats = Repeats(10.0)
    for number in range(10_000):
        repeats.due(number, 1.0)

    assert len(repeats._said) <= 200  # pyright: ignore[reportPrivateUsage]


def test_what_libraries_say_is_one_json_line_without_what_follows() -> None:
    quoted = f"Task exception was never retrieved\nfuture: ValueError({SECRETS['parcel']!r})"
    record = logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, quoted, None, None)

    line = json.loads(JsonLine().format(record))
    assert (line["event"], line["from"]) == ("server", "asyncio")
    assert line["message"] == "Task exception was never retrieved"


def test_a_field_that_is_none_is_left_out(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log_line("swap", task="weight", reason=None)

    (line,) = lines()
    assert set(line) == {"time", "level", "event", "task"}
