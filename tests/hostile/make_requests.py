"""The corpus of hostile requests, made by code: what goes over the socket, and how it has to end.

Used by `test_hostile_requests.py`. `python tests/hostile/make_requests.py HOST:PORT` throws it at any running
service, ours or another, and prints what came back: a status, a closed connection or nothing at all.
"""

import io
import json
import socket
import struct
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import make_photos

Pieces = Callable[[], Iterator[bytes]]
FORM = "multipart/form-data; boundary=b"
PHOTO = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'
SCAN = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'
END = b"\r\n--b--\r\n"


@dataclass(frozen=True, slots=True)
class Attack:
    """What is sent, and the statuses it may end in; 0: closed without an answer."""

    pieces: Pieces
    status: frozenset[int]


def head(target: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: weft", *lines, "", ""]).encode("latin-1")


def whole(target: str, kind: str, body: bytes, *lines: str) -> Pieces:
    """A request with a body of known length."""

    def pieces() -> Iterator[bytes]:
        yield head(target, f"Content-Type: {kind}", f"Content-Length: {len(body)}", *lines)
        yield body

    return pieces


def bare(*parts: bytes) -> Pieces:
    """Bytes as they are."""
    return lambda: iter(parts)


def photo(make: Callable[[], bytes]) -> Pieces:
    """A photo in a form, made when it is sent."""
    return lambda: whole("/v1/estimates", FORM, PHOTO + make() + END)()


def endless(piece: bytes, *, times: int) -> Pieces:
    """A chunked body that goes on, up to what nobody should read."""

    def pieces() -> Iterator[bytes]:
        yield head("/v1/estimates", f"Content-Type: {FORM}", "Transfer-Encoding: chunked")
        yield b"%x\r\n%s\r\n" % (len(PHOTO), PHOTO)
        for _ in range(times):
            yield b"%x\r\n%s\r\n" % (len(piece), piece)

    return pieces


def spectrum(points: int) -> bytes:
    values = ",".join(["0.5"] * points)
    nm = ",".join(str(900 + at / 1000) for at in range(points))
    return f'{{"wavelength_nm":[{nm}],"values":[{values}],"quantity":"reflectance"}}'.encode()


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cube.hdr", "ENVI\nsamples = 9\nlines = 9\nbands = 99\n")
        archive.writestr("cube.raw", bytes(300_000_000))
    return buffer.getvalue()


def zip_with_paths() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("../../../etc/cron.d/x", "/etc/passwd", "C:\\x", "a/../../b.hdr"):
            archive.writestr(name, b"x")
    return buffer.getvalue()


def tensors(shape: list[int], datatype: str, data: bytes, *, size: int | None = None) -> Pieces:
    """A question of the open inference protocol, with binary photos."""
    parameters = {"binary_data_size": len(data) if size is None else size}
    inputs = [{"name": "photos", "shape": shape, "datatype": datatype, "parameters": parameters}]
    header = json.dumps({"inputs": inputs}).encode()
    length = f"Inference-Header-Content-Length: {len(header)}"
    return whole("/v2/models/weight/infer", "application/octet-stream", header + data, length)


def nan_spectrum() -> Pieces:
    inputs = [
        {
            "name": "wavelength_nm",
            "shape": [9],
            "datatype": "FP32",
            "data": [1000 + 90 * n for n in range(9)],
        },
        {"name": "absorbance", "shape": [1, 9], "datatype": "FP32", "data": [float("nan")] * 9},
    ]
    return whole("/v2/models/composition/infer", "application/json", json.dumps({"inputs": inputs}).encode())


def name_of(filename: bytes) -> Pieces:
    part = b'--b\r\nContent-Disposition: form-data; name="photos"; filename="%s"\r\n\r\n' % filename
    return whole("/v1/estimates", FORM, part + make_photos.jpeg() + END)


def _lines(count: int, bytes_each: int) -> Pieces:
    lines = [f"X-{number}: {'x' * bytes_each}" for number in range(count)]
    return bare(head("/healthz", *lines, method="GET"))


REFUSED = frozenset({400, 404, 405, 411, 413, 415, 422, 431})
ATTACKS: dict[str, Attack] = {
    **{
        f"photo {name}": Attack(photo(case.make), frozenset({413, 415, 422}))
        for name, case in make_photos.CASES.items()
    },
    "a header of a megabyte": Attack(_lines(1, 1_000_000), frozenset({400, 431, 0})),
    "a thousand headers": Attack(_lines(1_000, 100), frozenset({200, 400, 431, 0})),
    "a path of a megabyte": Attack(
        bare(head("/" + "a" * 1_000_000, method="GET")), frozenset({400, 404, 414, 431, 0})
    ),
    "a body without end": Attack(endless(bytes(1_000_000), times=200), frozenset({413, 0})),
    "chunks of one byte": Attack(endless(b"x", times=3_000), frozenset({400, 408, 0})),
    "a chunk that lies about its size": Attack(
        bare(head("/v1/estimates", f"Content-Type: {FORM}", "Transfer-Encoding: chunked"), b"zz\r\n"),
        frozenset({400, 0}),
    ),
    "two lengths": Attack(
        bare(head("/v1/estimates", "Content-Length: 5", "Content-Length: 50"), b"x" * 50), REFUSED | {0}
    ),
    "length and chunks": Attack(
        bare(head("/v1/estimates", "Content-Length: 5", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
        REFUSED | {0},
    ),
    "no HTTP": Attack(bare(b"\x16\x03\x01\x02\x00 hello\r\n\r\n"), frozenset({400, 0})),
    "a spectrum of a million points": Attack(
        lambda: whole("/v1/compositions", "application/json", spectrum(1_000_000))(), frozenset({413})
    ),
    "a spectrum of 50,000 points": Attack(
        lambda: whole("/v1/compositions", "application/json", spectrum(50_000))(), frozenset({413})
    ),
    "JSON a thousand deep": Attack(
        whole("/v1/compositions", "application/json", b"[" * 100_000 + b"]" * 100_000), frozenset({400, 422})
    ),
    "a number of a million digits": Attack(
        whole("/v1/compositions", "application/json", b'{"values":[' + b"9" * 1_000_000 + b"]}"),
        frozenset({400, 413, 422}),
    ),
    "a zip bomb": Attack(
        lambda: whole("/v1/compositions", FORM, SCAN + zip_bomb() + END)(), frozenset({413, 415, 422})
    ),
    "a zip with paths": Attack(
        lambda: whole("/v1/compositions", FORM, SCAN + zip_with_paths() + END)(), frozenset({415, 422})
    ),
    "tensors that are cut short": Attack(
        tensors([1, 1, 3, 64, 64], "UINT8", bytes(99), size=12_288), REFUSED
    ),
    "tensors of another size": Attack(tensors([1, 1, 3, 64, 64], "UINT8", b"x" * 99), REFUSED),
    "tensors of another type": Attack(tensors([1, 1, 3, 4, 4], "FP64", bytes(384)), REFUSED),
    "tensors of an unknown type": Attack(tensors([1, 1, 3, 4, 4], "FP7", bytes(48)), REFUSED),
    "a tensor of a negative shape": Attack(tensors([1, -1, 3, 4, 4], "UINT8", bytes(48)), REFUSED),
    "a tensor of 10^18 numbers": Attack(tensors([10**9, 10**9], "UINT8", bytes(48)), REFUSED),
    "a tensor of NaN": Attack(nan_spectrum(), REFUSED),
    "an inference header that is too long": Attack(
        whole("/v2/models/weight/infer", "application/json", b"{}", "Inference-Header-Content-Length: 99999"),
        REFUSED,
    ),
    **{
        f"a file called {name!r}": Attack(name_of(name), frozenset({200, 400}))
        for name in (b"../../etc/passwd", b"..\\..\\x", b"/abs", b"a\0b", b"%2e%2e%2f" * 9, b"\xff\xfe" * 99)
    },
    "a path out of the folder": Attack(
        bare(head("/static/../../../../etc/passwd", method="GET")), frozenset({404})
    ),
    "a path out of the folder, encoded": Attack(
        bare(head("/static/%2e%2e/%2e%2e/settings.py", method="GET")), frozenset({404})
    ),
    "a packed body": Attack(
        whole("/v1/compositions", "application/json", b"\x1f\x8b" + bytes(99), "Content-Encoding: gzip"),
        frozenset({415}),
    ),
    "a wrong token": Attack(
        whole("/v1/bundles/weight", "application/octet-stream", b"abc", "Authorization: Bearer wrong"),
        frozenset({401, 403, 404, 405}),
    ),
}


def attack(address: tuple[str, int], pieces: Pieces, *, most_seconds: float) -> int:
    """Throw one attack; the status that came back, 0 where the connection was closed without one."""
    with socket.create_connection(address, timeout=most_seconds) as line:
        line.settimeout(most_seconds)
        try:
            for piece in pieces():
                line.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # told before all was read: the answer may still lie there
        try:
            answer = line.recv(4_096)
        except ConnectionResetError:
            return 0
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def reset(address: tuple[str, int]) -> None:
    """Connect, send half a photo and pull the plug."""
    line = socket.create_connection(address, timeout=5)
    line.sendall(head("/v1/estimates", f"Content-Type: {FORM}", "Content-Length: 3000000") + PHOTO)
    line.sendall(make_photos.jpeg()[:5_000])
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    line.close()


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    for name, case in ATTACKS.items():
        began = time.perf_counter()
        try:
            came = str(attack((host or "127.0.0.1", int(port)), case.pieces, most_seconds=60))
        except OSError as error:
            came = type(error).__name__
        right = (
            "as it should" if came.isdigit() and int(came) in case.status else f"want {sorted(case.status)}"
        )
        print(f"{name:45s} {came:>5s} {1000 * (time.perf_counter() - began):8.0f} ms  {right}")
