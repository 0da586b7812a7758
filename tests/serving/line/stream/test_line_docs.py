"""The examples of docs/line/streaming.md run as they are printed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from weft.line import frames
from weft.line.frames import unpack

PAGE = (Path(__file__).parents[4] / "docs/line/streaming.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_the_printed_client_streams(line_url: str, small_line: Any, tmp_path: Path) -> None:
    (tmp_path / "camera.py").write_text(blocks("python")[0])
    subprocess.run([sys.executable, str(tmp_path / "camera.py"), line_url], check=True, timeout=60)

    assert [frame.number for frame in small_line.frames] == list(range(20))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_printed_c_program_writes_a_frame(tmp_path: Path) -> None:
    (tmp_path / "frame.c").write_text(blocks("c")[0])
    program = tmp_path / "frame"
    made = ["cc", "-std=c11", "-Wall", "-Werror", "-o", str(program), str(tmp_path / "frame.c")]
    subprocess.run(made, check=True, timeout=60)
    frame = unpack(subprocess.run([program], check=True, capture_output=True, timeout=10).stdout)

    assert (frame.sensor, frame.number, frame.encoder.tolist()) == ("nir", 41, [990, 1000])
    assert (frame.counts.shape, frame.counts[1, 7, 15], frame.counts.sum()) == ((2, 8, 16), 4095, 4095)


def test_the_table_of_the_header_is_the_one_in_the_code() -> None:
    assert frames.__doc__ is not None
    rows = [line for line in frames.__doc__.splitlines() if line.startswith("| ")][1:]
    told = [line for line in PAGE.splitlines() if line.startswith("| ")]
    for row in rows[:-1]:
        assert row in told
