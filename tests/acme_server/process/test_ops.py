"""The operations listener."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from acme_server.process.metrics import ParentMetrics, Totals
from acme_server.process.ops import OpsFrontEnd, serve_ops
from support.edge import Reply, Served, listener


class Readiness:
    """What keeps the server from serving."""

    def __init__(self) -> None:
        self.reason: str | None = None

    async def __call__(self) -> str | None:
        return self.reason


@contextlib.asynccontextmanager
async def serving(readiness: Readiness) -> AsyncIterator[Served]:
    """The listener, for the length of a test."""
    sock = listener()
    port = sock.getsockname()[1]
    front_end = OpsFrontEnd(Totals(), ParentMetrics(), readiness)
    served = Served(await serve_ops(front_end, sock), port)
    try:
        yield served
    finally:
        await served.close()


async def ask(served: Served, path: str, method: str = "GET") -> Reply:
    """One answer."""
    wire = await served.connect()
    wire.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return await wire.reply(to_head=method == "HEAD")


async def test_health_is_that_of_the_process_alone() -> None:
    readiness = Readiness()
    readiness.reason = "the database does not answer"
    async with serving(readiness) as served:
        reply = await ask(served, "/healthz")

    assert (reply.status, reply.body) == (200, b"ok\n")
    assert reply.headers["cache-control"] == "no-store"


async def test_readiness_says_what_is_missing() -> None:
    readiness = Readiness()
    async with serving(readiness) as served:
        ready = await ask(served, "/readyz")
        readiness.reason = "no worker accepts connections"
        missing = await ask(served, "/readyz")

    assert (ready.status, ready.body) == (200, b"ready\n")
    assert (missing.status, missing.body) == (503, b"no worker accepts connections\n")
    assert missing.headers["retry-after"] == "1"


async def test_metrics_are_in_the_text_format() -> None:
    async with serving(Readiness()) as served:
        reply = await ask(served, "/metrics")

    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"# TYPE acme_processes gauge\n" in reply.body
    assert b'acme_processes{role="parent"} 1.0\n' in reply.body


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head_is_served(path: str) -> None:
    async with serving(Readiness()) as served:
        reply = await ask(served, path, "HEAD")

    assert reply.status == 200
    assert reply.body == b""


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/readyz/", 404), ("POST", "/healthz", 405), ("PUT", "/", 405)],
)
async def test_everything_else_is_refused(method: str, path: str, status: int) -> None:
    async with serving(Readiness()) as served:
        reply = await ask(served, path, method)

    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"
