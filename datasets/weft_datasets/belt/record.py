"""Writing a simulated belt as a recording's folder: what `weft.line.recording` describes."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from weft.errors import LineError
from weft.limits import CUBE_BYTES
from weft.line.description import LineDescription, read_description
from weft.line.recording import FILE, Recording
from weft_datasets.belt.camera import Counts
from weft_datasets.belt.motion import START_NS
from weft_datasets.belt.stream import Belt, Block, Picture
from weft_datasets.belt.truth import write_truth
from weft_datasets.belt.version import BELT_VERSION

REFERENCES_AT: Final = datetime.fromtimestamp(START_NS / 1e9, UTC) - timedelta(minutes=10)
NOTES: Final = (
    "simulated: no camera took this; bands set by hand after the literature, noise as measured on real scans"
)


@dataclass(frozen=True, slots=True)
class Written:
    pieces: int
    grams: float
    lines: int
    frames: int
    seconds: float


def write_recording(
    line: Path, out: Path, *, seconds: float, seed: int, told: Callable[[float], None] | None = None
) -> Written:
    """Simulate a stretch of belt on the line of that file and write it to `out`.

    Args:
        told: Called now and then with the seconds of belt that are done.

    Raises:
        LineDescriptionError: The line's file is of no use.
        LineError: `out` holds something already, or the NIR cube would be larger than can be read again.
    """
    description = read_description(line)
    _fits(description, seconds)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LineError(f"{out}: holds something already; name an empty folder, or one to be made")
    (out / "colour").mkdir(parents=True)
    belt = Belt(description, seconds=seconds, seed=seed)
    for name, frame in zip(("white", "dark"), belt.references(), strict=True):
        _write_cube(out / name, frame, description)
    lines, frames = _stream(belt, out, told)
    _write_header(out / "nir.hdr", description, lines, at=REFERENCES_AT + timedelta(minutes=10))
    shutil.copyfile(line, out / "line.yaml")
    write_truth(belt.truth, out / "truth.csv")
    recording = Recording(
        line=description.name,
        simulated=True,
        simulator_version=BELT_VERSION,
        seed=seed,
        speed_mm_per_s=description.belt.speed_mm_per_s,
        lines=lines,
        frames=frames,
        references_at=REFERENCES_AT,
        notes=NOTES,
    )
    # Last: a folder without it is no recording, so a run that was broken off is not taken for one.
    (out / FILE).write_text(recording.model_dump_json(indent=1) + "\n", encoding="utf-8")
    grams = sum(row.grams for row in belt.truth)
    return Written(len(belt.truth), grams, lines, frames, seconds)


def _fits(description: LineDescription, seconds: float) -> None:
    nir = description.nir
    size = int(seconds * nir.lines_per_s) * nir.pixels * len(nir.wavelength_nm) * 2
    if size > CUBE_BYTES:
        longest = CUBE_BYTES / (size / seconds)
        raise LineError(
            f"{seconds:g} s of line {description.name} are {size / 1e9:.1f} GB of NIR lines, "
            f"{CUBE_BYTES / 1e9:.1f} can be read again; ask for at most {int(longest)} s, or stream it from "
            "weft_datasets.belt.stream.Belt"
        )


def _stream(belt: Belt, out: Path, told: Callable[[float], None] | None) -> tuple[int, int]:
    """Lines and frames written."""
    lines = frames = 0
    with (
        (out / "nir.raw").open("wb") as cube,
        (out / "nir.csv").open("w", newline="", encoding="utf-8") as nir_file,
        (out / "colour.csv").open("w", newline="", encoding="utf-8") as colour_file,
    ):
        nir_rows, colour_rows = (csv.writer(file, lineterminator="\n") for file in (nir_file, colour_file))
        nir_rows.writerow(["line", "encoder", "timestamp_ns"])
        colour_rows.writerow(["file", "encoder", "timestamp_ns"])
        for event in belt.events():
            if isinstance(event, Picture):
                name = f"{event.number:06d}.jpg"
                (out / "colour" / name).write_bytes(event.jpeg)
                colour_rows.writerow([name, event.encoder, event.timestamp_ns])
                frames += 1
                continue
            cube.write(bil(event.counts))
            nir_rows.writerows(_places(event))
            lines += len(event.counts)
            if told is not None:
                told(lines / belt.description.nir.lines_per_s)
    return lines, frames


def _places(block: Block) -> list[list[Any]]:
    at = zip(block.encoder.tolist(), block.timestamp_ns.tolist(), strict=True)
    return [[block.first_line + place, encoder, time] for place, (encoder, time) in enumerate(at)]


def bil(counts: Counts) -> bytes:
    """Lines (h, W, L) in the order of an ENVI BIL file: line, band, sample; little-endian."""
    return np.ascontiguousarray(counts.transpose(0, 2, 1), "<u2").tobytes()


def _write_cube(stem: Path, counts: Counts, description: LineDescription) -> None:
    stem.with_suffix(".raw").write_bytes(bil(counts))
    _write_header(stem.with_suffix(".hdr"), description, len(counts), at=REFERENCES_AT)


def _write_header(path: Path, description: LineDescription, lines: int, *, at: datetime) -> None:
    nir = description.nir
    fields = {
        "description": "{simulated raw counts}",
        "samples": nir.pixels,
        "lines": lines,
        "bands": len(nir.wavelength_nm),
        "header offset": 0,
        "file type": "ENVI Standard",
        "data type": 12,
        "interleave": "bil",
        "byte order": 0,
        "ceiling": nir.full_scale,
        "acquisition date": f"DATE(yyyy-mm-dd): {at:%Y-%m-%d}",
        "start time": f"UTC TIME: {at:%H:%M:%S}",
        "wavelength units": "nm",
        "wavelength": "{" + ", ".join(f"{nm:g}" for nm in _axis(nir.wavelength_nm)) + "}",
    }
    text = "ENVI\n" + "".join(f"{key} = {value}\n" for key, value in fields.items())
    path.write_text(text, encoding="ascii")


def _axis(wavelength_nm: tuple[float, ...]) -> NDArray[np.float64]:
    return np.round(np.array(wavelength_nm), 4)
