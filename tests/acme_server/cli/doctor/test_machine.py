"""Findings about the machine, each provoked, each beside its good twin."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from acme_server.cli.doctor import machine
from acme_server.cli.doctor.site import Site
from acme_server.workflow.inspection import DatabaseFacts
from support.checkout import ROOT
from support.doctor import found, only, with_facts

MakeSite = Callable[..., Site]
_NOW = datetime(2026, 12, 24, tzinfo=UTC)


def test_this_python_is_good(make_site: MakeSite) -> None:
    severity, message = only(machine.check_python, make_site())

    assert severity == "ok"
    assert "uvloop" in message


def test_old_python_is_an_error(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_LEAST_PYTHON", (4, 0))

    severity, message = only(machine.check_python, make_site())

    assert severity == "error"
    assert message.endswith("is too old")


def test_missing_event_loop_is_told(make_site: MakeSite) -> None:
    code = """
import importlib.metadata, sys
def version(name):
    raise importlib.metadata.PackageNotFoundError(name)
importlib.metadata.version = version
from acme_server.cli.doctor.machine import check_python
print([str(finding.severity) for finding in check_python(None)])
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert result.stdout.strip() == "['info', 'ok']"


def test_our_packages_are_known(make_site: MakeSite) -> None:
    assert only(machine.check_packages, make_site())[0] == "ok"


def test_foreign_package_is_named_by_its_path(tmp_path: Path) -> None:
    intruder = tmp_path / "storage.py"
    intruder.write_text("raise SystemExit")
    code = f"""
import sys
import acme_server.cli.doctor.machine as machine
sys.path.insert(0, {str(tmp_path)!r})
print([(str(f.severity), f.message) for f in machine.check_packages(None)])
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "('error', 'the package \"storage\" that Python finds is not ours" in result.stdout
    assert str(intruder) in result.stdout


@pytest.mark.parametrize(
    "moment", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2107, 1, 1, tzinfo=UTC)]
)
def test_clock_of_another_time_is_an_error(make_site: MakeSite, moment: datetime) -> None:
    severity, message = only(machine.check_clock, make_site(now=lambda: moment))

    assert severity == "error"
    assert f"{moment:%Y}" in message


@pytest.mark.parametrize(
    ("offset", "severity"), [(0.5, "ok"), (-3.0, "warning"), (3.0, "warning"), (-3600.0, "error")]
)
def test_clock_is_compared_with_the_databases(
    make_site: MakeSite, facts: DatabaseFacts, offset: float, severity: str
) -> None:
    site = with_facts(make_site(), facts, clock_offset=offset)

    assert only(machine.check_clock, site)[0] == severity


def test_clock_without_a_database_is_judged_alone(make_site: MakeSite) -> None:
    assert only(machine.check_clock, make_site(now=lambda: _NOW))[0] == "ok"


def test_database_of_this_machine_has_our_clock(facts: DatabaseFacts) -> None:
    assert abs(facts.clock_offset) < 1.0


@pytest.mark.parametrize(("step", "severity"), [(0.0, "ok"), (-30.0, "error"), (30.0, "error")])
def test_step_of_the_clock_is_noticed(make_site: MakeSite, step: float, severity: str) -> None:
    site = make_site(
        started=(_NOW, 100.0),
        now=lambda: _NOW + timedelta(seconds=5 + step),
        monotonic=lambda: 105.0,
    )

    assert only(machine.check_clock_steps, site)[0] == severity


@pytest.mark.parametrize(
    ("least", "severity"), [(1, "ok"), (2, "warning"), (1000, "error")], ids=["ok", "low", "out"]
)
def test_disk_without_room_is_noticed(
    make_site: MakeSite, tmp_path: Path, least: int, severity: str
) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    # Half of what is free, twice that, and a thousand times that is asked for.
    site = make_site(least_free_bytes=free // 2 if least == 1 else free * least)

    assert only(machine.check_disk, site)[0] == severity


def test_disk_of_a_directory_that_is_not_there_is_that_of_its_parent(
    make_site: MakeSite, tmp_path: Path
) -> None:
    site = make_site({"data_dir": tmp_path / "not" / "there"}, least_free_bytes=1)

    assert str(tmp_path) in only(machine.check_disk, site)[1]


def test_few_descriptors_are_a_warning() -> None:
    # In a process of its own: a hard limit that was lowered stays so.
    code = """
import resource
from acme_server.cli.doctor.machine import check_descriptors
from acme_server.cli.doctor.site import Site
from acme_server.config.loader import build_settings
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
for most in (10_000, 500):
    settings = build_settings({"server.max_connections": most}, is_lab=True)
    for finding in check_descriptors(Site(settings=settings)):
        print(finding.severity, finding.message)
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    many, few = result.stdout.splitlines()
    assert many.startswith("warning a process may open 1024 files")
    assert few == "ok a process may open 1024 files"


@pytest.mark.parametrize(
    ("total", "limit", "workers", "severity"),
    [
        (8_000_000, None, 2, "ok"),
        (8_000_000, "max", 2, "ok"),
        (8_000_000, "268435456", 2, "warning"),
        (256_000, None, 2, "warning"),
        (8_000_000, None, 256, "warning"),
    ],
)
def test_memory_is_compared_with_what_the_processes_need(
    make_site: MakeSite,
    tmp_path: Path,
    total: int,
    limit: str | None,
    workers: int,
    severity: str,
) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: {total} kB\nMemFree: 1 kB\n")
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
    site = make_site({"server.workers": workers}, meminfo=tmp_path / "meminfo", cgroup=tmp_path)

    assert only(machine.check_memory, site)[0] == severity


def test_memory_of_this_machine_can_be_read(make_site: MakeSite) -> None:
    assert found(machine.check_memory, make_site())


def test_missing_ipv6_is_told(make_site: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError(97, "Address family not supported by protocol")

    site = make_site()
    monkeypatch.setattr(socket, "socket", refuse)

    assert only(machine.check_ipv6, site)[0] == "info"


def test_route_for_ipv6_is_looked_for(make_site: MakeSite) -> None:
    assert only(machine.check_ipv6, make_site())[0] in ("ok", "info")
