"""The short way through a small form says what the parser says, or leaves it to the parser."""

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser

from weft_serving.door.small_forms import Part, boundary_of, read_disposition, split_form


def parsed(body: bytes, boundary: bytes) -> list[Part] | None:
    """What the parser makes of it; None where it refuses it or waits for more."""
    parts: list[list[Any]] = []
    headers: dict[bytes, bytes] = {}
    field, value, ended = bytearray(), bytearray(), []

    def header_end() -> None:
        headers[bytes(field).lower()] = bytes(value)
        field.clear()
        value.clear()

    def begin() -> None:
        headers.clear()
        parts.append([None, bytearray()])

    def finished() -> None:
        parts[-1][0] = read_disposition(headers.get(b"content-disposition", b""))

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": begin,
            "on_part_data": lambda data, start, end: parts[-1][1].extend(data[start:end]),
            "on_header_field": lambda data, start, end: field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: value.extend(data[start:end]),
            "on_header_end": header_end,
            "on_headers_finished": finished,
            "on_end": lambda: ended.append(True),
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except (MultipartParseError, ValueError):
        return None
    if not ended or any(named is None for named, _ in parts):
        return None
    return [Part(*named, bytes(data)) for named, data in parts]


def plain(*parts: tuple[bytes, bytes], boundary: bytes = b"b") -> bytes:
    return b"".join(b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary, *part) for part in parts) + b"--%s--" % boundary


FIELD = b'Content-Disposition: form-data; name="wrap"'
FILE = b'content-disposition: form-data; name="photos"; filename="a b.jpg"\r\nContent-Type: image/jpeg'


def test_a_form_as_clients_write_it_is_split() -> None:
    request = httpx.Request(
        "POST",
        "http://weft",
        data={"wrap": "bag"},
        files={"photos": ("ä.jpg", b"\xff\xd8 a photo\r\n--", "")},
    )

    boundary = boundary_of(request.headers["content-type"])

    assert boundary is not None
    parts = split_form(request.read(), boundary)
    assert parts == parsed(request.read(), boundary)
    assert parts is not None
    assert [part.data for part in parts] == [b"bag", b"\xff\xd8 a photo\r\n--"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--b", b"--b--", b"--b\r\n", b"\r\n" + plain((FIELD, b"bag")), plain((FIELD, b"bag"))[:-2],
        plain((FIELD, b"bag")) + b"and more", plain((FIELD, b"bag")).replace(b"--b\r\n", b"--b \r\n"),
        plain((b"no header", b"x")), plain((b"Content-Type: text/plain", b"x")),
        plain((FIELD + b"\r\n folded", b"")),
        plain((FIELD, b"one\r\n--bless you")), plain((FIELD + b"\x00", b"x")),
        plain((FIELD + b"x" * 2_000, b"x")),
    ],
)  # fmt: skip
def test_what_is_of_no_plain_shape_is_left_to_the_parser(body: bytes) -> None:
    assert split_form(body, b"b") is None


PIECES = st.lists(
    st.sampled_from(
        [b"--b", b"--", b"b", b"\r\n", b"\r", b"\n", b" ", b":", FIELD, FILE, b"\r\n\r\n", b"\0", b"\r\n--b"]
    ),
    max_size=14,
).map(b"".join)  # fmt: skip


@given(
    body=st.one_of(
        PIECES, st.lists(st.tuples(st.sampled_from([FIELD, FILE]), PIECES)).map(lambda p: plain(*p))
    )
)
def test_no_body_is_split_otherwise_than_the_parser_would(body: bytes) -> None:
    parts = split_form(body, b"b")

    assert parts is None or parts == parsed(body, b"b")
