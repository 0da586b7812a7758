"""Photos decoded while their bodies arrive: the crew by itself, and a served process on a real socket."""

import asyncio
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from weft.errors import TooLargeError
from weft.photos import Arrived, decode_photo
from weft_serving.door.arriving import Arrival, Crew

SERVE = [sys.executable, "-c", "from weft_serving.cli import serve; serve()"]


@cache
def photo(width: int = 2_600, height: int = 1_950, *, seed: int = 0, **options: Any) -> bytes:
    rng = np.random.default_rng(seed)
    light = rng.integers(30, 220, (height // 40 + 1, width // 40 + 1, 3)).repeat(40, 0).repeat(40, 1)
    grains = rng.integers(-25, 25, (height, width, 1))
    image = Image.fromarray((light[:height, :width] + grains).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=70, **options)
    return buffer.getvalue()


def crew(*, threads: int = 2, most: int = 8, after_s: float = 0.0, spent: Any = None) -> Crew:
    return Crew(
        threads=threads,
        most=most,
        after_s=after_s,
        idle=lambda: True,
        elsewhere=nullcontext,
        spent=spent or (lambda stage, seconds: None),
    )


async def send(arrival: Arrival, data: bytes, *, every: int = 65_536) -> None:
    for at in range(0, len(data), every):
        arrival.feed(data[at : at + every])
        await asyncio.sleep(0)


def test_several_uploads_at_once_come_out_as_their_own_photos() -> None:
    datas = [photo(seed=seed) for seed in range(5)]
    told: list[str] = []

    async def all_of_them() -> list[Arrived]:
        hands = crew(spent=lambda stage, _: told.append(stage))
        arrivals = [hands.begin(longest_px=320) for _ in datas]
        await asyncio.gather(*(send(arrival, data) for arrival, data in zip(arrivals, datas, strict=True)))
        done = await asyncio.gather(*(arrival.finish() for arrival in arrivals))
        assert hands.uploads == 0
        hands.close()
        return done

    arrived = asyncio.run(all_of_them())

    assert told == ["arrive"] * 5
    for data, one in zip(datas, arrived, strict=True):
        assert one.photo is not None
        assert np.array_equal(one.photo.pixels, decode_photo(data, longest_px=320).pixels)


def test_what_is_there_at_once_is_left_for_the_pool_and_starts_no_thread() -> None:
    data = photo()
    before = threading.active_count()

    async def quick() -> Arrived:
        arrival = crew(after_s=60).begin(longest_px=320)
        await send(arrival, data)
        return await arrival.finish()

    arrived = asyncio.run(quick())

    assert arrived.photo is None
    assert arrived.data == data
    assert threading.active_count() == before


def test_an_abandoned_upload_gives_its_place_back() -> None:
    data = photo()

    async def leave_and_come_again() -> Arrived:
        hands = crew(most=1)
        gone = hands.begin(longest_px=320)
        await send(gone, data[: len(data) // 2])
        gone.abandon()
        while hands.uploads:
            await asyncio.sleep(0.001)
        arrival = hands.begin(longest_px=320)
        await send(arrival, data)
        arrived = await arrival.finish()
        hands.close()
        return arrived

    assert asyncio.run(leave_and_come_again()).photo is not None


def test_a_refused_upload_keeps_nothing_of_what_still_comes() -> None:
    data = bytearray(photo(700, 500))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xfd\xe8\xfd\xe8"  # 65,000 x 65,000

    async def refused() -> Arrived:
        hands = crew()
        arrival = hands.begin(longest_px=320)
        arrival.feed(bytes(data[: at + 30]))
        while arrival.refused is None:
            await asyncio.sleep(0.001)
        await send(arrival, bytes(3_000_000))
        arrived = await arrival.finish()
        hands.close()
        return arrived

    arrived = asyncio.run(refused())

    assert isinstance(arrived.error, TooLargeError)
    assert not arrived.pieces


class Server:
    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def status(self, name: str) -> int:
        """A number of /proc/PID/status: VmRSS in kB, Threads."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
        assert found is not None
        return int(found[1])

    def figure(self, name: str) -> float:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        line.request("GET", "/metrics")
        text = line.getresponse().read().decode()
        line.close()
        return sum(float(found) for found in re.findall(rf"^{name} (\S+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def server(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    process = subprocess.Popen(
        [*SERVE, "--weight", str(tiny_weight_bundle), "--fibre", str(tiny_fibre_bundle), "--port", "0"],
        cwd=tmp_path_factory.mktemp("served"),
        env=variables | {"PYTHONUNBUFFERED": "1", "WEFT_DRAIN_SECONDS": "0"},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r"http://\S+?:(\d+)", process.stdout.readline())
    assert found is not None
    yield Server(process, int(found[1]))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def form(*files: bytes, field: str = "photos") -> bytes:
    parts = [
        b'--b\r\nContent-Disposition: form-data; name="%s"; filename="p.jpg"\r\n\r\n%s\r\n'
        % (field.encode(), data)
        for data in files
    ]
    return b"".join(parts) + b"--b--\r\n"


def head(path: str, length: int, kind: str = "multipart/form-data; boundary=b") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: weft\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def post(
    server: Server,
    body: bytes,
    *,
    path: str = "/v1/estimates",
    paced: bool,
    by: str = "127.0.0.1",
    **kind: str,
) -> Any:
    """Status and answer; paced: in 20 parts, 5 ms apart; `by`: the client's address."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30, source_address=(by, 0)) as line:
        line.sendall(head(path, len(body), **kind))
        step = len(body) // 20 + 1 if paced else len(body)
        for at in range(0, len(body), step):
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                line.sendall(body[at : at + step])
            time.sleep(0.005 if paced else 0)
        reply = http.client.HTTPResponse(line)
        reply.begin()
        return reply.status, json.loads(reply.read())


ARRIVED = r'weft_stage_seconds_count\{stage="arrive"\}'


def told(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name not in {"id", "created_at"}}


def test_a_paced_photo_gets_the_answer_of_one_sent_at_once(server: Server) -> None:
    body = form(photo(), photo(seed=1, restart_marker_rows=1))

    at_once, paced = post(server, body, paced=False), post(server, body, paced=True)

    assert at_once[0] == paced[0] == 200, paced
    assert told(at_once[1]) == told(paced[1])
    assert server.figure(ARRIVED) >= 2


def test_a_photo_may_be_the_body_itself_with_its_fields_in_the_query(server: Server) -> None:
    data = photo()
    path = "/v1/estimates?season=winter&wrap=bag&parcel=K-7"

    raw = post(server, data, path=path, paced=True, kind="image/jpeg")
    wrong = post(server, data, path="/v1/estimates?colour=red", paced=False, kind="image/jpeg")

    assert raw[0] == 200
    assert raw[1]["grams"] > post(server, form(data), paced=False)[1]["grams"] + 50  # of winter
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    line.request("GET", "/openapi.json")
    document = json.loads(line.getresponse().read())["paths"]["/v1/estimates"]["post"]
    line.close()
    assert "image/jpeg" in document["requestBody"]["content"]
    assert {"season", "wrap", "parcel"} <= {told["name"] for told in document["parameters"]}
    assert wrong[0] == 422
    assert "there is no field 'colour'" in wrong[1]["detail"]


def test_a_lie_about_its_size_is_refused_before_the_rest_of_the_body(server: Server) -> None:
    data = bytearray(photo(700, 500))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xfd\xe8\xfd\xe8"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(head("/v1/estimates", 20_000_000, kind="image/jpeg") + bytes(data[: at + 30]))
        for _ in range(30):  # it goes on slowly, and would for minutes
            time.sleep(0.01)
            line.sendall(bytes(10))
        reply = http.client.HTTPResponse(line)
        reply.begin()

        assert reply.status == 413
        assert "4225 megapixels" in json.loads(reply.read())["detail"]


@pytest.mark.parametrize("spoil", ["garbage", "cut", "half-with-an-end", "two-sizes"])
def test_a_damaged_photo_gets_the_same_problem_in_any_pace(server: Server, spoil: str) -> None:
    sound = photo()
    half = len(sound) // 2
    data = {
        "garbage": sound[:half] + os.urandom(5_000) + sound[half + 5_000 :],
        "cut": sound[:half],
        "half-with-an-end": sound[:half] + b"\xff\xd9",
        "two-sizes": sound[:half] + sound[sound.index(b"\xff\xc0") :],
    }[spoil]

    at_once, paced = post(server, form(data), paced=False), post(server, form(data), paced=True)

    assert at_once[0] == paced[0] == 422, paced
    assert at_once[1]["detail"] == paced[1]["detail"]


def test_two_hundred_slow_uploads_hold_no_thread_each_and_the_neighbour_is_answered(server: Server) -> None:
    data = photo()
    body = form(data)
    assert post(server, body, paced=True)[0] == 200
    threads, memory_kb = server.status("Threads"), server.status("VmRSS")
    lines = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(200)]
    try:
        for line in lines:
            line.sendall(head("/v1/estimates", len(body)) + body[:100_000])
        time.sleep(0.1)
        for line in lines:
            line.sendall(body[100_000:150_000])

        assert post(server, form(photo(640, 480)), paced=False, by="127.0.0.2")[0] == 200
        assert server.status("Threads") <= threads + 4
        assert server.status("VmRSS") - memory_kb < 150_000  # 30 MB of it as sent, 32 decodes under way
    finally:
        for line in lines:
            line.close()
    before = server.figure(ARRIVED)
    assert post(server, body, paced=True, by="127.0.0.2")[0] == 200
    assert server.figure(ARRIVED) > before  # the 200 hold no place any more


def test_a_client_that_leaves_in_the_middle_frees_its_upload(
    start: Callable[..., TestClient], jpeg: Callable[..., bytes]
) -> None:
    client = start()
    hands: Crew = client.app.state.service.crew  # type: ignore[attr-defined]
    hands.after_s = 0.0
    body = form(photo())

    def half_of_it() -> Iterator[bytes]:
        for at in range(0, len(body) // 2, 50_000):
            yield body[at : at + 50_000]

    reply = client.post(
        "/v1/estimates", content=half_of_it(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )

    assert reply.status_code == 400
    for _ in range(100):
        if hands.uploads == 0:
            break
        time.sleep(0.01)
    assert hands.uploads == 0
