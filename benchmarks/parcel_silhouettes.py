"""How well a simulated parcel could be weighed by its outline alone, and what its label adds to that.

The outline is exact (the convex hull of the parcel's own surface), nothing is rendered: what is left of the
error is geometry that one view does not show, and how differently parcels are packed. SIMULATED, as they are.

Run: python benchmarks/parcel_silhouettes.py --subjects 2500
"""

import argparse
from collections.abc import Iterator
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from numpy.random import SeedSequence, default_rng
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from weft_datasets.parcels import draw_parcel
from weft_datasets.render import label
from weft_datasets.render.camera import choose_view
from weft_datasets.simulate_parcels import lay_out

_VIEWS: Final = 4
_SIZE_PX: Final = 320
_CELLS: Final = 8  # columns and rows in which the outline's width and height are taken
_OUTLINE: Final = ["ln_area", "ln_width", "ln_height", *(f"{a}{n}" for a in "rc" for n in range(_CELLS))]
_KNOWN: Final = ["winter", "bag", "box"]
_SCALE: Final = [*_OUTLINE, *_KNOWN, "ln_mm_per_pixel"]
_PLACE: Final = [*_SCALE, "label_x", "label_y", "left", "right", "top", "bottom"]
_TOLD: Final[dict[str, list[str]]] = {
    "outline alone": [*_OUTLINE, *_KNOWN],
    "and the label's scale": _SCALE,
    "and its tilt": [*_SCALE, "facing"],
    "and where it lies": _PLACE,
    "where it lies, and its tilt": [*_PLACE, "facing"],
    "volume instead of all that": ["ln_litres", *_KNOWN],
}


def views(number: int) -> Iterator[dict[str, Any]]:
    """Outlines of one parcel from where people stand, where its label is in the picture."""
    what, looks, where = (default_rng(s) for s in SeedSequence(1, spawn_key=(number,)).spawn(3))
    parcel = draw_parcel(what)
    layout = lay_out(looks, parcel, "SHAPE")
    if layout.laid is None:
        return
    for _ in range(_VIEWS):
        camera = choose_view(where, layout.stand, size_px=_SIZE_PX)
        corners = label.corners_px(camera, layout.laid.centre, layout.laid.axes)
        if (corners < 1).any() or (corners > [camera.width - 2, camera.height - 2]).any():
            continue
        points, _ = camera.project(layout.stand.points)
        truth = {"parcel": number, "grams": parcel.grams, "ln_litres": np.log(parcel.litres)}
        kind = {"winter": parcel.season == "winter", "bag": parcel.wrap == "bag", "box": parcel.wrap == "box"}
        middle = np.array([camera.width, camera.height]) / 2
        yield truth | kind | outline((points - middle) / _SIZE_PX) | of_label(corners, middle)


def outline(points: NDArray[np.floating]) -> dict[str, float]:
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    (left, top), (right, bottom) = hull.min(axis=0), hull.max(axis=0)
    drawn = np.zeros((64, 64), np.uint8)
    cells = (hull - [left, top]) / [right - left, bottom - top] * 63
    cv2.fillConvexPoly(drawn, cells.astype(np.int32), 1)
    rows, columns = (drawn.mean(axis=axis).reshape(_CELLS, -1).mean(axis=1) for axis in (1, 0))
    return {
        "ln_area": 0.5 * np.log(cv2.contourArea(hull)),
        "ln_width": np.log(right - left),
        "ln_height": np.log(bottom - top),
        **{f"r{n}": value for n, value in enumerate(rows)},
        **{f"c{n}": value for n, value in enumerate(columns)},
        **{"left": left, "right": right, "top": top, "bottom": bottom},
    }


def of_label(corners: NDArray[np.float32], middle: NDArray[np.float64]) -> dict[str, float]:
    x, y = (corners.mean(axis=0) - middle) / _SIZE_PX
    facing = np.cos(np.radians(label.tilt_degrees(corners)))
    return {
        "ln_mm_per_pixel": np.log(label.mm_per_pixel(corners)),
        "label_x": x,
        "label_y": y,
        "facing": facing,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--subjects", type=int, default=2500)
    asked = parser.parse_args()
    table = pd.DataFrame([view for number in range(asked.subjects) for view in views(number)])
    grams = table["grams"].to_numpy()
    print(f"SIMULATED: {len(table)} views of {table['parcel'].nunique()} parcels, 5 folds by parcel\n")
    print("| told | MAPE | MAE |\n|---|---|---|")
    for told, columns in _TOLD.items():
        # Its early stop is judged by other views of parcels that it learns from, so it stops late, in every
        # row alike. What is printed is of parcels it has never seen.
        net = MLPRegressor(
            hidden_layer_sizes=(128, 128),
            early_stopping=True,
            n_iter_no_change=20,
            max_iter=300,
            random_state=0,
        )
        log_grams = cross_val_predict(
            make_pipeline(StandardScaler(), net),
            table[columns].astype(float),
            np.log(grams),
            groups=table["parcel"],
            cv=GroupKFold(5),
        )
        off = np.exp(np.asarray(log_grams)) - grams
        print(f"| {told} | {100 * np.abs(off / grams).mean():.1f} % | {np.abs(off).mean() / 1000:.2f} kg |")


if __name__ == "__main__":
    main()
