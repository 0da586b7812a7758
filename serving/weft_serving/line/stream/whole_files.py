"""Files that are written whole or not at all."""

import os
import uuid
from contextlib import suppress
from pathlib import Path

from weft.errors import StoreError


def write_whole(path: Path, data: bytes) -> None:
    """Write or replace a file, making its folder.

    Raises:
        StoreError: It cannot be written; what was there before still is.
    """
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(data)
        os.replace(half, path)
    except OSError as error:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written ({error.strerror}); name another file") from error
