"""Clients that go on issuing while the server is maltreated, and the judgement afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from cryptography import x509

from benchmarks.client import Client, Connection, Refused, Tally
from benchmarks.lab import LabServer
from benchmarks.responder import Responder
from policy.model.errors import DatabaseUnavailable
from support.invariants import broken_invariants

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
            except (OSError, EOFError, Refused) as error:
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
async def load_on(server: LabServer, *, has_defects: bool = False) -> AsyncIterator[Load]:
    """Load on a server, with its responder. The test fails if the server ever answered 500,
    unless it ``has_defects`` by intent."""
    responder = Responder()
    await responder.start(server.http_port)
    load = Load(server, responder)
    try:
        yield load
    finally:
        await responder.stop()
    defects = [failure for failure in load.failures if ": 500 " in failure]
    assert has_defects or defects == []


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


def postmaster_of(server: LabServer) -> int:
    """The process id of the embedded PostgreSQL."""
    text = (server.data_dir / "postgres" / "postmaster.pid").read_text("ascii")
    return int(text.split()[0])
