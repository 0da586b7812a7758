"""Whether a photo is worth weighing by: the words of advice, and those measured at one fixed scale."""

from collections.abc import Iterable
from functools import lru_cache
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
_LUMA: Final = (19_595, 38_470, 7_471)  # of red, green, blue in 65,536: ITU-R 601, as Pillow's "L" has it


def in_order(advice: Iterable[Advice]) -> tuple[Advice, ...]:
    """Each word once, what is to be mended first in front."""
    return tuple(sorted(set(advice), key=ADVICE.index))


def advise(photo: Photo, planes: NDArray[np.uint8] | None = None) -> tuple[Advice, ...]:
    """What a retake should mend, by measurement; empty where nothing is wrong. Others say the other words.

    Args:
        planes: The photo's pixels as (3, H, W), where somebody has laid them out so already.
    """
    sides = photo.full_width_px, photo.full_height_px
    advice: list[Advice] = []
    if max(sides) < SMALL_LONGEST_PX or min(sides) < SMALL_SHORTEST_PX:
        advice.append("too_small")
    grey = _luminance(photo.pixels.transpose(2, 0, 1) if planes is None else planes)
    if _sum(grey) < DARK_BELOW * grey.size:
        advice.append("dark")
    if blur(grey) > BLURRED_ABOVE:
        advice.append("blurred")
    return in_order(advice)


def blur(grey: NDArray[np.int16]) -> float:
    """How little a further blur changes: 0 sharp, 1 blurred or without any detail. After Crete et al. 2007.

    Args:
        grey: Luminance 0..255, shape (H, W), no larger than 900 x 900. Contrast and size of things cancel
            out, unlike in the variance of the Laplacian, which calls a white shirt on a bed blurred.
    """
    kept = 0.0
    half, light = _BLUR_PX // 2, _sum(grey)
    for axis in (0, 1):  # a shake blurs one direction only: the worse one counts
        lines = grey if axis == 0 else grey.T
        if len(lines) <= _BLUR_PX:
            continue
        fine = np.abs(lines[1:] - lines[:-1])
        total = _sum(fine)
        if total <= FLAT_BELOW * light:
            return 1.0
        # Neighbours of a running mean differ by what comes in less what falls out, over its length; outside
        # of the photo its edges go on. Times that length all is whole numbers, exact and a tenth of the time.
        blurred = np.empty_like(fine)
        blurred[:-half], blurred[-half:] = lines[half + 1 :], lines[-1:]
        blurred[half:] -= lines[: -half - 1]
        blurred[:half] -= lines[:1]
        np.minimum(np.multiply(fine, _BLUR_PX, out=fine), np.abs(blurred, out=blurred), out=fine)
        kept = max(kept, _sum(fine) / (_BLUR_PX * total))
    return kept


def _luminance(planes: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Of red, green and blue (3, H, W), at the scale where it is measured."""
    red, green, blue = (plane.astype(np.uint32) for plane in planes)
    red *= _LUMA[0]
    green *= _LUMA[1]
    blue *= _LUMA[2]
    red += green
    red += blue
    red += 1 << 15
    grey = (red >> 16).astype(np.uint8)
    scale = MEASURE_PX / max(grey.shape)
    if scale >= 1:
        return grey.astype(np.int16)
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    if 2 * width >= grey.shape[1] and 2 * height >= grey.shape[0]:
        return shrink(grey, width, height).astype(np.int16)
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX), np.int16)


def shrink(grey: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """What Pillow's BOX gives, a third of the time: down to half its size each pixel is of one or of two."""
    left, right = _ends(grey.shape[1], width)
    above, below = _ends(grey.shape[0], height)
    turned = np.ascontiguousarray(grey.T)  # whole rows are taken so much faster that turning twice pays
    narrow = np.ascontiguousarray(_mean(turned.take(left, 0), turned.take(right, 0)).T)
    return _mean(narrow.take(above, 0), narrow.take(below, 0))


def _mean(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.subtract(one | other, (one ^ other) >> 1, dtype=np.uint8)  # rounded up, within 8 bits


@lru_cache(maxsize=64)
def _ends(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last of the pixels that BOX averages into each of `after`: Pillow is asked, for its ties."""
    places = Image.fromarray(np.arange(before, dtype=np.float32)[None])
    means = np.asarray(places.resize((after, 1), Image.Resampling.BOX))[0]
    return np.floor(means).astype(np.intp), np.ceil(means).astype(np.intp)


def _sum(values: NDArray[np.int16]) -> int:
    return int(values.sum(dtype=np.int32))  # twice as fast as the default, and wide enough
