"""How each peer wants a photo put into a request, and where in its answer the number stands."""

import base64
import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from weft_serving.bench.talk import Address, Answer

BOUNDARY = b"weft-bench-boundary"


class Packed(NamedTuple):
    path: str
    body: bytes
    headers: dict[str, str]


def _form(photo: bytes, name: str = "image", path: str = "/predict") -> Packed:
    head = b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="a.jpg"\r\n' % (
        BOUNDARY,
        name.encode(),
    )
    body = head + b"Content-Type: image/jpeg\r\n\r\n" + photo + b"\r\n--%s--\r\n" % BOUNDARY
    return Packed(path, body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"})


def _json(path: str, body: dict[str, Any]) -> Packed:
    return Packed(path, json.dumps(body).encode(), {"Content-Type": "application/json"})


def _text(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


def _v2(photo: bytes) -> Packed:
    tensor = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"}}
    return _json("/v2/models/weight/infer", {"inputs": [tensor | {"data": [_text(photo)]}]})


def _v2_binary(photo: bytes) -> Packed:
    data = struct.pack("<I", len(photo)) + photo
    tensor = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(data)},
    }
    wanted = {"name": "grams", "parameters": {"binary_data": False}}
    head = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    sizes = {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}
    return Packed("/v2/models/weight/infer", head + data, sizes)


SPEAKS: dict[str, Callable[[bytes], Packed]] = {
    "weft": lambda photo: _form(photo, "photos", "/v1/estimates"),
    "form": _form,
    "raw": lambda photo: Packed("/", photo, {"Content-Type": "image/jpeg"}),
    "v1": lambda photo: _json("/v1/models/weight:predict", {"instances": [{"image": {"b64": _text(photo)}}]}),
    "v2": _v2,
    "v2_binary": _v2_binary,
    "mlflow": lambda photo: _json(
        "/invocations", {"dataframe_split": {"columns": ["image"], "data": [[_text(photo)]]}}
    ),
}


def as_request(packed: Packed, address: Address) -> bytes:
    lines = [f"POST {packed.path} HTTP/1.1", f"Host: {address.name}"]
    lines += [f"{name}: {value}" for name, value in packed.headers.items()]
    lines += [f"Content-Length: {len(packed.body)}", "", ""]
    return "\r\n".join(lines).encode() + packed.body


def read_number(status: int | None, body: bytes, *, retry_after_s: float = 0.0) -> Answer:
    """Of any of these answers."""
    if status != 200:
        return Answer(status or 0, None, retry_after_s, body[:160].decode("utf-8", "replace"))
    told: Any = json.loads(body)
    if "grams" in told:
        return Answer(200, float(told["grams"]))
    found = told["predictions"] if "predictions" in told else told["outputs"][0]["data"]
    return Answer(200, float(found[0]))
