"""What Prometheus and the log are told of bundles: which answers, how it changed, what was refused."""

import logging

from prometheus_client import Counter, Gauge

from weft_serving.bundles.models import BundleName, ServedTask
from weft_serving.watch.metrics import Metrics
from weft_serving.watch.observe import log_line


class BundleFigures:
    """Made once for each service, on its registry."""

    def __init__(self, metrics: Metrics) -> None:
        self._names = metrics.bundles
        registry = metrics.registry
        self.changes = Counter(
            "weft_bundle_changes", "Changes of bundles by outcome", ["task", "outcome"], registry=registry
        )
        self.refused = Gauge(
            "weft_bundle_refused",
            "1 while the last bundle that came was refused",
            ["task"],
            registry=registry,
        )
        self.trials = Counter(
            "weft_trial_answers",
            "Answers that a challenger was to be compared on",
            ["task", "outcome"],
            registry=registry,
        )

    def serving(self, task: ServedTask, name: BundleName) -> None:
        """Which bundle answers from now on."""
        self._names.labels(task).info(name.model_dump())
        self.refused.labels(task).set(0)

    def changed(self, task: ServedTask, how: str, name: BundleName) -> None:
        self.changes.labels(task, how).inc()
        log_line("bundle", task=task, how=how, name=name.name, version=name.version, sha256=name.sha256)

    def was_refused(self, task: ServedTask, reason: str) -> None:
        self.changes.labels(task, "refused").inc()
        self.refused.labels(task).set(1)
        log_line("bundle", level=logging.ERROR, task=task, how="refused", reason=reason)
