"""`weft bench`: its client, its sums, its page. The whole of it: test_bench_whole.py."""

import asyncio
import io
import json
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient

from weft.cli import main
from weft.errors import BenchError
from weft_serving.bench import scenes
from weft_serving.bench.bill import bill, shared_mib
from weft_serving.bench.load import Crew, Round, Work, arrivals, send_slowly
from weft_serving.bench.measure import FloorRound, Found, Part, Plan, share_below
from weft_serving.bench.page import page
from weft_serving.bench.report import lines, surroundings, tell
from weft_serving.bench.run import planned
from weft_serving.bench.talk import (
    Address,
    Answer,
    HttpLine,
    dial,
    form,
    message,
    post,
    read_address,
    read_answer,
)

HERE = Address("127.0.0.1", 8000)
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


class Server:
    """Speaks as much HTTP as the bench needs: counts what it was sent, answers what it is told to."""

    def __init__(self, *answers: bytes) -> None:
        self.bodies: list[bytes] = []
        self.peers: set[str] = set()
        self.dialled = 0
        self._answers = answers
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Address:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=2**24)
        return Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.dialled += 1
        self.peers.add(writer.get_extra_info("peername")[0])
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                writer.write(self._answers[min(len(self.bodies), len(self._answers)) - 1])
        except (asyncio.IncompleteReadError, ConnectionError):
            return


async def at_once(server: Server, clients: int, seconds: float) -> Round:
    async with server as address:
        crew = await Crew.hire(address, work(), clients)
        try:
            return await crew.at_once(seconds)
        finally:
            crew.dismiss()


def reply(body: bytes, *, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


RIGHT = reply(b'{"grams": 120.0}')
BUSY = reply(b'{"status": 503, "detail": "busy"}', status="503 Busy", more="Retry-After: 1\r\n")


def work(*, expected: float | None = 120.0, bound: float = 1e-4) -> Work:
    return Work("frame", [b"a photo", b"another"], [expected, expected], bound)


def test_its_requests_are_what_the_service_takes(client: TestClient, jpeg: Callable[..., bytes]) -> None:
    photo = jpeg()
    sent = post(HERE, "/v1/estimates", form(photo, {"season": "winter"}))
    head, _, body = sent.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])

    by_it = client.post("/v1/estimates", content=body, headers=headers).json()
    usual = client.post("/v1/estimates", files={"photos": ("a.jpg", photo)}, data={"season": "winter"}).json()

    assert int(headers["Content-Length"]) == len(body)
    assert by_it["grams"] == usual["grams"]


@pytest.mark.parametrize("size", [5, 300, 70_000])
def test_its_messages_are_frames_that_a_websocket_server_reads(size: int) -> None:
    from websockets.frames import Frame
    from websockets.streams import StreamReader

    payload = os.urandom(size)
    reader = StreamReader()
    reader.feed_data(message(payload))

    def read() -> Generator[None, None, Frame]:
        return (yield from Frame.parse(reader.read_exact, mask=True))

    with pytest.raises(StopIteration) as done:
        next(read())

    assert done.value.value.data == payload


def test_clients_ask_again_once_they_are_answered_each_from_its_own_address() -> None:
    server = Server(RIGHT)

    done = asyncio.run(at_once(server, 3, 0.2))

    assert len(done.latencies_s) == len(server.bodies) - 3  # the first of each is not measured
    assert len(done.latencies_s) >= 3
    assert done.turned_away_s == []
    if Path("/proc/self/stat").exists():
        assert len(server.peers) == 3


def test_an_answer_in_chunks_is_read_as_well() -> None:
    chunked = (
        b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{"grams":\r\n7\r\n 120.0}\r\n0\r\n\r\n'
    )

    assert asyncio.run(at_once(Server(chunked), 1, 0.05)).latencies_s


def test_whoever_is_turned_away_is_counted_apart_and_waits_as_told() -> None:
    done = asyncio.run(at_once(Server(RIGHT, RIGHT, BUSY, RIGHT), 1, 0.2))

    assert len(done.turned_away_s) == 1
    assert len(done.latencies_s) == 1  # a second is longer than this lasts


def test_a_server_that_closes_after_an_answer_is_dialled_anew() -> None:
    closing = reply(b'{"grams": 120.0}', more="Connection: close\r\n")
    server = Server(closing)

    done = asyncio.run(at_once(server, 1, 0.1))

    assert server.dialled == len(done.latencies_s) + 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            reply(b'{"grams": 121.0}'),
            r"answered 121\.0 g, the bundle says 120\.00 g within 0\.0001; name the",
        ),
        (reply(b'{"grams": null}'), "answered None g, the bundle says 120"),
        (reply(b'{"detail": "oh"}', status="500 Oh"), r"a request was answered 500 \(oh\)"),
        (reply(b"hello"), r"no JSON object \(b'hello'\)"),
    ],
)
def test_a_wrong_answer_ends_the_measurement(answer: bytes, words: str) -> None:
    with pytest.raises(BenchError, match=words):
        asyncio.run(at_once(Server(answer), 1, 0.1))


def test_a_server_that_hangs_up_is_told_of() -> None:
    async def go() -> None:
        def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            line = await dial(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
            try:
                await HttpLine(line).ask(b"")
            finally:
                line.close()

    with pytest.raises(BenchError, match="closed the connection without an answer"):
        asyncio.run(go())


def test_a_slow_link_hands_over_pieces_no_faster_than_it_is() -> None:
    photo = Work("photo", [bytes(60_000)], [120.0], 1e-4)

    async def go() -> list[float]:
        async with Server(RIGHT) as address:
            return await send_slowly(address, photo, mbit_per_s=8.0, takes=2)

    start = time.perf_counter()
    waits = asyncio.run(go())

    assert len(waits) == 2
    assert time.perf_counter() - start >= 2 * 60_000 * 8e-6 / 8.0


def test_requests_come_at_random_at_the_wanted_rate_and_the_same_each_time() -> None:
    times = arrivals(200.0, 10.0, seed=3)

    assert times == arrivals(200.0, 10.0, seed=3) == sorted(times)
    assert 1_800 < len(times) < 2_200
    assert 0 < times[0] < times[-1] < 10


@pytest.mark.parametrize(("share", "value"), [(0.5, 5), (0.99, 10), (0.0, 1), (0.1, 1), (0.11, 2)])
def test_percentiles_are_values_that_were_seen(share: float, value: float) -> None:
    assert share_below([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], share) == value


@linux
def test_a_bill_counts_cpu_time_and_memory_of_a_process() -> None:
    before = bill(os.getpid())
    until = time.process_time() + 0.1
    while time.process_time() < until:
        sum(range(1_000))
    after = bill(os.getpid())

    assert 0.05 <= after.cpu_s - before.cpu_s < 5
    assert after.peak_mib >= after.resident_mib > 5
    assert 1 < shared_mib(os.getpid()) <= after.peak_mib + 1
    with pytest.raises(BenchError, match=r"process 999999999\) has ended"):
        bill(999_999_999)


def part(cpu_ms: list[float]) -> Part:
    rounds = [Round(2.0, [0.01, 0.02, 0.03, 0.04], 0.004, [])] * 3
    floors = [FloorRound(30.0, 7.0, 1.0, alone=30.0 + n) for n in range(2)]
    floors += [FloorRound(31.0, 7.0, 1.0, alone=32.0)]
    return Part(floors=floors, rounds=rounds, cpu_ms=cpu_ms, half=rounds)


def told(cpu_ms: list[float]) -> dict[str, Any]:
    plan = Plan(rounds=3)
    about = surroundings(bundle=Path("weight.onnx"), files={"photo": [b"1234", b"12"]}, plan=plan)
    found = Found(
        parts={"photo": part(cpu_ms), "frame_ws": part(cpu_ms)},
        last_byte_s=[0.010, 0.011, 0.030],
        first_answer_s=[1.2, 1.1],
        peak_mib=181.0,
    )
    return tell(found, plan, about=about | {"engine": "onnxruntime", "settings": {}})


def test_what_is_told_are_medians_of_rounds_and_their_ratio() -> None:
    found = told([41.0, 43.0, 90.0])

    assert {name: found["photo"][name] for name in ("cpu_ms", "floor_cpu_ms", "ratio", "rps")} == {
        "cpu_ms": 43.0, "floor_cpu_ms": 38.0, "ratio": 1.132, "rps": 2.0,
    }  # fmt: skip
    assert (found["photo"]["floor_alone_cpu_ms"], found["photo"]["ratio_alone"]) == (32.0, 1.344)
    assert (found["photo"]["p50_ms"], found["photo"]["p99_ms"]) == (20.0, 40.0)
    assert found["last_byte_to_answer_ms"] == 11.0
    assert found["first_answer_s"] == 1.15
    assert found["memory_mib"] == 181.0
    assert found["bytes"] == {"photo": 3}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_run_without_load_has_a_page_and_lines_without_a_table() -> None:
    about = surroundings(bundle=Path("weight.onnx"), files={}, plan=Plan())
    found = tell(Found(first_answer_s=[1.2]), Plan(), about=about | {"engine": "onnxruntime", "settings": {}})

    assert "Process start to first right answer: 1.2 s" in page(found)
    assert "<svg" not in page(found)
    assert not any("CPU ms" in line for line in lines(found))


def test_a_server_that_is_not_ours_has_no_bill() -> None:
    found = told([])

    assert found["photo"]["cpu_ms"] is None
    assert found["photo"]["ratio"] is None
    assert any(line.startswith("photo of 12 megapixels") and " - " in line for line in lines(found))
    assert "unknown" in page(found)


def test_the_page_is_one_file_that_fetches_nothing() -> None:
    made = page(told([41.0, 43.0, 90.0]))

    assert made.count("<svg") == 3
    assert "1.13 times the floor" in made
    for word in ("http://", "https://", "<script", "src=", "@import"):
        assert word not in made


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "photos"], "--only: got 'photos', need some of photo,"),
        (["--only", "photo", "--set", "PATH=x"], "--set: got PATH, need a variable that begins with WEFT_,"),
        (["--only", "photo", "--set", "WEFT_WORKERS"], "--set: got WEFT_WORKERS, need NAME=VALUE"),
        (["--url", "http://127.0.0.1:1", "--set", "WEFT_WORKERS=1"], "leave them out with --url"),
        (["--bundle", "/no/such/bundle.onnx"], "cannot be read"),
        (["--photo", "/no/such/photo.jpg"], "cannot be read"),
    ],
)
def test_options_that_make_no_sense_are_told_in_one_line(
    options: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "PHOTO_SIDES", (320, 240))
    result = CliRunner().invoke(main, ["bench", *options])

    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--html", "/no/such/folder/x.html"], "--html: /no/such/folder/x.html cannot be written"),
        (["--url", "http://127.0.0.1:1"], "nothing answers at 127.0.0.1:1"),
        (["--url", "127.0.0.1:eighty"], "need one like http://"),
    ],
)
def test_what_would_fail_after_minutes_is_told_before_anything_is_made(
    options: list[str], words: str
) -> None:
    result = CliRunner().invoke(main, ["bench", *options])

    assert result.exit_code == 1
    assert words in result.stderr
    assert "making what is sent" not in result.stderr


def test_a_quick_run_honours_what_was_asked_for() -> None:
    quick = planned(quick=True, clients=2, rounds=None, seconds=None, overload_s=None)

    assert (quick.clients, quick.rounds, quick.seconds) == (2, 2, 0.6)
    assert planned(quick=True) == Plan(clients=4, rounds=2, seconds=0.6, takes=2, starts=1)
    assert planned(quick=False, seconds=1.5) == Plan(seconds=1.5)


@pytest.mark.parametrize(
    "url", ["ftp://here", "https://here", "http://", "http://here:eighty", "http://[::1"]
)
def test_an_address_that_cannot_be_measured_is_refused(url: str) -> None:
    with pytest.raises(BenchError, match="need one like http"):
        read_address(url)


def test_a_problem_over_a_stream_has_its_status_inside() -> None:
    assert read_answer(None, b'{"number": 1, "grams": 3.5}') == Answer(200, 3.5)
    assert read_answer(None, b'{"number": 2, "status": 415, "detail": "no"}') == Answer(
        415, None, False, "no"
    )


def test_frames_are_as_large_as_a_cameras_and_all_different() -> None:
    frames = scenes.make_frames(3)

    assert len(set(frames)) == 3
    for frame in frames:
        with Image.open(io.BytesIO(frame)) as image:
            assert image.size == (640, 480)
        assert 50_000 < len(frame) < 100_000


@pytest.mark.slow
def test_photos_are_as_large_as_a_phones() -> None:
    (photo,) = scenes.make_photos(1)

    assert 3_100_000 < len(photo) < 3_700_000
    with Image.open(io.BytesIO(photo)) as image:
        assert image.size == (4000, 3000)
