"""One message of a camera: a header of 48 bytes, encoder counts, and pixels or a JPEG.

Little-endian throughout, so that a C program sends it with one struct and two arrays:

| at | bytes | what |
|---|---|---|
| 0 | 4 | `WEFL` |
| 4 | 1 | version: 1 |
| 5 | 1 | sensor: 0 nir, 1 colour, 2 white, 3 dark |
| 6 | 1 | kind: 0 JPEG, 1 uint8, 2 uint16, 3 float32 |
| 7 | 1 | 1 where the frame is simulated, else 0 |
| 8 | 8 | running number of this sensor's frames, uint64: one more each time |
| 16 | 8 | nanoseconds since 1970 UTC at which the last row was taken, int64 |
| 24 | 12 | shape, three uint32: rows, bands, pixels (nir, white, dark); height, width, 3 (colour) |
| 36 | 4 | how many encoder counts follow, uint32: one for each row of nir, one for a colour picture |
| 40 | 8 | bytes of the content, uint64 |
| 48 | 8 each | encoder counts, int64 |
| then | | the content: pixels in the order of the shape, so BIL for nir, white and dark; or the JPEG |
"""

import math
import struct
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weft.errors import FrameError, PhotoError
from weft.limits import FRAME_BYTES, FRAME_ROWS
from weft.photo_header import read_header

Sensor = Literal["nir", "colour", "white", "dark"]
SENSORS: Final[tuple[Sensor, ...]] = get_args(Sensor)
MAGIC: Final = b"WEFL"
VERSION: Final = 1

_HEADER: Final = struct.Struct("<4s4BQq4IQ")
_JPEG: Final = 0
_PIXELS: Final[tuple[np.dtype[Any], ...]] = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<f4"))  # 1, 2, 3
_NEED: Final = "send the header that docs/line/streaming.md describes"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What a camera took, and where the belt was meanwhile. Its parts have been held against each other.

    Args:
        number: Running for each sensor, one more each time.
        timestamp_ns: Since 1970 UTC, when the last row was taken.
        encoder: Belt's counts, shape (h,): of each row of nir; (1,) of a colour picture, at its exposure.
            White and dark: either.
        shape: nir, white and dark: (h, L, W), as a camera gives its lines band by band. colour: (H, W, 3).
        content: The pixels in that shape, raw counts (uint8, uint16 or float32) or RGB (uint8); or a JPEG.
        simulated: No camera took it: whatever is concluded from it has to say so.

    Raises:
        FrameError: They contradict each other, or are larger than `weft.limits` allows.
    """

    sensor: Sensor
    number: int
    timestamp_ns: int
    encoder: NDArray[np.int64]
    shape: tuple[int, int, int]
    content: NDArray[Any] | bytes
    simulated: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.number < 1 << 64 or not 0 <= self.timestamp_ns < 1 << 63:
            raise FrameError(
                f"number {self.number} or time {self.timestamp_ns} ns is out of range; "
                "send a running number and nanoseconds since 1970"
            )
        _check_shape(self.sensor, self.shape)
        _check_encoder(self.sensor, self.shape[0], self.encoder.shape)
        if isinstance(self.content, bytes):
            _check_jpeg(self.sensor, self.shape, self.content)
        else:
            _check_pixels(self.sensor, self.shape, self.content)

    @property
    def counts(self) -> NDArray[Any]:
        """Raw counts of nir, white or dark with the bands last, shape (h, W, L): a view, nothing is copied.

        Raises:
            ValueError: It is a colour picture.
        """
        if self.sensor == "colour" or isinstance(self.content, bytes):
            raise ValueError("a colour picture has no counts; read its content")
        return self.content.transpose(0, 2, 1)


def lines_frame(
    lines: NDArray[Any],
    *,
    sensor: Literal["nir", "white", "dark"] = "nir",
    number: int,
    encoder: ArrayLike,
    timestamp_ns: int,
    simulated: bool = False,
) -> Frame:
    """A frame of lines as a NIR camera gives them, shape (h, L, W); `encoder` holds a count for each."""
    return Frame(sensor, number, timestamp_ns, _encoder(encoder), _three(lines.shape), lines, simulated)


def picture_frame(
    picture: NDArray[np.uint8], *, number: int, encoder: int, timestamp_ns: int, simulated: bool = False
) -> Frame:
    """A frame of RGB pixels, shape (H, W, 3)."""
    shape = _three(picture.shape)
    return Frame("colour", number, timestamp_ns, _encoder([encoder]), shape, picture, simulated)


def jpeg_frame(
    jpeg: bytes, *, number: int, encoder: int, timestamp_ns: int, simulated: bool = False
) -> Frame:
    """A frame of a colour picture as JPEG, which says its own size. Raises FrameError where it is damaged."""
    try:
        header = read_header(jpeg)
    except PhotoError as error:
        raise FrameError(f"the picture cannot be used: {error}") from error
    shape = (header.height_px, header.width_px, 3)
    return Frame("colour", number, timestamp_ns, _encoder([encoder]), shape, jpeg, simulated)


def pack(frame: Frame) -> bytes:
    """The frame as one message."""
    if isinstance(frame.content, bytes):
        kind, content = _JPEG, frame.content
    else:
        pixels = np.ascontiguousarray(frame.content)
        place = _PIXELS.index(pixels.dtype.newbyteorder("<"))
        kind, content = place + 1, pixels.astype(_PIXELS[place], copy=False).data
    counts = frame.encoder.astype("<i8", copy=False)
    head = _HEADER.pack(
        MAGIC, VERSION, SENSORS.index(frame.sensor), kind, frame.simulated,
        frame.number, frame.timestamp_ns, *frame.shape, len(counts), memoryview(content).nbytes,
    )  # fmt: skip
    return b"".join((head, counts.tobytes(), content))


def unpack(data: bytes | bytearray | memoryview) -> Frame:
    """Read a message. Pixels are a read-only view into `data`, which must not change while they are used.

    Raises:
        FrameError: Anything in the header that is not so, half a message, or one larger than allowed.
    """
    view = memoryview(data).toreadonly().cast("B")
    if len(view) < _HEADER.size:
        raise FrameError(f"the message has {len(view)} bytes, a header alone has {_HEADER.size}; {_NEED}")
    magic, version, sensor, kind, simulated, number, timestamp_ns, *rest = _HEADER.unpack_from(view)
    shape, encoders, size = (rest[0], rest[1], rest[2]), rest[3], rest[4]
    if magic != MAGIC:
        raise FrameError(f"the message begins with {magic!r}, needed {MAGIC!r}; {_NEED}")
    if version != VERSION or simulated > 1:
        raise FrameError(
            f"the header has version {version} and byte 7 is {simulated}, needed version {VERSION} and 0 or "
            f"1; {_NEED}"
        )
    if sensor >= len(SENSORS) or kind > len(_PIXELS):
        raise FrameError(
            f"sensor {sensor} and kind {kind}: sensors are 0 to {len(SENSORS) - 1}, "
            f"kinds 0 to {len(_PIXELS)}; {_NEED}"
        )
    name = SENSORS[sensor]
    _check_shape(name, shape)
    _check_encoder(name, shape[0], (encoders,))
    start = _HEADER.size + 8 * encoders
    if start + size != len(view):
        raise FrameError(
            f"the {name} message has {len(view):,} bytes, its header describes {start + size:,}; "
            "send the whole frame as one message"
        )
    encoder = np.frombuffer(view, "<i8", encoders, _HEADER.size)
    if kind == _JPEG:
        return Frame(name, number, timestamp_ns, encoder, shape, bytes(view[start:]), bool(simulated))
    dtype = _PIXELS[kind - 1]
    if (needed := math.prod(shape) * dtype.itemsize) != size:
        raise FrameError(
            f"{name} of shape {_spelt(shape)} in {dtype.name} needs {needed:,} bytes, {size:,} came; "
            "state the shape and the type that were sent"
        )
    pixels = np.frombuffer(view, dtype, math.prod(shape), start).reshape(shape)
    return Frame(name, number, timestamp_ns, encoder, shape, pixels, bool(simulated))


def _check_shape(sensor: Sensor, shape: tuple[int, ...]) -> None:
    if len(shape) != 3 or min(shape) < 1:
        raise FrameError(f"{sensor} has shape {_spelt(shape)}, needed three sizes of at least 1; {_NEED}")
    if sensor == "colour" and shape[2] != 3:
        raise FrameError(
            f"a colour picture has {shape[2]} channels, needed 3 in the order red, green, blue; convert it"
        )
    if sensor != "colour" and shape[0] > FRAME_ROWS:
        raise FrameError(
            f"{sensor} has {shape[0]:,} rows, at most {FRAME_ROWS:,} are taken; send fewer a frame"
        )
    if math.prod(shape) > FRAME_BYTES:
        raise FrameError(
            f"{sensor} of shape {_spelt(shape)} is larger than the {FRAME_BYTES / 1e6:.0f} MB of a frame; "
            "send fewer rows a frame"
        )


def _check_encoder(sensor: Sensor, rows: int, shape: tuple[int, ...]) -> None:
    allowed = {"nir": {rows}, "colour": {1}}.get(sensor, {1, rows})
    if len(shape) != 1 or shape[0] not in allowed:
        needed = " or ".join(f"{count:,}" for count in sorted(allowed))
        raise FrameError(
            f"{sensor} has {_spelt(shape)} encoder counts, needed {needed}: one for each row of nir, one for "
            "a colour picture; read the encoder when the camera is triggered"
        )


def _check_jpeg(sensor: Sensor, shape: tuple[int, int, int], jpeg: bytes) -> None:
    """Half a picture, one that is no JPEG, or one of another size: found without decoding a pixel."""
    if sensor != "colour":
        raise FrameError(f"{sensor} came as a JPEG, which loses what tells fibres apart; send raw counts")
    if len(jpeg) > FRAME_BYTES:
        raise _too_large(sensor, len(jpeg))
    try:
        header = read_header(jpeg)
    except PhotoError as error:
        raise FrameError(f"the picture cannot be used: {error}") from error
    if header.kind != "jpeg" or header.components != 3:
        raise FrameError(
            f"the picture is {header.kind}, {header.components} channels, needed a colour JPEG; send that"
        )
    if (header.height_px, header.width_px) != shape[:2]:
        raise FrameError(
            f"the JPEG is {header.height_px} x {header.width_px} pixels high and wide, the header says "
            f"{shape[0]} x {shape[1]}; state the size that was sent"
        )


def _check_pixels(sensor: Sensor, shape: tuple[int, int, int], pixels: NDArray[Any]) -> None:
    if pixels.shape != shape:
        raise FrameError(
            f"{sensor} holds shape {_spelt(pixels.shape)} and states {_spelt(shape)}; make them one"
        )
    allowed = _PIXELS[:1] if sensor == "colour" else _PIXELS
    if pixels.dtype.newbyteorder("<") not in allowed:
        names = ", ".join(kind.name for kind in allowed)
        raise FrameError(f"{sensor} holds {pixels.dtype.name}, needed {names}; convert it")
    if pixels.nbytes > FRAME_BYTES:
        raise _too_large(sensor, pixels.nbytes)
    if pixels.dtype.kind == "f" and not bool(np.isfinite(pixels).all()):
        raise FrameError(f"{sensor} holds values that are not finite; send counts")


def _too_large(sensor: Sensor, size: int) -> FrameError:
    return FrameError(
        f"{sensor} has {size / 1e6:.1f} MB, at most {FRAME_BYTES / 1e6:.0f} MB are taken; send fewer rows"
    )


def _encoder(counts: ArrayLike) -> NDArray[np.int64]:
    return np.atleast_1d(np.asarray(counts, np.int64))


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return cast("tuple[int, int, int]", shape)  # another number of axes is refused by the frame itself


def _spelt(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{size:,}" for size in shape) or "no axes"
