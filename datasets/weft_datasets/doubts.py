"""Labels that the data argues against: masses far from their class, spectra that look like another fibre."""

from collections import Counter
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft_datasets.columns import UNKNOWN, truth_columns
from weft_datasets.duplicates import BLOCK, grids

MASS_Z: Final = 4.5  # robust z of ln(grams) within a class; the real sets hold none beyond it that is not odd
FEWEST_OF_A_CLASS: Final = 5
SPREAD_FLOOR: Final = 0.05  # 5 %: eggs of one size must not make every other egg an outlier
NEIGHBOURS: Final = 5
AGREEING: Final = 4
MAIN_SHARE: Final = 80.0  # from here on a thing is called by its one fibre


def odd_masses(frame: pd.DataFrame) -> list[tuple[str, float, float, str]]:
    """Subject, its grams, the median of its class and the class, for each mass that stands far apart."""
    if "grams" not in frame:
        return []
    things = frame.dropna(subset=["grams"]).drop_duplicates("subject")
    things = things[things["grams"] > 0]
    klass = things["klass"].fillna("") if "klass" in things else pd.Series("", index=things.index)
    odd: list[tuple[str, float, float, str]] = []
    for name, group in things.groupby(klass, sort=True):
        if len(group) < FEWEST_OF_A_CLASS:
            continue
        logs = np.log(group["grams"].to_numpy())
        middle = float(np.median(logs))
        spread = max(1.4826 * float(np.median(np.abs(logs - middle))), SPREAD_FLOOR)
        for subject, grams, away in zip(group["subject"], group["grams"], np.abs(logs - middle), strict=True):
            if away / spread > MASS_Z:
                odd.append((str(subject), float(grams), float(np.exp(middle)), str(name)))
    return odd


def labels(frame: pd.DataFrame) -> pd.Series:
    """What each row is said to be: `cotton`, `cotton/polyester`, `unknown`; its class without shares."""
    columns = truth_columns(frame.columns)
    klass = frame["klass"] if "klass" in frame else pd.Series(None, index=frame.index, dtype=object)
    if not columns:
        return klass
    said: list[str | None] = []
    for row, name in zip(frame[columns].to_numpy(np.float64), klass, strict=True):
        if np.isnan(row).all():
            said.append(None)
            continue
        shares = {c.removesuffix("_pct"): v for c, v in zip(columns, row, strict=True) if v >= 10}
        main = [fibre for fibre, share in shares.items() if share >= MAIN_SHARE]
        label = main[0] if main else "/".join(sorted(shares)) or None
        said.append(f"unknown ({name})" if f"{label}_pct" == UNKNOWN and isinstance(name, str) else label)
    return pd.Series(said, index=frame.index, dtype=object)


def subjects_by_label(frame: pd.DataFrame) -> dict[str, int]:
    """Commonest first, ties by name."""
    counts = Counter(labels(frame).groupby(frame["subject"]).first().dropna())
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def odd_spectra(frame: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Subject, its label and what it looks like, where most of its scans lie among those of another label.

    A scan is compared with scans of other subjects only, and judged only where another has its label.
    """
    said = labels(frame)
    verdicts: dict[str, list[str | None]] = {}
    for rows in grids(frame):
        here = said.iloc[rows].to_numpy(object)
        subjects = frame["subject"].iloc[rows].to_numpy(object)
        values = np.stack([np.asarray(frame["absorbance"].iloc[row], np.float64) for row in rows])
        for place, verdict in enumerate(_verdicts(values, subjects, here)):
            if here[place] is not None:
                verdicts.setdefault(str(subjects[place]), []).append(verdict)
    first = dict(zip(frame["subject"], said, strict=True))
    odd: list[tuple[str, str, str]] = []
    for subject, found in sorted(verdicts.items()):
        name, count = Counter(found).most_common(1)[0]
        own = str(first[subject])
        # A blend that looks like one of its own fibres is no surprise.
        if name is not None and count * 2 > len(found) and not set(own.split("/")) & set(name.split("/")):
            odd.append((subject, own, name))
    return odd


def _verdicts(
    values: NDArray[np.float64], subjects: NDArray[np.object_], said: NDArray[np.object_]
) -> list[str | None]:
    """For each scan, shape (N, L), the label that its neighbours agree on against its own; else None."""
    shape = snv(np.gradient(snv(values), axis=1)).astype(np.float32)  # (N, L)
    named = np.array([name is not None for name in said])
    verdicts: list[str | None] = []
    for start in range(0, len(shape), BLOCK):
        alike = shape[start : start + BLOCK] @ shape.T  # (block, N) correlation of slopes, times L
        for own, subject, row in zip(said[start:], subjects[start:], alike, strict=False):
            others = named & (subjects != subject)
            judged = own is not None and bool((others & (said == own)).any()) and others.sum() >= NEIGHBOURS
            verdicts.append(_verdict(np.where(others, row, -np.inf), own, said) if judged else None)
    return verdicts


def _verdict(alike: NDArray[np.float32], own: str, said: NDArray[np.object_]) -> str | None:
    nearest = np.argpartition(-alike, NEIGHBOURS - 1)[:NEIGHBOURS]
    name, count = Counter(said[nearest]).most_common(1)[0]
    return str(name) if name != own and count >= AGREEING else None


def snv(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row to mean 0 and deviation 1: what is left once scatter and path length are taken out."""
    centred = values - values.mean(axis=1, keepdims=True)
    return centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-12)
