"""What a line asks of the interpreter and the system, so that its decisions do not wait behind other work."""

import gc
import os
import sys
import threading
from contextlib import suppress
from typing import Final

# A thread that comes back from numpy or ONNX Runtime waits this long for one that computes in Python: five
# matrix products beside a busy thread took 35 ms with Python's 5 ms, 17 ms with this.
_SWITCH_S: Final = 0.0005
_NICENESS: Final = -10


def switch_often() -> None:
    """Let threads of this process take turns more often than every 5 ms."""
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_S))


def rest_memory() -> None:
    """Keep what was made until now out of every later search for garbage: those hold up all threads."""
    gc.freeze()
    gc.enable()  # a start goes without it: nothing of what it makes is garbage


def hasten_thread() -> None:
    """Put this thread, and those that it starts from now on, before others where the system allows it.

    Linux alone has priorities of threads; they need root or CAP_SYS_NICE.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
