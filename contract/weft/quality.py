"""Whether a photo is worth weighing by: the words of advice, and those measured at one fixed scale."""

from collections.abc import Iterable
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from weft.photos import Photo

# Faults that a bundle may have learnt to see; `weft.judgement` says them.
Fault = Literal["screen", "covered", "no_parcel", "several", "cut_off"]
# The first one is to be mended first: what hides the others stands before them.
Advice = Literal[
    "broken", "too_small", "dark", "blurred",
    "screen", "covered", "no_parcel", "unfamiliar", "several", "cut_off", "repeated",
]  # fmt: skip
ADVICE: Final[tuple[Advice, ...]] = get_args(Advice)
# One sentence each for the person with the phone; the page says the same.
WHAT_TO_DO: Final[dict[Advice, str]] = {
    "broken": "This file is damaged: take the photo again",
    "too_small": "Too small: send the photo in full size",
    "dark": "Too dark: turn on a light or go outside",
    "blurred": "Blurred: hold still and take it again",
    "screen": "This is a photo of a screen: photograph the parcel itself",
    "covered": "Something is in front of the parcel: keep hands, faces and fingers out of the picture",
    "no_parcel": "No parcel to be seen: photograph the bag, the box or the heap of clothes",
    "unfamiliar": "Unlike anything this model has seen: photograph the whole parcel from two steps away",
    "several": "Several parcels: put one in the picture and weigh the others by themselves",
    "cut_off": "The parcel is cut off: step back until all of it is in the picture",
    "repeated": "The same photo twice: take another one from a different side",
}

# Longest side at which light and sharpness are measured: about what a net sees, so that a blur which it would
# not notice is not complained about.
MEASURE_PX: Final = 256

# Chosen on real photos and copies of 300 each, spoilt by code; sigma and path are shares of the longest side.
#                                            garments (residents' own)   food on a table
# as taken, called blurred / dark            3 / 0 of 1,430              7 / 14 of 1,552
# Gaussian blur of 0.4 %, 0.6 %, 0.8 %       68, 97, 100 % caught        98, 100, 100 %
# shaken along 3 % in any direction          80 %                        96 %
# 4 stops less light, 5 stops                98, 100 %                   96 %, 100 %
# The food called dark is: its means lie at 36-47. A line camera's crops (800) are all passed.
DARK_BELOW: Final = 48.0  # mean luminance, 0..255
BLURRED_ABOVE: Final = 0.45  # share of the gradient that a further blur leaves, 0..1
FLAT_BELOW: Final = 0.0025  # mean gradient over mean luminance: a lens cap, a finger, a wall
SMALL_LONGEST_PX: Final = 160
SMALL_SHORTEST_PX: Final = 64
_BLUR_PX: Final = 9


def in_order(advice: Iterable[Advice]) -> tuple[Advice, ...]:
    """Each word once, what is to be mended first in front."""
    return tuple(sorted(set(advice), key=ADVICE.index))


def advise(photo: Photo) -> tuple[Advice, ...]:
    """What a retake should mend, by measurement; empty where nothing is wrong. Others say the other words."""
    sides = photo.full_width_px, photo.full_height_px
    advice: list[Advice] = []
    if max(sides) < SMALL_LONGEST_PX or min(sides) < SMALL_SHORTEST_PX:
        advice.append("too_small")
    grey = _luminance(photo)
    if grey.mean() < DARK_BELOW:
        advice.append("dark")
    if blur(grey) > BLURRED_ABOVE:
        advice.append("blurred")
    return in_order(advice)


def blur(grey: NDArray[np.float32]) -> float:
    """How little a further blur changes: 0 sharp, 1 blurred or without any detail. After Crete et al. 2007.

    Args:
        grey: Luminance 0..255, shape (H, W). Contrast and size of things cancel out, unlike in the variance
            of the Laplacian, which calls a white shirt on a bed blurred.
    """
    kept = 0.0
    for axis in (0, 1):  # a shake blurs one direction only: the worse one counts
        lines = grey if axis == 0 else grey.T
        if len(lines) <= _BLUR_PX:
            continue
        fine = np.abs(np.diff(lines, axis=0))
        total = float(fine.sum())
        if total <= FLAT_BELOW * float(lines.sum()):
            return 1.0
        lost = np.maximum(0, fine - np.abs(np.diff(_box_mean(lines), axis=0)))
        kept = max(kept, 1 - float(lost.sum()) / total)
    return kept


def _box_mean(lines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Running mean of `_BLUR_PX` rows, edges repeated; same shape."""
    half = _BLUR_PX // 2
    padded = np.pad(lines, ((half + 1, half), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0, dtype=np.float64)
    return ((sums[_BLUR_PX:] - sums[:-_BLUR_PX]) / _BLUR_PX).astype(np.float32)


def _luminance(photo: Photo) -> NDArray[np.float32]:
    image = Image.fromarray(photo.pixels).convert("L")
    scale = MEASURE_PX / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX)
    return np.asarray(image, np.float32)
