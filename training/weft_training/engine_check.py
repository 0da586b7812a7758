"""What another engine or precision is worth: how far it answers otherwise, what that costs, what it gains."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pandas as pd

from weft.bundle import Bundle, gaps
from weft.errors import InputError, ManifestError
from weft.weigher import PhotoFinding, Prepared, Subject, Weigher, stack
from weft_datasets.manifest import Manifest
from weft_training.evaluate import answers_of, prepared_photo
from weft_training.paired import Difference, difference_of, figure_of
from weft_training.proof_inputs import Inputs, made_photos, made_scans
from weft_training.worst import scan_of

FIGURE: Final = {"weight": "one.alde", "composition": "mae_points"}  # what is to stay as good as it was
MADE: Final = 64
REAL: Final = 200  # captures of a manifest, of subjects in turn
_ROUNDS: Final = 15
_RUNS: Final = 20
_FINE: Final = PhotoFinding(True, (), None)


@dataclass(frozen=True, slots=True)
class Loss:
    """The figure of both on the same subjects, and by how many percent the error grew."""

    key: str
    before: float
    after: float
    percent: Difference
    subjects: int

    def __str__(self) -> str:
        return (
            f"{self.key} {self.before:.4f} -> {self.after:.4f}, {self.percent.value:+.2f} % "
            f"({self.percent.low:+.2f} to {self.percent.high:+.2f} %) on {self.subjects} subjects"
        )


@dataclass(frozen=True, slots=True)
class Speed:
    """CPU time of a usual call (ms), and how many times as fast the other is, over alternating rounds."""

    before_ms: float
    after_ms: float
    ratio: float
    ratio_low: float  # 5 and 95 % of the rounds
    ratio_high: float

    def __str__(self) -> str:
        spread = f"{self.ratio:.2f} times ({self.ratio_low:.2f} to {self.ratio_high:.2f})"
        verdict = "faster here" if self.ratio_low > 1 else "not faster here"
        return f"{verdict}: {self.before_ms:.2f} -> {self.after_ms:.2f} ms of CPU, {spread} as fast"


def asked_of(bundle: Bundle, manifest: Manifest | None, *, seed: int) -> list[Inputs]:
    """Inputs to compare on: made ones, and one capture each of up to `REAL` subjects of a manifest."""
    card = bundle.card
    if card.weight is not None:
        made = made_photos(MADE, bands=len(card.weight.bands), seed=seed)
    elif card.composition is not None:
        made = made_scans(MADE, grid_nm=list(card.composition.grid_nm), seed=seed)
    else:
        raise ManifestError(f"{bundle.source}: a belt bundle; its graph is too small to gain by an engine")
    return made if manifest is None else [*made, *captures_of(bundle, manifest, most=REAL, seed=seed)]


def captures_of(bundle: Bundle, manifest: Manifest, *, most: int, seed: int) -> Iterator[Inputs]:
    """Graph inputs of single captures, each of another subject; those that cannot be read are left out."""
    frame = manifest.frame.reset_index(drop=True)
    order = np.random.default_rng(seed).permutation(len(frame))
    rows = frame.iloc[order].drop_duplicates("subject").index[:most]
    weigher = None if bundle.card.weight is None else Weigher(bundle)
    for row in rows:
        try:
            if weigher is None:
                scan = scan_of(manifest, int(row))
                yield {
                    "wavelength_nm": scan.wavelength_nm.astype(np.float32),
                    "absorbance": scan.absorbance[None].astype(np.float32),
                }
            else:
                photo = prepared_photo(weigher, manifest, frame.iloc[row])
                yield stack([Subject([replace(photo, finding=_FINE)])])
        except InputError:
            continue


def largest_gaps(
    bundle: Bundle, expected: Sequence[dict[str, Any]], asked: Sequence[Inputs]
) -> dict[str, float]:
    """By output, the most that the bundle differs from what is expected; as `weft.bundle.gaps`."""
    worst: dict[str, float] = {}
    for inputs, want in zip(asked, expected, strict=True):
        for name, far in gaps(bundle.card.task, want, bundle.run(inputs)).items():
            worst[name] = max(worst.get(name, 0.0), far)
    return worst


def loss_on(manifest: Manifest, before: Bundle, after: Bundle) -> Loss:
    """The error of both on the captures that both answer.

    Raises:
        ManifestError: It does not fit the bundle, or carries no truth.
    """
    theirs, ours = (answers_of(bundle, manifest).predictions for bundle in (before, after))
    key = FIGURE[before.card.task]
    ours, theirs = _both(ours, theirs)
    if ours.empty:
        raise ManifestError(f"manifest '{manifest.name}': no capture is answered by both; name another")
    return Loss(
        key=key,
        before=figure_of(theirs, key)[key],
        after=figure_of(ours, key)[key],
        percent=difference_of(ours, theirs, key, relative=True),
        subjects=int(ours["subject"].nunique()),
    )


def _both(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that are in both tables: one may call a photo unfit that the other weighs."""
    columns = [name for name in ("subject", "capture", "mode") if name in ours and name in theirs]
    keys = [pd.MultiIndex.from_frame(table[columns]) for table in (ours, theirs)]
    return ours[keys[0].isin(keys[1])], theirs[keys[1].isin(keys[0])]


def speed_of(before: Bundle, after: Bundle, asked: Inputs) -> Speed:
    """Time the usual question, both in turn: a machine's pace changes between rounds more than within."""
    for bundle in (before, after):
        for _ in range(_RUNS // 4):
            bundle.run(asked)
    taken = np.array([[_cpu_ms(bundle, asked) for bundle in (before, after)] for _ in range(_ROUNDS)])
    ratios = taken[:, 0] / taken[:, 1]
    low, middle, high = np.percentile(ratios, (5, 50, 95))
    return Speed(*(float(value) for value in (*np.median(taken, axis=0), middle, low, high)))


def _cpu_ms(bundle: Bundle, asked: Inputs) -> float:
    started = time.process_time()
    for _ in range(_RUNS):
        bundle.run(asked)
    return 1000 * (time.process_time() - started) / _RUNS


def usual(bundle: Bundle) -> Inputs:
    """One grey photo of the size that the bundle decodes to, or one flat spectrum."""
    card = bundle.card
    if card.weight is not None:
        sides = (card.weight.decode_px * 3 // 4, card.weight.decode_px, len(card.weight.bands))
        return stack([Subject([Prepared(np.full(sides, 128, np.uint8), 0.0, _FINE)])])
    assert card.composition is not None, "a belt bundle is refused before"
    nm = np.asarray(card.composition.grid_nm, np.float32)
    return {"wavelength_nm": nm, "absorbance": np.full((1, len(nm)), 0.3, np.float32)}
