"""The whole way: a simulated belt, streamed at true speed to a service as `weft serve --lines` starts it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from weft.line.records import Decision
from weft_serving.line.stream.messages import Message
from weft_serving.line.stream.replay import Played, Playing, replay

pytestmark = pytest.mark.slow
DEMO = Path(__file__).parents[4] / "configs/lines/demo.yaml"
SECONDS = 8


@pytest.fixture(scope="module")
def belt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from weft_datasets.belt.record import write_recording

    folder = tmp_path_factory.mktemp("belt") / "recording"
    write_recording(DEMO, folder, seconds=SECONDS, seed=9002)
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WEFT_")}
    log = (tmp_path / "log").open("w")
    verb = [sys.executable, "-c", "from weft_serving.cli import serve; serve()"]
    process = subprocess.Popen(
        [*verb, "--lines", str(DEMO), "--port", "0"],
        cwd=tmp_path,
        env=kept | {"PYTHONUNBUFFERED": "1", "WEFT_WATCH": str(tmp_path / "watched")},
        stdout=subprocess.PIPE, stderr=log, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    yield process.stdout.readline().split()[3].rstrip("/")
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    process.stdout.close()
    log.close()


def state(base: str) -> Any:
    with urllib.request.urlopen(f"{base}/v1/lines/demo", timeout=20) as reply:
        return json.load(reply)


def play(belt: Path, base: str) -> tuple[Played, list[Decision]]:
    decisions: list[Decision] = []

    def told(_: Played, message: Message) -> None:
        if isinstance(message, Decision):
            decisions.append(message)

    url = base.replace("http", "ws") + "/v1/lines/demo"
    return asyncio.run(replay(belt, url, Playing(), told=told)), decisions


def test_garments_come_in_and_decisions_go_out_and_a_second_belt_follows_the_first(
    belt: Path, base: str
) -> None:
    first, decisions = play(belt, base)
    second, _ = play(belt, base)

    # The belt carries about one piece a second; which lane each takes is the benchmark's business.
    assert first.pieces >= SECONDS // 2
    assert (first.refused, first.dropped_frames, first.lost_messages) == (0, 0, 0)
    assert all(decision.simulated for decision in decisions)
    assert len({decision.rules_version for decision in decisions}) == 1
    assert first.commands >= first.outcomes["fired"] > 0
    assert not {"encoder-jump", "out-of-order", "repeated-frame", "broken-frame"} & set(second.alarms)
    assert abs(second.pieces - first.pieces) <= 1
    assert state(base)["pieces"] == first.pieces + second.pieces


def test_cubes_in_the_lines_folder_become_pieces_too(belt: Path, base: str, tmp_path: Path) -> None:
    folder = tmp_path / "watched" / "demo"
    for name in ("white", "dark", "nir"):
        for ending in (".raw", ".csv", ".hdr"):
            if (belt / f"{name}{ending}").is_file():
                (folder / f"{name}{ending}").write_bytes((belt / f"{name}{ending}").read_bytes())
    end = time.monotonic() + 60
    while not (folder / "done" / "nir.hdr").exists() or state(base)["pieces"] < SECONDS // 2:
        assert time.monotonic() < end, state(base)
        time.sleep(0.2)

    assert not (folder / "failed").exists()
