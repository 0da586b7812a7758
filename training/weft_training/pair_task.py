"""What is particular to training on spectra with a photo of the same swatch beside some of them.

The photo's head is fitted once, and what it may add is chosen on swatches left out of scan and photo alike,
inside the rows that a net is fitted on: the swatch that a fold predicts is in neither.
"""

from dataclasses import replace
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from torch import Tensor

from weft.errors import ManifestError
from weft_datasets.columns import some
from weft_datasets.splits import folds_by_subject
from weft_training.augment import build_photo_change
from weft_training.data import Captures
from weft_training.fibre_task import FibreTask, Rows
from weft_training.pair_recipe import PhotoBeside
from weft_training.photo_beside_scan import PairNet, PairTail, PhotoHead
from weft_training.photo_features import PhotoFeatures, pad_photos
from weft_training.photo_shelf import PhotoShelf
from weft_training.recipe import FibreRecipe, PhotoAugment, PhotoData, WeightModel, WeightRecipe
from weft_training.weight_stem import build_stem

TRUSTS: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # how many times a photo's evidence of -1..1 counts
_CLEAR: Final = 2.0  # standard errors by which a trust must beat none: chance does so once in forty times
_INNER_FOLDS: Final = 10
_STRENGTH: Final = 1.0  # of the ridge, times the features: a photo counts about as much as no photo
_SHIELD: Final = 0.05  # least feature spread, against the mean one
_BANDS: Final = ("red", "green", "blue")
_NO_PIXELS: Final = np.zeros((1, 3, 8, 8), np.uint8)


class Trial(NamedTuple):
    """Swatches left out, S scans of them: what scan and photo said, and the truth."""

    scan: Tensor  # (S, F) logits
    photo: Tensor  # (S, F) -1..1
    truth: Tensor  # (S, F) shares
    subjects: NDArray[np.str_]  # (S,)


class PairTask(FibreTask):
    """See `fit.Task`."""

    def __init__(self, captures: Captures, recipe: FibreRecipe) -> None:
        super().__init__(captures, recipe)
        assert recipe.model.photo is not None, "the recipe has such a section"
        self.settings: PhotoBeside = recipe.model.photo
        paths: pd.Series = captures.column("photo_path")
        given = np.asarray(paths.notna(), bool)
        if not given.any():
            raise ManifestError(
                f"model.photo: manifest '{captures.manifest.name}' names no photo; fill in its column "
                f"`photo_path`, or leave model.photo out"
            )
        names, places = np.unique(paths[given].to_numpy(str), return_inverse=True)
        self.photo_of = np.full(len(captures), -1)  # (rows,) place among the photos, -1 none
        self.photo_of[given] = places
        like_weighing = _photo_recipe(recipe, self.settings)
        self.shelf = PhotoShelf(_photographed(captures, names, self.photo_of), like_weighing)
        change = build_photo_change(like_weighing.augment, _BANDS)
        with torch.random.fork_rng(devices=[]):  # as in `weight_task`: the same filters at every export
            torch.manual_seed(recipe.seed)
            stem = build_stem(like_weighing.model).eval()
        self._features = PhotoFeatures(stem, self.shelf, like_weighing, change)

    @cached_property
    def has_photo(self) -> NDArray[np.bool_]:
        """(rows,)"""
        return self.photo_of >= 0

    def prepare(self, *, quiet: bool) -> None:
        """Resample every scan, look at every photo."""
        super().prepare(quiet=quiet)
        self.shelf.look(quiet=True)
        self._check_one_subject_a_photo()
        self._features.compute(quiet=quiet)

    def frozen_digest(self) -> str:
        return self._features.digest

    def build(self, rows: Rows, *, seed: int) -> Any:  # another net than a scan's alone
        tail = super().build(rows, seed=seed).tail
        head = self.fitted_head(rows)
        trial = self._left_out(rows)
        if trial is not None:
            head.trust.fill_(choose_trust(trial))
            head.trust_alone.fill_(choose_trust(trial._replace(scan=torch.zeros_like(trial.scan))))
        return PairNet(self._features.stem, PairTail(tail, head), grid_nm=self.grid_nm)

    def fitted_head(self, rows: Rows) -> PhotoHead:
        """The photo's ridge regression on the photographed swatches of `rows`; zeros where it has nothing to
        tell apart."""
        views = self._features.views
        head = PhotoHead(features=self._features.pooled.shape[-1], fibres=len(self.recipe.data.fibres))
        photos = self._known_photos(rows)
        kinds, kind = np.unique(self.shares[photos, :-1].argmax(-1).numpy(), return_inverse=True)
        if len(kinds) < 2:
            return head
        seen = self._features.pooled[self.photo_of[photos]].flatten(0, 1).double()  # (photos * views, D)
        head.feature_mean.copy_(seen.mean(0))
        spread = seen.std(0, unbiased=False)
        head.feature_std.copy_(spread.clamp(min=max(1e-6, _SHIELD * float(spread.mean()))))
        truth = self.shares[photos, :-1]
        target = (truth - 1 / truth.shape[-1]).double().numpy().repeat(views, axis=0)
        # Every fibre the same weight, however many of its swatches were photographed.
        weight = (len(kind) / len(kinds) / np.bincount(kind)[kind] / views).repeat(views)
        inputs = ((seen - head.feature_mean) / head.feature_std).numpy()
        solved = Ridge(alpha=_STRENGTH * inputs.shape[1]).fit(inputs, target, sample_weight=weight)
        never = truth.sum(0).numpy() == 0  # of a fibre without a photo nothing is said, for or against
        with torch.no_grad():
            head.score.weight.copy_(torch.from_numpy(np.where(never[:, None], 0.0, solved.coef_)))
            head.score.bias.copy_(torch.from_numpy(np.where(never, 0.0, solved.intercept_)))
        return head

    def trained(self, net: Any) -> PairTail:
        return net.tail

    def predict(self, net: Any, rows: Rows) -> pd.DataFrame:
        """One row a scan: the answer to all that there is of it, to the scan alone and to the photo alone."""
        tail = net.tail.eval().cpu()
        has_photo = torch.from_numpy(self.has_photo[rows])
        yes = torch.ones(1, dtype=torch.bool)
        absorbance, seen = self._absorbance[rows], self._features.pooled[self.photo_of[rows], 0]
        with torch.inference_mode():
            found = tail(absorbance, seen, yes, has_photo)
            alone = {"scan": tail(absorbance, seen, yes, ~yes), "photo": tail(absorbance, seen, ~yes, yes)}
            says = tail.photo(seen).double().masked_fill(~has_photo[:, None], torch.nan)
        frame = self.table(rows, found).assign(has_photo=has_photo.numpy())
        for place, fibre in enumerate(self.recipe.data.fibres):
            frame[f"photo_says_{fibre}"] = says[:, place].numpy()  # evidence, before any trust
        for given, said in alone.items():
            hidden = ~has_photo & (given == "photo")
            for place, fibre in enumerate(self.recipe.data.fibres):
                share = said.shares[:, place].double().masked_fill(hidden, torch.nan)
                frame[f"by_{given}_{fibre}_share"] = share.numpy()
            unknown = said.unknown.double().masked_fill(hidden, torch.nan)
            frame[f"by_{given}_unknown"] = unknown.numpy()
        return frame

    def graph_inputs(self, rows: Rows) -> dict[str, NDArray[np.generic]]:
        row = int(rows[0])
        photo = {"photos": _NO_PIXELS, "size": np.array([[8, 8]])}
        if self.has_photo[row]:
            pixels, size = pad_photos([[self.shelf.pixels(int(self.photo_of[row]))]])
            photo = {"photos": pixels[0].numpy(), "size": size[0].numpy()}
        given = {"has_scan": np.ones(1, bool), "has_photo": self.has_photo[row : row + 1]}
        return super().graph_inputs(rows) | photo | given

    def _known_photos(self, rows: Rows) -> Rows:
        """One of `rows` for every photo of a known fibre among them."""
        known = rows[self.has_photo[rows] & (self.shares[rows, -1] < 0.5).numpy()]
        return known[np.unique(self.photo_of[known], return_index=True)[1]]

    def _left_out(self, rows: Rows) -> Trial | None:
        """Photographed swatches of `rows`, each asked of a scan's tail and a photo's head that have seen
        neither; None where there are too few to leave one out."""
        known = rows[self.has_photo[rows] & (self.shares[rows, -1] < 0.5).numpy()]
        subjects = self.captures.subjects[known]
        count = len(set(subjects.tolist()))
        if count < 3:
            return None
        fold = folds_by_subject(subjects.tolist(), folds=min(count, _INNER_FOLDS), seed=0)
        order, scan, photo = [], [], []
        for number in np.unique(fold):
            out = known[fold == number]
            kept = rows[~np.isin(self.captures.subjects[rows], self.captures.subjects[out])]
            with torch.inference_mode():
                scan.append(self.fitted(kept).eval().evidence(self._absorbance[out])[0])
                photo.append(self.fitted_head(kept)(self._features.pooled[self.photo_of[out], 0]))
            order.append(out)
        found = np.concatenate(order)
        return Trial(
            torch.cat(scan), torch.cat(photo), self.shares[found, :-1], self.captures.subjects[found]
        )

    def _check_one_subject_a_photo(self) -> None:
        """Raise ManifestError where one photo stands beside two swatches: a split would cut it."""
        owner: dict[str, str] = {}
        for photo, digest in enumerate(self.shelf.digests):
            subjects: list[str] = sorted(set(self.captures.subjects[self.photo_of == photo].tolist()))
            owner.setdefault(digest, subjects[0])
            if set(subjects) != {owner[digest]}:
                several = some(sorted({owner[digest], *subjects}))
                raise ManifestError(
                    f"manifest '{self.captures.manifest.name}': the same photo stands beside {several}; a "
                    f"photo belongs to one swatch, else a split cuts it"
                )


def choose_trust(trial: Trial) -> float:
    """How many times a photo's evidence counts: what makes left-out swatches likeliest, if clearly; else 0.

    One vote a swatch and the same weight for every fibre: eleven swatches of polyester and two of cotton
    would else reward a photo that says polyester of everything.
    """
    names, code = np.unique(trial.subjects, return_inverse=True)
    loss = np.stack([_per_subject(trial, trust, code) for trust in TRUSTS])  # (trusts, swatches)
    kind = np.array([int(trial.truth[code == place][0].argmax()) for place in range(len(names))])
    kinds, place = np.unique(kind, return_inverse=True)
    weight = 1 / np.bincount(place)[place] / len(kinds)  # sum 1
    best = int((loss @ weight).argmin())
    gain = loss[0] - loss[best]
    mean = float(gain @ weight)
    error = float(np.sqrt((weight**2 * (gain - mean) ** 2).sum()))
    return TRUSTS[best] if mean > _CLEAR * error else 0.0


def _per_subject(trial: Trial, trust: float, code: NDArray[np.int64]) -> NDArray[np.float64]:
    """(swatches,) mean cross-entropy of their scans."""
    said = F.log_softmax((trial.scan + trust * trial.photo).double(), dim=-1)
    loss = -(trial.truth.double() * said).sum(-1).numpy()
    return np.bincount(code, loss) / np.bincount(code)


def _photographed(captures: Captures, names: NDArray[np.str_], photo_of: Rows) -> Captures:
    """The photos as captures of their own, in the order of `names`."""
    manifest = captures.manifest
    first = [int(np.flatnonzero(photo_of == place)[0]) for place in range(len(names))]
    frame = manifest.frame.iloc[first].reset_index(drop=True).assign(path=names, kind="photo")
    frame = frame.drop(columns=["mark", "mark_mm"], errors="ignore")
    return replace(captures, manifest=replace(manifest, frame=frame))


def _photo_recipe(recipe: FibreRecipe, settings: PhotoBeside) -> WeightRecipe:
    """What a weight recipe behind a frozen backbone says: photos are decoded, changed and looked at by it."""
    return WeightRecipe(
        task="weight",
        seed=recipe.seed,
        name=recipe.name,
        data=PhotoData(manifest=recipe.data.manifest or recipe.compute.cache, decode_px=settings.decode_px),
        model=WeightModel(
            **settings.model_dump(exclude={"decode_px", "views"}), freeze="all", init="ridge", bands=_BANDS
        ),
        augment=PhotoAugment(views=settings.views),
        optim=recipe.optim,
        compute=recipe.compute,
        export=recipe.export,
    )
