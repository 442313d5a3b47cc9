"""Talking to an embedded database, and processes that use one and are killed."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from storage.embedded import EmbeddedPostgres
from support.checkout import ROOT
from support.postgres import run_apart

PATIENCE = 30.0

# A server: starts the database, writes one row that is acknowledged, and waits.
SERVER = """
import sys
from pathlib import Path
import structlog
from storage.embedded import EmbeddedPostgres
from support.embedded import query
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
database = EmbeddedPostgres(Path(sys.argv[1]), bin_dir=Path(sys.argv[2]))
database.start()
query(database.owner_url, "CREATE TABLE acknowledged AS SELECT 1 AS answer")
print(database.pid, flush=True)
sys.stdin.read()
database.stop()
"""

# A command: joins or starts the database, and leaves when its standard input ends.
COMMAND = """
import sys
from pathlib import Path
from storage.embedded import join_or_start
with join_or_start(Path(sys.argv[1]), bin_dir=Path(sys.argv[2])) as running:
    print(running.app_url, flush=True)
    sys.stdin.read()
"""


def make_open_directory() -> Path:
    """A short directory that other accounts may pass through, unlike pytest's own.

    In memory where there is room, since these databases write through to the disk.
    """
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    path = Path(tempfile.mkdtemp(prefix="acme-test-", dir=memory if is_roomy else None))
    path.chmod(0o711)
    return path


def query(url: str, sql: str) -> object:
    """The first value of the first row."""
    return run_apart(_query(url, sql))


async def _query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url, timeout=PATIENCE)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@contextmanager
def running_script(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A script of this module as a process; killed at the end if it still runs."""
    path = [ROOT, ROOT / "tests", *filter(None, [os.environ.get("PYTHONPATH")])]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    """The next line of a script's output."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "the script ended early"
    return line


def wait_for_end(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], PATIENCE)
    finally:
        os.close(descriptor)
    assert ended, f"{pid} still runs"


def poll_until_up(database: EmbeddedPostgres, *, after: int | None) -> None:
    """Poll until PostgreSQL takes connections in another process than ``after``."""
    deadline = time.monotonic() + PATIENCE
    while not (database.poll() and database.pid != after):
        assert time.monotonic() < deadline, "PostgreSQL did not come back"
        time.sleep(0.005)


def kill_postmaster(database: EmbeddedPostgres) -> int:
    """SIGKILL, as the kernel does when memory is out; the pid that was."""
    pid = database.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def mode_of(path: Path) -> int:
    """The permission bits."""
    return path.stat().st_mode & 0o7777
