"""`weft evaluate`: the bundle's own answers, beside the truth, on one page."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import segno
from click.testing import CliRunner
from PIL import Image

from weft.bundle import load_bundle
from weft.cli import main
from weft.errors import ManifestError
from weft.marks import MarkHint
from weft.weigher import Weigher
from weft_datasets.manifest import Manifest, make_manifest, write_manifest
from weft_training.evaluate import answers_of, evaluate, known_shares, saw

NM = np.arange(900.0, 1701.0, 10.0)


def photo_manifest(folder: Path, *, subjects: int = 10, photos: int = 2, **columns: object) -> Manifest:
    """Sharp, textured photos; every subject weighs what the tiny bundle says at its mean brightness."""
    generator = np.random.default_rng(0)
    rows = []
    (folder / "photos").mkdir(parents=True)
    for number in range(subjects):
        for photo in range(photos):
            level = 60 + 5 * number
            pixels = np.clip(generator.normal(level, 45, (480, 640, 3)), 0, 255).astype(np.uint8)
            path = folder / "photos" / f"{number}-{photo}.png"
            Image.fromarray(pixels).save(path)
            rows.append(
                {
                    "capture": f"c{number}-{photo}",
                    "subject": f"s{number}",
                    "kind": "photo",
                    "path": f"photos/{number}-{photo}.png",
                    "grams": 100 + 10 * level * (1.4 if number % 5 == 0 else 1.0),
                }
            )
    frame = pd.DataFrame(rows).assign(**columns)
    return make_manifest(frame, root=folder, name="made-photos", notes={})


def scan_manifest(folder: Path, *, subjects: int = 12, **columns: object) -> Manifest:
    generator = np.random.default_rng(0)
    centres = {"cotton_pct": 1000.0, "wool_pct": 1200.0, "polyester_pct": 1400.0, "nylon_pct": 1600.0}
    rows = []
    for number in range(subjects):
        name = list(centres)[number % 4]
        for scan in range(2):
            bump = np.exp(-(((NM - centres[name]) / 90) ** 2)) + generator.normal(0, 0.01, len(NM))
            rows.append(
                {
                    "capture": f"c{number}-{scan}",
                    "subject": f"s{number}",
                    "kind": "spectrum",
                    "wavelength_nm": NM,
                    "absorbance": bump.astype(np.float32),
                    "unknown_pct": 0.0,
                }
                | {fibre: 100.0 * (fibre == name) for fibre in centres}
            )
    for scan in range(2):
        rows.append(
            rows[0]
            | {"capture": f"belt-{scan}", "subject": "belt", "absorbance": np.full(len(NM), 0.3, np.float32)}
            | dict.fromkeys(centres, 0.0)
            | {"unknown_pct": 100.0}
        )
    frame = pd.DataFrame(rows).assign(**columns)
    return make_manifest(frame, root=folder, name="made-scans", notes={})


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("photos")
    return write_manifest(photo_manifest(folder), folder / "photos.parquet")


def test_photos_are_answered_exactly_as_the_service_would(photos: Manifest, tiny_weight_bundle: Path) -> None:
    bundle = load_bundle(tiny_weight_bundle)
    weigher = Weigher(bundle)
    files = [(photos.root / path).read_bytes() for path in photos.frame["path"].head(2)]

    answers = answers_of(bundle, photos).predictions

    one = weigher.weigh([weigher.prepare(files[0])])
    both = weigher.weigh([weigher.prepare(file) for file in files])
    of_first = answers[answers["subject"] == "s0"].set_index(["mode", "capture"])
    assert of_first.loc[("one", "c0-0"), "predicted_grams"] == one.grams
    assert of_first.loc[("one", "c0-0"), "low_grams"] == one.low_grams
    assert of_first.loc[("all", "s0"), "predicted_grams"] == both.grams
    assert of_first.loc[("all", "s0"), "n_photos"] == 2


def test_some_of_a_subjects_photos_are_asked_about_too(tmp_path: Path, tiny_weight_bundle: Path) -> None:
    manifest = photo_manifest(tmp_path, subjects=3, photos=4)

    answers = answers_of(load_bundle(tiny_weight_bundle), manifest).predictions

    assert answers["mode"].value_counts().to_dict() == {"one": 12, "few": 3, "all": 3}
    assert answers.loc[answers["mode"] == "few", "n_photos"].between(2, 3).all()
    assert not answers["marked"].any()
    again = answers_of(load_bundle(tiny_weight_bundle), manifest).predictions
    pd.testing.assert_frame_equal(answers, again)


def test_photos_unlike_those_of_training_are_refused_by_name_and_counted(
    tmp_path: Path, photos: Manifest, write_weight_bundle: Callable[..., Path]
) -> None:
    shift = {"strange_above": 0.9, "false_alarm_rate": 0.02, "then": "refuse", "subjects": 50}
    bundle = load_bundle(write_weight_bundle(tmp_path / "w.onnx", weight={"shift": shift}))

    answers = answers_of(bundle, photos)  # of brightness 60 to 105; the tiny graph's strangeness is a 100th

    assert answers.refusals.keys() == {"not usable: unfamiliar"}
    assert answers.answered == answers.asked - answers.refusals["not usable: unfamiliar"]
    assert set(answers.predictions["subject"]) == {f"s{number}" for number in range(6)}


def test_the_page_holds_its_pictures_and_the_figures_stand_beside_it(
    photos: Manifest, tiny_weight_bundle: Path, tmp_path: Path
) -> None:
    found = evaluate(tiny_weight_bundle, photos.root / "photos.parquet", tmp_path / "out", quiet=True)

    page = found.page.read_text()
    assert page.count("data:image/png;base64,") == 4  # against truth, by mass, reliability, worst cases
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is fetched from elsewhere
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["metrics"] == found.metrics
    assert stored["bundle_sha256"] == load_bundle(tiny_weight_bundle).sha256
    assert found.metrics["answered"] == 1
    assert found.metrics["one.subjects"] == 10
    # Every fifth subject weighs 1.4 times what the formula says, beyond its interval of 0.8 to 1.25.
    assert found.metrics["one.coverage"] == pytest.approx(8 / 10)
    assert found.metrics["one.alde"] == pytest.approx(2 / 10 * np.log(1.4), rel=0.1)


def test_a_bundle_without_an_interval_is_measured_without_one(
    photos: Manifest, write_weight_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = write_weight_bundle(tmp_path / "weight.onnx", coverage=None, calibration_subjects=0)

    found = evaluate(bundle, photos.root / "photos.parquet", tmp_path / "out", quiet=True)

    assert not [name for name in found.metrics if "coverage" in name]
    assert "not available" in found.page.read_text()


def test_simulated_data_are_named_so(photos: Manifest, tiny_weight_bundle: Path, tmp_path: Path) -> None:
    made = make_manifest(photos.frame.assign(simulated=True), root=photos.root, name="made", notes={})
    write_manifest(made, tmp_path / "made.parquet")

    page = evaluate(tiny_weight_bundle, tmp_path / "made.parquet", tmp_path / "out", quiet=True).page

    assert "These figures come from simulated data" in page.read_text()


def test_photos_that_cannot_be_used_are_counted_not_hidden(tiny_weight_bundle: Path, tmp_path: Path) -> None:
    manifest = photo_manifest(tmp_path, subjects=4)
    Image.new("RGB", (640, 480)).save(tmp_path / "photos" / "0-0.png")  # black
    (tmp_path / "photos" / "1-1.png").write_bytes(b"\x89PNG\r\n\x1a\n then nothing")
    write_manifest(manifest, tmp_path / "photos.parquet")

    found = evaluate(tiny_weight_bundle, tmp_path / "photos.parquet", tmp_path / "out", quiet=True)

    assert found.metrics["answered"] == 6 / 8
    assert any("1 captures: not usable: " in warning and "dark" in warning for warning in found.warnings)
    assert found.metrics["one.captures"] == 6


def test_scans_are_measured_per_scan_per_swatch_and_against_what_is_no_textile(
    tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    write_manifest(scan_manifest(tmp_path), tmp_path / "scans.parquet")

    found = evaluate(tiny_fibre_bundle, tmp_path / "scans.parquet", tmp_path / "out", quiet=True)

    assert found.metrics["subject.balanced_accuracy"] == 1
    assert found.metrics["subject.subjects"] == 12  # the belt is not one of them
    assert found.metrics["unknown_auroc"] == 1
    assert 0 <= found.metrics["share_coverage"] <= 1
    page = found.page.read_text()
    assert page.count("data:image/png;base64,") == 5


def test_a_trace_of_a_fibre_the_bundle_does_not_know_is_spread_over_the_others(tmp_path: Path) -> None:
    frame = scan_manifest(tmp_path, subjects=1).frame
    traced = frame.assign(cotton_pct=[95.0, 95.0, 0.0, 0.0], elastane_pct=[5.0, 5.0, 0.0, 0.0])
    manifest = make_manifest(traced, root=tmp_path, name="traced", notes={})

    truth = known_shares(manifest, ("cotton", "wool", "polyester", "nylon"))

    assert truth[0] == pytest.approx([1, 0, 0, 0, 0.05])
    assert truth[-1, -1] >= 0.5  # the belt stays unknown


@pytest.mark.parametrize("kind", ["photo", "spectrum"])
def test_a_manifest_of_the_other_kind_is_refused(
    kind: str, photos: Manifest, tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    bundle, manifest = (
        (tiny_fibre_bundle, photos) if kind == "photo" else (tiny_weight_bundle, scan_manifest(tmp_path))
    )

    with pytest.raises(ManifestError, match=f"holds {kind} rows, bundle tiny-.* needs"):
        answers_of(load_bundle(bundle), manifest)


def test_a_manifest_without_truth_is_refused(photos: Manifest, tiny_weight_bundle: Path) -> None:
    bare = make_manifest(photos.frame.drop(columns="grams"), root=photos.root, name="bare", notes={})

    with pytest.raises(ManifestError, match="carries no truth to measure on; add `grams`"):
        answers_of(load_bundle(tiny_weight_bundle), bare)


def test_scans_outside_the_bundles_range_leave_nothing_to_measure(
    tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    manifest = scan_manifest(tmp_path)
    shifted = manifest.frame.assign(wavelength_nm=[nm + 500 for nm in manifest.frame["wavelength_nm"]])

    with pytest.raises(ManifestError, match="no capture could be answered: spectrum covers 1400-2200 nm"):
        answers_of(
            load_bundle(tiny_fibre_bundle), make_manifest(shifted, root=tmp_path, name="far", notes={})
        )


def test_captures_that_the_bundle_was_trained_on_are_called_so(
    photos: Manifest, write_weight_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    fingerprint = photos.fingerprint()
    bundle = load_bundle(write_weight_bundle(tmp_path / "weight.onnx", dataset_fingerprint=fingerprint))

    assert saw(bundle, photos)
    assert not saw(bundle, photos.take(photos.frame["subject"] != "s3"))


def test_the_marks_that_a_manifest_names_are_looked_for(tiny_weight_bundle: Path, tmp_path: Path) -> None:
    manifest = photo_manifest(tmp_path, subjects=1, photos=1, mark="qr", mark_mm=60.0)
    path = tmp_path / "photos" / "0-0.png"
    stored = io.BytesIO()
    segno.make("weft").save(stored, kind="png", scale=8, border=4)
    with Image.open(path) as photo, Image.open(stored) as label:
        photo.paste(label.convert("RGB"), (200, 120))
        photo.save(path)
    weigher = Weigher(load_bundle(tiny_weight_bundle))
    seen = weigher.prepare(path.read_bytes(), MarkHint("qr", 60.0))

    answer = answers_of(weigher.bundle, manifest).predictions["predicted_grams"].iloc[0]

    assert seen.mm_per_pixel > 0
    assert seen.mark_at.x_px > 0
    hidden = answers_of(weigher.bundle, manifest).predictions.set_index("mode").loc["unmarked"]
    assert not hidden["marked"]
    assert hidden["predicted_grams"] == weigher.weigh([weigher.prepare(path.read_bytes())]).grams
    assert answer == weigher.weigh([seen]).grams
    assert answer != weigher.weigh([weigher.prepare(path.read_bytes())]).grams


def test_the_verb_prints_the_headlines_and_where_the_page_is(
    photos: Manifest, tiny_weight_bundle: Path, tmp_path: Path
) -> None:
    told = CliRunner().invoke(
        main,
        ["evaluate", str(tiny_weight_bundle), str(photos.root / "photos.parquet"), "--out", str(tmp_path)],
    )

    assert told.exit_code == 0, told.output
    assert "ALDE, mean |ln(predicted / true)|, one photo: 0." in told.output
    assert str(tmp_path / "report.html") in told.output


def test_the_verb_says_what_is_wrong_in_one_line(tiny_fibre_bundle: Path, photos: Manifest) -> None:
    told = CliRunner().invoke(main, ["evaluate", str(tiny_fibre_bundle), str(photos.root / "photos.parquet")])

    assert told.exit_code == 1
    assert told.output.startswith("Error: manifest 'made-photos' holds photo rows")
