"""The CPU time of process trees, read from /proc (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU seconds, user and system together, of what lives and of reaped children."""

    server: float
    postgres: float
    client: float

    def since(self, before: CpuTimes) -> CpuTimes:
        """What was used between two readings."""
        return CpuTimes(
            self.server - before.server,
            self.postgres - before.postgres,
            self.client - before.client,
        )


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    name: str
    seconds: float


def read_cpu_times(server_pid: int, postgres_pid: int | None = None) -> CpuTimes:
    """The CPU times of a server's process tree so far, PostgreSQL's part apart, and our own.

    PostgreSQL is found by name in the server's tree, or is the tree of ``postgres_pid``. The
    resolution is 10 ms per process. Raises ProcessLookupError if the server is gone.
    """
    processes = _read_processes()
    if server_pid not in processes:
        raise ProcessLookupError(f"process {server_pid} is gone")
    tree = _descendants(processes, server_pid)
    is_postgres = {pid for pid in tree if processes[pid].name.startswith("postgres")}
    if postgres_pid is not None:
        is_postgres |= _descendants(processes, postgres_pid)
    own = os.times()
    return CpuTimes(
        server=sum(processes[pid].seconds for pid in tree - is_postgres),
        postgres=sum(processes[pid].seconds for pid in is_postgres),
        client=own.user + own.system,
    )


def _read_processes() -> dict[int, _Process]:
    found: dict[int, _Process] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        before, _, rest = text.rpartition(")")
        fields = rest.split()
        # Fields 14 to 17 of proc_pid_stat(5): utime, stime, cutime, cstime.
        ticks = sum(int(value) for value in fields[11:15])
        found[int(folder.name)] = _Process(
            parent=int(fields[1]), name=before.partition("(")[2], seconds=ticks / _TICKS
        )
    return found


def _descendants(processes: dict[int, _Process], root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in processes:
            found.add(pid)
            waiting += children.get(pid, [])
    return found
