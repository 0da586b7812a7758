"""White and dark references of a line's NIR camera: levels per column and band, their age, their bad pixels.

Letters: W columns of the camera, L bands, h lines.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from weft.errors import LineReferenceError, ScanError
from weft.line.description import NirCamera
from weft.scans.envi import open_envi
from weft.scans.envi_header import Header
from weft_serving.line.see.bad_pixels import Mend, find_bad, mend_of

Floats = NDArray[np.float32]

_MOST_LINES: Final = 256  # of a reference that are averaged: a minute of white at full rate is 10 GB
_MOST_SATURATED: Final = 0.01  # of the white's numbers
_MOST_BAD: Final = 0.05  # of all pixels: above it the frame is wrong, not some of its pixels
_LEAST_SPAN: Final = 0.02  # white above dark, in parts of the full scale
_CLOCK_SLACK_S: Final = 60.0  # a reference may be this much younger than the clock says


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Made by `make_references` or `read_references`; what leaves them is checked."""

    offset: Floats  # (W, L) counts without light
    gain: Floats  # (W, L) reflectance for each count above the offset; the white tile is 1
    mend: Mend
    taken_at: datetime  # UTC
    max_age_s: float
    full_scale: int

    def age_s(self, now: datetime) -> float:
        return (now - self.taken_at).total_seconds()

    def check_age(self, now: datetime) -> None:
        """Raises LineReferenceError where they are too old, or from a future that some clock believes in."""
        age_s = self.age_s(now)
        if age_s > self.max_age_s:
            raise LineReferenceError(
                f"the white and dark references are {age_s / 60:.0f} minutes old, {self.max_age_s / 60:.0f} "
                "are allowed; record both again",
                code="reference-stale",
            )
        if age_s < -_CLOCK_SLACK_S:
            raise LineReferenceError(
                f"the references were taken {-age_s / 60:.0f} minutes after this machine's clock; "
                "set the clock, or record both again",
                code="reference-stale",
            )


def make_references(
    white: NDArray[Any], dark: NDArray[Any], camera: NirCamera, *, taken_at: datetime, max_age_s: float
) -> References:
    """Average and check references.

    Args:
        white: Counts on the reference tile, shape (lines, W, L).
        dark: Counts with the shutter closed, likewise; the number of lines may differ.

    Raises:
        LineReferenceError: Of another shape, not finite, saturated, white no brighter than dark, or more than
            a twentieth of the pixels bad.
    """
    frames = {
        name: _checked(name, frame, camera)[:: -(-len(frame) // _MOST_LINES)]
        for name, frame in (("white", white), ("dark", dark))
    }
    saturated = float((frames["white"] >= camera.full_scale).mean())
    if saturated > _MOST_SATURATED:
        raise LineReferenceError(
            f"{saturated:.0%} of the white reference is saturated at {camera.full_scale} counts, at most "
            f"{_MOST_SATURATED:.0%} may be; shorten the exposure and record it again",
            code="reference-saturated",
        )
    level, offset = (frames[name].mean(axis=0, dtype=np.float64) for name in ("white", "dark"))  # (W, L)
    usual = float(np.median(level - offset))
    if usual < _LEAST_SPAN * camera.full_scale:
        raise LineReferenceError(
            f"the white reference is {usual:.0f} counts above the dark one, needed at least "
            f"{_LEAST_SPAN * camera.full_scale:.0f}; see that the lamp burns and the shutter opened, "
            "or swap the two"
        )
    bad = find_bad(frames["white"], frames["dark"], full_scale=camera.full_scale)
    share = float(bad.mean())
    mend = mend_of(bad) if share <= _MOST_BAD else None
    if mend is None:
        raise LineReferenceError(
            f"{share:.1%} of the camera's pixels are dead, hot or flicker in the references, at most "
            f"{_MOST_BAD:.0%} can be mended; record both again, and if it stays so have the camera looked at"
        )
    span = np.where(bad, usual, level - offset)
    return References(
        offset=np.where(bad, 0, offset).astype(np.float32),
        gain=(1 / span).astype(np.float32),
        mend=mend,
        taken_at=taken_at.astimezone(UTC),
        max_age_s=max_age_s,
        full_scale=camera.full_scale,
    )


def read_references(
    folder: Path, camera: NirCamera, *, max_age_s: float, taken_at: datetime | None = None
) -> References:
    """References from `white.hdr` and `dark.hdr` in a folder.

    Args:
        taken_at: When; None takes it from the white header's "acquisition date" and "start time", or else
            from the time at which its data was written.

    Raises:
        LineReferenceError: A file is missing, broken, or of no use, as in `make_references`.
    """
    frames: list[NDArray[Any]] = []
    for name in ("white", "dark"):
        path = folder / f"{name}.hdr"
        try:
            source = open_envi(path)
            lines = source.header.lines
            frames.append(np.asarray(source.values()[:: -(-lines // _MOST_LINES)]))
            if name == "white" and taken_at is None:
                taken_at = _stated_time(source.header) or datetime.fromtimestamp(
                    source.data.stat().st_mtime, tz=UTC
                )
        except (ScanError, OSError) as error:
            raise LineReferenceError(
                f"{path}: no {name} reference can be read from it ({error}); record it there"
            ) from error
    assert taken_at is not None
    return make_references(frames[0], frames[1], camera, taken_at=taken_at, max_age_s=max_age_s)


def _checked(name: str, frame: NDArray[Any], camera: NirCamera) -> NDArray[Any]:
    needed = (camera.pixels, len(camera.wavelength_nm))
    if frame.ndim != 3 or not len(frame) or frame.shape[1:] != needed:
        raise LineReferenceError(
            f"the {name} reference has shape {frame.shape}, needed (lines, {needed[0]}, {needed[1]}); "
            "record it with the camera's present settings"
        )
    if frame.dtype.kind not in "uif" or not bool(np.isfinite(frame).all()):
        raise LineReferenceError(f"the {name} reference holds values that are no numbers; record it again")
    return frame


def _stated_time(header: Header) -> datetime | None:
    """As Specim's recorders write it: "DATE(yyyy-mm-dd): 2026-11-22" and "UTC TIME: 09:12:32"."""
    day = re.search(r"\d{4}-\d{2}-\d{2}", header.fields.get("acquisition date", ""))
    hour = re.search(r"\d{2}:\d{2}:\d{2}", header.fields.get("start time", ""))
    if day is None or hour is None or "UTC" not in header.fields["start time"]:
        return None
    try:
        return datetime.fromisoformat(f"{day[0]}T{hour[0]}+00:00")
    except ValueError:
        return None
