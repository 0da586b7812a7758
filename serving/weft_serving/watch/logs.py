"""One JSON object a line, on standard error: what happened, when, under which request; nothing personal.

What repeats is told once and then counted: a broken disk under load must not fill another one with its log.
"""

import json
import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Final

log = logging.getLogger("weft.serving")
FAULT_SECONDS: Final = 10.0  # the same fault is told again after so long, with how often it came meanwhile
_KINDS: Final = 200  # different faults that are remembered


_encode: Final = json.JSONEncoder(ensure_ascii=False).encode  # json.dumps would make one at every call


class JsonLine(logging.Formatter):
    """One JSON object a line, ours and uvicorn's. No tracebacks: their last line may quote what was sent."""

    def format(self, record: logging.LogRecord) -> str:
        told = record.getMessage()
        if record.name != log.name:
            first = told.partition("\n")[0][:300]  # what follows may be an exception that quotes a request
            told = json.dumps({"event": "server", "from": record.name, "message": first}, ensure_ascii=False)
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return f'{{"time": "{at}", "level": "{record.levelname}", {told[1:]}'


def log_to_stderr() -> None:
    """Whatever any library says comes out as one JSON line too, Python's warnings included."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLine())
    levels = {
        "weft.serving": logging.INFO,
        "uvicorn.error": logging.WARNING,
        "python_multipart": logging.CRITICAL,  # it comments on bodies that we refuse anyway
        "opentelemetry": logging.CRITICAL,  # it would repeat at every batch that a collector does not answer
    }
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level)
    logging.captureWarnings(True)
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)


def log_line(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """One JSON object a line; a field that is None is left out.

    Callers pass ids, counts and times; no file names, parcel codes, addresses.
    """
    if log.isEnabledFor(level):
        told = {name: value for name, value in fields.items() if value is not None}
        message = _encode({"event": event, **told})
        # Without the search for who called, which costs as much as all the rest.
        log.handle(logging.LogRecord(log.name, level, __name__, 0, message, None, None))


def log_fault(request_id: str, error: Exception) -> None:
    # Where, not what: a library's message may quote a file name or a value.
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]
    kind = type(error).__name__
    repeated = _faults.due((kind, places[-1] if places else ""), time.monotonic())
    if repeated is None:
        return
    log_line(
        "fault", level=logging.ERROR, request=request_id, kind=kind, at=places, repeated=repeated or None
    )


class Repeats:
    """Which of the lines that would repeat are due: the first one, then one every `seconds`. Thread-safe."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._said: dict[Hashable, tuple[float, int]] = {}

    def due(self, key: Hashable, now: float) -> int | None:
        """How many were left out since the last line; None: leave this one out too."""
        with self._lock:
            at, left_out = self._said.get(key, (-self._seconds, 0))
            if now - at < self._seconds:
                self._said[key] = (at, left_out + 1)
                return None
            self._said.pop(key, None)  # the newest stands last
            while len(self._said) >= _KINDS:
                self._said.pop(next(iter(self._said)))
            self._said[key] = (now, 0)
            return left_out


_faults: Final = Repeats(FAULT_SECONDS)


class Shedding:
    """Requests refused because of load, told once a second in one line: thousands of lines are load too."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        """Args: later: `loop.call_later`, which is also the only thread that calls this."""
        self._later = later
        self._counts: Counter[str] = Counter()

    def add(self, reason: str) -> None:
        if not self._counts:
            self._later(1.0, self._tell)
        self._counts[reason] += 1

    def _tell(self) -> None:
        counts, self._counts = self._counts, Counter()
        log_line("shed", level=logging.WARNING, requests=counts.total(), reasons=dict(counts))
