"""What is particular to training on spectra: one grid, closed forms, shares that sum to 1."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.errors import ManifestError
from weft_training import closed_form
from weft_training.augment import change_spectra, weaker
from weft_training.data import Captures, target_shares
from weft_training.fibre_net import ConvTrunk, FibreNet, FibreOutput, FibreTail, Members
from weft_training.novelty import USUAL, Novelty, find_known, light_of
from weft_training.own_net import OwnNet, Rows
from weft_training.preprocess import branch_widths, build_preprocessing
from weft_training.recipe import FibreModel, FibreRecipe, SpectrumAugment
from weft_training.resample import resample
from weft_training.step import Batch, ShareLoss


class FibreTask(OwnNet):
    """The spectra of a run, and how a net is built for, fed with and asked about them. See `fit.Task`."""

    def __init__(self, captures: Captures, recipe: FibreRecipe) -> None:
        self.captures = captures
        self.recipe = recipe
        self.criterion = ShareLoss()
        self.grid_nm = recipe.model.grid.wavelengths()
        self.shares = torch.from_numpy(target_shares(captures, recipe)).float()  # (rows, F + 1)
        self._absorbance = torch.empty(0)  # (rows, G): the stem, resampling, is never trained

    def prepare(self, *, quiet: bool) -> None:
        """Resample every scan to the net's grid."""
        del quiet
        self._absorbance = _resampled(self.captures, self.grid_nm, self.needed_nm)

    def frozen_digest(self) -> str:
        """Nothing of this net comes from outside the run."""
        return ""

    def build(self, rows: Rows, *, seed: int) -> FibreNet:
        torch.manual_seed(seed)
        tail = self.fitted(rows)
        self._find_known(tail, rows)
        return FibreNet(tail, grid_nm=self.grid_nm)

    def fitted(self, rows: Rows) -> FibreTail:
        """A tail standardised, and solved where there is a closed form, on `rows`; it knows no strangers."""
        model = self.recipe.model
        tail = build_tail(model, fibres=len(self.recipe.data.fibres))
        absorbance, shares = self._views(rows, self.recipe.augment)
        with torch.no_grad():
            points = tail.preprocessing(absorbance)  # (views * rows, P)
            tail.point_mean.copy_(points.mean(0))
            # One spread for all points: a noisy, flat stretch must not be blown up to the size of a band.
            tail.point_std.fill_(float((points - points.mean(0)).square().mean().sqrt().clamp(min=1e-6)))
            inputs = tail.standardise(absorbance).double().numpy()
        subjects = np.tile(self.captures.subjects[rows], len(inputs) // len(rows))
        self._solve(tail, inputs, shares.double().numpy(), subjects)
        return tail

    def _find_known(self, tail: FibreTail, rows: Rows) -> None:
        """Fit the novelty on the known spectra, changed as strongly as the recipe says."""
        settings = self.recipe.model.novelty
        if tail.novelty is None or settings is None:
            return
        changes = weaker(self.recipe.augment, settings.strength)
        absorbance, shares = self._views(rows, changes)
        known = shares[:, -1] < 0.5
        with torch.no_grad():
            inputs = tail.standardise(absorbance[known]).double().numpy()
            doubts = tail.novelty.doubts(absorbance[known]).double().numpy()
            light = light_of(self._absorbance[rows]).double().numpy()
        subjects = np.tile(self.captures.subjects[rows], len(absorbance) // len(rows))[known.numpy()]
        found = find_known(
            inputs,
            doubts,
            subjects,
            components=tail.novelty.plane.shape[1],
            clean=int(known[: len(rows)].sum()),
        )
        least_light = None
        if settings.dark_margin is not None:
            clean = light[self.shares[rows, -1].numpy() < 0.5]
            least_light = float(np.quantile(clean, 1 - USUAL)) / settings.dark_margin
        tail.novelty.keep(
            found, margin=settings.margin, noise_margin=settings.noise_margin, least_light=least_light
        )

    def trained(self, net: FibreNet) -> nn.Module:
        return net.tail

    def batch(self, items: Sequence[Rows], rng: np.random.Generator) -> Batch:
        torch.manual_seed(int(rng.integers(2**31)))
        rows = np.concatenate(items)
        absorbance, truth = self._changed(rows, self.recipe.augment)
        return Batch((absorbance,), truth)

    def clean(self, rows: Rows) -> Batch:
        """Every scan unchanged."""
        return Batch((self._absorbance[rows],), self.shares[rows])

    def finish(self, net: FibreNet, rows: Rows) -> None:
        """All that a scan is compared with was there before the training."""
        del net, rows

    def predict(self, net: FibreNet, rows: Rows) -> pd.DataFrame:
        """Shares of every scan, one row each."""
        module = net.tail.eval()
        device = next(module.parameters()).device
        with torch.inference_mode():
            found = FibreOutput(*(part.cpu() for part in module(self._absorbance[rows].to(device))))
        return self.table(rows, found)

    def table(self, rows: Rows, found: FibreOutput) -> pd.DataFrame:
        """The truth of `rows` and what was found of them, as `metrics_of` takes them."""
        columns: dict[str, object] = {
            "capture": self.captures.manifest.frame["capture"].to_numpy()[rows],
            "subject": self.captures.subjects[rows],
        }
        truth = self.shares[rows].double().numpy()
        for index, fibre in enumerate(self.recipe.data.fibres):
            columns[f"{fibre}_share"] = truth[:, index]
            columns[f"predicted_{fibre}_share"] = found.shares[:, index].double().numpy()
        columns["unknown_truth"] = truth[:, -1]
        columns["predicted_unknown"] = found.unknown.double().numpy()
        return pd.DataFrame(columns)

    def graph_inputs(self, rows: Rows) -> dict[str, NDArray[np.generic]]:
        """The tensors of the exported graph for the first scan of `rows`, as it was recorded."""
        frame = self.captures.manifest.frame
        row = int(rows[0])
        return {
            "wavelength_nm": np.asarray(frame["wavelength_nm"].iloc[row], np.float32),
            "absorbance": np.asarray(frame["absorbance"].iloc[row], np.float32)[None],
        }

    @property
    def needed_nm(self) -> tuple[float, float]:
        """What a scan must cover: the grid, less a step at each end that is read from the nearest point."""
        return self.grid_nm[0] + self._step, self.grid_nm[-1] - self._step

    @property
    def _step(self) -> float:
        return self.grid_nm[1] - self.grid_nm[0]

    def _views(self, rows: Rows, changes: SpectrumAugment) -> tuple[Tensor, Tensor]:
        """The clean scans and, where anything is augmented, `views` changed copies: (views * rows, G)."""
        parts = [(self._absorbance[rows], self.shares[rows])]
        if changes.model_dump(exclude={"views", "blend_in", "baseline_nm"}, exclude_defaults=True):
            parts += [self._changed(rows, changes) for _ in range(changes.views)]
        return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])

    def _changed(self, rows: Rows, changes: SpectrumAugment) -> tuple[Tensor, Tensor]:
        return change_spectra(
            self._absorbance[rows],
            self.shares[rows],
            step_nm=self.recipe.model.grid.step_nm,
            settings=changes,
        )

    def _solve(
        self,
        tail: FibreTail,
        inputs: NDArray[np.float64],
        shares: NDArray[np.float64],
        subjects: NDArray[np.str_],
    ) -> None:
        model = self.recipe.model
        if model.init == "none":
            return
        solve = partial(
            closed_form.lda, shares=shares, shrinkage=model.shrinkage, fibres=self.recipe.data.fibres
        )
        if model.init == "pls":
            solve = partial(closed_form.pls, shares=shares, components=model.components)
        widths = [inputs.shape[1]]
        if model.solve == "by_branch":
            widths = branch_widths(tail.preprocessing, points=len(self.grid_nm))
        weight, bias = closed_form.mean_of_parts(partial(solve, subjects=subjects), inputs, widths)
        assert isinstance(tail.trunk, nn.Linear), "the recipe was checked: a closed form has a linear trunk"
        with torch.no_grad():
            tail.trunk.weight.copy_(torch.from_numpy(weight))
            tail.trunk.bias.copy_(torch.from_numpy(bias))


def build_tail(model: FibreModel, *, fibres: int) -> FibreTail:
    preprocessing = build_preprocessing(model.preprocess)
    points = int(preprocessing(torch.zeros(1, len(model.grid.wavelengths()))).shape[-1])
    trunks = [build_trunk(model, points=points, outputs=fibres + 1) for _ in range(model.members)]
    trunk = trunks[0] if model.members == 1 else Members(trunks)
    novelty = None
    if model.novelty is not None:
        novelty = Novelty(
            points=points,
            components=min(model.novelty.components, points),
            grid_points=len(model.grid.wavelengths()),
            step_nm=model.grid.step_nm,
            sees_darkness=model.novelty.dark_margin is not None,
        )
    return FibreTail(preprocessing, trunk, novelty, points=points, outputs=model.outputs)


def build_trunk(model: FibreModel, *, points: int, outputs: int) -> nn.Module:
    """(B, P) -> (B, outputs)"""
    if model.trunk == "linear":
        return nn.Linear(points, outputs)
    if model.trunk == "conv":
        return ConvTrunk(hidden=model.hidden, dropout=model.dropout, outputs=outputs)
    return nn.Sequential(
        nn.Dropout(model.dropout),
        nn.Linear(points, model.hidden),
        nn.GELU(),
        nn.Dropout(model.dropout),
        nn.Linear(model.hidden, model.hidden),
        nn.GELU(),
        nn.Linear(model.hidden, outputs),
    )


def _resampled(captures: Captures, grid_nm: list[float], needed_nm: tuple[float, float]) -> Tensor:
    """(rows, G); scans of one grid are resampled together.

    Raises:
        ManifestError: A scan does not cover the grid.
    """
    frame = captures.manifest.frame
    grid = torch.tensor(grid_nm, dtype=torch.float32)
    by_grid: dict[bytes, list[int]] = {}
    for row, wavelength in enumerate(frame["wavelength_nm"]):
        by_grid.setdefault(np.asarray(wavelength, np.float64).tobytes(), []).append(row)
    out = torch.empty(len(frame), len(grid_nm))
    for raw, rows in by_grid.items():
        wavelength = np.frombuffer(raw, np.float64)
        if wavelength.min() > needed_nm[0] or wavelength.max() < needed_nm[1]:
            raise ManifestError(
                f"manifest '{captures.manifest.name}': {len(rows)} scans such as "
                f"{frame['capture'].iloc[rows[0]]} cover {wavelength.min():g}-{wavelength.max():g} nm, "
                f"model.grid needs {needed_nm[0]:g}-{needed_nm[1]:g} nm; narrow the grid or leave them out "
                f"with data.where"
            )
        values = np.stack([np.asarray(frame["absorbance"].iloc[row], np.float32) for row in rows])
        out[rows] = resample(torch.from_numpy(wavelength.astype(np.float32)), torch.from_numpy(values), grid)
    return out
