"""The comparison with others' servers: its table, its requests, its models. No peer is run here."""

import base64
import importlib.util
import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> None:
    """`benchmarks` is found from the repository only; nothing installs it."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT)])


def adapters_model() -> Any:
    path = ROOT / "benchmarks" / "peers" / "adapters" / "model.py"
    found = importlib.util.spec_from_file_location("peer_model", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module.Model


def write_plain_model(path: Path) -> None:
    """kilograms = mean of a normalised (1, 3, 8, 8) tensor called `pixels`."""
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, 8, 8])
    kilograms = helper.make_tensor_value_info("kilograms", TensorProto.FLOAT, [1])
    mean = helper.make_node("ReduceMean", ["pixels"], ["all"], keepdims=0)
    shaped = helper.make_node("Reshape", ["all", "one"], ["kilograms"])
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph = helper.make_graph([mean, shaped], "plain", [pixels], [kilograms], [one])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


@pytest.mark.parametrize("decode", ["documented", "reduced"])
def test_a_model_with_other_names_is_one_line_of_the_table(decode: str, tmp_path: Path, peers: None) -> None:
    from benchmarks.peers.peer import read_table

    write_plain_model(tmp_path / "plain.onnx")
    photo = tmp_path / "grey.png"
    Image.fromarray(np.full((40, 60, 3), 102, np.uint8)).save(photo)
    table = tmp_path / "peers.yaml"
    line = "{kind: plain, file: %s, input: pixels, output: kilograms, side: 8, "
    line += "mean: [0.2, 0.2, 0.2], std: [0.1, 0.1, 0.1]}"
    table.write_text(f"models:\n  mine: {line % (tmp_path / 'plain.onnx')}\npeers: {{}}\ncommon: []\n")

    spec = read_table(table).models["mine"]

    assert adapters_model()(spec, decode).grams(photo.read_bytes()) == pytest.approx(
        (0.4 - 0.2) / 0.1, rel=1e-4
    )


def test_given_our_decode_a_peer_answers_as_the_bundle_does(jpeg_frame: bytes, peers: None) -> None:
    from benchmarks.peers.peer import read_table

    from weft.bundle import BUNDLED, load_bundle
    from weft.weigher import Weigher

    weigher = Weigher(load_bundle(BUNDLED / "weight.onnx", task="weight", threads=1))
    right = weigher.weigh(weigher.prepare_all([jpeg_frame])).grams

    spec = read_table().models["weight"]

    assert adapters_model()(spec, "reduced").grams(jpeg_frame) == pytest.approx(right, rel=1e-4)


def test_weft_stands_in_the_row_once_for_each_engine_that_its_bundle_admits_here(peers: None) -> None:
    from benchmarks.peers.peer import installed, read_table, weft

    from weft.engines import fits_here

    ours = weft(read_table().models["weight"])

    engines = [
        peer.command[peer.command.index("--engine") + 1] for peer in ours if "--engine" in peer.command
    ]
    assert engines == (["openvino-bf16"] if fits_here("openvino-bf16") else [])
    assert len(ours) == 1 + len(engines)
    assert all(peer.ours and installed(peer) for peer in ours)
    assert ours[0].bound < 0.01  # a wrong photo is told from a right one


@pytest.fixture(scope="module")
def jpeg_frame() -> bytes:
    from weft_serving.bench.scenes import make_frames

    return make_frames(1)[0]


def test_every_peer_is_pinned_has_its_adapter_and_speaks_something_known(peers: None) -> None:
    from benchmarks.peers.bodies import SPEAKS
    from benchmarks.peers.peer import HERE, read_table

    table = read_table()

    assert set(table.peers) == {
        "fastapi", "litserve", "kserve", "triton", "mlserver", "bentoml", "ray", "mlflow",
    }  # fmt: skip
    for peer in table.peers.values():
        assert "==" in peer.install[0]
        assert peer.speaks in SPEAKS
        assert (HERE / "adapters" / f"{peer.name}_app.py").exists()
    assert all("==" in each for each in table.common)


@pytest.mark.parametrize("speaks", ["weft", "form", "raw", "v1", "v2", "v2_binary", "mlflow"])
def test_the_whole_photo_is_in_every_kind_of_request(speaks: str, peers: None) -> None:
    from benchmarks.peers.bodies import SPEAKS, as_request

    from weft_serving.bench.talk import Address

    photo = bytes(range(256)) * 3
    request = as_request(SPEAKS[speaks](photo), Address("127.0.0.1", 80))
    head, _, body = request.partition(b"\r\n\r\n")

    assert photo in body or base64.b64encode(photo) in body
    assert f"Content-Length: {len(body)}".encode() in head
    if speaks == "v2_binary":
        told = json.loads(body[: int(head.split(b"Inference-Header-Content-Length: ")[1].split(b"\r\n")[0])])
        assert told["inputs"][0]["parameters"]["binary_data_size"] == len(photo) + 4
        assert body.endswith(struct.pack("<I", len(photo)) + photo)


@pytest.mark.parametrize(
    "body",
    [
        b'{"grams": 7.5}',
        b'{"predictions": [7.5]}',
        b'{"model_name": "weight", "outputs": [{"name": "grams", "shape": [1, 1], "data": [7.5]}]}',
    ],
)
def test_their_numbers_are_found_in_their_answers(body: bytes, peers: None) -> None:
    from benchmarks.peers.bodies import read_number

    assert read_number(200, body).grams == 7.5
    assert read_number(500, b"oh").problem == "oh"


def test_what_was_not_measured_is_a_dash_and_says_why(peers: None) -> None:
    from benchmarks.peers.table import markdown

    cell = {"cpu_ms": 51.23, "rps": 33.4, "p50_ms": 90.0, "mib": 180}
    weft = {"title": "Weft", "photo_documented": cell, "ready_s": 1.23, "memory_mib": [170, 180]}
    other = {"title": "Other", "failed": ["Other: cannot be installed here: no wheel"]}
    thrown = {"weft": {"empty": {"status": 422, "mib": 0}, "answers_afterwards": True}}

    made = markdown(
        {"floor": {"photo": 44.0, "frame": 8.9}, "rows": {"weft": weft, "other": other}, "hostile": thrown}
    )

    assert "| floor | 44.0 | 8.9 | 44.0 | 8.9 | - | - |" in made
    assert "| Weft | 51.2 (33.4) | - | - | - | 1.2 s | 170-180 MiB |" in made
    assert "Other: cannot be installed here: no wheel" in made
    assert "| Weft | 422 (+0 MiB) |" in made
