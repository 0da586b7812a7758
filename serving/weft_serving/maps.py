"""A cube's map: each pixel in the colour of its main fibre, as a PNG with transparent background."""

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Okabe and Ito's palette, told apart by colour-blind eyes too; then darker ones for longer lists.
_COLOURS: Final = (
    "#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442", "#332288",
    "#117733", "#882255", "#44aa99", "#999933", "#aa4499", "#661100", "#6699cc", "#888888",
)  # fmt: skip
_BACKGROUND: Final = 255
_MOST_PIXELS: Final = 4_000_000


def draw_map(fibre: NDArray[np.int8]) -> bytes:
    """PNG of a map of fibre indices, shape (H, W), -1 background. Very large maps are thinned out evenly."""
    step = max(1, int(np.ceil(np.sqrt(fibre.size / _MOST_PIXELS))))
    thinned = fibre[::step, ::step]
    indices = np.where(thinned < 0, _BACKGROUND, thinned).astype(np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(_palette())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=_BACKGROUND, optimize=False)
    return buffer.getvalue()


def legend(fibre: NDArray[np.int8], names: Sequence[str]) -> list[dict[str, Any]]:
    """Name, colour and share of the foreground of every fibre on the map, the commonest first."""
    found, counts = np.unique(fibre[fibre >= 0], return_counts=True)
    total = max(1, int(counts.sum()))
    rows = [
        {
            "fibre": names[int(index)],
            "colour": _colour(int(index)),
            "pixel_share": round(int(count) / total, 6),
        }
        for index, count in zip(found, counts, strict=True)
    ]
    return sorted(rows, key=lambda row: -float(row["pixel_share"]))


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _palette() -> list[int]:
    return [
        int(colour[at : at + 2], 16)
        for index in range(256)
        for colour in (_colour(index),)
        for at in (1, 3, 5)
    ]
