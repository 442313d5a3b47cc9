"""Metrics over processes: children keep them, the parent adds them up and serves them.

Counters and histograms of children that are gone stay in the sum, so no counter ever falls; their
gauges vanish with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SUMMED = frozenset({"counter", "histogram"})
# (name of the sample, its labels in order) → value
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class ChildMetrics:
    """What one child measures (``web.requestlog.Recorder``)."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "acme_http_requests",
            "Requests answered, by route and status.",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "acme_http_request_seconds",
            "Time from the head of a request to its answer, by route.",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._processes = Gauge(
            "acme_processes", "Running processes, by role.", ["role"], registry=self._registry
        )
        self._children: dict[tuple[str, int], Any] = {}

    def started(self, role: str) -> None:
        """This process runs as ``role``."""
        self._processes.labels(role).set(1)

    def request_ended(self, route: str, status: int, seconds: float) -> None:
        """Count a request. Label lookups are remembered: they cost more than the counting."""
        pair = self._children.get((route, status))
        if pair is None:
            pair = (self._requests.labels(route, str(status)), self._seconds.labels(route))
            self._children[route, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def snapshot(self) -> list[Any]:
        """All samples, JSON-ready."""
        return [
            [
                family.name,
                family.documentation,
                family.type,
                [[s.name, sorted(s.labels.items()), s.value] for s in family.samples],
            ]
            for family in self._registry.collect()
        ]


class Totals(Collector):
    """The sum over all children, those that are gone included."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str]] = {}
        self._live: dict[int, dict[str, Samples]] = {}
        self._gone: dict[str, Samples] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def update(self, child: int, snapshot: Iterable[Any]) -> None:
        """Take the newest snapshot of the child with pid ``child``."""
        families: dict[str, Samples] = {}
        for name, documentation, kind, samples in snapshot:
            self._families[name] = (documentation, kind)
            families[name] = {
                (sample, tuple((key, value) for key, value in labels)): number
                for sample, labels, number in samples
            }
        self._live[child] = families

    def retire(self, child: int) -> None:
        """The child is gone: what it counted stays."""
        for name, samples in self._live.pop(child, {}).items():
            if self._families[name][1] in _SUMMED:
                _add(self._gone.setdefault(name, {}), samples)

    def collect(self) -> Iterable[Metric]:
        """The sums, for the library's own rendering."""
        for name, (documentation, kind) in self._families.items():
            total: Samples = dict(self._gone.get(name, {}))
            for families in self._live.values():
                _add(total, families.get(name, {}))
            metric = Metric(name, documentation, kind)
            for (sample, labels), value in total.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric

    def render(self) -> bytes:
        """The text format of Prometheus."""
        return generate_latest(self._registry)


def _add(total: Samples, samples: Mapping[Any, float]) -> None:
    for key, value in samples.items():
        total[key] = total.get(key, 0.0) + value
