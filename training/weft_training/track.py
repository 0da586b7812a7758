"""MLflow, and the only module that has heard of it: runs, curves, pictures, and the registry of bundles.

A bundle is stored byte for byte, never through MLflow's own ONNX flavour: that would serialise the graph
again and break its seal.
"""

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weft.errors import RunError

# Before the import, which reads them: it would report to its makers, and draw progress bars for single files.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
DATABASE: Final = "mlflow.db"
_BATCH: Final = 1000  # most metrics that one call to a tracking server may carry


@dataclass(frozen=True, slots=True)
class Version:
    """One bundle in the registry."""

    name: str
    version: str
    run_id: str


class Track:
    """One run. Made by `tracking`; a picture or figure that cannot be written is an error, not a silence."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def recipe(self, text: str, settings: Mapping[str, Any]) -> None:
        """Keep the recipe as a file and its settings (nested) as searchable parameters."""
        self._client.log_text(self.run_id, text, "recipe.yaml")
        known = self._client.get_run(self.run_id).data.params
        for key, value in _flat(settings):
            # A resumed run has them already, and MLflow refuses to change a parameter.
            if key not in known:
                self._client.log_param(self.run_id, key, str(value)[:500])

    def facts(self, **facts: str) -> None:
        """Tags: dataset fingerprint, code revision, whether simulated, ..."""
        for name, value in facts.items():
            self._client.set_tag(self.run_id, f"weft.{name}", value)

    def points(self, values: Mapping[str, float], *, step: int) -> None:
        """One step of curves."""
        self._log(values, step)

    def metrics(self, values: Mapping[str, float]) -> None:
        """Final figures."""
        self._log(values, 0)

    def picture(self, name: str, png: bytes) -> None:
        """A plot, below `plots/`."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.png"
            path.write_bytes(png)
            self._client.log_artifact(self.run_id, str(path), "plots")

    def file(self, path: Path, folder: str | None = None) -> None:
        """A file of the run: split, predictions, report, bundle."""
        self._client.log_artifact(self.run_id, str(path), folder)

    def register(self, bundle: Path, name: str) -> Version:
        """Store `bundle` with the run and make it the registry's newest version of `name`: the challenger."""
        self.file(bundle, "bundle")
        if not any(model.name == name for model in self._client.search_registered_models()):
            self._client.create_registered_model(name)
        source = f"{self._client.get_run(self.run_id).info.artifact_uri}/bundle"
        made = self._client.create_model_version(name, source, run_id=self.run_id)
        self._client.set_registered_model_alias(name, CHALLENGER, str(made.version))
        return Version(name, str(made.version), self.run_id)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        stamp = time.time_ns() // 1_000_000
        entries = [Metric(name, float(value), stamp, step) for name, value in values.items()]
        for start in range(0, len(entries), _BATCH):
            self._client.log_batch(self.run_id, metrics=entries[start : start + _BATCH])


@contextmanager
def tracking(
    *, uri: str | None, folder: Path, experiment: str, name: str, run_id: str | None = None
) -> Iterator[Track]:
    """A tracked run that ends as FINISHED, or as FAILED where the block raises.

    Args:
        uri: Where MLflow keeps its records; None: a sqlite database in `folder`.
        folder: Folder of runs; artifacts of a local database are stored beside it there.
        name: Shown name of the run.
        run_id: Continue this run (a resumed training).

    Raises:
        RunError: The address cannot be used, or `run_id` is not known there.
    """
    client = open_client(uri, folder)
    try:
        if run_id is None:
            run_id = client.create_run(
                _experiment(client, experiment, uri, folder),
                run_name=name,
                tags={"mlflow.source.name": "weft"},
            ).info.run_id
        else:
            client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        raise RunError(
            f"MLflow at {tracking_uri(uri, folder)}: {error.message}; correct track.uri"
        ) from error
    try:
        yield Track(client, run_id)
    except BaseException:
        client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")


def tracking_uri(uri: str | None, folder: Path) -> str:
    """The address in use: `uri`, or the sqlite database in the folder of runs."""
    return uri if uri is not None else f"sqlite:///{(folder / DATABASE).resolve()}"


def open_client(uri: str | None, folder: Path) -> MlflowClient:
    """Connect; a new sqlite database is made (about 7 s, once)."""
    if uri is None:
        folder.mkdir(parents=True, exist_ok=True)
    address = tracking_uri(uri, folder)
    logging.getLogger("mlflow.store.db").setLevel(logging.WARNING)  # two lines on every new database
    try:
        with warnings.catch_warnings():
            # MLflow's own table definitions use what SQLAlchemy 2.1 deprecates.
            warnings.filterwarnings("ignore", message=".*noload.*")
            return MlflowClient(tracking_uri=address, registry_uri=address)
    except MlflowException as error:
        raise RunError(f"MLflow at {address}: {error.message}; correct track.uri") from error


def find_version(client: MlflowClient, name: str, version: str) -> Version:
    """A registered version, by its number or alias.

    Raises:
        RunError: There is no such name or version; the message lists what there is.
    """
    try:
        if version.isdigit():
            found = client.get_model_version(name, version)
        else:
            found = client.get_model_version_by_alias(name, version)
    except MlflowException as error:
        all_versions = [(item.name, int(item.version)) for item in client.search_model_versions()]
        there = [str(number) for known_name, number in sorted(all_versions) if known_name == name]
        names = sorted({known_name for known_name, _ in all_versions})
        known = f"versions are {', '.join(there)}" if there else f"names are {', '.join(names) or 'none yet'}"
        raise RunError(f"the registry has no {name} {version}; {known}") from error
    return Version(found.name, str(found.version), str(found.run_id))


def fetch_bundle(client: MlflowClient, version: Version, into: Path) -> Path:
    """Copy a version's bundle below `into` and return its path."""
    source = client.get_model_version_download_uri(version.name, version.version)
    try:
        folder = Path(download_artifacts(artifact_uri=source, dst_path=str(into)))
    except (MlflowException, OSError) as error:
        raise RunError(
            f"{version.name} {version.version}: its bundle cannot be fetched from {source} ({error}); "
            "register the run again"
        ) from error
    files = sorted(folder.rglob("*.onnx"))
    if len(files) != 1:
        raise RunError(
            f"{version.name} {version.version}: got {len(files)} bundles, needed 1; register it again"
        )
    return files[0]


def crown(client: MlflowClient, version: Version) -> None:
    """Make this version the champion; it stops being the challenger."""
    client.set_registered_model_alias(version.name, CHAMPION, version.version)
    aliases = client.get_registered_model(version.name).aliases
    if str(aliases.get(CHALLENGER)) == version.version:
        client.delete_registered_model_alias(version.name, CHALLENGER)


def run_tags(client: MlflowClient, run_id: str) -> dict[str, str]:
    """The facts that were recorded with a run."""
    tags: dict[str, str] = client.get_run(run_id).data.tags
    return {name.removeprefix("weft."): value for name, value in tags.items() if name.startswith("weft.")}


def _experiment(client: MlflowClient, name: str, uri: str | None, folder: Path) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A server decides itself where artifacts go; a plain database would put them below the working directory.
    local = uri is None or uri.startswith("sqlite:")
    place = (folder / "artifacts").resolve().as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=place))


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
