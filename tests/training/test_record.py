"""A finished run is on record: in its own report and in MLflow."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from weft_datasets.manifest import make_manifest, write_manifest
from weft_training.data import load_captures, split_captures
from weft_training.metrics import metrics_of
from weft_training.recipe import load_recipe
from weft_training.record import record_run
from weft_training.run import Run, create_run, write_frame

CONFIGS = Path(__file__).parents[2] / "configs"
NM = np.arange(900.0, 1701.0, 10.0)
FIBRES = ("cotton", "polyester", "nylon", "wool", "viscose")


@pytest.fixture
def finished(runs: Path, tmp_path: Path) -> Run:
    """A run as `fit_run` leaves it, with predictions made up here."""
    names = [FIBRES[number % 5] for number in range(30)]
    frame = pd.DataFrame(
        {
            "capture": [f"c{number}" for number in range(30)],
            "subject": [f"s{number}" for number in range(30)],
            "kind": "spectrum",
            "wavelength_nm": [NM] * 30,
            "absorbance": [
                np.exp(-(((NM - 1000 - 100 * (n % 5)) / 90) ** 2)).astype(np.float32) for n in range(30)
            ],
            **{f"{fibre}_pct": [100.0 * (name == fibre) for name in names] for fibre in FIBRES},
        }
    )
    write_manifest(make_manifest(frame, root=tmp_path, name="made", notes={}), tmp_path / "made.parquet")
    recipe = load_recipe(
        CONFIGS / "smoke-fibre.yaml", ["data.simulate=null", f"data.manifest={tmp_path}/made.parquet"]
    )
    run = create_run(recipe, runs)
    captures = load_captures(recipe)
    fold = split_captures(captures, recipe.split, seed=recipe.seed)
    run.settle_split(captures, fold)
    predictions = frame[["capture", "subject"]].assign(fold=fold, unknown_truth=0.0, predicted_unknown=0.1)
    for fibre in FIBRES:
        predictions[f"{fibre}_share"] = frame[f"{fibre}_pct"] / 100
        predictions[f"predicted_{fibre}_share"] = 0.8 * predictions[f"{fibre}_share"] + 0.04
    write_frame(run.folder / "predictions.parquet", predictions)
    (run.stage("fold-0") / "curve.jsonl").write_text(
        '{"epoch": 0, "loss": 1.5, "rate": 0.1}\n{"epoch": 1, "loss": 0.5, "rate": 0.01}\n'
    )
    run.write_json("metrics.json", metrics_of(predictions, "composition"))
    return run


def test_a_finished_run_is_recorded_with_all_that_was_promised(
    finished: Run, runs: Path, tiny_fibre_bundle: Path
) -> None:
    from weft_training.track import find_version, open_client, run_tags

    version = record_run(finished, tiny_fibre_bundle, runs=runs)

    assert version is not None
    client = open_client(None, runs)
    kept = client.get_run(version.run_id)
    assert kept.data.params["optim.peak_lr"] == "0.003"
    assert kept.data.metrics["balanced_accuracy"] == 1
    assert "mae_points.cotton" in kept.data.metrics
    losses = client.get_metric_history(version.run_id, "fold-0.loss")
    assert [(point.step, point.value) for point in losses] == [(0, 1.5), (1, 0.5)]
    tags = run_tags(client, version.run_id)
    assert tags["dataset_fingerprint"] == finished.facts()["dataset_fingerprint"]
    assert tags["code_revision"]
    files = {item.path for item in client.list_artifacts(version.run_id)}
    assert files >= {"recipe.yaml", "split.parquet", "predictions.parquet", "report", "plots", "bundle"}
    plots = {Path(item.path).stem for item in client.list_artifacts(version.run_id, "plots")}
    assert plots >= {"confusion", "mae-by-fibre", "shares-against-truth", "worst-cases"}
    assert find_version(client, "smoke-fibre", "challenger") == version


def test_without_tracking_the_report_is_written_all_the_same(
    finished: Run, runs: Path, tiny_fibre_bundle: Path
) -> None:
    untracked = Run(finished.folder, finished.recipe.model_copy(update={"track": None}))

    assert record_run(untracked, tiny_fibre_bundle, runs=runs) is None

    page = (finished.folder / "report" / "report.html").read_text()
    assert "smoke-fibre: predictions of subjects left out" in page
    assert page.count("data:image/png;base64,") == 4
