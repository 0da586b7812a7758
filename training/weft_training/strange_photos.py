"""How many photos of things that a bundle was not trained on it calls unfamiliar."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from weft.bundle import load_bundle
from weft.errors import BundleError, ManifestError, PhotoError
from weft.judgement import STRANGENESS
from weft.weigher import Prepared, Subject, Weigher, stack
from weft_training.calibrate import subject_weights
from weft_training.metrics import auroc

_PHOTOS: Final = {".jpg", ".jpeg", ".png", ".webp", ".heic"}


@dataclass(frozen=True, slots=True)
class StrangePhotos:
    photos: int  # asked about; others could not be decoded
    called_unfamiliar: float  # share of them
    false_alarm_rate: float  # the bundle's, at most, of photos like those of its training
    auroc: float | None  # against held-out photos of the bundle's own run; None where the run is not at hand
    strangeness: NDArray[np.float64]  # (photos,)


def measure_strangers(
    bundle_path: Path, folder: Path, *, most: int = 300, held_out: Path | None = None, quiet: bool = False
) -> StrangePhotos:
    """Ask a bundle about every photo below `folder`, at most `most` evenly over their order.

    Args:
        held_out: The out-of-fold predictions of the bundle's run (`predictions.parquet`), for the AUROC.

    Raises:
        BundleError: It does not hold, or does not judge how familiar photos are.
        ManifestError: No photo that can be read.
    """
    bundle = load_bundle(bundle_path, task="weight")
    weigher = Weigher(bundle)
    assert bundle.card.weight is not None, "a weight bundle has this section"
    shift = bundle.card.weight.shift
    if shift is None:
        raise BundleError(
            f"{bundle_path}: does not judge how familiar photos are; train and export it with this version"
        )
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PHOTOS)
    chosen = [files[int(at)] for at in np.linspace(0, len(files) - 1, min(most, len(files))).round()]
    found: list[float] = []
    for path in tqdm(chosen, desc="photos", unit="photo", disable=quiet or None):
        try:
            photo = weigher.prepare(path.read_bytes())
        except PhotoError:
            continue
        # Not by `weigh`: a dark or blurred photo is refused before the graph has a say.
        asked = Subject([_heard(photo)])
        found.append(float(bundle.run(stack([asked]))[STRANGENESS][0, 0]))
    if not found:
        raise ManifestError(f"{folder}: no photo that can be read; name a folder of photos")
    scores = np.asarray(found)
    return StrangePhotos(
        photos=len(found),
        called_unfamiliar=float((scores > shift.strange_above).mean()),
        false_alarm_rate=shift.false_alarm_rate,
        auroc=None if held_out is None else _auroc(scores, held_out),
        strangeness=scores,
    )


def _heard(photo: Prepared) -> Prepared:
    return replace(photo, finding=replace(photo.finding, usable=True))


def _auroc(scores: NDArray[np.float64], held_out: Path) -> float | None:
    """One vote a subject among the familiar ones."""
    predictions = pd.read_parquet(held_out)
    if "strangeness" not in predictions:
        return None
    own = predictions[predictions["mode"] == "one"]
    weights = np.concatenate([subject_weights(own["subject"]), np.ones(len(scores))])
    strange = np.arange(len(weights)) >= len(own)
    return auroc(strange, np.concatenate([own["strangeness"].to_numpy(np.float64), scores]), weights)
