"""The share of the kernel: chosen on other folds, and part of the final net."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from weft_training.data import load_captures, split_captures
from weft_training.fit import fit_run, load_net, make_fabric, make_task
from weft_training.kernel_share import share_of, with_own_share
from weft_training.recipe import load_recipe
from weft_training.run import create_run


def said(*, net_error: float, kernel_error: float, folds: int = 4, seed: int = 0) -> pd.DataFrame:
    """Out-of-fold rows of 10 subjects a fold, the parts' errors independent of each other."""
    generator = np.random.default_rng(seed)
    rows = 10 * folds
    truth = np.exp(generator.normal(6, 1, rows))
    net, kernel = (truth * np.exp(generator.normal(0, e, rows)) for e in (net_error, kernel_error))
    middle = np.sqrt(net * kernel)
    return pd.DataFrame(
        {
            "subject": [f"s{number}" for number in range(rows)],
            "mode": "one",
            "fold": np.arange(rows) % folds,
            "grams": truth,
            "predicted_grams": middle,
            "q_low_grams": 0.8 * middle,
            "q_high_grams": 1.3 * middle,
            "net_grams": net,
            "kernel_grams": kernel,
        }
    )


def test_the_better_part_says_more() -> None:
    assert share_of(said(net_error=0.1, kernel_error=0.4)) < 0.3
    assert share_of(said(net_error=0.4, kernel_error=0.1)) > 0.7
    assert 0.2 < share_of(said(net_error=0.2, kernel_error=0.2)) < 0.8


def test_a_fold_has_no_say_in_the_share_it_is_judged_by() -> None:
    rows = said(net_error=0.2, kernel_error=0.2)
    spoilt = rows.copy()
    here = rows["fold"] == 1
    spoilt.loc[here, "grams"] *= 7.0

    found, other = with_own_share(rows), with_own_share(spoilt)

    assert np.array_equal(found.loc[here, "predicted_grams"], other.loc[here, "predicted_grams"])


def test_quantiles_keep_their_distance_from_the_middle() -> None:
    found = with_own_share(said(net_error=0.1, kernel_error=0.4))

    assert np.allclose(found["q_low_grams"], 0.8 * found["predicted_grams"])
    assert np.allclose(found["q_high_grams"], 1.3 * found["predicted_grams"])
    assert not np.allclose(found["predicted_grams"], np.sqrt(found["net_grams"] * found["kernel_grams"]))


def test_one_subjects_many_photos_have_one_vote() -> None:
    rows = said(net_error=0.1, kernel_error=0.4)
    many = pd.concat([rows, *[rows.iloc[:1].assign(net_grams=1.0, kernel_grams=rows["grams"][0])] * 300])

    assert share_of(many) < 0.3


@pytest.mark.parametrize("scheme", ["folds", "holdout"])
def test_the_final_net_answers_with_the_share_that_all_folds_chose(
    photos_recipe: Path, tmp_path: Path, scheme: str
) -> None:
    more = ["model.init=none", "model.kernel_share=auto", f"split.scheme={scheme}", "split.holdout_share=0.5"]
    recipe = load_recipe(photos_recipe, more)
    run = create_run(recipe, tmp_path / "runs")
    fit_run(run, make_fabric(recipe))
    captures = load_captures(recipe)
    task = make_task(recipe, captures)
    task.prepare(quiet=True)
    net = load_net(run, task, split_captures(captures, recipe.split, seed=recipe.seed))

    assert torch.isclose(net.tail.kernel.share, torch.tensor(share_of(run.predictions())))
