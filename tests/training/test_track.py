"""What a training leaves in MLflow, and how a bundle goes from there into service."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from weft.bundle import load_bundle
from weft.errors import BundleError, RunError, SealError, StoreError


def register(runs: Path, bundle: Path, name: str) -> str:
    from weft_training.track import tracking

    with tracking(uri=None, folder=runs, experiment="weft", name="a run") as track:
        return track.register(bundle, name).version


def test_a_run_keeps_recipe_facts_curves_figures_and_pictures(runs: Path) -> None:
    from weft_training.track import open_client, run_tags, tracking

    with tracking(uri=None, folder=runs, experiment="weft", name="a run") as track:
        track.recipe("seed: 7\n", {"seed": 7, "optim": {"peak_lr": 0.001}})
        track.facts(fingerprint="abc", revision="def")
        for step in range(3):
            track.points({"loss": 1 / (step + 1)}, step=step)
        track.metrics({"one.alde": 0.2, "one.mae_grams.200-500": 31.0})
        track.picture("reliability", b"\x89PNG")

    client = open_client(None, runs)
    run = client.get_run(track.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "7", "optim.peak_lr": "0.001"}
    assert run_tags(client, track.run_id) == {"fingerprint": "abc", "revision": "def"}
    assert [point.value for point in client.get_metric_history(track.run_id, "loss")] == [1, 1 / 2, 1 / 3]
    assert run.data.metrics["one.mae_grams.200-500"] == 31
    assert [item.path for item in client.list_artifacts(track.run_id, "plots")] == ["plots/reliability.png"]


def test_a_run_that_fails_is_marked_so_and_can_be_continued(runs: Path) -> None:
    from weft_training.track import open_client, tracking

    with (
        suppress(KeyboardInterrupt),
        tracking(uri=None, folder=runs, experiment="weft", name="a run") as first,
    ):
        first.recipe("seed: 7\n", {"seed": 7})
        raise KeyboardInterrupt
    client = open_client(None, runs)
    assert client.get_run(first.run_id).info.status == "FAILED"

    with tracking(uri=None, folder=runs, experiment="weft", name="a run", run_id=first.run_id) as second:
        second.recipe("seed: 7\n", {"seed": 7})

    assert second.run_id == first.run_id
    assert client.get_run(first.run_id).info.status == "FINISHED"


def test_a_run_to_continue_must_exist(runs: Path) -> None:
    from weft_training.track import tracking

    with (
        pytest.raises(RunError, match=r"correct track\.uri"),
        tracking(uri=None, folder=runs, experiment="weft", name="a run", run_id="0" * 32),
    ):
        pass


def test_a_registered_bundle_is_the_challenger_and_comes_back_byte_for_byte(
    runs: Path, tmp_path: Path, tiny_weight_bundle: Path
) -> None:
    from weft_training.track import fetch_bundle, find_version, open_client

    register(runs, tiny_weight_bundle, "weft-weight")
    assert register(runs, tiny_weight_bundle, "weft-weight") == "2"

    client = open_client(None, runs)
    challenger = find_version(client, "weft-weight", "challenger")
    assert challenger.version == "2"
    assert fetch_bundle(client, challenger, tmp_path / "into").read_bytes() == tiny_weight_bundle.read_bytes()


def test_promoting_replaces_the_servers_file_and_names_the_champion(
    runs: Path, tmp_path: Path, tiny_fibre_bundle: Path, tiny_weight_bundle: Path
) -> None:
    from weft_training.promote import promote
    from weft_training.track import find_version, open_client

    register(runs, tiny_fibre_bundle, "weft-fibre")
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    old = tiny_weight_bundle.read_bytes()  # any sealed bundle
    (bundles / "fibre.onnx").write_bytes(old)

    done = promote("weft-fibre", "challenger", bundles=bundles, runs=runs)

    assert done.path == bundles / "fibre.onnx"
    assert load_bundle(done.path, task="composition").sha256 == done.sha256
    assert sorted(path.name for path in bundles.iterdir()) == ["fibre.onnx", "fibre.previous.onnx"]
    assert (bundles / "fibre.previous.onnx").read_bytes() == old  # for a rollback
    client = open_client(None, runs)
    assert find_version(client, "weft-fibre", "champion").version == "1"
    with pytest.raises(RunError, match="no weft-fibre challenger; versions are 1"):
        find_version(client, "weft-fibre", "challenger")


def test_a_damaged_bundle_is_not_promoted_and_nothing_changes(
    runs: Path, tmp_path: Path, tiny_weight_bundle: Path
) -> None:
    from weft_training.promote import promote
    from weft_training.track import find_version, open_client

    broken = bytearray(tiny_weight_bundle.read_bytes())
    broken[len(broken) // 2] ^= 1
    (tmp_path / "weight.onnx").write_bytes(broken)
    register(runs, tmp_path / "weight.onnx", "weft-weight")
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (bundles / "weight.onnx").write_bytes(b"the old one")

    with pytest.raises(SealError):
        promote("weft-weight", "1", bundles=bundles, runs=runs)

    assert (bundles / "weight.onnx").read_bytes() == b"the old one"
    with pytest.raises(RunError, match="no weft-weight champion"):
        find_version(open_client(None, runs), "weft-weight", "champion")


def test_a_bundle_that_answers_differently_here_is_not_promoted(
    runs: Path, tmp_path: Path, tiny_weight_bundle: Path
) -> None:
    import onnx

    from weft.bundle import PROOF_KEY, pack_proof, sealed, unpack_proof
    from weft_training.promote import promote

    model = onnx.load(str(tiny_weight_bundle))
    kept = {entry.key: entry.value for entry in model.metadata_props}
    heavier = [
        (inputs, {name: value * 1.01 for name, value in answers.items()})
        for inputs, answers in unpack_proof(kept[PROOF_KEY], source="tiny")
    ]
    onnx.helper.set_model_props(model, {"weft.card": kept["weft.card"], PROOF_KEY: pack_proof(heavier)})
    other = tmp_path / "other.onnx"
    other.write_bytes(sealed(model.SerializeToString()))
    register(runs, other, "weft-weight")

    with pytest.raises(BundleError, match="differs by"):
        promote("weft-weight", "1", bundles=tmp_path / "bundles", runs=runs)


def test_an_unknown_name_is_answered_with_those_there_are(
    runs: Path, tmp_path: Path, tiny_weight_bundle: Path
) -> None:
    from weft_training.promote import promote

    register(runs, tiny_weight_bundle, "weft-weight")

    with pytest.raises(RunError, match="no weft-wait 1; names are weft-weight"):
        promote("weft-wait", "1", bundles=tmp_path, runs=runs)
    with pytest.raises(RunError, match="no weft-weight 9; versions are 1"):
        promote("weft-weight", "9", bundles=tmp_path, runs=runs)


def test_a_challenger_lies_beside_the_servers_file_and_the_champion_stays(
    runs: Path, tmp_path: Path, tiny_fibre_bundle: Path
) -> None:
    from weft_training.promote import promote
    from weft_training.track import find_version, open_client

    register(runs, tiny_fibre_bundle, "weft-fibre")

    done = promote("weft-fibre", "challenger", bundles=tmp_path / "bundles", runs=runs, on_trial=True)

    assert [path.name for path in (tmp_path / "bundles").iterdir()] == ["fibre.challenger.onnx"]
    assert load_bundle(done.path, task="composition").sha256 == done.sha256
    assert find_version(open_client(None, runs), "weft-fibre", "challenger").version == "1"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    from weft.bundle_files import replace_file

    (tmp_path / "a file").write_text("in the way")

    with pytest.raises(StoreError, match="name a folder with --bundles"):
        replace_file(tmp_path / "a file" / "weight.onnx", b"bundle")


def test_mlflow_does_not_report_to_its_makers() -> None:
    code = "import weft_training.track, os; print(os.environ['MLFLOW_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}

    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )

    assert told.stdout.strip() == "true"
