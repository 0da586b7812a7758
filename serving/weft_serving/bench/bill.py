"""What a process and its children have cost: CPU time and memory, as Linux counts them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from weft.errors import BenchError

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Bill:
    """CPU seconds, user and system, of all threads; memory in MiB, summed over the processes."""

    cpu_s: float
    resident_mib: float
    peak_mib: float  # the most that was ever resident


def can_bill() -> bool:
    return (_PROC / "self" / "stat").exists()


def bill(pid: int) -> Bill:
    """Of a process with all its living descendants; those that have ended count through their parent.

    Raises:
        BenchError: There is no such process any more.
    """
    cpu, resident, peak = 0.0, 0.0, 0.0
    for each in family(pid):
        try:
            fields = (_PROC / str(each) / "stat").read_text().rsplit(")", 1)[1].split()
            status = (_PROC / str(each) / "status").read_text()
        except OSError as error:
            if each == pid:
                raise BenchError(f"the server (process {pid}) has ended; see what it said above") from error
            continue
        # utime, stime, and those of children that were waited for; a tick is 10 ms
        cpu += sum(int(fields[n]) for n in (11, 12, 13, 14)) / _TICKS
        resident += _kib(status, "VmRSS:") / 1024
        peak += _kib(status, "VmHWM:") / 1024
    return Bill(cpu, resident, peak)


def shared_mib(pid: int) -> float:
    """Memory of the whole family now, a page that n processes share counted as 1/n for each (PSS)."""
    found = 0.0
    for each in family(pid):
        try:
            found += _kib((_PROC / str(each) / "smaps_rollup").read_text(), "Pss:") / 1024
        except OSError:
            continue
    return found


def family(pid: int) -> list[int]:
    """The process, its children, theirs, and so on."""
    found = [pid]
    for parent in found:  # grows while it is read
        for task in (_PROC / str(parent) / "task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


def _kib(status: str, name: str) -> int:
    at = status.find(name)
    return 0 if at < 0 else int(status[at:].split(maxsplit=2)[1])
