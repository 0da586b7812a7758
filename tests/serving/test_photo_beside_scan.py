"""A photo beside a scan over HTTP: taken where the bundle in service takes one, guarded like any photo."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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


def test_an_explanation_says_that_it_is_of_the_scan_alone_where_a_photo_was_heard(
    paired: TestClient, scan: MakeScan, jpeg: Callable[..., bytes]
) -> None:
    told = {"quantity": scan()["quantity"], "unit": "nm"}
    photo = {"photo": ("a.jpg", jpeg(), "image/jpeg")}

    both = paired.post(URL, files={"file": columns(scan())} | photo, data=told).json()
    alone = paired.post(URL, files={"file": columns(scan())}, data=told).json()

    assert (both["photo_heard"], alone["photo_heard"]) == (True, None)
    assert paired.get(f"{URL}/{both['id']}").json()["photo_heard"] is True
    explained = [paired.get(f"{URL}/{each['id']}/explanation").json() for each in (both, alone)]
    assert [each.pop("photo_heard") for each in explained] == [True, False]
    assert explained[0] == explained[1]


def test_a_photo_alone_does_not_swallow_what_belongs_to_a_scan(
    paired: TestClient, jpeg: Callable[..., bytes]
) -> None:
    sent = {"photo": ("a.jpg", jpeg(), "image/jpeg"), "white": ("w.zip", b"PK", "application/zip")}

    reply = paired.post(URL, files=sent, data={"unit": "nm"})

    assert reply.status_code == 422
    assert "got a photo alone and unit, white, which belong to a scan" in reply.json()["detail"]


def test_photos_alone_are_no_scans_in_the_figures_that_watch_for_a_drift(
    paired: TestClient, scan: MakeScan, jpeg: Callable[..., bytes]
) -> None:
    def counted() -> list[str]:
        return [line for line in paired.get("/metrics").text.splitlines() if line.startswith("weft_scans")]

    before = counted()
    assert paired.post(URL, files={"photo": ("a.jpg", jpeg(), "image/jpeg")}).status_code == 200
    after = counted()
    assert paired.post(URL, json=scan()).status_code == 200

    assert before == after
    assert counted() != after


def asked(**changes: tuple[Any, str] | None) -> dict[str, Any]:
    """A question to the graph with a photo of 8 x 8 beside a scan; None leaves an input out."""
    nm = np.linspace(900, 1700, 81).astype(np.float32)
    given: dict[str, tuple[Any, str] | None] = {
        "wavelength_nm": (nm, "FP32"),
        "absorbance": (np.sin(nm / 90)[None], "FP32"),
        "photos": (np.full((1, 3, 8, 8), 90), "UINT8"),
        "size": ([[8, 8]], "INT64"),
        "has_scan": ([True], "BOOL"),
        "has_photo": ([True], "BOOL"),
    }
    return {
        "inputs": [
            {
                "name": name,
                "datatype": one[1],
                "shape": list(np.shape(one[0])),
                "data": np.ravel(one[0]).tolist(),
            }
            for name, one in (given | changes).items()
            if one is not None
        ]
    }


def test_the_graph_is_asked_without_a_photos_inputs_as_before_the_swap(
    paired: TestClient, client: TestClient
) -> None:
    scans_only = asked(photos=None, size=None, has_scan=None, has_photo=None)

    answers = [one.post("/v2/models/composition/infer", json=scans_only) for one in (paired, client)]

    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert answers[0].json()["outputs"] == answers[1].json()["outputs"]
    assert paired.post("/v2/models/composition/infer", json=asked()).status_code == 200


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": ([[0, 0]], "INT64")}, "size has to lie within the 8 x 8 pixels"),
        ({"size": ([[-1, -5]], "INT64")}, "size has to lie within the 8 x 8 pixels"),
        ({"size": ([[100_000, 100_000]], "INT64")}, "size has to lie within the 8 x 8 pixels"),
        ({"photos": None}, "photos, size and has_photo belong together"),
        ({"has_scan": ([False], "BOOL"), "has_photo": ([False], "BOOL")}, "are both false"),
        ({"photos": None, "size": None, "has_photo": None, "has_scan": ([False], "BOOL")}, "are both false"),
        ({"absorbance": None}, "needed each once"),
    ],
)
def test_a_photo_that_the_graph_would_misread_is_refused(
    paired: TestClient, changes: dict[str, Any], words: str
) -> None:
    reply = paired.post("/v2/models/composition/infer", json=asked(**changes))

    assert reply.status_code == 400
    assert words in reply.json()["error"]
