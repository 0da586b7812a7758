"""What is particular to training on photos: sets of photos of one subject, frozen features, log grams."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice, repeat
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.card import SEASONS, WRAPS, Extra
from weft.cores import usable_cores
from weft_training import closed_form
from weft_training.augment import UNMOVED, Changed, PhotoChange, build_photo_change
from weft_training.data import Captures, group_names
from weft_training.kernel_regression import CENTRES, KernelRegression
from weft_training.kernel_share import FIRST, PARTS
from weft_training.photo_features import PhotoFeatures, pad_photos
from weft_training.photo_sets import PhotoSet, sets_of_subject
from weft_training.photo_shelf import PhotoShelf
from weft_training.recipe import WeightRecipe
from weft_training.step import Batch, QuantileLoss
from weft_training.weight_net import WeightNet, WeightTail, told_of
from weft_training.weight_stem import Seen, build_stem, widths_of

Rows = NDArray[np.int64]

_SOME = 512  # photos whose maps tell the usual size of each channel
_SHIELD = 0.05  # least feature spread: a feature that hardly moves in training must not explode in service
_FAMILIAR = 1500  # photos of which it is noted what they look like, where the stem must look again


class WeightTask:
    """The photos of a run, and how a net is built for, fed with and asked about them. See `fit.Task`."""

    def __init__(self, captures: Captures, recipe: WeightRecipe) -> None:
        self.captures = captures
        self.recipe = recipe
        self.shelf = PhotoShelf(captures, recipe)
        self.criterion = QuantileLoss(recipe.model.quantiles)
        self.grams = captures.manifest.frame["grams"].to_numpy(np.float32)
        self.season = _index(captures, "season", SEASONS)
        self.wrap = _index(captures, "wrap", WRAPS)
        self._change: PhotoChange = build_photo_change(recipe.augment, recipe.model.bands)
        self._frozen = recipe.model.freeze == "all"
        self._features: PhotoFeatures | None = None  # behind a frozen stem

    def prepare(self, *, quiet: bool) -> None:
        """Find the scale marks and, behind a frozen stem, compute all features; both are cached."""
        self.shelf.look(quiet=quiet)
        if not self._frozen:
            return
        # Seeded: without `pretrained` the export must come to the same random filters as the training did.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            stem = build_stem(self.recipe.model).eval()
        self._features = PhotoFeatures(stem, self.shelf, self.recipe, self._change)
        self._features.compute(quiet=quiet)

    def frozen_digest(self) -> str:
        """Of the frozen stem, which no checkpoint of the run holds; "" where all of the net is trained."""
        return "" if self._features is None else self._features.digest

    def build(self, rows: Rows, *, seed: int) -> WeightNet:
        torch.manual_seed(seed)
        model = self.recipe.model
        stem = build_stem(model).eval() if self._features is None else self._features.stem
        widths, channels = widths_of(stem, model)
        tail = WeightTail(
            features=sum(widths),
            hidden=model.hidden,
            dropout=model.dropout,
            channels=channels,
            width=model.map_width,
            members=model.members,
            pooled=model.pooled,
            centres=min(CENTRES, len(rows)) if model.kernel_share else 0,
            kernel_share=FIRST if model.kernel_share == "auto" else model.kernel_share,
            last=widths[0],
            depth=model.depth,
            placed=bool(self.shelf.scaled[rows].any()),
        )
        known = self.uses(rows)
        tail.heard.copy_(torch.tensor([float(extra in known) for extra in get_args(Extra)]))
        log_grams = torch.from_numpy(self.grams[rows]).log()
        tail.log_mean.copy_(log_grams.mean())
        tail.log_std.copy_(log_grams.std(unbiased=False).clamp(min=0.05))
        if self._features is not None:
            self._standardise(tail, rows, self._features)
        if tail.kernel is not None:
            self._fit_kernel(tail, tail.kernel, rows, widths)
        if self.recipe.model.init == "ridge":
            self._solve(tail, rows)
        return WeightNet(stem, tail)

    def trained(self, net: WeightNet) -> nn.Module:
        return net.tail if self._frozen else net

    def backbone(self, net: WeightNet) -> nn.Module | None:
        return None if self._frozen else net.stem.backbone

    @property
    def ahead(self) -> bool:
        """Photos are read and changed in every epoch, unless a frozen stem has seen them all before."""
        return not self._frozen

    def items(self, rows: Rows, rng: np.random.Generator) -> list[Rows]:
        """Every photo once, each with up to `max_photos` - 1 others of its subject."""
        members = _members(self.captures.subjects, rows)
        found: list[Rows] = []
        for lead in rng.permutation(rows):
            others = members[str(self.captures.subjects[lead])]
            others = others[others != lead]
            more = min(int(rng.integers(self.recipe.data.max_photos)), len(others))
            found.append(np.append(lead, rng.choice(others, size=more, replace=False)))
        return found

    def batch(self, items: Sequence[Rows], rng: np.random.Generator) -> Batch:
        """A training batch: random views, extras sometimes hidden, so that the net does without them too."""
        views, seeds = None, None
        if self._features is not None:
            views = [rng.integers(self._features.views, size=len(item)) for item in items]
        else:
            seeds = [rng.integers(2**31, size=len(item)) for item in items]
        hidden = self.recipe.augment.drop_extras
        shown = rng.random((3, len(items))) >= hidden  # scale, season, wrap
        # The mark's place and tilt; drawn last, so that recipes without marks draw what they always did.
        shown = np.vstack([shown, rng.random(len(items)) >= hidden])
        return self._collate(items, views=views, seeds=seeds, shown=shown)

    def clean(self, rows: Rows) -> Batch:
        """Every photo by itself, unchanged, with all that is known of it."""
        items = [rows[at : at + 1] for at in range(len(rows))]
        views = [np.zeros(1, np.int64) for _ in items]
        return self._collate(items, views=views, seeds=None, shown=np.ones((4, len(items)), bool))

    def finish(self, net: WeightNet, rows: Rows) -> None:
        """Note what photos look like to the net, now that it looks at them as it will in service."""
        some = rows[:: -(-len(rows) // _FAMILIAR)]
        net.eval()
        if self._features is not None:
            pooled = self._features.pooled[some, 0]
        else:
            with torch.inference_mode():
                parts = np.array_split(some, -(-len(some) // 64))
                pooled = torch.cat([self._look(net, part)[0].pooled[0].cpu() for part in parts])
        net.tail.familiarity.fit(pooled, self.captures.subjects[some])

    def predict(self, net: WeightNet, rows: Rows) -> pd.DataFrame:
        """One row for every set of photos that is asked about; see `photo_sets` for the modes."""
        net.eval()
        ever_marked = bool(self.shelf.scaled.any())
        parts: list[pd.DataFrame] = []
        for subject, members in _members(self.captures.subjects, rows).items():
            # Seeded by subject: whoever is held out with it, the same sets are drawn of its photos.
            rng = np.random.default_rng([self.recipe.seed, *subject.encode()])
            marked = self.shelf.scaled[members]
            asked = sets_of_subject(marked, ever_marked=ever_marked, rng=rng)
            parts.append(self._ask(net, members, asked).assign(marked=[_is_marked(s, marked) for s in asked]))
        return pd.concat(parts, ignore_index=True)

    def graph_inputs(self, rows: Rows) -> dict[str, NDArray[np.generic]]:
        """The tensors of the exported graph for the photos `rows` of one subject."""
        photos, size = pad_photos([[self.shelf.pixels(int(row)) for row in rows]])
        scale, at = self._marks(rows)
        return {
            "photos": photos.numpy(),
            "size": size.numpy(),
            "mask": np.ones((1, len(rows)), bool),
            "mm_per_pixel": scale[None].numpy(),
            "mark_at": at[None].numpy(),
            "season": self.season[rows[:1]],
            "wrap": self.wrap[rows[:1]],
        }

    def uses(self, rows: Rows | None = None) -> tuple[Extra, ...]:
        """The extras known of at least one of `rows` (all); the net does not listen to the others."""
        chosen = np.arange(len(self.captures)) if rows is None else rows
        known: dict[Extra, bool] = {
            "mm_per_pixel": bool(self.shelf.scaled[chosen].any()),
            "season": bool(self.season[chosen].any()),
            "wrap": bool(self.wrap[chosen].any()),
        }
        return tuple(extra for extra, is_known in known.items() if is_known)

    def _ask(self, net: WeightNet, members: Rows, asked: Sequence[PhotoSet]) -> pd.DataFrame:
        """Answers about sets of photos of one subject, whose rows are `members`."""
        device = next(net.tail.parameters()).device
        with torch.inference_mode():
            seen, told = self._look(net, members)  # of N = 1 subject, (1, photos, ...)
            read = net.tail.read(
                seen.maps, torch.ones(seen.pooled.shape[:2], dtype=torch.bool, device=device)
            )
            places = _ragged([list(one.places) for one in asked]).long()
            mask = _ragged([np.ones(len(one.places), bool) for one in asked])
            # The factor is one on the scale alone; a scale of 0 hides the mark with its place.
            factor = torch.ones(len(asked), 1, told.shape[-1])
            factor[:, 0, 0] = torch.tensor([one.scale_factor for one in asked])
            known = torch.tensor([[self.season[members[0]]], [self.wrap[members[0]]]]).expand(2, len(asked))
            given = (mask, told[0, places] * factor * mask[..., None], *known)
            strange = net.tail.familiarity(seen.pooled)[0].cpu()  # (photos,)
            inputs = (seen.pooled[0, places], read[:, 0][:, places], *(part.to(device) for part in given))
            output = net.tail.answer(*inputs)
            parts = _each_alone(net.tail, inputs)
        low, middle, high = (value.cpu().double().exp().numpy() for value in output)
        leads = members[places[:, 0].numpy()]
        return pd.DataFrame(
            {
                "capture": self.captures.manifest.frame["capture"].to_numpy()[leads],
                "subject": self.captures.subjects[leads],
                "mode": [one.mode for one in asked],
                "n_photos": [len(one.places) for one in asked],
                "scale_factor": [one.scale_factor for one in asked],
                "grams": self.grams[leads].astype(float),
                "predicted_grams": middle,
                "q_low_grams": low,
                "q_high_grams": high,
                **parts,
                "strangeness": (strange[places] * mask).amax(-1).double().numpy(),  # of the strangest photo
            }
        )

    def _look(self, net: WeightNet, members: Rows) -> tuple[Seen, Tensor]:
        """What the stem sees in one subject's unchanged photos and what is told of their marks, each
        (1, photos, ...)."""
        device = next(net.tail.parameters()).device
        scale, at = (part[None] for part in self._marks(members))
        if self._features is not None:
            clean = np.zeros(len(members), np.int64)
            seen = Seen(self._features.pooled[members, 0][None], self._features.maps(members, clean)[None])
            told = told_of(scale, at, self._features.size[members, 0][None])
            return Seen(*(part.to(device) for part in seen)), told
        photos, size = pad_photos([[self.shelf.pixels(int(row)) for row in members]])
        looks = [
            net.stem.look(photos[0, at : at + 16].to(device), size[0, at : at + 16].to(device))
            for at in range(0, len(members), 16)
        ]
        pooled, maps = (torch.cat(parts)[None] for parts in zip(*looks, strict=True))
        return Seen(pooled, maps), told_of(scale, at, size)

    def _marks(self, rows: Rows, moved: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Millimetres per pixel (R,) and places (R, 3) of marks, where the pixels of each photo were `moved`
        (R, 2, 3) as in `augment.Changed`."""
        scale = torch.tensor([self.shelf.mm_per_pixel(int(row)) for row in rows])
        at = torch.tensor([self.shelf.mark_at(int(row)) for row in rows])
        if moved is not None:
            place = (moved[:, :, :2] @ at[:, :2, None])[..., 0] + moved[:, :, 2]
            at = torch.cat([place, at[:, 2:]], dim=-1)
        return scale, at * (scale > 0)[:, None]

    def _collate(
        self,
        items: Sequence[Rows],
        *,
        views: Sequence[NDArray[np.int64]] | None,
        seeds: Sequence[NDArray[np.int64]] | None,
        shown: NDArray[np.bool_],
    ) -> Batch:
        """Inputs of the trained part: pixels or, behind a frozen stem, features of the given views."""
        mask = _ragged([np.ones(len(item), bool) for item in items])
        scaled, placed = torch.from_numpy(shown[[0, 3]])[..., None] * mask
        leads = np.array([item[0] for item in items])
        season = torch.from_numpy(self.season[leads] * shown[1])
        wrap = torch.from_numpy(self.wrap[leads] * shown[2])
        truth = torch.from_numpy(self.grams[leads])
        if self._features is not None:
            assert views is not None, "frozen features are asked for by view"
            rows, chosen = np.concatenate(items), np.concatenate(views)
            pooled = _spread(self._features.pooled[rows, chosen], mask)
            maps = _spread(self._features.maps(rows, chosen), mask)
            scale, at = self._marks(rows, self._features.moved[rows, chosen])
            size = self._features.size[rows, chosen]
            told = told_of(scale * scaled[mask], at * placed[mask][:, None], size)
            return Batch((pooled, maps, mask, _spread(told, mask), season, wrap), truth)
        asked = None if seeds is None else np.concatenate(seeds).tolist()
        rows = np.concatenate(items)
        made = list(self._makers.map(self._photo, rows.tolist(), asked or repeat(None)))
        scale, at = self._marks(rows, torch.from_numpy(np.stack([photo.moved for photo in made])))
        pixels = iter(photo.pixels for photo in made)
        photos, size = pad_photos([list(islice(pixels, len(item))) for item in items])
        scale, at = _spread(scale, mask) * scaled, _spread(at, mask) * placed[..., None]
        return Batch((photos, size, mask, scale, at, season, wrap), truth)

    @cached_property
    def _makers(self) -> ThreadPoolExecutor:
        """Of photos; kept, since each of its threads makes itself a chain of changes once."""
        return ThreadPoolExecutor(usable_cores(), thread_name_prefix="photos")

    def _photo(self, row: int, seed: int | None) -> Changed:
        pixels = self.shelf.pixels(row)
        return Changed(pixels, UNMOVED) if seed is None else self._change(pixels, seed)

    def _standardise(self, tail: WeightTail, rows: Rows, features: PhotoFeatures) -> None:
        seen = features.pooled[rows].flatten(0, 1)  # (rows * views, D)
        tail.feature_mean.copy_(seen.mean(0))
        tail.feature_std.copy_(seen.std(0).clamp(min=_SHIELD * float(seen.std())))
        if features.stem.levels:
            some = rows[:: max(1, len(rows) // _SOME)]
            maps = features.maps(some, np.zeros(len(some), np.int64))
            spread = maps.std((0, 2, 3), keepdim=True)[0]
            tail.map_mean.copy_(maps.mean((0, 2, 3), keepdim=True)[0])
            tail.map_std.copy_(spread.clamp(min=_SHIELD * float(maps.std())))

    def _fit_kernel(self, tail: WeightTail, kernel: KernelRegression, rows: Rows, widths: list[int]) -> None:
        assert self._features is not None, "the recipe was checked: a kernel needs a frozen stem"
        seen = tail.standardise(self._features.pooled[rows, 0])
        target = (torch.from_numpy(self.grams[rows]).log() - tail.log_mean) / tail.log_std
        # Where whole groups are held out, so they are when its strength is chosen.
        group = self.recipe.split.group
        owners = self.captures.subjects if group is None else group_names(self.captures, group)
        kernel.fit(seen, target, owners[rows], widths=widths)

    def _solve(self, tail: WeightTail, rows: Rows) -> None:
        assert self._features is not None, "the recipe was checked: ridge needs a frozen stem"
        views = self._features.views
        with torch.no_grad():
            told = [
                told_of(*self._marks(rows, self._features.moved[rows, view]), self._features.size[rows, view])
                for view in range(views)
            ]
            inputs = tail.describe(self._features.pooled[rows], torch.stack(told, dim=1))
        target = (np.log(self.grams[rows]) - float(tail.log_mean)) / float(tail.log_std)
        weight, bias = closed_form.ridge(
            inputs.flatten(0, 1).double().numpy(),
            np.repeat(target, views),
            np.repeat(self.captures.subjects[rows], views),
        )
        for member in tail.members:
            _start_from(member, torch.from_numpy(weight), torch.from_numpy(bias))


def _start_from(member: Any, weight: Tensor, bias: Tensor) -> None:
    """The solved part speaks alone at first; the rest learns what it leaves over."""
    with torch.no_grad():
        member.direct.weight.copy_(weight)
        member.direct.bias.copy_(bias)
        member.head[-1].weight[0].zero_()
        member.head[-1].bias[0].zero_()


def _each_alone(tail: WeightTail, inputs: Sequence[Any]) -> dict[str, NDArray[np.float64]]:
    """What the members and the kernel would say without each other, by `PARTS`; nothing without a kernel."""
    if tail.kernel is None:
        return {}
    said = (tail.answer(*inputs, kernel_share=share).log_grams for share in (0.0, 1.0))
    return {name: alone.cpu().double().exp().numpy() for name, alone in zip(PARTS, said, strict=True)}


def _is_marked(asked: PhotoSet, marked: NDArray[np.bool_]) -> bool:
    return asked.scale_factor > 0 and bool(marked[list(asked.places)].any())


def _spread(values: Tensor, mask: Tensor) -> Tensor:
    """Rows of the photos of all sets, one after the other -> (B, N, ...), zeros beside them."""
    whole = values.new_zeros(*mask.shape, *values.shape[1:])
    whole[mask] = values
    return whole


def _members(subjects: NDArray[np.str_], rows: Rows) -> dict[str, Rows]:
    found: dict[str, list[int]] = {}
    for row in rows:
        found.setdefault(str(subjects[row]), []).append(int(row))
    return {name: np.array(members, np.int64) for name, members in found.items()}


def _index(captures: Captures, column: str, values: tuple[str, ...]) -> NDArray[np.int64]:
    """0 where unknown, else 1 + place in `values`."""
    places = {value: 1 + place for place, value in enumerate(values)}
    return np.array([places.get(value, 0) for value in captures.column(column)], np.int64)


def _ragged(parts: Sequence[object]) -> Tensor:
    """Rows of unlike length, filled up with 0."""
    return nn.utils.rnn.pad_sequence([torch.as_tensor(part) for part in parts], batch_first=True)
