"""The whole of `weft bench`, slowly: its figures' shape and sense, not their size."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.cli import main
from weft.errors import BenchError
from weft_serving.bench import scenes
from weft_serving.bench.bill import family
from weft_serving.bench.load import Work
from weft_serving.bench.served import Served

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.mark.slow
def test_the_whole_bench_runs_and_its_figures_make_sense(tiny_weight_bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench.html"
    result = CliRunner().invoke(
        main, ["bench", "--quick", "--json", "--html", str(out), "--bundle", str(tiny_weight_bundle)]
    )

    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    for name in ("photo", "frame_http", "frame_ws"):
        figures = found[name]
        assert set(figures) >= {"cpu_ms", "floor_cpu_ms", "ratio", "rps", "p50_ms", "p99_ms"}
        assert 0 < figures["p50_ms"] <= figures["p99_ms"]
        assert figures["requests"] >= 4
        assert figures["cpu_ms"] > 0
        assert figures["ratio"] == pytest.approx(figures["cpu_ms"] / figures["floor_cpu_ms"], rel=0.01)
    assert found["photo"]["floor"]["decode"] > found["frame_http"]["floor"]["decode"]
    assert found["photo"]["floor"]["receive"] > found["frame_http"]["floor"]["receive"]
    assert found["last_byte_to_answer_ms"] > 0
    assert 0.1 < found["first_answer_s"] < 60
    assert 30 < found["memory_mib"] < 2_000
    assert out.read_text().count("<svg") == 3


@pytest.mark.slow
def test_a_server_that_runs_already_is_measured_by_its_address(tiny_weight_bundle: Path) -> None:
    server = Served(tiny_weight_bundle, {})
    url = f"http://127.0.0.1:{server.address.port}"
    quick = ["bench", "--quick", "--json", "--only", "frame_http", "--url", url]
    try:
        frame = Work("frame", scenes.make_frames(1), [None], 0.0)
        asyncio.run(server.wait(frame))
        result = CliRunner().invoke(main, [*quick, "--bundle", str(tiny_weight_bundle)])
        other = CliRunner().invoke(main, quick)  # the package's bundle is not served there
    finally:
        server.close()

    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["frame_http"]["cpu_ms"] is None
    assert found["frame_http"]["rps"] > 0
    assert "memory_mib" not in found
    assert other.exit_code == 1
    assert "name the bundle that this server serves with --bundle" in other.stderr


@pytest.mark.slow
def test_a_server_that_ends_instead_of_answering_is_told_in_its_own_words(tiny_weight_bundle: Path) -> None:
    server = Served(tiny_weight_bundle, {"WEFT_FIBRE": str(tiny_weight_bundle)})
    try:
        with pytest.raises(BenchError, match=r"weft serve ended with status 1: Error: .*composition"):
            asyncio.run(server.wait(Work("frame", scenes.make_frames(1), [None], 0.0)))
    finally:
        server.close()


@pytest.mark.slow
@linux
def test_a_bench_that_is_told_to_stop_leaves_no_server_behind(tiny_weight_bundle: Path) -> None:
    command = [sys.executable, "-m", "weft", "bench", "--only", "frame_http", "--seconds", "60"]
    process = subprocess.Popen(
        [*command, "--bundle", str(tiny_weight_bundle)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while len(started := family(process.pid)) < 3 and time.monotonic() < until:  # the floor, the server
        time.sleep(0.1)
    process.terminate()

    assert process.wait(60) == 143
    assert len(started) == 3
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
