"""Whole issuances over loopback: certificates per second, latencies, CPU per certificate.

python -m benchmarks.issuance                       starts a server in lab mode itself
python -m benchmarks.issuance --directory URL --server-pid PID --http-port 5002
python -m benchmarks.issuance --save before.json    and later --compare before.json
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from benchmarks.client import Client, Connection, Refused, Tally
from benchmarks.lab import LabServer
from benchmarks.processes import read_cpu_times
from benchmarks.report import Report, compare, load, render, summarize
from benchmarks.responder import Responder

_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


class NotDurable(Exception):
    """The database may lose what it acknowledged; figures of it would be worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server under load. ``database_url`` None: its settings are not asked for."""

    directory_url: str
    tls: ssl.SSLContext | None
    http_port: int
    server_pid: int
    postgres_pid: int | None
    database_url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``clients`` accounts that order together ``certificates`` certificates, after a tenth of
    that as warm-up."""

    clients: int
    certificates: int
    suffix: str
    label: str = ""


async def check_durability(database_url: str | None) -> dict[str, str]:
    """The settings that make an acknowledged commit durable. Raises NotDurable."""
    if database_url is None:
        return {}
    connection = await asyncpg.connect(database_url)
    try:
        found = {name: await connection.fetchval(f"SHOW {name}") for name in _DURABLE}
    finally:
        await connection.close()
    if found != _DURABLE:
        raise NotDurable(f"the database is not durable: {found}")
    return found


async def measure(target: Target, load_: Load) -> Report:
    """Put the load on the server. Raises NotDurable; Refused if nobody can register."""
    database = await check_durability(target.database_url)
    responder = Responder()
    await responder.start(target.http_port)
    try:
        warmed = await _clients(target, load_, responder, Tally())
        await _issue_all(warmed, load_, max(load_.certificates // 10, load_.clients), Tally())
        tally = Tally()
        before, started = (
            read_cpu_times(target.server_pid, target.postgres_pid),
            time.perf_counter(),
        )
        await _issue_all(warmed, load_, load_.certificates, tally)
        seconds = time.perf_counter() - started
        cpu = read_cpu_times(target.server_pid, target.postgres_pid).since(before)
        for client in warmed:
            await client.close()
    finally:
        await responder.stop()
    count = max(len(tally.issuances), 1)
    return Report(
        label=load_.label,
        clients=load_.clients,
        certificates=len(tally.issuances),
        seconds=seconds,
        per_second=round(len(tally.issuances) / seconds, 1),
        issuance=summarize(tally.issuances),
        requests={step: summarize(values) for step, values in tally.requests.items()},
        requests_per_certificate=sum(map(len, tally.requests.values())) / count,
        polls_per_certificate=tally.polls / count,
        nonce_retries=tally.nonce_retries,
        errors=tally.errors,
        server_cpu=cpu.server * 1000 / count,
        postgres_cpu=cpu.postgres * 1000 / count,
        client_cpu=cpu.client * 1000 / count,
        database=database,
    )


async def _clients(target: Target, load_: Load, responder: Responder, tally: Tally) -> list[Client]:
    """Registered clients, each with an account and a connection of its own."""
    clients = [
        Client(
            Connection(target.directory_url, target.tls),
            tally,
            responder.publish,
            responder.withdraw,
        )
        for _ in range(load_.clients)
    ]
    for client in clients:
        await client.register(target.directory_url)
    return clients


async def _issue_all(clients: list[Client], load_: Load, count: int, tally: Tally) -> None:
    """Share ``count`` issuances among the clients; each starts its next when one has ended."""
    remaining = iter(range(count))

    async def work(client: Client) -> None:
        client.tally = tally
        for _ in remaining:
            try:
                await client.issue(f"h{os.urandom(8).hex()}.{load_.suffix}")
            except (Refused, OSError, EOFError) as error:
                what = str(error) or type(error).__name__
                tally.errors[what] = tally.errors.get(what, 0) + 1

    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(work(client))


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.issuance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clients", type=int, default=8, help="concurrent accounts (8)")
    parser.add_argument("--certificates", type=int, default=500, help="how many to issue (500)")
    parser.add_argument("--label", default="", help="a name for this run")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the run to FILE")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="show a saved run beside it")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=15.0,
        help="with --compare: fail if CPU per certificate grew by more percent (15)",
    )
    other = parser.add_argument_group("a server that runs already")
    other.add_argument("--directory", metavar="URL")
    other.add_argument("--server-pid", type=int, help="its parent process")
    other.add_argument("--postgres-pid", type=int, help="postmaster, if not a child of the server")
    other.add_argument("--database-url", help="to ask for fsync and synchronous_commit")
    other.add_argument("--http-port", type=int, default=5002, help="where it validates http-01")
    other.add_argument("--roots", type=Path, help="its roots; without them TLS is not checked")
    other.add_argument("--suffix", default="bench.localhost", help="domain of the names ordered")
    parsed = parser.parse_args(arguments)
    if parsed.directory and not parsed.server_pid:
        parser.error("--directory needs --server-pid")
    return parsed


@contextlib.contextmanager
def target_of(arguments: argparse.Namespace) -> Iterator[Target]:
    """The server named on the command line, or one of our own."""
    if arguments.directory:
        context = ssl.create_default_context(cafile=arguments.roots)
        if arguments.roots is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        yield Target(
            directory_url=arguments.directory,
            tls=context,
            http_port=arguments.http_port,
            server_pid=arguments.server_pid,
            postgres_pid=arguments.postgres_pid,
            database_url=arguments.database_url,
        )
        return
    with LabServer() as server:
        yield lab_target(server)


def lab_target(server: LabServer) -> Target:
    """A server in lab mode, its embedded PostgreSQL included."""
    return Target(
        directory_url=server.directory_url,
        tls=server.tls_context(),
        http_port=server.http_port,
        server_pid=server.pid,
        postgres_pid=None,
        database_url=server.database_url,
    )


def main() -> int:
    """The exit status: 1 for errors, or for a rise beyond the tolerance."""
    arguments = parse_arguments()
    wanted = Load(
        clients=arguments.clients,
        certificates=arguments.certificates,
        suffix=arguments.suffix,
        label=arguments.label,
    )
    with target_of(arguments) as target:
        report = asyncio.run(measure(target, wanted))
    print(render(report))
    if arguments.save:
        report.save(arguments.save)
    growth = 1.0
    if arguments.compare:
        text, growth = compare(report, load(arguments.compare))
        print(f"\n{text}")
    if report.errors or growth > 1 + arguments.tolerance / 100:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
