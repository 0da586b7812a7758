"""Whether a trained weight model was worth it: the same backbone, frozen, with ridge, on the same folds.

On a few dozen things of one's own a simple model may be as good. Then the run says so, instead of leaving it
to be found out.
"""

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from weft_training.data import Captures, group_names
from weft_training.paired import difference_of, figure_of
from weft_training.recipe import WeightRecipe
from weft_training.run import Run

WORTH_PERCENT: Final = -20.0  # a fifth less error is what a user may expect of the trouble
MOST_PHOTOS: Final = 5000  # of more the simple model takes minutes, and nobody doubts a net on so many
_RGB: Final = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class Beside:
    """ALDE of single photos, ours and the simple model's; the difference in % with its 95 % interval."""

    ours: float
    theirs: float
    percent: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """What a user is told; both ways in plain words."""
        found = f"ALDE {self.ours:.3f} against {self.theirs:.3f} of the same backbone, frozen, with ridge"
        gap = f"{self.percent:+.0f} %, 95 % paired over subjects {self.low:+.0f} to {self.high:+.0f}"
        if self.percent <= WORTH_PERCENT:
            sure = "" if self.high < 0 else ", though so few subjects do not show it surely"
            return f"one photo: {found} ({gap}): beats the simple model by a fifth{sure}"
        if self.high < 0:
            return f"one photo: {found} ({gap}): better than the simple model, but not by a fifth"
        return f"one photo: {found} ({gap}): NOT shown to be better than the simple model on these subjects"


def beside_ridge(run: Run, captures: Captures) -> Beside | None:
    """Fit the simple model on the folds of a finished run; the verdict is kept in its `beside.json`.

    None for spectra, for other bands than red, green and blue, where the recipe starts from no pretrained
    weights (there is no such simple model), and over `MOST_PHOTOS`.
    """
    recipe = run.recipe
    if not isinstance(recipe, WeightRecipe) or recipe.model.pretrained is None or recipe.model.bands != _RGB:
        return None
    paths = captures.manifest.frame["path"]
    if len(paths) > MOST_PHOTOS or any(str(path).endswith(".npy") for path in paths):
        return None
    from weft_training import rivals_photos  # scikit-learn takes a second

    split = pq.read_table(run.folder / "split.parquet").to_pandas()
    fold = dict(zip(split["capture"], split["fold"], strict=True))
    group = recipe.split.group
    photos = rivals_photos.Photos(
        captures.manifest.frame,
        np.array([fold[capture] for capture in captures.manifest.frame["capture"]], np.int64),
        captures.subjects if group is None else group_names(captures, group),
        lambda: rivals_photos.frozen_features(
            captures.manifest, recipe.model, cache=recipe.compute.cache, fingerprint=captures.fingerprint
        ),
    )
    ours, theirs = run.predictions(), rivals_photos.predict("frozen_ridge", photos)
    gap = difference_of(ours, theirs, "one.alde", relative=True)
    found = Beside(
        ours=figure_of(ours, "one.alde", resamples=0)["one.alde"],
        theirs=figure_of(theirs, "one.alde", resamples=0)["one.alde"],
        percent=gap.value,
        low=gap.low,
        high=gap.high,
    )
    run.write_json("beside.json", asdict(found) | {"sentence": found.sentence})
    return found
