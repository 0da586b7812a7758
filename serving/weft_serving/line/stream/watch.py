"""A folder for each line into which a camera's program puts finished ENVI cubes; each is fed to it once.

NAME.hdr with NAME.raw (or .dat, .img, .bil) and NAME.csv: line, encoder, timestamp_ns for each line of the
cube. Names that begin with white or dark are references. A cube is taken when its files are complete and have
not changed for a second, and goes to done/ afterwards, or to failed/ with the reason in NAME.txt.
"""

import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from weft.errors import FrameError, LineError, ScanError, StoreError
from weft.line.description import LineDescription
from weft.line.frames import Frame, lines_frame
from weft.line.records import LineState
from weft.scans.envi import open_envi
from weft_serving.line.stream.tape import Start, Tape, check_camera, cube_tape
from weft_serving.watch.observe import log_fault

_POLL_S: Final = 0.2
_SETTLE_S: Final = 1.0  # unchanged for so long
_GIVE_UP_S: Final = 30.0  # for what is missing: data without its header's length, a header without data
_BLOCK_S: Final = 0.025
_WAITING_ROWS: Final = 128  # fewer than the line would drop any of
_REFERENCE: Final = re.compile(r"(white|dark)", re.I)
_Stamp = tuple[tuple[str, int, int], ...]


class Fed(Protocol):
    """What a watched folder needs of a line."""

    @property
    def description(self) -> LineDescription: ...

    @property
    def waiting_rows(self) -> int: ...

    def take(self, frame: Frame) -> None: ...

    def refuse(self, sensor: str | None, error: FrameError) -> None: ...

    def state(self) -> LineState: ...


@dataclass(slots=True)
class _Seen:
    stamp: _Stamp
    since: float  # when it was seen so for the first time


class Watcher:
    """Looks into one line's folder. `start` does it in a thread of its own; `look` once, for tests.

    Args:
        without_encoder: Take cubes without counts too, and reckon these from the camera's rate and the
            belt's usual speed. What is then fired at is a guess: only where no valves are connected.
    """

    def __init__(self, folder: Path, line: Fed, *, without_encoder: bool) -> None:
        self._folder = folder
        self._line = line
        self._without_encoder = without_encoder
        self._seen: dict[Path, _Seen] = {}
        self._stuck: set[tuple[Path, _Stamp]] = set()  # dealt with, and yet could not be moved away
        self._numbers = {"nir": 0, "white": 0, "dark": 0}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        name = f"weft-{self._line.description.name}-folder"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; a cube that is half fed stays where it is and is fed anew next time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def look(self) -> int:
        """Feed what is ready, references first, then the oldest; returns how many cubes were dealt with."""
        dealt = 0
        ready = [header for header in self._headers() if self._is_ready(header)]
        for header in sorted(ready, key=lambda path: (_sensor(path) == "nir", _modified_ns(path), path.name)):
            if self._stopping.is_set():
                break
            dealt += self._deal_with(header)
        return dealt

    def _run(self) -> None:
        while not self._stopping.wait(_POLL_S):
            try:
                self.look()
            except Exception as error:  # the folder is a convenience: it must not end with one bad file
                log_fault("watch", error)

    def _headers(self) -> list[Path]:
        with suppress(OSError):  # the folder may lie on a share that is away for a while
            found = [path for path in self._folder.iterdir() if path.suffix.lower() == ".hdr"]
            there = {path for path in found if not path.name.startswith(".")}
            self._seen = {path: seen for path, seen in self._seen.items() if path in there}
            return sorted(there)
        return []

    def _is_ready(self, header: Path) -> bool:
        """Complete and at rest; or so long incomplete that it has to be told."""
        stamp = _stamp(header)
        now = time.monotonic()
        seen = self._seen.get(header)
        if seen is None or seen.stamp != stamp:
            self._seen[header] = _Seen(stamp, now)
            return False
        if (header, stamp) in self._stuck or now - seen.since < _SETTLE_S:
            return False
        return self._is_complete(header) or now - seen.since >= _GIVE_UP_S

    def _is_complete(self, header: Path) -> bool:
        try:
            source = open_envi(header)
            return source.data.stat().st_size == source.header.data_bytes and (
                _sensor(header) != "nir" or self._without_encoder or header.with_suffix(".csv").is_file()
            )
        except (ScanError, OSError):
            return False

    def _deal_with(self, header: Path) -> bool:
        try:
            self._feed(header)
        except _StoppingError:
            return False
        except (LineError, ScanError, OSError) as error:
            reason = f"{header.name}: {error}" if isinstance(error, OSError) else str(error)
            self._line.refuse("nir", FrameError(f"a cube of the watched folder was not taken: {reason}"))
            self._put_away(header, "failed", reason)
        else:
            self._put_away(header, "done", None)
        return True

    def _feed(self, header: Path) -> None:
        sensor = _sensor(header)
        places = header.with_suffix(".csv")
        described = self._line.description
        if sensor != "nir":
            self._feed_reference(header, sensor)
            return
        if not places.is_file() and not self._without_encoder:
            raise LineError(
                f"{header.name}: no {places.name} with line, encoder, timestamp_ns lies beside it, so nobody "
                "knows where its pieces are; write one, or allow cubes without (WEFT_WATCH_WITHOUT_ENCODER)"
            )
        tape = cube_tape(header, described, places)
        check_camera(tape, described)
        rows = max(1, round(described.nir.lines_per_s * _BLOCK_S))
        if places.is_file():
            start = Start(int(tape.timestamp_ns[0]), int(tape.encoder[0]), lines_number=self._numbers["nir"])
            self._play(tape, start, rows, paced=False)
        else:
            begins = self._line.state().encoder + round(20 * described.belt.counts_per_mm)
            start = Start(time.time_ns(), begins, lines_number=self._numbers["nir"])
            self._play(tape, start, rows, paced=True)

    def _play(self, tape: Tape, start: Start, rows: int, *, paced: bool) -> None:
        began = time.monotonic()
        for due_s, frame in tape.play(start, rows=rows):
            self._wait_for_room(began + due_s if paced else 0.0)
            self._line.take(frame)
            self._numbers["nir"] = frame.number + 1

    def _feed_reference(self, header: Path, sensor: Literal["white", "dark"]) -> None:
        lines = open_envi(header).values().transpose(0, 2, 1)  # (h, L, W)
        frame = lines_frame(
            lines,
            sensor=sensor,
            number=self._numbers[sensor],
            encoder=[self._line.state().encoder],
            timestamp_ns=_modified_ns(header),
        )
        self._wait_for_room(0.0)
        self._line.take(frame)
        self._numbers[sensor] += 1

    def _wait_for_room(self, until: float) -> None:
        while self._line.waiting_rows > _WAITING_ROWS or time.monotonic() < until:
            if self._stopping.wait(0.002):
                raise _StoppingError

    def _put_away(self, header: Path, where: Literal["done", "failed"], reason: str | None) -> None:
        """Move a cube's files; one that cannot be moved is remembered instead of being fed again."""
        stamp = _stamp(header)
        try:
            target = self._folder / where
            target.mkdir(exist_ok=True)
            stem = _free_stem(target, header.stem)
            for file in _files(header):
                file.replace(target / f"{stem}{file.name[len(header.stem) :]}")
            if reason is not None:
                (target / f"{stem}.txt").write_text(reason + "\n", encoding="utf-8")
        except OSError as error:
            self._stuck.add((header, stamp))
            told = f"{header.name} cannot be moved to {where} ({error.strerror}); see to the folder's rights"
            self._line.refuse("nir", FrameError(f"{self._folder}: {told}"))


class _StoppingError(Exception):
    """The service stops."""


def open_watchers(folder: Path | None, lines: Mapping[str, Fed], *, without_encoder: bool) -> list[Watcher]:
    """A watcher for each line in the subfolder of its name, which is made. None: nothing is watched.

    Raises:
        StoreError: A folder cannot be made.
    """
    if folder is None:
        return []
    watchers: list[Watcher] = []
    for name, line in lines.items():
        place = folder / name
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"WEFT_WATCH: {place} cannot be made ({error.strerror}); name another folder"
            ) from error
        watchers.append(Watcher(place, line, without_encoder=without_encoder))
    return watchers


def _sensor(header: Path) -> Literal["nir", "white", "dark"]:
    found = _REFERENCE.match(header.name)
    if found is None:
        return "nir"
    return "white" if found[1].lower() == "white" else "dark"


def _files(header: Path) -> list[Path]:
    """The header, its data and its places."""
    stem = header.stem
    beside = (path for path in header.parent.iterdir() if path.is_file())
    return [path for path in beside if path.name == stem or path.name.startswith(f"{stem}.")]


def _stamp(header: Path) -> _Stamp:
    found: list[tuple[str, int, int]] = []
    with suppress(OSError):
        for file in sorted(_files(header)):
            status = file.stat()
            found.append((file.name, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _modified_ns(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _free_stem(folder: Path, stem: str) -> str:
    """The name, or with a number where one of that name is there already."""
    taken = {path.stem for path in folder.iterdir()}
    return next(
        name for number in range(1_000_000) if (name := f"{stem}-{number}" if number else stem) not in taken
    )
