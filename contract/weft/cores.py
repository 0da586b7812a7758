"""How many cores this process may really use: a container's share, not the machine's number."""

import math
import os
from pathlib import Path

_CGROUP = Path("sys/fs/cgroup")


def usable_cores(root: Path = Path("/")) -> int:
    """Whole cores, at least 1: the fewer of affinity and cgroup quota (v1 and v2), rounded up.

    Half a core still runs one thread; a quota of 2.5 runs three, the third now and then.

    Args:
        root: Where `proc` and `sys` lie; another one in tests.
    """
    quota = _quota(root)
    return max(1, math.ceil(_allowed() if quota is None else min(_allowed(), quota)))


def _allowed() -> float:
    """Cores this process is bound to, by taskset or a cpuset of its container; else all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS, Windows


def _quota(root: Path) -> float | None:
    """The tightest quota on the way from our group to the root: a parent's binds its children."""
    limits: list[float] = []
    for folder in _folders(root, ""):
        said = _read(folder / "cpu.max").split()
        if len(said) == 2 and said[0] != "max":
            limits += _share(said[0], said[1])
    for folder in _folders(root, "cpu"):
        limits += _share(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))
    return min(limits, default=None)


def _folders(root: Path, controller: str) -> list[Path]:
    """Where a controller's files may lie: our group and its parents. v2 has no name of a controller."""
    # v2 lies under `unified` where a machine has both.
    names = (controller, f"{controller},cpuacct") if controller else ("", "unified")
    tops = [root / _CGROUP / name for name in names]
    group = "/"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):  # of v2 it is ""
            group = path
    parts = [part for part in group.split("/") if part and part != ".."]
    return [top.joinpath(*parts[:depth]) for top in tops for depth in range(len(parts) + 1)]


def _share(quota: str, period: str) -> list[float]:
    try:
        microseconds, every = float(quota), float(period)
    except ValueError:
        return []
    return [microseconds / every] if microseconds > 0 and every > 0 else []  # -1: no quota


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
