"""A line's figures for Prometheus, read from its state when they are asked for."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from weft.line.records import LineState


class Standing(Protocol):
    """A line that tells how it stands: `weft_serving.line.engine.LineEngine`."""

    def state(self) -> LineState: ...


class LineFigures(Collector):
    """Pieces and grams by lane, what was late or held, speed, latency, dropped frames, alarms."""

    def __init__(self, lines: Mapping[str, Standing]) -> None:
        self._lines = lines

    def describe(self) -> list[Metric]:
        """Nothing is asked of the lines when this is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        pieces = CounterMetricFamily(
            "weft_line_pieces", "Pieces by the lane they go", labels=["line", "lane"]
        )
        grams = CounterMetricFamily("weft_line_grams", "Estimated grams by lane", labels=["line", "lane"])
        outcomes = CounterMetricFamily(
            "weft_line_outcomes",
            "Pieces by the lane that wanted them and what came of it",
            labels=["line", "lane", "outcome"],
        )
        dropped = CounterMetricFamily("weft_line_dropped_frames", "Frames dropped", labels=["line"])
        speed = GaugeMetricFamily("weft_line_speed_mm_per_s", "Speed of the belt", labels=["line"])
        latency = GaugeMetricFamily(
            "weft_line_latency_ms",
            "From a piece's last row to its decision, of the last thousands",
            labels=["line", "quantile"],
        )
        alarms = GaugeMetricFamily("weft_line_alarm", "1 while an alarm is on", labels=["line", "code"])
        for name, line in self._lines.items():
            state = line.state()
            for lane in state.lanes:
                pieces.add_metric([name, lane.lane], lane.pieces)
                grams.add_metric([name, lane.lane], lane.grams)
                for outcome, count in (("fired", lane.fired), ("late", lane.late), ("held", lane.held)):
                    outcomes.add_metric([name, lane.lane, outcome], count)
            dropped.add_metric([name], state.dropped_frames)
            speed.add_metric([name], state.speed_mm_per_s)
            for quantile, value in (("0.5", state.latency_p50_ms), ("0.99", state.latency_p99_ms)):
                if value is not None:
                    latency.add_metric([name, quantile], value)
            for alarm in state.alarms:
                alarms.add_metric([name, alarm.code], 1)
        yield from (pieces, grams, outcomes, dropped, speed, latency, alarms)
