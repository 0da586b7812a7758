"""A photo decoded in pieces is the photo decoded whole: the same pixels, or the same words."""

import io
import itertools
import runpy
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from weft.errors import PhotoError, TooLargeError
from weft.photo_arriving import ArrivingPhoto
from weft.photos import Arrived, decode_photo

CORPUS = runpy.run_path(str(Path(__file__).parents[1] / "hostile" / "make_photos.py"))
PHONES = Path(__file__).parents[2].parent / "shared" / "data" / "photos" / "phone_originals"
CASES = {name: case for name, case in CORPUS["CASES"].items() if "megabytes" not in name}
JPEGS = {name: case for name, case in CASES.items() if "jpeg" in name or "two-bytes" in name}


def scene(width: int, height: int) -> Image.Image:
    """Noise in blocks and grains: every block's coefficients matter."""
    rng = np.random.default_rng(width * 1000 + height)
    blocks = rng.integers(30, 225, (height // 9 + 1, width // 9 + 1, 3)).repeat(9, 0).repeat(9, 1)
    grains = rng.integers(-30, 30, (height, width, 3))
    return Image.fromarray((blocks[:height, :width] + grains).clip(0, 255).astype(np.uint8))


def jpeg(width: int = 1300, height: int = 900, *, grey: bool = False, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = scene(width, height)
    (image.convert("L") if grey else image).save(buffer, "JPEG", **{"quality": 85, **options})
    return buffer.getvalue()


def turned(data: bytes, orientation: int) -> bytes:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def arrive(data: bytes, *, longest_px: int | None = 320, every: int = 4_096) -> Arrived:
    arriving = ArrivingPhoto(longest_px=longest_px)
    for at in range(0, len(data), every):
        arriving.feed(data[at : at + every])
    return arriving.finish()


def verdict(file: bytes | Arrived, longest_px: int | None) -> tuple[str, str]:
    try:
        decode_photo(file, longest_px=longest_px)
    except PhotoError as error:
        return type(error).__name__, str(error)
    return "", ""


def is_the_same(data: bytes, arrived: Arrived, longest_px: int | None) -> bool:
    whole, photo = decode_photo(data, longest_px=longest_px), decode_photo(arrived, longest_px=longest_px)
    sizes = (whole.full_width_px, whole.full_height_px) == (photo.full_width_px, photo.full_height_px)
    return sizes and photo.pixels.flags.c_contiguous and np.array_equal(whole.pixels, photo.pixels)


@pytest.mark.parametrize("longest_px", [40, 100, 163, 320, 650, None])  # 1/8 with blocks, 1/8, 1/4, 1/2, 1
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("restarts", [0, 1])
def test_every_scale_and_subsampling_gives_the_pixels_of_the_whole(
    longest_px: int | None, subsampling: str, restarts: int
) -> None:
    data = jpeg(1301, 899, subsampling=subsampling, restart_marker_rows=restarts)

    arrived = arrive(data, longest_px=longest_px)

    assert arrived.photo is not None
    assert is_the_same(data, arrived, longest_px)


@pytest.mark.parametrize("orientation", range(9))
def test_every_orientation_comes_out_upright(orientation: int) -> None:
    data = turned(jpeg(1000, 701), orientation)

    arrived = arrive(data, longest_px=250)

    assert arrived.photo is not None
    assert is_the_same(data, arrived, 250)


@pytest.mark.parametrize(
    "options",
    [{"grey": True}, {"optimize": True}, {"keep_rgb": True, "subsampling": "4:4:4"}, {"quality": 100},
     {"icc_profile": bytes(200_000), "comment": b"words" * 999}, {"restart_marker_blocks": 1}],
    ids=["grey", "own-tables", "rgb", "best", "icc-and-comment", "restart-at-each-unit"],
)  # fmt: skip
def test_what_cameras_and_programs_write_is_decoded_while_it_arrives(options: dict[str, Any]) -> None:
    data = jpeg(**options)

    arrived = arrive(data)

    assert arrived.photo is not None
    assert is_the_same(data, arrived, 320)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    cuts=st.lists(st.floats(0, 1), max_size=12),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    restarts=st.sampled_from([0, 0, 1, 7]),
    grey=st.booleans(),
    orientation=st.integers(1, 8),
    longest_px=st.sampled_from([16, 64, 90, 320]),
)
def test_any_photo_in_any_pieces_is_the_photo_in_one(
    width: int, height: int, cuts: list[float], subsampling: str, restarts: int, grey: bool,
    orientation: int, longest_px: int,
) -> None:  # fmt: skip
    data = turned(
        jpeg(width, height, grey=grey, subsampling=subsampling, restart_marker_blocks=restarts), orientation
    )
    places = [0, *sorted(round(cut * len(data)) for cut in cuts), len(data)]
    arriving = ArrivingPhoto(longest_px=longest_px)

    for start, stop in itertools.pairwise(places):
        arriving.feed(data[start:stop])

    assert is_the_same(data, arriving.finish(), longest_px)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(data=st.data(), restarts=st.sampled_from([0, 0, 1]), optimize=st.booleans())
def test_damage_of_any_kind_gets_the_verdict_of_the_whole(
    data: st.DataObject, restarts: int, optimize: bool
) -> None:
    sound = jpeg(700, 520, restart_marker_rows=restarts, optimize=optimize)
    at = data.draw(st.integers(2, len(sound) - 40))
    length = data.draw(st.sampled_from([1, 2, 30, 2_000]))
    filling = data.draw(
        st.sampled_from([b"", bytes(length), b"\xff" * length, b"\xff\xd9", b"\x7f" * length])
    )
    spoilt = sound[:at] + filling + sound[at + length :]

    arrived = arrive(spoilt, longest_px=80, every=data.draw(st.sampled_from([700, 9_000, 10**6])))

    assert verdict(arrived, 80) == verdict(spoilt, 80)
    if verdict(spoilt, 80) == ("", ""):
        assert is_the_same(spoilt, arrived, 80)


@pytest.mark.parametrize("name", [name for name in CASES if "bomb" not in name])
def test_every_hostile_photo_ends_in_the_error_of_the_whole(name: str) -> None:
    data = CASES[name].make()

    assert verdict(arrive(data, every=997), 320) == verdict(data, 320)


@pytest.mark.parametrize("name", JPEGS)
def test_a_hostile_photo_in_pieces_of_one_byte_ends_in_the_error_of_the_whole(name: str) -> None:
    data = CASES[name].make()[:20_000]

    assert verdict(arrive(data, every=1), 320) == verdict(data, 320)


@pytest.mark.parametrize("lost", range(1, 9))
@pytest.mark.parametrize("optimize", [False, True])
def test_a_scan_that_lacks_its_last_bytes_before_a_forged_end_is_damaged(lost: int, optimize: bool) -> None:
    data = jpeg(400, 300, optimize=optimize)[: -2 - lost] + b"\xff\xd9"

    assert verdict(arrive(data, longest_px=50), 50) == verdict(data, 50)
    assert "damaged" in verdict(data, 50)[1]


def test_a_photo_in_pieces_of_one_byte_is_decoded() -> None:
    data = jpeg(400, 300)

    arrived = arrive(data, longest_px=50, every=1)

    assert arrived.photo is not None
    assert is_the_same(data, arrived, 50)


def test_a_size_beyond_the_limit_is_refused_when_it_has_come_and_nothing_is_held_for_it() -> None:
    data = CORPUS["jpeg_claiming"](65_000, 65_000)
    arriving = ArrivingPhoto(longest_px=320)
    seen = 0

    while arriving.refused is None:
        arriving.feed(data[seen : seen + 1])
        seen += 1

    assert seen <= data.index(b"\xff\xc0") + 19  # the frame header's own length
    for _ in range(50):
        arriving.feed(bytes(1_000_000))
    arrived = arriving.finish()
    assert isinstance(arrived.error, TooLargeError)
    assert "4225 megapixels" in str(arrived.error)
    assert not arrived.pieces


def test_a_second_size_is_refused_when_it_has_come() -> None:
    data = jpeg(400, 300)
    at = data.index(b"\xff\xc0")
    frame = data[at : at + 19]
    arriving = ArrivingPhoto(longest_px=320)

    arriving.feed(data[: at + 19] + frame)

    assert "states its size twice" in str(arriving.refused)


def test_what_is_no_photo_is_refused_by_its_first_bytes() -> None:
    arriving = ArrivingPhoto(longest_px=320)

    arriving.feed(b"%PDF-1.7" + bytes(100))

    assert "this is a PDF" in str(arriving.refused)


def test_what_follows_the_end_of_the_image_is_forgotten() -> None:
    data = jpeg(400, 300)
    arriving = ArrivingPhoto(longest_px=50)
    arriving.feed(data)

    for _ in range(100):
        arriving.feed(bytes(100_000))  # as a film behind a photo
    arrived = arriving.finish()

    assert sum(map(len, arrived.pieces)) == len(data)
    assert is_the_same(data, arrived, 50)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_are_left_for_the_whole(kind: str) -> None:
    buffer = io.BytesIO()
    scene(700, 500).save(buffer, kind)

    arrived = arrive(buffer.getvalue())

    assert arrived.photo is None
    assert is_the_same(buffer.getvalue(), arrived, 320)


@pytest.mark.parametrize("options", [{"progressive": True}, {"cmyk": True}], ids=["progressive", "cmyk"])
def test_jpegs_that_must_be_held_whole_are(options: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    image = scene(700, 500).convert("CMYK") if options.pop("cmyk", False) else scene(700, 500)
    image.save(buffer, "JPEG", **options)

    arrived = arrive(buffer.getvalue())

    assert arrived.photo is None
    assert is_the_same(buffer.getvalue(), arrived, 320)


def test_a_file_asked_for_at_another_scale_is_decoded_anew() -> None:
    data = jpeg()

    assert is_the_same(data, arrive(data, longest_px=320), 1000)


def test_one_that_finds_no_place_is_left_for_the_whole_and_a_place_comes_free_at_the_end() -> None:
    places = threading.Semaphore(1)
    data = jpeg()
    first = ArrivingPhoto(longest_px=320, places=places)
    first.feed(data[:50_000])
    second = ArrivingPhoto(longest_px=320, places=places)
    second.feed(data)
    assert second.finish().photo is None

    first.abandon()
    third = ArrivingPhoto(longest_px=320, places=places)
    third.feed(data)

    assert third.finish().photo is not None
    assert places.acquire(blocking=False)


@pytest.mark.skipif(not PHONES.is_dir(), reason="the phones' originals are not in ../shared/data")
@pytest.mark.real_data
def test_originals_of_phones_are_decoded_while_they_arrive() -> None:
    for file in sorted(PHONES.iterdir()):
        data = file.read_bytes()

        arrived = arrive(data, every=65_536)

        assert arrived.photo is not None
        assert is_the_same(data, arrived, 320)


def test_damage_between_restart_markers_costs_a_strip_and_not_the_photo() -> None:
    sound = jpeg(1000, 700, restart_marker_rows=1)
    marks = [at for at in range(len(sound) - 1) if sound[at] == 0xFF and 0xD0 <= sound[at + 1] <= 0xD7]
    start = marks[20] + 40
    spoilt = sound[:start] + bytes(200) + sound[start + 200 :]

    arrived = arrive(spoilt, longest_px=125)

    assert arrived.photo is not None
    assert is_the_same(spoilt, arrived, 125)
    differing = (arrived.photo.pixels != decode_photo(sound, longest_px=125).pixels).any((1, 2))
    assert 0 < differing.sum() <= 4  # rows of pixels at 1/8: one row of units is two


def test_a_photo_that_lacks_a_restart_marker_is_damaged() -> None:
    sound = jpeg(1000, 700, restart_marker_rows=1)
    at = sound.index(b"\xff\xd4")
    spoilt = sound[:at] + sound[at + 2 :]

    assert verdict(arrive(spoilt, longest_px=125), 125) == verdict(spoilt, 125)
    assert "damaged" in verdict(spoilt, 125)[1]


def test_few_restart_markers_confine_no_damage() -> None:
    sound = jpeg(1000, 700, restart_marker_rows=4)  # 10 of them
    at = len(sound) // 2
    spoilt = sound[:at] + bytes(300) + sound[at + 300 :]

    assert verdict(arrive(spoilt, longest_px=125), 125) == verdict(spoilt, 125)
    assert "damaged" in verdict(spoilt, 125)[1]
