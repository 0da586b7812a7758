"""What a photo file says about itself, read without decoding a pixel or trusting a length."""

import re
import struct
from dataclasses import dataclass
from typing import Final, Literal

from weft.errors import BrokenPhotoError, UnsupportedPhotoError

Kind = Literal["jpeg", "png", "webp", "heif"]

# A camera writes one scan, progressive encoders about 10. Each may cover the whole picture in a few bytes, so
# that a small file with thousands of them would decode for minutes.
JPEG_SCANS: Final = 50
# Extended EXIF, ICC profiles and tables of a 30 MB photo stay under 1,000; millions of empty ones are a bomb.
JPEG_SEGMENTS: Final = 4_000

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
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in scan data: not a stuffed zero, fill or restart


@dataclass(frozen=True, slots=True)
class Header:
    """Size as stored, before orientation. HEIF hides its size in nested boxes: 0, its own reader finds it."""

    kind: Kind
    width_px: int
    height_px: int
    orientation: int = 1  # EXIF 1..8
    whole: bool = False  # must be held whole to be decoded: everything but a one-scan JPEG
    components: int = 3


def read_header(data: bytes) -> Header:
    """Recognise a photo by its content; the name and content type it came with say nothing.

    Raises:
        UnsupportedPhotoError: Not an image, or a kind we do not read.
        BrokenPhotoError: Empty, cut short, or a header that contradicts itself.
    """
    if not data:
        raise BrokenPhotoError("the photo is empty (0 bytes); take or choose it again")
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
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


def _jpeg(data: bytes) -> Header:
    """Walk the segments to the end of the image: size, scans, orientation, and whether there is an end."""
    frame: tuple[int, int, int, bool] | None = None  # height, width, components, progressive
    at, scans, orientation = 2, 0, 0
    for _ in range(JPEG_SEGMENTS):
        found = _MARKER.search(data, at)
        if found is None:
            raise BrokenPhotoError("the JPEG is cut short: its end is missing; send the whole file")
        marker, at = data[found.start() + 1], found.end()
        if marker == 0xD9:
            if frame is None or not scans:
                raise BrokenPhotoError("the JPEG holds no picture; take or choose it again")
            height, width, components, progressive = frame
            whole = progressive or scans > 1 or components > 3
            return Header("jpeg", width, height, orientation or 1, whole, components)
        if marker in (0x01, 0xD8):
            continue
        if at + 2 > len(data) or (length := int.from_bytes(data[at : at + 2], "big")) < 2:
            raise BrokenPhotoError("the JPEG is cut short or damaged; send the whole file")
        body = data[at + 2 : at + min(length, 65_535)]
        at += length
        if marker == 0xE1 and not orientation and body.startswith(b"Exif\0\0"):
            orientation = exif_orientation(body[6:])
        elif marker == 0xDA:
            scans += 1
            if scans > JPEG_SCANS:
                raise UnsupportedPhotoError(
                    f"the JPEG has over {JPEG_SCANS} scans, as no camera writes; save it as an ordinary JPEG"
                )
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if frame is not None:
                raise BrokenPhotoError("the JPEG states its size twice; save it again as an ordinary JPEG")
            frame = _frame(marker, body)
    raise UnsupportedPhotoError(
        f"the JPEG has over {JPEG_SEGMENTS} segments, as no camera writes; save it as an ordinary JPEG"
    )


def _frame(marker: int, body: bytes) -> tuple[int, int, int, bool]:
    if len(body) < 6:
        raise BrokenPhotoError("the JPEG is cut short or damaged; send the whole file")
    precision, height, width, components = struct.unpack(">BHHB", body[:6])
    if marker not in (0xC0, 0xC1, 0xC2) or precision != 8:
        raise UnsupportedPhotoError(
            "the JPEG is lossless, arithmetic or not 8 bits deep; save it as an ordinary JPEG"
        )
    return height, width, components, marker == 0xC2


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


def exif_orientation(tiff: bytes) -> int:
    """Orientation 1..8 from an EXIF block (without `Exif\\0\\0`); 1 where it is absent or makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack(f"{order}I", tiff[4:8])
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack(f"{order}H", tiff[start : start + 2])
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack(f"{order}HHIH", tiff[entry : entry + 10])
        if tag == 0x0112:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1
