"""A photo beside a scan over HTTP: taken where the bundle in service takes one, guarded like any photo."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

MakeScan = Callable[..., dict[str, Any]]
URL = "/v1/compositions"


@pytest.fixture
def paired(start: Callable[..., TestClient], tiny_pair_bundle: Path) -> TestClient:
    return start(fibre=tiny_pair_bundle)


def columns(made: dict[str, Any]) -> tuple[str, bytes, str]:
    lines = [f"{nm},{value}" for nm, value in zip(made["wavelength_nm"], made["values"], strict=True)]
    return ("scan.csv", "\n".join(lines).encode(), "text/csv")


def test_scan_and_photo_are_answered_together_and_the_scan_alone_as_ever(
    paired: TestClient, client: TestClient, scan: MakeScan, jpeg: Callable[..., bytes]
) -> None:
    told = {"quantity": scan()["quantity"], "unit": "nm"}
    sent = {"file": columns(scan())}

    both = paired.post(URL, files=sent | {"photo": ("a.jpg", jpeg(), "image/jpeg")}, data=told)
    alone = paired.post(URL, files=sent, data=told)
    before = client.post(URL, files=sent, data=told)

    assert (both.status_code, alone.status_code) == (200, 200), both.text
    assert alone.json()["shares"] == before.json()["shares"]
    assert paired.get(f"{URL}/{both.json()['id']}/spectrum").status_code == 200


def test_a_photo_alone_is_answered_and_has_no_spectrum_to_show(
    paired: TestClient, jpeg: Callable[..., bytes]
) -> None:
    reply = paired.post(URL, files={"photo": ("a.jpg", jpeg(), "image/jpeg")})

    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert "photo alone" in answer["warnings"][0]
    assert answer["declaration"]["eu"]["label"] is None
    assert paired.get(f"{URL}/{answer['id']}").json() == answer
    for rest in ("spectrum", "explanation"):
        gone = paired.get(f"{URL}/{answer['id']}/{rest}")
        assert gone.status_code == 404
        assert "answered from a photo alone" in gone.json()["detail"]


def test_a_bundle_of_scans_alone_says_so(client: TestClient, jpeg: Callable[..., bytes]) -> None:
    reply = client.post(URL, files={"photo": ("a.jpg", jpeg(), "image/jpeg")})

    assert reply.status_code == 422
    assert reply.json()["type"].endswith("wrong-photos")
    assert "reads scans alone and was sent a photo" in reply.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        (b"", 422, "broken-photo"),
        (b"GIF89a" + bytes(200), 415, "unsupported-photo"),
        (b"\xff\xd8\xff\xe0" + bytes(500), 422, "broken-photo"),
        (bytes(31_000_000), 413, "photo-too-large"),
    ],
    ids=["empty", "another kind", "half a photo", "too large"],
)
def test_a_hostile_photo_is_refused_with_its_reason(
    paired: TestClient, scan: MakeScan, sent: bytes, status: int, kind: str
) -> None:
    files = {"file": columns(scan()), "photo": ("x.jpg", sent, "image/jpeg")}

    reply = paired.post(URL, files=files, data={"quantity": scan()["quantity"], "unit": "nm"})

    assert (reply.status_code, reply.json()["type"].rsplit("/", 1)[-1]) == (status, kind)


def test_what_is_neither_is_told_what_to_send(paired: TestClient) -> None:
    reply = paired.post(URL, data={"unit": "nm"}, files={"white": ("w.zip", b"PK", "application/zip")})

    assert reply.status_code == 422
    assert "no scan was sent; send one in the field `file`, or a photo in `photo`" in reply.json()["detail"]


def test_clients_see_on_the_card_whether_a_photo_is_taken(paired: TestClient, client: TestClient) -> None:
    cards = [
        {bundle["task"]: bundle for bundle in one.get("/v1/bundles").json()["bundles"]}["composition"]
        for one in (paired, client)
    ]

    assert cards[0]["composition"]["photo"]["trust"] == 4.0
    assert cards[1]["composition"]["photo"] is None
