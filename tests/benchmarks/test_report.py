"""What a run is summed up as."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.report import Latency, Report, compare, load, render, summarize


def make_report(**changes: object) -> Report:
    """A run with made-up figures."""
    fields: dict[str, object] = {
        "label": "",
        "clients": 8,
        "certificates": 100,
        "seconds": 2.0,
        "per_second": 50.0,
        "issuance": Latency(100, 10.0, 20.0, 30.0, 40.0),
        "requests": {"newOrder": Latency(100, 1.0, 2.0, 3.0, 4.0)},
        "requests_per_certificate": 7.0,
        "polls_per_certificate": 0.5,
        "nonce_retries": 0,
        "errors": {},
        "server_cpu": 4.0,
        "postgres_cpu": 2.0,
        "client_cpu": 3.0,
        "database": {"fsync": "on"},
    }
    return Report(**(fields | changes))  # type: ignore[arg-type]


def test_percentiles_are_of_the_nearest_rank() -> None:
    latency = summarize([number / 1000 for number in range(1, 101)])

    assert latency == Latency(100, 50.0, 90.0, 99.0, 100.0)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([], Latency(0, 0.0, 0.0, 0.0, 0.0)),
        ([0.007], Latency(1, 7.0, 7.0, 7.0, 7.0)),
        ([0.002, 0.001], Latency(2, 1.0, 2.0, 2.0, 2.0)),
    ],
)
def test_percentiles_of_few_values(seconds: list[float], expected: Latency) -> None:
    assert summarize(seconds) == expected


def test_saved_run_is_read_back(tmp_path: Path) -> None:
    report = make_report(errors={"newOrder: 503": 2})

    report.save(tmp_path / "run.json")

    assert load(tmp_path / "run.json") == report


def test_text_names_the_rate_the_cpu_and_the_errors() -> None:
    text = render(make_report(errors={"newOrder: 503": 2}))

    assert "50.0/s" in text
    assert "server 4.00, PostgreSQL 2.00, this client 3.00" in text
    assert "fsync on" in text
    assert "error: newOrder: 503 (2 times)" in text


def test_comparison_tells_by_what_factor_the_cpu_grew() -> None:
    text, growth = compare(make_report(server_cpu=7.0), make_report())

    assert growth == pytest.approx(1.5)
    assert "+75 %" in text


def test_comparison_ignores_what_the_client_cost() -> None:
    _, growth = compare(make_report(client_cpu=30.0), make_report())

    assert growth == 1.0
