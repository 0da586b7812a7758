"""`weft line calibrate`: from a recording of a target to a colour camera that lies over the NIR camera."""

import csv
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import simplejpeg
import yaml
from numpy.typing import NDArray

from weft.errors import LineError
from weft.line.colours import linear_light
from weft.line.description import ColourCamera, LineDescription
from weft.line.recording import read_recording
from weft.scans.envi import open_envi
from weft_serving.line.see.references import read_references
from weft_serving.line.see.register import RASTER_MM, Registration, register, target_mask

Floats = NDArray[np.float32]

_BANDS: Final = 12  # of the NIR camera are enough to tell a target from a belt
_MOST_MM: Final = 6_000.0  # of belt: a target shot is short
_WHITE: Final = 0.9  # what a white card or tile gives back
_LEAST_LIGHT: Final = 0.02
_ANY_AGE_S: Final = 1e10


class Raster(NamedTuple):
    """Where a raster of the belt lies: row y at belt_mm `y0 + y`, column x at x_mm `x0 + x`."""

    y0_mm: float
    x0_mm: float
    rows: int
    columns: int

    def belt_mm(self) -> NDArray[np.float64]:
        return self.y0_mm + np.arange(self.rows, dtype=np.float64) * RASTER_MM

    def x_mm(self) -> NDArray[np.float64]:
        return self.x0_mm + np.arange(self.columns, dtype=np.float64) * RASTER_MM


class Calibration(NamedTuple):
    registration: Registration
    gain_rgb: tuple[float, float, float] | None  # None: was not asked for


def calibrate(folder: Path, line: LineDescription, *, white_target: bool) -> Calibration:
    """Register the colour camera of `line` on a recording of one target.

    Args:
        white_target: The target is a white card: balance the colours on it as well.

    Raises:
        LineError: No colour camera, no usable recording, no target, or cameras that saw different things.
    """
    if line.colour is None:
        raise LineError(f"line {line.name} has no colour camera to calibrate; describe one first")
    read_recording(folder)
    try:
        nir_encoder = _column(folder / "nir.csv", "encoder")
        frames = _column(folder / "colour.csv", "encoder")
        raster = _raster(line, nir_encoder)
        seen_nir = _nir_picture(folder, line, nir_encoder, raster)
        seen_colour = _colour_picture(folder, line, line.colour, frames, raster)
    except (OSError, KeyError, ValueError) as error:
        raise LineError(f"{folder}: cannot be used ({error}); record the target again") from error
    nir = target_mask(seen_nir, camera="NIR")
    colour = target_mask(seen_colour.mean(axis=-1), camera="colour")
    found = register(nir, colour, line.colour, x0_mm=raster.x0_mm)
    gains = _gains(seen_colour[colour]) if white_target else None
    return Calibration(found, gains)


def corrected_yaml(found: Calibration) -> str:
    """The `colour:` part of a line's file with the corrections in it."""
    camera = found.registration.camera.model_dump(mode="json")
    if found.gain_rgb is not None:
        camera["gain_rgb"] = list(found.gain_rgb)
    return yaml.safe_dump({"colour": camera}, sort_keys=False, default_flow_style=None, width=200)


def _column(path: Path, name: str) -> NDArray[np.float64]:
    with path.open(newline="", encoding="utf-8") as file:
        found = np.array([float(row[name]) for row in csv.DictReader(file)], np.float64)
    if found.size < 2 or not bool((np.diff(found) >= 0).all()):
        raise ValueError(f"{path.name} holds {found.size} rows of {name}, needed 2 or more that ascend")
    return found


def _raster(line: LineDescription, encoder: NDArray[np.float64]) -> Raster:
    first = line.travel_mm(float(encoder[0])) - line.nir.position_mm
    last = line.travel_mm(float(encoder[-1])) - line.nir.position_mm
    if last - first > _MOST_MM:
        raise LineError(
            f"the recording shows {(last - first) / 1000:.1f} m of belt, at most {_MOST_MM / 1000:g} m are "
            "looked through; record the target alone"
        )
    rows = int((last - first) / RASTER_MM)
    return Raster(first, 0.0, max(rows, 1), int(line.belt.width_mm / RASTER_MM))


def _nir_picture(folder: Path, line: LineDescription, encoder: NDArray[np.float64], raster: Raster) -> Floats:
    """Mean reflectance on the raster, shape (Y, X)."""
    source = open_envi(folder / "nir.hdr").values()
    references = read_references(folder, line.nir, max_age_s=_ANY_AGE_S)  # of a shot, however long ago
    picked = (np.linspace(0.1, 0.9, _BANDS) * (source.shape[-1] - 1)).astype(np.intp)
    counts = np.asarray(source[..., picked], np.float32)  # (h, W, 12)
    # The middle band counts: a dead element here and there takes no part in it.
    seen = np.median((counts - references.offset[:, picked]) * references.gain[:, picked], axis=-1)  # (h, W)
    belt_mm = encoder / line.belt.counts_per_mm - line.nir.position_mm
    if len(belt_mm) != len(seen):
        raise ValueError(f"nir.csv has {len(belt_mm)} rows, nir.raw {len(seen)} lines")
    rows = _nearest(belt_mm, raster.belt_mm())
    column = (raster.x_mm() - line.nir.left_mm) / line.nir.mm_per_pixel - 0.5
    columns = np.clip(np.round(column), 0, seen.shape[1] - 1).astype(np.intp)
    return seen[rows][:, columns]


def _colour_picture(
    folder: Path, line: LineDescription, camera: ColourCamera, encoder: NDArray[np.float64], raster: Raster
) -> Floats:
    """Linear light on the raster, shape (Y, X, 3): each row from the frame that saw it nearest its middle."""
    belt_mm = raster.belt_mm()
    middle_mm = encoder / line.belt.counts_per_mm - camera.position_mm  # (frames,) belt_mm at the middle row
    nearest = _nearest(middle_mm, belt_mm)  # (Y,) frame
    column = np.round((raster.x_mm() - camera.left_mm) / camera.mm_per_pixel - 0.5)
    columns = np.clip(column, 0, camera.width_px - 1).astype(np.intp)
    out = np.zeros((raster.rows, raster.columns, 3), np.float32)
    for frame in np.unique(nearest):
        wanted = np.flatnonzero(nearest == frame)
        up = (belt_mm[wanted] - middle_mm[frame]) / camera.mm_per_pixel
        row = np.round((camera.height_px - 1) / 2 - up).astype(np.intp)
        inside = (row >= 0) & (row < camera.height_px)
        picture = _frame(folder / "colour" / f"{frame:06d}.jpg", camera)
        out[wanted[inside]] = linear_light(picture[row[inside]][:, columns])
    return out


def _frame(path: Path, camera: ColourCamera) -> NDArray[np.uint8]:
    decoded: NDArray[Any] = simplejpeg.decode_jpeg(path.read_bytes())
    if decoded.shape != (camera.height_px, camera.width_px, 3):
        raise ValueError(f"{path.name} has shape {decoded.shape}, the camera is described otherwise")
    return decoded


def _nearest(axis: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.intp]:
    """Place in an ascending axis that lies nearest to each wanted value."""
    right = np.clip(np.searchsorted(axis, wanted), 1, len(axis) - 1)
    return right - ((wanted - axis[right - 1]) < (axis[right] - wanted))


def _gains(light: Floats) -> tuple[float, float, float]:
    """Factors that make the target white, from its linear light, shape (P, 3)."""
    seen = np.median(light, axis=0)
    if float(seen.min()) < _LEAST_LIGHT or float(seen.max()) > 0.995:
        raise LineError(
            f"the target reads {seen[0]:.2f}, {seen[1]:.2f}, {seen[2]:.2f} of full light; white balance "
            "needs a white card that is neither dark nor overexposed"
        )
    red, green, blue = (round(float(_WHITE / value), 4) for value in seen)
    return red, green, blue
