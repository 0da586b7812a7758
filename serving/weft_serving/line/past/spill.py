"""Records that wait on disk while the database is away: appended at the end, taken from the front, in order.

One JSON object a line. A record is gone from here only after whoever took it said so, so a crash in between
brings it twice, never not at all.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from weft.line.records import Alarm, Decision
from weft_serving.line.past.archive import Kept
from weft_serving.line.sinks import Evidence
from weft_serving.private import make_folder

_PICTURES_UP_TO: Final = 0.8  # of the room: beyond it only numbers are taken in, which are a tenth as large


class Spill:
    """One file, of at most `most_bytes`. For one thread."""

    def __init__(self, path: Path, *, most_bytes: int) -> None:
        self._path = path
        self._most_bytes = most_bytes
        self._taken = 0  # bytes at the front that are done with
        try:
            self._size = path.stat().st_size
        except OSError:
            self._size = 0

    @property
    def holds(self) -> bool:
        return self._taken < self._size

    def append(self, records: list[Kept | Alarm]) -> int:
        """Put records at the end and on the disk; how many of the first ones there was room for.

        Raises:
            OSError: The disk is full or gone; the file is as it was before.
        """
        lines: list[bytes] = []
        size = self._size
        for record in records:
            with_evidence = size < _PICTURES_UP_TO * self._most_bytes
            line = _pack(record, with_evidence=with_evidence)
            if size + len(line) > self._most_bytes:
                break
            lines.append(line)
            size += len(line)
        if lines:
            self._write(b"".join(lines))
        return len(lines)

    def _write(self, data: bytes) -> None:
        make_folder(self._path.parent)
        # Opened by the size we know: half a record that an earlier failure left is written over.
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                written = 0
                while written < len(data):
                    written += os.pwrite(handle, data[written:], self._size + written)
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, self._size)
                raise
        finally:
            os.close(handle)
        self._size += len(data)

    def peek(self, most: int) -> tuple[list[Kept | Alarm], int]:
        """The oldest records, `most` at most, and the bytes they take; broken lines are stepped over.

        Raises:
            OSError: The file cannot be read.
        """
        found: list[Kept | Alarm] = []
        length = 0
        if not self.holds:
            return found, length
        with self._path.open("rb") as file:
            file.seek(self._taken)
            while len(found) < most and (line := file.readline()):
                length += len(line)
                record = _unpack(line)
                if record is not None:
                    found.append(record)
        return found, length

    def drop(self, length: int) -> None:
        """Be done with that many bytes at the front; the file goes when nothing is left in it."""
        self._taken += length
        if not self.holds:
            self._path.unlink(missing_ok=True)
            self._taken = self._size = 0


def _pack(record: Kept | Alarm, *, with_evidence: bool) -> bytes:
    if isinstance(record, Alarm):
        packed: dict[str, Any] = {"alarm": record.model_dump(mode="json")}
    else:
        packed = {"decision": record.decision.model_dump(mode="json")}
        if with_evidence and record.evidence is not None:
            packed["evidence"] = {
                "wavelength_nm": _text(record.evidence.wavelength_nm.astype("<f4").tobytes()),
                "absorbance": _text(record.evidence.absorbance.astype("<f4").tobytes()),
                "picture": None if record.evidence.picture is None else _text(record.evidence.picture),
            }
    return json.dumps(packed, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _unpack(line: bytes) -> Kept | Alarm | None:
    """None for a line that power loss or a hand has broken: the others must not wait behind it for ever."""
    try:
        packed = json.loads(line)
        if "alarm" in packed:
            return Alarm.model_validate(packed["alarm"])
        return Kept(Decision.model_validate(packed["decision"]), _evidence(packed.get("evidence")))
    except (ValueError, TypeError, KeyError, ValidationError):
        return None


def _evidence(packed: dict[str, Any] | None) -> Evidence | None:
    if packed is None:
        return None
    picture = packed["picture"]
    return Evidence(
        wavelength_nm=np.frombuffer(base64.b64decode(packed["wavelength_nm"]), "<f4").astype(np.float64),
        absorbance=np.frombuffer(base64.b64decode(packed["absorbance"]), "<f4").astype(np.float32),
        picture=None if picture is None else base64.b64decode(picture),
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
