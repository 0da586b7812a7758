import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageOps, features

from weft import photos
from weft.errors import TooLargeError, UnsupportedPhotoError
from weft.photos import decode_photo

PHONES = Path(__file__).parents[2].parent / "shared" / "data" / "photos" / "phone_originals"
needs_phones = pytest.mark.skipif(
    not PHONES.is_dir(), reason="the phones' originals are not in ../shared/data"
)


def corners(width: int = 64, height: int = 40) -> Image.Image:
    """Four quarters of different colours, so that every orientation looks different."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (220, 40, 40)
    pixels[: height // 2, width // 2 :] = (40, 200, 60)
    pixels[height // 2 :, : width // 2] = (50, 60, 210)
    pixels[height // 2 :, width // 2 :] = (230, 220, 60)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_jpeg_at_full_size_has_its_colours_and_its_size() -> None:
    photo = decode_photo(encoded(corners(), "JPEG", quality=95, subsampling=0), longest_px=None)

    assert photo.pixels.shape == (40, 64, 3)
    assert (photo.full_width_px, photo.full_height_px, photo.full_per_pixel) == (64, 40, 1)
    assert np.abs(photo.pixels.astype(int) - np.asarray(corners())).max() < 20


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_exif_orientation_comes_out_upright(orientation: int, kind: str, order: str) -> None:
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    data = encoded(
        corners(), kind, exif=exif, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {})
    )
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))

    photo = decode_photo(data, longest_px=None)

    assert np.abs(photo.pixels.astype(int) - upright).max() <= 4
    assert (photo.full_height_px, photo.full_width_px) == upright.shape[:2]
    assert photo.pixels.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_makes_no_sense_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    assert decode_photo(encoded(corners(), "JPEG", exif=exif), longest_px=None).pixels.shape == (40, 64, 3)


@pytest.mark.parametrize(
    "exif", [b"", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff", bytes(99)]
)
def test_a_broken_exif_block_does_not_cost_the_photo(exif: bytes) -> None:
    data = encoded(corners(), "JPEG")
    block = b"Exif\0\0" + exif
    data = data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]

    assert decode_photo(data, longest_px=None).pixels.shape == (40, 64, 3)


@pytest.mark.parametrize("size", [(801, 600), (600, 801), (1000, 37), (37, 1000), (640, 640), (100, 100)])
@pytest.mark.parametrize("longest_px", [32, 96, 320, 640, 5000])
def test_jpeg_and_png_are_reduced_to_the_same_size_never_below_what_was_asked(
    size: tuple[int, int], longest_px: int
) -> None:
    image = corners(*size)
    png = decode_photo(encoded(image, "PNG"), longest_px=longest_px)
    jpeg = decode_photo(encoded(image, "JPEG", quality=95, subsampling=0), longest_px=longest_px)

    assert png.pixels.shape == jpeg.pixels.shape
    assert max(jpeg.pixels.shape) >= min(longest_px, max(size))
    assert max(jpeg.pixels.shape) < 2 * longest_px
    assert jpeg.full_per_pixel == pytest.approx(max(size) / max(jpeg.pixels.shape))
    if min(jpeg.pixels.shape[:2]) > 20:  # the padding of a thin JPEG shows in its edge pixels
        assert np.abs(png.pixels.astype(int) - jpeg.pixels).mean() < 3


def test_a_greyscale_jpeg_and_png_become_rgb() -> None:
    grey = corners().convert("L")
    for kind in ("JPEG", "PNG"):
        photo = decode_photo(encoded(grey, kind), longest_px=None)
        assert photo.pixels.shape == (40, 64, 3)
        assert np.abs(photo.pixels.astype(int) - np.asarray(grey)[..., None]).max() < 12


def test_a_cmyk_jpeg_has_the_colours_that_pillow_sees() -> None:
    data = encoded(corners().convert("CMYK"), "JPEG", quality=95)

    photo = decode_photo(data, longest_px=None)

    assert (
        np.abs(photo.pixels.astype(int) - np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).max() < 12
    )


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (40, 1))

    photo = decode_photo(encoded(Image.fromarray(ramp), "PNG"), longest_px=None)

    assert np.array_equal(photo.pixels, np.repeat((ramp >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_sixteen_bit_colour_is_scaled_not_clipped() -> None:
    # Pillow writes no 16-bit RGB: a PNG by hand, one row of black, half and full red.
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    row = b"\0" + struct.pack(">9H", 0, 0, 0, 0x8000, 0, 0, 0xFFFF, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")

    assert decode_photo(data, longest_px=None).pixels[0].tolist() == [[0, 0, 0], [128, 0, 0], [255, 0, 0]]


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA"])
def test_every_other_mode_of_png_is_read(mode: str) -> None:
    photo = decode_photo(encoded(corners().convert("RGBA").convert(mode), "PNG"), longest_px=None)

    assert photo.pixels.shape == (40, 64, 3)


def test_what_is_transparent_becomes_white_not_the_colour_under_it() -> None:
    image = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    image.paste((0, 0, 200, 255), (0, 0, 32, 64))

    pixels = decode_photo(encoded(image, "PNG"), longest_px=8).pixels

    assert pixels[0, 0].tolist() == [0, 0, 200]
    assert pixels[0, -1].tolist() == [255, 255, 255]


def test_a_heic_photo_is_read_and_its_exif_orientation_not_applied_twice() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    pillow_heif.from_pillow(corners(128, 80)).save(buffer, quality=95, exif=exif.tobytes())

    photo = decode_photo(buffer.getvalue(), longest_px=None)

    seen = pillow_heif.open_heif(io.BytesIO(buffer.getvalue())).to_pillow()
    assert (photo.full_width_px, photo.full_height_px) == seen.size
    assert np.abs(photo.pixels.astype(int) - np.asarray(seen.convert("RGB"))).max() == 0
    assert decode_photo(buffer.getvalue(), longest_px=32).pixels.shape[:2] == tuple(
        -(-side * 2 // 8) for side in (photo.full_height_px, photo.full_width_px)
    )


def test_a_webp_photo_is_read_or_refused_by_name() -> None:
    if features.check("webp"):
        assert decode_photo(encoded(corners(), "WEBP"), longest_px=None).pixels.shape == (40, 64, 3)
    else:
        body = b"VP8X\x0a\0\0\0" + bytes(4) + b"\x3f\0\0\x27\0\0"
        with pytest.raises(UnsupportedPhotoError, match="WebP is not built into"):
            decode_photo(b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body, longest_px=None)


def test_a_webp_photo_may_have_fewer_pixels_as_its_decoder_takes_more_memory() -> None:
    body = b"VP8X\x0a\0\0\0" + bytes(4) + (5199).to_bytes(3, "little") * 2
    with pytest.raises(TooLargeError, match="27 megapixels, at most 25 are taken for this kind of file"):
        decode_photo(b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body, longest_px=None)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "HEIF"])
def test_large_photos_that_need_all_their_pixels_are_decoded_one_at_a_time(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pillow_heif.register_heif_opener()
    data = encoded(corners(), kind, progressive=True)
    upright, inside, seen = photos._upright, [], []  # pyright: ignore[reportPrivateUsage]

    def slow(*args: object) -> object:
        inside.append(1)
        time.sleep(0.02)
        seen.append(len(inside))
        inside.pop()
        return upright(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(photos, "_MANY_PIXELS", 1)
    monkeypatch.setattr(photos, "_upright", slow)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: decode_photo(data, longest_px=None), range(3)))

    assert seen == [1, 1, 1]


def test_the_content_decides_not_the_bytes_that_follow_the_photo() -> None:
    data = encoded(corners(), "JPEG") + b"trailer of a motion photo" * 1000

    assert decode_photo(data, longest_px=None).pixels.shape == (40, 64, 3)


def test_padding_before_the_end_marker_is_forgiven_as_phones_write_it() -> None:
    data = encoded(corners(), "JPEG")

    photo = decode_photo(data[:-2] + bytes(64) + b"\xff\xd9", longest_px=None)

    assert np.array_equal(photo.pixels, decode_photo(data, longest_px=None).pixels)


def test_progressive_and_baseline_give_the_same_pixels() -> None:
    image = corners(640, 480)
    pixels = [
        decode_photo(encoded(image, "JPEG", progressive=progressive), longest_px=160).pixels
        for progressive in (False, True)
    ]

    assert np.array_equal(*pixels)


def test_a_photo_has_room_for_nothing_but_pixels_and_its_size() -> None:
    photo = decode_photo(encoded(corners(), "JPEG"), longest_px=None)

    assert set(photo.__slots__) == {"pixels", "full_width_px", "full_height_px"}
    with pytest.raises(AttributeError):
        object.__setattr__(photo, "exif", b"")


@pytest.mark.real_data
@needs_phones
@pytest.mark.parametrize("path", sorted(PHONES.glob("*.jpg")), ids=lambda path: path.stem)
def test_a_phones_original_comes_out_as_pillow_would_turn_it(path: Path) -> None:
    photo = decode_photo(path.read_bytes(), longest_px=640)

    with Image.open(path) as image:
        image.draft("RGB", (photo.pixels.shape[1], photo.pixels.shape[0]))
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert photo.full_width_px * photo.full_height_px >= 7.9e6
    assert 640 <= max(photo.pixels.shape) < 1280
    reference = np.asarray(upright.resize((photo.pixels.shape[1], photo.pixels.shape[0])), dtype=int)
    assert np.abs(photo.pixels - reference).mean() < 3
