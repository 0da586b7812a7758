"""Pictures and page of a run: complete, readable without a network, and never silent about simulated data."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from weft.errors import StoreError
from weft_datasets.manifest import make_manifest
from weft_training import plots
from weft_training.metrics import metrics_of
from weft_training.report import headline_rows, write_report
from weft_training.worst import worst_cases, worst_rows

NM = np.arange(900.0, 1701.0, 10.0)


def weights(subjects: int = 60, *, lightest: float = 100.0, heaviest: float = 1000.0) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    rows = []
    for number, grams in enumerate(np.geomspace(lightest, heaviest, subjects)):
        for mode, photos in (("one", 1), ("one", 1), ("all", 2)):
            said = grams * np.exp(generator.normal(0, 0.2))
            rows.append(
                (f"c{number}", f"s{number}", number % 5, grams, said, said * 0.8, said * 1.2, photos, mode)
            )
    names = [
        "capture",
        "subject",
        "fold",
        "grams",
        "predicted_grams",
        "q_low_grams",
        "q_high_grams",
        "n_photos",
        "mode",
    ]
    return pd.DataFrame(rows, columns=names)


def shares(subjects: int = 30) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    cotton = generator.choice([0.0, 0.5, 1.0], subjects)
    said = np.clip(cotton + generator.normal(0, 0.1, subjects), 0, 1)
    return pd.DataFrame(
        {
            "capture": [f"c{number}" for number in range(subjects)],
            "subject": [f"s{number}" for number in range(subjects)],
            "fold": np.arange(subjects) % 5,
            "cotton_share": cotton,
            "wool_share": 1 - cotton,
            "predicted_cotton_share": said,
            "predicted_wool_share": 1 - said,
            "unknown_truth": (np.arange(subjects) % 6 == 0).astype(float),
            "predicted_unknown": generator.random(subjects),
        }
    )


def size_of(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        return image.size


def test_weights_get_every_picture_their_rows_allow() -> None:
    found = plots.figures_of(weights(), "weight", coverage=0.9, simulated=False)

    assert list(found) == ["predicted-against-true", "error-by-mass", "reliability"]
    assert all(min(size_of(png)) > 300 for png in found.values())


def test_no_interval_no_picture_of_its_reliability() -> None:
    few = weights(10)  # the other folds hold under nine subjects

    assert "reliability" not in plots.figures_of(few, "weight", coverage=0.9, simulated=False)


def test_compositions_get_every_picture_their_rows_allow() -> None:
    found = plots.figures_of(shares(), "composition", coverage=0.9, simulated=False)
    without_unknown = plots.figures_of(
        shares().assign(unknown_truth=0.0), "composition", coverage=0.9, simulated=False
    )

    assert list(found) == ["confusion", "mae-by-fibre", "shares-against-truth", "unknown"]
    assert "unknown" not in without_unknown


def test_every_title_of_simulated_results_says_so() -> None:
    figures = [
        plots.predicted_against_true(weights(), coverage=0.9),
        plots.error_by_mass(weights()),
        plots.reliability(weights(), coverage=0.9),
        plots.confusion_of(shares()),
        plots.mae_by_fibre(shares()),
        plots.shares_against_truth(shares()),
        plots.unknown_scores(shares()),
    ]

    for figure in figures:
        assert figure is not None
        plots.png(figure, simulated=True)
        assert figure.get_suptitle().endswith("(simulated data)")


@pytest.mark.parametrize(("lightest", "heaviest"), [(1400.0, 1700.0), (0.5, 40_000.0), (300.0, 300.0)])
def test_any_range_of_masses_can_be_drawn(lightest: float, heaviest: float) -> None:
    frame = weights(lightest=lightest, heaviest=heaviest)

    assert len(plots.figures_of(frame, "weight", coverage=0.9, simulated=False)) == 3


def test_the_same_rows_give_the_same_picture() -> None:
    first, second = (plots.png(plots.error_by_mass(weights())) for _ in range(2))

    assert first == second


def test_the_worst_case_of_each_subject_comes_first() -> None:
    frame = weights()
    off = np.abs(np.log(frame["predicted_grams"] / frame["grams"])).where(frame["mode"] == "one")

    found = worst_rows(frame, "weight")

    assert found["off"].is_monotonic_decreasing
    assert found["off"].iloc[0] == off.max()
    assert found["subject"].is_unique


def test_worst_photos_are_shown_and_a_broken_one_does_not_hide_the_others(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (300, 200), (40 * number, 80, 120)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n then nothing")
    frame = pd.DataFrame(
        {
            "capture": [f"c{number}" for number in range(4)],
            "subject": [f"s{number}" for number in range(4)],
            "kind": "photo",
            "path": [f"{number}.png" for number in range(4)],
            "grams": 100.0,
        }
    )
    manifest = make_manifest(frame, root=tmp_path, name="made", notes={})
    rows = frame.assign(predicted_grams=[90.0, 110.0, 200.0, 400.0], mode="one")

    png = worst_cases(rows, "weight", manifest, simulated=False)

    assert png is not None
    assert size_of(png)[0] > 1000


def test_worst_spectra_are_shown_as_curves(tmp_path: Path) -> None:
    rows = shares(6)
    frame = rows[["capture", "subject"]].assign(
        kind="spectrum",
        wavelength_nm=[NM] * 6,
        absorbance=[np.exp(-(((NM - 1200) / 100) ** 2)).astype(np.float32)] * 6,
        cotton_pct=100.0,
    )
    manifest = make_manifest(frame, root=tmp_path, name="made", notes={})

    png = worst_cases(rows, "composition", manifest, simulated=True)

    assert png is not None
    assert size_of(png)[1] > 600  # two lines of four


def test_captures_that_the_manifest_does_not_hold_have_no_picture(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"capture": ["other"], "subject": ["s"], "kind": ["photo"], "path": ["a.png"], "grams": [1.0]}
    )
    manifest = make_manifest(frame, root=tmp_path, name="made", notes={})

    assert worst_cases(weights(), "weight", manifest, simulated=False) is None


def test_the_page_shows_warnings_headlines_and_escapes_what_it_is_told(tmp_path: Path) -> None:
    page = write_report(
        tmp_path,
        title="a <b>bold</b> bundle",
        task="weight",
        metrics=metrics_of(weights(), "weight"),
        pictures={"error-by-mass": b"\x89PNG"},
        facts=[("data", "<script>alert(1)</script>")],
        warnings=["something is odd"],
    ).read_text()

    assert "<script>" not in page
    assert "<b>bold</b>" not in page
    assert "something is odd" in page
    assert "truths inside the interval, one photo" in page
    assert "honest between" in page
    assert json.loads((tmp_path / "metrics.json").read_text())["warnings"] == ["something is odd"]


def test_headlines_leave_out_what_was_not_measured() -> None:
    rows = headline_rows({"one.alde": 0.2, "one.alde_ci_low": 0.18, "one.alde_ci_high": 0.22}, "weight")

    assert rows == [("ALDE, mean |ln(predicted / true)|, one photo", "0.200", "0.180 to 0.220")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError, match="name a folder with --out"):
        write_report(
            tmp_path / "file", title="t", task="weight", metrics={}, pictures={}, facts=[], warnings=[]
        )
