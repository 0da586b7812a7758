"""Learning which photos should not be weighed by: photos with known faults -> a judge and its thresholds.

Every rate is of subjects that neither the read-out nor the threshold has seen: chances come from folds that
left the subject out, thresholds from one half of the subjects and rates from the other, both ways round.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from weft.card import AdviceRule
from weft.errors import ManifestError
from weft.photos import decode_photo
from weft.quality import Fault
from weft_datasets.manifest import Manifest, read_manifest
from weft_datasets.splits import folds_by_subject
from weft_training import photo_judge
from weft_training.photo_judge import PhotoJudge, describe
from weft_training.recipe import WeightRecipe
from weft_training.weight_stem import WeightStem

WORDS: Final[tuple[Fault, ...]] = get_args(Fault)
GOOD: Final = ""
FEWEST: Final = 20  # photos of a fault, each of another subject, under which it is not learnt
_COLOURS: Final = ("red", "green", "blue")
_FOLDS: Final = 4
_STRENGTH: Final = 1e-2  # of the logistic regression (scikit-learn's C)
# How far pooled features are heeded beside the maps: what the frame cuts is a matter of the maps (79 % hits
# at 2 % false alarms, with pooled features in full 69 %), how many parcels there are is not (45 %, 57 %).
_HEED_POOLED: Final[dict[Fault, float]] = {"cut_off": 0.3}
_SHIELD: Final = 0.05  # least spread of a statistic, in spreads of all of them

Floats = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class KnownPhotos:
    """Photos of which it is known whether and how they are spoilt."""

    statistics: Floats  # (rows, P) of `photo_judge.describe`
    fault: NDArray[np.str_]  # (rows,) a word, or `GOOD`
    subjects: NDArray[np.str_]
    simulated: bool  # whether the faults were
    pooled: int = 0  # so many of the statistics, the first, are pooled features

    def words(self) -> tuple[Fault, ...]:
        """The faults with enough photos to learn from."""
        enough = [word for word in WORDS if len(set(self.subjects[self.fault == word])) >= FEWEST]
        return tuple(enough)


def learn_advice(recipe: WeightRecipe, stem: WeightStem) -> tuple[PhotoJudge | None, tuple[AdviceRule, ...]]:
    """A judge of single photos behind this stem, and its rules for the card; none without `recipe.advice`."""
    if recipe.advice is None:
        return None, ()
    photos = read_photos(recipe, recipe.advice.manifests, stem)
    return fit_judge(
        photos, false_alarms=recipe.advice.false_alarms, false_refusals=recipe.advice.false_refusals
    )


def read_photos(recipe: WeightRecipe, paths: Sequence[Path], stem: WeightStem) -> KnownPhotos:
    """What the stem sees in the photos of some manifests; kept in the recipe's cache by content.

    A subject of one manifest is not that of another which has the same name.

    Raises:
        ManifestError: A manifest or a photo cannot be read, or the net takes other bands than a photo has.
    """
    bands = recipe.model.bands
    order = [_COLOURS.index(band) for band in bands if band in _COLOURS]
    if len(order) < len(bands):
        raise ManifestError(
            f"advice: the net takes {', '.join(bands)}, photos have {', '.join(_COLOURS)}; take the "
            f"section `advice` out of the recipe"
        )
    nothing = torch.zeros(1, 1, len(bands), 32, 32), torch.full((1, 1, 2), 32)
    with torch.inference_mode():
        width = stem.eval()(*nothing, torch.ones(1, 1, dtype=torch.bool)).pooled.shape[-1]
    manifests = [read_manifest(path) for path in paths]
    statistics = [_statistics(manifest, order, recipe, stem.eval()) for manifest in manifests]
    faults = [_faults(manifest) for manifest in manifests]
    subjects = [
        np.array([f"{n} {subject}" for subject in manifest.frame["subject"]])
        for n, manifest in enumerate(manifests)
    ]
    made = [
        bool(manifest.frame.loc[fault != GOOD, "simulated"].any())
        for manifest, fault in zip(manifests, faults, strict=True)
    ]
    return KnownPhotos(
        np.concatenate(statistics), np.concatenate(faults), np.concatenate(subjects), any(made), width
    )


def _faults(manifest: Manifest) -> NDArray[np.str_]:
    """(rows,) a word of `WORDS`, or `GOOD`."""
    if "fault" not in manifest.frame:
        return np.full(len(manifest.frame), GOOD, f"U{max(map(len, WORDS))}")
    said = manifest.frame["fault"].fillna(GOOD).to_numpy(str)
    odd = sorted(set(said.tolist()) - {*WORDS, GOOD})
    if odd:
        raise ManifestError(
            f"manifest '{manifest.name}': fault is {', '.join(odd)}; it is one of {', '.join(WORDS)}, or none"
        )
    return said


def _statistics(manifest: Manifest, order: list[int], recipe: WeightRecipe, stem: WeightStem) -> Floats:
    """(rows, P)."""
    decode_px, cache = recipe.data.decode_px, recipe.compute.cache
    seen_as = [manifest.fingerprint(), order, decode_px, recipe.model.input_px, recipe.model.levels]
    digest = hashlib.sha256(str(seen_as).encode())
    for name, value in sorted(stem.state_dict().items()):
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    digest.update(Path(photo_judge.__file__).read_bytes())
    kept = cache / f"advice-{digest.hexdigest()[:16]}.npy"
    if kept.is_file():
        return np.load(kept)
    device = next(stem.parameters()).device
    rows: list[Floats] = []
    for path in tqdm(manifest.frame["path"], desc="advice", unit="photo", disable=None):
        photo = decode_photo(manifest.file(path).read_bytes(), longest_px=decode_px)
        pixels = torch.from_numpy(np.ascontiguousarray(photo.pixels[..., order].transpose(2, 0, 1)))
        photos, size = pixels[None, None].to(device), torch.tensor([[pixels.shape[1:]]], device=device)
        with torch.inference_mode():
            seen = stem(photos, size, torch.ones(1, 1, dtype=torch.bool, device=device))
            rows.append(describe(seen.pooled, seen.maps, size)[0, 0].float().cpu().numpy())
    found = np.stack(rows)
    cache.mkdir(parents=True, exist_ok=True)
    beside = kept.with_suffix(f".{os.getpid()}")
    with beside.open("wb") as out:
        np.save(out, found)
    beside.replace(kept)
    return found


def fit_judge(
    photos: KnownPhotos, *, false_alarms: float, false_refusals: float
) -> tuple[PhotoJudge, tuple[AdviceRule, ...]]:
    """A judge of all faults that there are enough photos of, with its rules.

    Args:
        false_alarms: Share of good photos that each word may be said of.
        false_refusals: Share of good photos that each word may refuse.

    Raises:
        ManifestError: Too few good photos, or of every fault.
    """
    words = photos.words()
    good = photos.fault == GOOD
    if not words or len(set(photos.subjects[good])) < FEWEST:
        raise ManifestError(
            f"advice: there are good photos of {len(set(photos.subjects[good]))} subjects and enough of "
            f"{len(words)} faults; at least {FEWEST} subjects of each are needed "
            f"(weft simulate parcels --faults, weft simulate faults)"
        )
    chances = chances_left_out(photos)
    rules = tuple(
        _rule(word, chances[:, k], photos, false_alarms=false_alarms, false_refusals=false_refusals)
        for k, word in enumerate(words)
    )
    return _solved(photos, np.ones(len(good), bool), words), rules


def chances_left_out(photos: KnownPhotos) -> Floats:
    """Chances (rows, F) of `photos.words()`, each photo's from a judge that has not seen its subject."""
    words = photos.words()
    fold = folds_by_subject(photos.subjects.tolist(), folds=_FOLDS, seed=0)
    chances = np.zeros((len(photos.fault), len(words)))
    for held in range(_FOLDS):
        out = fold == held
        chances[out] = _ask(_solved(photos, ~out, words), photos.statistics[out])
    return chances


def _solved(photos: KnownPhotos, rows: NDArray[np.bool_], words: Sequence[Fault]) -> PhotoJudge:
    statistics, fault = photos.statistics[rows], photos.fault[rows]
    judge = PhotoJudge(statistics=statistics.shape[1], faults=len(words))
    mean, spread = statistics.mean(0), statistics.std(0)
    spread = np.maximum(spread, _SHIELD * float(statistics.std()))
    standard = ((statistics - mean) / spread).astype(np.float32)  # half the time of float64
    judge.mean.copy_(torch.from_numpy(np.asarray(mean, np.float32)))
    judge.std.copy_(torch.from_numpy(np.asarray(spread, np.float32)))
    for k, word in enumerate(words):
        # Against good photos and other faults alike: a hand before a parcel is no second parcel.
        heed = np.ones(standard.shape[1], np.float32)
        heed[: photos.pooled] = _HEED_POOLED.get(word, 1.0)
        solved = LogisticRegression(C=_STRENGTH, max_iter=300, tol=1e-3).fit(standard * heed, fault == word)
        judge.weight[k] = torch.from_numpy(np.asarray(solved.coef_[0] * heed, np.float32))
        judge.bias[k] = float(solved.intercept_[0])
    return judge


def _ask(judge: PhotoJudge, statistics: Floats) -> Floats:
    """Chances (rows, F)."""
    standard = (torch.from_numpy(np.asarray(statistics, np.float32)) - judge.mean) / judge.std
    return torch.sigmoid(standard @ judge.weight.T + judge.bias).numpy().astype(float)


def _rule(
    word: Fault, chance: Floats, photos: KnownPhotos, *, false_alarms: float, false_refusals: float
) -> AdviceRule:
    good = photos.fault == GOOD
    has = photos.fault == word
    half = folds_by_subject(photos.subjects.tolist(), folds=2, seed=1)
    said, refused = np.zeros(len(chance), bool), np.zeros(len(chance), bool)
    for own in (0, 1):
        others = chance[good & (half != own)]
        said[half == own] = chance[half == own] > _threshold(others, false_alarms)
        refused[half == own] = chance[half == own] > _threshold(others, false_refusals)
    return AdviceRule(
        word=word,
        advise_above=_threshold(chance[good], false_alarms),
        refuse_above=_threshold(chance[good], false_refusals),
        hit_rate=float(said[has].mean()),
        refusal_rate=float(refused[has].mean()),
        false_alarm_rate=float(said[good].mean()),
        false_refusal_rate=float(refused[good].mean()),
        faulty_photos=int(has.sum()),
        good_photos=int(good.sum()),
        simulated=photos.simulated,
    )


def _threshold(good: Floats, share: float) -> float:
    """The chance that at most `share` of good photos exceed; that of the worst of them where they are few."""
    return float(np.quantile(good, 1 - share, method="higher"))
