"""What an operator is told, and that a healthy service is left in peace."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from weft.line.records import Alarm, LineState
from weft_serving.ops.alerts import Alert, Standing, find_alerts
from weft_serving.ops.history import Minute
from weft_serving.ops.quality import Quality
from weft_serving.ops.verdicts import Coverage, Drift, Width

CALM = Minute(
    requests=600, refused=0, problems=3, faults=0, p50_ms=12.0, p99_ms=40.0, cpu_cores=1.2, memory_mib=150.0,
    jobs=2, lag_ms=3.0, estimates=500, width_ratio=2.4, photos=600, unreadable=5, strangeness=0.4,
    strange_share=0.02, scans=10, unknown_share=0.1, weighings=20, database_up=True,
)  # fmt: skip
NO_DRIFT = Drift(200, 0.02, 0.02, 0.5, alarm=False)
QUALITY = Quality(
    at=datetime(2026, 11, 22, tzinfo=UTC), weight_sha256="a", fibre_sha256="b",
    coverage=(Coverage("all", 100, 0.9, 0.9, 0.84, 0.95, True, alarm=False),),
    strangers=NO_DRIFT, width=Width(200, 1.1, alarm=False), unknown_scans=NO_DRIFT,
)  # fmt: skip


def alerts(*, last: dict[str, Any] | None = None, **changes: Any) -> list[Alert]:
    """Those of an hour of calm whose last five minutes were `last`."""
    minutes = [*[CALM] * 55, *[replace(CALM, **(last or {}))] * 5]
    standing = Standing(
        minutes=minutes,
        memory_limit_mib=1_000.0,
        database_up=True,
        refused_bundles=(),
        quality=QUALITY,
        lines={},
    )
    return find_alerts(replace(standing, **changes))


def test_a_healthy_service_has_none_and_neither_has_one_that_has_just_begun() -> None:
    assert alerts() == []
    assert alerts(minutes=[], quality=None) == []
    assert alerts(last={"refused": 3}) == []  # half a percent


@pytest.mark.parametrize(
    ("last", "name", "words"),
    [
        ({"refused": 60}, "WeftShedding", "300 of 3,000 requests of the last 5 minutes were refused"),
        ({"p99_ms": 1_800.0}, "WeftSlow", "one answer in a hundred takes 1.8 s"),
        ({"faults": 30}, "WeftFaults", "150 requests of the last 5 minutes hit a fault of ours"),
        ({"lag_ms": 400.0}, "WeftLoopLag", "wakes up 400 ms late"),
        ({"memory_mib": 850.0}, "WeftMemory", "850 MiB of 1,000 MiB are taken"),
        (
            {"unreadable": 2_000},
            "WeftUnreadable",
            "10,275 photos or scans of the last hour could not be read",
        ),
    ],
)
def test_what_the_figures_say_is_told_in_words(last: dict[str, Any], name: str, words: str) -> None:
    (alert,) = alerts(last=last)

    assert alert.name == name
    assert words in alert.says
    assert alert.do.endswith(".")


def test_one_slow_minute_is_no_alert() -> None:
    assert alerts(minutes=[*[CALM] * 4, replace(CALM, p99_ms=9_000.0, lag_ms=2_000.0)]) == []


def test_a_database_that_is_away_comes_before_what_can_wait() -> None:
    found = alerts(database_up=False, refused_bundles=("weight", "composition"))

    assert [alert.name for alert in found] == ["WeftDatabaseAway", "WeftSwapFailed", "WeftSwapFailed"]
    assert [alert.about for alert in found] == ["", "weight", "composition"]


def test_drift_and_low_coverage_are_told_with_their_figures() -> None:
    drift = Drift(200, 0.15, 0.02, 1e-9, alarm=True)
    low = Coverage("marked.3-4", 60, 0.7, 0.9, 0.82, 0.97, False, alarm=True)
    found = alerts(
        quality=replace(
            QUALITY, strangers=drift, width=Width(200, 2.1, alarm=True), unknown_scans=drift, coverage=(low,)
        )
    )

    assert [alert.name for alert in found] == [
        "WeftStrangePhotos", "WeftWideIntervals", "WeftUnknownScans", "WeftCoverageLow",
    ]  # fmt: skip
    assert "15% of the last 200 parcels look unlike the training photos, 2.0% at most" in found[0].says
    assert "2.1 times as wide" in found[1].says
    assert (
        "70% of 60 weighed parcels with 3-4 photos, mark lie in their interval, 90% should" in found[3].says
    )


def test_a_lines_alarms_are_told_with_their_cause() -> None:
    at = datetime(2026, 11, 22, tzinfo=UTC)
    alarm = Alarm(line="demo", code="camera-silent", cause="no frame for 3 s; look at its cable", since=at)
    state = LineState(
        line="demo", at=at, running=False, rules_version="1", bundle_sha256="a", trained_on="simulated",
        encoder=0, speed_mm_per_s=0, pieces=0, pieces_per_min=0, kg_per_h=0, latency_p50_ms=None,
        latency_p99_ms=None, deadline_ms=None, reference_age_s=None, lanes=(), alarms=(alarm,),
    )  # fmt: skip
    (alert,) = alerts(lines={"demo": state})

    assert (alert.name, alert.level, alert.about) == ("WeftLineAlarm", "page", "demo camera-silent")
    assert alert.says == "line demo: camera silent: no frame for 3 s; look at its cable"


def test_scans_that_could_be_read_count_beside_photos_and_scans_that_could_not() -> None:
    minute = replace(CALM, photos=0, scans=5, unreadable=12)

    (alert,) = alerts(minutes=[minute])

    assert alert.says == "12 photos or scans of the last hour could not be read, 5 could"
    assert alerts(minutes=[replace(minute, scans=100)]) == []
