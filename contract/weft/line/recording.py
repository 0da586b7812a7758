"""A stretch of belt on disk: what `weft simulate belt` writes and `weft replay` streams.

recording.json        this module's `Recording`
line.yaml             the line it was recorded on
nir.hdr, nir.raw      ENVI, BIL, uint16 raw counts: one line a row
nir.csv               line, encoder, timestamp_ns: one row for each line of nir.raw
white.hdr, dark.hdr   references of the same camera, ENVI like nir.raw
colour/000000.jpg     pictures in order
colour.csv            file, encoder, timestamp_ns
truth.csv             simulated belts alone: one row for each piece, see `datasets`' belt simulator
"""

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weft.errors import LineError

FILE = "recording.json"


class Recording(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    line: str
    simulated: bool
    simulator_version: str | None = None
    seed: int | None = None
    speed_mm_per_s: float = Field(gt=0)
    lines: int = Field(ge=0)  # of nir.raw
    frames: int = Field(ge=0)  # colour pictures
    references_at: datetime  # when white and dark were taken, UTC
    notes: str = ""


def read_recording(folder: Path) -> Recording:
    """Raises LineError where the folder holds no recording that this version reads."""
    try:
        return Recording.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise LineError(f"{folder}: no {FILE} in it ({error.strerror}); name a recording's folder") from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise LineError(
            f"{folder / FILE}: not a recording of this version ({error}); record it again"
        ) from error
