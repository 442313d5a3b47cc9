"""PostgreSQL is stopped, killed, locked and cut off under load: nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal

import asyncpg
import pytest

from benchmarks.lab import LabServer
from storage.embedded import find_running
from support.invariants import known_serials
from support.survival import load_on, postmaster_of, settled_invariants

_CUT_SECONDS = 6.0
_TERMINATE_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid()
"""


def owner_url(server: LabServer) -> str:
    """The server's embedded database as the role that migrates."""
    running = find_running(server.data_dir)
    assert running is not None
    return running.owner_url


@pytest.mark.full
@pytest.mark.timeout(900)
async def test_database_comes_back_twenty_times() -> None:
    with LabServer() as server:
        async with load_on(server) as load:
            await load.until(lambda: len(load.serials) > 5, 60)
            for turn in range(20):
                how = signal.SIGKILL if turn % 2 else signal.SIGINT
                os.kill(postmaster_of(server), how)
                count = len(load.serials)
                await load.until(lambda: len(load.serials) > count + 3, 90)  # noqa: B023

        assert await settled_invariants(server) == {}
        assert load.serials <= await known_serials(server.database_url)


async def test_connections_cut_in_the_middle_of_statements_lose_nothing() -> None:
    with LabServer({"ACME_SERVER__SERVER__WORKERS": "2"}) as server:
        # A role may end its own sessions.
        same_role = await asyncpg.connect(server.database_url)
        async with load_on(server) as load:
            await load.until(lambda: len(load.serials) > 5, 60)
            cuts = asyncio.ensure_future(_cut_for(same_role, _CUT_SECONDS))
            await load.until(cuts.done, 60)
            count = len(load.serials)
            await load.until(lambda: len(load.serials) > count + 10, 60)
        await same_role.close()

        assert cuts.result() > 0
        assert await settled_invariants(server) == {}
        assert load.serials <= await known_serials(server.database_url)


async def test_a_locked_table_is_waited_for_and_answered_with_503() -> None:
    environment = {"ACME_SERVER__DATABASE__LOCK_TIMEOUT": "1s"}
    with LabServer(environment) as server:
        owner = await asyncpg.connect(owner_url(server))
        async with load_on(server) as load:
            await load.until(lambda: len(load.serials) > 5, 60)
            async with owner.transaction():
                await owner.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                load.failures.clear()
                await load.until(lambda: len(load.failures) > 3, 60)
            failures = list(load.failures)
            count = len(load.serials)
            await load.until(lambda: len(load.serials) > count + 5, 60)
        await owner.close()

        assert [text for text in failures if "503" not in text] == []
        assert await settled_invariants(server) == {}


async def _cut_for(connection: asyncpg.Connection, seconds: float) -> int:
    """End all connections of the server again and again; how many were ended."""
    loop = asyncio.get_running_loop()
    until_then = loop.time() + seconds
    count = 0
    while loop.time() < until_then:
        count += len(await connection.fetch(_TERMINATE_OTHERS))
        await asyncio.sleep(0.3)
    return count
