"""The columns of a manifest: their types, what their values may be, the nearest right name of a wrong one."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from weft.card import SEASONS, WRAPS
from weft.fibres import FIBRES

FIBRE_COLUMNS: Final = tuple(f"{fibre.name}_pct" for fibre in FIBRES)
UNKNOWN: Final = "unknown_pct"  # 100 for things that are no textile fibre: plastic, belt, background

TYPES: Final[dict[str, pa.DataType]] = {
    "capture": pa.string(),
    "subject": pa.string(),
    "kind": pa.string(),
    "path": pa.string(),
    "photo_path": pa.string(),  # a photo of the same subject beside a spectrum
    "wavelength_nm": pa.list_(pa.float64()),
    "absorbance": pa.list_(pa.float32()),
    "grams": pa.float64(),
    **dict.fromkeys(FIBRE_COLUMNS, pa.float64()),
    UNKNOWN: pa.float64(),
    "klass": pa.string(),
    "view": pa.string(),
    "mark": pa.string(),
    "mark_mm": pa.float64(),
    "mark_mm_per_pixel_truth": pa.float64(),
    "mark_x_px_truth": pa.float64(),  # of its middle, in pixels of the whole photo
    "mark_y_px_truth": pa.float64(),
    "mark_tilt_degrees_truth": pa.float64(),
    "instrument": pa.string(),
    "quantity": pa.string(),  # what was measured; `absorbance` is already converted
    "site": pa.string(),
    "captured_at": pa.string(),  # ISO 8601
    "session": pa.string(),
    "season": pa.string(),
    "wrap": pa.string(),
    "fault": pa.string(),  # why a photo should not be weighed by, `weft.quality`; empty where it is good
    "split": pa.string(),
    "simulated": pa.bool_(),
    "label_note": pa.string(),  # why a label should be doubted
}
REQUIRED: Final = ("capture", "subject", "kind")
KINDS: Final = ("photo", "spectrum")
CLOSED: Final[dict[str, tuple[str, ...]]] = {
    "kind": KINDS,
    "mark": ("qr", "disc", "sheet", "ruler"),
    "season": SEASONS,
    "wrap": WRAPS,
}
SUM_TOLERANCE: Final = 0.5  # points; labels say 33/33/33 and 99.9


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.8) -> str | None:
    """The known name that `name` is most likely a misspelling of, or None."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return found[0] if found else None


def unknown_fibre_columns(columns: Iterable[str]) -> list[str]:
    """One sentence for each `*_pct` column that is no fibre of `weft.fibres`."""
    sentences: list[str] = []
    for column in columns:
        if not column.endswith("_pct") or column in TYPES:
            continue
        guess = nearest(column, (*FIBRE_COLUMNS, UNKNOWN), cutoff=0.6)
        hint = f"did you mean '{guess}'?" if guess else "see `docs/data.md` for the fibre names;"
        sentences.append(
            f"column '{column}' names no fibre known here; {hint} use '{UNKNOWN}' for what is no textile "
            f"fibre, and another ending than '_pct' for what is no share"
        )
    return sentences


def truth_columns(columns: Iterable[str]) -> list[str]:
    """The share columns among `columns`, in their order, `unknown_pct` included."""
    return [column for column in columns if column in FIBRE_COLUMNS or column == UNKNOWN]


def some(values: Sequence[object], *, most: int = 5) -> str:
    """`a, b, c and 12 more`."""
    shown = ", ".join(str(value) for value in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"


def count(number: int, noun: str) -> str:
    """`1 subject`, `2 subjects`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def value_faults(frame: pd.DataFrame) -> list[str]:
    """What would spoil a training, one sentence each; files and photos are not looked into."""
    faults: list[str] = []
    for column, allowed in CLOSED.items():
        if column in frame:
            faults += _not_in(frame, column, allowed)
    if "grams" in frame:
        grams = frame["grams"]
        wrong = frame.loc[grams.notna() & ~((grams > 0) & np.isfinite(grams)), "capture"].tolist()
        if wrong:
            faults.append(
                f"{len(wrong)} captures weigh nothing or less: {some(wrong)}; grams must be above 0"
            )
        faults += _contradicting(frame, "grams")
    faults += _bad_shares(frame)
    faults += _cut_subjects(frame)
    faults += _marks_without_size(frame)
    if "absorbance" in frame:
        faults += _bad_spectra(frame)
    return faults


def _not_in(frame: pd.DataFrame, column: str, allowed: tuple[str, ...]) -> list[str]:
    given = frame[column].dropna()
    odd = sorted(set(given) - set(allowed))
    if not odd:
        return []
    return [f"column '{column}' holds {some(odd)}; it may be {', '.join(allowed)} or empty"]


def _contradicting(frame: pd.DataFrame, column: str) -> list[str]:
    """One subject, one truth: a thing that has two weights was mixed up with another."""
    spread = frame.groupby("subject", sort=True)[column].nunique(dropna=True)
    wrong = spread[spread > 1].index.tolist()
    if not wrong:
        return []
    return [
        f"{len(wrong)} subjects have more than one value in '{column}': {some(wrong)}; "
        f"give a thing that changed between captures a new subject"
    ]


def _bad_shares(frame: pd.DataFrame) -> list[str]:
    columns = truth_columns(frame.columns)
    if not columns:
        return []
    shares = frame[columns]
    labelled = shares.notna().any(axis=1)
    faults: list[str] = []
    outside = ((shares < 0) | (shares > 100)).any(axis=1)
    if outside.any():
        wrong = frame.loc[outside, "capture"].tolist()
        faults.append(f"{len(wrong)} captures have shares outside 0..100 %: {some(wrong)}")
    total = shares.sum(axis=1)
    off = labelled & ((total - 100).abs() > SUM_TOLERANCE)
    if off.any():
        wrong = [
            f"{row.capture} ({total[row.Index]:g} %)" for row in frame.loc[off, ["capture"]].itertuples()
        ]
        faults.append(
            f"{len(wrong)} compositions do not sum to 100 %: {some(wrong)}; "
            f"name the rest, or give it as '{UNKNOWN}'"
        )
    for column in columns:
        faults += _contradicting(frame, column)
    return faults


def _cut_subjects(frame: pd.DataFrame) -> list[str]:
    if "split" not in frame:
        return []
    sides = frame.dropna(subset=["split"]).groupby("subject", sort=True)["split"].nunique()
    cut = sides[sides > 1].index.tolist()
    if not cut:
        return []
    return [f"{len(cut)} subjects are in more than one split: {some(cut)}; keep each thing on one side"]


def _marks_without_size(frame: pd.DataFrame) -> list[str]:
    if "mark" not in frame:
        return []
    sizes = frame["mark_mm"] if "mark_mm" in frame else pd.Series(np.nan, index=frame.index)
    lacking = frame.loc[frame["mark"].notna() & ~(sizes > 0), "capture"].tolist()
    if not lacking:
        return []
    return [f"{len(lacking)} captures have a mark but no size above 0 in 'mark_mm': {some(lacking)}"]


def _bad_spectra(frame: pd.DataFrame) -> list[str]:
    wrong: list[str] = []
    for row in frame[["capture", "wavelength_nm", "absorbance"]].itertuples():
        if row.absorbance is None or row.wavelength_nm is None:
            wrong.append(f"{row.capture} (no values)")
            continue
        nm, values = np.asarray(row.wavelength_nm), np.asarray(row.absorbance)
        if nm.shape != values.shape:
            wrong.append(f"{row.capture} ({len(values)} values for {len(nm)} wavelengths)")
        elif not (np.isfinite(nm).all() and np.isfinite(values).all()):
            wrong.append(f"{row.capture} (not a number)")
        elif not (np.diff(nm) > 0).all():
            wrong.append(f"{row.capture} (wavelengths do not ascend)")
    if not wrong:
        return []
    return [f"{len(wrong)} spectra cannot be used: {some(wrong)}"]
