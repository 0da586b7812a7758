"""A torchvision whose native part does not fit torch must not take timm and lightning down with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BROKEN = """
import torch

@torch.library.register_fake("torchvision::nms")
def _(dets, scores, iou_threshold):
    return dets.new_empty(0)
"""


@pytest.fixture
def broken_pair(tmp_path: Path) -> dict[str, str]:
    """An environment in which torchvision is a package with a native part that does not load."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(BROKEN)
    (package / "_C.so").write_bytes(b"built for another torch")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_without_the_gate_a_broken_pair_cannot_be_imported(broken_pair: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import torchvision"], env=broken_pair, capture_output=True, text=True
    )

    assert "operator torchvision::nms does not exist" in done.stderr


def test_behind_the_gate_it_can(broken_pair: dict[str, str]) -> None:
    code = (
        "from weft_training import torchvision_gate as gate; import torchvision; "
        "print(torchvision.__file__, gate.NATIVE, gate.ensure())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=broken_pair, capture_output=True, text=True)

    assert done.stdout.split()[1:] == ["False", "False"], done.stderr
    assert done.stdout.startswith(broken_pair["PYTHONPATH"])


def test_every_module_that_needs_torchvision_imports_the_gate_first() -> None:
    needy = ("import timm", "from timm", "from lightning", "import lightning", "import torchvision")
    for path in (Path(__file__).parents[2] / "training" / "weft_training").glob("*.py"):
        text = path.read_text()
        found = [text.index(f"\n{words}") for words in needy if f"\n{words}" in text]
        if found:
            assert 0 <= text.find("from weft_training import torchvision_gate") < min(found), path.name
