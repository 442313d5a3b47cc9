"""Checks of the machine: Python, clock, limits, disk, memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from acme_server.cli.doctor.findings import Finding, error, info, ok, warning
from acme_server.cli.doctor.site import Site
from acme_server.cli.installation import find_intruders

_LEAST_PYTHON = (3, 11)
_BUILT = datetime(2026, 11, 1, tzinfo=UTC)
_LATEST_SANE_YEAR = 2100
_STEP_SECONDS = 1.0
# Files, logs, the event loop, PostgreSQL's sockets: what a process opens beside its clients.
_OWN_DESCRIPTORS = 200
_PROCESS_BYTES = 96 * 1024**2
_DATABASE_BYTES = 256 * 1024**2
_MEBIBYTE = 1024**2
_SOME_IPV6_ADDRESS = ("2001:500:2::c", 53)  # a root name server


def check_python(site: Site) -> Iterator[Finding]:
    """The interpreter is one we are tested with, and the fast event loop is there."""
    version = platform.python_version()
    if sys.version_info[:2] < _LEAST_PYTHON:
        yield error(f"Python {version} is too old", "Install Python 3.11 or newer.")
        return
    if sys.implementation.name != "cpython":
        yield warning(f"{sys.implementation.name} {version} is untested", "Use CPython.")
    try:
        loop = f"uvloop {importlib.metadata.version('uvloop')}"
    except importlib.metadata.PackageNotFoundError:
        yield info(
            "uvloop is not installed; requests cost about half as much again",
            "pip install uvloop",
        )
        loop = "asyncio"
    yield ok(f"Python {version}, {loop}")


def check_packages(site: Site) -> Iterator[Finding]:
    """``policy``, ``storage`` and ``validators`` are ours, not others of the same name."""
    intruders = list(find_intruders())
    for name, path in intruders:
        yield error(
            f'the package "{name}" that Python finds is not ours: {path}',
            f"Install acme-server into a private environment without another {name}, and don't "
            f"start it in a directory that holds one.",
        )
    if not intruders:
        yield ok("policy, storage and validators are ours")


def check_clock(site: Site) -> Iterator[Finding]:
    """The clock is sane, and agrees with the database's."""
    now = site.now()
    if now < _BUILT or now.year >= _LATEST_SANE_YEAR:
        yield error(
            f"the clock says {now:%Y-%m-%d}",
            "Set the clock, and keep it set: systemctl enable --now systemd-timesyncd",
        )
        return
    if site.database is not None:
        offset = site.database.clock_offset
        if abs(offset) > 2.0:
            judge = error if abs(offset) > 60.0 else warning
            yield judge(
                f"the clock differs from the database's by {offset:+.1f} s",
                "Synchronise both machines by NTP (systemd-timesyncd, chrony): certificates and "
                "leases are judged by these clocks.",
            )
            return
    yield ok(f"the clock says {now:%Y-%m-%d %H:%M:%SZ}")


def check_clock_steps(site: Site) -> Iterator[Finding]:
    """The clock did not jump while the doctor looked on."""
    wall, monotonic = site.started
    step = (site.now() - wall).total_seconds() - (site.monotonic() - monotonic)
    if abs(step) > _STEP_SECONDS:
        yield error(
            f"the clock jumped by {step:+.1f} s while this ran",
            "Something sets it back and forth: run one time service only, which slews.",
        )
    else:
        yield ok("the clock runs steadily")


def check_disk(site: Site) -> Iterator[Finding]:
    """There is room where the data directory is."""
    place = nearest_existing(site.settings.data_dir)
    usage = shutil.disk_usage(place)
    files = os.statvfs(place)
    free = f"{usage.free // _MEBIBYTE} MiB free in {place}"
    if usage.free < site.least_free_bytes:
        judge = error if usage.free < site.least_free_bytes // 8 else warning
        yield judge(free, "Free some space: a database without room stops taking orders.")
    elif files.f_files and files.f_favail < 1000:
        yield error(f"{files.f_favail} files can still be made in {place}", "Remove files there.")
    else:
        yield ok(free)


def check_descriptors(site: Site) -> Iterator[Finding]:
    """A process may open as many files as it is told to have connections."""
    # The server raises its own limit as far as it may.
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = (
        site.settings.server.max_connections
        + site.settings.validation.concurrency * 2
        + site.settings.database.pool_size
        + _OWN_DESCRIPTORS
    )
    if limit != resource.RLIM_INFINITY and limit < needed:
        yield warning(
            f"a process may open {limit} files, and server.max_connections "
            f"({site.settings.server.max_connections}) with the rest needs {needed}",
            f"Raise the limit (LimitNOFILE={needed} in the unit, ulimit -Hn), or lower "
            "server.max_connections.",
        )
    else:
        yield ok(f"a process may open {'any number of' if limit < 0 else limit} files")


def check_memory(site: Site) -> Iterator[Finding]:
    """There is memory for the processes that the settings ask for."""
    processes = site.settings.server.workers + 2
    needed = processes * _PROCESS_BYTES
    if site.settings.database.is_embedded:
        needed += _DATABASE_BYTES
    memory = _memory_limit(site)
    text = f"{memory // _MEBIBYTE} MiB of memory for {processes} processes"
    if memory < needed:
        yield warning(
            f"{text}, which need about {needed // _MEBIBYTE} MiB",
            "Give the machine or container more memory, or lower server.workers.",
        )
    else:
        yield ok(text)


def check_ipv6(site: Site) -> Iterator[Finding]:
    """Targets that have IPv6 addresses are tried there first."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: connecting a datagram socket only looks for a route.
            probe.connect(_SOME_IPV6_ADDRESS)
    except OSError:
        yield info(
            "this machine has no IPv6 route; targets are validated over IPv4 only",
            "Nothing, unless some of your names have IPv6 addresses only.",
        )
    else:
        yield ok("there is an IPv6 route")


def nearest_existing(path: Path) -> Path:
    """``path``, or the nearest directory above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def _memory_limit(site: Site) -> int:
    """What this machine has, or what its control group is allowed, in bytes."""
    total = 0
    for line in site.meminfo.read_text(encoding="ascii").splitlines():
        if line.startswith("MemTotal:"):
            total = int(line.split()[1]) * 1024
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (site.cgroup / name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            return min(total, int(text))
    return total
