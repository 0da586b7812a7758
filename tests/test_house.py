"""The house itself: which way imports point, what a serving-only install loads, what the wheel carries."""

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = {
    "contract": {"weft"},
    "datasets": {"weft", "weft_datasets"},
    "training": {"weft", "weft_datasets", "weft_training"},
    "serving": {"weft", "weft_serving"},
}
OURS = {"weft", "weft_datasets", "weft_training", "weft_serving"}
MOST_LINES = 400
MOST_FUNCTION_LINES = 60
Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_only_point_down(floor: str) -> None:
    upward = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(floor)
        for name in imported(path)
        if name in OURS - FLOORS[floor]
    }

    assert upward == set()


def test_no_code_lies_directly_in_the_folders_that_hold_packages() -> None:
    assert [path.name for floor in FLOORS for path in (ROOT / floor).glob("*.py")] == []


def test_no_file_and_no_function_outgrows_a_readers_patience() -> None:
    large: list[str] = []
    for path in modules("contract", "datasets", "training", "serving", "tests", "benchmarks"):
        text = path.read_text()
        lines = text.count("\n")
        if lines > MOST_LINES:
            large.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, Function):
                continue
            span = (node.end_lineno or node.lineno) - node.lineno + 1
            if span > MOST_FUNCTION_LINES:
                large.append(f"{path.relative_to(ROOT)}: {node.name} has {span} lines")

    assert large == []


def test_importing_all_of_serving_loads_nothing_heavy_and_starts_nothing(tmp_path: Path) -> None:
    names = [
        ".".join(path.relative_to(ROOT / folder).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("contract", "serving")
        for path in modules(folder)
        if "migrations" not in path.parts
    ]
    script = (
        "import importlib, sys, threading\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'mlflow', 'cv2', 'pandas', 'pyarrow', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert threading.active_count() == 1, threading.enumerate()\n"
    )

    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_wheel_carries_bundles_pages_and_migrations(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = zipfile.ZipFile(wheel)
    names = set(held.namelist())

    for needed in (
        "weft/bundles/weight.onnx",
        "weft/bundles/fibre.onnx",
        "weft/bundles/belt.onnx",
        "weft_serving/pages/index.html",
        "weft_serving/pages/static/page.js",
        "weft_serving/pages/static/vendor/uPlot.iife.min.js",
        "weft_serving/docs_page/swagger-ui-bundle.js",
        "weft_serving/migrations/env.py",
        "weft_training/recipe.py",
        "weft_datasets/manifest.py",
    ):
        assert needed in names
    assert any(name.startswith("weft_serving/migrations/versions/") for name in names)
    bundles = [item for item in held.infolist() if item.filename.endswith(".onnx")]
    assert all(item.file_size < 25_000_000 for item in bundles)
