"""What a photo file says about itself, read without decoding a pixel or trusting a length."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from weft.errors import BrokenPhotoError, UnsupportedPhotoError
from weft.jpeg_walk import JpegWalk

Kind = Literal["jpeg", "png", "webp", "heif"]

Check = Callable[[int, int, bool], object]  # width, height, whether it must be held whole; may raise

_HEIF_BRANDS: Final = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"mif2"}
)
_REFUSED: Final = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF or raw photo"),
    (b"MM\0*", "a TIFF or raw photo"),
    (b"%PDF", "a PDF"),
    (b"\0\0\1\0", "an icon"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x0a", "a JPEG XL"),
    (b"8BPS", "a Photoshop file"),
    (b"<svg", "an SVG"),
    (b"<?xml", "an XML file"),
    (b"PK\3\4", "a zip"),
)
_NEEDED: Final = "send a JPEG, PNG, WebP or HEIC photo"


@dataclass(frozen=True, slots=True)
class Header:
    """Size as stored, before orientation. HEIF hides its size in nested boxes: 0, its own reader finds it."""

    kind: Kind
    width_px: int
    height_px: int
    orientation: int = 1  # EXIF 1..8
    whole: bool = False  # must be held whole to be decoded: everything but a one-scan JPEG
    components: int = 3
    confined: bool = False  # its restart markers are all there: damage is a strip, not all that follows


def read_header(data: bytes, *, check: Check | None = None) -> Header:
    """Recognise a photo by its content; the name and content type it came with say nothing.

    Args:
        data: The whole file; of anything but a JPEG, its first 64 bytes are enough.
        check: Told the size a JPEG claims before the rest of it is looked at.

    Raises:
        UnsupportedPhotoError: Not an image, or a kind we do not read.
        BrokenPhotoError: Empty, cut short, or a header that contradicts itself.
    """
    if not data:
        raise BrokenPhotoError("the photo is empty (0 bytes); take or choose it again")
    if data[:2] == b"\xff\xd8":
        return _jpeg(data, check)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[4:8] == b"ftyp":
        if data[8:12] in _HEIF_BRANDS:
            return Header("heif", 0, 0, whole=True)
        brand = data[8:12].decode("latin-1").strip()
        raise UnsupportedPhotoError(f"this is a video or an image of the kind {brand!r}; {_NEEDED}")
    for magic, name in _REFUSED:
        if data.startswith(magic):
            raise UnsupportedPhotoError(f"this is {name}; {_NEEDED}")
    raise UnsupportedPhotoError(f"this is not an image; {_NEEDED}")


def _jpeg(data: bytes, check: Check | None) -> Header:
    """Walk the segments to the end of the image: size, scans, orientation, and whether there is an end."""
    walk = JpegWalk(check=check)
    for _ in walk.feed(data):
        pass
    walk.finish()
    return jpeg_header(walk)


def jpeg_header(walk: JpegWalk) -> Header:
    """What a finished walk has found. ValueError where it found no frame."""
    if walk.frame is None:
        raise ValueError("the walk has met no frame header; finish it first")
    height, width, components = walk.frame.height_px, walk.frame.width_px, len(walk.frame.sampling)
    return Header("jpeg", width, height, walk.orientation or 1, walk.whole, components, walk.confined)


def _png(data: bytes) -> Header:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise BrokenPhotoError("the PNG is cut short or damaged; send the whole file")
    width, height = struct.unpack(">II", data[16:24])
    return Header("png", width, height, whole=True)


def _webp(data: bytes) -> Header:
    if len(data) < 30:
        raise BrokenPhotoError("the WebP is cut short or damaged; send the whole file")
    chunk = data[12:16]
    if chunk == b"VP8X":
        if data[20] & 0x02:
            raise UnsupportedPhotoError(f"this is an animation; {_NEEDED}")
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
    elif chunk == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", data[26:30]))
    else:
        raise BrokenPhotoError("the WebP is cut short or damaged; send the whole file")
    return Header("webp", width, height, whole=True)
