"""Put a registered bundle into service: check it, replace the server's file, then name it champion.

In this order, so that the registry never claims that a bundle serves which the check has refused. A server
that runs takes the new file up within seconds.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from weft.bundle import load_bundle
from weft.bundle_files import FILES, challenger_of, install_bundle, replace_file
from weft.card import Task
from weft_training.track import crown, fetch_bundle, find_version, open_client


@dataclass(frozen=True, slots=True)
class Promotion:
    name: str
    version: str
    task: Task
    path: Path  # the file that the server reads
    sha256: str


def promote(
    name: str,
    version: str,
    *,
    bundles: Path,
    runs: Path = Path("runs"),
    uri: str | None = None,
    on_trial: bool = False,
) -> Promotion:
    """Fetch, verify and install a version (a number, or an alias such as `challenger`).

    Args:
        bundles: The server's folder of bundles; made if absent. What it held stays beside for a rollback.
        runs: Folder of runs, where the default registry lies.
        on_trial: Install it as the server's challenger: it answers nobody, and the champion stays champion.

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
        if on_trial:
            target = challenger_of(target)
            replace_file(target, fetched.read_bytes())
        else:
            install_bundle(target, fetched.read_bytes())
    if not on_trial:
        crown(client, found)
    return Promotion(found.name, found.version, bundle.card.task, target, bundle.sha256)
