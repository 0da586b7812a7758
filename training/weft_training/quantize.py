"""A bundle with its backbone in int8, or kept in fp16, where that costs less than is allowed. No torch.

Only convolutions of the backbone change. The resize, the heads, calibration and what judges photos stay in
float32: they are a twentieth of the time, and their errors would be the answer's. int8 is calibrated on
subjects of the manifest that the loss is not measured on.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import onnx
from onnx import helper, numpy_helper

from weft.bundle import (
    CARD_KEY,
    PROOF_KEY,
    Arrays,
    Bundle,
    load_bundle,
    open_bundle,
    pack_proof,
    read_bundle,
    sealed,
)
from weft.card import Card, Proof
from weft.engine_names import NATIVE
from weft.engines import start_engine
from weft.errors import BundleError, ManifestError
from weft_datasets.manifest import Manifest, read_manifest
from weft_training.admit import bound_of
from weft_training.engine_check import (
    Loss,
    Speed,
    asked_of,
    captures_of,
    largest_gaps,
    loss_on,
    speed_of,
    usual,
)
from weft_training.proof_inputs import Inputs
from weft_training.revision import code_revision
from weft_training.run import write_atomically

Precision = Literal["int8", "fp16"]
_CALIBRATION_SUBJECTS: Final = 64
_CALIBRATION_SHARE: Final = 0.25
_BACKBONE: Final = ".backbone."  # in the names of a backbone's weights


@dataclass(frozen=True, slots=True)
class Quantized:
    path: Path
    card: Card
    sha256: str
    loss: Loss
    speed: Speed
    shrunk: float  # bytes of the new file over those of the old


def quantize(
    bundle_path: Path, precision: Precision, manifest_path: Path, out: Path, *, most_loss_percent: float
) -> Quantized:
    """Write the bundle with a backbone of `precision` to `out`.

    Args:
        most_loss_percent: How much the error (ALDE of single photos, MAE of shares) may grow on subjects that
            were not calibrated on; the upper end of its 95 % interval counts.

    Raises:
        BundleError: The bundle does not hold, has no backbone, or would lose more than is allowed.
        ManifestError: The manifest does not fit the bundle, or holds too few subjects.
    """
    parent = load_bundle(bundle_path, threads=1)
    data = bundle_path.read_bytes()
    _, card, proof = read_bundle(data, source=str(bundle_path))
    calibrating, measuring = _parted(read_manifest(manifest_path))
    model = onnx.load_model_from_string(data)
    del model.metadata_props[:]
    convolutions = backbone_of(model, source=str(bundle_path))
    if precision == "fp16":
        graph = to_fp16(model, convolutions)
    else:
        graph = to_int8(
            model, convolutions, captures_of(parent, calibrating, most=_CALIBRATION_SUBJECTS, seed=0)
        )
    child = Bundle(
        engine=start_engine(NATIVE, graph.SerializeToString(), threads=1, source=str(out)),
        card=card,
        sha256="",
        source=str(out),
    )
    found, loss = _proof(parent, child, proof, measuring), loss_on(measuring, parent, child)
    speed = speed_of(parent, child, usual(parent))
    if loss.percent.high > most_loss_percent or found is None:
        why = "its outputs differ so much that no bound proves anything" if found is None else ""
        why = f"--most-loss allows {most_loss_percent:g} %" if loss.percent.high > most_loss_percent else why
        raise BundleError(f"{bundle_path}: not written in {precision}: {loss}, {why}; {speed}")
    made = _card(card, precision, loss, speed, found)
    helper.set_model_props(graph, {CARD_KEY: made.model_dump_json(), PROOF_KEY: pack_proof(list(proof))})
    packed = sealed(graph.SerializeToString())
    proven = open_bundle(packed, source=str(out), threads=1)  # what a server will do
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, packed)
    return Quantized(out, made, proven.sha256, loss, speed, len(packed) / len(data))


def _proof(
    parent: Bundle, child: Bundle, proof: list[tuple[Arrays, Arrays]], manifest: Manifest
) -> Proof | None:
    """How far it is from the trained network on the proof, and from the parent elsewhere; None from 1 on."""
    asked = asked_of(parent, manifest, seed=0)
    measured = max(
        *largest_gaps(child, [parent.run(inputs) for inputs in asked], asked).values(),
        *largest_gaps(child, [dict(answer) for _, answer in proof], [dict(i) for i, _ in proof]).values(),
    )
    bound = bound_of(measured, least=parent.card.proof.bound)
    if not bound < 1:
        return None
    return Proof(engine=NATIVE, bound=bound, measured=measured, cases=len(asked) + len(proof))


def backbone_of(model: onnx.ModelProto, *, source: str) -> list[str]:
    """Names of the convolutions whose weights are a backbone's; nodes without a name get one.

    Raises:
        BundleError: There is none: a spectral net is too small to gain.
    """
    weights = {item.name for item in model.graph.initializer if _BACKBONE in item.name}
    found: list[str] = []
    for number, node in enumerate(model.graph.node):
        if node.op_type == "Conv" and node.input[1] in weights:
            node.name = node.name or f"backbone_conv_{number}"
            found.append(node.name)
    if not found:
        raise BundleError(f"{source}: its graph has no backbone to quantize; keep it as it is")
    return found


def to_int8(model: onnx.ModelProto, nodes: list[str], inputs: Iterator[Inputs]) -> onnx.ModelProto:
    """Static, per channel, weights and activations; each convolution between a pair of scales (QDQ)."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    takes = {item.name for item in model.graph.input}

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            asked = next(inputs, None)
            return None if asked is None else {name: asked[name] for name in asked if name in takes}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            str(file),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes,
            op_types_to_quantize=["Conv"],
        )
        made = onnx.load(file)
    del made.metadata_props[:]
    return made


@contextmanager
def _quiet() -> Iterator[None]:
    """Without its advice to prepare a graph that is prepared: it goes to the root logger."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def to_fp16(model: onnx.ModelProto, nodes: list[str]) -> onnx.ModelProto:
    """Weights of these convolutions held in half precision, and made float32 again when a server loads them.

    No CPU engine here computes in fp16: conversions around every layer would make it slower, not faster.
    """
    chosen = {node.input[1] for node in model.graph.node if node.name in nodes}
    for item in model.graph.initializer:
        if item.name in chosen:
            half = f"{item.name}.half"
            cast = helper.make_node("Cast", [half], [item.name], to=onnx.TensorProto.FLOAT)
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item).astype(np.float16), half))
            model.graph.node.insert(0, cast)
    return model


def _parted(manifest: Manifest) -> tuple[Manifest, Manifest]:
    """Subjects to calibrate on, and all others to measure the loss on."""
    subjects = np.array(sorted(manifest.frame["subject"].astype(str).unique()))
    count = min(_CALIBRATION_SUBJECTS, int(_CALIBRATION_SHARE * len(subjects)))
    if count < 4:
        raise ManifestError(
            f"manifest '{manifest.name}' holds {len(subjects)} subjects, at least 16 are needed: a quarter "
            "to calibrate on, the others to measure on"
        )
    chosen = set(np.random.default_rng(0).permutation(subjects)[:count])
    first = manifest.frame["subject"].astype(str).isin(chosen)
    return manifest.take(first), manifest.take(~first)


def _card(card: Card, precision: Precision, loss: Loss, speed: Speed, proof: Proof) -> Card:
    return card.model_copy(
        update={
            "version": f"{card.version}-{precision}",
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_revision": code_revision(),
            "metrics": {
                f"quantized.{loss.key}": loss.after,
                f"quantized.{loss.key}_before": loss.before,
                **{f"parent.{name}": value for name, value in card.metrics.items()},
            },
            "limits": (*card.limits, f"backbone in {precision}: {loss}; {speed}"),
            "proof": proof,
        }
    )
