"""How unlike the training photos a photo is, and from when on that is said.

The distance is one minus the cosine to the nearest of a few prototypes (k-means on the unit sphere) of what
the stem saw in training photos. Chosen on MobileNetV2's pooled features among distances from planes of
principal components, Mahalanobis distances and nearest photos: a model of simulated parcels tells 97 to 100 %
of real photos of garments, food and ducks at a false-alarm rate of 2 %, by Mahalanobis distance with the
plane's residual 32 to 100 %; nearest photos do as well, but would have to travel in the bundle.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor, nn

from weft.card import ShiftCard
from weft_training.calibrate import SUBJECTS_NEEDED, subject_quantile, subject_weights

PROTOTYPES: Final = 32
_DRAWS: Final = 8  # random sets of a subject's photos
_SIZES: Final = ((2, 2), (3, 4), (5, 9))  # photos in the classes of `ShiftCard.disagree_above`

Floats = NDArray[np.float64]


class Familiarity(nn.Module):
    """Distance of each photo's features from the nearest prototype, 0 to 2."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.prototypes: Tensor
        self.register_buffer("prototypes", torch.zeros(features, PROTOTYPES))  # unit columns; 0 is none
        self.register_load_state_dict_pre_hook(_take_none)

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, N) from (B, N, D); of more features than it knows the first count."""
        pooled = pooled[..., : self.prototypes.shape[0]]
        length = pooled.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-6)
        return 1 - ((pooled / length) @ self.prototypes).amax(-1)

    def fit(self, pooled: Tensor, subjects: Sequence[str] | NDArray[np.str_]) -> None:
        """Take up what the stem saw in training photos (rows, D); every subject weighs the same."""
        seen = pooled[:, : self.prototypes.shape[0]].double().numpy()
        unit = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6)
        count = min(PROTOTYPES, len(np.unique(unit, axis=0)))
        found = KMeans(count, n_init=2, random_state=0).fit(unit, sample_weight=subject_weights(subjects))
        centres = found.cluster_centers_
        centres = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-6)
        self.prototypes.zero_()
        self.prototypes[:, :count] = torch.from_numpy(centres.T.copy())


def _take_none(module: Familiarity, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Runs of earlier versions have no prototypes: what is there stays."""
    state.setdefault(f"{prefix}prototypes", module.prototypes)


def shift_of(
    predictions: pd.DataFrame, *, false_alarms: float, then: Literal["refuse", "widen"]
) -> ShiftCard | None:
    """Thresholds from out-of-fold rows of single photos, which carry `strangeness`.

    None where fewer than `SUBJECTS_NEEDED` subjects were left out. The threshold is the conformal one: a
    photo of a new subject like those of training is above it with probability `false_alarms` at most; where
    the subjects are too few for that, it is the largest distance seen.
    """
    one = predictions[predictions["mode"] == "one"]
    if "strangeness" not in one or one["subject"].nunique() < SUBJECTS_NEEDED:
        return None
    subjects = int(one["subject"].nunique())
    above = _threshold(one["strangeness"].to_numpy(np.float64), one["subject"].to_numpy(), false_alarms)
    assert above is not None, "there are subjects enough"
    return ShiftCard(
        strange_above=above,
        false_alarm_rate=max(false_alarms, 1 / (subjects + 1)),
        then=then,
        disagree_above=tuple(  # pyright: ignore[reportArgumentType]
            _threshold(*spreads(one, size), false_alarms) for size in _SIZES
        ),
        subjects=subjects,
    )


def spreads(one: pd.DataFrame, sizes: tuple[int, int]) -> tuple[Floats, NDArray[np.object_]]:
    """ln(largest / smallest) of single photos' estimates in random sets of a subject's photos, and subjects.

    Args:
        one: Rows of single photos.
        sizes: Fewest and most photos of a set.
    """
    draw = np.random.default_rng(0)
    scores: list[float] = []
    owners: list[object] = []
    for subject, rows in one.groupby("subject", sort=True):
        said = np.log(rows["predicted_grams"].to_numpy(np.float64))
        if len(said) < sizes[0]:
            continue
        for _ in range(_DRAWS):
            size = int(draw.integers(sizes[0], min(sizes[1], len(said)) + 1))
            scores.append(float(np.ptp(draw.choice(said, size=size, replace=False))))
            owners.append(subject)
    return np.asarray(scores), np.asarray(owners, object)


def _threshold(scores: Floats, subjects: NDArray[np.object_], rate: float) -> float | None:
    if len(set(subjects.tolist())) < SUBJECTS_NEEDED:
        return None
    above = subject_quantile(scores, subject_weights(subjects.astype(str)), 1 - rate)
    return float(scores.max()) if np.isinf(above) else above
