"""Safe decoding of a photo: what training and serving both see of it.

Nothing is decoded before the header has been held against `weft.limits`. A JPEG is decoded straight from its
DCT at n/8 of its size, so that a 12-megapixel photo never exists in full. Of the EXIF only the orientation is
read, and only to turn the photo upright; a `Photo` is pixels and two numbers, so no place, time or name can
reach a disk or a log. Colour profiles are ignored: training and serving then ignore the same thing.
"""
# simplejpeg and pi-heif ship partial types, which strict mode would report line by line.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false

import io
import math
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import pi_heif
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, features

from weft import limits
from weft.errors import BrokenPhotoError, PhotoError, TooLargeError, UnsupportedPhotoError
from weft.exif import exif_orientation
from weft.memory import give_back
from weft.photo_header import Header, Kind, read_header

# libjpeg's warnings on files that phones do write; every pixel is there when one of these comes first.
_HARMLESS: Final = ("before marker 0xd9", "Invalid SOS parameters")
_MANY_PIXELS: Final = 16_000_000  # of a file that is decoded from the whole: from 0.1 GB on
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Photo:
    """An upright photo at the scale it was decoded at.

    Args:
        pixels: RGB, shape (H, W, 3).
        full_width_px: Width of the upright photo at full resolution.
        full_height_px: Height likewise.
    """

    pixels: NDArray[np.uint8]
    full_width_px: int
    full_height_px: int

    @property
    def full_per_pixel(self) -> float:
        """Full-resolution pixels per pixel of `pixels`."""
        return max(self.full_width_px, self.full_height_px) / max(self.pixels.shape[:2])


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file that was decoded while it arrived, as `weft.photo_arriving` hands it over.

    Args:
        pieces: The file as sent, in order; may be empty where `error` is set.
        longest_px: What `photo` was decoded for.
        photo: None where only the whole file can be decoded, or it cannot be.
        error: What `decode_photo` of the file would raise; None where that is not known yet.
    """

    pieces: Sequence[bytes]
    longest_px: int | None
    photo: Photo | None = None
    error: PhotoError | None = None

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


PhotoFile = bytes | Arrived


def decode_photo(file: PhotoFile, *, longest_px: int | None) -> Photo:
    """Decode a JPEG, PNG, WebP or HEIC photo, upright.

    Args:
        file: The file as sent. One that was decoded for `longest_px` while it arrived costs nothing more.
        longest_px: Decode at the smallest of 8/8, 7/8 ... 1/8, 1/16, 1/24 ... whose longest side is
            at least this: under twice `longest_px` where the photo is larger. None: full size.

    Raises:
        UnsupportedPhotoError: Not an image, an animation, or a kind we do not read.
        BrokenPhotoError: Empty, cut short or damaged.
        TooLargeError: More bytes or pixels than `weft.limits` allows.
    """
    if isinstance(file, Arrived):
        if file.error is not None:
            raise file.error
        if file.photo is not None and file.longest_px == longest_px:
            return file.photo
    data = file.data if isinstance(file, Arrived) else file
    if len(data) > limits.PHOTO_BYTES:
        raise TooLargeError(
            f"the photo has {len(data) / 1e6:.1f} MB, at most {limits.PHOTO_BYTES / 1e6:.0f} MB are taken; "
            "send a smaller one"
        )
    header = read_header(data, check=check_size)
    try:
        if header.kind == "jpeg":
            return _jpeg(data, header, longest_px)
        if header.kind == "heif":
            return _heif(data, longest_px)
        with _in_turn(header.width_px * header.height_px):
            return _png_or_webp(data, header, longest_px)
    except PhotoError:
        raise
    except Exception as error:  # decoders raise a dozen bare kinds on damaged data; none of them is our fault
        name = {"heif": "HEIC", "webp": "WebP"}.get(header.kind, header.kind.upper())
        raise BrokenPhotoError(
            f"the {name} is damaged ({_first_line(error)}); send the whole file"
        ) from error


def _jpeg(data: bytes, header: Header, longest_px: int | None) -> Photo:
    width, height = header.width_px, header.height_px
    check_size(width, height, header.whole)
    if header.whole:
        with _in_turn(width * height):
            return _jpeg_pixels(data, header, longest_px)
    return _jpeg_pixels(data, header, longest_px)


def _jpeg_pixels(data: bytes, header: Header, longest_px: int | None) -> Photo:
    width, height = header.width_px, header.height_px
    eighths, block = scale_for(max(width, height), longest_px)
    # simplejpeg takes the smallest n/8 that meets its minima; given both, the shorter side would decide, and
    # `min_factor` alone reduces nothing.
    side = math.ceil(max(width, height) * eighths / 8)
    wide, high = (side, 0) if width >= height else (0, side)
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=high, min_width=wide)
    except ValueError as error:
        if not header.confined and not any(words in str(error) for words in _HARMLESS):
            raise
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=high, min_width=wide, strict=False)
    return reduced_upright(pixels, header, block)


def reduced_upright(pixels: NDArray[np.uint8], header: Header, block: int) -> Photo:
    """The photo of a JPEG's pixels (H, W, 3) as stored: blocks of them averaged, its orientation undone."""
    if block > 1:
        pixels = np.asarray(Image.fromarray(pixels).reduce(block))
    return _upright(pixels, header.width_px, header.height_px, header.orientation)


def _png_or_webp(data: bytes, header: Header, longest_px: int | None) -> Photo:
    size = (header.width_px, header.height_px)
    check_size(*size, True, header.kind)
    if header.kind == "webp" and not features.check("webp"):
        raise UnsupportedPhotoError(
            "WebP is not built into this server's Pillow; send a JPEG, PNG or HEIC photo"
        )
    with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as image:
        if image.size != size:  # a second header further on
            raise BrokenPhotoError(f"the {header.kind.upper()} states its size twice; save it again")
        if getattr(image, "is_animated", False):
            raise UnsupportedPhotoError("this is an animation; send a JPEG, PNG, WebP or HEIC photo")
        exif = image.info.get("exif", b"")
        orientation = exif_orientation(exif.removeprefix(b"Exif\0\0")) if isinstance(exif, bytes) else 1
        return _upright(_reduced(image, longest_px), *size, orientation)


def _heif(data: bytes, longest_px: int | None) -> Photo:
    file = pi_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True)  # reads boxes, decodes nothing yet
    width, height = file.size
    check_size(width, height, True)
    # The container's own rotation is applied by the decoder; the EXIF orientation beside it only repeats it.
    with _in_turn(width * height):
        return _upright(_reduced(file.to_pillow(), longest_px), width, height, 1)


@contextmanager
def _in_turn(pixels: int) -> Generator[None, None, None]:
    """One large photo at a time, and its memory handed back: two would need twice of it, and keep it."""
    if pixels < _MANY_PIXELS:
        yield
        return
    with _one_at_a_time:
        try:
            yield
        finally:
            give_back()


def check_size(width: int, height: int, whole: bool, kind: Kind | None = None) -> None:
    """Raise PhotoError for a size that is none or too large; `whole`: all of it must be held at once."""
    if not width or not height:
        raise BrokenPhotoError(f"the photo states a size of {width} x {height} pixels; take it again")
    limit = limits.PHOTO_PIXELS_WHOLE if whole else limits.PHOTO_PIXELS
    if kind == "webp":
        limit = limits.PHOTO_PIXELS_WEBP
    if width * height > limit:
        of_file = " for this kind of file" if whole else ""
        raise TooLargeError(
            f"the photo has {width} x {height} = {width * height / 1e6:.0f} megapixels, at most "
            f"{limit / 1e6:.0f} are taken{of_file}; send a smaller one"
        )


def scale_for(full_px: int, longest_px: int | None) -> tuple[int, int]:
    """Eighths to decode at, and the side of the blocks to average after that (1 unless at 1/8)."""
    if longest_px is None:
        return 8, 1
    for eighths in range(1, 8):
        side = math.ceil(full_px * eighths / 8)
        if side >= longest_px:
            return eighths, max(1, side // longest_px) if eighths == 1 else 1
    return 8, 1


def _reduced(image: Image.Image, longest_px: int | None) -> NDArray[np.uint8]:
    """Any mode to RGB (H, W, 3) at the scale that a JPEG of this size would be decoded at."""
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips it to white
        image.load()
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    elif image.mode == "F":
        raise UnsupportedPhotoError(
            "this image holds measurements, not colours; send a JPEG, PNG or HEIC photo"
        )
    clear = image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    if image.mode != (mode := "RGBA" if clear else "RGB"):  # converting copies even where nothing changes
        image = image.convert(mode)
    eighths, block = scale_for(max(image.size), longest_px)
    if eighths < 8:
        width, height = (math.ceil(math.ceil(side * eighths / 8) / block) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BOX)
    if clear:  # what shows through is white, as on a page, not the colour hidden under it
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return np.asarray(image)


def _upright(pixels: NDArray[np.uint8], width: int, height: int, orientation: int) -> Photo:
    """Undo an EXIF orientation; `width` and `height` are those of the file as stored."""
    if orientation >= 5:  # 5 transposed, 6 and 8 on a side, 7 transversed
        pixels, width, height = pixels.transpose(1, 0, 2), height, width
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return Photo(np.ascontiguousarray(pixels), width, height)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
