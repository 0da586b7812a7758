"""How a fibre recipe stands up to instruments it has never seen: the lines `stand-ins` and `unknown`.

Trained on the scans of all other swatches as they were recorded, asked of a left-out swatch as stand-in
instruments would have recorded it (`weft_datasets.stand_ins`, frozen before the recipe was chosen).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from weft.errors import RunError
from weft_datasets.importers import import_source
from weft_datasets.manifest import Manifest
from weft_datasets.splits import folds_by_subject
from weft_datasets.stand_ins import EFFECTS, STAND_INS, as_recorded_by, recorded, with_effect
from weft_training.data import Captures, load_captures
from weft_training.fibre_net import FibreNet
from weft_training.fibre_task import FibreTask
from weft_training.instrument_plots import draw_effects
from weft_training.leaderboard_lines import Cell, Line, Measured, Table, Workbench
from weft_training.recipe import FibreRecipe, load_recipe
from weft_training.resample import resample

PURE_SHARE = 0.85
# What the recipe replaced: the common choice, which reads its own instrument just as well.
PLAIN = (
    "model.grid={from_nm: 950, to_nm: 1650, step_nm: 4}",
    "model.preprocess=[{kind: snv}]",
    "model.solve=together",
    "model.shrinkage=null",
    "augment={views: 0}",
)


@dataclass(frozen=True, eq=False)
class Study:
    """A recipe's nets, each fitted without one swatch, and the scans as they were recorded."""

    task: FibreTask
    nets: tuple[FibreNet, ...]  # by fold
    fold: np.ndarray  # (rows,)

    @property
    def manifest(self) -> Manifest:
        return self.task.captures.manifest

    def covers(self, wavelength_nm: np.ndarray) -> bool:
        """Whether a scan of this axis is answered; a service refuses others by name (`check_grid`)."""
        low, high = self.task.needed_nm
        step = self.task.grid_nm[1] - self.task.grid_nm[0]
        return bool(wavelength_nm.min() <= low + step and wavelength_nm.max() >= high - step)

    def ask(self, manifest: Manifest, instrument: str) -> pd.DataFrame:
        """Predictions of the study's captures from other scans of them; no rows where they are refused."""
        nm = np.asarray(manifest.frame["wavelength_nm"].iloc[0])
        if not self.covers(nm):
            return pd.DataFrame()
        absorbance = self._on_grid(nm, manifest.frame["absorbance"].tolist())
        parts = []
        for number, net in enumerate(self.nets):
            rows = np.flatnonzero(self.fold == number)
            parts.append(_predicted(self.task, net, rows, absorbance[rows]))
        return pd.concat(parts, ignore_index=True).assign(instrument=instrument)

    def unknown(self, wavelength_nm: np.ndarray, absorbance: Sequence[np.ndarray]) -> np.ndarray:
        """(rows,) of strangers of one axis; each is asked of one of the nets in turn."""
        inputs = self._on_grid(wavelength_nm, absorbance)
        found = np.empty(len(inputs))
        with torch.inference_mode():
            for number, net in enumerate(self.nets):
                mine = slice(number, None, len(self.nets))
                if len(found[mine]):
                    found[mine] = net.tail(inputs[mine]).unknown.double().numpy()
        return found

    def _on_grid(self, nm: np.ndarray, absorbance: Sequence[np.ndarray]) -> torch.Tensor:
        values = torch.from_numpy(np.stack([np.asarray(one, np.float32) for one in absorbance]))
        grid = torch.tensor(self.task.grid_nm, dtype=torch.float32)
        return resample(torch.from_numpy(np.asarray(nm, np.float32)), values, grid)


def make_study(recipe: FibreRecipe) -> Study:
    """Fit the recipe once without each subject.

    Raises:
        RunError: The recipe has no closed form: stepping to as many nets is `weft train`'s matter.
    """
    if recipe.optim.epochs:
        raise RunError(
            f"{recipe.name}: optim.epochs is {recipe.optim.epochs}; this study takes closed forms, write 0"
        )
    captures = load_captures(recipe)
    # Things that are no textile are asked, not trained on.
    known = captures.manifest.shares(recipe.data.fibres)[:, -1] < 0.5
    kept = captures.manifest.take(known)
    task = FibreTask(Captures(kept, captures.fingerprint, captures.trained_on), recipe)
    task.prepare(quiet=True)
    fold = folds_by_subject(task.captures.subjects.tolist(), folds=None, seed=recipe.seed)
    everything = np.arange(len(fold))
    nets = [
        task.build(everything[fold != number], seed=recipe.seed * 1000 + 1 + number)
        for number in range(int(fold.max()) + 1)
    ]
    for net in nets:
        net.tail.eval()
    return Study(task, tuple(nets), fold)


def measure_stand_ins(board: Workbench, line: Line) -> Measured:
    """Predictions on every frozen stand-in; tables and the picture of single effects beside them."""
    study, plain = _study(board, line), _study(board, line, *PLAIN)
    asked = {unit.name: as_recorded_by(study.manifest, unit) for unit in STAND_INS}
    found = [study.ask(manifest, name) for name, manifest in asked.items()]
    before = [plain.ask(manifest, name) for name, manifest in asked.items()]
    own = study.ask(study.manifest, "as recorded")
    board.say(f"{line.name}: one effect at a time, {len(EFFECTS)} of them")
    curves = effect_curves(study)
    fibres = study.task.recipe.data.fibres
    rows = [_row(name, one, other, fibres) for name, one, other in zip(asked, found, before, strict=True)]
    rows.insert(0, _row("as recorded", own, plain.ask(plain.manifest, "as recorded"), fibres))
    tables = (
        Table(
            "By stand-in: recall of pure scans, %",
            ("instrument", *fibres, "least by swatch", "refused, %", "least by scan, SNV + LDA"),
            tuple(rows),
            "Least by swatch: recall of the worst class when the scans of a swatch are averaged. Refused: "
            "scans of true fibres called unknown. Last column: SNV + LDA without augmentation, 950-1650 nm.",
        ),
        _effects_table(curves),
    )
    scans = pd.concat(found, ignore_index=True)
    scans["capture"] = scans["capture"] + " on " + scans["instrument"]
    return Measured(
        scans,
        study.task.captures.fingerprint,
        tables=tables,
        pictures={"effects": draw_effects(curves)},
    )


def effect_curves(study: Study) -> pd.DataFrame:
    """One row an effect and strength: `least` and `mean` recall (share), NaN where the scans are refused."""
    rows: list[dict[str, object]] = []
    for effect, strengths in EFFECTS.items():
        for strength in strengths:
            parts = [
                study.ask(as_recorded_by(study.manifest, unit), unit.name)
                for unit in with_effect(effect, strength)
            ]
            known = [part for part in parts if len(part)]
            recall = [recalls(part, study.task.recipe.data.fibres) for part in known]
            rows.append(
                {
                    "effect": effect,
                    "strength": strength,
                    "least": min((float(one.min()) for one in recall), default=np.nan),
                    "mean": float(np.mean([one.mean() for one in recall])) if recall else np.nan,
                }
            )
    return pd.DataFrame(rows)


def recalls(predictions: pd.DataFrame, fibres: Sequence[str], *, by_subject: bool = False) -> np.ndarray:
    """(F,) recall of each fibre over pure scans, or over swatches with their scans averaged."""
    rows = predictions
    if by_subject:
        numbers = [name for name in rows.select_dtypes("number") if name != "fold"]
        rows = rows.groupby("subject", as_index=False)[numbers].mean()
    truth = rows[[f"{fibre}_share" for fibre in fibres]].to_numpy()
    guess = rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy().argmax(1)
    pure, main = truth.max(1) >= PURE_SHARE, truth.argmax(1)
    return np.array([(guess[pure & (main == place)] == place).mean() for place in range(len(fibres))])


def measure_unknown(board: Workbench, line: Line) -> Measured:
    """True fibres of left-out swatches against things that the recipe has never seen."""
    study = _study(board, line)
    own = study.ask(study.manifest, "as recorded")
    other = pd.concat([study.ask(as_recorded_by(study.manifest, unit), unit.name) for unit in STAND_INS])
    known, known_other = (one["predicted_unknown"].to_numpy() for one in (own, other))
    kinds = strangers(board, line, study)
    rows: list[tuple[Cell, ...]] = [
        ("true fibres, as recorded", len(own), None, None, _percent(known)),
        ("true fibres, on the stand-ins", len(other), None, None, _percent(known_other)),
    ]
    for kind, found in kinds.items():
        alike = tuple(round(_auroc(found, one), 3) for one in (known, known_other))
        rows.append((kind, len(found), *alike, _percent(found)))
    strange = [
        pd.DataFrame(
            {"capture": [f"{kind} {n}" for n in range(len(found))], "subject": kind, "fold": 0,
             "unknown_truth": 1.0, "predicted_unknown": found}
        )
        for kind, found in kinds.items() if kind not in _SHOWN_APART
    ]  # fmt: skip
    table = Table(
        "By kind",
        ("kind", "scans", "AUROC, fibres as recorded", "AUROC, fibres on stand-ins", "called unknown, %"),
        tuple(rows),
        "Plastics are measured by another maker's instrument. PET bottles are of the polymer that polyester "
        "fibres are of, and are left out of the figure, as is the black belt that hardly reflects.",
    )
    return Measured(
        pd.concat([own, *strange], ignore_index=True), study.task.captures.fingerprint, tables=(table,)
    )


_SHOWN_APART = ("plastics: PET, PETG", "belt (black PVC, 4 % reflectance)")


def strangers(board: Workbench, line: Line, study: Study) -> dict[str, np.ndarray]:
    """Kind -> how unknown each of its scans is said to be."""
    found: dict[str, np.ndarray] = {}
    plastics = import_source("plastics", board.data / "spectra/plastics_nir").frame
    alike = plastics["klass"].isin(["pet", "petg"])
    nm = np.asarray(plastics["wavelength_nm"].iloc[0])
    found["plastics: PP, PE, PS, PLA, ABS, PMMA, PC, PVC ..."] = study.unknown(
        nm, plastics.loc[~alike, "absorbance"].tolist()
    )
    found[_SHOWN_APART[0]] = study.unknown(nm, plastics.loc[alike, "absorbance"].tolist())
    frame = board.imported(line).frame
    nm = np.asarray(frame["wavelength_nm"].iloc[0])
    for name, subject in (("wool", "Wool_Std"), ("acrylic", "Acrylic_Std"), ("acetate", "Acetate_Std")):
        scans = frame[frame["subject"] == subject]
        found[f"{name}, never trained on"] = study.unknown(nm, scans["absorbance"].tolist())
        elsewhere = [
            study.unknown(scan.wavelength_nm, [scan.absorbance])
            for unit in STAND_INS
            for scan in (
                recorded(nm, np.asarray(row, float), unit, key=f"{subject} {place}")
                for place, row in enumerate(scans["absorbance"])
            )
        ]
        found[f"{name}, on the stand-ins"] = np.concatenate(elsewhere)
    belt = frame[frame["unknown_pct"] == 100]
    found[_SHOWN_APART[1]] = study.unknown(nm, belt["absorbance"].tolist())
    return found | {kind: study.unknown(nm, made) for kind, made in empty_scans(nm).items()}


def empty_scans(wavelength_nm: np.ndarray, *, count: int = 60) -> dict[str, list[np.ndarray]]:
    """Scans of nothing, made: a tile, lamp off, a detector that is full."""
    rng = np.random.default_rng(5)
    size = (count, len(wavelength_nm))
    tile = rng.uniform(0.05, 0.5, (count, 1)) + rng.normal(0, 0.02, (count, 1)) * np.linspace(-1, 1, size[1])
    dark = np.maximum(rng.normal(0.0005, 0.0005, size), 1e-4)
    full = np.minimum(1.0 + rng.normal(0, 0.003, size), 1.0)
    return {
        "empty: a bare tile": list(tile + rng.normal(0, 0.001, size)),
        "dark: no light came back": list(-np.log10(dark)),
        "saturated": list(-np.log10(full)),
    }


def _study(board: Workbench, line: Line, *more: str) -> Study:
    from weft_datasets.manifest import write_manifest

    assert line.recipe is not None, "both lines name their recipe"
    write_manifest(board.imported(line), board.manifest_path(line))
    recipe = load_recipe(board.configs / line.recipe, board.overrides(line, *more))
    assert isinstance(recipe, FibreRecipe), "both lines are about fibres"
    board.say(f"{line.name}: fitting {line.recipe} without each swatch {' '.join(more)}".rstrip())
    return make_study(recipe)


def _predicted(task: FibreTask, net: FibreNet, rows: np.ndarray, absorbance: torch.Tensor) -> pd.DataFrame:
    with torch.inference_mode():
        found = net.tail(absorbance)
    columns: dict[str, object] = {
        "capture": task.captures.manifest.frame["capture"].to_numpy()[rows],
        "subject": task.captures.subjects[rows],
        "fold": 0,
    }
    truth = task.shares[rows].double().numpy()
    for place, fibre in enumerate(task.recipe.data.fibres):
        columns[f"{fibre}_share"] = truth[:, place]
        columns[f"predicted_{fibre}_share"] = found.shares[:, place].double().numpy()
    columns["unknown_truth"] = 0.0
    columns["predicted_unknown"] = found.unknown.double().numpy()
    return pd.DataFrame(columns)


def _row(name: str, found: pd.DataFrame, before: pd.DataFrame, fibres: Sequence[str]) -> tuple[Cell, ...]:
    scan = [round(100 * float(one), 1) for one in recalls(found, fibres)]
    swatch = round(100 * float(recalls(found, fibres, by_subject=True).min()), 1)
    plain = round(100 * float(recalls(before, fibres).min()), 1) if len(before) else None
    return (name, *scan, swatch, _percent(found["predicted_unknown"].to_numpy()), plain)


def _effects_table(curves: pd.DataFrame) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for effect, part in curves.groupby("effect", sort=False):
        told = [
            f"{row.strength:g}: {'refused' if np.isnan(row.least) else f'{100 * row.least:.0f}'}"  # pyright: ignore
            for row in part.itertuples()
        ]
        rows.append((str(effect), ", ".join(told)))
    return Table(
        "One effect at a time: least recall of any class, %, by strength",
        ("effect", "strength: least recall"),
        tuple(rows),
        "Strengths in nm, absorbance or reflectance as in `weft_datasets.stand_ins`; worse of both signs.",
    )


def _percent(unknown: np.ndarray) -> float:
    return round(100 * float((unknown >= 0.5).mean()), 1)


def _auroc(strange: np.ndarray, known: np.ndarray) -> float:
    from weft_training.metrics import auroc

    score = np.concatenate([strange, known])
    return auroc(np.arange(len(score)) < len(strange), score, np.ones(len(score)))
