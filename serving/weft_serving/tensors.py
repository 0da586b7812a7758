"""Tensors of the Open Inference Protocol v2: from a request's JSON and bytes to arrays, and back.

Nothing is allocated by what a shape claims: the elements have to be there first.
"""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weft_serving.problems import InvalidRequestError, invalid

Arrays = dict[str, NDArray[Any]]
HEADER: Final = "Inference-Header-Content-Length"
DATATYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_OF_GRAPH: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
}
_NAME: Final = Field(min_length=1, max_length=200)


class Port(NamedTuple):
    """An input or output of a graph; -1 stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def ports(items: Sequence[tuple[str, str, list[Any]]]) -> list[Port]:
    """What `Bundle.inputs` and `.outputs` give, in the protocol's words."""
    return [
        Port(name, _OF_GRAPH[kind], tuple(size if isinstance(size, int) else -1 for size in shape))
        for name, kind, shape in items
    ]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    parameters: dict[str, Any] = {}


class Given(_Part):
    """An input of the request; its elements are in `data`, or follow the JSON as bytes."""

    name: Annotated[str, _NAME]
    datatype: Annotated[str, Field(max_length=20)]
    shape: Annotated[list[Annotated[int, Field(ge=1, le=1 << 40)]], Field(max_length=8)]
    data: list[Any] | None = None


class Asked(_Part):
    name: Annotated[str, _NAME]


class Question(_Part):
    """The JSON of a request to infer."""

    id: Annotated[str, Field(max_length=1_000)] | None = None
    inputs: Annotated[list[Given], Field(min_length=1, max_length=64)]
    outputs: Annotated[list[Asked], Field(max_length=64)] | None = None


def read_question(body: bytes, header: str | None) -> tuple[Question, memoryview]:
    """The JSON of a request, and the bytes behind it. Raises InvalidRequestError."""
    length = len(body)
    if header is not None:
        if not header.isascii() or not header.isdigit() or len(header) > 18 or int(header) > len(body):
            raise InvalidRequestError(
                f"{HEADER} is {header[:40]!r} for a body of {len(body):,} bytes; send the length of its JSON"
            )
        length = int(header)
    try:
        return Question.model_validate_json(body[:length]), memoryview(body)[length:]
    except ValidationError as error:
        raise invalid(error, need="send a request of the Open Inference Protocol v2") from error


def read_inputs(
    question: Question, rest: memoryview, wanted: Sequence[Port], optional: Collection[str] = ()
) -> Arrays:
    """The arrays that the graph takes, each checked against it; those of `optional` may be left out.

    Raises:
        InvalidRequestError: A wrong name, type, shape or number of bytes, or values that are not finite.
    """
    names = [given.name for given in question.inputs]
    needed = {port.name: port for port in wanted}
    if sorted([*names, *(set(optional) - set(names))]) != sorted(needed):
        raise InvalidRequestError(
            f"inputs are {', '.join(names)[:300]}, needed each once: {', '.join(needed)}; see its metadata"
        )
    found: Arrays = {}
    at = 0
    for given in question.inputs:
        port = needed[given.name]
        _check_form(given, port)
        size = given.parameters.get("binary_data_size")
        if size is None:
            found[given.name] = _from_json(given)
            continue
        if type(size) is not int or size < 0 or given.data is not None:
            raise InvalidRequestError(
                f"{given.name}: needs either data or a binary_data_size in bytes; send one of them"
            )
        found[given.name] = _from_bytes(given, rest[at : at + size], size)
        at += size
    if at != len(rest):
        raise InvalidRequestError(
            f"{len(rest):,} bytes follow the JSON, its inputs describe {at:,}; state their binary_data_size"
        )
    return found


def write_answer(
    told: dict[str, Any], outputs: Mapping[str, NDArray[Any]], question: Question
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where bytes follow it.

    Raises:
        InvalidRequestError: An output is asked for twice, or one that the graph does not give.
    """
    asked = question.outputs or [Asked(name=name) for name in outputs]
    names = [each.name for each in asked]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidRequestError(f"output {twice[0][:60]!r} is asked for twice; ask for it once")
    if strange := [name for name in names if name not in outputs]:
        raise InvalidRequestError(
            f"there is no output {strange[0][:60]!r}; the graph gives {', '.join(outputs)}"
        )
    described: list[dict[str, Any]] = []
    chunks: list[bytes] = []
    for each in asked:
        if "classification" in each.parameters:
            raise InvalidRequestError(f"{each.name}: classification is not offered; ask for the tensor")
        values = np.ascontiguousarray(outputs[each.name])
        datatype = next(name for name, dtype in DATATYPES.items() if dtype == values.dtype)
        entry: dict[str, Any] = {"name": each.name, "datatype": datatype, "shape": list(values.shape)}
        if each.parameters.get("binary_data", question.parameters.get("binary_data_output", False)):
            chunks.append(values.astype(DATATYPES[datatype], copy=False).tobytes())
            entry["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            entry["data"] = values.ravel().tolist()
        described.append(entry)
    if question.id is not None:
        told = {**told, "id": question.id}
    head = json.dumps({**told, "outputs": described}, allow_nan=False).encode()
    return b"".join([head, *chunks]), len(head) if chunks else None


def _check_form(given: Given, port: Port) -> None:
    if given.datatype != port.datatype:
        raise InvalidRequestError(
            f"{given.name} is {given.datatype[:20]}, needed {port.datatype}; convert it before it is sent"
        )
    fits = len(given.shape) == len(port.shape) and all(
        size in (-1, got) for got, size in zip(given.shape, port.shape, strict=True)
    )
    if not fits:
        raise InvalidRequestError(
            f"{given.name} has shape {given.shape}, needed {list(port.shape)} -1 being any size; reshape it"
        )


def _from_json(given: Given) -> NDArray[Any]:
    if given.data is None:
        raise InvalidRequestError(
            f"{given.name}: no data came; send data or binary_data_size (shared memory is not offered)"
        )
    dtype = DATATYPES[given.datatype]
    if not _all_numbers(given.data):
        raise InvalidRequestError(f"{given.name}: data is not all {given.datatype}; convert it")
    try:
        values = np.array(given.data)
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(
            f"{given.name}: data is no regular list of numbers; send it flat"
        ) from error
    if values.size != math.prod(given.shape) or values.shape not in ((values.size,), tuple(given.shape)):
        raise InvalidRequestError(
            f"{given.name} of shape {given.shape} needs {math.prod(given.shape):,} elements, data has shape "
            f"{list(values.shape)}; send as many"
        )
    kinds = {"b": "b", "f": "iuf"}.get(dtype.kind, "iu")
    if values.dtype.kind not in kinds:
        raise InvalidRequestError(f"{given.name}: data is not all {given.datatype}; convert it")
    if dtype.kind in "iu":
        bounds = np.iinfo(dtype.name)
        if values.min() < bounds.min or values.max() > bounds.max:
            raise InvalidRequestError(f"{given.name}: data lies outside {given.datatype}; convert it")
    with np.errstate(over="ignore"):  # becomes infinite, which is refused
        return _finite(given, values.astype(dtype).reshape(given.shape))


def _all_numbers(data: list[Any]) -> bool:
    """Told before numpy sees them: it would give every text the room of the longest one."""
    waiting = [data]
    while waiting:
        for each in waiting.pop():
            if isinstance(each, list):
                waiting.append(cast("list[Any]", each))
            elif not isinstance(each, int | float):
                return False
    return True


def _from_bytes(given: Given, data: memoryview, size: int) -> NDArray[Any]:
    dtype = DATATYPES[given.datatype]
    if (needed := math.prod(given.shape) * dtype.itemsize) != size or len(data) != size:
        raise InvalidRequestError(
            f"{given.name} of shape {given.shape} in {given.datatype} needs {needed:,} bytes, "
            f"binary_data_size is {size:,} and {len(data):,} came; send as many"
        )
    if dtype.kind == "b":
        values = np.frombuffer(data, np.uint8)
        if values.max() > 1:
            raise InvalidRequestError(f"{given.name}: BOOL is a byte of 0 or 1; {values.max()} came")
        return values.astype(np.bool_).reshape(given.shape)
    # The JSON before it may have any length: the graph wants its numbers aligned.
    aligned = np.require(np.frombuffer(data, dtype), requirements=["C", "A"])
    return _finite(given, aligned.reshape(given.shape))


def _finite(given: Given, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f" and not bool(np.isfinite(values).all()):
        raise InvalidRequestError(f"{given.name} holds NaN or infinity; mend or leave out such values first")
    return values
