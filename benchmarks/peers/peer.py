"""A peer: its own environment, made by `install`, and its server as a process."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from weft.bundle import load_bundle
from weft.engines import fits_here
from weft.errors import BenchError
from weft_serving.bench.bill import family
from weft_serving.bench.talk import Address

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / "out" / "peers"
# Pillow's releases differ in the last bit of a resize; to be caught are wrong photos and wrong models.
_BOUND = 2e-3


@dataclass(frozen=True)
class Peer:
    name: str
    title: str
    speaks: str
    command: Sequence[str]
    install: Sequence[str] = ()
    prepare: Sequence[str] = ()
    starts: float = 60.0
    ours: bool = False  # Weft itself, in the environment that measures
    bound: float = _BOUND  # how far its grams may lie from the model's, relative

    @property
    def bin(self) -> Path:
        return Path(sys.executable).parent if self.ours else ENVIRONMENTS / self.name / "bin"


@dataclass(frozen=True)
class Table:
    peers: dict[str, Peer]
    models: dict[str, dict[str, Any]]
    common: list[str] = field(default_factory=list[str])


def read_table(path: Path = HERE / "peers.yaml") -> Table:
    told = yaml.safe_load(path.read_text())
    peers = {name: Peer(name=name, **fields) for name, fields in told["peers"].items()}
    models = {
        name: spec | {"file": str((ROOT / spec["file"]).resolve())} for name, spec in told["models"].items()
    }
    return Table(peers, models, told["common"])


def weft(spec: dict[str, Any]) -> list[Peer]:
    """Weft itself, as one of the row: its bundle is the very file that the others run.

    Once more on OpenVINO, where the bundle's card admits that and it runs here.
    """
    command = ["python", "-m", "weft", "serve", "--host", "127.0.0.1", "--port", "{port}"]
    command += ["--weight", spec["file"], "--database", "sqlite:///{folder}/weft.db"]
    found = [Peer("weft", "Weft", "weft", command, ours=True)]
    engine = "openvino-bf16"
    admitted = load_bundle(Path(spec["file"]), task="weight").card.proof.engines.get(engine)
    if admitted is not None and fits_here(engine):
        bound = max(_BOUND, admitted.bound["grams"])
        there = [*command, "--engine", engine]
        found.append(Peer("weft_bf16", "Weft on OpenVINO bf16", "weft", there, ours=True, bound=bound))
    return found


def install(peer: Peer, common: Sequence[str], *, python: str) -> None:
    """Make the peer's environment. What pip says of a failure is the reason that is written down."""
    if not peer.bin.exists():
        subprocess.run([python, "-m", "venv", str(peer.bin.parent)], check=True)
    pip = [str(peer.bin / "python"), "-m", "pip", "install", "--quiet", *peer.install, *common]
    made = subprocess.run(pip, capture_output=True, text=True, check=False)
    if made.returncode:
        told = [line for line in made.stderr.splitlines() if line.startswith("ERROR")] or ["pip failed"]
        raise BenchError(f"{peer.title}: cannot be installed here: {told[-1][:200]}")


def installed(peer: Peer) -> bool:
    return peer.ours or any((peer.bin.parent).glob("lib/python*/site-packages/onnxruntime"))


class Running:
    """A peer's server. `decode` is `documented` or `reduced`; see adapters/model.py."""

    def __init__(self, peer: Peer, spec: dict[str, Any], decode: str) -> None:
        self._peer = peer
        self._folder = Path(tempfile.mkdtemp(prefix="weft-peer-"))
        self.address = Address("127.0.0.1", _free_port())
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("WEFT_", "PEER_"))}
        paths = [str(HERE / "adapters"), str(ROOT / "contract")]
        self._environ = ours | {
            "PEER_MODEL": json.dumps(spec),
            "PEER_DECODE": decode,
            "PATH": f"{peer.bin}{os.pathsep}{ours.get('PATH', '')}",
            "PYTHONPATH": os.environ.get("PYTHONPATH", "") if peer.ours else os.pathsep.join(paths),
            "MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "True",
            "RAY_USAGE_STATS_ENABLED": "0", "LIT_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1",
            "GIT_PYTHON_REFRESH": "quiet",
        }  # fmt: skip
        self._log = self._folder / "log"
        if peer.prepare:
            done = subprocess.run(
                self._filled(peer.prepare),
                cwd=self._folder,
                env=self._environ,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise BenchError(
                    f"{peer.title}: {(done.stderr.strip().splitlines() or ['failed'])[-1][:200]}"
                )
        self.started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._filled(peer.command), cwd=self._folder, env=self._environ, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        if self._process.poll() is not None:
            told = self._log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise BenchError(
                f"{self._peer.title} ended with status {self._process.returncode}: {told[-1][:200]}"
            )

    def close(self) -> None:
        """End it and all its descendants, by their ids."""
        others = [pid for pid in family(self.pid) if pid != self.pid]
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        for pid in others:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        shutil.rmtree(self._folder, ignore_errors=True)

    def _filled(self, command: Sequence[str]) -> list[str]:
        made = [part.format(port=self.address.port, folder=self._folder) for part in command]
        made = [str(HERE / "adapters" / part) if part.endswith("_app.py") else part for part in made]
        return [str(self._peer.bin / made[0]), *made[1:]]


def _free_port() -> int:
    """One with two free neighbours: some peers want ports for gRPC and metrics as well."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                for more in (1, 2):
                    with socket.socket() as next_one:
                        next_one.bind(("127.0.0.1", port + more))
            except (OSError, OverflowError):
                continue
            return port
