"""Requests per address: exact, cheap, bounded, and blind to what untrusted headers say."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from acme_server.web.addresses import ClientAddresses
from acme_server.web.connections import Limits
from acme_server.web.ratelimit import RequestLimit
from policy.model.errors import ErrorKind, ServerError
from support.edge import Wire, serve

SECOND = 1_000_000_000
REQUEST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n%s\r\nhi"


class Clock:
    """Time that a test lets pass."""

    def __init__(self) -> None:
        self.now = 12_345

    def __call__(self) -> int:
        return self.now


def admitted(limit: RequestLimit, address: str, count: int) -> int:
    """How many of ``count`` requests are let through."""
    passed = 0
    for _ in range(count):
        try:
            limit.take(address)
        except ServerError as error:
            assert error.kind is ErrorKind.RATE_LIMITED  # noqa: PT017 - the others are counted
        else:
            passed += 1
    return passed


@pytest.mark.parametrize(("burst", "period"), [(1, 1.0), (3, 1.0), (7, 10.0), (1000, 3.0)])
def test_exactly_the_burst_is_admitted_and_then_one_per_step(burst: int, period: float) -> None:
    clock = Clock()
    limit = RequestLimit(burst, period, clock=clock)
    step = -(-int(period * SECOND) // burst)

    at_once = admitted(limit, "192.0.2.1", burst + 5)
    clock.now += step - 1
    early = admitted(limit, "192.0.2.1", 1)
    clock.now += 1
    in_time = admitted(limit, "192.0.2.1", 2)
    clock.now += step * burst
    later = admitted(limit, "192.0.2.1", burst + 5)

    assert (at_once, early, in_time, later) == (burst, 0, 1, burst)


def test_who_is_refused_is_told_when_to_come_again() -> None:
    clock = Clock()
    limit = RequestLimit(2, 60, clock=clock)
    admitted(limit, "192.0.2.1", 2)
    clock.now += 1

    with pytest.raises(ServerError) as caught:
        limit.take("192.0.2.1")
    clock.now += 30 * SECOND - 1
    limit.take("192.0.2.1")

    assert caught.value.retry_after == 30
    assert "192.0.2.1 (requests_per_address); try again in 30 seconds" in caught.value.detail


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
        ("a:b", "a:c", False),
    ],
)
def test_what_counts_as_one_address(first: str, second: str, is_same: bool) -> None:
    limit = RequestLimit(1, 60, clock=Clock())
    limit.take(first)

    assert admitted(limit, second, 1) == (0 if is_same else 1)


def test_memory_is_bounded_and_the_quiet_are_forgotten_first() -> None:
    limit = RequestLimit(1, 3600, max_entries=100, clock=Clock())
    limit.take("192.0.2.1")
    for number in range(10_000):
        limit.take(f"10.0.{number // 256}.{number % 256}")
        # Refused, but not quiet.
        assert admitted(limit, "192.0.2.1", 1) == 0

    assert len(limit) == 100
    assert admitted(limit, "10.0.0.0", 1) == 1


async def statuses(wire: Wire, count: int, headers: bytes = b"") -> list[int]:
    """The answers to some requests on one connection."""
    return [(await wire.ask(REQUEST % headers)).status for _ in range(count)]


async def test_refused_requests_are_answered_and_the_connection_stays() -> None:
    async with serve(Limits(), request_limit=RequestLimit(2, 3600)) as served:
        wire = await served.connect()
        await statuses(wire, 2)

        refused = await wire.ask(REQUEST % b"")
        again = await wire.ask(REQUEST % b"")

    assert refused.problem()["type"] == "urn:ietf:params:acme:error:rateLimited"
    assert (refused.status, again.status) == (429, 429)
    assert refused.headers["retry-after"] == "1800"
    assert refused.headers["x-completed"] == "yes"
    assert len(served.front_end.seen) == 2


async def test_a_body_of_a_refused_request_is_not_read() -> None:
    async with serve(Limits(), request_limit=RequestLimit(1, 3600)) as served:
        wire = await served.connect()
        await statuses(wire, 1)

        refused = await wire.ask(
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n"
        )

        assert refused.status == 429
        assert refused.headers["connection"] == "close"
        assert await wire.rest() == b""


async def test_a_forged_header_opens_no_second_bucket() -> None:
    async with serve(Limits(), request_limit=RequestLimit(2, 3600)) as served:
        wire = await served.connect()

        answers = [
            (await statuses(wire, 1, b"X-Forwarded-For: 203.0.113.%d\r\n" % number))[0]
            for number in range(4)
        ]

    assert answers == [200, 200, 429, 429]


async def test_clients_behind_a_trusted_proxy_are_counted_apart() -> None:
    trusting = ClientAddresses([ip_network("127.0.0.0/8")])
    limit = RequestLimit(1, 3600)
    async with serve(Limits(), addresses=trusting, request_limit=limit) as served:
        wire = await served.connect()

        answers = [
            await statuses(wire, 2, b"X-Forwarded-For: %s, 203.0.113.%d\r\n" % (forged, number))
            for number, forged in ((1, b"192.0.2.1"), (2, b"192.0.2.2"))
        ]

    assert answers == [[200, 429], [200, 429]]


async def test_without_a_limit_none_is_refused() -> None:
    async with serve(Limits()) as served:
        wire = await served.connect()

        assert set(await statuses(wire, 200)) == {200}
