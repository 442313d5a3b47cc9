"""The server dies at every step of an issuance, and everything acknowledged is still there."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from acme_server.workflow.faults import ENVIRONMENT, POINTS
from benchmarks.lab import LabServer
from support.invariants import known_serials
from support.survival import load_on, postmaster_of, settled_invariants


def children_of(pid: int) -> list[int]:
    """The live children of a process."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(child) for child in text.split()]


def children_running(server: LabServer, module: str) -> list[int]:
    """The server's child processes that run ``acme_server.process.MODULE``."""
    found = []
    for pid in children_of(server.pid):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if f"acme_server.process.{module}".encode() in command:
            found.append(pid)
    return found


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder in which the server's account may make files, too."""
    folder = Path(tempfile.mkdtemp(prefix="acme-flags-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("action", ["kill", "error", "delay"])
async def test_a_fault_at_every_step_loses_nothing_and_leaves_nothing_hanging(
    open_folder: Path, action: str
) -> None:
    flags = {point: open_folder / point for point in POINTS}
    faults = ",".join(f"{point}={action}@{flag}" for point, flag in flags.items())
    environment = {
        ENVIRONMENT: faults,
        "ACME_SERVER__SERVER__WORKERS": "2",
        "ACME_SERVER__VALIDATION__DEADLINE": "6s",
    }
    with LabServer(environment) as server:
        async with load_on(server, has_defects=action == "error") as load:
            await load.until(lambda: all(flag.exists() for flag in flags.values()), 120)
            before = len(load.serials)
            await load.until(lambda: len(load.serials) > before + 10, 60)

        assert await settled_invariants(server) == {}
        # Nobody sees a delay; the rest ends requests, or the connections of a worker.
        assert bool(load.failures) == (action != "delay")
        assert load.serials <= await known_serials(server.database_url)


@pytest.mark.parametrize("module", ["worker", "background"])
async def test_killed_children_are_replaced_under_load(module: str) -> None:
    with LabServer({"ACME_SERVER__SERVER__WORKERS": "2"}) as server:
        async with load_on(server) as load:
            await load.until(lambda: len(load.serials) > 5, 60)
            before = set(children_running(server, module))
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            count = len(load.serials)
            await load.until(lambda: len(load.serials) > count + 10, 60)

        assert len(children_running(server, module)) == len(before)
        assert not before & set(children_running(server, module))
        assert await settled_invariants(server) == {}
        assert load.serials <= await known_serials(server.database_url)


async def test_killed_database_comes_back_by_itself_under_load() -> None:
    with LabServer() as server:
        async with load_on(server) as load:
            await load.until(lambda: len(load.serials) > 5, 60)
            for _ in range(3):
                os.kill(postmaster_of(server), signal.SIGKILL)
                count = len(load.serials)
                await load.until(lambda: len(load.serials) > count + 5, 90)  # noqa: B023

        assert await settled_invariants(server) == {}
        assert load.serials <= await known_serials(server.database_url)


async def test_killed_parent_takes_all_with_it_and_the_next_start_needs_no_help() -> None:
    with LabServer() as server:
        async with load_on(server) as load:
            await load.until(lambda: len(load.serials) > 5, 60)
            family = [*children_of(server.pid), postmaster_of(server)]
            server.end(signal.SIGKILL)
            await asyncio.to_thread(_wait_until_gone, family)
            await asyncio.to_thread(server.start)
            count = len(load.serials)
            await load.until(lambda: len(load.serials) > count + 5, 60)

        assert await settled_invariants(server) == {}
        assert load.serials <= await known_serials(server.database_url)


async def test_second_server_on_the_same_data_directory_is_refused_by_name() -> None:
    with LabServer() as server:
        second = LabServer({"ACME_SERVER__DATA_DIR": str(server.data_dir)})
        result = await asyncio.to_thread(
            subprocess.run,
            second.command,
            env=second.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert result.returncode != 0
        assert str(server.data_dir) in result.stderr
        assert str(server.pid) in result.stderr
        assert "Traceback" not in result.stderr


async def test_wrong_master_key_is_refused_and_nothing_is_changed() -> None:
    with LabServer() as server:
        assert server.stop() == 0
        key_file = server.data_dir / "master_key"
        right = key_file.read_text("ascii")
        key_file.write_text("A" * 43 + "\n", "ascii")

        result = await asyncio.to_thread(
            subprocess.run,
            server.command,
            env=server.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert result.returncode != 0
        assert "secrets.master_key" in result.stderr
        assert "Traceback" not in result.stderr
        key_file.write_text(right, "ascii")
        await asyncio.to_thread(server.start)


def _wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text("ascii")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
