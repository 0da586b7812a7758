"""Tiny but complete bundles for every test that needs one: real graphs with card, proof and seal.

`tiny_weight_bundle`, `tiny_fibre_bundle` and `tiny_belt_bundle` are paths of files made once a session;
`write_weight_bundle`, `write_fibre_bundle` and `write_belt_bundle` write another with a changed card
(`write_weight_bundle(path, coverage=None)`).
The graphs are small formulas whose answers a test can compute by hand, and the proof comes from ONNX's own
reference evaluator, so that `load_bundle` compares two engines here too.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from weft.bundle import CARD_KEY, PROOF_KEY, pack_proof, sealed

TINY_FIBRES = ("cotton", "wool", "polyester", "nylon")
TINY_CENTRES_NM = (1000.0, 1200.0, 1400.0, 1600.0)  # a spectrum high around one of these is that fibre
TINY_BELT_NM = tuple(float(nm) for nm in range(930, 1705, 25))  # 31 bands
Node = tuple[str, list[str], str] | tuple[str, list[str], str, dict[str, Any]]
Writer = Callable[..., Path]


@pytest.fixture(scope="session")
def write_weight_bundle() -> Writer:
    return _write_weight_bundle


@pytest.fixture(scope="session")
def write_fibre_bundle() -> Writer:
    return _write_fibre_bundle


@pytest.fixture(scope="session")
def tiny_weight_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """grams = 100 + 10 x mean brightness of the unmasked photos + mean mm_per_pixel + 50 season + 5 wrap."""
    return _write_weight_bundle(tmp_path_factory.mktemp("bundles") / "weight.onnx")


@pytest.fixture(scope="session")
def tiny_fibre_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shares are a softmax over the mean absorbance around `TINY_CENTRES_NM`; a flat spectrum is unknown."""
    return _write_fibre_bundle(tmp_path_factory.mktemp("bundles") / "fibre.onnx")


@pytest.fixture(scope="session")
def tiny_pair_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the tiny fibre bundle, with a photo: red is for cotton, green for wool, blue for polyester."""
    seen = {"decode_px": 64, "subjects": 12, "trust": 4.0, "trust_alone": 4.0}
    return _write_fibre_bundle(tmp_path_factory.mktemp("bundles") / "pair.onnx", composition={"photo": seen})


@pytest.fixture(scope="session")
def write_belt_bundle() -> Writer:
    return _write_belt_bundle


@pytest.fixture(scope="session")
def tiny_belt_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shares are a softmax over the absorbance of a pixel around `TINY_CENTRES_NM`; a flat one is unknown."""
    return _write_belt_bundle(tmp_path_factory.mktemp("bundles") / "belt.onnx")


def _write_weight_bundle(path: Path, **changes: Any) -> Path:
    """Write a weight bundle; `changes` replace fields of the card, `weight={...}` fields of its section.

    With two rules in `weight={"advice": ...}` it judges photos: the first chance is brightness / 200, the
    second is 1 minus that. With `weight={"shift": ...}` a photo's strangeness is its brightness / 100, and
    its own grams are those of the formula without season and wrap.
    """
    section = {
        "bands": ["red", "green", "blue"],
        "max_photos": 9,
        "decode_px": 320,
        "input_px": 224,
        "range_grams": [200.0, 2400.0],
        "uses": ["mm_per_pixel", "season", "wrap"],
        "mark": "disc 25 mm",
    }
    section |= changes.pop("weight", {})
    card = _card("weight", changes) | {"weight": section}
    graph = _weight_graph(
        spread=card["coverage"] is not None,
        judges=bool(section.get("advice")),
        estranged=bool(section.get("shift")),
    )
    return _write(path, graph, card, _weight_inputs())


def _write_fibre_bundle(path: Path, **changes: Any) -> Path:
    """Write a fibre bundle; `changes` replace fields of the card, `composition={...}` of its section."""
    section = {
        "fibres": list(TINY_FIBRES),
        "grid_nm": [float(nm) for nm in range(900, 1701, 10)],
        "needed_nm": [950.0, 1650.0],
        "share_range": {name: [0.0, 1.0] for name in TINY_FIBRES},
        "instruments": ["NIRscan Nano"],
        "unknown_threshold": 0.5,
    }
    section |= changes.pop("composition", {})
    card = _card("composition", changes) | {"composition": section}
    paired = section.get("photo") is not None
    graph = _fibre_graph(spread=card["coverage"] is not None, paired=paired)
    return _write(path, graph, card, _fibre_inputs(paired=paired))


def _write_belt_bundle(path: Path, **changes: Any) -> Path:
    """Write a belt bundle for the camera `TINY_BELT_NM`; `belt={...}` replaces fields of its section."""
    section: dict[str, Any] = {
        "fibres": list(TINY_FIBRES),
        "wavelength_nm": list(TINY_BELT_NM),
        "camera": "31 bands, for tests",
        "share_range": {name: [0.0, 1.0] for name in TINY_FIBRES},
        "unknown_threshold": 0.5,
        "vote": {
            "margin": [[[0.1]] * len(TINY_FIBRES)] * 2,
            "edges_share": [],
            "fewest_pixels": 4,
            "stray_distance": 0.2,
            "part_share": 0.15,
            "part_distance": 0.3,
            "part_separation": 3.5,
        },
    }
    section |= changes.pop("belt", {})
    card = _card("belt", changes) | {"belt": section}
    return _write(path, _belt_graph(section["wavelength_nm"]), card, _belt_inputs(section["wavelength_nm"]))


def _belt_graph(wavelength_nm: list[float]) -> ModelProto:
    around = np.exp(-(((np.array(wavelength_nm)[:, None] - np.array(TINY_CENTRES_NM)) / 50) ** 2))
    nodes: list[Node] = [
        ("Max", ["reflectance", "floor"], "light"),
        ("Log", ["light"], "log"),
        ("ReduceMean", ["log", "last"], "mean", {"keepdims": 1}),
        ("Sub", ["mean", "log"], "high"),  # (P, L) absorbance above its mean, times ln 10
        ("MatMul", ["high", "around"], "heat"),
        ("Mul", ["heat", "sharp"], "score"),
        ("Softmax", ["score"], "shares", {"axis": -1}),
        ("ReduceMax", ["score", "last"], "best", {"keepdims": 0}),
        ("Sub", ["enough", "best"], "doubt"),
        ("Sigmoid", ["doubt"], "unknown"),
    ]
    constants: dict[str, Any] = {
        "floor": np.float32(1e-4),
        "last": np.array([-1]),
        "around": (around / around.sum(axis=0)).astype(np.float32),
        "sharp": np.float32(30),
        "enough": np.float32(5),
    }
    return _model(
        nodes,
        constants,
        inputs=[("reflectance", TensorProto.FLOAT, ["P", len(wavelength_nm)])],
        outputs=[("shares", ["P", len(TINY_FIBRES)]), ("unknown", ["P"])],
    )


def _belt_inputs(wavelength_nm: list[float]) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    light = rng.uniform(0.2, 0.9, (6, len(wavelength_nm))).astype(np.float32)
    light[0], light[1, 0] = 0.5, -0.1
    return [{"reflectance": light}]


def _card(task: str, changes: dict[str, Any]) -> dict[str, Any]:
    card: dict[str, Any] = {
        "task": task,
        "name": f"tiny-{task}",
        "version": "1",
        "trained_on": "simulated",
        "created_at": "2026-01-01T00:00:00Z",
        "code_revision": "0" * 40,
        "dataset_fingerprint": "0" * 64,
        "dataset": "nothing; a formula for tests",
        "recipe": "seed: 0\n",
        "licence_notes": ["made by a test"],
        "subjects": 20,
        "coverage": 0.9,
        "calibration_subjects": 20,
        "metrics": {"alde": 0.25, "coverage": 0.9} if task == "weight" else {"balanced_accuracy": 0.9},
        "limits": ["a formula, no model"],
        "proof": {"engine": "onnxruntime", "bound": 1e-4, "measured": 1e-6, "cases": 2},
    }
    unknown = set(changes) - set(card)
    if unknown:
        raise TypeError(f"a card has no field {sorted(unknown)}")
    return card | changes


def _write(path: Path, model: ModelProto, card: dict[str, Any], inputs: list[dict[str, Any]]) -> Path:
    reference = ReferenceEvaluator(model)
    names = [output.name for output in model.graph.output]
    cases = [(case, dict(zip(names, reference.run(None, case), strict=True))) for case in inputs]
    helper.set_model_props(model, {CARD_KEY: json.dumps(card), PROOF_KEY: pack_proof(cases)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sealed(model.SerializeToString()))
    return path


def _model(
    nodes: list[Node],
    constants: dict[str, Any],
    *,
    inputs: list[tuple[str, int, list[Any]]],
    outputs: list[tuple[str, list[Any]]],
) -> ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node(node[0], node[1], [node[2]], **(node[3] if len(node) > 3 else {}))
            for node in nodes
        ],
        "tiny",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _weight_graph(*, spread: bool, judges: bool, estranged: bool) -> ModelProto:
    to_float: dict[str, Any] = {"to": TensorProto.FLOAT}
    nodes: list[Node] = [
        ("Cast", ["photos"], "light", to_float),
        (
            "ReduceSum",
            ["light", "chw"],
            "light_sum",
            {"keepdims": 0},
        ),  # (B, N); padding is 0 and adds nothing
        ("Cast", ["size"], "sides", to_float),
        ("ReduceProd", ["sides", "axis2"], "area", {"keepdims": 0}),
        ("Mul", ["area", "three"], "area3"),
        ("Max", ["area3", "one"], "area_safe"),
        ("Div", ["light_sum", "area_safe"], "brightness"),  # (B, N) 0..255
        ("Mul", ["brightness", "ten"], "bright10"),
        ("Add", ["bright10", "mm_per_pixel"], "each"),
        ("Cast", ["mask"], "weights", to_float),
        ("Mul", ["each", "weights"], "each_masked"),
        ("ReduceSum", ["each_masked", "n"], "total", {"keepdims": 0}),
        ("ReduceSum", ["weights", "n"], "count", {"keepdims": 0}),
        ("Max", ["count", "one"], "count_safe"),
        ("Div", ["total", "count_safe"], "mean"),
        ("Cast", ["season"], "season_f", to_float),
        ("Mul", ["season_f", "fifty"], "season_g"),
        ("Cast", ["wrap"], "wrap_f", to_float),
        ("Mul", ["wrap_f", "five"], "wrap_g"),
        ("Sum", ["mean", "season_g", "wrap_g", "hundred"], "grams"),
        ("Mul", ["grams", "low_factor"], "low_grams"),
        ("Mul", ["grams", "high_factor"], "high_grams"),
    ]
    numbers = {"one": 1, "three": 3, "five": 5, "ten": 10, "fifty": 50, "hundred": 100}
    constants: dict[str, Any] = {name: np.float32(value) for name, value in numbers.items()}
    constants |= {
        "low_factor": np.float32(0.8 if spread else 1),
        "high_factor": np.float32(1.25 if spread else 1),
    }
    constants |= {"chw": np.array([2, 3, 4]), "axis2": np.array([2]), "n": np.array([1])}
    outputs: list[tuple[str, list[Any]]] = [("grams", ["B"]), ("low_grams", ["B"]), ("high_grams", ["B"])]
    more, said = _about_photos(judges=judges, estranged=estranged)
    nodes, outputs = nodes + more, outputs + said
    constants |= {"zero": np.float32(0), "per200": np.float32(1 / 200)} if judges else {}
    return _model(
        nodes,
        constants,
        inputs=[
            ("photos", TensorProto.UINT8, ["B", "N", 3, "H", "W"]),
            ("size", TensorProto.INT64, ["B", "N", 2]),
            ("mask", TensorProto.BOOL, ["B", "N"]),
            ("mm_per_pixel", TensorProto.FLOAT, ["B", "N"]),
            ("season", TensorProto.INT64, ["B"]),
            ("wrap", TensorProto.INT64, ["B"]),
        ],
        outputs=outputs,
    )


def _about_photos(*, judges: bool, estranged: bool) -> tuple[list[Node], list[tuple[str, list[Any]]]]:
    """Nodes and outputs that tell of single photos."""
    nodes: list[Node] = []
    outputs: list[tuple[str, list[Any]]] = []
    if judges:
        nodes += [
            ("Mul", ["brightness", "per200"], "share"),
            ("Clip", ["share", "zero", "one"], "chance"),
            ("Sub", ["one", "chance"], "rest"),
            ("Unsqueeze", ["chance", "axis2"], "chance_k"),
            ("Unsqueeze", ["rest", "axis2"], "rest_k"),
            ("Concat", ["chance_k", "rest_k"], "faults", {"axis": 2}),
        ]
        outputs.append(("faults", ["B", "N", 2]))
    if estranged:
        nodes += [
            ("Div", ["brightness", "hundred"], "strangeness"),
            ("Add", ["each", "hundred"], "photo_grams"),
        ]
        outputs += [("strangeness", ["B", "N"]), ("photo_grams", ["B", "N"])]
    return nodes, outputs


def _fibre_graph(*, spread: bool, paired: bool) -> ModelProto:
    nodes: list[Node] = [
        ("Unsqueeze", ["wavelength_nm", "first"], "row"),  # (1, L)
        ("Sub", ["row", "centres"], "away"),  # (F, L)
        ("Div", ["away", "width"], "away_w"),
        ("Mul", ["away_w", "away_w"], "square"),
        ("Neg", ["square"], "minus"),
        ("Exp", ["minus"], "window"),
        ("ReduceSum", ["window", "last"], "window_sum", {"keepdims": 1}),
        ("Max", ["window_sum", "tiny"], "window_safe"),
        ("Div", ["window", "window_safe"], "weights"),
        ("Transpose", ["weights"], "weights_t", {"perm": [1, 0]}),
        ("MatMul", ["absorbance", "weights_t"], "feature"),  # (B, L) x (L, F)
        ("Mul", ["feature", "sharp"], "scanned"),
        *(_BESIDE if paired else [("Identity", ["scanned"], "logits")]),
        ("Softmax", ["logits"], "shares", {"axis": 1}),
        ("Sub", ["shares", "margin"], "below"),
        ("Max", ["below", "zero"], "low"),
        ("Add", ["shares", "margin"], "above"),
        ("Min", ["above", "one"], "high"),
        ("ReduceMax", ["absorbance", "last"], "top", {"keepdims": 0}),
        ("ReduceMin", ["absorbance", "last"], "bottom", {"keepdims": 0}),
        ("Sub", ["top", "bottom"], "of_scan" if paired else "range"),
        *([("Where", ["has_scan", "of_scan", "tint_range"], "range")] if paired else []),
        ("Sub", ["flat", "range"], "flatness"),
        ("Mul", ["flatness", "steep"], "unknown_logit"),
        ("Sigmoid", ["unknown_logit"], "unknown"),  # (B,)
    ]
    constants: dict[str, Any] = {
        "centres": np.float32(TINY_CENTRES_NM)[:, None],
        "first": np.array([0]),
        "last": np.array([1]),
    }
    numbers = {"width": 80, "tiny": 1e-6, "sharp": 10, "zero": 0, "one": 1, "flat": 0.05, "steep": 50}
    constants |= {name: np.float32(value) for name, value in numbers.items()}
    constants |= {"margin": np.float32(0.1 if spread else 0)}
    inputs = [("wavelength_nm", TensorProto.FLOAT, ["L"]), ("absorbance", TensorProto.FLOAT, ["B", "L"])]
    if paired:
        constants |= {"pixels": np.array([2, 3]), "four": np.array([0, 0, 0, 1]), "full": np.float32(255)}
        inputs += [("photos", TensorProto.UINT8, [1, 3, "H", "W"]), ("size", TensorProto.INT64, [1, 2])]
        inputs += [(name, TensorProto.BOOL, [1]) for name in ("has_scan", "has_photo")]
    return _model(
        nodes,
        constants,
        inputs=inputs,
        outputs=[(name, ["B", "F"]) for name in ("shares", "low", "high")] + [("unknown", ["B"])],
    )


def _weight_inputs() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    sizes = np.array([[[20, 30], [12, 9]], [[16, 16], [0, 0]]])
    photos = np.zeros((2, 2, 3, 20, 30), np.uint8)
    for subject, photo in ((0, 0), (0, 1), (1, 0)):
        rows, columns = sizes[subject, photo]
        photos[subject, photo, :, :rows, :columns] = rng.integers(0, 256, (3, rows, columns))
    both = {
        "photos": photos,
        "size": sizes,
        "mask": np.array([[True, True], [True, False]]),
        "mm_per_pixel": np.array([[0.5, 0], [0, 0]], np.float32),
        "season": np.array([0, 2]),
        "wrap": np.array([3, 0]),
    }
    return [both, {name: value[:1] for name, value in both.items()}]


_BESIDE: list[Node] = [
    ("Cast", ["photos"], "bytes", {"to": TensorProto.FLOAT}),
    ("Div", ["bytes", "full"], "light"),
    ("ReduceMean", ["light", "pixels"], "colour", {"keepdims": 0}),  # (1, 3)
    ("ReduceMin", ["colour", "last"], "grey", {"keepdims": 1}),
    ("Sub", ["colour", "grey"], "tint"),
    ("ReduceMax", ["tint", "last"], "tint_range", {"keepdims": 0}),
    ("Mul", ["tint", "sharp"], "said"),
    ("Pad", ["said", "four"], "said_of_four"),  # (1, F)
    ("Where", ["has_photo", "said_of_four", "zero"], "heard"),
    ("Add", ["scanned", "heard"], "logits"),
]


def _fibre_inputs(*, paired: bool) -> list[dict[str, Any]]:
    rising = np.linspace(900, 1700, 81, dtype=np.float32)
    absorbance = np.stack([np.exp(-(((rising - centre) / 90) ** 2)) for centre in TINY_CENTRES_NM]).astype(
        np.float32
    )
    cases: list[dict[str, Any]] = [
        {"wavelength_nm": rising, "absorbance": absorbance},
        {"wavelength_nm": rising[::-1].copy(), "absorbance": absorbance[:1, ::-1].copy()},
    ]
    if paired:
        photos = np.arange(144, dtype=np.uint8).reshape(1, 3, 6, 8)
        photo = {"photos": photos, "size": np.array([[6, 8]]), "has_photo": np.ones(1, bool)}
        cases = [case | photo | {"has_scan": np.array([n == 0])} for n, case in enumerate(cases)]
    return cases
