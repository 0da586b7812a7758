"""The corpus of hostile photos, made by code: what each one is, and the error that it must end in.

Used by `test_hostile_photos.py` here and by the service's tests. `python tests/hostile/make_photos.py DIR`
writes them out, to be thrown at a running service.
"""

import io
import re
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

from weft.errors import BrokenPhotoError, PhotoError, TooLargeError, UnsupportedPhotoError


@dataclass(frozen=True, slots=True)
class Case:
    make: Callable[[], bytes]
    error: type[PhotoError]
    words: str  # a regular expression that the message matches


def scene(width: int = 400, height: int = 300) -> Image.Image:
    """Something with edges and colours in it."""
    y, x = np.mgrid[:height, :width]
    light = 128 + 80 * np.sin(x / 9) * np.cos(y / 13)
    rgb = np.stack([light, light * 0.7 + x % 64, 255 - light], axis=2)
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(buffer, quality=80)
    else:
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(**options: object) -> bytes:
    return encoded(scene(), "JPEG", quality=90, **options)


def jpeg_claiming(width: int, height: int, *, progressive: bool = False) -> bytes:
    """A small, otherwise valid JPEG whose frame header states another size."""
    data = bytearray(jpeg(progressive=progressive))
    at = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_with_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = jpeg(progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * count + b"\xff\xd9"


def flat_progressive_jpeg(side: int, scans: int) -> bytes:
    """The dearest JPEG a header allows: every scan walks all blocks of a flat picture in a few bytes."""
    data = encoded(Image.new("RGB", (side, side)), "JPEG", progressive=True)
    starts = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    # The second scan holds coefficients 1-5 of the luma, all zero: the same bytes say so of any coefficient.
    scan = data[starts[1] : re.compile(rb"\xff[\xc4\xda]").search(data, starts[1] + 2).start()]
    each = [scan[:7] + bytes([k, k, 0]) + scan[10:] for k in range(1, scans)]
    return data[: starts[1]] + b"".join(each) + b"\xff\xd9"


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + body + png_chunk(b"IEND", b"")


def png_with_two_sizes() -> bytes:
    data = png_claiming(10, 10)
    second = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 5000, 5000, 8, 2, 0, 0, 0))
    return data[:33] + second + data[33:]


def png_with_text_bomb() -> bytes:
    data = encoded(scene(), "PNG")
    bomb = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(500_000_000), 1))
    return data[:33] + bomb + data[33:]


def png_of_zeros(side: int) -> bytes:
    """A bomb that keeps its word: a few hundred kB that unpack to side x side pixels."""
    packer = zlib.compressobj(1)
    row = bytes(1 + 3 * side)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")


def animated(kind: str) -> bytes:
    frames = [scene(), scene().rotate(90), scene().rotate(180)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)


def heic_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(scene(), "HEIF"))
    at = data.index(b"ispe")
    while at >= 0:
        data[at + 8 : at + 16] = struct.pack(">II", width, height)
        at = data.find(b"ispe", at + 1)
    return bytes(data)


def webp_claiming(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0"
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


CASES: dict[str, Case] = {
    "empty": Case(lambda: b"", BrokenPhotoError, "empty"),
    "text": Case(lambda: b"hello, this is no photo" * 50, UnsupportedPhotoError, "not an image"),
    "zeros": Case(lambda: bytes(100_000), UnsupportedPhotoError, "not an image"),
    "html": Case(lambda: b"<!doctype html><html></html>", UnsupportedPhotoError, "not an image"),
    "svg": Case(lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedPhotoError, "an SVG"),
    "pdf": Case(lambda: b"%PDF-1.7 ...", UnsupportedPhotoError, "a PDF"),
    "video": Case(lambda: b"\0\0\0\x20ftypisom" + bytes(99), UnsupportedPhotoError, "video .* 'isom'"),
    "61-megabytes": Case(lambda: jpeg() + bytes(61_000_000), TooLargeError, r"61\.0 MB, at most 30 MB"),
    "61-megabytes-of-nothing": Case(lambda: bytes(61_000_000), TooLargeError, "at most 30 MB"),
    "two-bytes": Case(lambda: b"\xff\xd8", BrokenPhotoError, "cut short"),
    "jpeg-head-only": Case(lambda: jpeg()[:300], BrokenPhotoError, "cut short"),
    "jpeg-half": Case(lambda: jpeg()[: len(jpeg()) // 2], BrokenPhotoError, "cut short"),
    "jpeg-without-end": Case(lambda: jpeg()[:-2], BrokenPhotoError, "cut short"),
    "jpeg-half-with-an-end": Case(
        lambda: jpeg()[: len(jpeg()) // 2] + b"\xff\xd9", BrokenPhotoError, "the JPEG is damaged"
    ),
    "jpeg-progressive-half": Case(
        lambda: jpeg(progressive=True)[: len(jpeg(progressive=True)) // 2], BrokenPhotoError, "cut short"
    ),
    "jpeg-no-picture": Case(lambda: b"\xff\xd8\xff\xd9", BrokenPhotoError, "no picture"),
    "jpeg-65000": Case(lambda: jpeg_claiming(65_000, 65_000), TooLargeError, "4225 megapixels, at most 120"),
    "jpeg-20000": Case(lambda: jpeg_claiming(20_000, 20_000), TooLargeError, "400 megapixels, at most 120"),
    "jpeg-claims-more": Case(lambda: jpeg_claiming(10_000, 10_000), BrokenPhotoError, "damaged"),
    "jpeg-zero-high": Case(lambda: jpeg_claiming(400, 0), BrokenPhotoError, "400 x 0"),
    "jpeg-progressive-90-megapixels": Case(
        lambda: jpeg_claiming(9_500, 9_500, progressive=True),
        TooLargeError,
        "at most 60 are taken for",
    ),
    "jpeg-scan-bomb": Case(lambda: jpeg_with_scans(5_000), UnsupportedPhotoError, "over 50 scans"),
    "jpeg-segment-bomb": Case(
        lambda: b"\xff\xd8" + b"\xff\xe5\0\2" * 7_000_000, UnsupportedPhotoError, "over 4000 segments"
    ),
    "jpeg-marker-bomb": Case(
        lambda: b"\xff\xd8" + b"\xff\x01" * 14_000_000, UnsupportedPhotoError, "over 4000 segments"
    ),
    "jpeg-fill-bomb": Case(lambda: b"\xff\xd8" + b"\xff" * 29_000_000, BrokenPhotoError, "cut short"),
    "jpeg-two-frames": Case(
        lambda: jpeg()[:2] + jpeg()[jpeg().index(b"\xff\xc0") :][:19] + jpeg()[2:], BrokenPhotoError, "twice"
    ),
    "jpeg-lossless": Case(
        lambda: jpeg().replace(b"\xff\xc0", b"\xff\xc3", 1), UnsupportedPhotoError, "lossless"
    ),
    "gif": Case(lambda: encoded(scene(), "GIF"), UnsupportedPhotoError, "a GIF"),
    "gif-animated": Case(lambda: animated("GIF"), UnsupportedPhotoError, "a GIF"),
    "png-animated": Case(lambda: animated("PNG"), UnsupportedPhotoError, "an animation"),
    "bmp": Case(lambda: encoded(scene(), "BMP"), UnsupportedPhotoError, "a BMP"),
    "tiff": Case(lambda: encoded(scene(), "TIFF"), UnsupportedPhotoError, "a TIFF"),
    "png-head-only": Case(lambda: encoded(scene(), "PNG")[:20], BrokenPhotoError, "cut short"),
    "png-half": Case(lambda: encoded(scene(), "PNG")[:9_000], BrokenPhotoError, "the PNG is damaged"),
    "png-65000": Case(lambda: png_claiming(65_000, 65_000), TooLargeError, "4225 megapixels, at most 60"),
    "png-20000": Case(lambda: png_of_zeros(20_000), TooLargeError, "400 megapixels"),
    "png-claims-more": Case(lambda: png_claiming(7_000, 7_000), BrokenPhotoError, "the PNG is damaged"),
    "png-two-sizes": Case(png_with_two_sizes, BrokenPhotoError, "PNG"),
    "png-text-bomb": Case(png_with_text_bomb, BrokenPhotoError, "the PNG is damaged"),
    "heic-head-only": Case(lambda: encoded(scene(), "HEIF")[:100], BrokenPhotoError, "the HEIC is damaged"),
    "heic-half": Case(
        lambda: encoded(scene(), "HEIF")[: len(encoded(scene(), "HEIF")) // 2], BrokenPhotoError, "HEIC"
    ),
    "heic-20000": Case(lambda: heic_claiming(20_000, 20_000), TooLargeError, "400 megapixels"),
    "heic-claims-more": Case(lambda: heic_claiming(7_000, 7_000), BrokenPhotoError, "HEIC"),
    "webp-head-only": Case(lambda: b"RIFF\x10\0\0\0WEBPVP8 ", BrokenPhotoError, "WebP is cut short"),
    "webp-16000": Case(lambda: webp_claiming(16_000, 16_000), TooLargeError, "256 megapixels"),
}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        (folder / name).write_bytes(case.make())
        print(f"{name}: {case.error.__name__}")
