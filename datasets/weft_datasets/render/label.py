"""The printed QR label: a flat sheet with its quiet zone, of exactly known size."""

import numpy as np
import segno
from numpy.typing import NDArray

from weft_datasets.render.camera import Camera
from weft_datasets.render.material import plain
from weft_datasets.render.mesh import Mesh, Skin, grid_mesh

SIDE_MM = 60.0  # outer side of the QR square, without the white margin
_QUIET = 4  # modules of white margin, as the standard asks


def label_mesh(code: str) -> Mesh:
    """A label for `code` lying face up with the QR square's middle at the origin."""
    matrix = np.array([list(row) for row in segno.make_qr(payload(code), error="m").matrix], np.int16)
    modules = len(matrix)
    chart = np.pad(matrix, _QUIET)[::-1].copy()  # rows run with +y
    half = SIDE_MM / modules * (modules + 2 * _QUIET) / 2
    side = np.linspace(-half, half, 5, dtype=np.float32)
    x, y = np.meshgrid(side, side)
    paper = plain((0.78, 0.78, 0.76), nir=0.8, shine=0.02, bump=0.0)
    toner = plain((0.02, 0.02, 0.02), nir=0.03, shine=0.04, bump=0.0)  # carbon: black in the infrared too
    skin = Skin((paper, toner), chart, (-half, -half), (half, half))
    return grid_mesh(np.stack([x, y, np.zeros_like(x)], axis=2), np.stack([x, y], axis=2), skin)


def payload(code: str) -> str:
    return f"WEFT:{SIDE_MM:.0f}:{code}"


def corners_px(camera: Camera, centre: NDArray[np.float32], axes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The QR square's corners in pixels, (4, 2): upper left first, clockwise as printed.

    Args:
        centre: Its middle, mm, (3,).
        axes: Columns are the label's right, up and outward directions, (3, 3).
    """
    pixel, _ = camera.project(outline() @ axes.T + centre)
    return pixel


def outline() -> NDArray[np.float32]:
    """The QR square's corners on the label, (4, 3) mm: upper left first, clockwise as printed."""
    return np.array([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]], np.float32) * np.float32(SIDE_MM / 2)


def mm_per_pixel(corners: NDArray[np.float32]) -> float:
    """Scale in the label's plane along the direction that its tilt does not shorten, as in `weft.marks`."""
    return SIDE_MM / float(_sides_px(corners)[0])


def tilt_degrees(corners: NDArray[np.float32]) -> float:
    """Between the label's plane and the sensor's, as in `weft.marks`."""
    longest, shortest = _sides_px(corners)
    return float(np.degrees(np.arccos(shortest / longest)))


def _sides_px(corners: NDArray[np.float32]) -> NDArray[np.float32]:
    """Length of a side along the direction that the tilt does not shorten, and along the one it does."""
    across = (corners[1] - corners[0] + corners[2] - corners[3]) / 2
    down = (corners[3] - corners[0] + corners[2] - corners[1]) / 2
    return np.linalg.svd(np.stack([across, down], axis=1), compute_uv=False)
