"""What a serving-only install takes on disk, and which packages of it are the largest.

    .venv/bin/python benchmarks/install_size.py                       # pip install weft
    .venv/bin/python benchmarks/install_size.py --extras serve,plant,s3 --trim    # what is in the image

Builds the wheel and installs it into an empty environment without pip, at the versions of
deploy/constraints.txt. Disk space is what the file system has set aside for everything in the environment,
bytecode included; the interpreter and its library stay outside.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "deploy" / "constraints.txt"


def install(folder: Path, *, extras: str = "", trim: bool = False) -> Path:
    """Make `folder` an environment with this revision's wheel in it; its site-packages.

    Raises:
        subprocess.CalledProcessError: pip could not resolve or fetch; its stderr says why.
    """
    wheels = folder.with_name(f"{folder.name}-wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True)
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--quiet"]
    what = f"{wheel}[{extras}]" if extras else str(wheel)
    subprocess.run(
        [*pip, "install", "--constraint", str(CONSTRAINTS), what], check=True, capture_output=True, text=True
    )
    if trim:
        subprocess.run([ROOT / "deploy" / "trim", folder], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    return packages


def on_disk(path: Path) -> int:
    """Bytes that the file system has set aside for a file, or for all in a folder; a link is not followed."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files)


def by_package(packages: Path) -> list[tuple[str, int]]:
    """Bytes on disk of each distribution, the largest first."""
    sizes: Counter[str] = Counter()
    for found in distributions(path=[str(packages)]):
        for file in found.files or []:
            path = Path(str(found.locate_file(file)))
            if path.is_file():  # what was trimmed is still on the list
                sizes[found.metadata["Name"]] += on_disk(path)
    return sizes.most_common()


def measure(folder: Path, *, extras: str = "", trim: bool = False) -> dict[str, Any]:
    packages = install(folder, extras=extras, trim=trim)
    sizes = by_package(packages)
    return {
        "extras": extras,
        "trimmed": trim,
        "disk_bytes": on_disk(folder),
        "packages": dict(sizes),
        "forbidden": sorted(
            name for name, _ in sizes if re.fullmatch(r"torch.*|mlflow.*|opencv.*", name.lower())
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--extras", default="", help="such as serve,plant,s3")
    parser.add_argument("--trim", action="store_true", help="as the image is, by deploy/trim")
    parser.add_argument("--into", type=Path, help="keep the environment in this folder, which must not exist")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(asked.into or Path(scratch) / "served", extras=asked.extras, trim=asked.trim)
    if asked.json:
        print(json.dumps(found))
        return
    name = f"weft[{asked.extras}]" if asked.extras else "weft"
    print(f"{name}: {found['disk_bytes'] / 1e6:.0f} MB on disk, {len(found['packages'])} packages")
    for package, size in list(found["packages"].items())[:15]:
        print(f"  {size / 1e6:6.1f} MB  {package}")


if __name__ == "__main__":
    main()
