"""A bundle's file that somebody may replace at any time: `weft promote`, a copy, another replica."""

from pathlib import Path
from typing import Final, NamedTuple

from weft.bundle import check_seal
from weft.errors import BundleError

MOST_BYTES: Final = 2_000_000_000  # protobuf, and with it ONNX, ends there
_DIGITS: Final = 64


class Stamp(NamedTuple):
    """What changes when a file is replaced, or written into. None of it is read from its content."""

    modified_ns: int
    size: int
    inode: int


class WatchedFile:
    """Tells once of each change, when it is over: a copy that is under way changes from look to look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: Stamp | None = None
        self._settling: Stamp | None = None
        self._looked = False

    def has_changed(self) -> bool:
        """Whether the file is another than at the last change told, and has been so for two looks."""
        stamp = self._stamp()
        settled, self._settling = stamp == self._settling, stamp
        if not settled or (self._looked and stamp == self._known):
            return False
        first, self._looked = not self._looked, True
        self._known = stamp
        return not (first and stamp is None)

    @property
    def exists(self) -> bool:
        return self._stamp() is not None

    def read(self) -> tuple[bytes, str]:
        """The whole file and its seal's digest; parses nothing.

        Raises:
            BundleError: It cannot be read, or its seal does not hold.
        """
        name = self.path.name  # its folder is nobody's business but the operator's
        try:
            size = self.path.stat().st_size
            if size > MOST_BYTES:
                raise BundleError(f"{name}: {size:,} bytes, a bundle has at most {MOST_BYTES:,}")
            data = self.path.read_bytes()
        except OSError as error:
            raise BundleError(f"{name}: cannot be read ({error.strerror}); put a bundle there") from error
        return data, check_seal(data, source=name)

    def remember(self, sha256: str) -> None:
        """This change was ours and is no news, unless somebody has been there since."""
        stamp = self._stamp()
        try:
            with self.path.open("rb") as stream:
                stream.seek(-_DIGITS, 2)
                ours = stream.read() == sha256.encode()
        except OSError:
            return
        if ours:
            self._known = self._settling = stamp
            self._looked = True

    def forget(self) -> None:
        """That the file is gone was our doing."""
        self._known = self._settling = None
        self._looked = True

    def _stamp(self) -> Stamp | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
