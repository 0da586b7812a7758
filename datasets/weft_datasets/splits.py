"""Splits by subject: no physical thing is ever on both sides, whatever the order or number of its captures.

Subjects are ordered by a hash of seed and name, so a split depends on nothing but these: not on the order of
rows, nor on the version of a random generator.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from weft.errors import ManifestError


def folds_by_subject(
    subjects: Sequence[str], *, folds: int | None, seed: int, strata: Sequence[str] | None = None
) -> NDArray[np.int64]:
    """Number of the fold that holds each row out, 0 .. folds - 1.

    Args:
        folds: None leaves one subject out at a time.
        strata: Class of each row; every fold gets its share of the subjects of each, give or take one.

    Raises:
        ManifestError: Fewer subjects than folds, or a row without a subject.
    """
    names = _names(subjects)
    count = len(set(names)) if folds is None else folds
    if count < 2:
        raise ManifestError(
            f"a split needs at least 2 folds and 2 subjects, got {count} fold and {len(set(names))} subjects"
        )
    if count > len(set(names)):
        raise ManifestError(
            f"{count} folds need at least {count} subjects, got {len(set(names))}; ask for fewer folds"
        )
    if folds is None:
        dealt = {name: place for place, name in enumerate(sorted(set(names)))}
    else:
        dealt = {name: place % count for place, name in enumerate(_ordered(names, seed, strata))}
    return np.array([dealt[name] for name in names], np.int64)


def holdout_by_subject(
    subjects: Sequence[str], *, share: float, seed: int, strata: Sequence[str] | None = None
) -> NDArray[np.bool_]:
    """True for rows whose subject is held out; round(share * subjects), at least one and never all.

    Raises:
        ManifestError: Fewer than 2 subjects, a row without one, or a share outside 0..1.
    """
    if not 0 < share < 1:
        raise ManifestError(f"the share to hold out must lie between 0 and 1, got {share:g}")
    names = _names(subjects)
    order = _ordered(names, seed, strata)
    if len(order) < 2:
        raise ManifestError(f"holding subjects out needs at least 2 of them, got {len(order)}")
    take = min(max(round(share * len(order)), 1), len(order) - 1)
    # Evenly spaced places in an order sorted by stratum: each stratum gives its share, give or take one.
    places = np.floor((np.arange(take) + 0.5) * len(order) / take).astype(int)
    held = {order[place] for place in places}
    return np.array([name in held for name in names], np.bool_)


def _names(subjects: Sequence[str]) -> list[str]:
    names = [subject if isinstance(subject, str) else "" for subject in subjects]
    if not names or not all(name.strip() for name in names):
        raise ManifestError(
            "rows without a subject cannot be split; name the physical thing of every capture"
        )
    return names


def _ordered(names: list[str], seed: int, strata: Sequence[str] | None) -> list[str]:
    stratum = dict.fromkeys(names, "") if strata is None else _strata(names, strata)

    def key(name: str) -> tuple[str, bytes, str]:
        return stratum[name], hashlib.sha256(f"{seed}:{name}".encode()).digest(), name

    return sorted(stratum, key=key)


def _strata(names: list[str], strata: Sequence[str]) -> dict[str, str]:
    """A subject whose captures differ in class counts for its commonest, ties by name."""
    if len(strata) != len(names):
        raise ValueError(f"{len(names)} rows but {len(strata)} strata")
    counts: dict[str, Counter[str]] = {}
    for name, stratum in zip(names, strata, strict=True):
        counts.setdefault(name, Counter())[str(stratum)] += 1
    return {name: min(count, key=lambda s, c=count: (-c[s], s)) for name, count in counts.items()}
