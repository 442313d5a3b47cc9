"""The end of a process: nobody's request is lost on the way out."""

from __future__ import annotations

import asyncio

import pytest

from acme_server.web.connections import Limits
from support.edge import PATIENT, ServedPlainly, Wire, serve

GET = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"
HELD = b"POST /held HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"
# Longer than any test: what ends within it ended for another reason.
LONG = 3600.0


async def test_a_drained_edge_accepts_nothing_new() -> None:
    async with serve(Limits()) as served:
        await served.edge.drain(LONG)

        with pytest.raises(ConnectionRefusedError):
            await served.connect()


async def test_a_request_under_way_is_answered_and_the_connection_ends() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        wire.send(HELD)
        await served.front_end.started.acquire()
        drained = asyncio.ensure_future(served.edge.drain(LONG))
        served.front_end.may_end.set()
        reply = await wire.reply()

        assert (reply.status, reply.body) == (200, b"x")
        assert reply.headers["connection"] == "close"
        assert await wire.rest() == b""
        async with asyncio.timeout(PATIENT):
            await drained


async def test_a_resting_connection_is_kept_until_it_is_used() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        fresh = await served.connect()
        assert (await wire.ask(GET)).status == 200
        drained = asyncio.ensure_future(served.edge.drain(LONG))
        replies = [await wire.ask(GET), await fresh.ask(GET)]

        assert [(reply.status, reply.headers["connection"]) for reply in replies] == [
            (200, "close"),
            (200, "close"),
        ]
        await wire.close()
        await fresh.close()
        async with asyncio.timeout(PATIENT):
            await drained


async def test_resting_connections_are_closed_when_the_time_is_over() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        assert (await wire.ask(GET)).status == 200
        async with asyncio.timeout(PATIENT):
            await served.edge.drain(0.1)

        assert await wire.rest() == b""
        assert served.edge.connections == 0


async def test_a_request_under_way_outlives_the_time_of_the_drain() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        resting = await served.connect()
        wire.send(HELD)
        await served.front_end.started.acquire()
        drained = asyncio.ensure_future(served.edge.drain(0.1))
        assert await resting.rest() == b""
        assert not drained.done()

        served.front_end.may_end.set()
        assert (await wire.reply()).status == 200


async def test_what_never_ends_is_cut_at_last() -> None:
    async with serve(Limits(response=0.3)) as served:
        wire = await served.connect()
        wire.send(HELD)
        await served.front_end.started.acquire()
        async with asyncio.timeout(PATIENT):
            await served.edge.drain(0.1)

        assert await wire.rest() == b""


async def test_draining_under_load_loses_no_answer() -> None:
    """Clients that keep asking until told to stop: each request sent is answered, unless the
    server had said that it closes."""
    async with serve(Limits()) as served:
        clients = [asyncio.ensure_future(_ask_until_told(served)) for _ in range(50)]
        async with asyncio.timeout(PATIENT):
            while len(served.front_end.seen) < 1000:
                await asyncio.wait(clients, timeout=0.01)
            await served.edge.drain(LONG)
            outcomes = await asyncio.gather(*clients)

    assert outcomes == ["told to close"] * 50


async def test_pipelined_requests_behind_the_last_answer_do_not_destroy_it() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()
        wire.send(HELD)
        await served.front_end.started.acquire()
        wire.send(GET * 5000)
        drained = asyncio.ensure_future(served.edge.drain(LONG))
        served.front_end.may_end.set()
        reply = await wire.reply()

        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await wire.rest() == b""
        await wire.close()
        async with asyncio.timeout(PATIENT):
            await drained


async def _ask_until_told(served: ServedPlainly) -> str:
    wire: Wire = await served.connect()
    while True:
        try:
            reply = await wire.ask(GET)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            return f"lost: {error!r}"
        if reply.headers.get("connection") == "close":
            await wire.close()
            return "told to close"
