"""How recall falls as one error of an instrument grows."""

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from weft_training.plots import BLUE, GREY, INK, ORANGE, png

TARGET: Final = 0.9
_COLUMNS: Final = 6
_WORDS: Final = {
    "shift_nm": "axis shifted, nm",
    "stretch": "axis stretched",
    "broader_nm": "slit wider by, nm",
    "sharper_nm": "slit narrower by, nm",
    "step_nm": "sampled every, nm",
    "offset": "offset, absorbance",
    "slope": "slope, absorbance",
    "curve": "curvature, absorbance",
    "baseline": "smooth baseline, absorbance",
    "gain": "gain of reflectance",
    "stray": "stray light, reflectance",
    "dark": "dark level, reflectance",
    "ripple": "fringes, absorbance",
    "edge": "wiggle past 1650 nm",
    "splice": "step at 1000 nm",
    "noise": "noise, reflectance",
    "to_nm": "ends at, nm",
    "from_nm": "begins at, nm",
}


def draw_effects(curves: pd.DataFrame) -> bytes:
    """A panel an effect, PNG; `curves` as `instrument_study.effect_curves` makes them."""
    names = list(dict.fromkeys(curves["effect"]))
    lines = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(2.4 * _COLUMNS, 2.3 * lines + 1.0))
    # Placed by hand: a constrained layout collapses under a legend outside of so many panels.
    figure.subplots_adjust(0.03, 0.05, 0.99, 0.86, wspace=0.12, hspace=0.4)
    panels = iter(figure.subplots(lines, _COLUMNS, sharey=True, squeeze=False).flat)
    for name in names:
        panel = next(panels)
        part = curves[curves["effect"] == name]
        strength = part["strength"].to_numpy(float)
        panel.axhline(100 * TARGET, color=GREY, linestyle="--", linewidth=1)
        panel.plot(strength, 100 * part["mean"], "o-", color=GREY, markersize=3, label="mean of the classes")
        panel.plot(strength, 100 * part["least"], "o-", color=BLUE, markersize=4, label="least class")
        refused = np.isnan(part["least"].to_numpy(float))
        panel.plot(
            strength[refused],
            np.full(refused.sum(), 2.0),
            "x",
            color=ORANGE,
            label="scan refused",
            clip_on=False,
        )
        panel.set_title(_WORDS.get(name, name), fontsize=9, color=INK)
        panel.set_ylim(0, 103)
        panel.tick_params(colors=INK, labelsize=7)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels:
        panel.set_axis_off()
    handles = {label: handle for axes in figure.axes
               for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}  # fmt: skip
    figure.legend(handles.values(), handles.keys(), loc="upper right", ncols=3, fontsize=9)
    title = "Recall of pure scans of left-out swatches, %, one instrument error at a time"
    figure.suptitle(title, x=0.03, horizontalalignment="left", fontsize=12, color=INK)
    return png(figure)
