"""Clients that are slow, silent, or too many, in each phase of a connection."""

from __future__ import annotations

import asyncio
import resource

import pytest

from acme_server.web.connections import Limits
from support.edge import PATIENT, SHORT, pass_time, serve

GET = b"GET /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST_HEAD = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\r\n", id="an-empty-line"),
        pytest.param(b"POST /echo HT", id="half-a-request-line"),
        pytest.param(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nX-", id="half-a-head"),
        pytest.param(POST_HEAD, id="no-body"),
        pytest.param(POST_HEAD + b"12345", id="half-a-body"),
    ],
)
async def test_a_client_that_falls_silent_is_cut_off(sent: bytes) -> None:
    async with serve(SHORT) as served:
        wire = await served.connect()
        wire.send(sent)

        rest = await wire.rest()

    assert rest == b""


async def test_a_connection_that_rests_after_an_answer_is_closed() -> None:
    async with serve(SHORT) as served:
        wire = await served.connect()
        assert (await wire.ask(GET)).status == 200

        assert await wire.rest() == b""


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        pytest.param(b"GET /echo HTTP/1.1\r\nX-Long: ", b"a", id="head"),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n", b"b", id="body"
        ),
        pytest.param(b"", b"\r\n", id="empty-lines"),
    ],
)
async def test_a_client_that_drips_gains_no_time(start: bytes, drop: bytes) -> None:
    async with serve(SHORT) as served:
        wire = await served.connect()
        wire.send(start)
        closed = asyncio.ensure_future(wire.rest())
        async with asyncio.timeout(PATIENT):
            while not closed.done():
                wire.send(drop)
                await asyncio.wait([closed], timeout=SHORT.head / 10)

        assert closed.result() == b""


async def test_each_request_gets_the_time_anew() -> None:
    limits = Limits(first_byte=1, head=1, body=1, idle=1, response=1)
    async with serve(limits) as served:
        wire = await served.connect()
        loop = asyncio.get_running_loop()
        end = loop.time() + 2.5 * limits.idle
        statuses = set()
        while loop.time() < end:
            wire.send(POST_HEAD)
            await pass_time(limits.body / 5)
            reply = await wire.ask(b"1234567890")
            statuses.add(reply.status)

    assert statuses == {200}


async def test_a_client_that_never_reads_its_answer_is_cut_off() -> None:
    async with serve(SHORT) as served:
        wire = await served.connect(receive_buffer=65_536)
        wire.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")

        await served.until_connections(0)

        received = await wire.rest()
        assert len(received) < len(served.front_end.large)


async def test_a_slow_but_steady_reader_gets_all_of_it() -> None:
    async with serve(SHORT) as served:
        wire = await served.connect(receive_buffer=65_536)
        wire.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        received = 0
        async with asyncio.timeout(PATIENT):
            while received < len(served.front_end.large):
                received += len(await wire.reader.read(131_072))
                await pass_time(SHORT.response / 20)
        took = loop.time() - begun

    assert took > 3 * SHORT.response


async def test_silent_connections_keep_nobody_out() -> None:
    count = 2000
    _raise_descriptor_limit(2 * count + 200)
    async with serve(Limits(first_byte=PATIENT, head=PATIENT, body=PATIENT)) as served:
        wires = [await served.connect() for _ in range(count)]
        for number, wire in enumerate(wires):
            wire.send((b"", b"POST /ec", POST_HEAD)[number % 3])
        await served.until_connections(count)
        good = await served.connect()
        assert (await good.ask(GET)).status == 200

        # However long it took to open them, the time is over for all of them now.
        served.edge.limits_by_phase = SHORT.by_phase()
        rests = await asyncio.gather(*(wire.rest() for wire in wires))
        assert set(rests) == {b""}


async def test_when_there_are_too_many_the_longest_resting_makes_room() -> None:
    async with serve(Limits(max_connections=20)) as served:
        first = await served.connect()
        assert (await first.ask(GET)).status == 200
        held = await served.connect()
        held.send(b"POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await served.front_end.started.acquire()
        others = [await served.connect() for _ in range(18)]
        for other in others:
            assert (await other.ask(GET)).status == 200

        newcomer = await served.connect()
        assert (await newcomer.ask(GET)).status == 200

        assert await first.rest() == b""
        assert (await others[0].ask(GET)).status == 200
        served.front_end.may_end.set()
        assert (await held.reply()).status == 200


def _raise_descriptor_limit(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
