from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from weft.onnx_file import graph_names, read_metadata, with_metadata


def test_metadata_are_read_as_onnx_reads_them(tiny_weight_bundle: Path) -> None:
    data = tiny_weight_bundle.read_bytes()
    model = onnx.load_model_from_string(data)

    assert read_metadata(data) == {item.key: item.value for item in model.metadata_props}


def test_inputs_and_outputs_are_named_in_the_graphs_order(tiny_weight_bundle: Path) -> None:
    data = tiny_weight_bundle.read_bytes()
    graph = onnx.load_model_from_string(data).graph

    assert graph_names(data) == ([item.name for item in graph.input], [item.name for item in graph.output])


def test_new_metadata_leave_the_graph_byte_for_byte_alone(tiny_fibre_bundle: Path) -> None:
    data = tiny_fibre_bundle.read_bytes()
    before = onnx.load_model_from_string(data)
    long = "ä" * 100_000

    changed = with_metadata(data, {"one": "1", "long": long})

    after = onnx.load_model_from_string(changed)
    assert after.graph.SerializeToString() == before.graph.SerializeToString()
    assert after.opset_import == before.opset_import
    assert after.ir_version == before.ir_version
    assert [(item.key, item.value) for item in after.metadata_props] == [("one", "1"), ("long", long)]


def test_of_a_key_that_is_there_twice_the_last_counts() -> None:
    model = helper.make_model(helper.make_graph([], "none", [], []))
    twice = with_metadata(model.SerializeToString(), {"key": "old"})

    appended = twice + with_metadata(b"", {"key": "new"})
    assert read_metadata(appended) == {"key": "new"}


@given(st.binary(max_size=200))
def test_rubbish_is_read_or_refused_but_never_hangs(data: bytes) -> None:
    try:
        found = read_metadata(data)
    except ValueError:
        return
    assert all(isinstance(value, str) for value in found.values())


@pytest.mark.parametrize("data", [b"\x72", b"\x72\x7f", b"\xff" * 11, b"\x77\x00"])
def test_a_field_that_does_not_end_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"does not end|ends beyond|none of protobuf"):
        read_metadata(data)
