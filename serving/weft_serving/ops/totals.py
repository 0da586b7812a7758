"""What the figures stand at, and what came between two looks at them."""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client import Metric

from weft_serving.watch.metrics import Metrics

# Routes whose latency is the service's: a probe's or a page's would hide it.
_WORK: Final = ("/v1/estimates", "/v1/compositions", "/v2/")
Buckets = dict[float, float]  # upper bound -> how many lay at or below it


@dataclass(frozen=True, slots=True)
class Totals:
    """Since the process began."""

    at: float  # seconds of a clock that never jumps
    cpu_s: float
    statuses: dict[str, float]
    counts: dict[str, float]
    answers: Buckets  # seconds
    widths: Buckets  # upper over lower end
    strangeness: Buckets  # over the card's limit


def read_totals(metrics: Metrics, at: float) -> Totals:
    """Some milliseconds: for every few seconds, not for every request."""
    counts = {
        "refused": sum(_by(metrics.refused.collect(), "reason").values()),
        "weighings": sum(_by(metrics.weighings.collect()).values()),
        "unreadable": sum(_by(metrics.decode_errors.collect(), "reason").values()),
        "estimates": sum(_by(metrics.estimates.collect(), "said").values()),
    }
    photos, scans = _by(metrics.photos.collect(), "finding"), _by(metrics.scans.collect(), "said")
    counts |= {"photos": photos.get("usable", 0) + photos.get("unusable", 0)}
    counts |= {"scans": sum(scans.values()), "unknown": scans.get("unknown", 0)}
    return Totals(
        at=at,
        cpu_s=time.process_time(),
        statuses=_by(metrics.requests.collect(), "status"),
        counts=counts,
        answers=_buckets(metrics.answers.collect(), _WORK),
        widths=_buckets(metrics.widths.collect()),
        strangeness=_buckets(metrics.strangeness.collect()),
    )


def _by(collected: Iterable[Metric], label: str = "") -> dict[str, float]:
    """Counts by one label, summed over the others."""
    found: defaultdict[str, float] = defaultdict(float)
    for metric in collected:
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                found[sample.labels.get(label, "")] += sample.value
    return dict(found)


def _buckets(collected: Iterable[Metric], routes: Sequence[str] = ()) -> Buckets:
    """Of a histogram, summed over its routes; only those that begin so, where any are named."""
    found: defaultdict[float, float] = defaultdict(float)
    for metric in collected:
        for sample in metric.samples:
            if sample.name.endswith("_bucket") and sample.labels.get("route", "").startswith(
                tuple(routes) or ""
            ):
                found[float(sample.labels["le"])] += sample.value
    return dict(found)


def less(end: dict[str, float], start: dict[str, float]) -> dict[str, float]:
    """What came between two looks; what was not there at first counts from 0."""
    return {name: value - start.get(name, 0) for name, value in end.items()}


def less_buckets(end: Buckets, start: Buckets) -> Buckets:
    return {bound: value - start.get(bound, 0) for bound, value in end.items()}


def quantile(buckets: Buckets, share: float) -> float | None:
    """Interpolated in its bucket, as Prometheus does; None of nothing, the last bound where it lies above."""
    count = buckets.get(float("inf"), 0)
    if count <= 0:
        return None
    wanted = share * count
    low_bound, below = 0.0, 0.0
    for bound, upto in sorted(buckets.items()):
        if upto >= wanted:
            if bound == float("inf"):
                return low_bound
            return low_bound + (bound - low_bound) * (wanted - below) / max(1e-9, upto - below)
        low_bound, below = bound, upto
    return low_bound


def share_above(buckets: Buckets, bound: float) -> float | None:
    count = buckets.get(float("inf"), 0)
    return round(1 - buckets.get(bound, 0) / count, 4) if count > 0 else None


def memory_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
