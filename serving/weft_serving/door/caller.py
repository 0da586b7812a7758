"""Who asks, until when, and whether anybody still waits for the answer.

The guard makes one `Caller` a request and one a stream. It travels in a context variable, into the threads as
well, so that work can stop where nobody waits any more, without every function on the way passing it on.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from weft_serving.problems import ClientGoneError, InvalidRequestError, TooLateError

# Envoy's name: "the time in milliseconds that the caller will wait, for upstreams that can stop early".
DEADLINE_HEADER: Final = b"x-envoy-expected-rq-timeout-ms"
_LONGEST_MS: Final = 3_600_000


class Caller:
    """One who waits for an answer.

    Args:
        key: Clients with the same key share one turn.
        deadline_s: Of `time.monotonic`; None: as long as it takes.
    """

    __slots__ = ("_when_left", "admitted", "deadline_s", "gone", "key", "work_s")

    def __init__(self, key: str = "", *, deadline_s: float | None = None) -> None:
        self.key = key
        self.deadline_s = deadline_s
        self.gone = False
        self.admitted = False  # let in before its body was read
        self.work_s = 0.0  # of threads, done for the present job so far
        self._when_left: Callable[[], object] | None = None

    def leave(self) -> None:
        """The connection is gone. Called on the event loop."""
        self.gone = True
        if self._when_left is not None:
            self._when_left()

    def when_left(self, act: Callable[[], object] | None) -> None:
        """Have `act` called if the caller leaves; one at a time, None for nothing."""
        self._when_left = act

    @property
    def late(self) -> bool:
        return self.deadline_s is not None and time.monotonic() > self.deadline_s

    def check(self) -> None:
        """Raise ClientGoneError or TooLateError where nobody waits any more. Safe to ask from any thread."""
        if self.gone:
            raise ClientGoneError("the client left before its answer; nothing more was done for it")
        if self.late:
            raise TooLateError(
                "the deadline passed before the answer was ready; allow more time or send it again later"
            )


NOBODY: Final = Caller()  # work of our own, and of tests without a server
_CALLER: ContextVar[Caller] = ContextVar("weft_caller", default=NOBODY)


def caller() -> Caller:
    return _CALLER.get()


def call_for(who: Caller) -> None:
    """What this task does from now on is done for `who`."""
    _CALLER.set(who)


def check_caller() -> None:
    """Raise ClientGoneError or TooLateError where nobody waits for the present work any more."""
    _CALLER.get().check()


def key_of(client: Any) -> str:
    """An IPv4 address; of an IPv6 address the network of 64 bits, within which a client may choose freely."""
    host = str(client[0]) if client else ""
    if ":" not in host:
        return host
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.exploded[:19]


def read_deadline(value: bytes | None) -> float | None:
    """The deadline that a header states, in seconds of `time.monotonic`.

    Raises:
        InvalidRequestError: It is no number of milliseconds.
    """
    if value is None:
        return None
    if not value.isdigit() or len(value) > 9 or not 1 <= int(value) <= _LONGEST_MS:
        raise InvalidRequestError(
            f"{DEADLINE_HEADER.decode()} is {value[:20].decode('latin-1')!r}; "
            f"send a whole number of milliseconds from 1 to {_LONGEST_MS:,}, or leave it out"
        )
    return time.monotonic() + int(value) / 1000
