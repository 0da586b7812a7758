"""The server under test: `weft serve` as a child process on a free port and an empty database."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from weft.errors import BenchError
from weft_serving.bench.load import Work
from weft_serving.bench.talk import Address, HttpLine, dial

_START_S: Final = 60.0
_END_S: Final = 5.0  # between a closed connection and the end of the process that closed it


class Served:
    """A running server; `first_answer_s` is the time from its start to its first right answer."""

    def __init__(self, bundle: Path | None, variables: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="weft-bench-")
        self._log = Path(self._folder.name) / "log"
        self.address = Address("127.0.0.1", _free_port())
        self.first_answer_s = 0.0
        command = [sys.executable, "-m", "weft", "serve", "--host", "127.0.0.1", "--port"]
        command += [str(self.address.port), "--database", f"sqlite:///{self._folder.name}/weft.db"]
        command += [] if bundle is None else ["--weight", str(bundle)]
        # Not the operator's own settings: they may name his database, his lines and his plant.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
        self._started = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder.name,
                env=ours | {"WEFT_DRAIN_SECONDS": "0"} | dict(variables),
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self, work: Work) -> None:
        """Until the first request is answered right; else a BenchError with the server's own word."""
        request = work.requests(self.address)[0]
        while True:
            try:
                line = HttpLine(await dial(self.address))
                break
            except BenchError:
                self.check()
                if time.perf_counter() - self._started > _START_S:
                    raise
                await asyncio.sleep(0.003)
        try:
            answer = await line.ask(request)
        except BenchError:
            await self._end()
            self.check()
            raise
        finally:
            line.close()
        work.check(0, answer)
        self.first_answer_s = time.perf_counter() - self._started

    async def _end(self) -> None:
        """Wait a moment for the end of a process that has closed its connection: its word comes with it."""
        until = time.perf_counter() + _END_S
        while self._process.poll() is None and time.perf_counter() < until:
            await asyncio.sleep(0.02)

    def check(self) -> None:
        """Raise BenchError if the process has ended."""
        if self._process.poll() is not None:
            told = self._log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise BenchError(f"weft serve ended with status {self._process.returncode}: {told[-1][:300]}")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._folder.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
