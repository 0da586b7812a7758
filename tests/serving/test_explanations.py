"""Explanations over HTTP: of what was answered, bounded, and gone with the photos."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from weft_serving.problems import BusyError

Start = Callable[..., TestClient]


def estimated(client: TestClient, photos: Callable[..., Any], *files: bytes) -> dict[str, Any]:
    reply = client.post("/v1/estimates", files=photos(*files))
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_an_estimate_is_explained_photo_by_photo_in_grams(
    client: TestClient, photos: Callable[..., Any], jpeg: Callable[..., bytes]
) -> None:
    answer = estimated(client, photos, jpeg(), jpeg(seed=2))

    found = [
        client.get(f"/v1/estimates/{answer['id']}/explanation", params={"photo": number}).json()
        for number in (1, 2)
    ]

    assert [each["photo"] for each in found] == [1, 2]
    assert found[0]["grams"] == answer["grams"]
    assert sum(part["width"] * part["height"] for part in found[0]["parts"]) == pytest.approx(1, abs=1e-3)
    assert found[0]["bundle"] == answer["bundle"]
    assert found == [
        client.get(f"/v1/estimates/{answer['id']}/explanation", params={"photo": number}).json()
        for number in (1, 2)
    ]


def test_what_cannot_be_explained_says_why(
    client: TestClient, start: Start, photos: Callable[..., Any], jpeg: Callable[..., bytes]
) -> None:
    answer = estimated(client, photos, jpeg())
    path = f"/v1/estimates/{answer['id']}/explanation"

    third = client.get(path, params={"photo": 3})
    tenth = client.get(path, params={"photo": 10})
    unknown = client.get(f"/v1/estimates/{'0' * 32}/explanation")
    forgetful = start(recent_seconds=0.0)
    gone = forgetful.get(f"/v1/estimates/{estimated(forgetful, photos, jpeg())['id']}/explanation")

    assert (third.status_code, third.json()["type"]) == (422, "/problems/wrong-photos")
    assert "there is no photo 3; this subject has 1" in third.json()["detail"]
    assert (tenth.status_code, tenth.json()["type"]) == (422, "/problems/invalid-request")
    assert unknown.status_code == 404
    assert (gone.status_code, gone.json()["type"]) == (410, "/problems/photos-gone")


def test_a_composition_is_explained_beside_the_known_bands(
    client: TestClient, scan: Callable[..., dict[str, Any]]
) -> None:
    answer = client.post("/v1/compositions", json=scan()).json()
    main = max(answer["shares"], key=lambda share: share["share"])

    found = client.get(f"/v1/compositions/{answer['id']}/explanation").json()
    other = client.get(f"/v1/compositions/{answer['id']}/explanation", params={"fibre": "nylon"}).json()
    wrong = client.get(f"/v1/compositions/{answer['id']}/explanation", params={"fibre": "linen"})

    assert found["fibre"] == main["fibre"]
    assert found["share"] == pytest.approx(main["share"], abs=2e-3)
    assert len(found["wavelength_nm"]) == len(found["log_odds"]) == len(found["points"])
    assert np.isfinite(found["log_odds"]).all()
    assert other["fibre"] == "nylon"
    assert {band["nm"] for band in other["bands"]} >= {1214, 1537}
    assert wrong.status_code == 422
    assert "does not know 'linen'" in wrong.json()["detail"]


def test_explanations_wait_in_a_short_line_of_their_own(
    client: TestClient,
    photos: Callable[..., Any],
    jpeg: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = estimated(client, photos, jpeg())
    service = client.app.state.service  # pyright: ignore[reportAttributeAccessIssue]

    def full() -> None:
        raise BusyError("more work is waiting than this server can do soon")

    monkeypatch.setattr(service.cubes, "check_room", full)

    refused = client.get(f"/v1/estimates/{answer['id']}/explanation")
    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/busy")
    assert estimated(client, photos, jpeg())["grams"] == answer["grams"], "estimates go on"
