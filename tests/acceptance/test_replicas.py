"""Two replicas over one external PostgreSQL, behind a proxy that knows nothing of them."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from acme_server.workflow.sealing import generate_master_key
from benchmarks.client import Client, Connection, Tally
from benchmarks.lab import LabServer, free_port
from benchmarks.responder import Responder
from support.dns import DnsServer
from support.invariants import broken_invariants
from support.postgres import PostgresCluster


@dataclass(frozen=True)
class Installation:
    """Replicas that were started together on an empty database, and how they are reached."""

    replicas: Sequence[LabServer]
    directory_url: str
    responder: Responder
    database_url: str

    async def client(self) -> Client:
        """A client with an account."""
        connection = Connection(self.directory_url, self.replicas[0].tls_context())
        client = Client(connection, Tally(), self.responder.publish, self.responder.withdraw)
        await client.register(self.directory_url)
        return client


@asynccontextmanager
async def proxy(port: int, targets: Sequence[LabServer]) -> AsyncIterator[None]:
    """A TCP proxy that gives each connection to the next replica in turn."""
    count = 0

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        target = targets[count % len(targets)]
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target.port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    async with server:
        yield


@pytest.fixture
async def installation(
    postgres_cluster: PostgresCluster, empty_database: str
) -> AsyncIterator[Installation]:
    responder = Responder()
    await responder.start(0)
    port = free_port()
    async with DnsServer() as dns:
        dns.add("*.example.test", "A", "127.0.0.1")
        environment = {
            "ACME_SERVER__DATABASE__URL": postgres_cluster.app_url(empty_database),
            "ACME_SERVER__DATABASE__OWNER_URL": postgres_cluster.owner_url(empty_database),
            "ACME_SERVER__SECRETS__MASTER_KEY": "env:REPLICA_KEY",
            "REPLICA_KEY": generate_master_key(),
            "ACME_SERVER__SERVER__EXTERNAL_URL": f"https://localhost:{port}",
            "ACME_SERVER__VALIDATION__RESOLVERS": f'["{dns.endpoint}"]',
            "ACME_SERVER__VALIDATION__ALLOWED_NETWORKS": '["127.0.0.0/8"]',
            "ACME_SERVER__VALIDATION__HTTP_PORT": str(responder.port),
        }
        replicas = [LabServer(environment) for _ in range(2)]
        async with proxy(port, replicas):
            await asyncio.gather(*(asyncio.to_thread(r.__enter__) for r in replicas))
            yield Installation(
                replicas,
                f"https://localhost:{port}/directory",
                responder,
                postgres_cluster.app_url(empty_database),
            )
            for replica in replicas:
                await asyncio.to_thread(replica.__exit__, None, None, None)
    await responder.stop()


async def test_replicas_started_together_are_one_ca(installation: Installation) -> None:
    first, second = installation.replicas

    assert first.roots.read_text("ascii") == second.roots.read_text("ascii")


async def test_issuances_that_change_replicas_in_the_middle_succeed(
    installation: Installation,
) -> None:
    async def issue_all(number: int) -> Tally:
        client = await installation.client()
        for round_ in range(4):
            await client.issue(f"c{number}r{round_}.example.test")
            # The next request, with a nonce of this replica, goes to the other one.
            await client.close()
        return client.tally

    tallies = await asyncio.gather(*(issue_all(number) for number in range(4)))

    assert sum(len(tally.issuances) for tally in tallies) == 16
    assert sum(tally.nonce_retries for tally in tallies) == 0
    assert await broken_invariants(installation.database_url) == {}


async def test_replica_with_another_master_key_refuses_to_start(
    installation: Installation,
) -> None:
    environment = dict(installation.replicas[0].environment)
    stranger = LabServer()
    environment |= {
        "REPLICA_KEY": generate_master_key(),
        "ACME_SERVER__DATA_DIR": str(stranger.data_dir),
        "ACME_SERVER__SERVER__LISTEN": f"127.0.0.1:{free_port()}",
        "ACME_SERVER__SERVER__STATUS_LISTEN": f"127.0.0.1:{free_port()}",
        "ACME_SERVER__SERVER__OPS_LISTEN": f"127.0.0.1:{free_port()}",
    }

    result = await asyncio.to_thread(
        subprocess.run,
        stranger.command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode != 0
    assert "secrets.master_key" in result.stderr
    assert "Traceback" not in result.stderr
