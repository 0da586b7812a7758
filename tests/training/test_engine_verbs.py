"""`weft admit` and `weft quantize`: measured first, written where little is lost, told either way."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper
from PIL import Image

from weft import engines
from weft.bundle import BUNDLED, CARD_KEY, PROOF_KEY, load_bundle, sealed
from weft.card import read_card
from weft.engine_names import EngineName
from weft.engines import OnnxRuntime, fits_here
from weft.errors import BundleError, EngineError, ManifestError
from weft_datasets.manifest import Manifest, make_manifest, write_manifest
from weft_training import engine_check
from weft_training.admit import admit, admit_what_fits, bound_of
from weft_training.engine_check import Speed, asked_of, speed_of, usual
from weft_training.engine_verbs import admit as admit_verb
from weft_training.engine_verbs import quantize as quantize_verb
from weft_training.quantize import quantize


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is timed here decides nothing."""
    monkeypatch.setattr(engine_check, "_ROUNDS", 3)
    monkeypatch.setattr(engine_check, "_RUNS", 4)
    monkeypatch.setattr(engine_check, "MADE", 8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 textured photos of as many subjects, that weigh what the tiny bundle says, give or take a fifth."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for number in range(20):
        level = 60 + 5 * number
        pixels = np.clip(rng.normal(level, 45, (240, 320, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(
            {
                "capture": f"c{number}",
                "subject": f"s{number}",
                "kind": "photo",
                "path": f"{number}.png",
                "grams": (100 + 10 * level) * (1.2 if number % 2 else 1 / 1.2),
            }
        )
    made = make_manifest(pd.DataFrame(rows), root=folder, name="made-photos", notes={})
    return _written(made, folder / "photos.parquet")


def _written(manifest: Manifest, path: Path) -> Path:
    write_manifest(manifest, path)
    return path


@pytest.fixture
def with_backbone(tiny_weight_bundle: Path, tmp_path: Path) -> Path:
    """The tiny weight bundle with a convolution in front that changes nothing: its proof holds as it is."""
    model = onnx.load_model_from_string(tiny_weight_bundle.read_bytes())
    del model.metadata_props[-1]  # the seal
    cast = next(node for node in model.graph.node if node.output[0] == "light")
    cast.output[0] = "seen"
    place = list(model.graph.node).index(cast) + 1
    nodes = [
        helper.make_node("Shape", ["seen"], ["bb.sides"]),
        helper.make_node("Shape", ["seen"], ["bb.of_photo"], start=2),
        helper.make_node("Concat", ["bb.any", "bb.of_photo"], ["bb.flat"], axis=0),
        helper.make_node("Reshape", ["seen", "bb.flat"], ["bb.each"]),
        helper.make_node("Conv", ["bb.each", "net.backbone.same.weight"], ["bb.same"]),
        helper.make_node("Reshape", ["bb.same", "bb.sides"], ["light"]),
    ]
    for node in reversed(nodes):
        model.graph.node.insert(place, node)
    weight = np.eye(3, dtype=np.float32)[:, :, None, None]
    model.graph.initializer.append(numpy_helper.from_array(weight, "net.backbone.same.weight"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), "bb.any"))
    path = tmp_path / "backbone.onnx"
    path.write_bytes(sealed(model.SerializeToString()))
    return path


def test_an_admitted_engine_is_on_the_card_and_the_graph_is_as_it_was(
    tiny_weight_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    out = tmp_path / "new" / "weight.onnx"

    done = CliRunner().invoke(
        admit_verb, [str(tiny_weight_bundle), str(photos), "--engine", "openvino", "--out", str(out)]
    )

    assert done.exit_code == 0, done.output
    assert "openvino is admitted, measured on 28 inputs" in done.output
    assert "one.alde" in done.output
    assert "times" in done.output
    before, after = load_bundle(tiny_weight_bundle), load_bundle(out, engine="openvino")
    proof = after.card.proof.engines["openvino"]
    assert set(proof.bound) == {"grams", "low_grams", "high_grams"}
    assert all(proof.measured[name] <= bound for name, bound in proof.bound.items())
    assert "openvino" in proof.measured_on
    plain = after.card.model_copy(update={"proof": before.card.proof})
    assert plain == before.card
    graphs = [onnx.load_model_from_string(path.read_bytes()).graph for path in (tiny_weight_bundle, out)]
    assert graphs[0].SerializeToString() == graphs[1].SerializeToString()


class Off(OnnxRuntime):
    """An engine that weighs a twentieth too much."""

    name: EngineName = "openvino"

    def run(self, inputs: Any, *, large: bool) -> dict[str, Any]:
        found = super().run(inputs, large=large)
        return {name: value * np.float32(1.05) for name, value in found.items()}


@pytest.fixture
def an_engine_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        engines,
        "OpenVino",
        lambda model, *, bf16, threads, source: Off(model, threads=threads, source=source),
    )
    monkeypatch.setattr(engines, "_openvino", lambda name: (_Core(), "0"))


class _Core:
    def get_property(self, *_: str) -> str:
        return "a CPU"


@pytest.mark.usefixtures("an_engine_that_is_off")
def test_an_engine_that_answers_otherwise_is_not_admitted_and_nothing_is_written(
    tiny_weight_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "weight.onnx"

    with pytest.raises(
        EngineError, match=r"not admitted: grams differs by up to 0\.05 .*one\.alde .*keep onnx"
    ):
        admit(tiny_weight_bundle, "openvino", out, manifest_path=photos)
    assert not out.exists()


@pytest.mark.usefixtures("an_engine_that_is_off")
def test_what_is_allowed_to_differ_may_still_not_cost_accuracy(
    tiny_weight_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "weight.onnx"

    done = admit(tiny_weight_bundle, "openvino", out, manifest_path=photos, most=0.1, most_loss_percent=100)
    assert done.proof.measured["grams"] == pytest.approx(0.05, rel=1e-3)
    assert done.proof.bound["grams"] == pytest.approx(0.075, rel=0.02)
    assert done.loss is not None
    assert done.loss.subjects == 20

    with pytest.raises(EngineError, match=r"not admitted: one\.alde .*--most-loss allows 0\.1 %"):
        admit(tiny_weight_bundle, "openvino", out, manifest_path=photos, most=0.1, most_loss_percent=0.1)


def test_an_export_admits_what_is_installed_and_close(tiny_weight_bundle: Path) -> None:
    pytest.importorskip("openvino")
    native = load_bundle(tiny_weight_bundle)

    card = admit_what_fits(tiny_weight_bundle.read_bytes(), native, asked_of(native, None, seed=0))

    assert set(card.proof.engines["openvino"].bound) == {"grams", "low_grams", "high_grams"}


@pytest.mark.usefixtures("an_engine_that_is_off")
def test_an_export_leaves_out_what_is_not_close(tiny_weight_bundle: Path) -> None:
    native = load_bundle(tiny_weight_bundle)

    card = admit_what_fits(tiny_weight_bundle.read_bytes(), native, asked_of(native, None, seed=0))

    assert card == native.card


def test_the_native_engine_needs_no_admission(tiny_weight_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="carry its bound; name another"):
        admit(tiny_weight_bundle, "onnxruntime", tmp_path / "weight.onnx")


def test_only_weight_bundles_are_admitted(tiny_fibre_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"for weight bundles.*for composition, keep onnxruntime"):
        admit(tiny_fibre_bundle, "openvino", tmp_path / "fibre.onnx")


def test_an_int8_backbone_is_written_with_its_own_bound_and_says_what_it_costs(
    with_backbone: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "int8.onnx"

    done = CliRunner().invoke(
        quantize_verb,
        [
            str(with_backbone),
            "--to",
            "int8",
            "--manifest",
            str(photos),
            "--most-loss",
            "5",
            "--out",
            str(out),
        ],
    )

    assert done.exit_code == 0, done.output
    assert "faster here" in done.output  # or not: that is said, not decided
    child = load_bundle(out)
    kinds = [node.op_type for node in onnx.load_model_from_string(out.read_bytes()).graph.node]
    assert "QuantizeLinear" in kinds
    assert child.card.version == "1-int8"
    assert child.card.proof.measured < child.card.proof.bound < 0.05
    assert "backbone in int8: one.alde" in child.card.limits[-1]
    assert child.card.metrics["parent.alde"] == 0.25
    assert "quantized.one.alde" in child.card.metrics


def test_fp16_changes_the_backbone_and_nothing_else(
    with_backbone: Path, photos: Path, tmp_path: Path
) -> None:
    done = quantize(with_backbone, "fp16", photos, tmp_path / "fp16.onnx", most_loss_percent=5)

    graph = onnx.load_model_from_string(done.path.read_bytes()).graph
    half = [item.name for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT16]
    assert half == ["net.backbone.same.weight.half"]
    assert load_bundle(done.path).card.version == "1-fp16"


def test_a_loss_beyond_what_is_allowed_is_told_and_nothing_is_written(
    with_backbone: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(model: onnx.ModelProto, *_: Any) -> onnx.ModelProto:
        (weight,) = (item for item in model.graph.initializer if "backbone" in item.name)
        weight.CopyFrom(numpy_helper.from_array(1.2 * numpy_helper.to_array(weight), weight.name))
        return model

    monkeypatch.setattr("weft_training.quantize.to_int8", spoilt)
    out = tmp_path / "int8.onnx"

    with pytest.raises(
        BundleError, match=r"not written in int8: one\.alde .*--most-loss allows 0\.5 %; .*times"
    ):
        quantize(with_backbone, "int8", photos, out, most_loss_percent=0.5)
    assert not out.exists()


def test_a_graph_without_a_backbone_and_a_manifest_of_few_subjects_are_refused(
    tiny_weight_bundle: Path, with_backbone: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "int8.onnx"
    with pytest.raises(BundleError, match="no backbone to quantize"):
        quantize(tiny_weight_bundle, "int8", photos, out, most_loss_percent=1)

    few = pd.read_parquet(photos).iloc[:4]
    path = _written(
        make_manifest(few, root=photos.parent, name="few", notes={}), photos.parent / "few.parquet"
    )
    with pytest.raises(ManifestError, match="4 subjects, at least 16 are needed"):
        quantize(with_backbone, "int8", path, out, most_loss_percent=1)


def test_a_ratio_is_that_of_alternating_rounds(tiny_weight_bundle: Path) -> None:
    bundle = load_bundle(tiny_weight_bundle, threads=1)

    found = speed_of(bundle, bundle, usual(bundle))

    assert found.ratio_low <= found.ratio <= found.ratio_high
    assert str(Speed(2.0, 1.0, 2.0, 1.9, 2.1)).startswith("faster here: 2.00 -> 1.00 ms")
    assert str(Speed(1.0, 1.0, 1.0, 0.9, 1.1)).startswith("not faster here")


@pytest.mark.parametrize(
    ("measured", "bound"),
    [(0.0082, 0.013), (0.02, 0.03), (0.0, 1e-6), (0.0659, 0.099), (0.665, 1.0), (np.inf, np.inf), (2.7, 4.1)],
)
def test_a_bound_has_something_to_spare_and_is_rounded_up(measured: float, bound: float) -> None:
    assert bound_of(measured) == pytest.approx(bound)


def test_the_bundled_weight_model_admits_bfloat16() -> None:
    if not fits_here("openvino-bf16"):
        pytest.skip("this CPU has no bfloat16, or OpenVINO is not installed")

    bundle = load_bundle(BUNDLED / "weight.onnx", engine="openvino-bf16", threads=1)  # its proof runs

    assert bundle.engine == "openvino-bf16"
    assert bundle.bound("grams") < 0.4  # of noise; of photos 0.01 in the middle: docs/engines.md


def test_cards_without_other_engines_are_read_as_before(tiny_weight_bundle: Path) -> None:
    model = onnx.load_model_from_string(tiny_weight_bundle.read_bytes())
    entries = {item.key: item.value for item in model.metadata_props}

    assert "engines" not in entries[CARD_KEY]
    assert read_card(entries[CARD_KEY]).proof.engines == {}
    assert PROOF_KEY in entries
