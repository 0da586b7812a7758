"""Kept photos, only where the operator said so: upright, re-encoded, without the camera's metadata.

A place is a folder, or an object store as a URL. The address of a kept photo is an absolute path, or a URL.
"""

import os
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import simplejpeg

from weft.errors import PhotoError, StoreError
from weft.photos import PhotoFile, decode_photo
from weft_serving.kept_objects import (
    check_url,
    is_object,
    probe_store,
    read_object,
    remove_object,
    write_object,
)
from weft_serving.private import make_folder, write_file

_LONGEST_PX: Final = 4096  # a label of 60 mm in a scene of 1.2 m still has 200 pixels
_QUALITY: Final = 92
_one_at_a_time = threading.Lock()


def keep_photos(place: str, estimate_id: str, photos: Sequence[PhotoFile], *, first: int) -> list[str]:
    """Write photos as `<place>/<estimate id>/<number>.jpg`; return their addresses, "" for a broken photo.

    All of them or none. The pixels alone are written: position, time, owner and maker in the original never
    reach the disk.

    Raises:
        StoreError: The place cannot be written.
    """
    # all of it ours: nothing the client says becomes part of a path
    inside = (
        f"{place.rstrip('/')}/{estimate_id}" if is_object(place) else str(Path(place).resolve() / estimate_id)
    )
    # Two replicas may add one at the same time. Only one of them is stored, and may not lose its file.
    unlike = "" if first == 1 else f"-{uuid.uuid4().hex[:8]}"
    kept: list[str] = []
    for number, data in enumerate(photos, start=first):
        try:
            encoded = _encoded_anew(data)
        except PhotoError:
            kept.append("")
            continue
        address = f"{inside}/{number}{unlike}.jpg"
        try:
            write_object(address, encoded) if is_object(address) else write_whole(Path(address), encoded)
        except StoreError:
            with suppress(StoreError):  # the first error is the one to tell
                forget_photos(kept)
            raise
        kept.append(address)
    return kept


def _encoded_anew(file: PhotoFile) -> bytes:
    """One at a time: a photo of 12 megapixels takes 36 MB at this scale, others up to 80."""
    with _one_at_a_time:
        photo = decode_photo(file, longest_px=_LONGEST_PX)
        return simplejpeg.encode_jpeg(photo.pixels, quality=_QUALITY, colorspace="RGB")


def read_kept(addresses: Sequence[str]) -> list[bytes] | None:
    """The kept photos' bytes, empty for one that was broken; None where one is gone.

    Raises:
        StoreError: An object store cannot be asked.
    """
    found: list[bytes] = []
    for address in addresses:
        data = read_one(address) if address else b""
        if data is None:
            return None
        found.append(data)
    return found


def read_one(address: str) -> bytes | None:
    """One kept photo's bytes; None where it is gone. StoreError where an object store cannot be asked."""
    if is_object(address):
        return read_object(address)
    try:
        return Path(address).read_bytes()
    except OSError:
        return None


def forget_photos(addresses: Sequence[str]) -> None:
    """Remove kept photos, and their folder where it is empty then; one that is gone already is no error.

    Raises:
        StoreError: A photo is still there and cannot be removed.
    """
    for address in filter(None, addresses):
        if is_object(address):
            remove_object(address)
            continue
        path = Path(address)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"a kept photo cannot be removed ({error.strerror}); check the folder's rights"
            ) from error
        with suppress(OSError):
            path.parent.rmdir()


def check_place(place: str) -> None:
    """Raise StoreError unless photos can be written to `place`."""
    name = f".weft-{uuid.uuid4().hex}"
    if is_object(place):
        check_url(place)
        probe_store(place, name)
        return
    probe = Path(place) / name
    try:
        make_folder(probe.parent)
        write_file(probe, b"")
        probe.unlink()
    except OSError as error:
        raise StoreError(
            f"photos cannot be kept in {place} ({error.strerror}); name a folder that can be written"
        ) from error


def write_whole(path: Path, data: bytes) -> None:
    """Whole or not at all, for this user alone. StoreError where it cannot be written."""
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        make_folder(path.parent)
        write_file(half, data)
        os.replace(half, path)
    except OSError as error:
        half.unlink(missing_ok=True)
        raise StoreError(
            f"a photo cannot be kept ({error.strerror}); check the folder and its room"
        ) from error
