"""/metrics: every figure counts what it says, its labels have few values, and the documentation names all."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from weft_serving.watch.metrics import STAGES

ROOT = Path(__file__).parents[2]
SHIFT = {"strange_above": 1.0, "false_alarm_rate": 0.02, "then": "widen", "subjects": 30}
Jpeg = Callable[..., bytes]


def figures(client: TestClient) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads it."""
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_an_estimate_is_counted_with_its_stages_mass_and_width(
    start: Any, tmp_path: Path, write_weight_bundle: Callable[..., Path], photos: Any, jpeg: Jpeg
) -> None:
    client = start(weight=write_weight_bundle(tmp_path / "w.onnx", weight={"shift": SHIFT}))
    for seed in range(3):
        assert client.post("/v1/estimates", files=photos(jpeg(seed))).status_code == 200
    found = figures(client)

    assert found['weft_requests_total{method="POST",route="/v1/estimates",status="200"}'] == 3
    assert found['weft_answer_seconds_count{route="/v1/estimates"}'] == 3
    assert found['weft_estimates_total{said="interval"}'] == 3
    assert found['weft_photos_total{finding="usable"}'] == 3
    assert found['weft_photos_total{finding="unfamiliar"}'] == 3  # brightness over 100
    assert found['weft_photo_strangeness_ratio_bucket{le="1.0"}'] == 0
    assert found["weft_photo_strangeness_ratio_count"] == 3
    assert found["weft_estimate_grams_count"] == 3
    assert (
        found['weft_interval_width_ratio_bucket{le="7.0"}'] < 3
        or found["weft_interval_width_ratio_count"] == 3
    )
    for stage in ("receive", "queue", "decode", "judge", "run", "store", "prepare", "weigh"):
        assert found[f'weft_stage_seconds_count{{stage="{stage}"}}'] >= 3, stage


def test_what_cannot_be_read_is_counted_by_kind_alone_and_among_good_ones(
    client: TestClient, photos: Any, jpeg: Jpeg
) -> None:
    client.post("/v1/estimates", files=photos(b"no photo"))
    client.post("/v1/estimates", files=photos(jpeg(1), b"no photo", jpeg(2)[:3_000]))
    client.post("/v1/compositions", files={"file": ("scan.csv", b"nothing", "text/csv")})
    found = figures(client)

    assert found['weft_decode_errors_total{reason="unsupported-photo"}'] == 2
    assert found['weft_problems_total{kind="unsupported-photo"}'] == 1
    assert sum(value for name, value in found.items() if name.startswith("weft_decode_errors_total")) == 4


def test_scans_and_weighings_are_counted(client: TestClient, scan: Any, photos: Any, jpeg: Jpeg) -> None:
    client.post("/v1/compositions", json=scan())
    client.post("/v1/compositions", json=scan(values=[0.5] * 81))
    made = client.post("/v1/estimates", files=photos(jpeg(1))).json()
    client.post(f"/v1/estimates/{made['id']}/weighing", json={"grams": 900})
    found = figures(client)

    assert found['weft_scans_total{said="known"}'] == 1
    assert found['weft_scans_total{said="unknown"}'] == 1
    assert found["weft_scan_unknown_count"] == 2
    assert found["weft_weighings_total"] == 1


def test_refusals_for_load_are_counted_by_reason(start: Any, photos: Any, jpeg: Jpeg) -> None:
    client = start(in_flight_bytes=1_000)
    assert client.post("/v1/estimates", files=photos(jpeg(1))).status_code == 503
    found = figures(client)

    refused = {name: value for name, value in found.items() if name.startswith("weft_refused_total{")}
    assert refused == {'weft_refused_total{reason="bytes"}': 1}


def test_no_label_takes_what_a_stranger_sends(client: TestClient, photos: Any, jpeg: Jpeg) -> None:
    before = len(figures(client))
    for number in range(40):
        client.get(f"/v1/estimates/{number:032x}")
        client.get(f"/nowhere/{number}")
        client.request(f"BREW{number}", "/v1/estimates")
        client.post("/v1/estimates", files=photos(jpeg(1)), data={f"field{number}": "x"})
        client.get("/metrics", headers={"user-agent": f"agent {number}", "x-request-id": f"request-{number}"})
    grown = set(figures(client))

    assert len(grown) - before < 250  # a histogram for each route and kind of answer, once
    assert not [name for name in grown if re.search(r"nowhere|BREW|field\d|agent|request-\d", name)]


def test_every_stage_has_its_series_from_the_start(client: TestClient) -> None:
    found = figures(client)

    assert {name for name in STAGES if f'weft_stage_seconds_count{{stage="{name}"}}' in found} == set(STAGES)


def test_a_stage_that_nobody_listed_is_a_slip_of_ours(client: TestClient) -> None:
    metrics = client.app.state.service.metrics  # pyright: ignore[reportAttributeAccessIssue]

    with pytest.raises(KeyError):
        metrics.spent("dreaming", 1.0)


def test_the_documentation_lists_all_figures_and_no_others(client: TestClient) -> None:
    from weft_serving.line.exposition import LineFigures

    overseer = client.app.state.overseer  # pyright: ignore[reportAttributeAccessIssue]
    assert client.portal is not None
    client.portal.call(overseer.judge)
    ours = {family.name for family in overseer.watched.metrics.registry.collect()}
    lines = {
        f"{each.name}_total" if each.type == "counter" else each.name for each in LineFigures({}).collect()
    }
    later = {"weft_interval_width_times"}  # there from 50 estimates on
    told = re.findall(r"^\| `(weft_\w+)", (ROOT / "docs" / "watching.md").read_text(), re.MULTILINE)

    assert sorted(told) == sorted({name for name in ours if name.startswith("weft_")} | lines | later)
