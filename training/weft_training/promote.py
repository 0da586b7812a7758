"""Put a registered bundle into service: check it, replace the server's file, then name it champion.

In this order, so that the registry never claims that a bundle serves which the check has refused.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft.bundle import load_bundle
from weft.card import Task
from weft.errors import StoreError
from weft_training.track import crown, fetch_bundle, find_version, open_client

FILES: Final[dict[Task, str]] = {
    "weight": "weight.onnx",
    "composition": "fibre.onnx",
    "belt": "belt.onnx",
}


@dataclass(frozen=True, slots=True)
class Promotion:
    name: str
    version: str
    task: Task
    path: Path  # the file that the server reads
    sha256: str


def promote(
    name: str, version: str, *, bundles: Path, runs: Path = Path("runs"), uri: str | None = None
) -> Promotion:
    """Fetch, verify and install a version (a number, or an alias such as `challenger`).

    Args:
        bundles: The server's folder of bundles; made if absent.
        runs: Folder of runs, where the default registry lies.

    Raises:
        RunError: No such name or version.
        BundleError: Its seal, card or proof does not hold on this machine; nothing is changed.
        StoreError: The folder cannot be written.
    """
    client = open_client(uri, runs)
    found = find_version(client, name, version)
    with tempfile.TemporaryDirectory() as folder:
        fetched = fetch_bundle(client, found, Path(folder))
        bundle = load_bundle(fetched)
        target = bundles / FILES[bundle.card.task]
        replace_file(target, fetched.read_bytes())
    crown(client, found)
    return Promotion(found.name, found.version, bundle.card.task, target, bundle.sha256)


def replace_file(target: Path, data: bytes) -> None:
    """Write beside `target` and rename over it: a reader sees the old file or the new one, whole."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
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
        raise StoreError(
            f"{target}: cannot be written ({error.strerror}); name a folder with --bundles"
        ) from error
