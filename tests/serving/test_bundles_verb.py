"""`weft bundles` against a served process: list, push, try, promote, roll back; and what keeps it from it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from weft.bundle import check_seal
from weft_serving.bundles.verb import bundles

TOKEN = "correct-horse-battery"
SERVE = [sys.executable, "-c", "from weft_serving.cli import serve; serve()"]


@pytest.fixture(scope="module")
def url(
    tmp_path_factory: pytest.TempPathFactory, tiny_weight_bundle: Path, tiny_fibre_bundle: Path
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "weight.onnx").write_bytes(tiny_weight_bundle.read_bytes())  # changed here
    told = {"WEFT_ADMIN_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [*SERVE, "--weight", "weight.onnx", "--fibre", str(tiny_fibre_bundle), "--port", "0"],
        cwd=folder, env=dict(os.environ) | told,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert found is not None
    yield found[0]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)


def run(url: str, *words: str, token: str | None = TOKEN) -> tuple[int, str]:
    made = CliRunner().invoke(bundles, ["--url", url, *words], env={"WEFT_ADMIN_TOKEN": token})
    return made.exit_code, made.output


@pytest.mark.slow
def test_it_lists_pushes_tries_promotes_and_rolls_back(
    url: str, heavier_weight_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    heavier = heavier_weight_bundle()
    short = check_seal(heavier.read_bytes(), source="test")[:12]
    assert run(url)[1].startswith("weight: tiny-weight 1 (")

    assert f"on trial: tiny-weight 1 ({short}" in run(url, "challenge", "weight", str(heavier))[1]
    assert f"weight: tiny-weight 1 ({short}" in run(url, "promote", "weight")[1]
    assert f"before: tiny-weight 1 ({short}" in run(url, "rollback", "weight")[1]
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    assert run(url, "push", "weight", str(tmp_path / "rubbish")) == (
        1,
        "Error: the bundle sent: not a Weft bundle, or cut short; export it again with `weft export`\n",
    )
    assert "refused: the bundle sent: not a Weft bundle" in run(url)[1]
    assert run(url, "end", "weight")[0] == 1


def test_what_keeps_it_from_changing_anything_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "b.onnx").write_bytes(b"x")

    def told(url: str, token: str | None = TOKEN) -> Any:
        status, said = run(url, "push", "weight", str(tmp_path / "b.onnx"), token=token)
        assert (status, said.count("\n")) == (1, 1)
        return said

    assert "WEFT_ADMIN_TOKEN is not set" in told("http://127.0.0.1:9", None)
    assert "does not answer" in told("http://127.0.0.1:9")
    assert "name a server as http://HOST:PORT" in told("ftp://here")
