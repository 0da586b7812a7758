"""Swatches of known composition as a fibre bundle sees them, or why they cannot be learnt from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from weft.bundle import Bundle
from weft.card import FibreCard
from weft.errors import ManifestError, RecalibrationError, WrongTaskError
from weft_datasets.manifest import Manifest, read_manifest
from weft_training.evaluate import answers_of

Floats = NDArray[np.float64]

SWATCHES_NEEDED: Final = 5  # under it the noise of one label outweighs what the others say
_SLACK: Final = 0.02  # beyond the shares that the bundle has seen; as `Identifier` has it


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """The known swatches as the parent sees them. n swatches, F fibres of the bundle."""

    scans: pd.DataFrame  # a row a scan, as `metrics_of` takes them
    subjects: tuple[str, ...]
    predicted: Floats  # (n, F) mean over a swatch's scans
    truth: Floats  # (n, F)
    manifest: Manifest

    @property
    def present(self) -> NDArray[np.bool_]:
        """(F,) whether any known swatch holds the fibre."""
        return np.asarray((self.truth > 0).any(0))

    def errors(self, shares: Floats) -> Floats:
        """(n,) mean absolute error of shares (n, F) in points, over the fibres that the swatches hold."""
        return 100 * np.abs(shares - self.truth)[:, self.present].mean(1)


def composition_of(bundle: Bundle) -> FibreCard:
    """The card's section; WrongTaskError for a bundle that weighs."""
    if bundle.card.composition is None:
        raise WrongTaskError(f"{bundle.source}: a bundle for {bundle.card.task}, needed one for composition")
    return bundle.card.composition


def read_known(path: Path, bundle: Bundle) -> Known:
    """Ask the bundle about every known scan.

    Raises:
        ManifestError: The table cannot be read or holds no composition that the bundle could answer.
        RecalibrationError: Too few swatches, or shares that the parent has never seen.
    """
    manifest = _read(path)
    section = composition_of(bundle)
    fibres = section.fibres
    _check_listed(manifest, fibres, path)
    answers = answers_of(bundle, manifest)
    for reason, count in answers.refusals.items():
        raise ManifestError(f"{path}: {count} of {answers.asked} scans cannot be used: {reason}")
    scans = answers.predictions
    subjects, codes = np.unique(scans["subject"].to_numpy(str), return_inverse=True)

    def by_subject(names: list[str]) -> Floats:
        values = scans[names].to_numpy(np.float64)
        each = [np.bincount(codes, column) / np.bincount(codes) for column in values.T]
        return np.stack(each, axis=1)

    if len(subjects) < SWATCHES_NEEDED:
        raise RecalibrationError(
            f"{path}: {len(subjects)} known swatches, at least {SWATCHES_NEEDED} are needed (scans of one "
            f"swatch share a `subject` and count once); scan more of known composition"
        )
    strange = subjects[by_subject(["predicted_unknown"])[:, 0] >= section.unknown_threshold].tolist()
    if strange:
        raise RecalibrationError(
            f"{path}: the bundle takes {', '.join(strange[:3])} for no textile it knows; a correction of "
            f"shares cannot mend that: check these scans, or train on such ones"
        )
    known = Known(
        scans=scans,
        subjects=tuple(subjects.tolist()),
        predicted=by_subject([f"predicted_{fibre}_share" for fibre in fibres]),
        truth=by_subject([f"{fibre}_share" for fibre in fibres]),
        manifest=manifest,
    )
    _check_range(known, section, path)
    return known


def _read(path: Path) -> Manifest:
    if path.suffix.lower() == ".parquet":
        return read_manifest(path)
    from weft_datasets.importers.folder import read

    return read(path)


def _check_listed(manifest: Manifest, fibres: tuple[str, ...], path: Path) -> None:
    shares = manifest.shares(fibres)
    outside = shares[:, -1] > _SLACK
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise ManifestError(
            f"{path}: {manifest.frame['subject'].iloc[row]} is {shares[row, -1]:.0%} of what the bundle does "
            f"not answer for (it knows {', '.join(fibres)}); leave it out"
        )


def _check_range(known: Known, section: FibreCard, path: Path) -> None:
    for column, fibre in enumerate(section.fibres):
        low, high = section.share_range.get(fibre, (0.0, 1.0))
        beyond = (known.truth[:, column] < low - _SLACK) | (known.truth[:, column] > high + _SLACK)
        if beyond.any():
            at = int(np.flatnonzero(beyond)[0])
            raise RecalibrationError(
                f"{path}: {known.subjects[at]} is {known.truth[at, column]:.0%} {fibre}, the bundle was "
                f"trained on {low:.0%} to {high:.0%}; leave it out, or train on such swatches"
            )
    if ((known.truth > 0).sum(1) < 2).all():
        raise RecalibrationError(
            f"{path}: every known swatch is one pure fibre; a correction of shares needs blends of known "
            f"shares"
        )
