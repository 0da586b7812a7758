"""/ops, /v1/ops and /v1/quality on a running service: what happens is seen, nothing personal is told."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from weft.bundle import load_bundle
from weft.errors import StoreError
from weft.weigher import Weigher
from weft_serving.bundles.models import WeightModel
from weft_serving.ops.overseer import MARKS, Overseer, Watched

Jpeg = Callable[..., bytes]


@pytest.fixture
def client(start: Callable[..., TestClient]) -> TestClient:
    """A service whose overseer looks when it is told to, and not in between."""
    made = start()
    assert made.portal is not None
    made.portal.call(overseer(made).close)
    return made


def overseer(client: TestClient) -> Overseer:
    found: Overseer = client.app.state.overseer  # pyright: ignore[reportAttributeAccessIssue]
    return found


def ops(client: TestClient, **query: Any) -> dict[str, Any]:
    """/v1/ops after the overseer has looked and judged once more."""
    assert client.portal is not None
    client.portal.call(overseer(client).look)
    client.portal.call(overseer(client).judge)
    reply = client.get("/v1/ops", params=query)
    assert reply.status_code == 200
    return reply.json()


def test_what_was_asked_is_told_minute_by_minute(client: TestClient, photos: Any, jpeg: Jpeg) -> None:
    made = client.post("/v1/estimates", files=photos(jpeg(1), b"no photo"), data={"parcel": "SECRET-17"})
    client.post(f"/v1/estimates/{made.json()['id']}/weighing", json={"grams": 1234})

    told = ops(client)
    columns = told["minutes"]
    assert {len(column) for column in columns.values()} == {len(columns["at"])}
    assert sum(columns["estimates"]) == sum(columns["weighings"]) == 1
    assert (sum(columns["photos"]), sum(columns["unreadable"])) == (2, 1)
    assert columns["p50_ms"][-1] > 0
    assert columns["memory_mib"][-1] > 20
    assert told["quality"]["coverage"][0]["subjects"] == 1
    assert told["database_up"] is True
    assert "SECRET-17" not in str(told)
    assert made.json()["id"] not in str(told)


def test_only_newer_minutes_are_told_when_asked_so(client: TestClient) -> None:
    at = ops(client)["minutes"]["at"][-1]

    assert ops(client, after=at)["minutes"]["at"] == [at]
    assert ops(client, after=at + 600)["minutes"]["at"] == []
    assert client.get("/v1/ops", params={"after": "soon"}).status_code == 422


def test_a_bundle_that_takes_over_leaves_a_mark_and_what_was_judged_is_of_it(
    client: TestClient, tmp_path: Path, write_weight_bundle: Callable[..., Path]
) -> None:
    ops(client)
    bundle = load_bundle(write_weight_bundle(tmp_path / "w.onnx", version="2"), task="weight")
    overseer(client).watched.models.swap(WeightModel(bundle, Weigher(bundle)))

    told = ops(client)
    assert told["bundles"][0]["version"] == "2"
    assert told["marks"][-1]["kind"] == "bundle"
    assert "tiny-weight 2" in told["marks"][-1]["says"]
    assert told["quality"]["weight_sha256"] == bundle.sha256


def test_an_alert_that_hovers_around_its_threshold_is_one_alert(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weft_serving.ops import overseer as module
    from weft_serving.ops.alerts import Alert

    slow = Alert("WeftSlow", "ticket", "slow", "Look.")
    for found in ([slow], [], [slow], []):
        monkeypatch.setattr(module, "find_alerts", lambda _, found=found: found)
        told = ops(client)
    assert [alert["name"] for alert in told["alerts"]] == ["WeftSlow"]
    assert [mark["kind"] for mark in told["marks"] if mark["kind"] != "bundle"] == ["alert"]

    monkeypatch.setattr(module, "LINGER_SECONDS", 0.0)
    told = ops(client)
    assert told["alerts"] == []
    assert told["marks"][-1]["kind"] == "over"


class Away:
    """A database that does not answer."""

    def check(self) -> None:
        raise StoreError("gone")

    reading = check


def test_a_database_that_goes_away_is_told_and_is_over_when_it_comes_back(client: TestClient) -> None:
    watch = overseer(client)
    real = watch.watched
    watch.watched = replace(real, store=Away())  # pyright: ignore[reportArgumentType]
    told = ops(client)
    assert [alert["name"] for alert in told["alerts"]] == ["WeftDatabaseAway"]
    assert told["database_up"] is False
    assert 'weft_alert{alert="WeftDatabaseAway"} 1.0' in client.get("/metrics").text
    assert "weft_database_up 0.0" in client.get("/metrics").text

    watch.watched = real
    told = ops(client)
    assert told["alerts"] == []
    assert [mark["kind"] for mark in told["marks"][-2:]] == ["alert", "over"]


def test_a_database_that_hangs_counts_as_away_and_is_not_asked_twice(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    asked: list[int] = []
    free = threading.Event()

    class Hanging(Away):
        def check(self) -> None:
            asked.append(1)
            free.wait(10)

    monkeypatch.setattr("weft_serving.ops.overseer.DATABASE_SECONDS", 0.05)
    watch = overseer(client)
    watch.watched = replace(watch.watched, store=Hanging())  # pyright: ignore[reportArgumentType]
    try:
        assert client.portal is not None
        client.portal.call(watch.look)
        client.portal.call(watch.look)
        assert watch.database_up is False
        assert len(asked) == 1
    finally:
        free.set()


def test_what_is_kept_is_bounded(client: TestClient) -> None:
    watch = overseer(client)
    for number in range(3 * MARKS):
        watch._mark("alert", str(number))  # pyright: ignore[reportPrivateUsage]

    assert len(ops(client)["marks"]) == MARKS


def test_quality_is_not_ready_before_it_was_judged(client: TestClient) -> None:
    ops(client)
    overseer(client).quality = None

    reply = client.get("/v1/quality")
    assert reply.status_code == 503
    assert reply.headers["retry-after"]


def test_the_page_runs_nothing_that_stands_in_it(client: TestClient) -> None:
    page = client.get("/ops")

    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "<script>" not in page.text
    assert " onclick=" not in page.text


def test_a_fault_in_a_look_does_not_end_the_watch(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched: Watched = overseer(client).watched
    watch = Overseer(replace(watched, jobs=lambda: 1 // 0))
    monkeypatch.setattr("weft_serving.ops.overseer.LOOK_SECONDS", 0.01)

    async def a_while() -> bool:
        watch.start()
        await asyncio.sleep(0.2)
        alive = not any(task.done() for task in watch._tasks)  # pyright: ignore[reportPrivateUsage]
        await watch.close()
        return alive

    assert asyncio.run(a_while())
