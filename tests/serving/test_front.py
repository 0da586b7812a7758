"""The short way past FastAPI's layers: nothing that can be seen differs from the long one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from weft_serving.door.front import ShortWay

VOLATILE = {"id", "instance", "request"}


@pytest.fixture
def long_way(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After a call of this, every request goes through FastAPI."""

    async def onwards(self: Any, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    return lambda: monkeypatch.setattr(ShortWay, "__call__", onwards)


def test_both_ways_answer_and_refuse_alike(
    client: TestClient, long_way: Callable[[], None], jpeg: Any, photos: Any
) -> None:
    def ask() -> list[tuple[int, dict[str, str], dict[str, Any]]]:
        asked: list[dict[str, Any]] = [
            {"files": photos(jpeg()), "data": {"season": "winter"}},
            {"files": photos(b"no photo")},
            {"files": photos(jpeg()), "data": {"season": "spring"}},
            {"json": {"photos": []}},
            {"content": b"--b", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        ]
        replies = [client.post("/v1/estimates", **one) for one in asked]
        return [
            (
                reply.status_code,
                {
                    name: value
                    for name, value in reply.headers.items()
                    if name not in ("x-request-id", "content-length")
                },
                {name: value for name, value in reply.json().items() if name not in VOLATILE},
            )
            for reply in replies
        ]

    short = ask()
    long_way()

    assert ask() == short
    assert [status for status, _, _ in short] == [200, 415, 422, 415, 400]


def test_both_ways_are_counted_as_the_same_route(
    client: TestClient, long_way: Callable[[], None], jpeg: Any, photos: Any
) -> None:
    client.post("/v1/estimates", files=photos(jpeg()))
    long_way()
    client.post("/v1/estimates", files=photos(jpeg()))

    told = client.get("/metrics").text
    assert 'weft_requests_total{method="POST",route="/v1/estimates",status="200"} 2.0' in told


@pytest.mark.parametrize("path", ["/v1/estimates", "/v1/compositions"])
def test_a_fault_of_ours_on_either_way_is_a_500_with_its_id_and_without_its_words(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str, jpeg: Any, photos: Any, scan: Any
) -> None:
    service: Any = client.app.state.service  # type: ignore[attr-defined]

    async def broken(*_: Any) -> None:
        raise RuntimeError("secret.jpg")

    monkeypatch.setattr(service.pool, "run", broken)
    monkeypatch.setattr(service.cubes, "run", broken)
    sent = {"files": photos(jpeg())} if path == "/v1/estimates" else {"json": scan()}
    reply = client.post(path, **sent)

    assert reply.status_code == 500
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["type"] == "/problems/internal"
    assert reply.json()["request"] == reply.headers["x-request-id"]
    assert "secret" not in json.dumps(reply.json())
