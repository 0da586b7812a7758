"""From a recipe's `data` section to captures that can be trained on: simulated or read, filtered, checked."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import weft_datasets
from weft.errors import ManifestError
from weft_datasets.columns import UNKNOWN, truth_columns
from weft_datasets.manifest import Manifest, read_manifest
from weft_datasets.splits import folds_by_subject, holdout_by_subject
from weft_training.belt_recipe import BeltData, SimulateBelt
from weft_training.recipe import (
    BeltRecipe,
    FibreRecipe,
    Recipe,
    SimulateParcels,
    SimulateSpectra,
    SpectrumData,
    SplitSection,
    WeightRecipe,
)

TRAIN: int = -1  # fold of rows that are trained on and never predicted (holdout)


@dataclass(frozen=True, eq=False)
class Captures:
    """What a run is trained on; the order of rows is the order of every array of the run."""

    manifest: Manifest
    fingerprint: str
    trained_on: Literal["real", "simulated"]

    def __len__(self) -> int:
        return len(self.manifest.frame)

    @property
    def subjects(self) -> NDArray[np.str_]:
        return self.manifest.frame["subject"].to_numpy(str)

    def column(self, name: str) -> pd.Series:
        """A column of the manifest, or an empty one where the manifest has none of this name."""
        frame = self.manifest.frame
        return frame[name] if name in frame else pd.Series([None] * len(frame), index=frame.index)


def load_captures(recipe: Recipe) -> Captures:
    """Read (or simulate) the manifest, keep the rows that the recipe asks for and that carry its truth.

    Raises:
        ManifestError: Nothing is left, files are missing, or the manifest is of the other kind.
    """
    manifest = select(_manifest(recipe), recipe)
    if isinstance(recipe, WeightRecipe) and recipe.advice is not None:
        for (
            path
        ) in recipe.advice.manifests:  # learnt from at the very end: an hour's training first is too late
            read_manifest(path)
    # One simulated row taints the whole: the card must not call it real.
    simulated = bool(manifest.frame["simulated"].any())
    return Captures(manifest, manifest.fingerprint(), "simulated" if simulated else "real")


def select(manifest: Manifest, recipe: Recipe) -> Manifest:
    """The rows of a manifest that a recipe trains on."""
    manifest = _chosen(manifest, recipe)
    if isinstance(recipe, WeightRecipe):
        return _weighed(manifest, recipe)
    return _composed(manifest, recipe.data)


def split_captures(captures: Captures, split: SplitSection, *, seed: int) -> NDArray[np.int64]:
    """The fold that predicts each row, (rows,); for `holdout` TRAIN, or 0 and 1, halves of the rest."""
    strata: list[str] | None = None
    if split.strata is not None:
        if split.strata not in captures.manifest.frame:
            raise ManifestError(
                f"manifest '{captures.manifest.name}' has no column {split.strata!r} for split.strata; it "
                f"has {', '.join(map(str, captures.manifest.frame.columns))}"
            )
        strata = captures.column(split.strata).astype(str).tolist()
    names = captures.subjects if split.group is None else group_names(captures, split.group)
    subjects = names.tolist()
    if split.scheme != "holdout":
        folds = None if split.scheme == "leave_one_out" else split.folds
        return folds_by_subject(subjects, folds=folds, seed=seed, strata=strata)
    held = holdout_by_subject(subjects, share=split.holdout_share, seed=seed, strata=strata)
    found = np.full(len(subjects), TRAIN, np.int64)
    held_subjects = names[held]
    if len(set(held_subjects)) < 2:
        raise ManifestError(
            f"split.holdout_share: {split.holdout_share:g} holds out {len(set(held_subjects))} subject; one "
            f"half calibrates and the other measures, so at least 2 are needed"
        )
    found[held] = folds_by_subject(held_subjects.tolist(), folds=2, seed=seed)
    return found


def group_names(captures: Captures, column: str) -> NDArray[np.str_]:
    """(rows,) the value of `column`, by which whole groups of subjects are held out together.

    Raises:
        ManifestError: There is no such column, a row has none, or a subject stands in two groups: holding one
            of them out would cut the subject.
    """
    manifest = captures.manifest
    if column not in manifest.frame:
        raise ManifestError(
            f"manifest '{manifest.name}' has no column {column!r} for split.group; it has "
            f"{', '.join(map(str, manifest.frame.columns))}"
        )
    groups = manifest.frame[column]
    if groups.isna().any():
        raise ManifestError(
            f"split.group: {int(groups.isna().sum())} rows of manifest '{manifest.name}' have no {column!r}; "
            f"fill it in, or leave them out with data.where"
        )
    cut = groups.groupby(captures.subjects).nunique()
    if (cut > 1).any():
        raise ManifestError(
            f"split.group: subject {cut.idxmax()} has {cut.max()} values of {column!r}; a subject belongs to "
            f"one group, else a split would cut it"
        )
    return groups.to_numpy(str)


def _manifest(recipe: Recipe) -> Manifest:
    if recipe.data.manifest is not None:
        return read_manifest(recipe.data.manifest)
    simulate = recipe.data.simulate
    assert simulate is not None, "the recipe was checked to have one source"
    made_by = [recipe.task, simulate.model_dump(mode="json"), _simulator()]
    if isinstance(recipe, BeltRecipe):
        made_by.append(recipe.model.camera.model_dump(mode="json"))
    settings = json.dumps(made_by, sort_keys=True)
    folder = recipe.compute.cache / "simulated" / hashlib.sha256(settings.encode()).hexdigest()[:16]
    done = folder / "manifest.parquet"
    if done.is_file():
        return read_manifest(done)
    if isinstance(recipe, BeltRecipe):
        return _simulate_belt(folder, recipe)
    assert not isinstance(simulate, SimulateBelt), "only a belt's recipe simulates one"
    return _simulate(folder, simulate)


def _simulator() -> str:
    """Digest of the code that simulates: what an older one made is not what the recipe says now."""
    total = hashlib.sha256()
    for file in sorted(Path(weft_datasets.__file__).parent.rglob("*.py")):
        total.update(file.read_bytes())
    return total.hexdigest()


def _simulate(folder: Path, settings: SimulateParcels | SimulateSpectra) -> Manifest:
    if isinstance(settings, SimulateParcels):
        from weft_datasets.simulate_parcels import write_parcels

        return write_parcels(
            folder,
            subjects=settings.subjects,
            seed=settings.seed,
            photos=settings.photos,
            size_px=settings.size_px,
            bands=settings.bands,
            workers=os.cpu_count() or 1,
        )
    from weft_datasets.simulate_spectra import write_spectra

    return write_spectra(
        folder, subjects=settings.subjects, seed=settings.seed, scans=settings.scans, grid=settings.grid
    )


def _simulate_belt(folder: Path, recipe: BeltRecipe) -> Manifest:
    from weft_datasets.belt.samples import write_samples

    settings = recipe.data.simulate
    assert settings is not None, "the caller looked"
    return write_samples(
        folder,
        camera=recipe.model.camera.described(),
        pieces=settings.pieces,
        seed=settings.seed,
        pixels=settings.pixels,
        cameras=settings.cameras,
    )


def _chosen(manifest: Manifest, recipe: Recipe) -> Manifest:
    data, frame = recipe.data, manifest.frame
    keep = np.ones(len(frame), bool)
    absent = sorted(set(data.exclude_subjects) - set(frame["subject"]))
    if absent:
        raise ManifestError(
            f"data.exclude_subjects: manifest '{manifest.name}' has no subject {', '.join(absent)}; check "
            f"the spelling, or take it out (data.exclude_subjects=[])"
        )
    keep &= ~frame["subject"].isin(data.exclude_subjects).to_numpy()
    for column, value in data.where.items():
        if column not in frame:
            raise ManifestError(f"data.where: manifest '{manifest.name}' has no column {column!r}")
        keep &= (frame[column] == value).to_numpy(bool)
    if data.most_subjects is not None:
        left = frame.loc[keep, "subject"].drop_duplicates().head(data.most_subjects)
        keep &= frame["subject"].isin(left).to_numpy()
    return _take(manifest, keep, "the recipe's filters")


def _weighed(manifest: Manifest, recipe: WeightRecipe) -> Manifest:
    if manifest.kind != "photo" or "grams" not in manifest.frame:
        raise ManifestError(
            f"manifest '{manifest.name}' holds {manifest.kind} rows and columns "
            f"{', '.join(map(str, manifest.frame.columns))}; a weight recipe needs photos with `grams`"
        )
    bands = manifest_bands(manifest)
    lacking = [band for band in recipe.model.bands if band not in bands]
    if lacking:
        raise ManifestError(
            f"model.bands: manifest '{manifest.name}' has no band {', '.join(lacking)}; it has "
            f"{', '.join(bands)}"
        )
    grams = manifest.frame["grams"].to_numpy(float)
    keep = np.isfinite(grams) & (grams > 0)
    if "fault" in manifest.frame:  # they teach advice, not mass
        keep &= manifest.frame["fault"].isna().to_numpy()
    return _take(manifest, keep, "rows with a mass above 0 g and no fault")


def _composed(manifest: Manifest, data: SpectrumData | BeltData) -> Manifest:
    frame = manifest.frame
    if manifest.kind != "spectrum" or not manifest.has_composition:
        raise ManifestError(
            f"manifest '{manifest.name}' holds {manifest.kind} rows "
            f"{'with' if manifest.has_composition else 'without'} compositions; a composition recipe needs "
            f"spectra with columns such as cotton_pct"
        )
    shares = manifest.shares(data.fibres)  # (rows, F + 1)
    keep = ~np.isnan(shares).any(1)
    if data.others == "drop":
        others = [
            column
            for column in truth_columns(frame.columns)
            if column != UNKNOWN and column.removesuffix("_pct") not in data.fibres
        ]
        outside = np.nan_to_num(frame[others].to_numpy(float)).sum(1) / 100 if others else 0.0
        keep &= outside <= data.trace_share + 1e-6
    return _take(manifest, keep, "rows with a composition of data.fibres")


def _take(manifest: Manifest, keep: NDArray[np.bool_], what: str) -> Manifest:
    if not keep.any():
        raise ManifestError(f"manifest '{manifest.name}': no row is left of {len(keep)} after {what}")
    return manifest.take(keep)


def manifest_bands(manifest: Manifest) -> tuple[str, ...]:
    """Band names of the photos, in the order of their last axis."""
    bands: Any = manifest.notes.get("bands")
    return ("red", "green", "blue") if bands is None else tuple(bands)


def target_shares(captures: Captures, recipe: FibreRecipe | BeltRecipe) -> NDArray[np.float64]:
    """(rows, F + 1) fractions, unknown last; overlooked traces are spread over the other fibres."""
    shares = captures.manifest.shares(recipe.data.fibres)
    if recipe.data.others == "drop":
        stated = captures.column(UNKNOWN).fillna(0).to_numpy(float) / 100
        shares[:, -1] = stated
    return shares / shares.sum(1, keepdims=True)
