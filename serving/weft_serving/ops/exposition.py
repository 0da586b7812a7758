"""What the overseer knows, for Prometheus; read when it asks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from weft_serving.ops.overseer import Overseer
    from weft_serving.ops.quality import Quality


class OpsFigures(Collector):
    """The database's state, the memory limit, coverage by group, drift, and which alerts are on."""

    def __init__(self, overseer: "Overseer") -> None:
        self._overseer = overseer

    def describe(self) -> list[Metric]:
        """Nothing is asked of the overseer when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        overseer = self._overseer
        yield GaugeMetricFamily("weft_database_up", "1 while the database answers", overseer.database_up)
        limit = overseer.memory_limit_mib * 2**20
        yield GaugeMetricFamily("weft_memory_limit_bytes", "What the container or the machine has", limit)
        alerts = GaugeMetricFamily("weft_alert", "1 while an alert of /ops is on", labels=["alert"])
        for name in sorted({alert.name for alert, _ in list(overseer.alerts.values())}):
            alerts.add_metric([name], 1)
        yield alerts
        if overseer.quality is not None:
            yield from _coverage(overseer.quality)
            yield from _drift(overseer.quality)


def _coverage(quality: "Quality") -> Iterator[Metric]:
    subjects = GaugeMetricFamily(
        "weft_coverage_subjects", "Weighed parcels that coverage is judged by", labels=["group"]
    )
    share = GaugeMetricFamily(
        "weft_coverage_share",
        "Weighed parcels whose interval held their weight, 0 to 1",
        labels=["group"],
    )
    low = GaugeMetricFamily(
        "weft_coverage_band_low", "Lower end of the 95 % band; none under 20 parcels", labels=["group"]
    )
    alarm = GaugeMetricFamily(
        "weft_coverage_alarm", "1 where coverage is lower than chance explains", labels=["group"]
    )
    for one in quality.coverage:
        subjects.add_metric([one.group], one.subjects)
        share.add_metric([one.group], one.covered)
        alarm.add_metric([one.group], one.alarm)
        if one.band_low is not None:
            low.add_metric([one.group], one.band_low)
    yield from (subjects, share, low, alarm)


def _drift(quality: "Quality") -> Iterator[Metric]:
    share = GaugeMetricFamily(
        "weft_drift_share", "Share of the newest that is strange or unknown, 0 to 1", labels=["of"]
    )
    expected = GaugeMetricFamily("weft_drift_expected", "What it should be at most", labels=["of"])
    alarm = GaugeMetricFamily("weft_drift_alarm", "1 while it is more than chance explains", labels=["of"])
    judged = {"strange_photos": quality.strangers, "unknown_scans": quality.unknown_scans}
    for of, drift in judged.items():
        if drift is None:
            continue
        share.add_metric([of], drift.share)
        alarm.add_metric([of], drift.alarm)
        if drift.expected is not None:
            expected.add_metric([of], drift.expected)
    alarm.add_metric(["wide_intervals"], quality.width.alarm)
    yield from (share, expected, alarm)
    if quality.width.times is not None:
        yield GaugeMetricFamily(
            "weft_interval_width_times",
            "Median width of intervals over that at export",
            quality.width.times,
        )
