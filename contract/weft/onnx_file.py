"""The metadata of a serialised ONNX model, read and replaced without the package `onnx`: a server has none.

An ONNX file is one protobuf message. Its top level is a row of fields, each a tag and a value; only these are
walked here. What lies inside the graph is skipped over as a whole, so 10 MB take microseconds.
"""

from collections.abc import Iterator, Mapping

_PROPS = 14  # ModelProto.metadata_props, a StringStringEntryProto: key 1, value 2
_GRAPH = 7  # of ModelProto
_INPUT, _OUTPUT = 11, 12  # of GraphProto, each a ValueInfoProto: name 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def read_metadata(model: bytes) -> dict[str, str]:
    """Keys and values of `metadata_props`; of a key that is there twice the last.

    Raises:
        ValueError: The bytes are no row of protobuf fields.
    """
    found: dict[str, str] = {}
    for number, _, end, head in _fields(model):
        if number == _PROPS:
            entry = model[head:end]
            parts = {number: entry[head:end].decode() for number, _, end, head in _fields(entry)}
            found[parts.get(1, "")] = parts.get(2, "")
    return found


def graph_names(model: bytes) -> tuple[list[str], list[str]]:
    """Names of the graph's inputs and outputs, in its order.

    Raises:
        ValueError: As `read_metadata`.
    """
    names: dict[int, list[str]] = {_INPUT: [], _OUTPUT: []}
    for graph in (model[head:end] for number, _, end, head in _fields(model) if number == _GRAPH):
        for number, _, end, head in _fields(graph):
            if number in names:
                entry = graph[head:end]
                names[number] += [entry[a:z].decode() for part, _, z, a in _fields(entry) if part == 1]
    return names[_INPUT], names[_OUTPUT]


def with_metadata(model: bytes, entries: Mapping[str, str]) -> bytes:
    """The same graph, byte for byte, with `entries` as its only metadata.

    Raises:
        ValueError: As `read_metadata`.
    """
    kept = [model[start:end] for number, start, end, _ in _fields(model) if number != _PROPS]
    return b"".join([*kept, *(_field(_PROPS, _entry(key, value)) for key, value in entries.items())])


def _fields(message: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Number, first byte, end, and first byte of the value of each field."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        kind, head = tag & 7, at
        if kind == _BYTES:
            length, head = _varint(message, at)
            at = head + length
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {start} is none of protobuf's")
        if at > len(message):
            raise ValueError(f"the field at byte {start} ends beyond the file")
        yield tag >> 3, start, at, head


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and where the next field begins."""
    number = 0
    for place in range(10):
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at
    raise ValueError(f"the number at byte {at} does not end")


def _entry(key: str, value: str) -> bytes:
    return _field(1, key.encode()) + _field(2, value.encode())


def _field(number: int, value: bytes) -> bytes:
    return _number(number << 3 | _BYTES) + _number(len(value)) + value


def _number(value: int) -> bytes:
    said = bytearray()
    while value >= 0x80:
        said.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*said, value])
