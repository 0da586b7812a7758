"""Photos on disk, only where the operator said so: upright, re-encoded, without the camera's metadata."""

import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import simplejpeg

from weft.errors import PhotoError, StoreError
from weft.photos import decode_photo

_LONGEST_PX: Final = 4096  # a label of 60 mm in a scene of 1.2 m still has 200 pixels
_QUALITY: Final = 92


def keep_photos(folder: Path, estimate_id: str, photos: Sequence[bytes], *, first: int) -> list[str]:
    """Write photos as `<folder>/<estimate id>/<number>.jpg`; return absolute paths, "" for a broken photo.

    All of them or none. The pixels alone are written: position, time, owner and maker in the original never
    reach the disk.

    Raises:
        StoreError: The folder cannot be written.
    """
    place = folder.resolve() / estimate_id  # both ours: nothing the client says becomes part of a path
    paths: list[str] = []
    for number, data in enumerate(photos, start=first):
        try:
            photo = decode_photo(data, longest_px=_LONGEST_PX)
        except PhotoError:
            paths.append("")
            continue
        encoded = simplejpeg.encode_jpeg(photo.pixels, quality=_QUALITY, colorspace="RGB")
        try:
            _write(place / f"{number}.jpg", encoded)
        except StoreError:
            forget_photos(paths)
            raise
        paths.append(str(place / f"{number}.jpg"))
    return paths


def read_kept(paths: Sequence[str]) -> list[bytes] | None:
    """The kept photos' bytes, empty for one that was broken; None where one is gone."""
    try:
        return [Path(path).read_bytes() if path else b"" for path in paths]
    except OSError:
        return None


def forget_photos(paths: Sequence[str]) -> None:
    """Remove photos whose estimate could not be stored, and their folder where it is empty then."""
    for path in map(Path, filter(None, paths)):
        path.unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()


def check_folder(folder: Path) -> None:
    """Raise StoreError unless photos can be written below `folder`."""
    probe = folder / f".weft-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"photos cannot be kept in {folder} ({error.strerror}); name a folder that can be written"
        ) from error


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(data)
        os.replace(half, path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise StoreError(
            f"a photo cannot be kept ({error.strerror}); check the folder and its room"
        ) from error
