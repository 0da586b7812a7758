"""From points of a flat thing in the photo to the scale and the tilt of its plane.

Points are (x, y) with whole numbers at the pixels' corners: the first pixel's centre lies at (0.5, 0.5).
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Grey = NDArray[Any]  # of any number

SQUARE: Final[Floats] = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
# Focal lengths of phones and cameras, in the photo's longest side: 21 to 45 mm of small-format film. What the
# file says about its lens is not read, see `weft.photos`.
FOCAL: Final = (0.58, 1.25)


class Scale(NamedTuple):
    """At one place of a plane. The smaller of the two scales belongs to the direction a tilt shortens."""

    px_per_mm: float
    shortened: float  # 0..1, cosine of the tilt

    @property
    def tilt_degrees(self) -> float:
        return float(np.degrees(np.arccos(min(1.0, self.shortened))))


def homography(flat: Floats, seen: Floats) -> Floats:
    """The 3 x 3 matrix that takes points of a plane (n, 2) to those of the photo (n, 2), n >= 4."""
    to_flat, to_seen = _levelled(flat), _levelled(seen)
    u, v = (flat * to_flat[0, 0] + to_flat[:2, 2]).T
    x, y = (seen * to_seen[0, 0] + to_seen[:2, 2]).T
    none, one = np.zeros_like(u), np.ones_like(u)
    rows = np.concatenate(
        [
            np.stack([u, v, one, none, none, none, -x * u, -x * v, -x], axis=1),
            np.stack([none, none, none, u, v, one, -y * u, -y * v, -y], axis=1),
        ]
    )
    matrix = np.linalg.svd(rows)[2][-1].reshape(3, 3)
    matrix = np.linalg.inv(to_seen) @ matrix @ to_flat
    return matrix / matrix[2, 2]


def _levelled(points: Floats) -> Floats:
    """Moved to the origin and scaled to unit size: without it the system above loses half its digits."""
    middle = points.mean(axis=0)
    size = 1 / max(float(np.abs(points - middle).mean()), 1e-9)
    return np.array([[size, 0, -size * middle[0]], [0, size, -size * middle[1]], [0, 0, 1]])


def project(matrix: Floats, points: Floats) -> Floats:
    """Points (n, 2) through a homography."""
    out = points @ matrix[:, :2].T + matrix[:, 2]
    return out[:, :2] / out[:, 2:]


def scale_at(matrix: Floats, point: Floats) -> Scale:
    """Pixels a millimetre of a homography from mm to pixels, at a point (2,) of the plane."""
    out = matrix[:, :2] @ point + matrix[:, 2]
    x, y = out[:2] / out[2]
    jacobian = (matrix[:2, :2] - np.outer([x, y], matrix[2, :2])) / out[2]
    long, short = np.linalg.svd(jacobian, compute_uv=False)
    return Scale(float(long), float(short / max(long, 1e-12)))


def shape_of(corners: Floats, *, middle: Floats, focal_px: float) -> tuple[float, float]:
    """Of a rectangle seen as `corners` (4, 2) by a camera of known focal length, after Zhang and He 2007.

    Args:
        middle: The photo's middle (2,), taken as the lens's axis.

    Returns:
        Length of the side 0-1 over that of the side 1-2, and the cosine of the angle between them, which is
        0 for a rectangle.
    """
    matrix = homography(SQUARE, (corners - middle) / focal_px)
    across, down = matrix[:, 0], matrix[:, 1]
    long, tall = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    return long / tall, float(across @ down) / (long * tall)


def sample(grey: Grey, points: Floats) -> Floats:
    """Levels of an image (H, W) between its pixels at (..., 2); the border is repeated."""
    height, width = grey.shape
    x = np.clip(points[..., 0] - 0.5, 0, width - 1.001)
    y = np.clip(points[..., 1] - 0.5, 0, height - 1.001)
    column, row = x.astype(np.int64), y.astype(np.int64)
    right, low = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
    u, v = x - column, y - row
    top = grey[row, column] * (1 - u) + grey[row, right] * u
    bottom = grey[low, column] * (1 - u) + grey[low, right] * u
    return top * (1 - v) + bottom * v


def edges_across(grey: Grey, starts: Floats, normals: Floats, *, reach_px: float) -> tuple[Floats, Floats]:
    """The strongest change from dark to bright (along the normal) near points of an expected edge.

    Args:
        starts: Points on the expected edge, shape (n, 2).
        normals: Unit vectors towards the bright side, shape (n, 2).
        reach_px: How far to either side is looked.

    Returns:
        Signed distance of the edge along the normal, in pixels, and its height in levels, shape (n,) each.
    """
    step = min(0.5, reach_px / 4)
    reach = np.arange(-reach_px - 2 * step, reach_px + 2.5 * step, step)
    profile = sample(grey, starts[:, None] + reach[:, None] * normals[:, None])  # (n, r)
    rise = profile[:, 2:] - profile[:, :-2]
    at = rise[:, 1:-1].argmax(axis=1) + 1
    lines = np.arange(len(starts))
    left, here, right = rise[lines, at - 1], rise[lines, at], rise[lines, at + 1]
    # The top of a parabola through the three samples: nearest samples alone would leave steps.
    bend = np.minimum(left - 2 * here + right, -1e-6)
    shift = np.clip(0.5 * (left - right) / bend, -1, 1) * step
    return reach[at + 1] + shift, here
