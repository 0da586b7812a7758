"""Where the colour camera looks, found from one thing that both cameras saw: a target laid on the belt.

Both cameras' pictures are brought onto one raster of the belt, told apart into target and belt, and laid
over each other: the shift along the belt corrects the camera's position, shift and scale across it correct
its left edge and its millimetres per pixel. Any target with an outline does; one that is not symmetric and
spans most of the belt's width does best.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from weft.errors import LineError
from weft.foreground import otsu
from weft.line.description import ColourCamera

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

RASTER_MM: Final = 1.0
_APART: Final = 0.75  # of the variance between target and belt; one Gaussian, which is belt alone, has 0.64
_OVERLAP: Final = 0.85  # of target seen by either: below it both did not see the same thing
_SCALES: Final = np.linspace(0.85, 1.15, 301)
_REACH_MM: Final = 400.0  # the camera is not further off than this from where it was measured to be
_LEAST_MM2: Final = 2_000.0


@dataclass(frozen=True, slots=True)
class Registration:
    """The corrected camera, and how well the two pictures lie over each other."""

    camera: ColourCamera
    overlap_before: float  # intersection over union of the target as both cameras saw it, 0..1
    overlap: float
    shift_mm: float  # that its position was off by, along the line
    left_shift_mm: float  # its left edge, across
    scale: float  # its millimetres per pixel were off by this factor


def target_mask(picture: Floats, *, camera: str) -> Mask:
    """Pixels of the target in a picture of the belt, shape (Y, X).

    Raises:
        LineError: Nothing stands out from the belt.
    """
    threshold, apart = otsu(picture.ravel())
    bright = picture > threshold
    if bright.mean() > 0.5:  # a dark target on a bright belt
        bright = ~bright
    if apart < _APART or float(bright.sum()) * RASTER_MM**2 < _LEAST_MM2:
        raise LineError(
            f"the {camera} camera saw no target that stands out from the belt; lay a bright card on a dark "
            "belt, or a dark one on a bright belt, and record it again"
        )
    return bright


def register(nir: Mask, colour: Mask, camera: ColourCamera, *, x0_mm: float = 0.0) -> Registration:
    """Correct `camera` so that what it saw lies over what the NIR camera saw.

    Args:
        nir: The target on a raster of `RASTER_MM`, shape (Y, X): row y at belt_mm y, column x at x_mm x + x0.
        colour: Likewise, laid out with the camera as it is described now.
        x0_mm: x_mm of the raster's first column.

    Raises:
        LineError: The two did not see the same thing, or it could lie in several ways.
    """
    if nir.shape != colour.shape:
        raise ValueError(f"masks have shapes {nir.shape} and {colour.shape}, needed equal ones")
    along = _shift(nir.sum(axis=1), colour.sum(axis=1))
    scale, across = _scale_and_shift(nir.sum(axis=0), colour.sum(axis=0))
    moved = _moved(colour, along=along, scale=scale, across=across)
    overlap = _overlap(nir, moved)
    if overlap < _OVERLAP:
        raise LineError(
            f"the two cameras' pictures of the target agree over {overlap:.0%} of it, needed {_OVERLAP:.0%}; "
            "use one flat target without shine, within both views, and check the encoder's counts_per_mm"
        )
    # x_mm = left + column * mm_per_pixel: after the fit x' = scale * (x - x0) + across + x0.
    left_mm = scale * (camera.left_mm - x0_mm) + across + x0_mm
    corrected = camera.model_copy(
        update={
            # belt_mm = travel - position: what lies `along` further up the belt was seen further downstream
            "position_mm": round(camera.position_mm - along, 2),
            "left_mm": round(left_mm, 2),
            "mm_per_pixel": round(camera.mm_per_pixel * scale, 5),
        }
    )
    return Registration(
        camera=corrected,
        overlap_before=_overlap(nir, colour),
        overlap=overlap,
        shift_mm=corrected.position_mm - camera.position_mm,
        left_shift_mm=corrected.left_mm - camera.left_mm,
        scale=scale,
    )


def _shift(fixed: NDArray[np.int64], moving: NDArray[np.int64]) -> float:
    """mm that `moving` has to be shifted by to lie over `fixed`; both (n,) profiles of the same raster."""
    lags, score = _correlation(fixed.astype(np.float64), moving.astype(np.float64))
    best = int(score.argmax())
    far = np.abs(lags - lags[best]) * RASTER_MM > max(_width(fixed) * RASTER_MM * 0.5, 20.0)
    if far.any() and float(score[far].max()) > 0.97 * float(score[best]):
        raise LineError(
            "the target could lie in more than one way, as several equal things do; record one target alone"
        )
    return float(lags[best] + _between(score, best)) * RASTER_MM


def _scale_and_shift(fixed: NDArray[np.int64], moving: NDArray[np.int64]) -> tuple[float, float]:
    """Factor and mm by which `moving`, about the raster's first column, comes to lie over `fixed`."""
    place = np.arange(len(fixed), dtype=np.float64)
    heights = moving.astype(np.float64)
    scores: list[tuple[float, float, float]] = []
    for scale in _SCALES:
        stretched = np.interp(place / scale, place, heights, left=0.0, right=0.0)
        lags, score = _correlation(fixed.astype(np.float64), stretched)
        best = int(score.argmax())
        scores.append(
            (float(score[best]), float(scale), float(lags[best] + _between(score, best)) * RASTER_MM)
        )
    _, scale, shift = max(scores)
    return scale, shift


def _correlation(
    fixed: NDArray[np.float64], moving: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pearson correlation of two (n,) profiles at each lag within `_REACH_MM`, zero beyond their ends."""
    n = len(fixed)
    reach = min(int(_REACH_MM / RASTER_MM), n - 1)
    size = 1 << (2 * n - 1).bit_length()
    one, two = fixed - fixed.mean(), moving - moving.mean()
    product = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(two, size)), size)
    lags = np.arange(-reach, reach + 1)
    norm = float(np.sqrt((one**2).sum() * (two**2).sum()))
    found = product[lags % size] / (norm or 1.0)
    return lags, found.astype(np.float64)


def _between(score: NDArray[np.float64], best: int) -> float:
    """Where between the samples a peak lies: the top of a parabola through three points."""
    if not 0 < best < len(score) - 1:
        return 0.0
    low, top, high = score[best - 1 : best + 2]
    bend = low - 2 * top + high
    return float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _width(profile: NDArray[np.int64]) -> int:
    inside = np.flatnonzero(profile > 0.2 * profile.max())
    return int(inside[-1] - inside[0]) if inside.size else 0


def _moved(mask: Mask, *, along: float, scale: float, across: float) -> Mask:
    """The mask shifted and stretched, nearest neighbour; what comes from outside is belt."""
    rows = np.round(np.arange(mask.shape[0]) - along / RASTER_MM).astype(np.intp)
    columns = np.round((np.arange(mask.shape[1]) - across / RASTER_MM) / scale).astype(np.intp)
    inside = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & ((columns >= 0) & (columns < mask.shape[1]))
    picked = mask[np.clip(rows, 0, mask.shape[0] - 1)][:, np.clip(columns, 0, mask.shape[1] - 1)]
    return picked & inside


def _overlap(one: Mask, other: Mask) -> float:
    union = int((one | other).sum())
    return float((one & other).sum()) / union if union else 0.0
