"""Colours as a sorting plant names them, and CIE L*a*b* behind the names.

L*a*b* is CIE 1976 under D65 for the 2-degree observer; sRGB as in IEC 61966-2-1.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Lab(NamedTuple):
    lightness: float  # L*, 0..100
    a: float
    b: float


# sRGB to XYZ, each row divided by its D65 white point: white becomes (1, 1, 1).
_TO_XYZ: Final = np.array(
    [
        [0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883],
    ],
    np.float32,
)
_BYTES: Final = np.arange(256) / 255
_LINEAR: Final = np.where(_BYTES <= 0.04045, _BYTES / 12.92, ((_BYTES + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)  # (256,) light of each sRGB byte

# Shades that people agree on, as sRGB; a colour gets the word of its nearest shade. Set by hand.
_SHADES: Final = {
    "white": "ffffff f4f4f0 fffff0 e8e8e8 f0f0ff",
    "light grey": "d0d0d0 bcbcbc b4b8bc c4c0bc",
    "grey": "808080 969696 8a8d92 8c8880 6a6a6a",
    "dark grey": "505050 404448 484440 383838",
    "black": "000000 181818 101418 201c1c 262626",
    "red": "ff0000 dc143c b22222 c83040 a01020 8b1a1a 701018 e04030",
    "pink": "ffc0cb ff69b4 f8a0b0 e87090 ffdce0 fa8072 d88890 e0409a",
    "orange": "ff8c00 ffa500 ff6020 e87820 f0a060 d86018",
    "brown": "8b4513 5c3a21 7b5b3a 4a2c1a 996633 6b4a3a 3a2820 a0643c",
    "beige": "f5f5dc d2b48c e8d8b8 c8b090 f0e0d0 c4a882 b8a488",
    "yellow": "ffff00 ffd700 f8e858 e8c840 fff0a0 d8b020",
    "olive": "808000 6b6b2a 556b2f 787040 4c4c20 989050",
    "green": "00ff00 008000 228b22 006400 3cb371 90ee90 1e4d2b 6aa050 a8d8a0 284028",
    "turquoise": "40e0d0 008080 20b2aa 00ced1 5fb0b0 a0e0e0 106070",
    "blue": "0000ff 1e60d0 4169e1 4682b4 6495ed add8e6 87ceeb 3050a0 b0c8e8 5878a8",
    "navy": "000080 191970 101c40 1c2848 202c58 14244c",
    "purple": "800080 4b0082 9370db 8a2be2 a060c0 d0b0e0 583060 ee82ee ff00ff 684080",
}
COLOURS: Final = tuple(_SHADES)


def linear_light(srgb: NDArray[np.uint8]) -> Floats:
    """sRGB bytes of any shape to linear light in 0..1."""
    return _LINEAR[srgb]


def lab(light: Floats) -> Floats:
    """Linear RGB light, shape (..., 3), to L*, a*, b*, shape (..., 3)."""
    xyz = np.maximum(light, 0) @ _TO_XYZ.T  # (..., 3)
    bent = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    found = np.empty_like(xyz, np.float32)
    found[..., 0] = 116 * bent[..., 1] - 16
    found[..., 1] = 500 * (bent[..., 0] - bent[..., 1])
    found[..., 2] = 200 * (bent[..., 1] - bent[..., 2])
    return found


_ANCHORS: Final[list[tuple[int, Floats]]] = [
    (place, lab(linear_light(np.frombuffer(bytes.fromhex(shade), np.uint8))))
    for place, shades in enumerate(_SHADES.values())
    for shade in shades.split()
]
_ANCHOR_LAB: Final = np.stack([found for _, found in _ANCHORS])  # (S, 3)
_ANCHOR_WORD: Final = np.array([place for place, _ in _ANCHORS])  # (S,)


def names(colour: Floats) -> NDArray[np.intp]:
    """Place in `COLOURS` of each L*a*b*, shape (P, 3) -> (P,): the nearest shade in CIE 1976 distance."""
    # |p - s|^2 without the (P, S, 3) in between; |p|^2 is the same for every shade
    apart = (_ANCHOR_LAB**2).sum(axis=1) - 2 * colour @ _ANCHOR_LAB.T  # (P, S)
    return _ANCHOR_WORD[apart.argmin(axis=1)]


def name_of(colour: Lab) -> str:
    """The word for one colour."""
    return COLOURS[int(names(np.array([colour], np.float32))[0])]
