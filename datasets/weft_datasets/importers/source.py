"""What the importers share: finding the files of a source, and tables whose headings are wavelengths."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.errors import ManifestError
from weft.spectra import Quantity, make_scan


def need(source: Path, *names: str) -> tuple[Path, ...]:
    """The named files or folders of a source.

    Raises:
        ManifestError: One is absent.
    """
    if not source.is_dir():
        raise ManifestError(f"{source}: no such folder; name the folder of the source as it was downloaded")
    found = tuple(source / name for name in names)
    absent = [path.name for path in found if not path.exists()]
    if absent:
        raise ManifestError(
            f"{source} holds no {', '.join(absent)}; this kind of source has {', '.join(names)}; "
            f"check the kind, or bring your own table with `weft import folder`"
        )
    return found


def numeric_headings(columns: pd.Index) -> dict[str, float]:
    """Headings that are plain numbers, in their order."""
    found: dict[str, float] = {}
    for column in columns:
        try:
            found[column] = float(column)
        except ValueError:
            continue
    return found


def add_spectra(
    truth: pd.DataFrame,
    values: NDArray[np.float64],
    *,
    axis: NDArray[np.float64],
    unit: str,
    quantity: Quantity,
) -> pd.DataFrame:
    """Put `wavelength_nm` (ascending) and `absorbance` beside each row's truth.

    Args:
        values: Shape (rows, L), in `quantity`.
        axis: Shape (L,), in `unit`: "nm" or "cm-1".
    """
    scans = []
    for row, capture in zip(values, truth["capture"], strict=True):
        grid = {"wavelength_nm": axis} if unit == "nm" else {"wavenumber_cm1": axis}
        try:
            scans.append(make_scan(values=row, quantity=quantity, **grid))
        except Exception as error:
            error.add_note(f"capture {capture}")
            raise
    return truth.assign(
        wavelength_nm=[scan.wavelength_nm for scan in scans],
        absorbance=[scan.absorbance for scan in scans],
        quantity=quantity,
        kind="spectrum",
    )
