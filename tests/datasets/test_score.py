"""An archive is scored whole: every parcel or scan has its row, whatever its files are like."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from weft.bundle import load_bundle
from weft.cli import main
from weft.errors import ManifestError
from weft.identifier import Identifier
from weft.spectra import make_scan
from weft.weigher import Weigher
from weft_datasets import score
from weft_datasets.manifest import make_manifest, write_manifest
from weft_datasets.score import score_manifest

NM = np.arange(900.0, 1701.0, 10.0)


def write_photo(path: Path, seed: int) -> None:
    blocks = np.random.default_rng(seed).integers(40, 220, (12, 16, 3)).repeat(20, 0).repeat(20, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(blocks.astype(np.uint8)).save(path, "JPEG", quality=90)


@pytest.fixture
def parcels(tmp_path: Path) -> Path:
    """Four parcels: of two photos, of a good and a broken one, of a missing one, of twelve."""
    rows: list[dict[str, Any]] = []
    for subject, count in (("a", 2), ("b", 2), ("c", 1), ("d", 12)):
        for number in range(count):
            path = f"photos/{subject}{number}.jpg"
            write_photo(tmp_path / path, seed=ord(subject) + number)
            row = {"capture": f"{subject}{number}", "subject": subject, "kind": "photo", "path": path}
            rows.append(row | {"grams": 500.0 if subject != "d" else None, "season": "winter", "wrap": "bag"})
    (tmp_path / "photos/b1.jpg").write_bytes(b"no photo at all")
    (tmp_path / "photos/c0.jpg").unlink()
    frame = make_manifest(pd.DataFrame(rows), root=tmp_path, name="bags", notes={})
    write_manifest(frame, tmp_path / "bags.parquet")
    return tmp_path / "bags.parquet"


def heap(centre_nm: float) -> np.ndarray[Any, Any]:
    return np.exp(-(((NM - centre_nm) / 90) ** 2)).astype(np.float32)


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Wool, then a spectrum whose grid does not reach far enough, then a cotton scan without a truth."""
    short = {"wavelength_nm": NM[:40], "absorbance": heap(1200)[:40]}
    rows = [
        {"capture": "1", "subject": "s", "wavelength_nm": NM, "absorbance": heap(1200), "wool_pct": 100.0},
        {"capture": "2", "subject": "t", "wool_pct": 80.0, "cotton_pct": 20.0} | short,
        {"capture": "3", "subject": "u", "wavelength_nm": NM, "absorbance": heap(1000), "wool_pct": None},
    ]  # fmt: skip
    frame = pd.DataFrame([{"kind": "spectrum"} | row for row in rows])
    write_manifest(make_manifest(frame, root=tmp_path, name="cloth", notes={}), tmp_path / "cloth.parquet")
    return tmp_path / "cloth.parquet"


def table(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def test_every_parcel_gets_the_answer_that_it_would_get_alone(
    parcels: Path, tiny_weight_bundle: Path, tmp_path: Path
) -> None:
    report = score_manifest(parcels, tiny_weight_bundle, tmp_path / "scores.parquet")

    rows = {row["subject"]: row for row in table(tmp_path / "scores.parquet")}
    assert (report.rows, report.answered, list(rows)) == (4, 3, ["a", "b", "c", "d"])
    bundle = load_bundle(tiny_weight_bundle)
    weigher = Weigher(bundle)
    files = [(tmp_path / f"photos/a{number}.jpg").read_bytes() for number in (0, 1)]
    alone = weigher.weigh(weigher.prepare_all(files), season="winter", wrap="bag")
    assert rows["a"]["grams"] == alone.grams
    assert (rows["a"]["low_grams"], rows["a"]["high_grams"]) == (alone.low_grams, alone.high_grams)
    assert rows["a"]["grams_truth"] == 500.0
    assert rows["d"]["grams_truth"] is None
    assert {row["bundle_sha256"] for row in rows.values()} == {bundle.sha256}


def test_a_broken_or_missing_photo_is_told_in_its_row_and_stops_nothing(
    parcels: Path, tiny_weight_bundle: Path, tmp_path: Path
) -> None:
    score_manifest(parcels, tiny_weight_bundle, tmp_path / "scores.parquet")

    rows = {row["subject"]: row for row in table(tmp_path / "scores.parquet")}
    assert rows["b"]["grams"] is not None
    assert rows["b"]["photos_usable"] == 1
    assert rows["b"]["advice"] == ["broken"]
    assert rows["b"]["error"].startswith("photos/b1.jpg: ")
    assert rows["c"]["grams"] is None
    assert rows["c"]["error"] == "photos/c0.jpg: No such file or directory"


def test_of_more_photos_than_are_weighed_together_some_are_taken_evenly(
    parcels: Path, tiny_weight_bundle: Path, tmp_path: Path
) -> None:
    score_manifest(parcels, tiny_weight_bundle, tmp_path / "scores.parquet")

    row = table(tmp_path / "scores.parquet")[3]
    assert (row["photos"], row["photos_usable"]) == (12, 9)


def test_every_scan_gets_its_shares_and_a_grid_that_does_not_fit_its_error(
    scans: Path, tiny_fibre_bundle: Path, tmp_path: Path
) -> None:
    report = score_manifest(scans, tiny_fibre_bundle, tmp_path / "scores.parquet")

    wool, short, cotton = table(tmp_path / "scores.parquet")
    identifier = Identifier(load_bundle(tiny_fibre_bundle))
    alone = identifier.identify(make_scan(values=heap(1200), wavelength_nm=NM, quantity="absorbance"))
    assert wool["wool_share"] == alone.shares[1].share
    assert wool["unknown"] == alone.unknown
    assert (wool["wool_share_truth"], short["cotton_share_truth"]) == (1.0, 0.2)
    assert cotton["cotton_share_truth"] is None
    assert short["wool_share"] is None
    assert "covers 900-1290 nm, bundle needs 950-1650 nm" in short["error"]
    assert (report.rows, report.answered) == (3, 2)
    assert "1 without an answer" in str(report)


@pytest.mark.parametrize("workers", [1, 3])
def test_more_workers_write_the_same_bytes(
    parcels: Path, tiny_weight_bundle: Path, tmp_path: Path, workers: int
) -> None:
    score_manifest(parcels, tiny_weight_bundle, tmp_path / "one.parquet")
    score_manifest(parcels, tiny_weight_bundle, tmp_path / "more.parquet", workers=workers)

    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "more.parquet").read_bytes()


def test_a_run_that_was_stopped_goes_on_where_it_was(
    parcels: Path, tiny_weight_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "_PART_ROWS", 2)

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_manifest(parcels, tiny_weight_bundle, tmp_path / "scores.parquet", tell=stop)
    assert not (tmp_path / "scores.parquet").exists()
    asked: list[int] = []
    ask = score.Scorer.score
    monkeypatch.setattr(score.Scorer, "score", lambda self, n: (asked.append(n), ask(self, n))[1])
    report = score_manifest(parcels, tiny_weight_bundle, tmp_path / "scores.parquet")

    assert asked == [2, 3]
    assert report.resumed == 2
    assert [row["subject"] for row in table(tmp_path / "scores.parquet")] == ["a", "b", "c", "d"]
    assert list(tmp_path.glob(".scores*")) == []


def test_another_bundle_does_not_go_on_with_the_first_ones_answers(
    parcels: Path, tiny_weight_bundle: Path, write_weight_bundle: Any, tmp_path: Path
) -> None:
    other = write_weight_bundle(tmp_path / "other.onnx", coverage=None)
    first, second = (score.Scorer(parcels, bundle).key() for bundle in (tiny_weight_bundle, other))

    assert first != second


def test_a_manifest_of_the_other_kind_is_refused(
    scans: Path, tiny_weight_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match=r"holds spectrum rows, bundle .* needs photo rows"):
        score_manifest(scans, tiny_weight_bundle, tmp_path / "scores.parquet")


def test_a_table_that_cannot_be_written_is_told_before_anything_is_asked(
    parcels: Path, tiny_weight_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ManifestError, match=r"cannot be written .* name another file"):
        score_manifest(parcels, tiny_weight_bundle, tmp_path / "file" / "scores.parquet")


def test_without_ray_the_option_says_what_to_install(
    parcels: Path, tiny_weight_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    asked = [str(parcels), "--bundle", str(tiny_weight_bundle), "--out", str(tmp_path / "s.parquet"), "--ray"]

    done = CliRunner().invoke(main, ["score", *asked])

    assert done.exit_code == 1
    assert "pip install 'weft[ray]'" in done.output


def test_the_verb_takes_the_packages_own_bundle_and_says_what_it_did(parcels: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["score", str(parcels), "--out", str(tmp_path / "scores.parquet")])

    assert done.exit_code == 0, done.output
    assert "scores.parquet: 4 parcels; " in done.output


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parcels", "scans"])
def test_on_ray_the_answers_are_the_same(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray comes with weft[ray]")
    manifest = request.getfixturevalue(kind)
    bundle = request.getfixturevalue({"parcels": "tiny_weight_bundle", "scans": "tiny_fibre_bundle"}[kind])
    score_manifest(manifest, bundle, tmp_path / "here.parquet")

    # a process of its own: Ray leaves threads, handlers and warnings behind
    code = "from weft_datasets.score_verb import score; score()"
    asked = [manifest, "--bundle", bundle, "--out", tmp_path / "ray.parquet", "--ray", "--workers", "2"]
    command = [sys.executable, "-c", code, *map(str, asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)

    assert done.returncode == 0, done.stderr
    assert table(tmp_path / "ray.parquet") == table(tmp_path / "here.parquet")
    assert [line for line in done.stderr.splitlines() if "WARNING" in line] == []
