"""A bundle's graph with a correction of its shares behind it: nodes appended, nothing trained, no torch."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from weft_training.calibrate_shares import ShareCalibration
from weft_training.share_correction import FLOOR, Correction

_PARENT = "parent."


def recalibrated(parent: onnx.ModelProto, correction: Correction, margins: ShareCalibration | None) -> Any:
    """The parent's graph up to its shares, then the correction, then margins: same inputs, same outputs.

    Args:
        margins: Of the corrected shares; None where there are none: low and high then equal the share.

    Returns:
        An `onnx.ModelProto` without metadata: card, proof and seal are the bundle's writer's.
    """
    inner = onnx.ModelProto()
    inner.CopyFrom(parent)
    del inner.metadata_props[:]
    # Optional, and a graph that was joined before lists its inputs there: they would be renamed too.
    del inner.graph.value_info[:]
    # The old margins go: what is not needed for these two outputs is dropped by `merge_models`.
    inner = compose.add_prefix(inner, _PARENT, rename_inputs=False)
    fibres = len(correction.shift)
    head = _head(correction, margins, opsets=list(parent.opset_import), ir_version=parent.ir_version)
    joined = compose.merge_models(
        inner,
        head,
        io_map=[(f"{_PARENT}shares", "given"), (f"{_PARENT}unknown", "given_unknown")],
        outputs=["shares", "low", "high", "unknown"],
        producer_name="weft",
        producer_version="",
    )
    del joined.metadata_props[:]
    for output in joined.graph.output:
        sides = ["batch"] if output.name == "unknown" else ["batch", fibres]
        output.CopyFrom(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, sides))
    onnx.checker.check_model(joined)
    return joined


def _head(
    correction: Correction, margins: ShareCalibration | None, *, opsets: list[Any], ir_version: int
) -> onnx.ModelProto:
    fibres = len(correction.shift)
    nodes: list[tuple[Any, ...]] = [
        ("Max", ["given", "floor"], "held"),
        ("Log", ["held"], "log"),
        ("Mul", ["log", "power"], "raised"),
        ("Add", ["raised", "shift"], "level"),
        ("Softmax", ["level"], "shares", {"axis": -1}),  # exp, and made to sum to 1
        ("Identity", ["given_unknown"], "unknown"),
    ]
    constants: dict[str, NDArray[Any]] = {
        "floor": np.float32(FLOOR) * np.ones(1, np.float32),
        "power": np.full(1, correction.power, np.float32),
        "shift": np.asarray(correction.shift, np.float32),
    }
    if margins is None:
        nodes += [("Identity", ["shares"], "low"), ("Identity", ["shares"], "high")]
    else:
        more, needed = _margin_nodes(margins)
        nodes += more
        constants |= needed
    graph = helper.make_graph(
        [
            helper.make_node(kind, takes, [gives], **(rest[0] if rest else {}))
            for kind, takes, gives, *rest in nodes
        ],
        "recalibration",
        [
            helper.make_tensor_value_info("given", TensorProto.FLOAT, ["batch", fibres]),
            helper.make_tensor_value_info("given_unknown", TensorProto.FLOAT, ["batch"]),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)
            for name, sides in (
                ("shares", ["batch", fibres]),
                ("low", ["batch", fibres]),
                ("high", ["batch", fibres]),
                ("unknown", ["batch"]),
            )
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def _margin_nodes(margins: ShareCalibration) -> tuple[list[tuple[Any, ...]], dict[str, NDArray[Any]]]:
    """As `fibre_net.FibreGraph` has it: the margin by kind of answer, fibre and band of the share."""
    table = np.asarray(margins.margin, np.float32)  # (kinds, F, bands)
    _, fibres, bands = table.shape
    to_whole: dict[str, Any] = {"to": TensorProto.INT64}
    nodes: list[tuple[Any, ...]] = [
        ("Unsqueeze", ["shares", "last"], "column"),  # (B, F, 1)
        ("GreaterOrEqual", ["column", "edges"], "beyond"),  # (B, F, bands - 1)
        ("Cast", ["beyond"], "beyond_whole", to_whole),
        ("ReduceSum", ["beyond_whole", "last"], "band", {"keepdims": 0}),  # (B, F)
        ("ReduceMax", ["shares", "last"], "largest", {"keepdims": 1}),  # (B, 1)
        ("GreaterOrEqual", ["largest", "top_edge"], "pure"),
        ("Cast", ["pure"], "pure_whole", to_whole),
        ("Mul", ["pure_whole", "kind_step"], "kind_offset"),
        ("Add", ["band", "fibre_offset"], "place_in_kind"),
        ("Add", ["place_in_kind", "kind_offset"], "place"),
        ("Gather", ["margins", "place"], "margin"),  # (B, F)
        ("Sub", ["shares", "margin"], "lower"),
        ("Max", ["lower", "zero"], "low"),
        ("Add", ["shares", "margin"], "upper"),
        ("Min", ["upper", "one"], "high"),
    ]
    return nodes, {
        "last": np.array([-1]),
        "edges": np.asarray(margins.edges_share, np.float32),
        "top_edge": np.asarray(margins.edges_share[-1:], np.float32),
        "kind_step": np.array([fibres * bands]),
        "fibre_offset": np.arange(fibres) * bands,
        "margins": table.ravel(),
        "zero": np.zeros(1, np.float32),
        "one": np.ones(1, np.float32),
    }
