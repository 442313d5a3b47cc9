"""Metrics over processes: children keep them, the parent adds them up and serves them.

Counters and histograms of children that are gone stay in the sum, so no counter ever falls; their
gauges vanish with them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SUMMED = frozenset({"counter", "histogram"})
_KINDS = _SUMMED | {"gauge"}
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,200}")
_STATM = Path("/proc/self/statm")

# (name of the sample, its labels in order) → value
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@dataclass(frozen=True, slots=True)
class Family:
    """A metric of one process. ``kind`` is ``counter``, ``histogram`` or ``gauge``."""

    name: str
    documentation: str
    kind: str
    samples: Samples


class ProcessMetrics:
    """What one process measures; in an HTTP worker it is the ``Recorder`` of its requests.

    Whatever else is put into ``registry`` (counters, histograms, gauges) is added up as well.
    """

    def __init__(self, role: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "acme_http_requests",
            "Requests answered, by route and status.",
            ["route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "acme_http_request_seconds",
            "Time from the head of a request to its answer, by route.",
            ["route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        running = Gauge("acme_processes", "Processes, by role.", ["role"], registry=self.registry)
        running.labels(role).set(1)
        self.registry.register(_ProcessUse(role))
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def request_ended(self, route: str, status: int, seconds: float) -> None:
        """Count a request. Label lookups are remembered: they cost more than the counting."""
        pair = self._known.get((route, status))
        if pair is None:
            pair = (self._requests.labels(route, str(status)), self._seconds.labels(route))
            self._known[route, status] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    def snapshot(self) -> list[Any]:
        """All samples, ready for JSON; ``read_snapshot`` reads it."""
        return [
            [
                family.name,
                family.documentation,
                family.type,
                [[s.name, sorted(s.labels.items()), s.value] for s in family.samples],
            ]
            for family in self.registry.collect()
        ]


class ParentMetrics(ProcessMetrics):
    """What the parent itself measures."""

    def __init__(self) -> None:
        super().__init__("parent")
        self._ends = Counter(
            "acme_process_unexpected_ends",
            "Children that ended without being told to, by role.",
            ["role"],
            registry=self.registry,
        )

    def child_died(self, role: str) -> None:
        """A child ended by itself."""
        self._ends.labels(role).inc()


def read_snapshot(snapshot: Any) -> list[Family]:
    """The families in what a child sent. Raises ValueError, and TypeError, for anything else: a
    child reads the network, and the parent must not believe it everything."""
    families = []
    for name, documentation, kind, samples in snapshot:
        if kind not in _KINDS or not isinstance(documentation, str):
            raise ValueError(f"{name!r} is no metric")
        families.append(Family(_checked(name), documentation, kind, dict(map(_sample, samples))))
    return families


class Totals(Collector):
    """The sum over all processes, those that are gone included."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._live: dict[int, list[Family]] = {}
        self._gone: dict[str, Samples] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def update(self, process: int, families: list[Family]) -> None:
        """Take the newest samples of a process, known by any number of its own."""
        for family in families:
            self._families.setdefault(family.name, family)
        self._live[process] = families

    def retire(self, process: int) -> None:
        """The process is gone: what it counted stays."""
        for family in self._live.pop(process, ()):
            if family.kind in _SUMMED:
                _add(self._gone.setdefault(family.name, {}), family.samples)

    def collect(self) -> Iterable[Metric]:
        """The sums, for the library's rendering."""
        totals = {name: dict(self._gone.get(name, {})) for name in self._families}
        for families in self._live.values():
            for family in families:
                _add(totals[family.name], family.samples)
        for name, total in totals.items():
            known = self._families[name]
            metric = Metric(name, known.documentation, known.kind)
            for (sample, labels), value in total.items():
                metric.add_sample(sample, dict(labels), value)
            yield metric

    def render(self) -> bytes:
        """The text format of Prometheus, version 0.0.4."""
        return generate_latest(self._registry)


class _ProcessUse(Collector):
    """What this process takes of the machine."""

    def __init__(self, role: str) -> None:
        self._role = role

    def collect(self) -> Iterator[Metric]:
        used = os.times()
        seconds = CounterMetricFamily(
            "acme_process_cpu_seconds", "CPU time used, by role.", labels=["role"]
        )
        seconds.add_metric([self._role], used.user + used.system)
        yield seconds
        if _STATM.exists():
            pages = int(_STATM.read_bytes().split()[1])
            memory = GaugeMetricFamily(
                "acme_process_resident_bytes", "Memory held, by role.", labels=["role"]
            )
            memory.add_metric([self._role], pages * os.sysconf("SC_PAGE_SIZE"))
            yield memory


def _sample(sample: Any) -> tuple[tuple[str, tuple[tuple[str, str], ...]], float]:
    name, labels, value = sample
    pairs = tuple((_checked(label), str(text)) for label, text in labels)
    return (_checked(name), pairs), float(value)


def _checked(name: Any) -> str:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a metric")
    return name


def _add(total: Samples, samples: Mapping[tuple[str, tuple[tuple[str, str], ...]], float]) -> None:
    for key, value in samples.items():
        total[key] = total.get(key, 0.0) + value
