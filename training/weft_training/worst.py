"""Worst cases as pictures: what was shown, what is true, what was said. They tell more than any mean.

These hold the captures themselves; they belong into a run's own report, never into published pages.
"""

import io
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from weft.card import Task
from weft.errors import PhotoError, ScanError
from weft.photos import decode_photo
from weft_datasets.captures import scan_of
from weft_datasets.manifest import Manifest
from weft_training.metrics import fibres_of
from weft_training.plots import BLUE, GREY, INK, canvas, png

SHOWN: Final = 8
THUMBNAIL_PX: Final = 220


def worst_cases(
    predictions: pd.DataFrame, task: Task, manifest: Manifest, *, simulated: bool
) -> bytes | None:
    """The captures that were furthest off, one a subject, as one PNG; None where there is none to show."""
    rows = worst_rows(predictions, task)
    places = {capture: place for place, capture in enumerate(manifest.frame["capture"])}
    rows = rows[rows["capture"].isin(places.keys())]
    if rows.empty:
        return None
    columns = 4
    lines = -(-len(rows) // columns)
    figure, _ = canvas("Worst cases, one capture a subject", 0, width=3.2, height=2.9 * lines + 0.4)
    figure.set_size_inches(3.2 * columns, 2.9 * lines + 0.4)
    for number, (_, row) in enumerate(rows.iterrows()):
        panel = figure.add_subplot(lines, columns, number + 1)
        place = places[row["capture"]]
        if task == "weight":
            _photo(panel, manifest, place)
            title = _said_grams(row)
        else:
            _spectrum(panel, manifest, place)
            title = _said_shares(row, fibres_of(predictions))
        panel.set_title(f"{str(row['subject'])[:28]}\n{title}", fontsize=8, color=INK, loc="left")
    return png(figure, simulated=simulated)


def worst_rows(predictions: pd.DataFrame, task: Task) -> pd.DataFrame:
    """At most `SHOWN` rows, worst first: by |ln(predicted / true)|, or by the summed error of the shares."""
    if task == "weight":
        rows = predictions[predictions["mode"] == "one"]
        off = np.abs(np.log(rows["predicted_grams"] / rows["grams"]))
    else:
        rows = predictions
        off = pd.Series(0.0, index=rows.index)
        for fibre in fibres_of(rows):
            off = off + (rows[f"predicted_{fibre}_share"] - rows[f"{fibre}_share"]).abs()
        if "unknown_truth" in rows:  # shares of what is no textile have no truth
            strange = rows["unknown_truth"] >= 0.5
            off = off.where(~strange, 2 * (1 - rows["predicted_unknown"]))
    ranked = rows.assign(off=off).dropna(subset=["off"]).sort_values("off", ascending=False, kind="stable")
    return ranked.drop_duplicates("subject").head(SHOWN)


def _photo(panel: Axes, manifest: Manifest, place: int) -> None:
    panel.axis("off")
    file = manifest.file(manifest.frame["path"].iloc[place])
    try:
        panel.imshow(_thumbnail(file.read_bytes(), file.suffix))
    except (PhotoError, OSError, ValueError) as error:
        panel.text(0.5, 0.5, str(error)[:60], ha="center", va="center", fontsize=7, wrap=True)


def _thumbnail(data: bytes, suffix: str) -> NDArray[np.uint8]:
    """(H, W, 3); of a stack of bands the first three stand for red, green and blue."""
    if suffix == ".npy":
        stack: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
        pixels = stack[..., :3] if stack.shape[-1] >= 3 else np.repeat(stack[..., :1], 3, axis=-1)
    else:
        pixels = decode_photo(data, longest_px=THUMBNAIL_PX).pixels
    step = max(1, max(pixels.shape[:2]) // THUMBNAIL_PX)
    return pixels[::step, ::step]


def _spectrum(panel: Axes, manifest: Manifest, place: int) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=7, colors=INK)
    try:
        scan = scan_of(manifest, place)
    except (ScanError, OSError) as error:
        panel.text(0.5, 0.5, str(error)[:60], ha="center", va="center", fontsize=7, wrap=True)
        return
    panel.plot(scan.wavelength_nm, scan.absorbance, color=BLUE, linewidth=1)
    panel.set_xlabel("nm", fontsize=7)
    panel.set_ylabel("absorbance", fontsize=7)
    panel.grid(color=GREY, alpha=0.3, linewidth=0.5)


def _said_grams(row: pd.Series) -> str:
    text = f"true {row['grams']:.4g} g, said {row['predicted_grams']:.4g} g"
    if "low_grams" in row and np.isfinite(row["low_grams"]):
        text += f" ({row['low_grams']:.3g}-{row['high_grams']:.3g})"
    return text


def _said_shares(row: pd.Series, fibres: list[str]) -> str:
    true = {fibre: float(row[f"{fibre}_share"]) for fibre in fibres}
    said = {fibre: float(row[f"predicted_{fibre}_share"]) for fibre in fibres}
    strange = float(row.get("unknown_truth", 0)) >= 0.5
    unknown = f", unknown {100 * row['predicted_unknown']:.0f} %" if "predicted_unknown" in row else ""
    return f"true {'no known textile' if strange else _blend(true)}\nsaid {_blend(said)}{unknown}"


def _blend(shares: dict[str, float]) -> str:
    parts = sorted(((share, fibre) for fibre, share in shares.items() if share >= 0.02), reverse=True)[:2]
    return ", ".join(f"{100 * share:.0f} % {fibre}" for share, fibre in parts) or "nothing"
