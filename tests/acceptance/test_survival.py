"""The server dies at every step of an issuance, and everything acknowledged is still there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from acme_server.workflow.faults import ENVIRONMENT, POINTS
from benchmarks.client import Client, Connection, Refused, Tally
from benchmarks.lab import LabServer
from benchmarks.responder import Responder
from policy.model.errors import DatabaseUnavailable
from support.invariants import broken_invariants, known_serials

CLIENTS = 4
# Claims outlive their process by up to this, then others take over.
_TAKEOVER_SECONDS = 90


class Load:
    """Clients that issue certificates on and on, whatever happens to them in between."""

    def __init__(self, server: LabServer, responder: Responder) -> None:
        self._server = server
        self._responder = responder
        self.serials: set[int] = set()
        self.failures: list[str] = []
        self._count = 0

    async def until(self, is_enough: Callable[[], bool], seconds: float) -> None:
        """Keep issuing until ``is_enough``; the test fails if that takes too long."""
        async with asyncio.timeout(seconds):
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(self._issue(is_enough))

    async def _issue(self, is_enough: Callable[[], bool]) -> None:
        client: Client | None = None
        while not is_enough():
            try:
                client = client or await self._new_client()
                self._count += 1
                pem = await client.issue(f"n{self._count}.localhost")
                self.serials.add(x509.load_pem_x509_certificate(pem).serial_number)
            except (OSError, EOFError, Refused, KeyError, ValueError) as error:
                self.failures.append(repr(error))
                if client is not None:
                    await client.close()
                client = None
                await asyncio.sleep(0.1)
        if client is not None:
            await client.close()

    async def _new_client(self) -> Client:
        url = self._server.directory_url
        connection = Connection(url, self._server.tls_context())
        client = Client(connection, Tally(), self._responder.publish, self._responder.withdraw)
        try:
            await client.register(url)
        except BaseException:
            await client.close()
            raise
        return client


@contextlib.asynccontextmanager
async def load_on(server: LabServer) -> AsyncIterator[Load]:
    """Load on a server, with its responder."""
    responder = Responder()
    await responder.start(server.http_port)
    try:
        yield Load(server, responder)
    finally:
        await responder.stop()


async def settled_invariants(server: LabServer) -> dict[str, int]:
    """The broken invariants once takeover had its time; empty as soon as none is broken."""
    broken: dict[str, int] = {"not looked at": 1}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_TAKEOVER_SECONDS):
            while broken:
                await asyncio.sleep(1)
                with contextlib.suppress(DatabaseUnavailable, OSError):
                    broken = await broken_invariants(server.database_url)
    return broken


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


async def test_death_at_every_step_loses_nothing_and_leaves_nothing_hanging(
    open_folder: Path,
) -> None:
    flags = {point: open_folder / point for point in POINTS}
    faults = ",".join(f"{point}=kill@{flag}" for point, flag in flags.items())
    environment = {
        ENVIRONMENT: faults,
        "ACME_SERVER__SERVER__WORKERS": "2",
        "ACME_SERVER__VALIDATION__DEADLINE": "6s",
    }
    with LabServer(environment) as server:
        async with load_on(server) as load:
            await load.until(lambda: all(flag.exists() for flag in flags.values()), 120)
            before = len(load.serials)
            await load.until(lambda: len(load.serials) > before + 10, 60)

        assert await settled_invariants(server) == {}
        assert load.failures
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
                os.kill(_postmaster(server), signal.SIGKILL)
                count = len(load.serials)
                await load.until(lambda: len(load.serials) > count + 5, 90)  # noqa: B023

        assert await settled_invariants(server) == {}
        assert load.serials <= await known_serials(server.database_url)


async def test_killed_parent_takes_all_with_it_and_the_next_start_needs_no_help() -> None:
    with LabServer() as server:
        async with load_on(server) as load:
            await load.until(lambda: len(load.serials) > 5, 60)
            family = [*children_of(server.pid), _postmaster(server)]
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


def _postmaster(server: LabServer) -> int:
    text = (server.data_dir / "postgres" / "postmaster.pid").read_text("ascii")
    return int(text.split()[0])


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
