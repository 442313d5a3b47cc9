"""What a run measured: as text, as a file, and beside an earlier run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; percentiles are exact (nearest rank)."""

    count: int
    p50: float
    p90: float
    p99: float
    max: float


def summarize(seconds: Sequence[float]) -> Latency:
    """The latencies of one kind of operation."""
    ordered = sorted(value * 1000 for value in seconds)
    if not ordered:
        return Latency(0, 0.0, 0.0, 0.0, 0.0)

    def rank(part: float) -> float:
        return round(ordered[max(math.ceil(part * len(ordered)) - 1, 0)], 2)

    return Latency(len(ordered), rank(0.5), rank(0.9), rank(0.99), round(ordered[-1], 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One run. CPU is in milliseconds per certificate, over the whole load."""

    label: str
    clients: int
    certificates: int
    seconds: float
    per_second: float
    issuance: Latency
    requests: dict[str, Latency]
    requests_per_certificate: float
    polls_per_certificate: float
    nonce_retries: int
    errors: dict[str, int]
    server_cpu: float
    postgres_cpu: float
    client_cpu: float
    database: dict[str, str]

    def save(self, path: Path) -> None:
        """Write the run as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(path: Path) -> Report:
    """A run that ``save`` wrote."""
    document = json.loads(path.read_text())
    document["issuance"] = Latency(**document["issuance"])
    document["requests"] = {
        name: Latency(**latency) for name, latency in document["requests"].items()
    }
    return Report(**document)


def render(report: Report) -> str:
    """The run as text."""
    database = ", ".join(f"{name} {value}" for name, value in report.database.items())
    lines = [
        (
            f"{report.certificates} certificates in {report.seconds:.1f} s, "
            f"{report.clients} clients: {report.per_second:.1f}/s"
        ),
        (
            f"CPU ms per certificate: server {report.server_cpu:.2f}, "
            f"PostgreSQL {report.postgres_cpu:.2f}, this client {report.client_cpu:.2f}"
        ),
        (
            f"per certificate: {report.requests_per_certificate:.1f} requests, of which "
            f"{report.polls_per_certificate:.2f} polls; {report.nonce_retries} nonces refused"
        ),
        f"database: {database or 'not asked'}",
        "",
        f"{'milliseconds':<20}{'count':>8}{'p50':>10}{'p90':>10}{'p99':>10}{'max':>10}",
    ]
    for name, latency in {"issuance": report.issuance, **report.requests}.items():
        lines.append(
            f"{name:<20}{latency.count:>8}{latency.p50:>10.1f}{latency.p90:>10.1f}"
            f"{latency.p99:>10.1f}{latency.max:>10.1f}"
        )
    lines += [f"error: {what} ({count} times)" for what, count in report.errors.items()]
    return "\n".join(lines)


def compare(now: Report, before: Report) -> tuple[str, float]:
    """Both runs beside each other, and by what factor the CPU of server and database grew."""
    rows = [
        ("certificates/s", before.per_second, now.per_second),
        ("server CPU ms", before.server_cpu, now.server_cpu),
        ("PostgreSQL CPU ms", before.postgres_cpu, now.postgres_cpu),
        ("p50 ms", before.issuance.p50, now.issuance.p50),
        ("p90 ms", before.issuance.p90, now.issuance.p90),
        ("p99 ms", before.issuance.p99, now.issuance.p99),
        ("requests", before.requests_per_certificate, now.requests_per_certificate),
    ]
    lines = [f"{'per certificate':<20}{before.label or 'before':>12}{now.label or 'now':>12}"]
    for name, old, new in rows:
        change = f"{(new / old - 1) * 100:+.0f} %" if old else ""
        lines.append(f"{name:<20}{old:>12.2f}{new:>12.2f}{change:>10}")
    old_cpu = before.server_cpu + before.postgres_cpu
    return "\n".join(lines), (now.server_cpu + now.postgres_cpu) / old_cpu if old_cpu else 1.0
