"""Other engines answer as ONNX Runtime does, within what the card admits, or are refused by name."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from weft import engines
from weft.bundle import BUNDLED, Bundle, gaps, load_bundle, open_bundle
from weft.engine_names import EngineName
from weft.engines import OnnxRuntime, fits_here, start_engine
from weft.errors import BundleError, EngineError, ProofError
from weft.verbs import inspect

PROOF = {"engine": "onnxruntime", "bound": 1e-4, "measured": 1e-6, "cases": 2}
FIBRE = ("shares", "low", "high", "unknown")
WEIGHT = ("grams", "low_grams", "high_grams")
Writer = Callable[..., Path]


def admitting(name: str, bound: float = 1e-4, outputs: tuple[str, ...] = WEIGHT) -> dict[str, Any]:
    bounds = dict.fromkeys(outputs, bound)
    proof = {"bound": bounds, "measured": bounds, "cases": 2, "measured_on": "a test"}
    return {"proof": PROOF | {"engines": {name: proof}}}


def photos(subjects: int, each: int, *, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "photos": rng.integers(0, 256, (subjects, each, 3, 40, 60), np.uint8),
        "size": np.full((subjects, each, 2), (40, 60)),
        "mask": np.ones((subjects, each), np.bool_),
        "mm_per_pixel": rng.random((subjects, each), np.float32),
        "mark_at": np.zeros((subjects, each, 3), np.float32),
        "season": np.arange(subjects) % 3,
        "wrap": np.arange(subjects) % 4,
    }


@pytest.fixture
def openvino() -> None:
    pytest.importorskip("openvino")


def test_a_card_without_a_bound_for_an_engine_refuses_it_and_names_the_remedy(
    tiny_weight_bundle: Path,
) -> None:
    with pytest.raises(
        EngineError, match=r"no bound for openvino-bf16; measure one with `weft admit .*--out"
    ):
        load_bundle(tiny_weight_bundle, engine="openvino-bf16")
    with pytest.raises(EngineError, match=r"^the bundle sent: .* `weft admit BUNDLE\.onnx --engine"):
        open_bundle(tiny_weight_bundle.read_bytes(), source="the bundle sent", engine="openvino-bf16")


def test_a_fibre_bundle_without_a_bound_is_not_sent_to_be_admitted(tiny_fibre_bundle: Path) -> None:
    with pytest.raises(EngineError, match=r"for weight bundles.*for composition, use onnxruntime") as refused:
        load_bundle(tiny_fibre_bundle, engine="openvino-bf16")
    assert "weft admit" not in str(refused.value)


@pytest.mark.usefixtures("openvino")
def test_an_admitted_engine_answers_like_the_native_one(write_weight_bundle: Writer, tmp_path: Path) -> None:
    path = write_weight_bundle(tmp_path / "weight.onnx", **admitting("openvino"))
    native, other = load_bundle(path), load_bundle(path, engine="openvino")

    assert (native.engine, other.engine) == ("onnxruntime", "openvino")
    for shape in ((1, 1), (1, 3), (4, 1), (3, 5)):  # of one photo, which has its own graph, and of others
        asked = photos(*shape)
        assert max(gaps("weight", native.run(asked), other.run(asked)).values()) < 1e-5
    assert [port[:2] for port in other.inputs()] == [port[:2] for port in native.inputs()]
    assert [port[:2] for port in other.outputs()] == [port[:2] for port in native.outputs()]


@pytest.mark.usefixtures("openvino")
def test_fibres_are_answered_for_alike_though_openvino_knows_tensors_by_several_names(
    write_fibre_bundle: Writer, tmp_path: Path
) -> None:
    path = write_fibre_bundle(tmp_path / "fibre.onnx", **admitting("openvino", outputs=FIBRE))
    grid = np.linspace(900, 1700, 50, dtype=np.float32)
    light = np.random.default_rng(0).random((3, 50), np.float32)
    asked = {"wavelength_nm": grid, "absorbance": light}

    native, other = load_bundle(path), load_bundle(path, engine="openvino")

    assert max(gaps("composition", native.run(asked), other.run(asked)).values()) < 1e-4


@pytest.mark.usefixtures("openvino")
def test_an_answer_is_not_overwritten_by_the_next_call_or_thread(
    write_weight_bundle: Writer, tmp_path: Path
) -> None:
    path = write_weight_bundle(tmp_path / "weight.onnx", **admitting("openvino"))
    bundle = load_bundle(path, engine="openvino", threads=1)
    cases = [photos(1, 1, seed=seed) for seed in range(8)]
    alone = [load_bundle(path).run(case)["grams"][0] for case in cases]
    kept: dict[int, list[float]] = {}

    def ask(number: int) -> None:
        answers = [bundle.run(cases[number])["grams"] for _ in range(20)]
        kept[number] = [float(answer[0]) for answer in answers]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number, grams in kept.items():
        assert grams == pytest.approx([alone[number]] * 20, rel=1e-5)


@pytest.mark.usefixtures("openvino")
def test_an_engine_that_is_off_by_more_than_its_own_bound_is_refused(
    write_fibre_bundle: Writer, tmp_path: Path
) -> None:
    if not fits_here("openvino-bf16"):
        pytest.skip("this CPU has no bfloat16")

    def admitted(name: str, bound: float, outputs: tuple[str, ...] = FIBRE) -> Path:
        return write_fibre_bundle(tmp_path / name, **admitting("openvino-bf16", bound, outputs))

    near, far = admitted("near.onnx", 0.1), admitted("far.onnx", 1e-7)
    silent = admitted("silent.onnx", 0.1, ("low", "high", "unknown"))

    assert load_bundle(near, engine="openvino-bf16").engine == "openvino-bf16"
    with pytest.raises(ProofError, match=r"differs by .*bound is 1e-07 for openvino-bf16"):
        load_bundle(far, engine="openvino-bf16")
    with pytest.raises(ProofError, match=r"differs by .*bound is"):
        load_bundle(silent, engine="openvino-bf16")  # what the card does not name may not differ
    assert load_bundle(far).engine == "onnxruntime"  # whose own bound is as it was


@pytest.mark.usefixtures("openvino")
def test_in_bfloat16_no_pixel_is_looked_for_at_a_rounded_place() -> None:
    if not fits_here("openvino-bf16"):
        pytest.skip("this CPU has no bfloat16")
    path = BUNDLED / "weight.onnx"
    native = load_bundle(path, threads=1)
    rough = start_engine("openvino-bf16", path.read_bytes(), threads=1, source="bundled")
    takes = [name for name, _, _ in rough.inputs()]
    for count, (rows, columns) in ((1, (251, 333)), (2, (53, 46))):
        asked = photos(2, count) | {"size": np.full((2, count, 2), (rows, columns))}
        asked["photos"] = np.random.default_rng(count).integers(
            0, 256, (2, count, 3, rows, columns + 9), np.uint8
        )
        exact = native.run(asked)
        found = rough.run({name: asked[name] for name in takes}, large=False)

        # With places rounded to 8 bits too: grams by up to a half, faults by up to 1.
        for name in WEIGHT:
            assert found[name] == pytest.approx(exact[name], rel=0.15)
        assert found["faults"] == pytest.approx(exact["faults"], abs=0.15)
        assert not np.array_equal(found["grams"], exact["grams"])  # it is bfloat16


def test_an_engine_that_is_not_installed_says_what_to_install(
    write_weight_bundle: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_weight_bundle(tmp_path / "weight.onnx", **admitting("openvino"))
    monkeypatch.setitem(sys.modules, "openvino", None)

    with pytest.raises(EngineError, match=r"openvino is not installed; install weft\[openvino\]"):
        load_bundle(path, engine="openvino")
    assert load_bundle(path, engine="auto").engine == "onnxruntime"


def test_a_cpu_without_bfloat16_is_named(
    write_weight_bundle: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OldCpu:
        def get_property(self, _: str, name: str) -> list[str]:
            assert name == "OPTIMIZATION_CAPABILITIES"
            return ["FP32", "INT8"]

    class Plain:
        __version__ = "2026.4.1-0"
        Core = OldCpu

    monkeypatch.setitem(sys.modules, "openvino", Plain)
    path = write_weight_bundle(tmp_path / "weight.onnx", **admitting("openvino-bf16"))

    with pytest.raises(EngineError, match="this CPU has no bfloat16"):
        load_bundle(path, engine="openvino-bf16")
    assert load_bundle(path, engine="auto").engine == "onnxruntime"


@pytest.mark.usefixtures("openvino")
def test_auto_takes_what_the_card_admits_and_nothing_else(
    write_weight_bundle: Writer, tiny_weight_bundle: Path, tmp_path: Path
) -> None:
    admitted = write_weight_bundle(tmp_path / "weight.onnx", **admitting("openvino"))

    assert load_bundle(tiny_weight_bundle, engine="auto").engine == "onnxruntime"
    assert load_bundle(admitted, engine="auto").engine == "openvino"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_what_is_no_graph_is_refused_by_every_engine(name: EngineName) -> None:
    if not fits_here(name):
        pytest.skip("not installed")
    with pytest.raises(BundleError, match="graph"):
        start_engine(name, b"\x08\x08garbage", threads=1, source="garbage.onnx")


def test_a_call_of_many_photos_gives_its_memory_back_and_a_usual_one_keeps_it(
    tiny_weight_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    run = OnnxRuntime.run

    def noting(self: OnnxRuntime, inputs: Any, *, large: bool) -> Any:
        told.append(large)
        return run(self, inputs, large=large)

    bundle = load_bundle(tiny_weight_bundle)
    monkeypatch.setattr(OnnxRuntime, "run", noting)
    for shape in ((1, 1), (1, 3), (1, 9), (2, 3)):
        bundle.run(photos(*shape))

    assert told == [False, False, True, True]


def test_left_to_itself_an_engine_takes_the_cores_that_this_process_may_use(
    tiny_weight_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    start = OnnxRuntime.__init__

    def noting(self: OnnxRuntime, model: bytes, *, threads: int, source: str) -> None:
        taken.append(threads)
        start(self, model, threads=threads, source=source)

    monkeypatch.setattr(engines, "usable_cores", lambda: 3)
    monkeypatch.setattr(OnnxRuntime, "__init__", noting)
    load_bundle(tiny_weight_bundle)
    load_bundle(tiny_weight_bundle, threads=1)

    assert taken == [3, 1]


@pytest.fixture(scope="module")
def bundled() -> Bundle:
    return load_bundle(BUNDLED / "weight.onnx", threads=1)


def test_a_photo_beside_others_of_its_size_is_answered_as_if_alone(bundled: Bundle) -> None:
    several = photos(3, 1)
    together = bundled.run(several)
    for row in range(3):
        alone = bundled.run({name: value[row : row + 1] for name, value in several.items()})
        assert gaps("weight", alone, {name: value[row : row + 1] for name, value in together.items()})[
            "grams"
        ] == pytest.approx(0, abs=1e-5)


@pytest.mark.usefixtures("openvino")
def test_the_shell_asks_the_engine_that_is_named(write_weight_bundle: Writer, tmp_path: Path) -> None:
    path = write_weight_bundle(tmp_path / "weight.onnx", **admitting("openvino"))

    shown = CliRunner().invoke(inspect, [str(path), "--engine", "openvino"])
    refused = CliRunner().invoke(inspect, [str(path), "--engine", "openvino-bf16"])

    assert "answers of openvino lie within grams 0.0001" in shown.output
    assert "openvino    grams 0.0001, low grams 0.0001, high grams 0.0001; a test" in shown.output
    assert "no bound for openvino-bf16" in str(refused.exception)
