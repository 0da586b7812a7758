"""Unpacking a zip from a stranger: what it says of itself is checked, then what comes out is counted."""

import io
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Final

from weft.errors import BrokenScanError, ScanTooLargeError, UnsupportedScanError
from weft.limits import CUBE_BYTES

MEMBERS: Final = 32
_DIRECTORY_BYTES: Final = 100_000
_RATIO: Final = 100  # measured cubes pack 1.1 to 4 times; a file of zeros 1000 times
_SMALL: Final = 10_000_000  # under this the ratio does not matter
_BLOCK: Final = 1 << 20
_IGNORED: Final = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")


def is_zip(data: bytes) -> bool:
    return data[:4] in (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")


def unpack(name: str, data: bytes, folder: Path) -> dict[str, Path]:
    """Unpack into `folder` under names of our own; returns the members' names and where they lie.

    Raises:
        ScanTooLargeError: Too many members, more than `CUBE_BYTES` unpacked, or packed beyond reason.
        BrokenScanError: Damaged, or names that point out of the archive.
        UnsupportedScanError: Encrypted, or packed in another way than deflate.
    """
    _check_directory(name, data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if _wanted(name, member)]
            _check_claims(name, members)
            found: dict[str, Path] = {}
            left = CUBE_BYTES
            for number, member in enumerate(members):
                target = folder / f"{number:03}"
                left -= _copy(name, archive, member, target, left=left)
                found[member.filename] = target
            return found
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, NotImplementedError) as error:
        raise BrokenScanError(f"{name}: the zip is damaged ({error}); pack it again") from error


def _check_directory(name: str, data: bytes) -> None:
    """Refuse a directory of a million entries before the library reads it."""
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if end < 0 or len(data) - end < 22:
        raise BrokenScanError(f"{name}: the zip is cut short; send it again")
    entries, directory_bytes = struct.unpack("<HI", data[end + 10 : end + 16])
    if (
        data[max(0, end - 20) : end][:4] == b"PK\x06\x07"
        or entries > MEMBERS
        or directory_bytes > _DIRECTORY_BYTES
    ):
        raise ScanTooLargeError(
            f"{name}: a zip of more than {MEMBERS} files; send one cube with its references"
        )


def _wanted(name: str, member: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise BrokenScanError(f"{name}: member {member.filename[:60]!r} points out of the zip; pack it again")
    return not member.is_dir() and not any(part in _IGNORED or part.startswith("._") for part in path.parts)


def _check_claims(name: str, members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        if member.flag_bits & 1:
            raise UnsupportedScanError(f"{name}: the zip is encrypted; send it without a password")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnsupportedScanError(
                f"{name}: packed in an unusual way; pack it as an ordinary zip (deflate)"
            )
    claimed = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if claimed > CUBE_BYTES:
        raise ScanTooLargeError(
            f"{name}: unpacks to {claimed:,} bytes, {CUBE_BYTES:,} is the most; crop the cube"
        )
    if claimed > max(_SMALL, _RATIO * packed):
        raise ScanTooLargeError(
            f"{name}: unpacks to {claimed / max(packed, 1):.0f} times its size, {_RATIO} is the most; "
            "a measured cube never packs so well, send the file itself"
        )


def _copy(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, *, left: int) -> int:
    """Unpack one member, counting; the directory's claim is not believed."""
    most = min(member.file_size, left)
    written = 0
    with archive.open(member) as source, target.open("wb") as out:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > most:
                raise ScanTooLargeError(
                    f"{name}: {member.filename[:60]!r} is longer than it says; pack it again"
                )
            out.write(block)
    return written
