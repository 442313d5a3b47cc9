"""CPU time is found wherever in the tree it was used."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.processes import read_cpu_times

_BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
# A parent that, when told, burns in a grandchild, which it reaps, and tells when that is over.
_PARENT = f"""
import subprocess, sys
sys.stdin.readline()
subprocess.run([sys.executable, "-c", "import subprocess, sys\\n"
    "subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)", {_BURN!r}], check=True)
print("burnt", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    """A process whose reaped grandchild used 0.3 seconds of CPU."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process


def burn(parent: subprocess.Popen[str]) -> None:
    """Have the CPU used, and wait until it is."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    parent.stdin.write("burn\n")
    parent.stdin.flush()
    assert parent.stdout.readline() == "burnt\n"


def test_reaped_grandchildren_are_counted(parent: subprocess.Popen[str]) -> None:
    before = read_cpu_times(parent.pid)
    burn(parent)

    used = read_cpu_times(parent.pid).since(before)

    assert used.server >= 0.25
    assert used.postgres == 0.0


def test_our_own_work_is_the_clients() -> None:
    before = read_cpu_times(os.getppid())
    start = time.process_time()
    while time.process_time() - start < 0.3:
        pass

    used = read_cpu_times(os.getppid()).since(before)

    assert used.client >= 0.25


def test_tree_named_as_postgres_is_counted_apart(parent: subprocess.Popen[str]) -> None:
    before = read_cpu_times(os.getpid(), parent.pid)
    burn(parent)

    used = read_cpu_times(os.getpid(), parent.pid).since(before)

    assert used.postgres >= 0.25
    assert used.server < used.postgres


def test_missing_process_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass

    with pytest.raises(ProcessLookupError, match=str(ended.pid)):
        read_cpu_times(ended.pid)
