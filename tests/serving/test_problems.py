"""Refusals: one form for all of them, bounded cost, and the next request answered as if nothing had been."""

import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from weft import errors
from weft_serving.estimate_rows import find_estimate
from weft_serving.problems import KINDS, Refusal

Jpeg = Callable[..., bytes]
Photos = Callable[..., Any]


def subclasses(kind: type) -> Iterator[type]:
    yield kind
    for child in kind.__subclasses__():
        yield from subclasses(child)


def check_problem(reply: Any, *, status: int | tuple[int, ...]) -> dict[str, Any]:
    assert reply.status_code in (status if isinstance(status, tuple) else (status,)), reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    problem = json.loads(reply.text, parse_constant=lambda word: pytest.fail(f"{word} in an answer"))
    assert {"type", "title", "status", "detail", "instance"} <= set(problem)
    assert problem["status"] == reply.status_code
    assert len(problem["detail"]) > 20
    return problem


def png(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its data is a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


def jpeg_that_claims(data: bytes, side: int) -> bytes:
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", side, side) + data[at + 9 :]


FORM = "multipart/form-data; boundary=b"
PART = b"--b\r\nContent-Disposition: form-data; name="

HOSTILE: dict[str, tuple[Callable[[bytes], bytes], tuple[int, ...]]] = {
    "not an image": (lambda _: b"%PDF-1.7 certainly no photo", (415,)),
    "empty": (lambda _: b"", (422,)),
    "cut in the header": (lambda data: data[:100], (422,)),
    "20,000 x 20,000": (lambda _: png(20_000, 20_000), (413,)),
    "a header that claims 65,000 x 65,000": (lambda data: jpeg_that_claims(data, 65_000), (413,)),
    "a script": (
        lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        (415,),
    ),
    "31 MB": (lambda data: data + b"\0" * 31_000_000, (413,)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_photo_is_refused_at_bounded_cost_and_the_next_is_answered(
    client: TestClient, jpeg: Jpeg, photos: Photos, name: str
) -> None:
    make, status = HOSTILE[name]
    before = time.perf_counter()

    reply = client.post("/v1/estimates", files=photos(make(jpeg())))

    assert time.perf_counter() - before < 5
    check_problem(reply, status=status)
    assert client.post("/v1/estimates", files=photos(jpeg())).status_code == 200


@pytest.mark.parametrize("mode", ["L", "CMYK", "I;16"])
def test_photos_that_can_be_right_are_weighed(client: TestClient, photos: Photos, mode: str) -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(40, 220, (12, 16), dtype=np.uint16).repeat(40, 0).repeat(40, 1) + rng.integers(
        0, 30, (480, 640), dtype=np.uint16
    )
    buffer = io.BytesIO()
    if mode == "I;16":
        Image.fromarray((grey * 256).astype(np.uint16)).save(buffer, "PNG")
    else:
        Image.fromarray(grey.astype(np.uint8)).convert(mode).save(buffer, "JPEG", quality=92)

    reply = client.post("/v1/estimates", files=photos(buffer.getvalue()))

    assert reply.status_code == 200, reply.text
    assert reply.json()["grams"] > 0


def test_a_wrong_content_type_beside_a_right_photo_does_no_harm(client: TestClient, jpeg: Jpeg) -> None:
    reply = client.post("/v1/estimates", files={"photos": ("invoice.pdf", jpeg(), "application/pdf")})

    assert reply.status_code == 200


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\..\\x", "/abs/olute", "a\x00b", "ü" * 400, "%2e%2e%2f", ""]
)
def test_file_names_are_never_paths(client: TestClient, jpeg: Jpeg, tmp_path: Any, name: str) -> None:
    before = sorted(path for path in tmp_path.rglob("*") if not path.name.startswith("weft.db"))
    reply = client.post("/v1/estimates", files={"photos": (name or "x", jpeg())})

    assert reply.status_code in (200, 400)
    assert sorted(path for path in tmp_path.rglob("*") if not path.name.startswith("weft.db")) == before


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", None, 415),
        (b"{}", "application/json", 415),
        (b"photos=1", "application/x-www-form-urlencoded", 415),
        (b"x", "multipart/form-data", 415),
        (b"x", "multipart/form-data; boundary=", 415),
        (b"nothing like it", FORM, 400),
        (b"--b\r\n\r\nno headers\r\n--b--\r\n", FORM, 400),
        (b"--b--\r\n", FORM, (400, 422)),
        (PART + b'"photos"; filename="a"\r\n\r\ncut', FORM, 400),
        (PART + b'"photos"\r\n\r\ntext\r\n--b--\r\n', FORM, 422),
        (b"--b\r\nContent-Disposition: " + b"x" * 9000, FORM, (400, 413)),
        (b"--b\r\n" + b"X-A: 1\r\n" * 5000, FORM, (400, 413)),
        (PART + b'"parcel"\r\n\r\n' + b"x" * 9000, FORM, 413),
        ((PART + b'"wrap"\r\n\r\n\r\n') * 60 + b"--b--\r\n", FORM, 413),
        (b"x" * 400, "multipart/form-data; boundary=" + "b" * 300, (400, 415)),
    ],
)  # fmt: skip
def test_a_body_that_is_no_form_is_a_4xx(
    client: TestClient, content: bytes, kind: str | None, status: int | tuple[int, ...]
) -> None:
    headers = {"content-type": kind} if kind else {}
    check_problem(client.post("/v1/estimates", content=content, headers=headers), status=status)


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("estimates", "application/x-www-form-urlencoded", "or one photo as the body itself with"),
        ("estimates", "multipart/form-data", "without its boundary"),
        ("estimates", "multipart/form-data; boundary=", "without its boundary"),
    ],
)  # fmt: skip
def test_a_content_type_that_is_not_taken_is_told_what_would_be(
    client: TestClient, jpeg: Jpeg, path: str, kind: str, words: str
) -> None:
    reply = client.post(f"/v1/{path}", content=jpeg(), headers={"content-type": kind})

    assert words in check_problem(reply, status=415)["detail"]


@pytest.mark.parametrize("code", [b"%ff%fe", b"%ED%A0%80", b"a%80"])
def test_a_code_that_is_no_utf_8_is_refused_as_two_of_them_would_become_one(
    client: TestClient, jpeg: Jpeg, code: bytes
) -> None:
    raw = client.post(
        f"/v1/estimates?parcel={code.decode()}", content=jpeg(), headers={"content-type": "image/jpeg"}
    )
    text = PART + b'"parcel"\r\n\r\n' + unquote_to_bytes(code) + b"\r\n"
    photo = PART + b'"photos"; filename="a"\r\n\r\n' + jpeg() + b"\r\n--b--\r\n"
    form = client.post("/v1/estimates", content=text + photo, headers={"content-type": FORM})

    assert "no UTF-8 text" in check_problem(raw, status=422)["detail"]
    assert "`parcel` is no UTF-8 text" in check_problem(form, status=422)["detail"]


def test_a_code_in_utf_8_stays_as_it_is(client: TestClient, jpeg: Jpeg) -> None:
    raw = client.post(
        "/v1/estimates?parcel=%C3%BC+7%2F%E2%82%AC&wrap=",
        content=jpeg(),
        headers={"content-type": "image/jpeg"},
    )

    with client.app.state.service.store.reading() as session:
        assert find_estimate(session, raw.json()["id"]).parcel == "ü 7/€"


def test_61_megabytes_are_refused_by_their_length_and_by_their_bytes(client: TestClient) -> None:
    kind = {"content-type": "multipart/form-data; boundary=b"}

    def endless() -> Iterator[bytes]:
        yield PART + b'"photos"; filename="a"\r\n\r\n'
        for _ in range(61):
            yield b"\0" * 1_000_000

    told = check_problem(client.post("/v1/estimates", content=b"\0" * 61_000_000, headers=kind), status=413)
    check_problem(client.post("/v1/estimates", content=endless(), headers=kind), status=413)

    assert "61,000,000 bytes or more, at most 60,000,000" in told["detail"]
    assert client.app.middleware_stack is not None


def test_json_beyond_its_limit_is_refused_unread(client: TestClient) -> None:
    check_problem(
        client.post(
            "/v1/compositions", content=b"[" * 3_000_000, headers={"content-type": "application/json"}
        ),
        status=413,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"{",
        b"\xff\xfe",
        b"null",
        b'{"values": 1}',
        b'{"wavelength_nm": [900], "values": [true], "quantity": "reflectance"}',
        b'{"a":' * 5000,
    ],
)
def test_json_that_is_no_scan_is_refused(client: TestClient, body: bytes) -> None:
    reply = client.post("/v1/compositions", content=body, headers={"content-type": "application/json"})

    check_problem(reply, status=422)


def test_a_compressed_body_is_refused(client: TestClient) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    check_problem(client.post("/v1/compositions", content=b"x", headers=headers), status=415)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/estimates", 405),
        ("GET", "/v1/compositions", 405),
        ("GET", "/problems/none", 404),
    ],
)  # fmt: skip
def test_addresses_and_methods_that_do_not_exist_are_problems_too(
    client: TestClient, method: str, path: str, status: int
) -> None:
    reply = client.request(method, path)

    check_problem(reply, status=status)
    assert (status == 405) == ("allow" in reply.headers)


def test_every_error_of_ours_has_a_kind_with_a_page(client: TestClient) -> None:
    ours = [*subclasses(errors.InputError), *subclasses(Refusal), errors.StoreError]
    for kind in ours:
        assert kind.slug in KINDS, kind
    for slug, kind in KINDS.items():
        page = client.get(f"/problems/{slug}")
        assert page.status_code == 200
        assert str(kind.status) in page.text


def test_a_full_house_answers_503_with_retry_after(
    start: Callable[..., TestClient], jpeg: Jpeg, photos: Photos
) -> None:
    client = start(workers=1, waiting=0)
    service: Any = client.app.state.service
    service.pool._running += 1
    try:
        reply = client.post("/v1/estimates", files=photos(jpeg()))
    finally:
        service.pool._running -= 1

    check_problem(reply, status=503)
    assert int(reply.headers["retry-after"]) > 0
    assert client.post("/v1/estimates", files=photos(jpeg())).status_code == 200


def test_a_body_that_pauses_too_long_is_given_up(start: Callable[..., TestClient]) -> None:
    import anyio

    client = start(idle_seconds=0.1)
    sent: list[Any] = []

    async def receive() -> Any:
        await anyio.sleep(3600)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/estimates", "raw_path": b"/v1/estimates", "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", b"100")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)

    assert sent[0]["status"] == 408


def test_a_fault_of_ours_is_a_problem_without_its_innards(
    client: TestClient,
    jpeg: Jpeg,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret word")

    monkeypatch.setattr(client.app.state.service.models.weight.weigher, "weigh", fail)
    with caplog.at_level("INFO", logger="weft.serving"):
        reply = client.post("/v1/estimates", files=photos(jpeg()), data={"parcel": "PRIVATE-7"})

    problem = check_problem(reply, status=500)
    assert "secret" not in reply.text + caplog.text
    assert problem["request"] in caplog.text
    monkeypatch.undo()
    assert client.post("/v1/estimates", files=photos(jpeg())).status_code == 200


def test_logs_and_metrics_hold_nothing_personal(
    client: TestClient, jpeg: Jpeg, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="weft.serving"):
        made = client.post(
            "/v1/estimates", files={"photos": ("grandmas_house.jpg", jpeg())}, data={"parcel": "PRIVATE-7"}
        ).json()
        client.get(f"/v1/estimates/{made['id']}")
        client.post("/v1/estimates", files={"photos": ("grandmas_house.jpg", b"bad")})

    told = caplog.text + client.get("/metrics").text
    assert '"route": "/v1/estimates/{estimate_id}"' in caplog.text
    for word in ("grandmas", "PRIVATE-7", made["id"], "testclient"):
        assert word not in told


def test_metrics_count_by_template_and_name_the_bundles(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    client.post("/v1/estimates", files=photos(jpeg()))
    client.get("/nothing/at/all")

    text = client.get("/metrics").text

    assert 'weft_requests_total{method="POST",route="/v1/estimates",status="200"} 1.0' in text
    assert 'weft_requests_total{method="GET",route="unmatched",status="404"} 1.0' in text
    assert 'weft_stage_seconds_count{stage="weigh"} 1.0' in text
    assert 'name="tiny-weight"' in text
