"""Samples of many processes become one sum that never goes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from acme_server.process.metrics import (
    Family,
    ParentMetrics,
    ProcessMetrics,
    Totals,
    read_snapshot,
)


def value(totals: Totals, sample: str, **labels: str) -> float | None:
    """A sample as a scraper reads it."""
    for family in text_string_to_metric_families(totals.render().decode()):
        for found in family.samples:
            if found.name == sample and found.labels == labels:
                return found.value
    return None


def over_the_wire(metrics: ProcessMetrics) -> list[Family]:
    """A snapshot as the parent gets it."""
    return read_snapshot(json.loads(json.dumps(metrics.snapshot())))


def counted(number: float) -> list[Family]:
    """One counter."""
    return [Family("jobs", "Jobs.", "counter", {("jobs_total", (("kind", "a"),)): number})]


def test_requests_are_counted_by_route_and_status_and_timed() -> None:
    metrics, totals = ProcessMetrics("http"), Totals()
    metrics.request_ended("/acme/new-order", 201, 0.004)
    metrics.request_ended("/acme/new-order", 201, 0.006)
    metrics.request_ended("/acme/new-order", 429, 0.001)

    totals.update(1, over_the_wire(metrics))

    route = "/acme/new-order"
    assert value(totals, "acme_http_requests_total", route=route, status="201") == 2
    assert value(totals, "acme_http_requests_total", route=route, status="429") == 1
    seconds = "acme_http_request_seconds"
    assert value(totals, f"{seconds}_bucket", route=route, le="0.005") == 2
    assert value(totals, f"{seconds}_count", route=route) == 3
    assert value(totals, f"{seconds}_sum", route=route) == pytest.approx(0.011)
    assert value(totals, "acme_processes", role="http") == 1


def test_processes_are_summed_up() -> None:
    totals = Totals()
    for process in (1, 2):
        metrics = ProcessMetrics("http")
        Gauge("open_things", "Things.", registry=metrics.registry).set(5 * process)
        metrics.request_ended("/a", 200, 0.5)
        totals.update(process, over_the_wire(metrics))

    assert value(totals, "acme_http_requests_total", route="/a", status="200") == 2
    assert value(totals, "acme_http_request_seconds_count", route="/a") == 2
    assert value(totals, "acme_processes", role="http") == 2
    assert value(totals, "open_things") == 15


def test_newer_samples_of_a_process_replace_its_older_ones() -> None:
    totals = Totals()
    totals.update(1, counted(3))
    totals.update(1, counted(5))

    assert value(totals, "jobs_total", kind="a") == 5


def test_counters_of_the_dead_stay_and_their_gauges_vanish() -> None:
    totals = Totals()
    for process in (1, 2):
        metrics = ProcessMetrics("http")
        Gauge("open_things", "Things.", registry=metrics.registry).set(5)
        metrics.request_ended("/a", 200, 0.5)
        totals.update(process, over_the_wire(metrics))

    totals.retire(1)

    assert value(totals, "acme_http_requests_total", route="/a", status="200") == 2
    assert value(totals, "acme_http_request_seconds_bucket", route="/a", le="+Inf") == 2
    assert value(totals, "acme_processes", role="http") == 1
    assert value(totals, "open_things") == 5


def test_end_of_a_process_that_never_reported_is_no_fault() -> None:
    totals = Totals()

    totals.retire(7)

    assert totals.render() == b""


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 100), st.booleans()), max_size=40))
def test_no_counter_ever_falls(steps: list[tuple[int, float, bool]]) -> None:
    totals = Totals()
    numbers: dict[int, float] = {}
    seen = 0.0
    for process, more, dies in steps:
        if dies:
            totals.retire(process)
            numbers.pop(process, None)
        else:
            numbers[process] = numbers.get(process, 0.0) + more
            totals.update(process, counted(numbers[process]))
        now = value(totals, "jobs_total", kind="a") or 0.0

        assert now >= seen or now == pytest.approx(seen)
        seen = now


def test_deaths_are_counted_by_role() -> None:
    metrics, totals = ParentMetrics(), Totals()
    metrics.child_died("http")
    metrics.child_died("http")

    totals.update(0, over_the_wire(metrics))

    assert value(totals, "acme_process_unexpected_ends_total", role="http") == 2


def test_use_of_the_machine_is_told_by_role() -> None:
    totals = Totals()
    totals.update(1, over_the_wire(ProcessMetrics("background")))

    assert (value(totals, "acme_process_cpu_seconds_total", role="background") or 0) > 0
    assert (value(totals, "acme_process_resident_bytes", role="background") or 0) > 1_000_000


_SAMPLE = ["jobs_total", [["kind", "a"]], 1.0]


@pytest.mark.parametrize(
    "snapshot",
    [
        None,
        7,
        {"a": 1},
        [[]],
        ["jobs"],
        [["jobs", "Jobs.", "counter"]],
        [["jobs", "Jobs.", "summary", [_SAMPLE]]],
        [["jobs", 7, "counter", [_SAMPLE]]],
        [["jobs\n# TYPE x counter", "Jobs.", "counter", [_SAMPLE]]],
        [[["jobs"], "Jobs.", "counter", [_SAMPLE]]],
        [["jobs", "Jobs.", "counter", [["jobs total", [], 1.0]]]],
        [["jobs", "Jobs.", "counter", [["jobs_total", [["a b", "c"]], 1.0]]]],
        [["jobs", "Jobs.", "counter", [["jobs_total", [], "many"]]]],
        [["jobs", "Jobs.", "counter", [["jobs_total", [], None]]]],
        [["jobs", "Jobs.", "counter", 5]],
    ],
)
def test_what_is_no_snapshot_is_refused(snapshot: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_snapshot(snapshot)


def test_label_values_of_any_kind_stay_in_their_line() -> None:
    totals = Totals()
    samples = {("jobs_total", (("kind", 'a"\n# HELP b'),)): 1.0}
    totals.update(1, [Family("jobs", "Jobs.\nMore.", "counter", samples)])

    assert value(totals, "jobs_total", kind='a"\n# HELP b') == 1
    assert not [line for line in totals.render().decode().splitlines() if line.startswith("More")]
