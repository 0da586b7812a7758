"""Simple models and oracles: what they are told, and that they never see the fold they are asked of."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weft_datasets.manifest import Manifest, make_manifest
from weft_training import rivals_photos, rivals_spectra
from weft_training.data import TRAIN
from weft_training.rivals_photos import Photos


def things(*, subjects: int = 60, photos: int = 3) -> pd.DataFrame:
    """Foods of three classes, parcels of two wraps: the same table serves both."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(subjects):
        klass = number % 3
        grams = float(np.exp(4 + klass + generator.normal(0, 0.1)))
        rows += [
            {
                "capture": f"s{number}-{photo}",
                "subject": f"s{number}",
                "grams": grams,
                "klass": "abc"[klass],
                "view": "top" if photo else "side",
                "mark_mm_per_pixel_truth": 0.1 if photo else np.nan,
                "volume_litres": grams / (200 if number % 2 else 100),
                "wrap": "bag" if number % 2 else "box",
            }
            for photo in range(photos)
        ]
    return pd.DataFrame(rows)


def asked(frame: pd.DataFrame, fold: np.ndarray | None = None) -> Photos:
    subjects = frame["subject"].to_numpy(str)
    number = frame["subject"].map(lambda name: int(name[1:])).to_numpy()
    generator = np.random.default_rng(1)
    hint = np.log(frame["grams"].to_numpy())[:, None] + generator.normal(0, 0.05, (len(frame), 6))
    return Photos(frame, (number // 3) % 4 if fold is None else fold, subjects, lambda: hint)


def alde(predictions: pd.DataFrame, mode: str = "one") -> float:
    rows = predictions[predictions["mode"] == mode]
    return float(np.abs(np.log(rows["predicted_grams"] / rows["grams"])).mean())


def test_every_rival_answers_every_photo_and_every_subject_once() -> None:
    frame = things()
    for name in ("train_median", "frozen_ridge", "frozen_ridge_mark", "class_median", "class_mark"):
        found = rivals_photos.predict(name, asked(frame))

        one, together = found[found["mode"] == "one"], found[found["mode"] == "all"]
        assert sorted(one["capture"]) == sorted(frame["capture"]), name
        assert sorted(together["subject"]) == sorted(set(frame["subject"])), name
        assert (together["n_photos"] == 3).all()
        assert found["predicted_grams"].notna().all()


def test_who_is_told_more_errs_less() -> None:
    photos = asked(things())
    median, told = (rivals_photos.predict(name, photos) for name in ("train_median", "class_median"))

    assert alde(median) > 0.5
    assert alde(told) == pytest.approx(0.08, abs=0.03)  # what the classes do not explain
    assert alde(rivals_photos.predict("frozen_ridge", photos)) < 0.1
    assert alde(rivals_photos.predict("volume_and_wrap", photos)) < 0.001  # mass is volume by wrap here


def test_an_object_left_out_has_no_say_in_what_is_said_of_it() -> None:
    frame = things()
    heavy = frame.assign(grams=frame["grams"].where(frame["subject"] != "s0", 1e6))
    for name in ("train_median", "class_median", "volume_and_wrap"):
        said = [
            rivals_photos.predict(name, asked(table))
            .set_index("capture")["predicted_grams"]
            .filter(like="s0-")
            for table in (frame, heavy)
        ]
        assert said[0].equals(said[1]), name


def test_a_holdout_is_fitted_on_its_training_rows_and_asked_of_the_rest() -> None:
    frame = things()
    number = frame["subject"].map(lambda name: int(name[1:])).to_numpy()
    fold = np.where(number < 40, TRAIN, number % 2)

    found = rivals_photos.predict("train_median", asked(frame, fold))

    assert set(found["subject"]) == {f"s{number}" for number in range(40, 60)}
    assert set(found["fold"]) == {0, 1}
    expected = np.log(frame[number < 40].drop_duplicates("subject")["grams"]).median()
    assert np.log(found["predicted_grams"].to_numpy()) == pytest.approx(expected)


def test_of_several_photos_the_median_answer_is_said() -> None:
    found = rivals_photos.predict("frozen_ridge", asked(things()))
    one, together = found[found["mode"] == "one"], found[found["mode"] == "all"]

    expected = one.groupby("subject")["predicted_grams"].median()
    assert together.set_index("subject")["predicted_grams"].to_numpy() == pytest.approx(
        expected[together["subject"]].to_numpy()
    )


def scans() -> tuple[Manifest, pd.DataFrame]:
    generator = np.random.default_rng(0)
    nm = np.linspace(950, 1650, 80)
    peaks = {"cotton": 1200.0, "polyester": 1400.0}
    rows, predictions = [], []
    for number in range(12):
        share = float(number % 2) if number < 8 else 0.2 * (number - 7)
        curve = share * np.exp(-(((nm - peaks["cotton"]) / 40) ** 2))
        curve = curve + (1 - share) * np.exp(-(((nm - peaks["polyester"]) / 40) ** 2))
        for scan in range(2):
            values = generator.uniform(0.5, 2) * curve + generator.uniform(0, 1)
            rows.append(
                {
                    "capture": f"g{number}-{scan}",
                    "subject": f"g{number}",
                    "kind": "spectrum",
                    "wavelength_nm": nm,
                    "absorbance": (values + generator.normal(0, 0.01, len(nm))).astype(np.float32),
                    "cotton_pct": 100 * share,
                    "polyester_pct": 100 * (1 - share),
                }
            )
            predictions.append((f"g{number}-{scan}", f"g{number}", number % 4, share, 1 - share, 0.5, 0.5))
    names = ["capture", "subject", "fold", "cotton_share", "polyester_share"]
    frame = pd.DataFrame(predictions, columns=[*names, "predicted_cotton_share", "predicted_polyester_share"])
    return make_manifest(pd.DataFrame(rows), root=Path(), name="scans", notes={}), frame


def test_simple_models_read_fibres_and_shares_of_scans_they_have_not_seen() -> None:
    manifest, predictions = scans()
    truth = predictions["cotton_share"].to_numpy()
    pure = (truth < 0.1) | (truth > 0.9)
    for name in ("snv_lda", "snv_savgol_logistic"):
        found = rivals_spectra.predict(name, manifest, predictions)
        assert ((found["predicted_cotton_share"] > 0.5) == (truth > 0.5))[pure].all(), name
    shares = rivals_spectra.predict("snv_sg1_pls", manifest, predictions)
    assert np.abs(shares["predicted_cotton_share"] - truth).mean() < 0.05
    mean = rivals_spectra.predict("train_mean", manifest, predictions)
    assert mean["predicted_cotton_share"].nunique() == 4  # one a fold


def test_spectra_of_another_order_than_the_predictions_are_matched_by_capture() -> None:
    manifest, predictions = scans()
    shuffled = predictions.sample(frac=1, random_state=0)

    first = rivals_spectra.predict("snv_lda", manifest, predictions).set_index("capture")
    second = rivals_spectra.predict("snv_lda", manifest, shuffled).set_index("capture").loc[first.index]

    assert np.allclose(first["predicted_cotton_share"], second["predicted_cotton_share"], atol=1e-6)
