"""The Open Inference Protocol v2: others' clients ask the graphs, and no body gets more than a sentence."""

import json
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from weft.bundle import load_bundle
from weft_serving.app import create_app
from weft_serving.problems import InvalidRequestError
from weft_serving.settings import Settings
from weft_serving.store import open_store
from weft_serving.tensors import Port, read_inputs, read_question

HEADER = "Inference-Header-Content-Length"
NM = np.linspace(900, 1700, 81).astype(np.float32)
COMPOSITION = "/v2/models/composition/infer"


def absorbance(count: int = 2) -> np.ndarray[Any, Any]:
    centres = np.array([1000.0, 1200.0, 1400.0, 1600.0])[:count, None]
    return (0.1 + 0.6 * np.exp(-(((NM - centres) / 90) ** 2))).astype(np.float32)


def tensor(name: str, values: Any, datatype: str = "FP32", **more: Any) -> dict[str, Any]:
    given = {"name": name, "datatype": datatype, "shape": list(values.shape), "data": values.ravel().tolist()}
    return given | more


def scans(count: int = 2) -> dict[str, Any]:
    return {"inputs": [tensor("wavelength_nm", NM), tensor("absorbance", absorbance(count))]}


def binary(question: dict[str, Any], *chunks: bytes) -> tuple[bytes, dict[str, str]]:
    head = json.dumps(question).encode()
    return b"".join([head, *chunks]), {HEADER: str(len(head))}


@pytest.fixture
def expected(tiny_fibre_bundle: Path) -> dict[str, Any]:
    return load_bundle(tiny_fibre_bundle).run({"wavelength_nm": NM, "absorbance": absorbance()})


def test_the_server_and_its_models_say_what_they_are(client: TestClient, tiny_fibre_bundle: Path) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").status_code == client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2/models/composition/ready").json() == {"name": "composition", "ready": True}
    assert client.get("/v2/models/composition/versions/1/ready").status_code == 200
    found = client.get("/v2/models/composition").json()

    assert found["inputs"] == [
        {"name": "wavelength_nm", "datatype": "FP32", "shape": [-1]},
        {"name": "absorbance", "datatype": "FP32", "shape": [-1, -1]},
    ]
    assert {output["name"] for output in found["outputs"]} == {"shares", "low", "high", "unknown"}
    assert found["parameters"]["trained_on"] == "simulated"
    assert found["parameters"]["sha256"] == load_bundle(tiny_fibre_bundle).sha256


def test_json_and_binary_tensors_give_the_graphs_own_answer(
    client: TestClient, expected: dict[str, Any]
) -> None:
    plain = client.post(COMPOSITION, json=scans() | {"id": "seven"}).json()
    question = {
        "inputs": [
            {"name": name, "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": size}}
            for name, shape, size in (("absorbance", [2, 81], 648), ("wavelength_nm", [81], 324))
        ],
        "outputs": [{"name": "shares", "parameters": {"binary_data": True}}, {"name": "unknown"}],
    }
    body, headers = binary(question, absorbance().tobytes(), NM.tobytes())
    reply = client.post(COMPOSITION, content=body, headers=headers)
    length = int(reply.headers[HEADER])
    told = json.loads(reply.content[:length])

    assert (plain["model_name"], plain["model_version"], plain["id"]) == ("composition", "1", "seven")
    assert plain["parameters"]["trained_on"] == "simulated"
    for output in plain["outputs"]:
        found = np.array(output["data"]).reshape(output["shape"])
        assert np.array_equal(found.astype(np.float32), expected[output["name"]])
    assert told["outputs"][0] == {
        "name": "shares", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": 32},
    }  # fmt: skip
    assert struct.unpack("<8f", reply.content[length:]) == tuple(expected["shares"].ravel())
    assert told["outputs"][1]["data"] == pytest.approx(expected["unknown"].tolist())


def test_photos_and_belt_pixels_are_answered_too(
    start: Callable[..., TestClient], tiny_belt_bundle: Path, tiny_weight_bundle: Path
) -> None:
    client = start()
    photos = {
        "inputs": [
            tensor("photos", np.full((1, 1, 3, 8, 8), 90, np.uint8), "UINT8"),
            tensor("size", np.array([[[8, 8]]]), "INT64"),
            tensor("mask", np.array([[True]]), "BOOL"),
            tensor("mm_per_pixel", np.zeros((1, 1), np.float32)),
            tensor("season", np.array([0]), "INT64"),
            tensor("wrap", np.array([0]), "INT64"),
        ]
    }
    takes = {port["name"] for port in client.get("/v2/models/weight").json()["inputs"]}
    photos["inputs"] = [given for given in photos["inputs"] if given["name"] in takes]
    weighed = client.post("/v2/models/weight/infer", json=photos).json()
    grams = next(output for output in weighed["outputs"] if output["name"] == "grams")
    assert grams["data"] == [pytest.approx(100 + 10 * 90, rel=0.01)]  # the tiny bundle's formula

    assert client.get("/v2/models/belt").json() == {
        "error": "no model 'belt' is loaded; it is loaded with --lines"
    }
    bundle = load_bundle(tiny_belt_bundle, task="belt")
    client.app.state.sorting_lines = SimpleNamespace(bundle=bundle)  # type: ignore[attr-defined]
    port = client.get("/v2/models/belt").json()["inputs"][0]
    pixels = np.random.default_rng(1).uniform(0.2, 0.8, (5, port["shape"][1])).astype(np.float32)
    read = client.post("/v2/models/belt/infer", json={"inputs": [tensor(port["name"], pixels)]}).json()
    direct = bundle.run({port["name"]: pixels})
    assert all(
        np.allclose(output["data"], direct[output["name"]].ravel(), atol=1e-6) for output in read["outputs"]
    )


@pytest.fixture
def port_of_server(tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tmp_path: Path) -> Iterator[int]:
    import threading
    import time

    import uvicorn

    from weft_serving.run import listen

    app = create_app(
        Settings(),
        weight=load_bundle(tiny_weight_bundle),
        fibre=load_bundle(tiny_fibre_bundle),
        store=open_store(f"sqlite:///{tmp_path}/weft.db"),
    )
    socket = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    while not server.started:
        time.sleep(0.005)
    yield socket.getsockname()[1]
    server.should_exit = True
    thread.join()
    socket.close()


@pytest.mark.filterwarnings("default")  # geventhttpclient leaves sockets to the garbage collector
def test_tritons_own_client_can_ask(port_of_server: int, expected: dict[str, Any]) -> None:
    triton = pytest.importorskip("tritonclient.http")
    with triton.InferenceServerClient(f"127.0.0.1:{port_of_server}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("composition")
        assert not client.is_model_ready("colour")
        assert client.get_server_metadata()["name"] == "weft"
        assert client.get_model_metadata("composition")["platform"] == "onnxruntime_onnx"
        for as_binary in (True, False):
            inputs = [triton.InferInput("wavelength_nm", [81], "FP32")]
            inputs.append(triton.InferInput("absorbance", [2, 81], "FP32"))
            inputs[0].set_data_from_numpy(NM, binary_data=as_binary)
            inputs[1].set_data_from_numpy(absorbance(), binary_data=as_binary)
            for outputs in (None, [triton.InferRequestedOutput("shares", binary_data=as_binary)]):
                found = client.infer("composition", inputs, outputs=outputs, request_id="1")
                assert np.array_equal(found.as_numpy("shares"), expected["shares"])
        inputs[1] = triton.InferInput("absorbance", [2, 80], "FP32")
        inputs[1].set_data_from_numpy(absorbance()[:, 1:])
        with pytest.raises(triton.InferenceServerException, match="80 values for 81 wavelengths"):
            client.infer("composition", inputs)


def changed(**changes: Any) -> dict[str, Any]:
    """A good question with its second input changed."""
    made = scans()
    made["inputs"][1] |= changes
    return made


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({}, "inputs: Field required"),
        ({"inputs": []}, "at least 1 item"),
        ([], "send a request of the Open Inference Protocol v2"),
        (changed(name="x" * 900), "at most 200 characters"),
        (changed(name="colour"), "inputs are wavelength_nm, colour, needed each once"),
        (changed(name="wavelength_nm"), "needed each once: wavelength_nm, absorbance"),
        ({"inputs": scans()["inputs"][:1]}, "needed each once"),
        (changed(datatype="FP64"), "absorbance is FP64, needed FP32"),
        (changed(datatype="BYTES"), "absorbance is BYTES, needed FP32"),
        (changed(shape=[162]), "has shape [162], needed [-1, -1]"),
        (changed(shape=[2, 80]), "needs 160 elements, data has shape [162]"),
        (changed(shape=[2, 0]), "greater than or equal to 1"),
        (changed(shape=[1 << 39, 1 << 39]), "needs 302,231,454,903,657,293,676,544 elements"),
        (changed(shape=[2, 81.0]), "valid integer"),
        (changed(shape=[1] * 9), "at most 8 items"),
        (changed(data=None), "shared memory is not offered"),
        (changed(data=["a"] * 162), "data is not all FP32"),
        (changed(data=[True] * 162), "data is not all FP32"),
        (changed(data=[1e300] * 162), "NaN or infinity"),
        (changed(data=[[1, 2], [3]]), "no regular list of numbers"),
        (changed(parameters={"binary_data_size": 648}), "needs either data or a binary_data_size"),
        (
            changed(data=None, parameters={"binary_data_size": "648"}),
            "needs either data or a binary_data_size",
        ),
        (changed(data=None, parameters={"binary_data_size": 648}), "648 and 0 came"),
        (changed(data=None, parameters={"binary_data_size": -1}), "needs either data"),
        (scans() | {"outputs": [{"name": "colour"}]}, "there is no output 'colour'; the graph gives shares"),
        (
            scans() | {"outputs": [{"name": "shares"}] * 64},
            "output 'shares' is asked for twice; ask for it once",
        ),
        (
            scans() | {"outputs": [{"name": "shares", "parameters": {"classification": 2}}]},
            "classification is not offered",
        ),
    ],
)
def test_a_wrong_question_gets_400_and_a_sentence(client: TestClient, question: Any, words: str) -> None:
    reply = client.post(COMPOSITION, json=question)

    assert reply.status_code == 400
    assert list(reply.json()) == ["error"]
    assert words in reply.json()["error"]


def test_what_no_json_library_would_send_is_refused_too(client: TestClient) -> None:
    good = json.dumps(scans())
    for body, headers, words in (
        (b"", {}, "JSON"),
        (b"\xff\xfe{}", {}, "JSON"),
        (b"[" * 100_000, {}, "JSON"),
        (json.dumps(changed(data=[float("nan")] * 162)).encode(), {}, "NaN or infinity"),
        (good.encode(), {HEADER: "-1"}, "is '-1' for a body"),
        (good.encode(), {HEADER: "9" * 30}, "send the length of its JSON"),
        (good.encode() + b"tail", {HEADER: str(len(good))}, "4 bytes follow the JSON, its inputs describe 0"),
        (good.encode(), {HEADER: "10"}, "JSON"),
    ):
        reply = client.post(COMPOSITION, content=body, headers=headers)
        assert reply.status_code == 400, body[:50]
        assert words in reply.json()["error"]


def test_values_that_the_model_cannot_mean_are_refused(client: TestClient) -> None:
    def ask(nm: Any, spectra: Any) -> str:
        question = {"inputs": [tensor("wavelength_nm", nm), tensor("absorbance", spectra)]}
        reply = client.post(COMPOSITION, json=question)
        assert reply.status_code == 400
        return reply.json()["error"]

    nan = absorbance()
    nan[0, 3] = np.nan
    question = {
        "inputs": [
            tensor("wavelength_nm", NM),
            {**tensor("absorbance", nan), "data": None, "parameters": {"binary_data_size": nan.nbytes}},
        ]
    }
    body, headers = binary(question, nan.tobytes())
    assert "NaN or infinity" in client.post(COMPOSITION, content=body, headers=headers).json()["error"]
    assert "covers 1300-1700 nm, bundle needs 950-1650 nm" in ask(NM[40:], absorbance()[:, 40:])
    assert "3 wavelengths, 8 to 10,000" in ask(NM[:3], absorbance()[:, :3])
    assert "twice" in ask(np.zeros(81, np.float32), absorbance())
    assert "20,000 wavelengths" in ask(np.arange(20_000, dtype=np.float32), np.zeros((1, 20_000), np.float32))


def test_sizes_and_masks_that_lie_are_refused(client: TestClient) -> None:
    def ask(**changes: Any) -> str:
        given = {
            "photos": (np.zeros((1, 1, 3, 8, 8), np.uint8), "UINT8"),
            "size": (np.array([[[8, 8]]]), "INT64"),
            "mask": (np.array([[True]]), "BOOL"),
            "mm_per_pixel": (np.zeros((1, 1)), "FP32"),
            "season": (np.array([0]), "INT64"),
            "wrap": (np.array([0]), "INT64"),
        } | changes
        takes = {port["name"] for port in client.get("/v2/models/weight").json()["inputs"]}
        question = {"inputs": [tensor(name, *value) for name, value in given.items() if name in takes]}
        reply = client.post("/v2/models/weight/infer", json=question)
        assert reply.status_code == 400, reply.text
        return reply.json()["error"]

    assert "within the 8 x 8 pixels" in ask(size=(np.array([[[9, 8]]]), "INT64"))
    assert "within the 8 x 8 pixels" in ask(size=(np.array([[[0, 8]]]), "INT64"))
    assert "row of mask is all false" in ask(mask=(np.array([[False]]), "BOOL"))
    assert "send one of each for every photo" in ask(mask=(np.array([[True, True]]), "BOOL"))
    assert "lies outside UINT8" in ask(photos=(np.full((1, 1, 3, 8, 8), 256), "UINT8"))
    assert "10 photos of one parcel" in ask(photos=(np.zeros((1, 10, 3, 2, 2), np.uint8), "UINT8"))
    assert "the graph cannot take these inputs together" in ask(season=(np.array([0, 0]), "INT64"))


def test_an_unknown_model_or_version_is_404_and_a_body_too_large_413_in_the_protocols_form(
    client: TestClient,
) -> None:
    for path in ("/v2/models/colour", "/v2/models/colour/ready", "/v2/models/composition/versions/9"):
        reply = client.get(path)
        assert reply.status_code == 404
        assert "error" in reply.json()
    large = client.post(COMPOSITION, content=b"0" * 2_000_001)
    assert large.status_code == 413
    assert "at most 2,000,000" in large.json()["error"]
    # binary tensors may be as large as photos, and no other address gets that by a header
    assert client.post(COMPOSITION, content=b"0" * 2_000_001, headers={HEADER: "5"}).status_code == 400
    other = client.post("/v1/compositions", content=b"0" * 2_000_001, headers={HEADER: "5"})
    assert other.status_code == 413


def test_a_full_pool_says_when_to_come_back(start: Callable[..., TestClient]) -> None:
    client = start(workers=1, waiting=0)
    client.app.state.service.pool._running = 1  # type: ignore[attr-defined]
    reply = client.post(COMPOSITION, json=scans())

    assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
    assert "error" in reply.json()


@pytest.mark.parametrize("nested", [False, True])
def test_one_long_text_among_the_numbers_does_not_take_its_length_for_each_of_them(nested: bool) -> None:
    texts: list[Any] = ["a" * 20_000, *["b"] * 1_999]
    given = {"name": "x", "datatype": "FP32", "shape": [2_000, 1], "data": [[text] for text in texts]}
    body = json.dumps({"inputs": [given if nested else given | {"data": texts}]}).encode()
    question, rest = read_question(body, None)

    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequestError, match="x: data is not all FP32; convert it"):
            read_inputs(question, rest, [Port("x", "FP32", (-1, 1))])
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak_bytes < 1_000_000  # 160 MB, were they an array
