"""A photo decoded while it arrives, so that next to nothing is left to do after its last byte.

Pillow pulls a JPEG out of a file object; here that file object is read in a greenlet, which goes back to
whoever feeds it when no more bytes have come. A slow upload therefore holds some memory and no thread.
Pixels and errors are those of `weft.photos.decode_photo`: both decoders are libjpeg-turbo at the same scale,
tests hold them together, and where this one cannot be sure, the whole file is left to that one.
"""

import io
import threading
from collections import deque
from typing import IO, Final, cast

import numpy as np
from greenlet import getcurrent, greenlet
from numpy.typing import NDArray
from PIL import Image

from weft.errors import PhotoError
from weft.jpeg_walk import EOI, SOI, SOS, Frame, JpegWalk, Part
from weft.photo_header import jpeg_header, read_header
from weft.photos import Arrived, Photo, check_size, reduced_upright, scale_for

_FACTORS: Final = {1: 8, 2: 4, 4: 2, 8: 1}  # eighths -> Pillow's divisors; of other scales it has none
_MOST_PIXELS: Final = 89_000_000  # Pillow warns of bombs from there on
# Handed on at once, or at the end: near the end of what it has, libjpeg reads bit by bit. In pieces of 16 kB
# a photo took 42 ms of CPU time, of 64 kB 36, at once 31.
_LEAST_BYTES: Final = 65_536
# Luma by chroma once each: what the two decoders are known to agree on.
_SAMPLINGS: Final = frozenset({(luma, 0x11, 0x11) for luma in (0x11, 0x21, 0x22, 0x12, 0x41)})
_KEPT: Final = frozenset({0xC0, 0xC1, 0xC4, 0xDB, 0xDD, 0xE0, 0xEE, SOS})  # what decoding needs of a header
_PASSED: Final = frozenset({0x01, SOI, 0xFE, *range(0xE1, 0xEE), 0xEF})  # metadata; Pillow shall not see it
# A decoder looks up to eight bytes ahead. What it finds there behind a scan's last byte starts the longest
# codes of any table, so that a block that lacks its end does not come to one.
_PADDING: Final = b"\xfe" * 8


class ArrivingPhoto:
    """Feed it a photo in pieces, then `finish`, or `abandon` it. All of it on one thread.

    Args:
        longest_px: As for `decode_photo`.
        places: Bounds how many are decoded at once; one that finds no place is left for `decode_photo`.
    """

    def __init__(self, *, longest_px: int | None, places: threading.Semaphore | None = None) -> None:
        self._longest_px = longest_px
        self._places = places
        self._walk: JpegWalk | None = None
        self._header: list[bytes] = [b"\xff\xd8"]
        self._rows: _Rows | None = None
        self._pieces: list[bytes] = []
        self._tail = bytearray()  # of the scan; its last byte is held back until the end is seen
        self._pixels: NDArray[np.uint8] | None = None
        self._over = False  # nothing more is wanted: the end was seen, or the file was refused
        self._error: PhotoError | None = None
        self._only_whole = False

    @property
    def refused(self) -> PhotoError | None:
        """What the file is refused for, as soon as it is known."""
        return self._error

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the file. What follows a JPEG's end is forgotten."""
        if self._over:
            return
        self._pieces.append(piece)
        try:
            if self._walk is None and not self._only_whole:
                piece = self._recognise()
            if self._walk is not None:
                for part in self._walk.feed(piece):
                    self._follow(part)
                self._over = self._walk.ended
        except PhotoError as error:
            self._refuse(error)

    def finish(self) -> Arrived:
        """What has come of it, after the last piece."""
        if self._walk is not None and not self._over:
            try:
                self._walk.finish()
            except PhotoError as error:
                self._refuse(error)
        photo = None if self._error is not None else self._photo()
        self._stop()
        return Arrived(tuple(self._pieces), self._longest_px, photo, self._error)

    def abandon(self) -> None:
        """Free all that is held."""
        self._over = True
        self._pieces.clear()
        self._stop()

    def _refuse(self, error: PhotoError) -> None:
        self._error = error
        self.abandon()

    def _recognise(self) -> bytes:
        """The first bytes, where these are now known to be a JPEG's."""
        head = b"".join(self._pieces)
        if head[:2] == b"\xff\xd8":
            self._walk = JpegWalk(check=check_size, scan_bytes=True)
            return head
        if len(head) >= 64:
            self._only_whole = True
            header = read_header(head)
            if header.kind in ("png", "webp"):
                check_size(header.width_px, header.height_px, True, header.kind)
        return b""

    def _follow(self, part: Part) -> None:
        if self._only_whole:
            return
        if part.marker == 0:
            self._give(part.body)
        elif part.marker == EOI:
            self._end()
        elif self._rows is not None or part.marker not in _KEPT | _PASSED or _is_odd(part):
            self._leave_whole()  # a second scan, or a segment that one decoder may mind and the other not
        elif part.marker in _KEPT:
            length = len(part.body) + 2
            self._header += [bytes((0xFF, part.marker)), length.to_bytes(2, "big"), part.body]
            if part.marker == SOS:
                self._start(components=part.body[0] if part.body else 0)

    def _start(self, *, components: int) -> None:
        walk, frame = self._walk, self._walk and self._walk.frame
        if walk is None or frame is None or components != len(frame.sampling):  # else more scans follow
            self._leave_whole()
            return
        eighths, _ = scale_for(max(frame.width_px, frame.height_px), self._longest_px)
        factor = _FACTORS.get(eighths, 0)
        fits = factor and min(frame.width_px, frame.height_px) >= factor
        known = frame.sampling in _SAMPLINGS or len(frame.sampling) == 1
        small = frame.width_px * frame.height_px <= _MOST_PIXELS
        sure = walk.tidy and (walk.restarting or walk.restartless)
        if fits and known and small and sure and not frame.whole and self._takes_place():
            self._rows = _Rows(b"".join(self._header), frame, factor)
            self._header.clear()
        else:
            self._leave_whole()

    def _takes_place(self) -> bool:
        return self._places is None or self._places.acquire(blocking=False)

    def _give(self, scan: bytes) -> None:
        self._tail += scan
        if self._rows is None or len(self._tail) < _LEAST_BYTES:
            return
        if not self._rows.take(self._all_but_last()):
            self._leave_whole()

    def _all_but_last(self) -> bytes:
        """The scan so far but its last byte, and but what may fill the space before a marker."""
        stop = max(0, len(self._tail.rstrip(b"\xff")) - 1)
        taken = bytes(self._tail[:stop])
        del self._tail[:stop]
        return taken

    def _end(self) -> None:
        """The end of the image is here: the rows have to be complete now, neither sooner nor later."""
        rows, walk = self._rows, self._walk
        if rows is None or walk is None:
            return
        taken = rows.take(self._all_but_last()) and not (rows.done and walk.restartless)
        if taken and not rows.done:
            # Bytes that run out, or are left over, are how damage shows where no restart marker shows it.
            last = bytes(self._tail.rstrip(b"\xff"))
            taken = rows.take(last + (_PADDING if walk.restartless else b"\xff\xd9"))
        whole = walk.restartless or walk.confined
        self._pixels = rows.pixels if taken and whole else None
        self._leave_whole()

    def _photo(self) -> Photo | None:
        if self._pixels is None or self._walk is None:
            return None
        header = jpeg_header(self._walk)
        _, block = scale_for(max(header.width_px, header.height_px), self._longest_px)
        return reduced_upright(self._pixels, header, block)

    def _leave_whole(self) -> None:
        self._only_whole = True
        self._stop()

    def _stop(self) -> None:
        self._tail.clear()
        self._header.clear()
        if self._rows is not None:
            self._rows.stop()
            self._rows = None
            if self._places is not None:
                self._places.release()


def _is_odd(part: Part) -> bool:
    """Whether a JFIF or Adobe segment says what libjpeg warns of; only `decode_photo` hears a warning."""
    if part.marker == 0xE0 and part.body.startswith(b"JFIF\0"):
        return len(part.body) < 14 or part.body[5] != 1
    if part.marker == 0xEE and part.body.startswith(b"Adobe"):
        return len(part.body) < 12 or part.body[11] > 1
    return False


class _Rows(io.RawIOBase):
    """The file object that Pillow reads: a header, then whatever has been taken so far."""

    def __init__(self, header: bytes, frame: Frame, factor: int) -> None:
        super().__init__()
        self._header = header
        self._size = (frame.width_px // factor, frame.height_px // factor)
        self._at = 0
        self._scanning = False
        self._pieces: deque[bytes] = deque()
        self._decoding = greenlet(self._decode)
        self.pixels: NDArray[np.uint8] | None = None

    @property
    def done(self) -> bool:
        return self.pixels is not None

    def take(self, piece: bytes) -> bool:
        """Decode as far as `piece` reaches; False where the decoder will have none of it."""
        if not piece or self.done:
            return True
        if self._decoding.dead:
            return False
        self._pieces.append(piece)
        try:
            self._decoding.switch()
        except Exception:  # of a dozen bare kinds; `decode_photo` of the whole then says what it is
            return False
        return True

    def stop(self) -> None:
        self._pieces.clear()
        if self._decoding:  # begun and not over
            self._decoding.throw()

    def _decode(self) -> None:
        with Image.open(cast("IO[bytes]", self), formats=("JPEG",)) as image:
            image.draft("RGB", self._size)
            self.pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))

    def read(self, size: int = -1, /) -> bytes:
        if self._at < len(self._header):
            start = self._at
            self._at = len(self._header) if size < 0 else min(start + size, len(self._header))
            return self._header[start : self._at]
        while not self._pieces:
            feeder = getcurrent().parent
            if feeder is None:
                return b""
            feeder.switch()
        self._scanning = True
        return self._pieces.popleft()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Only the header can be read again."""
        if whence != io.SEEK_SET or self._scanning:
            raise OSError("an arriving photo cannot be read twice")
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at
