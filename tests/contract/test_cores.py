import os
from pathlib import Path

import pytest

from weft.cores import usable_cores


@pytest.fixture(autouse=True)
def on_eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text + "\n")


def test_without_a_group_affinity_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_cores(tmp_path) == 8

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5})
    assert usable_cores(tmp_path) == 2


def test_where_no_affinity_is_told_all_cores_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)

    assert usable_cores(tmp_path) == 6


@pytest.mark.parametrize(
    ("said", "cores"),
    [
        ("200000 100000", 2),
        ("250000 100000", 3),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("max 100000", 8),
        ("", 8),
        ("rubbish", 8),
        ("100000 0", 8),
    ],
)
@pytest.mark.parametrize("top", ["sys/fs/cgroup", "sys/fs/cgroup/unified"])
def test_a_quota_of_version_2_is_rounded_up_to_whole_cores(
    tmp_path: Path, top: str, said: str, cores: int
) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/")
    write(tmp_path, f"{top}/cpu.max", said)

    assert usable_cores(tmp_path) == cores


def test_the_quota_of_a_parent_binds_its_children(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/kubepods/pod7/c1")
    write(tmp_path, "sys/fs/cgroup/kubepods/cpu.max", "max 100000")
    write(tmp_path, "sys/fs/cgroup/kubepods/pod7/cpu.max", "300000 100000")
    write(tmp_path, "sys/fs/cgroup/kubepods/pod7/c1/cpu.max", "500000 100000")

    assert usable_cores(tmp_path) == 3


def test_what_another_group_may_is_not_asked(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/system.slice/weft.service")
    write(tmp_path, "sys/fs/cgroup/system.slice/other.service/cpu.max", "100000 100000")

    assert usable_cores(tmp_path) == 8


@pytest.mark.parametrize(("quota", "cores"), [("150000", 2), ("-1", 8)])
@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_a_quota_of_version_1_counts_likewise(tmp_path: Path, folder: str, quota: str, cores: int) -> None:
    write(tmp_path, "proc/self/cgroup", "12:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n1:name=systemd:/")
    write(tmp_path, f"sys/fs/cgroup/{folder}/docker/a/cpu.cfs_quota_us", quota)
    write(tmp_path, f"sys/fs/cgroup/{folder}/docker/a/cpu.cfs_period_us", "100000")

    assert usable_cores(tmp_path) == cores


def test_a_container_that_sees_only_its_own_group_is_read_at_the_top(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:cpu,cpuacct:/docker/8f0c")  # the path is the host's
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "400000")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")

    assert usable_cores(tmp_path) == 4
