"""A belt's trained net -> graph, made pixels to prove it on, the card's section with vote, trial and mass."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch.export import Dim

from weft.card import BeltCard, TrialCard
from weft_training.belt_calibrate import calibrate_votes
from weft_training.belt_mass import fit_mass
from weft_training.belt_net import BeltGraph, BeltNet
from weft_training.belt_task import THRESHOLD, BeltTask, vote_rules
from weft_training.data import Captures
from weft_training.prepared import CASES, Inputs, Prepared
from weft_training.recipe import BeltRecipe

_DIGITS = 4  # of the trial's shares: a hundredth of a point


def prepare_belt(task: BeltTask, net: BeltNet, predictions: pd.DataFrame, real: list[Inputs]) -> Prepared:
    recipe = task.recipe
    fibres = recipe.data.fibres
    found = calibrate_votes(predictions, fibres, recipe.calibrate.coverage)
    rules = vote_rules(recipe.vote)
    if found is not None:
        rules = found.laid_over(rules)
    known = task.shares[task.shares[:, -1] < 0.5][:, :-1]
    made = made_pixels(CASES // 2, bands=len(task.wavelength_nm), seed=recipe.seed)
    return Prepared(
        graph=BeltGraph(net),
        outputs=["shares", "unknown"],
        example=made[0],
        dynamic={"reflectance": {0: Dim("pixels", max=1 << 24)}},
        made=made,
        real=real,
        card={
            "task": "belt",
            "coverage": None if found is None else recipe.calibrate.coverage,
            "calibration_subjects": 0 if found is None else found.subjects,
            "belt": BeltCard(
                fibres=fibres,
                wavelength_nm=tuple(task.wavelength_nm),
                camera=recipe.model.camera.name,
                share_range={
                    fibre: (float(known[:, index].min()), float(known[:, index].max()))
                    for index, fibre in enumerate(fibres)
                },
                unknown_threshold=THRESHOLD,
                vote=rules,
                trial=trial_of(task.captures, predictions, recipe),
                mass=fit_mass(task.captures, predictions, coverage=recipe.calibrate.coverage),
            ),
        },
    )


def trial_of(captures: Captures, predictions: pd.DataFrame, recipe: BeltRecipe) -> TrialCard | None:
    """At most `vote.trial` of the pieces that their net had not seen, drawn by chance; None for 0."""
    most, fibres = recipe.vote.trial, recipe.data.fibres
    if not most:
        return None
    rows = predictions
    if len(rows) > most:
        rows = rows.iloc[np.sort(np.random.default_rng(recipe.seed).permutation(len(rows))[:most])]
    known = rows["unknown_truth"].to_numpy() < 0.5
    truth = rows[[f"{fibre}_share" for fibre in fibres]].to_numpy(np.float64) * known[:, None]
    stated = captures.column("grams").to_numpy(np.float64)
    grams = pd.Series(stated, index=captures.manifest.frame["capture"])[rows["capture"]].to_numpy()
    return TrialCard(
        predicted=_table(rows[[f"predicted_{fibre}_share" for fibre in fibres]].to_numpy(np.float64)),
        truth=_table(truth),
        scatter=tuple(round(float(value), _DIGITS) for value in rows["scatter"]),
        unknown=tuple(round(float(value), _DIGITS) for value in rows["predicted_unknown"]),
        mixed=tuple(bool(value >= 0.5) for value in rows["predicted_mixed"]),
        grams=() if np.isnan(grams).any() else tuple(round(float(value), 1) for value in grams),
    )


def made_pixels(cases: int, *, bands: int, seed: int) -> list[Inputs]:
    """Smooth random reflectances from nearly black to glaring, some with dead bands."""
    rng = np.random.default_rng([seed, 3])
    found: list[Inputs] = []
    at = np.linspace(0, 1, bands)
    for case in range(cases):
        pixels = 3 + 5 * case
        absorbance = rng.uniform(0.02, 1.2, (pixels, 1)) + rng.normal(0, 0.1, (pixels, 1)) * at
        for _ in range(6):
            centre, width = rng.uniform(0, 1), rng.uniform(0.02, 0.15)
            height = rng.exponential(0.15, (pixels, 1))
            absorbance = absorbance + height * np.exp(-0.5 * ((at - centre) / width) ** 2)
        seen = (10.0**-absorbance + rng.normal(0, 0.002, absorbance.shape)).astype(np.float32)
        if case % 4 == 3:
            seen[0, : bands // 3] = 0.0
            seen[1] *= -1.0
        found.append({"reflectance": seen})
    return found


def _table(values: NDArray[Any]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(round(float(value), _DIGITS) for value in row) for row in values)
