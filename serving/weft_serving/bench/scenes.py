"""The files that are sent: photos as a phone's camera writes them, frames as a camera of a bin streams them.

Made by code from the example parcel, since no photo of 12 megapixels comes along: the picture is enlarged and
gets a sensor's noise, which is what a JPEG's bytes, and so the time to decode them, are made of.
"""

import io
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXAMPLE: Final = Path(__file__).parents[1] / "pages" / "static" / "example-parcel.jpg"
PHOTO_SIDES: Final = (4000, 3000)
FRAME_SIDES: Final = (640, 480)

# Standard deviations of 8-bit values. At quality 90 they make 3.4 MB of 12 megapixels, as phones do indoors,
# and about 70 kB of a frame, as a USB camera's MJPEG.
_LUMA_NOISE: Final = 5.6
_CHROMA_NOISE: Final = 4.5
_PHOTO_QUALITY: Final = 90
_FRAME_QUALITY: Final = 90
_FRAME_NOISE: Final = 4.0


def make_photos(count: int) -> list[bytes]:
    """Different takes of one parcel, JPEGs of 12 megapixels and about 3.4 MB each."""
    return [
        _taken(PHOTO_SIDES, seed=seed, noise=_LUMA_NOISE, quality=_PHOTO_QUALITY) for seed in range(count)
    ]


def make_frames(count: int) -> list[bytes]:
    """Different frames of one parcel, JPEGs of 640 x 480 pixels."""
    return [
        _taken(FRAME_SIDES, seed=100 + seed, noise=_FRAME_NOISE, quality=_FRAME_QUALITY)
        for seed in range(count)
    ]


def _taken(sides: tuple[int, int], *, seed: int, noise: float, quality: int) -> bytes:
    random = np.random.default_rng(seed)
    width, height = sides
    with Image.open(EXAMPLE) as example:
        shift = 4 * (seed % 8)  # no hand holds still: each take is a little different
        scene = example.crop((shift, shift, example.width - 32 + shift, example.height - 24 + shift))
        pixels = np.asarray(scene.resize(sides, Image.Resampling.BICUBIC), np.int16)
    luma = (random.standard_normal((height, width, 1), np.float32) * noise).astype(np.int16)
    colour = random.standard_normal((height // 2, width // 2, 3), np.float32) * (
        _CHROMA_NOISE * noise / _LUMA_NOISE
    )
    chroma = colour.astype(np.int16).repeat(2, 0).repeat(2, 1)
    return _jpeg(np.clip(pixels + luma + chroma, 0, 255).astype(np.uint8), quality)


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()
