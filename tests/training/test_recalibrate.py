"""`weft recalibrate`: a few known swatches move a bundle's shares, or it says why they cannot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from weft.bundle import load_bundle
from weft.cli import main
from weft.errors import GridMismatchError, ManifestError, RecalibrationError, WeftError, WrongTaskError
from weft.identifier import Identifier
from weft.spectra import make_scan
from weft_datasets.importers.folder import read
from weft_datasets.manifest import write_manifest
from weft_training.recalibrate import recalibrate
from weft_training.share_correction import Correction

NM = np.arange(900.0, 1701.0, 10.0)
CENTRES = np.array([1000.0, 1200.0, 1400.0, 1600.0])  # of the tiny bundle: cotton, wool, polyester, nylon
DRIFT = Correction(power=0.8, shift=(0.15, 0.0, -0.15, 0.0))
Table = Callable[..., Path]


def spectra(shares: np.ndarray) -> np.ndarray:
    """Spectra (n, L) for which the tiny bundle says just these shares (n, 4)."""
    window = np.exp(-(((NM - CENTRES[:, None]) / 80) ** 2))
    bumps = np.exp(-(((NM - CENTRES[:, None]) / 90) ** 2))
    seen = (window / window.sum(1, keepdims=True)) @ bumps.T
    return np.linalg.solve(seen, (np.log(np.maximum(shares, 1e-4)).T + 10) / 10).T @ bumps


def blends(cotton: list[float]) -> np.ndarray:
    rows = np.zeros((len(cotton), 4))
    rows[:, 0], rows[:, 2] = cotton, 1 - np.array(cotton)
    return rows


@pytest.fixture
def known(tmp_path: Path) -> Table:
    """Writes a table of swatches, two scans each; their truth is what `moved` makes of the answer."""

    def write(
        cotton: list[float],
        moved: Correction = DRIFT,
        *,
        noise: float = 0.0,
        nm: np.ndarray = NM,
        seed: int = 0,
    ) -> Path:
        answered = blends(cotton)
        truth = 100 * moved.apply(np.maximum(answered, 1e-4))
        rng = np.random.default_rng(0)
        truth[:, 0] += rng.normal(0, noise, len(truth)) if noise else 0
        rows = []
        for swatch, (scan, share) in enumerate(zip(spectra(answered), truth, strict=True)):
            cotton_pct = round(float(share[0]), 2)
            for _ in range(2):
                values = np.interp(nm, NM, scan) + rng.normal(0, 1e-4, len(nm))
                row = {"subject": f"s{swatch:02}", "quantity": "absorbance", "cotton_pct": cotton_pct}
                rows.append(
                    row | {"polyester_pct": 100 - cotton_pct} | dict(zip(map(str, nm), values, strict=True))
                )
        path = tmp_path / "known.csv"
        pd.DataFrame(rows).to_csv(path, index=False)
        return path

    return write


def cotton_of(bundle: Path, cotton: float) -> float:
    scan = make_scan(values=spectra(blends([cotton]))[0], wavelength_nm=NM, quantity="absorbance")
    return Identifier(load_bundle(bundle)).identify(scan).shares[0].share


def test_five_swatches_bring_a_drifted_bundle_back(
    tiny_fibre_bundle: Path, known: Table, tmp_path: Path
) -> None:
    table = known([0.2, 0.35, 0.5, 0.65, 0.8])

    report = recalibrate(tiny_fibre_bundle, table, tmp_path / "new.onnx")

    wanted = float(DRIFT.apply(np.maximum(blends([0.45]), 1e-4))[0, 0])
    assert abs(cotton_of(tiny_fibre_bundle, 0.45) - wanted) > 0.05
    assert abs(cotton_of(report.path, 0.45) - wanted) < 0.01
    found = report.card.recalibration
    assert found is not None
    assert (found.kind, found.swatches, found.scans) == ("slope and bias", 5, 10)
    assert found.mae_points_after < 0.3 * found.mae_points_before
    assert found.parent_sha256 == load_bundle(tiny_fibre_bundle).sha256


def test_five_swatches_carry_no_margin_and_the_card_says_so(
    tiny_fibre_bundle: Path, known: Table, tmp_path: Path
) -> None:
    report = recalibrate(tiny_fibre_bundle, known([0.2, 0.35, 0.5, 0.65, 0.8]), tmp_path / "new.onnx")

    assert load_bundle(tiny_fibre_bundle).card.coverage == 0.9
    assert report.card.coverage is None
    assert "5 known swatches cannot carry them" in report.card.limits[-1]
    assert {"parent.balanced_accuracy", "recalibration.mae_points_after"} <= set(report.card.metrics)


def test_many_swatches_carry_margins_of_their_own(
    tiny_fibre_bundle: Path, known: Table, tmp_path: Path
) -> None:
    table = known(np.linspace(0.15, 0.85, 24).tolist(), noise=1.0)

    report = recalibrate(tiny_fibre_bundle, table, tmp_path / "new.onnx")

    assert (report.card.coverage, report.card.calibration_subjects) == (0.9, 24)
    bundle = load_bundle(report.path)
    scans = spectra(blends([0.3, 0.5, 0.7]))
    answer = bundle.run({"wavelength_nm": NM.astype(np.float32), "absorbance": scans.astype(np.float32)})
    width = answer["high"][:, 0] - answer["low"][:, 0]
    assert ((width > 0.01) & (width < 0.2)).all()
    assert (answer["low"] <= answer["shares"]).all()
    assert (answer["shares"] <= answer["high"]).all()


def test_what_the_graph_says_is_the_correction_of_what_the_parent_says(
    tiny_fibre_bundle: Path, known: Table, tmp_path: Path
) -> None:
    report = recalibrate(tiny_fibre_bundle, known([0.2, 0.35, 0.5, 0.65, 0.8]), tmp_path / "new.onnx")

    rng = np.random.default_rng(1)
    inputs = {
        "wavelength_nm": NM.astype(np.float32),
        "absorbance": rng.uniform(0, 1, (20, len(NM))).astype(np.float32),
    }
    before, after = load_bundle(tiny_fibre_bundle).run(inputs), load_bundle(report.path).run(inputs)
    # A common power and one factor a fibre: log ratios of two fibres stay on one line.
    ratio = [np.log(answer["shares"][:, 0] / answer["shares"][:, 2]) for answer in (before, after)]
    line = np.polyfit(ratio[0], ratio[1], 1)
    assert np.abs(np.polyval(line, ratio[0]) - ratio[1]).max() < 1e-4
    assert np.array_equal(before["unknown"], after["unknown"])
    assert report.card.proof.measured < 1e-5
    assert report.card.proof.cases > 50


def test_a_bundle_that_takes_photos_too_is_not_moved_by_scans(tiny_pair_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RecalibrationError, match="takes photos too, and known scans say nothing of those"):
        recalibrate(tiny_pair_bundle, tmp_path / "known.csv", tmp_path / "new.onnx")


def test_a_recalibrated_bundle_can_be_recalibrated(
    tiny_fibre_bundle: Path, known: Table, tmp_path: Path
) -> None:
    table = known([0.2, 0.35, 0.5, 0.65, 0.8])
    first = recalibrate(tiny_fibre_bundle, table, tmp_path / "one.onnx", name="mill", version="7")

    assert (first.card.name, first.card.version) == ("mill", "7")
    with pytest.raises(RecalibrationError, match="a correction does not help"):
        recalibrate(first.path, table, tmp_path / "two.onnx")


def test_a_manifest_will_do_as_well_as_a_table(tiny_fibre_bundle: Path, known: Table, tmp_path: Path) -> None:
    table = known([0.2, 0.35, 0.5, 0.65, 0.8])
    write_manifest(read(table), tmp_path / "known.parquet")

    from_table = recalibrate(tiny_fibre_bundle, table, tmp_path / "a.onnx")
    from_manifest = recalibrate(tiny_fibre_bundle, tmp_path / "known.parquet", tmp_path / "b.onnx")

    assert from_table.card.recalibration == from_manifest.card.recalibration


def test_one_composition_carries_a_bias_and_no_slope(
    tiny_fibre_bundle: Path, known: Table, tmp_path: Path
) -> None:
    report = recalibrate(tiny_fibre_bundle, known([0.4, 0.401, 0.402, 0.4, 0.401]), tmp_path / "new.onnx")

    assert report.card.recalibration is not None
    assert report.card.recalibration.kind == "bias"


NONE = Correction(power=1.0, shift=(0.0, 0.0, 0.0, 0.0))
HUGE = Correction(power=1.0, shift=(1.8, 0.0, -1.8, 0.0))


@pytest.mark.parametrize(
    ("cotton", "moved", "noise", "words"),
    [
        ([0.2, 0.5, 0.8], DRIFT, 0.0, r"3 known swatches, at least 5 are needed .* share a `subject`"),
        ([0.2, 0.35, 0.5, 0.65, 0.8], NONE, 2.0, r"a correction does not help: .*; keep the bundle"),
        ([0.3, 0.35, 0.4, 0.45, 0.5], HUGE, 0.0, r"that is no drift; check labels"),
    ],
)
def test_swatches_that_carry_no_correction_are_refused(
    tiny_fibre_bundle: Path,
    known: Table,
    tmp_path: Path,
    cotton: list[float],
    moved: Correction,
    noise: float,
    words: str,
) -> None:
    with pytest.raises(RecalibrationError, match=words):
        recalibrate(tiny_fibre_bundle, known(cotton, moved, noise=noise), tmp_path / "new.onnx")

    assert not (tmp_path / "new.onnx").exists()


def test_swatches_beyond_what_the_bundle_has_seen_are_refused(
    write_fibre_bundle: Callable[..., Path], known: Table, tmp_path: Path
) -> None:
    ranges = {"cotton": [0.2, 0.6], "wool": [0, 0], "polyester": [0.4, 0.8], "nylon": [0, 0]}
    bundle = write_fibre_bundle(tmp_path / "narrow.onnx", composition={"share_range": ranges})

    with pytest.raises(RecalibrationError, match=r"s04 is \d+% cotton, the bundle was trained on 20% to 60%"):
        recalibrate(bundle, known([0.25, 0.35, 0.4, 0.5, 0.8]), tmp_path / "new.onnx")


def change(table: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> Path:
    edit(pd.read_csv(table)).to_csv(table, index=False)
    return table


def silk(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(silk_pct=30.0, polyester_pct=rows["polyester_pct"] - 30)


def flat(rows: pd.DataFrame) -> pd.DataFrame:
    bands = rows.columns[4:]
    return rows.assign(**dict.fromkeys(bands, 0.4)).assign(**{bands[0]: 0.41})


def pure(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(cotton_pct=100.0, polyester_pct=0.0)


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        (silk, ManifestError, r"s00 is 30% of what the bundle does not answer for \(it knows cotton, wool"),
        (flat, RecalibrationError, r"takes s00, s01, s02 for no textile it knows"),
        (pure, RecalibrationError, r"every known swatch is one pure fibre"),
        (lambda rows: rows.drop(columns=["cotton_pct", "polyester_pct"]), ManifestError, "carries no truth"),
    ],
)
def test_tables_that_do_not_fit_the_bundle_are_refused(
    tiny_fibre_bundle: Path,
    known: Table,
    tmp_path: Path,
    edit: Callable[[pd.DataFrame], pd.DataFrame],
    error: type[WeftError],
    words: str,
) -> None:
    table = change(known([0.35, 0.4, 0.45, 0.5, 0.65]), edit)

    with pytest.raises(error, match=words):
        recalibrate(tiny_fibre_bundle, table, tmp_path / "new.onnx")


def test_scans_that_end_too_early_are_refused(tiny_fibre_bundle: Path, known: Table, tmp_path: Path) -> None:
    table = known([0.2, 0.35, 0.5, 0.65, 0.8], nm=np.arange(900.0, 1500.0, 10.0))

    with pytest.raises(
        (ManifestError, GridMismatchError), match="covers 900-1490 nm, bundle needs 950-1650 nm"
    ):
        recalibrate(tiny_fibre_bundle, table, tmp_path / "new.onnx")


def test_a_bundle_that_weighs_is_refused(tiny_weight_bundle: Path, known: Table, tmp_path: Path) -> None:
    with pytest.raises(WrongTaskError, match="a bundle for weight, needed one for composition"):
        recalibrate(tiny_weight_bundle, known([0.2, 0.4, 0.6]), tmp_path / "new.onnx")


def test_the_verb_says_what_was_gained_and_what_is_lost(
    tiny_fibre_bundle: Path, known: Table, tmp_path: Path
) -> None:
    table = known([0.2, 0.35, 0.5, 0.65, 0.8])
    words = ["recalibrate", str(tiny_fibre_bundle), str(table), "--out", str(tmp_path / "new.onnx")]

    said = CliRunner().invoke(main, words)

    assert said.exit_code == 0, said.output
    assert "slope and bias from 5 swatches; those left out err by" in said.output
    assert "no margins: 5 known swatches cannot carry them" in said.output


def test_the_verb_ends_in_one_line_where_it_cannot(
    tiny_fibre_bundle: Path, known: Table, tmp_path: Path
) -> None:
    table = known([0.2, 0.5, 0.8])
    words = ["recalibrate", str(tiny_fibre_bundle), str(table), "--out", str(tmp_path / "new.onnx")]

    said = CliRunner().invoke(main, words)

    assert said.exit_code == 1
    assert said.output.startswith("Error: ")
    assert said.output.count("\n") == 1
