"""Tables below the lines: photos together, use of the scale, intervals by group, classes."""

import numpy as np
import pandas as pd
import pytest

from weft_training.coverage import nested_intervals
from weft_training.result_plots import by_photos
from weft_training.result_tables import classes, curve_of, interval_groups, photos_together, use_of_scale


def sets(subjects: int, photos: int, *, seed: int = 0) -> pd.DataFrame:
    """Answers about sets of photos whose errors are independent: of k photos it is their mean."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(subjects):
        off = generator.normal(0, 0.3, photos)
        for count in range(1, photos + 1):
            mode = "one" if count == 1 else "all" if count == photos else "few"
            for draw in range(photos if count == 1 else 1 if count == photos else 3):
                chosen = [draw] if count == 1 else generator.choice(photos, count, replace=False)
                rows.append((f"s{number}", mode, count, float(100 * np.exp(off[chosen].mean()))))
    frame = pd.DataFrame(rows, columns=["subject", "mode", "n_photos", "predicted_grams"])
    return frame.assign(grams=100.0, capture=[f"c{number}" for number in range(len(frame))])


def test_the_curve_is_of_the_same_subjects_at_every_number_of_photos() -> None:
    frame = pd.concat([sets(30, 4), sets(5, 9, seed=1).assign(subject=lambda rows: "t" + rows["subject"])])

    curve = curve_of(frame)

    assert list(curve.columns) == [1, 2, 3, 4]  # nine photos have only five of 35 subjects
    assert len(curve) == 35
    assert curve.notna().all(axis=None)
    assert curve.mean().to_numpy() == pytest.approx(0.3 * np.sqrt(2 / np.pi / np.arange(1, 5)), rel=0.25)


def test_a_subject_weighs_the_same_however_many_sets_were_drawn_of_it() -> None:
    frame = sets(2, 3)
    doubled = pd.concat([frame, *[frame[frame["subject"] == "s0"]] * 5])

    assert curve_of(doubled).to_numpy() == pytest.approx(curve_of(frame).to_numpy())


def test_more_photos_than_an_estimate_takes_are_no_point_of_the_curve() -> None:
    assert list(curve_of(sets(6, 12)).columns) == list(range(1, 10))


def test_every_added_photo_is_held_against_one_photo() -> None:
    table = photos_together(sets(60, 4), "parcels")

    assert table is not None
    assert [row[0] for row in table.rows] == ["1", "2", "3", "4"]
    assert table.rows[0][2] == ""
    last = str(table.rows[-1][2])
    assert last.startswith("-")
    assert last.count("-") == 3  # the value and both ends lie below: a clear gain
    assert "the 60 parcels that have 4 photos" in table.note
    by_photos(curve_of(sets(60, 4)))  # is drawn without complaint
    assert photos_together(sets(5, 1), "parcels") is None


def scaled(*, subjects: int = 40) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = []
    for number in range(subjects):
        off = generator.normal(0, 0.1)
        marked = number % 4 > 0
        rows.append((number, "one", float(marked), off))
        rows.append((number, "unmarked", 0.0, 2 * off))
        if marked:
            rows += [(number, "mismarked", factor, off + np.log(factor)) for factor in (1.25, 0.8)]
    frame = pd.DataFrame(rows, columns=["number", "mode", "scale_factor", "off"])
    return frame.assign(
        subject="s" + frame["number"].astype(str),
        capture="c" + frame["number"].astype(str),
        n_photos=1,
        grams=100.0,
        predicted_grams=100 * np.exp(frame["off"]),
        marked=(frame["mode"] != "unmarked") & (frame["number"] % 4 > 0),
    )


def test_the_scale_is_judged_on_photos_whose_mark_was_found() -> None:
    frame = scaled()
    blind = frame[frame["mode"] == "one"].assign(predicted_grams=lambda rows: 100 * np.exp(2 * rows["off"]))

    table = use_of_scale(frame, blind)

    assert table is not None
    assert [row[0] for row in table.rows] == [
        "with the mark",
        "mark hidden",
        "wrong mark: scale x 0.8",
        "wrong mark: scale x 1.25",
        "a model that has never seen a mark",
    ]
    assert str(table.rows[1][3]).startswith("+100.0 %")
    assert "30 photos of 30 subjects" in table.note
    assert "Mark hidden against a model that has never seen one: +0.0 % (+0.0 to +0.0)" in table.note


def test_without_marks_there_is_no_table_of_scales() -> None:
    assert use_of_scale(sets(5, 3), None) is None


def test_intervals_are_told_by_number_of_photos_with_and_without_a_mark() -> None:
    generator = np.random.default_rng(0)
    frame = sets(90, 4)
    frame = frame.assign(
        predicted_grams=frame["grams"] * np.exp(generator.normal(0, 0.1, len(frame))),
        fold=frame["subject"].map(lambda name: int(name[1:]) % 5),
        marked=frame["subject"].map(lambda name: int(name[1:]) % 2 == 0),
    )
    frame = frame.assign(
        q_low_grams=frame["predicted_grams"] * 0.9, q_high_grams=frame["predicted_grams"] * 1.1
    )
    nested = nested_intervals(frame, 0.9)
    assert nested is not None

    table = interval_groups(nested, 0.9)

    assert table is not None
    assert [str(row[0]) for row in table.rows[:4]] == ["one photo", "2 photos", "3 photos", "all photos"]
    assert {str(row[1]) for row in table.rows[:4]} == {"90"}
    marked = {str(row[0]): str(row[1]) for row in table.rows[4:]}
    assert marked["with a mark, sets of 1"] == marked["without a mark, sets of 1"] == "45"
    assert all(0.7 < float(str(row[2])) <= 1 for row in table.rows)


def test_blends_are_told_apart_from_pure_fibres() -> None:
    frame = pd.DataFrame(
        {
            "subject": ["a", "a", "b", "c"],
            "cotton_share": [1.0, 1.0, 0.0, 0.55],
            "wool_share": [0.0, 0.0, 1.0, 0.45],
            "predicted_cotton_share": [0.9, 0.3, 0.2, 0.8],
            "predicted_wool_share": [0.1, 0.7, 0.8, 0.2],
        }
    )

    table = classes(frame)

    assert table is not None
    assert table.rows == (
        ("cotton", "1 of 1", "1 of 2"),
        ("wool", "1 of 1", "1 of 1"),
        ("cotton 55 / wool 45", "1 of 1", "1 of 1"),
    )
