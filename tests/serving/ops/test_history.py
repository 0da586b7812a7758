"""A day of minutes, read off the figures."""

from itertools import pairwise

from weft.weigher import Estimate
from weft_serving.ops.history import MINUTES, Gauges, History
from weft_serving.ops.totals import quantile
from weft_serving.watch.metrics import Metrics

CALM = Gauges(jobs=0, lag_s=0.0, database_up=True)


class Clocks:
    """A steady clock and the wall's, both at our command."""

    def __init__(self) -> None:
        self.steady_s = 6_000.0
        self.offset_s = 1_790_000_000.0

    def pass_s(self, seconds: float) -> None:
        self.steady_s += seconds

    def steady(self) -> float:
        return self.steady_s

    def wall(self) -> float:
        return self.steady_s + self.offset_s


def watched() -> tuple[Metrics, Clocks, History]:
    metrics, clocks = Metrics(), Clocks()
    return metrics, clocks, History(metrics, steady=clocks.steady, wall=clocks.wall)


def answer(metrics: Metrics, seconds: float, *, status: str = "200", route: str = "/v1/estimates") -> None:
    metrics.requests.labels(route, "POST", status).inc()
    if status == "200":
        metrics.answers.labels(route).observe(seconds)


def test_a_minute_holds_what_came_in_it_and_nothing_of_the_one_before() -> None:
    metrics, clocks, history = watched()
    for _ in range(100):
        answer(metrics, 0.012)
    history.look(CALM)
    clocks.pass_s(60)
    history.look(CALM)
    answer(metrics, 0.4)
    answer(metrics, 0, status="503")
    metrics.refused.labels("queue").inc()
    answer(metrics, 0, status="422")
    answer(metrics, 0, status="500")
    history.look(Gauges(jobs=7, lag_s=0.3, database_up=False))

    first, second = history.last(5)
    assert (first.requests, first.refused, first.problems, first.faults) == (100, 0, 0, 0)
    assert first.p50_ms is not None
    assert 10 <= first.p50_ms <= 15
    assert (second.requests, second.refused, second.problems, second.faults) == (4, 1, 1, 1)
    assert second.p50_ms is not None
    assert 300 <= second.p50_ms <= 500
    assert (second.jobs, second.lag_ms, second.database_up) == (7, 300.0, False)


def test_probes_do_not_hide_how_long_work_takes() -> None:
    metrics, _, history = watched()
    for _ in range(1_000):
        answer(metrics, 0.0005, route="/healthz")
    answer(metrics, 0.2)
    history.look(CALM)

    (minute,) = history.last(1)
    assert minute.p50_ms is not None
    assert minute.p50_ms > 100


def test_a_minute_without_work_has_no_latency_and_no_width() -> None:
    _, _, history = watched()
    history.look(CALM)

    (minute,) = history.last(1)
    assert (minute.p50_ms, minute.p99_ms, minute.width_ratio) == (None, None, None)
    assert (minute.unknown_share, minute.strangeness) == (None, None)


def test_more_than_a_day_is_forgotten() -> None:
    _, clocks, history = watched()
    for _ in range(MINUTES + 200):
        history.look(CALM)
        clocks.pass_s(60)

    assert len(history.rows()) == MINUTES


def test_a_wall_clock_that_is_set_moves_all_rows_and_tears_none_apart() -> None:
    _, clocks, history = watched()
    for _ in range(5):
        history.look(CALM)
        clocks.pass_s(60)
    before = [at for at, _ in history.rows()]
    clocks.offset_s -= 7_200

    after = [at for at, _ in history.rows()]
    assert [at - 7_200 for at in before] == after
    assert [later - earlier for earlier, later in pairwise(after)] == [60] * 3


def test_only_rows_that_are_new_are_told() -> None:
    _, clocks, history = watched()
    for _ in range(5):
        history.look(CALM)
        clocks.pass_s(60)
    times = [at for at, _ in history.rows()]

    assert [at for at, _ in history.rows(after=times[2])] == times[2:]


def test_widths_and_scans_are_told_of_the_minute() -> None:
    metrics, _, history = watched()
    card = type("Card", (), {"weight": None})()
    for low in (500.0, 500.0, 100.0):
        metrics.count_estimate(Estimate(1_000.0, low, 1_000.0, 0.9, (), ()), card)
    for unknown in (0.1, 0.9, 0.1, 0.1):
        metrics.count_scan(unknown, threshold=0.5)
    history.look(CALM)

    (minute,) = history.last(1)
    assert minute.estimates == 3
    assert minute.width_ratio is not None
    assert 1.75 <= minute.width_ratio <= 2
    assert (minute.scans, minute.unknown_share) == (4, 0.25)


def test_a_quantile_is_interpolated_as_prometheus_does() -> None:
    buckets = {1.0: 0.0, 2.0: 50.0, 4.0: 100.0, float("inf"): 100.0}

    assert quantile(buckets, 0.5) == 2.0
    assert quantile(buckets, 0.75) == 3.0
    assert quantile({1.0: 0.0, float("inf"): 3.0}, 0.5) == 1.0
    assert quantile({1.0: 0.0, float("inf"): 0.0}, 0.5) is None
