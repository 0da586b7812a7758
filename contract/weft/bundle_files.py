"""Bundles as files in a server's folder: replaced whole, the one before kept beside, and a challenger.

weight.onnx               what a server answers with
weight.previous.onnx      what it answered with before: for `rollback`, or for `mv` by hand
weight.challenger.onnx    what is on trial beside it
"""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from weft.bundle import check_seal
from weft.card import Task
from weft.errors import BundleError, StoreError

FILES: Final[Mapping[Task, str]] = {
    "weight": "weight.onnx",
    "composition": "fibre.onnx",
    "belt": "belt.onnx",
}
_LEFT_BEHIND_SECONDS: Final = 3600.0


def previous_of(path: Path) -> Path:
    """Where the bundle lies that `path` held before."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def challenger_of(path: Path) -> Path:
    """Where the bundle lies that is on trial beside the one at `path`."""
    return path.with_name(f"{path.stem}.challenger{path.suffix}")


def install_bundle(target: Path, data: bytes) -> None:
    """Replace `target` as `replace_file` does, and keep the bundle that it held as `previous_of(target)`.

    The same bundle once more changes nothing, and rubbish does not take the place of the one before.
    Killed at any moment, `target` is the old bundle or the new one, whole.

    Raises:
        StoreError: The folder cannot be written; `target` is as it was.
    """
    try:
        held = target.read_bytes() if target.exists() else data
        if held != data and _is_bundle(held):
            _keep(target, previous_of(target))
    except OSError as error:
        raise _cannot_write(target, error) from error
    replace_file(target, data)


def replace_file(target: Path, data: bytes) -> None:
    """Write beside `target` and rename over it: a reader sees the old file or the new one, whole.

    Raises:
        StoreError: The folder cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(beside, 0o644)  # mkstemp's 0600 would lock out a server that runs as another user
            os.replace(beside, target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _cannot_write(target, error) from error


def _is_bundle(data: bytes) -> bool:
    try:
        check_seal(data, source="held")
    except BundleError:
        return False
    return True


def _keep(target: Path, kept: Path) -> None:
    """A second name for the same content: costs nothing, and `target` is there all the while."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{kept.name}.") as folder:
        beside = Path(folder) / kept.name
        try:
            os.link(target, beside)
        except OSError:  # a file system without hard links
            shutil.copyfile(target, beside)
        os.replace(beside, kept)


def _sweep(target: Path) -> None:
    """What a killed process left behind; another one may be writing right now, so only what is old."""
    until = time.time() - _LEFT_BEHIND_SECONDS
    for left in target.parent.glob(f".{target.name}.*"):
        if left.is_file() and left.stat().st_mtime < until:
            left.unlink(missing_ok=True)


def _cannot_write(target: Path, error: OSError) -> StoreError:
    return StoreError(f"{target}: cannot be written ({error.strerror}); name a folder with --bundles")
