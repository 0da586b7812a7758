"""References that a plant records into a folder: read at the start, and again whenever they have changed."""

from pathlib import Path
from typing import Final

from weft.errors import LineReferenceError
from weft.line.description import NirCamera
from weft_serving.line.see.references import References, read_references

_NAMES: Final = ("white.hdr", "dark.hdr")
_Stamp = tuple[tuple[int, int], ...]


class ReferenceFolder:
    """Looks at one folder. Used from one thread."""

    def __init__(self, folder: Path, camera: NirCamera, *, max_age_s: float) -> None:
        self._folder = folder
        self._camera = camera
        self._max_age_s = max_age_s
        self._tried: _Stamp | None = None  # as the files were when they were last read, whatever came of it
        self._seen: _Stamp | None = None

    def news(self) -> References | None:
        """The references, where the files have changed since they were last read and then stood still.

        Raises:
            LineReferenceError: They cannot be used; told once for each change.
        """
        stamp = self._stamp()
        settled = stamp == self._seen or self._tried is None  # not while they are being written
        self._seen = stamp
        if stamp == self._tried or not settled:
            return None
        self._tried = stamp
        return self.read()

    def read(self) -> References:
        """The references as they are now. Raises LineReferenceError."""
        try:
            return read_references(self._folder, self._camera, max_age_s=self._max_age_s)
        except OSError as error:
            raise LineReferenceError(
                f"{self._folder}: the references cannot be read ({error.strerror}); see to the disk"
            ) from error

    def _stamp(self) -> _Stamp:
        found: list[tuple[int, int]] = []
        for name in _NAMES:
            try:
                status = (self._folder / name).stat()
            except OSError:
                found.append((0, 0))
            else:
                found.append((status.st_mtime_ns, status.st_size))
        return tuple(found)
