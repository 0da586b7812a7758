"""Damaged copies of everything that is taken from outside: an answer or one of our errors, never a fault.

Fixed seeds and numbers of copies, so that what fails once fails again; WEFT_FUZZ_ROUNDS=50 goes deeper.
"""

import json
import os
import random
import runpy
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from weft.bundle import load_bundle
from weft.errors import FrameError, PhotoError, ScanError
from weft.line.frames import lines_frame, pack, unpack
from weft.photos import decode_photo
from weft.scans.open import read_scan
from weft_serving.app import create_app
from weft_serving.settings import Settings
from weft_serving.store import open_store

CORPUS = runpy.run_path(str(Path(__file__).with_name("make_photos.py")))
FORM = "multipart/form-data; boundary=b"
ROUNDS = int(os.environ.get("WEFT_FUZZ_ROUNDS", "1"))
REFUSALS = {400, 404, 405, 413, 415, 422}
NM = range(900, 1700, 10)
SCANS: dict[str, bytes] = {
    "table": b"wavelength_nm;reflectance\n" + b"".join(b"%d;0.%d\n" % (nm, nm % 97) for nm in NM),
    "jcamp": b"##TITLE=x\n##JCAMP-DX=4.24\n##DATA TYPE=INFRARED SPECTRUM\n"
    b"##XUNITS=1/CM\n##YUNITS=ABSORBANCE\n##FIRSTX=4000\n##LASTX=10000\n##NPOINTS=7\n##XFACTOR=1\n##YFACTOR=0.1\n##XYDATA=(X++(Y..Y))\n"
    b"4000 1 2 3 4\n8000 5 6 7\n##END=\n",
    "nirscan": b"Method:,Column 1\n"
    b"Wavelength (nm),Absorbance (AU),Reference Signal (unitless),Sample Signal\n"
    + b"".join(b"%d,0.%d,3000,2000\n" % (nm, nm % 89) for nm in NM),
}  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """One to six wounds: flipped, cut, doubled, moved, overwritten with what parsers stumble over."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if not made:
            break
        at = rng.randrange(len(made))
        size = min(len(made) - at, rng.choice((1, 2, 4, 40, 400)))
        match rng.randrange(6):
            case 0:
                made[at] ^= 1 << rng.randrange(8)
            case 1:
                del made[at : at + size]
            case 2:
                made[at:at] = made[at : at + size]
            case 3:
                made[at : at + size] = rng.randbytes(size)
            case 4:
                made[at : at + size] = rng.choice((b"\0", b"\xff", b"\x7f", b"9", b"\n")) * size
            case _ if rng.random() < 0.2:
                del made[at:]
            case _:
                made[at : at + size] = made[: min(size, len(made) - at)]
    return bytes(made)


def copies(data: bytes, count: int) -> Iterator[bytes]:
    rng = random.Random(data[:64] + b"%d" % len(data))
    return (damaged(data, rng) for _ in range(count * ROUNDS))


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP", "HEIF"])
def test_a_damaged_photo_is_a_photo_or_a_photo_error(kind: str) -> None:
    progressive = {"progressive": True} if kind == "progressive" else {}
    photo = CORPUS["encoded"](CORPUS["scene"](), "JPEG" if progressive else kind, **progressive)
    slowest, said = 0.0, list[str]()

    for data in copies(photo, 150):
        began = time.process_time()
        try:
            pixels = decode_photo(data, longest_px=200).pixels
            assert pixels.dtype == np.uint8
            assert pixels.shape[2] == 3
        except PhotoError as error:
            said.append(str(error))
        slowest = max(slowest, time.process_time() - began)

    assert slowest < 5
    assert said
    assert not any("\n" in words for words in said)


@pytest.mark.parametrize("kind", SCANS)
def test_a_damaged_scan_is_a_scan_or_a_scan_error(kind: str) -> None:
    said: list[str] = []

    for data in copies(SCANS[kind], 400):
        try:
            read_scan("a.csv", data, unit="nm", quantity="reflectance")
        except ScanError as error:
            said.append(str(error))

    assert said
    assert not any("\n" in words for words in said)


def test_a_damaged_frame_is_a_frame_or_a_frame_error() -> None:
    counts = np.arange(5 * 8 * 6, dtype=np.uint16).reshape(5, 8, 6)
    frame = pack(lines_frame(counts, number=1, encoder=np.arange(5), timestamp_ns=5))

    said: list[str] = []

    for data in copies(frame, 2_000):
        try:
            unpack(data)
        except FrameError as error:
            said.append(str(error))

    assert said
    assert not any("\n" in words for words in said)


@pytest.fixture(scope="module")
def service(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    settings = Settings(database_url=f"sqlite:///{tmp_path_factory.mktemp('fuzzed')}/weft.db")
    app = create_app(
        settings,
        weight=load_bundle(tiny_weight_bundle, task="weight"),
        fibre=load_bundle(tiny_fibre_bundle, task="composition"),
        store=open_store(settings.database_url),
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def in_a_form(photo: bytes) -> bytes:
    part = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'
    more = b'\r\n--b\r\nContent-Disposition: form-data; name="mark"\r\n\r\nqr\r\n'
    last = b'--b\r\nContent-Disposition: form-data; name="mark_mm"\r\n\r\n60\r\n--b--\r\n'
    return part + photo + more + last


def test_a_damaged_form_is_never_a_fault(service: TestClient) -> None:
    whole = in_a_form(CORPUS["jpeg"]())
    assert service.post("/v1/estimates", content=whole, headers={"content-type": FORM}).status_code == 200

    for data in copies(whole, 150):
        reply = service.post("/v1/estimates", content=data, headers={"content-type": FORM})
        assert reply.status_code in REFUSALS | {200}, (reply.status_code, reply.text[:200])


def test_damaged_json_is_never_a_fault(service: TestClient) -> None:
    nm = list(range(900, 1701, 10))
    scan = {"wavelength_nm": nm, "values": [0.3 + (at % 7) / 20 for at in nm], "quantity": "reflectance"}
    whole = json.dumps(scan).encode()
    assert service.post("/v1/compositions", json=scan).status_code == 200

    for data in copies(whole, 300):
        reply = service.post("/v1/compositions", content=data, headers={"content-type": "application/json"})
        assert reply.status_code in REFUSALS | {200}, (reply.status_code, reply.text[:200])


def test_damaged_tensors_are_never_a_fault(service: TestClient) -> None:
    values = np.linspace(0.1, 0.9, 81, dtype="<f4").tobytes()
    nm = np.linspace(900, 1700, 81, dtype="<f4").tobytes()
    inputs = [
        {"name": name, "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": 324}}
        for name, shape in (("wavelength_nm", [81]), ("absorbance", [1, 81]))
    ]
    header = json.dumps({"inputs": inputs}).encode()
    address = "/v2/models/composition/infer"
    lengths = {
        "inference-header-content-length": str(len(header)),
        "content-type": "application/octet-stream",
    }
    assert service.post(address, content=header + nm + values, headers=lengths).status_code == 200

    for data in copies(header + nm + values, 300):
        reply = service.post(address, content=data, headers=lengths)
        assert reply.status_code in REFUSALS | {200}, (reply.status_code, reply.text[:200])


def test_a_damaged_greeting_or_message_never_ends_the_service(service: TestClient) -> None:
    photo = CORPUS["jpeg"]()
    for greeting in copies(b'{"task": "weight", "mark": "qr", "mark_mm": 60, "wrap": "bag"}', 60):
        with service.websocket_connect("/v1/stream") as line:
            line.send_text(greeting.decode("latin-1"))
            line.send_bytes(photo)
            assert "fault" not in line.receive_json().get("detail", "")

    with service.websocket_connect("/v1/stream") as line:
        line.send_json({"task": "weight"})
        for number, data in enumerate(copies(photo, 60), start=1):
            line.send_bytes(data)
            answer = line.receive_json()
            assert answer["number"] == number
            assert answer.get("status", 200) in REFUSALS | {200}, answer
