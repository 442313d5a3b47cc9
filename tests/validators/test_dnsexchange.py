"""One question to one resolver: TCP, forgeries, floods, and queries that are hard to guess."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import pytest

from support.dns import (
    DnsServer,
    Handler,
    Question,
    damaged,
    records,
    reply,
    silent,
    truncated,
    wire,
)
from support.validation import SHORT, Lab
from validators.addresses import Endpoint
from validators.dnserrors import (
    AnswerMalformed,
    NoRecords,
    QueryTimedOut,
    ResolverUnreachable,
)
from validators.sockets import Sockets
from validators.trace import Trace

NAME = "text.example.test"
GOOD = records(f"{NAME}. TXT good")


async def txt(lab: Lab, name: str = NAME) -> tuple[bytes, ...]:
    return (await lab.resolver().txt(name, Trace())).values


async def test_a_truncated_answer_is_asked_for_over_tcp(lab: Lab, dns_server: DnsServer) -> None:
    large = " ".join(f'"{"x" * 255}"' for _ in range(235))
    dns_server.script(NAME, "TXT", truncated(records(f"{NAME}. TXT {large}")))

    values = await txt(lab)

    assert values == (b"x" * 255 * 235,)
    assert [question.transport for question in dns_server.asked] == ["udp", "tcp"]


async def test_a_truncated_answer_without_tcp_is_no_answer(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.has_tcp = False
    dns_server.script(NAME, "TXT", truncated(GOOD))

    with pytest.raises(ResolverUnreachable):
        await txt(lab)


async def test_silence_over_tcp_ends_with_the_timeout(lab: Lab, dns_server: DnsServer) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(NAME, "TXT", truncated(silent))

    with pytest.raises(QueryTimedOut):
        await txt(lab)


async def test_damage_over_tcp_is_malformed(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.script(NAME, "TXT", truncated(lambda _: [b"junk"]))

    with pytest.raises(AnswerMalformed):
        await txt(lab)


def _altered(change: Callable[[bytearray, Question], None]) -> Handler:
    """A forged answer first, and the good one after it."""

    def handle(question: Question) -> Sequence[bytes]:
        forged = bytearray(wire(reply(question, f"{NAME}. TXT forged")))
        change(forged, question)
        return [bytes(forged), wire(reply(question, f"{NAME}. TXT good"))]

    return handle


def _flip_id(message: bytearray, _: Question) -> None:
    message[1] ^= 1


def _make_query(message: bytearray, _: Question) -> None:
    message[2] &= 0x7F


def _other_opcode(message: bytearray, _: Question) -> None:
    message[2] |= 0x28


def _other_name(message: bytearray, _: Question) -> None:
    message[13] = ord("z")


def _other_type(message: bytearray, question: Question) -> None:
    message[12 + len(question.name.to_wire() or b"") + 1] = 1


def _no_question(message: bytearray, _: Question) -> None:
    message[5] = 0


def _two_questions(message: bytearray, _: Question) -> None:
    message[5] = 2


def _cut(message: bytearray, _: Question) -> None:
    del message[11:]


def _empty(message: bytearray, _: Question) -> None:
    message.clear()


def _unreadable(message: bytearray, _: Question) -> None:
    message[7] = 9


def _pointer_loop(message: bytearray, question: Question) -> None:
    owner = 12 + len(question.name.to_wire() or b"") + 4
    message[owner : owner + 2] = bytes([0xC0, owner])


FORGERIES = [
    _flip_id,
    _make_query,
    _other_opcode,
    _other_name,
    _other_type,
    _no_question,
    _two_questions,
    _cut,
    _empty,
    _unreadable,
    _pointer_loop,
]


@pytest.mark.parametrize("change", FORGERIES)
async def test_a_forged_answer_does_not_end_the_wait_for_the_good_one(
    lab: Lab, dns_server: DnsServer, change: Callable[[bytearray, Question], None]
) -> None:
    dns_server.script(NAME, "TXT", _altered(change))

    assert await txt(lab) == (b"good",)
    assert len(dns_server.asked) == 1


async def test_damaged_answers_alone_are_malformed(lab: Lab, dns_server: DnsServer) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(NAME, "TXT", lambda question: [damaged(question, f"{NAME}. TXT good")] * 3)

    with pytest.raises(AnswerMalformed):
        await txt(lab)


@pytest.mark.parametrize("count", [100, 500])
async def test_a_hundred_records_are_read_and_five_hundred_are_too_many(
    lab: Lab, dns_server: DnsServer, count: int
) -> None:
    lines = [f"{NAME}. TXT value{number}" for number in range(count)]
    dns_server.script(NAME, "TXT", truncated(records(*lines)))

    if count == 100:
        assert len(await txt(lab)) == count
    else:
        with pytest.raises(AnswerMalformed):
            await txt(lab)


async def test_junk_from_elsewhere_does_not_reach_the_query(
    lab: Lab, dns_server: DnsServer
) -> None:
    """The socket is connected: only the resolver's address and port can send to it."""
    ports: list[int] = []

    class Spoofer(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

    loop = asyncio.get_running_loop()
    spoofer, _ = await loop.create_datagram_endpoint(Spoofer, local_addr=("127.0.0.1", 0))

    class Observing(DnsServer):
        def answer(self, octets: bytes, transport: str) -> Sequence[bytes] | None:
            answers = super().answer(octets, transport)
            question = self.asked[-1]
            for port in ports:
                spoofer.sendto(wire(reply(question, f"{NAME}. TXT forged")), ("127.0.0.1", port))
            return answers

    sockets = Sockets()
    made = sockets.connect_udp

    def connect_udp(endpoint: Endpoint):  # type: ignore[no-untyped-def]
        connected = made(endpoint)
        ports.append(connected.getsockname()[1])
        return connected

    sockets.connect_udp = connect_udp  # type: ignore[method-assign]
    async with Observing() as server:
        server.script(NAME, "TXT", GOOD)
        lab.dns = (server.endpoint,)
        values = (await lab.resolver(sockets).txt(NAME, Trace())).values
    spoofer.close()

    assert values == (b"good",)
    assert len(ports) == 1


class AlwaysReadable:
    """A loop on whose sockets datagrams are always waiting."""

    async def sock_recv(self, connected: socket.socket, size: int) -> bytes:
        """Junk, at once."""
        return b"junk"


async def test_a_flood_does_not_hold_up_the_timeout(
    lab: Lab, dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(NAME, "TXT", silent)
    monkeypatch.setattr("validators.dnsexchange.asyncio.get_running_loop", AlwaysReadable)

    with pytest.raises(QueryTimedOut):
        await txt(lab)


async def test_queries_are_hard_to_guess(lab: Lab, dns_server: DnsServer) -> None:
    name = "a-long-name-with-many-letters.example.test"
    dns_server.script(name, "TXT", records(f"{name}. TXT x"))

    for _ in range(20):
        await txt(lab, name)

    assert len({question.message.id for question in dns_server.asked}) > 15
    assert len({question.name.to_text() for question in dns_server.asked}) > 15
    assert {question.text for question in dns_server.asked} == {name}


async def test_mixed_case_can_be_switched_off(lab: Lab, dns_server: DnsServer) -> None:
    lab.randomize_case = False
    dns_server.script(NAME, "TXT", GOOD)

    await txt(lab)

    assert dns_server.asked[0].name.to_text() == f"{NAME}."


async def test_a_resolver_that_loses_the_case_is_asked_over_tcp(
    lab: Lab, dns_server: DnsServer
) -> None:
    def lowering(question: Question) -> Sequence[bytes]:
        octets = bytearray(wire(reply(question, f"{NAME}. TXT good")))
        end = 12 + len(question.name.to_wire() or b"")
        octets[12:end] = octets[12:end].lower()
        return [bytes(octets)]

    name = "a-long-name-with-many-letters.example.test"
    dns_server.script(name, "TXT", lowering)
    with pytest.raises(NoRecords):
        await txt(lab, name)

    assert [question.transport for question in dns_server.asked] == ["udp", "tcp"]
