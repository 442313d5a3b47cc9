"""Mutated requests: whatever they become, the edge stays in one piece and its word is HTTP."""

from __future__ import annotations

import asyncio
import random

import pytest
from structlog.testing import capture_logs

from acme_server.web.connections import Limits
from support.edge import ServedPlainly, serve

SEEDS = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
)
BITS = (b"\r\n", b"\r", b"\n", b"\x00", b" ", b":", b"0", b"9" * 30, b"Content-Length: 1\r\n")
FAST = Limits(first_byte=0.2, head=0.2, body=0.2, idle=0.2, response=0.2, linger=0.1)


def mutated(rng: random.Random) -> bytes:
    """One to three requests, damaged in a few places."""
    octets = bytearray(b"".join(rng.choices(SEEDS, k=rng.randint(1, 3))))
    for _ in range(rng.randint(0, 4)):
        position = rng.randrange(len(octets))
        choice = rng.randrange(4)
        if choice == 0:
            octets[position] = rng.randrange(256)
        elif choice == 1:
            octets[position:position] = rng.choice(BITS)
        elif choice == 2:
            del octets[position : position + rng.randint(1, 6)]
        else:
            end = position + rng.randint(1, 40)
            octets[position:position] = octets[position:end]
        octets = octets or bytearray(b"x")
    return bytes(octets)


@pytest.mark.parametrize("seed", range(4))
async def test_mutated_requests_break_nothing(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(seed)
    failures: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    with capture_logs() as events:
        async with serve(FAST) as served:
            for _ in range(10):
                inputs = [mutated(rng) for _ in range(25)]
                outputs = await asyncio.gather(*(_feed(served, rng, each) for each in inputs))
                for sent, received in zip(inputs, outputs, strict=True):
                    assert received == b"" or received.startswith(b"HTTP/1.1 "), sent
                    assert b"HTTP/1.1 5" not in received, sent
            await served.until_connections(0)
            assert (await (await served.connect()).ask(SEEDS[0])).status == 200

    assert failures == []
    assert caplog.records == []
    assert {event["log_level"] for event in events} <= {"info"}


async def _feed(served: ServedPlainly, rng: random.Random, octets: bytes) -> bytes:
    """Send in one piece or in two."""
    cut = rng.choice((len(octets), rng.randint(0, len(octets))))
    wire = await served.connect()
    wire.send(octets[:cut])
    await asyncio.wait([asyncio.ensure_future(wire.writer.drain())])
    wire.send(octets[cut:])
    return await wire.rest()
