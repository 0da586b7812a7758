"""Memory that was needed once, handed back to the system: what a process holds is what a small box lacks."""

import ctypes
import sys
from typing import Final

_M_ARENA_MAX: Final = -8  # of glibc's malloc.h


def hold_little() -> None:
    """Have all threads share one heap; called before there are any.

    glibc gives threads heaps of their own, up to eight a core; what is free in one is of no use to another:
    26 of 196 MB after the service's start. Larger numbers of threads than ours would wait for each other.
    """
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if set_option is not None:
            set_option(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Let go of what loading has left behind: 40 of 160 MB after the bundled weight model's proof.

    Only glibc keeps so much for later; elsewhere this does nothing.
    """
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)
