"""A contact sheet of simulated spectra: each fibre's on several instruments, with its bands marked."""

from pathlib import Path

import numpy as np

from weft_datasets.absorption import FIBRE_MATERIALS
from weft_datasets.manifest import Manifest

SHOWN_NM = (900.0, 2500.0)
_PALE = "#9aa7b0"
_LINES = ("#1b6ca8", "#c2571a", "#3d8b37", "#7a4fa3", "#a8324a", "#2b8c8c")


def write_sheet(manifest: Manifest, path: Path, *, each: int = 6) -> None:
    """Draw `each` subjects of every pure fibre and of what is none, as absorbance less its mean; a PNG.

    Raises:
        ValueError: The manifest is not simulated: measured spectra may not be published.
    """
    from matplotlib.figure import Figure  # takes a second; only this verb needs it

    frame = manifest.frame
    if not frame["simulated"].all():
        raise ValueError(
            "the contact sheet is for simulated spectra only; measured ones may not be published"
        )
    firsts = frame.drop_duplicates("subject")
    names = [*FIBRE_MATERIALS, "not a textile"]
    figure = Figure(figsize=(13, 10), dpi=72, layout="constrained")
    for axes, name in zip(figure.subplots(4, 3, sharex=True).flat, names, strict=True):
        chosen = firsts["unknown_pct"] == 100 if name not in FIBRE_MATERIALS else firsts[f"{name}_pct"] == 100
        for place, row in enumerate(firsts[chosen].head(each).itertuples()):
            nm, values = np.asarray(row.wavelength_nm), np.asarray(row.absorbance)
            inside = (nm >= SHOWN_NM[0]) & (nm <= SHOWN_NM[1])
            centred = values[inside] - values[inside & (nm < 1650)].mean()
            axes.plot(nm[inside], centred, color=_LINES[place % len(_LINES)], linewidth=0.8)
        if name in FIBRE_MATERIALS:
            for centre in 1e7 / FIBRE_MATERIALS[name].centre_cm1:
                axes.axvline(centre, color=_PALE, linewidth=0.4, zorder=0)
        axes.set_title(name, fontsize=10)
        axes.set_xlim(*SHOWN_NM)
        axes.set_ylim(-0.15, 0.45)
        axes.tick_params(labelsize=7)
    figure.supxlabel("wavelength, nm (grey: bands of the table)", fontsize=9)
    figure.supylabel("absorbance, less its mean up to 1650 nm", fontsize=9)
    figure.suptitle("Simulated spectra, first scan of six subjects each", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    # No software version in the file: the same manifest gives the same bytes.
    figure.savefig(path, metadata={"Software": None})
