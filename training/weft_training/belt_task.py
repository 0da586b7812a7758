"""What is particular to training on a belt: many pixels of one garment, and one vote for all of them.

Rows are captures: garments with their pixels, or spectra that stand for a garment's one pixel. A garment's
predictions are votes by the very code that serves (`weft.line.reader.ballot`), so that the margins calibrated
on them are margins of votes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.card import VoteCard
from weft.errors import ManifestError
from weft.line.reader import Ballot, ballot
from weft_datasets.belt.samples import STEP
from weft_training.belt_net import BeltNet, log_light
from weft_training.belt_recipe import BeltAugment, BeltVote
from weft_training.data import Captures, target_shares
from weft_training.fibre_net import FibreOutput
from weft_training.own_net import OwnNet, Rows
from weft_training.recipe import BeltRecipe
from weft_training.step import Batch, ShareLoss

Floats = NDArray[np.float32]

THRESHOLD = 0.5  # of a pixel's `unknown`, and of a garment's
_COMPONENTS_FROM = 60_000  # pixels are enough to find the components of
_AT_ONCE = 65_536  # pixels
_LN10 = 2.302585  # of absorbance, in which recipes are written, to ln(reflectance)


class Pixels(NamedTuple):
    """All pixels of a run. The pixels of capture r are `first[r]` to `first[r + 1]`."""

    reflectance: NDArray[np.uint16]  # (P, L) in steps of `STEP`
    truth: Floats  # (P, F + 1) unknown last
    first: NDArray[np.int64]  # (rows + 1,)


class BeltLoss:
    """Loss of pixels, and of each garment's mean pixel: the vote is to be right, not the average pixel."""

    def __init__(self, *, pixels: int, garment: float) -> None:
        self.pixels = pixels
        self.garment = garment
        self._of_pixels = ShareLoss()

    def __call__(self, output: FibreOutput, truth: Tensor) -> Tensor:
        loss = self._of_pixels(output, truth)
        if self.garment == 0:
            return loss
        known = (truth[:, -1] < 0.5).float().view(-1, self.pixels, 1)
        heard = known.sum(1).clamp(min=1)  # (G, 1)
        said = (output.shares.view(-1, self.pixels, output.shares.shape[-1]) * known).sum(1) / heard
        meant = (truth[:, :-1].view(-1, self.pixels, truth.shape[-1] - 1) * known).sum(1) / heard
        textile = known.any(1).float()  # (G, 1)
        miss = -(meant * said.clamp(min=1e-6).log()).sum(-1, keepdim=True) * textile
        return loss + self.garment * miss.sum() / textile.sum().clamp(min=1)


class BeltTask(OwnNet):
    """The garments of a run, and how a net is built for, fed with and asked about them. See `fit.Task`."""

    def __init__(self, captures: Captures, recipe: BeltRecipe) -> None:
        self.captures = captures
        self.recipe = recipe
        self.criterion = BeltLoss(pixels=recipe.augment.pixels, garment=recipe.augment.garment_loss)
        self.shares = target_shares(captures, recipe)  # (rows, F + 1)
        self.wavelength_nm = recipe.model.camera.wavelengths()
        self.pixels = Pixels(np.empty((0, 0), np.uint16), np.empty((0, 0), np.float32), np.zeros(1, np.int64))

    def prepare(self, *, quiet: bool) -> None:
        """Read the pixels of every capture."""
        del quiet
        self.pixels = read_pixels(self.captures, self.shares, self.recipe)

    def frozen_digest(self) -> str:
        """Nothing of this net comes from outside the run."""
        return ""

    def build(self, rows: Rows, *, seed: int) -> BeltNet:
        torch.manual_seed(seed)
        model = self.recipe.model
        net = BeltNet(
            bands=len(self.wavelength_nm),
            components=min(model.components, len(self.wavelength_nm) - 1),
            hidden=model.hidden,
            fibres=len(self.recipe.data.fibres),
            dropout=model.dropout,
        )
        places = self._places(rows)
        if len(places) > _COMPONENTS_FROM:
            places = np.random.default_rng(seed).choice(places, _COMPONENTS_FROM, replace=False)
        net.fit_components(self._logs(np.sort(places)), noise_floor=model.noise_floor)
        return net

    def trained(self, net: BeltNet) -> nn.Module:
        return net

    def batch(self, items: Sequence[Rows], rng: np.random.Generator) -> Batch:
        """`augment.pixels` of each garment, garment by garment."""
        rows, settings = np.concatenate(items), self.recipe.augment
        first, count = self.pixels.first[rows], np.diff(self.pixels.first)[rows]
        chosen = first[:, None] + (rng.random((len(rows), settings.pixels)) * count[:, None]).astype(np.int64)
        places = chosen.ravel()
        seen, truth = self._reflectance(places), self.pixels.truth[places].copy()
        _pool(seen, truth, rng, settings)
        logs = log_light(torch.from_numpy(seen))
        changed = _changed(logs, rng, settings, step_nm=self.wavelength_nm[1] - self.wavelength_nm[0])
        return Batch((changed,), torch.from_numpy(truth))

    def clean(self, rows: Rows) -> Batch:
        """Of each garment as many pixels as in training, evenly spaced and unchanged."""
        first, last = self.pixels.first[rows], self.pixels.first[rows + 1] - 1
        places = np.linspace(first, last, self.recipe.augment.pixels, axis=1).astype(np.int64).ravel()
        return Batch((self._logs(places),), torch.from_numpy(self.pixels.truth[places]))

    def finish(self, net: BeltNet, rows: Rows) -> None:
        """All that a pixel is compared with was there before the training."""
        del net, rows

    def predict(self, net: BeltNet, rows: Rows) -> pd.DataFrame:
        """The vote of every capture, one row each."""
        module = net.eval()
        device = next(module.parameters()).device
        rules = vote_rules(self.recipe.vote)
        votes: list[Ballot] = []
        for part in np.array_split(rows, max(1, len(rows) * self._most() // _AT_ONCE)):
            if not len(part):
                continue
            with torch.inference_mode():
                found = FibreOutput(*(out.cpu() for out in module(self._logs(self._places(part)).to(device))))
            ends = np.cumsum(np.diff(self.pixels.first)[part])[:-1]
            shares, unknown = np.split(found.shares.numpy(), ends), np.split(found.unknown.numpy(), ends)
            votes += [
                ballot(one, strange, rules=_for(rules, len(one)), threshold=THRESHOLD)
                for one, strange in zip(shares, unknown, strict=True)
            ]
        return self._table(rows, votes)

    def _table(self, rows: Rows, votes: Sequence[Ballot]) -> pd.DataFrame:
        columns: dict[str, object] = {
            "capture": self.captures.manifest.frame["capture"].to_numpy()[rows],
            "subject": self.captures.subjects[rows],
        }
        fibres = self.recipe.data.fibres
        # A garment of which nothing could be read is as likely this as that.
        said = np.array(
            [vote.shares if vote.voted else np.full(len(fibres), 1 / len(fibres)) for vote in votes]
        )
        for index, fibre in enumerate(fibres):
            columns[f"{fibre}_share"] = self.shares[rows, index]
            columns[f"predicted_{fibre}_share"] = said[:, index]
        columns["unknown_truth"] = self.shares[rows, -1]
        columns["predicted_unknown"] = [vote.unknown for vote in votes]
        if "mixed" in self.captures.manifest.frame:
            columns["mixed_truth"] = self.captures.column("mixed").to_numpy(float)[rows]
        columns["predicted_mixed"] = [float(vote.mixed) for vote in votes]
        columns["scatter"] = [vote.scatter for vote in votes]
        columns["voted"] = [vote.voted for vote in votes]
        return pd.DataFrame(columns)

    def graph_inputs(self, rows: Rows) -> dict[str, NDArray[np.generic]]:
        """The pixels of the first capture of `rows`."""
        return {"reflectance": self._reflectance(self._places(rows[:1]))}

    def _most(self) -> int:
        return int(np.diff(self.pixels.first).max())

    def _places(self, rows: Rows) -> Rows:
        first = self.pixels.first
        return np.concatenate([np.arange(first[row], first[row + 1]) for row in rows])

    def _reflectance(self, places: Rows) -> Floats:
        return self.pixels.reflectance[places] * np.float32(STEP)

    def _logs(self, places: Rows) -> Tensor:
        return log_light(torch.from_numpy(self._reflectance(places)))


def vote_rules(settings: BeltVote) -> VoteCard:
    """The recipe's rules, without margins."""
    return VoteCard(
        fewest_pixels=settings.fewest_pixels,
        stray_distance=settings.stray_distance,
        part_distance=settings.part_distance,
        part_separation=settings.part_separation,
        part_share=settings.part_share,
    )


def read_pixels(captures: Captures, shares: NDArray[np.float64], recipe: BeltRecipe) -> Pixels:
    """The pixels behind every capture; a spectrum without a file of pixels is a garment's only one.

    Args:
        shares: (rows, F + 1) of the captures, unknown last.

    Raises:
        ManifestError: A file of pixels is none, is of other bands than the recipe's camera, or lacks those of
            a capture.
    """
    need = np.array(recipe.model.camera.wavelengths())
    frame = captures.manifest.frame
    _check_bands(captures, need)
    if "path" not in frame or frame["path"].isna().all():
        absorbance = np.stack([np.asarray(row, np.float32) for row in frame["absorbance"]])
        return Pixels(
            np.clip(np.rint(10.0**-absorbance / STEP), 0, 65_535).astype(np.uint16),
            shares.astype(np.float32),
            np.arange(len(frame) + 1),
        )
    names = frame["path"].unique().tolist()
    if len(names) != 1 or names[0] is None:
        raise ManifestError(
            f"manifest '{captures.manifest.name}' names {len(names)} files of pixels; needed one for all "
            "garments, as the belt's simulator writes it"
        )
    stored = _stored(captures.manifest.file(names[0]), bands=len(need))
    number = frame["pixel_row"].to_numpy(np.int64)
    place = np.full(max(int(stored["piece"].max(initial=0)), int(number.max())) + 1, -1)
    place[number] = np.arange(len(frame))
    row = place[stored["piece"]]  # (all pixels,) -1 where the capture was filtered out
    kept = np.flatnonzero(row >= 0)
    kept = kept[np.argsort(row[kept], kind="stable")]
    first = np.searchsorted(row[kept], np.arange(len(frame) + 1))
    if (np.diff(first) == 0).any():
        bare = frame["capture"].iloc[int(np.diff(first).argmin())]
        raise ManifestError(
            f"manifest '{captures.manifest.name}': capture {bare} has no pixel in {names[0]}; leave it "
            "out with data.exclude_subjects, or write its pixels"
        )
    by_fibre = stored["shares"].astype(np.float32)[kept]
    truth = _truth_of_pixels(by_fibre, stored["fibres"].tolist(), recipe)
    return Pixels(stored["reflectance"][kept], truth, first)


def _stored(path: Path, *, bands: int) -> dict[str, NDArray[Any]]:
    """The arrays of a file of pixels; ManifestError where it is none, or of another number of bands."""
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in ("reflectance", "shares", "fibres", "piece")}
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise ManifestError(
            f"{path}: no file of pixels ({error}); write it as weft_datasets.belt.samples does, with "
            "reflectance, shares, fibres and piece"
        ) from error
    got = found["reflectance"].shape
    if len(got) != 2 or got[1] != bands:
        raise ManifestError(
            f"{path}: reflectance has the shape {got}, model.camera has {bands} bands; needed (pixels, "
            f"{bands})"
        )
    return found


def _truth_of_pixels(by_fibre: NDArray[np.float32], names: list[str], recipe: BeltRecipe) -> Floats:
    """(P, F + 1) by the recipe's fibres from shares by the file's; what is none of them is unknown."""
    fibres = recipe.data.fibres
    truth = np.zeros((len(by_fibre), len(fibres) + 1), np.float32)
    for column, name in enumerate(names):
        if name in fibres:
            truth[:, fibres.index(name)] += by_fibre[:, column]
    if recipe.data.others == "drop":
        # Whole garments were dropped before; a trace that was overlooked is spread over the rest.
        truth[:, -1] = by_fibre.sum(1) < 0.5
        known = truth[:, :-1].sum(1, keepdims=True)
        truth[:, :-1] /= np.where(known > 0, known, 1)
    else:
        truth[:, -1] = np.clip(1 - truth[:, :-1].sum(1), 0, 1)  # stored to three digits: not below 0
    return truth


def _check_bands(captures: Captures, need: NDArray[np.float64]) -> None:
    for number, wavelength in enumerate(captures.manifest.frame["wavelength_nm"]):
        got = np.asarray(wavelength, np.float64)
        if len(got) != len(need) or np.abs(got - need).max() > 0.25 * (need[1] - need[0]):
            raise ManifestError(
                f"manifest '{captures.manifest.name}': capture "
                f"{captures.manifest.frame['capture'].iloc[number]} has {len(got)} bands, "
                f"{got[0]:g}-{got[-1]:g} nm; model.camera has {len(need)}, {need[0]:g}-{need[-1]:g} nm: "
                "a belt bundle reads one camera's own bands"
            )


def _for(rules: VoteCard, pixels: int) -> VoteCard:
    """A spectrum that stands for a garment votes alone."""
    return rules if pixels >= rules.fewest_pixels else rules.model_copy(update={"fewest_pixels": 1})


def _pool(seen: Floats, truth: Floats, rng: np.random.Generator, settings: BeltAugment) -> None:
    """Replace part of the pixels by means with others of the same garment and truth, in place."""
    each = settings.pixels
    garments = len(seen) // each
    by_garment, meant = seen.reshape(garments, each, -1), truth.reshape(garments, each, -1)
    chosen = np.argwhere(rng.random((garments, each)) < settings.pooled)
    others = rng.integers(0, each, (len(chosen), 3))
    means: list[Floats] = []
    for (garment, pixel), partners in zip(chosen, others, strict=True):
        same = partners[(meant[garment, partners] == meant[garment, pixel]).all(1)]
        means.append(by_garment[garment, [pixel, *same]].mean(0))
    if means:
        by_garment[chosen[:, 0], chosen[:, 1]] = np.stack(means)


def _changed(logs: Tensor, rng: np.random.Generator, settings: BeltAugment, *, step_nm: float) -> Tensor:
    """ln(reflectance) (P, L) with each garment's axis, gain and slope moved, and noise on every pixel."""
    garments, bands = len(logs) // settings.pixels, logs.shape[1]

    def drawn(size: float) -> Tensor:
        each = rng.normal(0.0, 1.0, garments).astype(np.float32) * np.float32(size)
        return torch.from_numpy(np.repeat(each, settings.pixels))[:, None]

    found = logs
    if settings.shift_nm:
        found = found + drawn(settings.shift_nm / step_nm) * torch.gradient(logs, dim=1)[0]
    found = found * (1 + drawn(settings.gain)) + drawn(settings.slope * _LN10) * torch.linspace(
        -0.5, 0.5, bands
    )
    if settings.noise:
        noise = rng.standard_normal(found.shape, np.float32) * np.float32(settings.noise * _LN10)
        found = found + torch.from_numpy(noise)
    return found
