"""Clients that keep their connections for many requests and never stop asking."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import orjson

from support.serverprocess import ServerProcess

_REQUEST = b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n"
_PATIENCE = 40.0
# Then a client connects anew by itself, so that each worker comes to have some of them.
_REQUESTS_PER_CONNECTION = 50


@dataclass(slots=True)
class Tally:
    """What clients saw: answers by the process that gave them, how many of these ended their
    connection, and all that went wrong."""

    answers: Counter[int] = field(default_factory=Counter)
    farewells: int = 0
    failures: list[str] = field(default_factory=list)

    async def until_answered_by(self, pids: set[int], times: int = 20) -> None:
        """Wait until each of these processes gave that many answers."""
        async with asyncio.timeout(_PATIENCE):
            while not self.failures and any(self.answers[p] < times for p in pids):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def until_event(self, server: ServerProcess, name: str) -> None:
        """Wait until the server logged an event, while the clients go on."""
        await asyncio.to_thread(server.wait_for_event, name)


@contextlib.asynccontextmanager
async def asking_clients(port: int, count: int) -> AsyncIterator[Tally]:
    """``count`` clients, each with one connection at a time that it keeps as long as it may."""
    tally = Tally()
    stopping = asyncio.Event()
    clients = [asyncio.ensure_future(_ask(port, tally, stopping)) for _ in range(count)]
    try:
        yield tally
    finally:
        stopping.set()
        await asyncio.gather(*clients)


async def _ask(port: int, tally: Tally, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            tally.failures.append(f"connecting: {error!r}")
            return
        answered = 0
        try:
            while not stopping.is_set() and answered < _REQUESTS_PER_CONNECTION:
                async with asyncio.timeout(_PATIENCE):
                    may_go_on = await _ask_once(reader, writer, tally)
                answered += 1
                if not may_go_on:
                    tally.farewells += 1
                    break
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
            tally.failures.append(f"after {answered} answers: {error!r}")
            return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _ask_once(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tally: Tally
) -> bool:
    """Whether the connection may be used again."""
    writer.write(_REQUEST)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    body = orjson.loads(await reader.readexactly(length))
    if not head.startswith("http/1.1 200 "):
        raise ValueError(head)
    tally.answers[body["pid"]] += 1
    return "\r\nconnection: close\r\n" not in head
