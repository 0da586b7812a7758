"""From a recipe to rows: what is kept, what is refused, and that no subject is ever on both sides."""

from pathlib import Path

import numpy as np
import pytest

from weft.errors import ManifestError
from weft_training.data import TRAIN, load_captures, split_captures, target_shares
from weft_training.photo_shelf import PhotoShelf
from weft_training.recipe import FibreRecipe, SplitSection, WeightRecipe, load_recipe


def test_the_card_will_say_simulated_where_a_row_is(spectra_recipe: Path) -> None:
    assert load_captures(load_recipe(spectra_recipe)).trained_on == "simulated"


def test_named_subjects_stay_out_and_a_misspelt_one_is_refused(spectra_recipe: Path) -> None:
    kept = load_captures(load_recipe(spectra_recipe, ["data.exclude_subjects=[g1,g2]"]))

    assert len(kept) == 52
    assert not {"g1", "g2"} & set(kept.subjects)
    with pytest.raises(ManifestError, match="has no subject G1"):
        load_captures(load_recipe(spectra_recipe, ["data.exclude_subjects=[G1]"]))


def test_rows_of_other_fibres_are_dropped_or_count_as_unknown(spectra_recipe: Path) -> None:
    two = "data.fibres=[cotton,polyester]"
    dropped = load_captures(load_recipe(spectra_recipe, [two]))
    recipe = load_recipe(spectra_recipe, [two, "data.others=unknown"])
    unknown = load_captures(recipe)

    assert isinstance(recipe, FibreRecipe)
    assert (len(dropped), len(unknown)) == (40, 56)
    assert target_shares(unknown, recipe)[:, -1].sum() == 24


def test_a_filter_that_leaves_nothing_is_refused(spectra_recipe: Path) -> None:
    with pytest.raises(ManifestError, match="no row is left of 56"):
        load_captures(load_recipe(spectra_recipe, ["data.where={simulated: false}"]))


def test_a_manifest_of_the_other_kind_is_refused(spectra_recipe: Path, photos_recipe: Path) -> None:
    parcels = load_recipe(photos_recipe).data.manifest

    with pytest.raises(ManifestError, match="needs spectra with columns such as cotton_pct"):
        load_captures(load_recipe(spectra_recipe, [f"data.manifest={parcels}"]))
    with pytest.raises(ManifestError, match="has no band nir"):
        load_captures(load_recipe(photos_recipe, ["model.bands=[red,green,blue,nir]"]))


@pytest.mark.parametrize("scheme", ["folds", "leave_one_out", "holdout"])
def test_no_split_ever_cuts_a_subject(spectra_recipe: Path, scheme: str) -> None:
    captures = load_captures(load_recipe(spectra_recipe))

    fold = split_captures(captures, SplitSection.model_validate({"scheme": scheme, "folds": 4}), seed=1)

    for subject in set(captures.subjects):
        assert len(set(fold[captures.subjects == subject])) == 1
    assert np.array_equal(
        fold, split_captures(captures, SplitSection.model_validate({"scheme": scheme, "folds": 4}), seed=1)
    )
    assert (TRAIN in fold) == (scheme == "holdout")


@pytest.mark.parametrize("scheme", ["folds", "leave_one_out", "holdout"])
def test_no_split_by_group_ever_has_a_group_on_both_sides(spectra_recipe: Path, scheme: str) -> None:
    captures = load_captures(load_recipe(spectra_recipe))
    frame = captures.manifest.frame
    frame["klass"] = [f"kind {int(name[1:]) % 5}" for name in frame["subject"]]

    split = SplitSection.model_validate(
        {"scheme": scheme, "folds": 3, "group": "klass", "holdout_share": 0.4}
    )
    fold = split_captures(captures, split, seed=1)

    assert (frame.assign(fold=fold).groupby("klass")["fold"].nunique() == 1).all()
    assert (frame.assign(fold=fold).groupby("subject")["fold"].nunique() == 1).all()
    assert len(set(fold)) == {"folds": 3, "leave_one_out": 5, "holdout": 3}[scheme]


def test_a_group_that_would_cut_a_subject_or_is_not_there_is_refused(spectra_recipe: Path) -> None:
    captures = load_captures(load_recipe(spectra_recipe))
    split = SplitSection(group="klass")
    with pytest.raises(ManifestError, match=r"has no column 'klass' for split\.group"):
        split_captures(captures, split, seed=1)
    captures.manifest.frame["klass"] = ["front", "back"] * (len(captures) // 2)
    with pytest.raises(ManifestError, match="subject g0 has 2 values of 'klass'"):
        split_captures(captures, split, seed=1)
    captures.manifest.frame.loc[3, "klass"] = None
    with pytest.raises(ManifestError, match=r"1 rows of .* have no 'klass'"):
        split_captures(captures, split, seed=1)


def test_scans_that_do_not_cover_the_grid_are_named(spectra_recipe: Path) -> None:
    from weft_training.fit import make_task

    recipe = load_recipe(spectra_recipe, ["model.grid={from_nm: 800, to_nm: 1600, step_nm: 10}"])

    with pytest.raises(ManifestError, match=r"cover 900-1700 nm, model\.grid needs 810-1590 nm"):
        make_task(recipe, load_captures(recipe)).prepare(quiet=True)


def test_a_simulated_mark_of_unknown_place_is_refused_not_looked_for_in_vain(photos_recipe: Path) -> None:
    recipe = load_recipe(photos_recipe)
    assert isinstance(recipe, WeightRecipe)
    captures = load_captures(recipe)
    told = {"simulated": True, "mark": "qr", "mark_mm": 60.0, "mark_mm_per_pixel_truth": 2.0}
    captures.manifest.frame[list(told)] = list(told.values())

    with pytest.raises(ManifestError, match="simulate the photos again"):
        PhotoShelf(captures, recipe)
    unmarked = load_recipe(photos_recipe, ["data.marks=none"])
    assert isinstance(unmarked, WeightRecipe)
    shelf = PhotoShelf(captures, unmarked)  # the way out that the refusal names
    shelf.look(quiet=True)
    assert not shelf.scaled.any()


@pytest.mark.parametrize("simulated", [True, False])
def test_only_a_simulated_photo_has_its_scale_from_the_simulator(
    simulated: bool, photos_recipe: Path
) -> None:
    recipe = load_recipe(photos_recipe)
    assert isinstance(recipe, WeightRecipe)
    captures = load_captures(recipe)
    told = {
        "simulated": simulated,
        "mark": "qr",
        "mark_mm": 60.0,
        "mark_mm_per_pixel_truth": 2.0,
        "mark_x_px_truth": 30.0,
        "mark_y_px_truth": 20.0,
        "mark_tilt_degrees_truth": 40.0,
    }
    captures.manifest.frame[list(told)] = list(told.values())

    shelf = PhotoShelf(captures, recipe)
    shelf.look(quiet=True)

    known = [shelf.mm_per_pixel(row) for row in range(len(shelf)) if shelf.scaled[row]]
    assert bool(known) == simulated  # there is no label in these photos to be found
    assert known == pytest.approx([2.0] * len(known), rel=0.05)  # as the finder reads, not to the last digit
    assert len(set(known)) == len(known)
    places = [shelf.mark_at(row) for row in range(len(shelf)) if shelf.scaled[row]]
    assert all((at.x_px, at.y_px) == (30.0, 20.0) for at in places)
    assert [at.facing for at in places] == pytest.approx([0.766] * len(places), abs=0.1)
