"""What is particular to training on photos: sets of photos of one subject, frozen features, log grams."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from weft.card import SEASONS, WRAPS, Extra
from weft_training import closed_form
from weft_training.augment import PhotoChange, build_photo_change
from weft_training.backbones import build_backbone, freeze_stages
from weft_training.data import Captures
from weft_training.photo_shelf import PhotoShelf, Pixels
from weft_training.recipe import WeightModel, WeightRecipe
from weft_training.step import Batch, QuantileLoss
from weft_training.weight_net import WeightNet, WeightOutput, WeightStem, WeightTail

Rows = NDArray[np.int64]

_SHIELD = 0.05  # least feature spread: a feature that hardly moves in training must not explode in service


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
        self._stem: WeightStem | None = None
        self._features = torch.empty(
            0
        )  # (rows, 1 + views, D) behind a frozen stem; view 0 is the clean photo
        self._longest = torch.empty(0)  # (rows, 1 + views) longer side in pixels

    def prepare(self, *, quiet: bool) -> None:
        """Find the scale marks and, behind a frozen stem, compute all features; both are cached."""
        self.shelf.look(quiet=quiet)
        if not self._frozen:
            return
        # Seeded: without `pretrained` the export must come to the same random filters as the training did.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            self._stem = build_stem(self.recipe.model).eval()
        folder = self.recipe.compute.cache / f"features-{self._settings_key(self._stem)}"
        folder.mkdir(parents=True, exist_ok=True)
        found = [
            self._seen(row, folder / f"{self.shelf.digests[row]}.npz", self._stem)
            for row in tqdm(range(len(self.shelf)), desc="features", unit="photo", disable=quiet or None)
        ]
        self._features = torch.stack([features for features, _ in found])
        self._longest = torch.stack([longest for _, longest in found])

    def frozen_digest(self) -> str:
        """Of the frozen stem, which no checkpoint of the run holds; "" where all of the net is trained."""
        return "" if self._stem is None else _hashed(self._stem).hexdigest()

    def build(self, rows: Rows, *, seed: int) -> WeightNet:
        torch.manual_seed(seed)
        stem = self._stem if self._stem is not None else build_stem(self.recipe.model).eval()
        features = _width(stem, self.recipe.model)
        tail = WeightTail(
            features=features, hidden=self.recipe.model.hidden, dropout=self.recipe.model.dropout
        )
        known = self.uses(rows)
        tail.heard.copy_(torch.tensor([float(extra in known) for extra in get_args(Extra)]))
        log_grams = torch.from_numpy(self.grams[rows]).log()
        tail.log_mean.copy_(log_grams.mean())
        tail.log_std.copy_(log_grams.std(unbiased=False).clamp(min=0.05))
        if self._frozen:
            seen = self._features[rows].flatten(0, 1)  # (rows * views, D)
            tail.feature_mean.copy_(seen.mean(0))
            tail.feature_std.copy_(seen.std(0).clamp(min=_SHIELD * float(seen.std())))
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
        views = (
            [rng.integers(self._features.shape[1], size=len(item)) for item in items]
            if self._frozen
            else None
        )
        seeds = [rng.integers(2**31, size=len(item)) for item in items] if not self._frozen else None
        shown = rng.random((3, len(items))) >= self.recipe.augment.drop_extras  # scale, season, wrap
        return self._collate(items, views=views, seeds=seeds, shown=shown)

    def clean(self, rows: Rows) -> Batch:
        """Every photo by itself, unchanged, with all that is known of it."""
        items = [rows[at : at + 1] for at in range(len(rows))]
        views = [np.zeros(1, np.int64) for _ in items]
        return self._collate(items, views=views, seeds=None, shown=np.ones((3, len(items)), bool))

    def predict(self, net: WeightNet, rows: Rows) -> pd.DataFrame:
        """Every photo by itself (mode "one") and all photos of a subject together ("all")."""
        members = _members(self.captures.subjects, rows)
        several = [item for item in members.values() if len(item) > 1]
        modes = ["one"] * len(rows) + ["all"] * len(several)
        items = [rows[at : at + 1] for at in range(len(rows))] + several
        outputs = [self._ask(net, items[at : at + 16]) for at in range(0, len(items), 16)]
        low, middle, high = (torch.cat(parts).exp().numpy() for parts in zip(*outputs, strict=True))
        leads = np.array([item[0] for item in items])
        frame = self.captures.manifest.frame
        return pd.DataFrame(
            {
                "capture": frame["capture"].to_numpy()[leads],
                "subject": self.captures.subjects[leads],
                "mode": modes,
                "n_photos": [len(item) for item in items],
                "grams": self.grams[leads].astype(float),
                "predicted_grams": middle.astype(float),
                "q_low_grams": low.astype(float),
                "q_high_grams": high.astype(float),
            }
        )

    def graph_inputs(self, rows: Rows) -> dict[str, NDArray[np.generic]]:
        """The tensors of the exported graph for the photos `rows` of one subject."""
        photos, size = _pad([[self.shelf.pixels(int(row)) for row in rows]])
        scale = np.array([[self.shelf.mm_per_pixel(int(row)) for row in rows]], np.float32)
        return {
            "photos": photos.numpy(),
            "size": size.numpy(),
            "mask": np.ones((1, len(rows)), bool),
            "mm_per_pixel": scale,
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

    def _ask(self, net: WeightNet, items: Sequence[Rows]) -> WeightOutput:
        module = self.trained(net).eval()
        device = next(module.parameters()).device
        views = [np.zeros(len(item), np.int64) for item in items]
        inputs = self._collate(items, views=views, seeds=None, shown=np.ones((3, len(items)), bool)).inputs
        with torch.inference_mode():
            return WeightOutput(*(value.cpu() for value in module(*(part.to(device) for part in inputs))))

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
        scale = _ragged([[self.shelf.mm_per_pixel(int(row)) for row in item] for item in items]).float()
        scale = scale * torch.from_numpy(shown[0])[:, None]
        leads = np.array([item[0] for item in items])
        season = torch.from_numpy(self.season[leads] * shown[1])
        wrap = torch.from_numpy(self.wrap[leads] * shown[2])
        truth = torch.from_numpy(self.grams[leads])
        if self._frozen:
            assert views is not None, "frozen features are asked for by view"
            pairs = zip(items, views, strict=True)
            features = nn.utils.rnn.pad_sequence(
                [self._features[item, view] for item, view in pairs], batch_first=True
            )
            longest = _ragged([self._longest[item, view] for item, view in zip(items, views, strict=True)])
            return Batch((features, mask, scale * longest, season, wrap), truth)
        photos, size = _pad(
            [
                [
                    self._photo(int(row), None if seeds is None else int(seeds[at][place]))
                    for place, row in enumerate(item)
                ]
                for at, item in enumerate(items)
            ]
        )
        return Batch((photos, size, mask, scale, season, wrap), truth)

    def _photo(self, row: int, seed: int | None) -> Pixels:
        pixels = self.shelf.pixels(row)
        return pixels if seed is None else self._change(pixels, seed)

    def _seen(self, row: int, file: Path, stem: WeightStem) -> tuple[Tensor, Tensor]:
        """Features (1 + views, D) and longer sides (1 + views,) of one photo, kept in `file`."""
        if file.is_file():
            with np.load(file) as kept:
                return torch.from_numpy(kept["features"]), torch.from_numpy(kept["longest"])
        pixels = self.shelf.pixels(row)
        # Seeded by content: the views of a photo are the same in every run and on every machine.
        seed = int(self.shelf.digests[row][:8], 16) % 2**31
        changed = [self._change(pixels, seed + view) for view in range(self.recipe.augment.views)]
        photos, size = _pad([[pixels, *changed]])
        with torch.inference_mode():
            features = stem(photos, size)[0].float()
        longest = size[0].amax(-1).float()
        beside = file.with_suffix(f".{os.getpid()}")
        with beside.open("wb") as out:
            np.savez(out, features=features.numpy(), longest=longest.numpy())
        beside.replace(file)
        return features.clone(), longest

    def _settings_key(self, stem: WeightStem) -> str:
        digest = _hashed(stem)
        settings = [
            self.recipe.model.input_px,
            self.recipe.model.bands,
            self.recipe.data.decode_px,
            self.recipe.augment.model_dump(exclude={"drop_extras"}),
        ]
        digest.update(json.dumps(settings, sort_keys=True).encode())
        return digest.hexdigest()[:16]

    def _solve(self, tail: WeightTail, rows: Rows) -> None:
        views = self._features.shape[1]
        scale = torch.tensor([self.shelf.mm_per_pixel(int(row)) for row in rows])[:, None]
        with torch.no_grad():
            inputs = tail.describe(self._features[rows], scale * self._longest[rows]).flatten(0, 1)
        target = (np.log(self.grams[rows]) - float(tail.log_mean)) / float(tail.log_std)
        weight, bias = closed_form.ridge(
            inputs.double().numpy(), np.repeat(target, views), np.repeat(self.captures.subjects[rows], views)
        )
        with torch.no_grad():
            tail.direct.weight.copy_(torch.from_numpy(weight))
            tail.direct.bias.copy_(torch.from_numpy(bias))
            last = tail.head[-1]
            assert isinstance(last, nn.Linear)
            # The solved part speaks alone at first; the rest learns what it leaves over.
            last.weight[0].zero_()
            last.bias[0].zero_()


def build_stem(model: WeightModel) -> WeightStem:
    backbone = build_backbone(
        model.backbone,
        pretrained=model.pretrained,
        pretrained_classes=model.pretrained_classes,
        pad_type=model.pad_type,
        bands=model.bands,
    )
    if model.freeze == "all":
        backbone.requires_grad_(False)
    elif model.freeze != "none":
        freeze_stages(backbone, model.freeze)
    mean, std = _scaling(model)
    return WeightStem(backbone, input_px=model.input_px, mean=mean, std=std)


def _hashed(stem: WeightStem) -> "hashlib._Hash":
    digest = hashlib.sha256()
    for name, value in sorted(stem.state_dict().items()):
        digest.update(name.encode() + value.numpy().tobytes())
    return digest


def _scaling(model: WeightModel) -> tuple[list[float], list[float]]:
    """Mean and deviation of each band, in 0..255; bands that ImageNet lacks take the mean of its three."""
    if model.scaling == "unit":
        return [127.5] * len(model.bands), [127.5] * len(model.bands)
    means = {"red": 123.675, "green": 116.28, "blue": 103.53}
    stds = {"red": 58.395, "green": 57.12, "blue": 57.375}
    return [means.get(band, 114.495) for band in model.bands], [stds.get(band, 57.63) for band in model.bands]


def _width(stem: WeightStem, model: WeightModel) -> int:
    side = model.input_px
    with torch.inference_mode():
        return int(stem.backbone(torch.zeros(1, len(model.bands), side, side)).shape[-1])


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


def _pad(photos: Sequence[Sequence[Pixels]]) -> tuple[Tensor, Tensor]:
    """(B, N, C, H, W) uint8 padded at the bottom and right, and (B, N, 2) rows and columns."""
    count = max(len(item) for item in photos)
    height = max(photo.shape[0] for item in photos for photo in item)
    width = max(photo.shape[1] for item in photos for photo in item)
    bands = photos[0][0].shape[2]
    pixels = torch.zeros(len(photos), count, bands, height, width, dtype=torch.uint8)
    size = torch.ones(len(photos), count, 2, dtype=torch.int64)
    for at, item in enumerate(photos):
        for place, photo in enumerate(item):
            rows, columns = photo.shape[:2]
            pixels[at, place, :, :rows, :columns] = torch.from_numpy(photo).permute(2, 0, 1)
            size[at, place] = torch.tensor([rows, columns])
    return pixels, size
