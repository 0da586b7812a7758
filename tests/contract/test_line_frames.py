"""The wire format of a line's cameras: what goes in comes out, and every lie in a header is refused."""

import io
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from weft.errors import FrameError
from weft.line.frames import Frame, jpeg_frame, lines_frame, pack, picture_frame, unpack

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 7))
HEADER = "<4s4BQq4IQ"


def jpeg(height: int = 20, width: int = 32, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, kind)
    return buffer.getvalue()


def nir(rows: int = 3, bands: int = 8, pixels: int = 5) -> Frame:
    lines = np.arange(rows * bands * pixels, dtype=np.uint16).reshape(rows, bands, pixels)
    return lines_frame(lines, number=7, encoder=np.arange(rows) * 10, timestamp_ns=123)


def same(one: Frame, other: Frame) -> bool:
    return (
        (one.sensor, one.number, one.timestamp_ns, one.shape, one.simulated)
        == (other.sensor, other.number, other.timestamp_ns, other.shape, other.simulated)
        and one.encoder.tolist() == other.encoder.tolist()
        and np.asarray(one.content).dtype == np.asarray(other.content).dtype
        and np.array_equal(one.content, other.content)
    )


@given(
    sensor=st.sampled_from(["nir", "white", "dark"]),
    lines=SIZES.flatmap(
        lambda shape: st.sampled_from([np.uint8, np.uint16, np.float32]).flatmap(
            lambda kind: npst.arrays(
                kind,
                shape,
                elements={"allow_nan": False, "allow_infinity": False} if kind is np.float32 else None,
            )
        )
    ),
    first=st.integers(-(1 << 62), 1 << 62),
    number=st.integers(0, (1 << 64) - 1),
    timestamp_ns=st.integers(0, (1 << 63) - 1),
)
def test_lines_come_out_as_they_went_in(
    sensor: Any, lines: np.ndarray[Any, Any], first: int, number: int, timestamp_ns: int
) -> None:
    encoder = first + np.arange(len(lines), dtype=np.int64)
    sent = lines_frame(lines, sensor=sensor, number=number, encoder=encoder, timestamp_ns=timestamp_ns)
    found = unpack(pack(sent))

    assert same(found, sent)
    assert np.array_equal(found.counts, lines.transpose(0, 2, 1))


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), encoder=st.integers(-5, 1 << 40))
def test_pictures_come_out_as_they_went_in(shape: tuple[int, int], encoder: int) -> None:
    raw = picture_frame(np.full((*shape, 3), 9, np.uint8), number=0, encoder=encoder, timestamp_ns=1)
    packed = jpeg_frame(jpeg(*shape), number=1, encoder=encoder, timestamp_ns=2, simulated=True)

    assert same(unpack(pack(raw)), raw)
    assert same(unpack(pack(packed)), packed)
    assert packed.shape == (*shape, 3)
    assert [unpack(pack(frame)).simulated for frame in (raw, packed)] == [False, True]


def test_pixels_are_a_read_only_view_of_the_message() -> None:
    message = pack(nir())
    found = unpack(message)

    assert np.shares_memory(found.content, np.frombuffer(message, np.uint8))
    assert np.shares_memory(found.counts, found.content)
    with pytest.raises(ValueError, match="read-only"):
        found.counts[0, 0, 0] = 1


def test_the_documented_table_is_enough_to_write_one_by_hand() -> None:
    lines = np.arange(48, dtype="<u2").reshape(2, 8, 3)
    head = struct.pack(HEADER, b"WEFL", 1, 0, 2, 0, 41, 1_000_000_007, 2, 8, 3, 2, 96)
    found = unpack(head + struct.pack("<2q", 990, 1000) + lines.tobytes())

    assert (len(head), found.sensor, found.number, found.timestamp_ns) == (48, "nir", 41, 1_000_000_007)
    assert found.encoder.tolist() == [990, 1000]
    assert np.array_equal(found.content, lines)


def test_big_endian_counts_and_strided_views_are_sent_right() -> None:
    lines = np.arange(96, dtype=">u2").reshape(2, 6, 8)[:, ::2]

    assert np.array_equal(
        unpack(pack(lines_frame(lines, number=0, encoder=[1, 2], timestamp_ns=0))).content, lines
    )


@pytest.mark.parametrize(
    ("at", "kind", "value", "words"),
    [
        (0, "4s", b"RIFF", "begins with b'RIFF', needed b'WEFL'"),
        (4, "B", 2, "version 2"),
        (5, "B", 4, "sensor 4 and kind 2"),
        (6, "B", 4, "sensor 0 and kind 4"),
        (7, "B", 2, "byte 7 is 2, needed version 1 and 0 or 1"),
        (5, "B", 1, "5 channels, needed 3"),
        (6, "B", 0, "came as a JPEG"),
        (6, "B", 1, "in uint8 needs 120 bytes, 240 came"),
        (6, "B", 3, "in float32 needs 480 bytes, 240 came"),
        (16, "q", -1, "out of range"),
        (24, "I", 0, "needed three sizes of at least 1"),
        (24, "I", 2, "has 3 encoder counts, needed 2"),
        (28, "I", 9, "needs 270 bytes, 240 came"),
        (24, "I", 5_000, "5,000 rows, at most 4,096"),
        (32, "I", 0xFFFFFFFF, "larger than the 60 MB"),
        (36, "I", 1, "has 1 encoder counts, needed 3"),
        (36, "I", 0xFFFFFFFF, "4,294,967,295 encoder counts, needed 3"),
        (40, "Q", 239, "has 312 bytes, its header describes 311"),
        (40, "Q", (1 << 64) - 1, "send the whole frame as one message"),
    ],
)
def test_a_lie_in_the_header_is_refused_in_words(at: int, kind: str, value: Any, words: str) -> None:
    message = bytearray(pack(nir()))
    struct.pack_into("<" + kind, message, at, value)

    with pytest.raises(FrameError, match=words):
        unpack(message)


@pytest.mark.parametrize("kept", [0, 3, 47, 48, 71, 311])
def test_half_a_frame_is_refused(kept: int) -> None:
    with pytest.raises(FrameError, match=r"bytes, a header alone has 48|bytes, its header describes 312"):
        unpack(pack(nir())[:kept])


def test_a_jpeg_that_is_cut_another_size_or_no_jpeg_is_refused() -> None:
    whole = pack(jpeg_frame(jpeg(), number=0, encoder=0, timestamp_ns=0))
    cut = bytearray(whole[:-40])
    struct.pack_into("<Q", cut, 40, len(cut) - 56)
    with pytest.raises(FrameError, match="the JPEG is cut short"):
        unpack(cut)
    other = bytearray(whole)
    struct.pack_into("<I", other, 28, 33)
    with pytest.raises(FrameError, match="20 x 32 pixels high and wide, the header says 20 x 33"):
        unpack(other)
    for data, words in ((jpeg(kind="PNG"), "is png"), (jpeg(mode="L"), "1 channels"), (b"x", "not an image")):
        with pytest.raises(FrameError, match=words):
            jpeg_frame(data, number=0, encoder=0, timestamp_ns=0)


def test_what_cannot_be_sent_is_refused_where_it_is_made() -> None:
    lines = np.zeros((2, 8, 4), np.uint16)
    unsteady = np.full((2, 8, 4), np.nan, np.float32)
    for made, encoder, words in (
        (lines[0], [0, 1], "needed three sizes"),
        (lines, [0], "has 1 encoder counts, needed 2"),
        (lines.astype(np.int32), [0, 1], "holds int32, needed uint8, uint16, float32"),
        (unsteady, [0, 1], "not finite"),
        (np.zeros((4000, 100, 100), np.uint16), np.zeros(4000, np.int64), r"80.0 MB, at most 60 MB"),
    ):
        with pytest.raises(FrameError, match=words):
            lines_frame(made, number=0, encoder=encoder, timestamp_ns=0)
    with pytest.raises(FrameError, match="holds uint16, needed uint8"):
        picture_frame(np.zeros((4, 4, 3), np.uint16), number=0, encoder=0, timestamp_ns=0)  # type: ignore[arg-type]
    with pytest.raises(FrameError, match="states 2 x 8 x 5"):
        Frame("nir", 0, 0, np.zeros(2, np.int64), (2, 8, 5), lines)
    lines_frame(lines, sensor="white", number=0, encoder=[0], timestamp_ns=0)  # the belt matters to nir alone


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(data=st.binary(max_size=200), changes=st.lists(st.tuples(st.integers(0, 311), st.integers(0, 255))))
def test_whatever_comes_is_a_frame_or_a_frame_error(data: bytes, changes: list[tuple[int, int]]) -> None:
    message = bytearray(pack(nir()))
    for at, value in changes:
        message[at] = value
    for tried in (data, b"WEFL\x01" + data, bytes(message), bytes(message) + data):
        with suppress(FrameError):  # any other error fails
            assert unpack(tried).encoder.ndim == 1
