"""Scans to fibre shares over HTTP."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from weft_serving.compositions import ShareAnswer
from weft_serving.declarations import answer_declarations

MakeScan = Callable[..., dict[str, Any]]


def two_columns(made: dict[str, Any]) -> bytes:
    return "\n".join(
        f"{nm},{value}" for nm, value in zip(made["wavelength_nm"], made["values"], strict=True)
    ).encode()


def cube_zip(nm: np.ndarray[Any, Any], cube: np.ndarray[Any, Any]) -> bytes:
    """An ENVI cube of reflectance, (H, W, L) float32, band-interleaved by pixel."""
    header = (
        f"ENVI\nsamples = {cube.shape[1]}\nlines = {cube.shape[0]}\nbands = {cube.shape[2]}\n"
        "header offset = 0\ndata type = 4\ninterleave = bip\nbyte order = 0\nwavelength units = nm\n"
        f"wavelength = {{{', '.join(f'{value:.2f}' for value in nm)}}}\n"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cube.hdr", header)
        archive.writestr("cube.dat", cube.astype("<f4").tobytes())
    return buffer.getvalue()


def test_a_spectrum_comes_back_as_shares_that_sum_to_one(client: TestClient, scan: MakeScan) -> None:
    reply = client.post("/v1/compositions", json=scan())

    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert {"id", "shares", "unknown", "warnings", "bundle"} <= set(answer)
    assert sum(share["share"] for share in answer["shares"]) == pytest.approx(1, abs=1e-3)
    best = max(answer["shares"], key=lambda share: share["share"])
    assert (best["fibre"], best["code"]) == ("wool", "WO")
    assert all(share["low"] <= share["share"] <= share["high"] for share in answer["shares"])
    assert client.get(f"/v1/compositions/{answer['id']}").json() == answer


def test_an_answer_says_what_a_label_would_say_and_what_stands_against_it(
    client: TestClient, scan: MakeScan
) -> None:
    declared = client.post("/v1/compositions", json=scan()).json()["declaration"]

    assert declared["eu"]["label"] is None
    assert set(declared["eu"]["draft"]) == {"en", "de", "fr"}
    assert " % laine" in declared["eu"]["draft"]["fr"]
    assert "羊毛" in declared["cn"]["draft"]["zh"]
    assert any("trained on simulated scans" in reason for reason in declared["eu"]["reasons"])
    assert declared["cn"]["under"] == "GB/T 29862-2013"


def test_a_label_that_holds_is_given_in_every_language_of_its_standard() -> None:
    shares = [
        ShareAnswer(fibre="cotton", code="CO", share=0.6, low=0.59, high=0.61),
        ShareAnswer(fibre="polyester", code="PES", share=0.4, low=0.39, high=0.41),
    ]

    found = answer_declarations(shares, warnings=[], trained_on="real")

    assert found.eu.label is not None
    assert found.eu.label["de"] == "60 % Baumwolle, 40 % Polyester"
    assert (found.eu.draft, found.eu.reasons) == (None, [])
    assert found.cn.label == {"zh": "棉 60% 聚酯纤维(涤纶) 40%"}


def test_order_and_axis_do_not_matter(client: TestClient, scan: MakeScan) -> None:
    made = scan()
    turned = made | {"wavelength_nm": made["wavelength_nm"][::-1], "values": made["values"][::-1]}
    numbered = {
        "wavenumber_cm1": [1e7 / nm for nm in made["wavelength_nm"]],
        "values": made["values"],
        "quantity": "reflectance",
    }

    shares = [
        client.post("/v1/compositions", json=body).json()["shares"] for body in (made, turned, numbered)
    ]

    assert shares[0] == shares[1]
    assert [share["share"] for share in shares[2]] == pytest.approx(
        [share["share"] for share in shares[0]], abs=1e-4
    )


def test_without_an_honest_interval_low_and_high_are_null(
    start: Callable[..., TestClient], write_fibre_bundle: Any, tmp_path: Path, scan: MakeScan
) -> None:
    bare = write_fibre_bundle(tmp_path / "bare.onnx", coverage=None, calibration_subjects=0)

    answer = start(fibre=bare).post("/v1/compositions", json=scan()).json()

    assert all(share["low"] is None and share["high"] is None for share in answer["shares"])


def test_a_scan_outside_the_bundles_range_is_refused_not_guessed(client: TestClient, scan: MakeScan) -> None:
    reply = client.post("/v1/compositions", json=scan(from_nm=400, to_nm=900))

    assert reply.status_code == 422
    assert reply.json()["type"] == "/problems/grid-mismatch"
    assert "covers 400-900 nm, bundle needs 950-1650 nm" in reply.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"values": [1, 2, 3], "wavelength_nm": [900, 1000, 1700]},
        {"values": [0.5] * 80},
        {"quantity": "colour"},
        {"wavelength_nm": None},
        {"wavenumber_cm1": [5000.0] * 81},
        {"values": "0.5"},
        {"values": [None] * 81},
        {"values": [50.0] * 81},  # per cent where fractions were said
        {"unit": "nm"},
    ],
)
def test_a_spectrum_that_cannot_be_right_is_refused(
    client: TestClient, scan: MakeScan, change: dict[str, Any]
) -> None:
    reply = client.post("/v1/compositions", json=scan(**change))

    assert reply.status_code == 422
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["detail"]


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999", "null"])
def test_values_that_are_no_numbers_never_come_back_as_an_answer(
    client: TestClient, scan: MakeScan, bad: str
) -> None:
    values = ",".join(["0.5"] * 40 + [bad] + ["0.5"] * 40)
    body = json.dumps(scan(values=[])).replace("[]", f"[{values}]")

    reply = client.post("/v1/compositions", content=body, headers={"content-type": "application/json"})

    assert reply.status_code == 422
    assert "NaN" not in reply.text.replace("NaN,", "")


def test_more_points_than_any_instrument_has_are_too_large(client: TestClient, scan: MakeScan) -> None:
    reply = client.post("/v1/compositions", json=scan(points=10_001))

    assert reply.status_code == 413


def test_a_two_column_file_answers_like_the_same_spectrum_as_json(client: TestClient, scan: MakeScan) -> None:
    made = scan()
    reply = client.post(
        "/v1/compositions",
        files={"file": ("scan.csv", two_columns(made))},
        data={"unit": "nm", "quantity": "reflectance"},
    )

    assert reply.status_code == 200, reply.text
    direct = client.post("/v1/compositions", json=made).json()
    assert [share["share"] for share in reply.json()["shares"]] == pytest.approx(
        [share["share"] for share in direct["shares"]], abs=1e-5
    )


def test_the_spectrum_behind_an_answer_can_be_drawn(client: TestClient, scan: MakeScan) -> None:
    made = scan()
    name = client.post("/v1/compositions", json=made).json()["id"]

    found = client.get(f"/v1/compositions/{name}/spectrum").json()

    assert found["wavelength_nm"] == pytest.approx(made["wavelength_nm"], abs=1e-3)
    assert found["absorbance"] == pytest.approx(-np.log10(made["values"]), abs=1e-5)


def test_a_cube_answers_for_its_foreground_and_offers_a_map(client: TestClient) -> None:
    nm = np.linspace(900, 1700, 81)
    wool = 0.8 - 0.6 * np.exp(-(((nm - 1200) / 90) ** 2))
    nylon = 0.8 - 0.6 * np.exp(-(((nm - 1600) / 90) ** 2))
    cube = np.full((20, 30, 81), 0.01, np.float32)  # a dark belt
    cube[4:16, 4:14] = wool
    cube[4:16, 16:26] = nylon

    reply = client.post("/v1/compositions", files={"file": ("cube.zip", cube_zip(nm, cube))})

    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert {row["fibre"] for row in answer["map"]["legend"]} >= {"wool", "nylon"}
    picture = client.get(answer["map"]["href"])
    assert picture.headers["content-type"] == "image/png"
    drawn = Image.open(io.BytesIO(picture.content)).convert("RGBA")
    assert drawn.size == (30, 20)
    assert drawn.getpixel((0, 0))[3] == 0
    assert drawn.getpixel((8, 8)) != drawn.getpixel((20, 8))
    assert drawn.getpixel((8, 8))[3] == 255


def test_only_a_cube_has_a_map(client: TestClient, scan: MakeScan) -> None:
    answer = client.post("/v1/compositions", json=scan()).json()

    assert answer["map"] is None
    assert client.get(f"/v1/compositions/{answer['id']}/map").status_code == 404


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({"file": ("x.csv", b"")}, 422),
        ({"file": ("x.csv", b"hello, this is no scan")}, (415, 422)),
        ({"file": ("x.jpg", b"\xff\xd8\xff\xe0 a photo")}, (415, 422)),
        ({"file": ("x.zip", b"PK\x03\x04 cut")}, (415, 422)),
        ({"white": ("w.zip", b"PK")}, 422),
        ({"scan": ("x.csv", b"1,2")}, 422),
    ],
)
def test_a_file_that_is_no_scan_is_refused(
    client: TestClient, files: dict[str, Any], status: int | tuple[int, ...]
) -> None:
    reply = client.post("/v1/compositions", files=files)

    assert reply.status_code in (status if isinstance(status, tuple) else (status,)), reply.text
    assert reply.json()["type"].startswith("/problems/")
