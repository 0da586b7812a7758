"""Files for this service's user alone: photos, the database, what lines keep.

What is made here gets its rights when it is made, whatever the umask. What the operator made is left as it
is: who may read it is his decision, and a line at the start says so.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_FILE: Final = 0o600
_FOLDER: Final = 0o700


def make_folder(folder: Path) -> None:
    """Make a folder and what is missing above it; OSError where it cannot be."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=_FOLDER, exist_ok=True)


def make_file(path: Path) -> None:
    """An empty file, unless there is one. SQLite gives what it puts beside its file the same rights."""
    with suppress(OSError):  # who opens it next says what is wrong, in its own words
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, _FILE))


def write_file(path: Path, data: bytes) -> None:
    """Write a file that is not there yet; OSError where it is, or cannot be written."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE), "wb") as file:
        file.write(data)


def open_to_others(paths: Sequence[Path]) -> list[Path]:
    """Those that other users of this machine may read, by their own rights and those of all folders above."""
    # Windows keeps rights elsewhere.
    return [] if os.name == "nt" else [path for path in paths if _is_open(path)]


def _is_open(path: Path) -> bool:
    try:
        resolved = path.resolve()
        mode = resolved.stat().st_mode
        above = [folder.stat().st_mode for folder in resolved.parents]
    except OSError:
        return False
    by_group, by_all = 3, 0  # bits to shift
    return any(mode >> who & 4 and all(folder >> who & 1 for folder in above) for who in (by_group, by_all))
