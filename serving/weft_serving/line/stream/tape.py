"""What was recorded of a belt, as the frames that its cameras would send: a recording, or one cube."""

import csv
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from weft.errors import LineError, ScanError
from weft.limits import FRAME_BYTES
from weft.line.description import LineDescription
from weft.line.frames import Frame, jpeg_frame, lines_frame
from weft.line.recording import read_recording
from weft.scans.envi import Source, open_envi

Reference = Literal["white", "dark"]
_REFERENCES: Final[tuple[Reference, ...]] = ("white", "dark")
_CSV_BYTES: Final = 200_000_000
Counts = NDArray[Any]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a tape is to begin: on whose clock, at which count, with which numbers, how fast."""

    timestamp_ns: int
    encoder: int
    speed: float = 1.0
    lines_number: int = 0
    pictures_number: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    file: Path
    encoder: int
    timestamp_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Lines (h, L, W) with count and time of each, pictures likewise, references where there are any."""

    name: str
    lines: Counts  # may lie on disk
    encoder: Whole  # (h,)
    timestamp_ns: Whole  # (h,)
    pictures: tuple[Picture, ...] = ()
    references: tuple[tuple[Reference, Counts], ...] = ()
    references_ns: int | None = None  # when they were taken; None: as the lines begin
    simulated: bool = False

    @property
    def seconds(self) -> float:
        """Its length on the cameras' clock, one line more than between the first and the last."""
        return self._span(self.timestamp_ns) / 1e9

    @property
    def counts(self) -> int:
        """How far the encoder goes, one line more than between the first and the last."""
        return self._span(self.encoder)

    def after(self, start: Start, rows: int) -> Start:
        """Where the next round begins, when the tape is played in a loop."""
        return replace(
            start,
            timestamp_ns=start.timestamp_ns + int(self.seconds / start.speed * 1e9),
            encoder=start.encoder + self.counts,
            lines_number=start.lines_number + -(-len(self.lines) // rows),
            pictures_number=start.pictures_number + len(self.pictures),
        )

    def play(self, start: Start, *, rows: int) -> Iterator[tuple[float, Frame]]:
        """Frames with the seconds after the start at which a camera would have them, in that order."""
        return heapq.merge(self._lines(start, rows), self._pictures(start), key=lambda due: due[0])

    def play_references(self, start: Start) -> Iterator[Frame]:
        """White and dark, as much older than the first line as they were."""
        taken = self.timestamp_ns[0] if self.references_ns is None else self.references_ns
        for number, (sensor, lines) in enumerate(self.references):
            fits = max(1, (FRAME_BYTES - 1_000) // (lines[0].nbytes or 1))
            yield lines_frame(
                lines[:fits],
                sensor=sensor,
                number=number,
                encoder=[start.encoder],
                timestamp_ns=self._time(start, int(taken)),
                simulated=self.simulated,
            )

    def _lines(self, start: Start, rows: int) -> Iterator[tuple[float, Frame]]:
        for place, first in enumerate(range(0, len(self.lines), rows)):
            here = slice(first, first + rows)
            taken = int(self.timestamp_ns[here][-1])
            frame = lines_frame(
                np.array(self.lines[here]),  # off the disk: who maps a file falls with it when it is cut
                number=start.lines_number + place,
                encoder=self.encoder[here] + (start.encoder - self.encoder[0]),
                timestamp_ns=self._time(start, taken),
                simulated=self.simulated,
            )
            yield self._due_s(start, taken), frame

    def _pictures(self, start: Start) -> Iterator[tuple[float, Frame]]:
        for place, picture in enumerate(self.pictures):
            frame = jpeg_frame(
                picture.file.read_bytes(),
                number=start.pictures_number + place,
                encoder=picture.encoder + int(start.encoder - self.encoder[0]),
                timestamp_ns=self._time(start, picture.timestamp_ns),
                simulated=self.simulated,
            )
            yield self._due_s(start, picture.timestamp_ns), frame

    def _due_s(self, start: Start, taken_ns: int) -> float:
        return (taken_ns - int(self.timestamp_ns[0])) / 1e9 / start.speed

    def _time(self, start: Start, taken_ns: int) -> int:
        return start.timestamp_ns + int((taken_ns - int(self.timestamp_ns[0])) / start.speed)

    def _span(self, values: Whole) -> int:
        length = int(values[-1] - values[0])
        return length + (length // (len(values) - 1) if len(values) > 1 else 1)


def open_tape(place: Path, description: LineDescription, *, references: Path | None = None) -> Tape:
    """Open a recording's folder, or a cube by its header or its data; of a cube, only the line is made up.

    Args:
        description: The line that it is for: its camera's pixels and bands must be the tape's.
        references: Folder with white.hdr and dark.hdr, instead of the recording's own.

    Raises:
        LineError: It cannot be read, or another camera took it.
    """
    try:
        found = (
            _recording(place)
            if place.is_dir()
            else cube_tape(place, description, place.parent / f"{place.stem}.csv")
        )
        if references is not None:
            found = replace(found, references=_references(references, needed=True), references_ns=None)
    except (ScanError, OSError) as error:
        raise LineError(f"{place}: cannot be read ({error}); name a recording's folder or a cube") from error
    check_camera(found, description)
    return found


def cube_tape(header: Path, description: LineDescription, places: Path) -> Tape:
    """A cube with the counts and times in `places` (line, encoder, timestamp_ns), else at the line's rate.

    Raises LineError, ScanError or OSError.
    """
    source = open_envi(header)
    lines = _lines(header, source)
    if places.is_file():
        encoder, timestamp_ns = _places(places, len(lines))
    else:
        seconds = np.arange(len(lines)) / description.nir.lines_per_s
        belt = description.belt
        encoder = np.round(seconds * belt.speed_mm_per_s * belt.counts_per_mm).astype(np.int64)
        timestamp_ns = np.round(seconds * 1e9).astype(np.int64)
    # Our simulator says so in the header: whatever is concluded from such a cube has to say so too.
    simulated = "simulated" in source.header.fields.get("description", "").lower()
    return Tape(header.stem, lines, encoder, timestamp_ns, simulated=simulated)


def _recording(folder: Path) -> Tape:
    said = read_recording(folder)
    lines = _cube(folder / "nir.hdr")
    encoder, timestamp_ns = _places(folder / "nir.csv", len(lines))
    return Tape(
        name=said.line,
        lines=lines,
        encoder=encoder,
        timestamp_ns=timestamp_ns,
        pictures=tuple(_read_pictures(folder)),
        references=_references(folder, needed=False),
        references_ns=int(said.references_at.timestamp() * 1e9),
        simulated=said.simulated,
    )


def _cube(header: Path) -> Counts:
    """Memory-mapped, shape (h, L, W)."""
    return _lines(header, open_envi(header))


def _lines(header: Path, source: Source) -> Counts:
    lines = source.values().transpose(0, 2, 1)
    if not len(lines):
        raise LineError(f"{header}: holds no lines; record it again")
    return lines


def _references(folder: Path, *, needed: bool) -> tuple[tuple[Reference, Counts], ...]:
    there: list[tuple[Reference, Path]] = [(sensor, folder / f"{sensor}.hdr") for sensor in _REFERENCES]
    if needed and not all(path.is_file() for _, path in there):
        raise LineError(f"{folder}: white.hdr and dark.hdr are needed in it; name the references' folder")
    return tuple((sensor, _cube(path)) for sensor, path in there if path.is_file())


def _places(path: Path, lines: int) -> tuple[Whole, Whole]:
    """Encoder count and time of each line."""
    if path.stat().st_size > _CSV_BYTES:
        raise LineError(f"{path}: larger than {_CSV_BYTES:,} bytes; it needs one short row for each line")
    try:
        table = np.loadtxt(path, np.int64, delimiter=",", skiprows=1, ndmin=2)
    except ValueError as error:
        raise LineError(
            f"{path}: no table of whole numbers ({error}); needed line, encoder, timestamp_ns"
        ) from error
    if table.shape != (lines, 3) or (table[:, 2] < 0).any():
        raise LineError(
            f"{path}: {table.shape[0]:,} rows of {table.shape[1]} numbers, needed {lines:,} of line, "
            "encoder, timestamp_ns, one for each line of the cube; record it again"
        )
    if (np.diff(table[:, 2]) <= 0).any():
        raise LineError(f"{path}: the times do not ascend; record it again")
    return table[:, 1], table[:, 2]


def _read_pictures(folder: Path) -> Iterator[Picture]:
    path = folder / "colour.csv"
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            try:
                name, encoder, taken = row["file"], int(row["encoder"]), int(row["timestamp_ns"])
            except (KeyError, TypeError, ValueError) as error:
                raise LineError(
                    f"{path}: a row is not file, encoder, timestamp_ns ({row}); mend it"
                ) from error
            if "/" in name or "\\" in name or name.startswith("."):
                raise LineError(f"{path}: {name!r} points out of the folder; name pictures in colour/")
            yield Picture(folder / "colour" / name, encoder, taken)


def check_camera(tape: Tape, description: LineDescription) -> None:
    """Raise LineError for a tape of another camera, FrameError for one of a type that no frame carries."""
    lines_frame(tape.lines[:1], number=0, encoder=[0], timestamp_ns=0)  # of a type that can be sent
    camera = description.nir
    needed = (len(camera.wavelength_nm), camera.pixels)
    for what, lines in (("lines", tape.lines), *tape.references):
        if lines.shape[1:] != needed:
            raise LineError(
                f"{tape.name}: the {what} have {lines.shape[1]} bands and {lines.shape[2]} pixels, needed "
                f"{needed[0]} and {needed[1]} for line {description.name}; name a recording of its camera"
            )
