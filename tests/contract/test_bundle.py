import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from weft.bundle import BUNDLED, CARD_KEY, PROOF_KEY, SEAL_HEAD, load_bundle, open_bundle, pack_proof, sealed
from weft.card import read_card
from weft.errors import BundleError, CardError, ProofError, SealError, WrongTaskError

PROOF = {"engine": "onnxruntime", "bound": 1e-4, "measured": 1e-6, "cases": 2}


def rewritten(path: Path, change: Callable[[dict[str, str]], None]) -> bytes:
    """The bundle with changed metadata under a fresh, valid seal."""
    model = onnx.load_model_from_string(path.read_bytes())
    entries = {item.key: item.value for item in model.metadata_props if item.key in (CARD_KEY, PROOF_KEY)}
    change(entries)
    helper.set_model_props(model, entries)
    return sealed(model.SerializeToString())


def test_a_sealed_bundle_loads_and_answers(tiny_weight_bundle: Path) -> None:
    bundle = load_bundle(tiny_weight_bundle, task="weight")

    answer = bundle.run(
        {
            "photos": np.full((1, 1, 3, 8, 8), 20, np.uint8),
            "size": np.array([[[8, 8]]]),
            "mask": np.array([[True]]),
            "mm_per_pixel": np.zeros((1, 1), np.float32),
            "season": np.array([0]),
            "wrap": np.array([0]),
        }
    )

    assert answer["grams"] == pytest.approx([300])
    assert bundle.sha256 == tiny_weight_bundle.read_bytes()[-64:].decode()


def test_who_does_not_know_where_a_mark_lies_leaves_it_out() -> None:
    bundle = load_bundle(BUNDLED / "weight.onnx", task="weight", threads=1)
    asked = {
        "photos": np.random.default_rng(0).integers(0, 256, (1, 2, 3, 60, 80), np.uint8),
        "size": np.array([[[60, 80], [60, 80]]]),
        "mask": np.array([[True, True]]),
        "mm_per_pixel": np.array([[2.0, 0.0]], np.float32),
        "season": np.array([0]),
        "wrap": np.array([0]),
    }

    unknown = bundle.run(asked | {"mark_at": np.zeros((1, 2, 3), np.float32)})
    known = bundle.run(asked | {"mark_at": np.array([[[70, 50, 0.6], [0, 0, 0]]], np.float32)})

    assert bundle.run(asked)["grams"] == unknown["grams"]
    assert known["grams"] != pytest.approx(unknown["grams"], rel=0.01)


def test_the_seal_is_the_hash_of_the_file_with_its_own_digits_zeroed(tiny_weight_bundle: Path) -> None:
    data = tiny_weight_bundle.read_bytes()

    assert hashlib.sha256(data[:-64] + b"0" * 64).hexdigest() == data[-64:].decode()
    assert [item.key for item in onnx.load_model_from_string(data).metadata_props][-1] == "weft.sha256"


@settings(max_examples=300, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_refused_before_anything_is_parsed(
    tiny_weight_bundle: Path, where: float, bit: int
) -> None:
    data = bytearray(tiny_weight_bundle.read_bytes())
    data[int(where * len(data))] ^= 1 << bit

    with pytest.raises(SealError):
        open_bundle(bytes(data), source="flipped.onnx")


def test_every_byte_of_the_seal_itself_is_guarded(tiny_fibre_bundle: Path) -> None:
    data = tiny_fibre_bundle.read_bytes()
    for back in range(1, 65 + len(SEAL_HEAD)):
        flipped = bytearray(data)
        flipped[-back] ^= 1
        with pytest.raises(SealError):
            open_bundle(bytes(flipped), source="flipped.onnx")


@pytest.mark.parametrize("keep", [0, 1, 63, 64, 1000, -1])
def test_a_truncated_bundle_is_refused(tiny_weight_bundle: Path, keep: int) -> None:
    with pytest.raises(SealError, match=r"cut short|does not match"):
        open_bundle(tiny_weight_bundle.read_bytes()[:keep], source="cut.onnx")


def test_bytes_appended_to_a_bundle_are_refused(tiny_weight_bundle: Path) -> None:
    with pytest.raises(SealError, match="not a Weft bundle"):
        open_bundle(tiny_weight_bundle.read_bytes() + b"\0", source="long.onnx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"absent\.onnx: cannot be read \(No such file"):
        load_bundle(tmp_path / "absent.onnx")


def test_a_bundle_of_the_other_task_is_refused(tiny_fibre_bundle: Path) -> None:
    with pytest.raises(WrongTaskError, match="a bundle for composition, needed one for weight"):
        load_bundle(tiny_fibre_bundle, task="weight")


def test_sealed_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(BundleError, match="graph cannot be loaded"):
        open_bundle(sealed(b"\x00\x01garbage" * 50), source="garbage.onnx")


@pytest.mark.parametrize("key", [CARD_KEY, PROOF_KEY])
def test_a_sealed_bundle_without_card_or_proof_is_refused(tiny_weight_bundle: Path, key: str) -> None:
    with pytest.raises(CardError, match="card or proof is missing"):
        open_bundle(
            rewritten(tiny_weight_bundle, lambda entries: entries.pop(key) and None), source="bare.onnx"
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "composition"}, "task and section `weight` contradict"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"subjects": 0}, "subjects: Input should be greater than or equal to 1"),
        ({"coverage": 0.9, "calibration_subjects": 8}, "at least 9 calibration subjects"),
        ({"coverage": 1.0}, "coverage: Input should be less than 1"),
        ({"format": 2}, "format: Input should be 1"),
        ({"proof": PROOF | {"bound": float("nan")}}, "proof.bound: Input should be"),
        ({"proof": PROOF | {"bound": 1e9}}, "proof.bound: Input should be less than 1"),
    ],
)
def test_a_card_that_does_not_hold_is_refused_by_the_name_of_its_field(
    tiny_weight_bundle: Path, change: dict[str, Any], words: str
) -> None:
    def edit(entries: dict[str, str]) -> None:
        entries[CARD_KEY] = json.dumps(json.loads(entries[CARD_KEY]) | change)

    with pytest.raises(CardError, match=f"card.onnx: bundle card: .*{words}"):
        open_bundle(rewritten(tiny_weight_bundle, edit), source="card.onnx")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fibres": ["cotton", "wool", "polyester", "unobtainium"]}, "unobtainium"),
        ({"fibres": ["cotton", "wool", "polyester", "polyester"]}, "a fibre is named twice"),
        ({"fibres": ["cotton", "wool", "polyester"]}, "answers for 4 fibres, the card names 3"),
        ({"grid_nm": [1700.0, 900.0]}, "grid_nm does not ascend"),
        ({"needed_nm": [1650.0, 950.0]}, "needed_nm does not ascend"),
    ],
)
def test_a_fibre_card_that_no_answer_could_be_made_with_is_refused(
    write_fibre_bundle: Callable[..., Path], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(CardError, match=words):
        load_bundle(write_fibre_bundle(tmp_path / "fibre.onnx", composition=change))


def test_a_graph_without_an_output_of_its_task_is_refused(tiny_weight_bundle: Path) -> None:
    model = onnx.load_model_from_string(rewritten(tiny_weight_bundle, lambda _: None))
    del model.metadata_props[-1]  # the seal
    del model.graph.output[1]

    with pytest.raises(CardError, match="the graph gives grams, high_grams, low_grams is missing for weight"):
        open_bundle(sealed(model.SerializeToString()), source="mute.onnx")


def test_a_card_that_is_no_json_is_refused() -> None:
    with pytest.raises(CardError, match="bundle card: card: Invalid JSON"):
        read_card("{not json")


@pytest.mark.parametrize(
    ("proof", "words"),
    [
        ("%%%", "proof cannot be read"),
        ("aGVsbG8=", "proof cannot be read"),
        (pack_proof([]), "proof is empty"),
        (pack_proof([({"photos": np.zeros(3)}, {"grams": np.zeros(1)})]), "proof 1 does not fit the graph"),
    ],
)
def test_an_unreadable_proof_is_refused(tiny_weight_bundle: Path, proof: str, words: str) -> None:
    def edit(entries: dict[str, str]) -> None:
        entries[PROOF_KEY] = proof

    with pytest.raises(ProofError, match=words):
        open_bundle(rewritten(tiny_weight_bundle, edit), source="proof.onnx")


@pytest.mark.parametrize(("factor", "holds"), [(1 + 5e-5, True), (1 + 2e-4, False), (np.nan, False)])
def test_an_answer_beyond_the_proofs_bound_is_refused(
    tiny_weight_bundle: Path, factor: float, holds: bool
) -> None:
    inputs = {
        "photos": np.full((1, 1, 3, 4, 4), 90, np.uint8),
        "size": np.array([[[4, 4]]]),
        "mask": np.array([[True]]),
        "mm_per_pixel": np.ones((1, 1), np.float32),
        "season": np.array([1]),
        "wrap": np.array([1]),
    }
    grams = np.float32([100 + 900 + 1 + 50 + 5])
    wrong = {"grams": grams * factor, "low_grams": grams * 0.8, "high_grams": grams * 1.25}

    def edit(entries: dict[str, str]) -> None:
        entries[PROOF_KEY] = pack_proof([(inputs, wrong)])

    data = rewritten(tiny_weight_bundle, edit)
    if holds:
        open_bundle(data, source="near.onnx")
    else:
        with pytest.raises(ProofError, match=r"proof 1 differs by .* bound is 0\.0001"):
            open_bundle(data, source="far.onnx")
