"""The markers of a JPEG, walked while its bytes come in: what it claims is known before a row is decoded."""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from weft.errors import BrokenPhotoError, UnsupportedPhotoError
from weft.exif import exif_orientation

# A camera writes one scan, progressive encoders about 10. Each may cover the whole picture in a few bytes, so
# that a small file with thousands of them would decode for minutes.
JPEG_SCANS: Final = 50
# Extended EXIF, ICC profiles and tables of a 30 MB photo stay under 1,000; millions of empty ones are a bomb.
JPEG_SEGMENTS: Final = 4_000
# Damage ends at the next restart marker. With 32 of them it is a strip of 3 % of the picture at most.
_CONFINING_RESTARTS: Final = 32

SOI: Final = 0xD8
EOI: Final = 0xD9
SOS: Final = 0xDA
_DRI: Final = 0xDD
_MARKER: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # in scan data: not a stuffed zero, fill or restart
_BLOCK_BYTES: Final = 262_144  # of scan data looked through at once; its comparison stays in the cache


@dataclass(frozen=True, slots=True)
class Frame:
    """What the frame header says. `sampling` is horizontal x vertical, one nibble each, by component."""

    height_px: int
    width_px: int
    progressive: bool
    sampling: tuple[int, ...]

    @property
    def whole(self) -> bool:
        """Whether all of it is held before a row comes out, or it is CMYK."""
        return self.progressive or len(self.sampling) > 3

    @property
    def units(self) -> int:
        """Minimum coded units of one scan over all components, which restart intervals are counted in."""
        wide = max((each >> 4 for each in self.sampling), default=1) if len(self.sampling) > 1 else 1
        high = max((each & 15 for each in self.sampling), default=1) if len(self.sampling) > 1 else 1
        return -(-self.width_px // (8 * max(1, wide))) * -(-self.height_px // (8 * max(1, high)))


class Part(NamedTuple):
    """A segment without its marker and length, or, with the marker 0, bytes of a scan with their restarts."""

    marker: int
    body: bytes


class JpegWalk:
    """Feed it a JPEG from its first byte on, in pieces of any size; then `finish`.

    Args:
        check: Told width, height and `Frame.whole` when the frame header has come; may raise.
        scan_bytes: Whether the scans' bytes are handed on as parts.
    """

    def __init__(
        self, *, check: Callable[[int, int, bool], object] | None = None, scan_bytes: bool = False
    ) -> None:
        self.frame: Frame | None = None
        self.scans = 0
        self.orientation = 0  # 0: none was told
        self.ended = False
        self.tidy = True  # nothing but segments stood before the scan
        self._check = check
        self._scan_bytes = scan_bytes
        self._held = b""
        self._start = 2  # past SOI, which the caller has seen
        self._segments = 0
        self._interval = 0
        self._restarts = 0
        self._in_order = True

    @property
    def whole(self) -> bool:
        """Whether it must be held whole to be decoded: everything but one scan of rows in grey or colour."""
        return self.frame is None or self.frame.whole or self.scans > 1

    @property
    def restarting(self) -> bool:
        """Whether restart markers are due so often that each piece of damage is confined to a strip."""
        return self._restarts_due >= _CONFINING_RESTARTS

    @property
    def restartless(self) -> bool:
        """Whether no restart marker is due: then damage shows in where the scan's bytes run out."""
        return self._restarts_due == 0

    @property
    def confined(self) -> bool:
        """Whether, at the end, all restart markers were there and in order: damage cannot have spread."""
        return self.restarting and not self.whole and self._in_order and self._restarts == self._restarts_due

    @property
    def _restarts_due(self) -> int:
        if self.frame is None or not self._interval:
            return 0
        return -(-self.frame.units // self._interval) - 1

    def feed(self, piece: bytes, *, last: bool = False) -> Iterator[Part]:
        """The parts that are complete now, in their order; nothing after the end of the image.

        Raises:
            BrokenPhotoError, UnsupportedPhotoError: The markers contradict themselves or are too many.
        """
        data = self._held + piece if self._held else piece
        at, self._held = self._start, b""
        while not self.ended:
            found = self._next(data, at)
            stop = found if found is not None else len(data) - data.endswith(b"\xff")
            if stop > at and not self.scans:
                self.tidy = self.tidy and not data[at:stop].strip(b"\xff")
            elif stop > at and self._scan_bytes:
                yield Part(0, data[at:stop])
            if found is None:
                self._hold(data, max(at, stop))
                break
            taken = self._take(data, found, last=last)
            if taken is None:
                self._hold(data, found)
                break
            part, at = taken
            yield part
            self._segments += 1
            if self._segments == JPEG_SEGMENTS and not self.ended:
                raise UnsupportedPhotoError(
                    f"the JPEG has over {JPEG_SEGMENTS} segments, as no camera writes; "
                    "save it as an ordinary JPEG"
                )

    def finish(self) -> None:
        """Say that no more will come. Raises BrokenPhotoError where the end of the image is missing."""
        for _ in self.feed(b"", last=True):
            pass
        if not self.ended:
            raise BrokenPhotoError("the JPEG is cut short: its end is missing; send the whole file")

    def _hold(self, data: bytes, at: int) -> None:
        self._held, self._start = data[at:], max(0, at - len(data))

    def _take(self, data: bytes, found: int, *, last: bool) -> tuple[Part, int] | None:
        """The segment whose marker stands at `found`, and where the next begins; None: more has to come."""
        marker, at = data[found + 1], found + 2
        if marker == EOI:
            self.ended = True
            if self.frame is None or not self.scans:
                raise BrokenPhotoError("the JPEG holds no picture; take or choose it again")
            return Part(marker, b""), at
        if marker in (0x01, SOI):
            return Part(marker, b""), at
        short = at + 2 > len(data)
        if short and not last:
            return None
        if short or (length := int.from_bytes(data[at : at + 2], "big")) < 2:
            raise BrokenPhotoError("the JPEG is cut short or damaged; send the whole file")
        if at + length > len(data) and not last:
            return None
        body = data[at + 2 : at + length]
        self._note(marker, body)
        return Part(marker, body), at + length

    def _note(self, marker: int, body: bytes) -> None:
        if marker == 0xE1 and not self.orientation and body.startswith(b"Exif\0\0"):
            self.orientation = exif_orientation(body[6:])
        elif marker == SOS:
            self.scans += 1
            if self.scans > JPEG_SCANS:
                raise UnsupportedPhotoError(
                    f"the JPEG has over {JPEG_SCANS} scans, as no camera writes; save it as an ordinary JPEG"
                )
        elif marker == _DRI and not self.scans:
            self._interval = int.from_bytes(body[:2], "big")
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if self.frame is not None:
                raise BrokenPhotoError("the JPEG states its size twice; save it again as an ordinary JPEG")
            self.frame = _frame(marker, body)
            if self._check is not None:
                self._check(self.frame.width_px, self.frame.height_px, self.frame.whole)

    def _next(self, data: bytes, at: int) -> int | None:
        """Where the next marker stands that is no restart; those on the way are held against their order."""
        if not self.scans:
            found = _MARKER.search(data, at)
            return found.start() if found else None
        for block in range(at, len(data) - 1, _BLOCK_BYTES):
            count = min(_BLOCK_BYTES + 1, len(data) - block)  # a marker may straddle two blocks
            light = np.frombuffer(data, np.uint8, count, block)
            places = np.flatnonzero(light[:-1] == 0xFF)
            after = light[places + 1]
            markers = (after != 0) & (after != 0xFF)
            places, after = places[markers], after[markers]
            others = np.flatnonzero(after & 0xF8 != 0xD0)
            if others.size:
                self._hold_order(after[: others[0]])
                return block + int(places[others[0]])
            self._hold_order(after)
        return None

    def _hold_order(self, restarts: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> None:
        expected = (np.arange(self._restarts, self._restarts + restarts.size) & 7) | 0xD0
        self._in_order = self._in_order and bool((restarts == expected).all())
        self._restarts += restarts.size


def _frame(marker: int, body: bytes) -> Frame:
    if len(body) < 6:
        raise BrokenPhotoError("the JPEG is cut short or damaged; send the whole file")
    precision, height, width, components = struct.unpack(">BHHB", body[:6])
    if marker not in (0xC0, 0xC1, 0xC2) or precision != 8:
        raise UnsupportedPhotoError(
            "the JPEG is lossless, arithmetic or not 8 bits deep; save it as an ordinary JPEG"
        )
    sampling = [body[at] if at < len(body) else 0x11 for at in range(7, 7 + 3 * components, 3)]
    return Frame(height, width, marker == 0xC2, tuple(sampling))
