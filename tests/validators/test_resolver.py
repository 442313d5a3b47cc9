"""The resolver against a DNS server that lies, stalls and floods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path

import dns.flags
import dns.rdataclass
import dns.rrset
import pytest

from support.dns import (
    DnsServer,
    Handler,
    Question,
    failing,
    in_turn,
    records,
    reply,
    silent,
    truncated,
    wire,
)
from support.targets import closed_port
from support.validation import SHORT, Lab
from validators.addresses import Endpoint
from validators.dnserrors import (
    AnswerMalformed,
    ChainTooLong,
    DnsError,
    NameMissing,
    NameUnusable,
    NoRecords,
    QueryRefused,
    QueryTimedOut,
    ResolverUnreachable,
    ServerFailure,
)
from validators.nameservers import DEFAULT_SERVERS, SystemServers, parse_resolv_conf
from validators.resolver import DnsSettings, Resolver
from validators.sockets import Sockets
from validators.trace import Trace

NAME = "text.example.test"
GOOD = records(f"{NAME}. TXT good")


async def txt(lab: Lab, name: str = NAME) -> tuple[bytes, ...]:
    return (await lab.resolver().txt(name, Trace())).values


def damaged(question: Question) -> bytes:
    """A good answer that announces more records than it has."""
    octets = bytearray(wire(reply(question, f"{NAME}. TXT good")))
    octets[7] = 9
    return bytes(octets)


async def test_records_are_found_and_their_strings_joined(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(NAME, "TXT", '"one"', '"two" "parts"', r'"\255\000"')

    assert set(await txt(lab)) == {b"one", b"twoparts", b"\xff\x00"}


ENDINGS: dict[str, tuple[Handler, type[DnsError]]] = {
    "NXDOMAIN": (failing("NXDOMAIN"), NameMissing),
    "no records": (records(), NoRecords),
    "other records only": (records(f"{NAME}. A 127.0.0.2"), NoRecords),
    "SERVFAIL": (failing("SERVFAIL"), ServerFailure),
    "REFUSED": (failing("REFUSED"), QueryRefused),
    "FORMERR": (failing("FORMERR"), ServerFailure),
    "NOTIMP": (failing("NOTIMP"), ServerFailure),
    "NXDOMAIN with the record": (
        lambda question: [wire(reply(question, f"{NAME}. TXT good", rcode="NXDOMAIN"))],
        NameMissing,
    ),
    "SERVFAIL with the record": (
        lambda question: [wire(reply(question, f"{NAME}. TXT good", rcode="SERVFAIL"))],
        ServerFailure,
    ),
    "SERVFAIL without the question": (
        lambda question: [wire(reply(question, rcode="SERVFAIL"))[:2] + b"\x80\x02" + bytes(8)],
        ServerFailure,
    ),
    "another owner": (records("other.example.test. TXT good"), NoRecords),
    "the parent": (records("example.test. TXT good"), NoRecords),
    "an alias of another name": (
        records("other.example.test. CNAME good.test.", "good.test. TXT good"),
        NoRecords,
    ),
    "an alias of itself": (records(f"{NAME}. CNAME {NAME}."), ChainTooLong),
    "two aliases of each other": (
        records(f"{NAME}. CNAME other.test.", f"other.test. CNAME {NAME}."),
        ChainTooLong,
    ),
    "an alias of a missing name": (
        lambda question: [wire(reply(question, f"{NAME}. CNAME x.test.", rcode="NXDOMAIN"))],
        NameMissing,
    ),
}


@pytest.mark.parametrize(("handler", "error"), ENDINGS.values(), ids=ENDINGS)
async def test_each_ending_has_its_error(
    lab: Lab, dns_server: DnsServer, handler: Handler, error: type[DnsError]
) -> None:
    dns_server.script(NAME, "TXT", handler)

    with pytest.raises(DnsError) as raised:
        await txt(lab)

    assert type(raised.value) is error
    assert (raised.value.name, raised.value.type) == (NAME, "TXT")


async def test_a_record_of_another_class_is_ignored(lab: Lab, dns_server: DnsServer) -> None:
    def chaos(question: Question) -> Sequence[bytes]:
        message = reply(question)
        message.answer.append(dns.rrset.from_text(question.name, 60, "CH", "TXT", "good"))
        return [wire(message)]

    dns_server.script(NAME, "TXT", chaos)

    with pytest.raises(NoRecords):
        await txt(lab)


async def test_silence_ends_with_the_timeout(lab: Lab, dns_server: DnsServer) -> None:
    lab.dns_timeout = SHORT
    lab.dns_rounds = 2
    dns_server.script(NAME, "TXT", silent)

    with pytest.raises(QueryTimedOut):
        await txt(lab)

    assert len(dns_server.asked) == 2


async def test_a_lookup_has_a_lifetime(lab: Lab, dns_server: DnsServer) -> None:
    lab.dns_lifetime = SHORT
    dns_server.script(NAME, "TXT", silent)

    with pytest.raises(QueryTimedOut):
        await txt(lab)

    assert len(dns_server.asked) == 1


async def test_a_resolver_that_is_down_is_told_apart(lab: Lab) -> None:
    lab.dns = (closed_port("127.0.0.1"),)

    with pytest.raises(ResolverUnreachable):
        await txt(lab)


FIRST: dict[str, Handler] = {
    "SERVFAIL": failing("SERVFAIL"),
    "REFUSED": failing("REFUSED"),
    "silence": silent,
    "damage": lambda question: [damaged(question)],
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST)
async def test_the_next_server_is_asked_after_a_failure(
    lab: Lab, dns_server: DnsServer, first: Handler
) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(NAME, "TXT", first)
    async with DnsServer() as second:
        second.script(NAME, "TXT", GOOD)
        lab.dns = (dns_server.endpoint, second.endpoint)
        values = await txt(lab)

    assert values == (b"good",)
    assert (len(dns_server.asked), len(second.asked)) == (1, 1)


@pytest.mark.parametrize("rcode", ["NXDOMAIN", "NOERROR"])
async def test_the_next_server_is_not_asked_after_an_answer(
    lab: Lab, dns_server: DnsServer, rcode: str
) -> None:
    dns_server.script(NAME, "TXT", failing(rcode))
    async with DnsServer() as second:
        second.script(NAME, "TXT", GOOD)
        lab.dns = (dns_server.endpoint, second.endpoint)
        with pytest.raises((NameMissing, NoRecords)):
            await txt(lab)

    assert second.asked == []


async def test_what_a_server_said_counts_more_than_silence(lab: Lab, dns_server: DnsServer) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(NAME, "TXT", in_turn(failing("SERVFAIL"), silent))
    lab.dns_rounds = 2

    with pytest.raises(ServerFailure):
        await txt(lab)


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
    dns_server.script(NAME, "TXT", lambda question: [damaged(question)] * 3)

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


async def test_a_flood_does_not_hold_up_the_timeout(lab: Lab, dns_server: DnsServer) -> None:
    """With datagrams always waiting, a loop that never yields could not time out."""
    lab.dns_timeout = SHORT
    stopped = asyncio.Event()

    async def flood(addr: tuple[str, int]) -> None:
        while not stopped.is_set():
            for _ in range(50):
                dns_server._udp.sendto(b"junk", addr)
            await asyncio.sleep(0)

    floods: list[asyncio.Task[None]] = []
    protocol = dns_server._udp.get_protocol()
    protocol.datagram_received = lambda _, addr: floods.append(  # type: ignore[attr-defined]
        asyncio.get_running_loop().create_task(flood(addr))
    )
    with pytest.raises(QueryTimedOut):
        await txt(lab)
    stopped.set()
    await asyncio.gather(*floods)


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


async def test_aliases_are_followed_within_an_answer(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add(NAME, "CNAME", "one.test")
    dns_server.add("one.test", "CNAME", "two.test")
    dns_server.add("two.test", "TXT", "good")

    assert await txt(lab) == (b"good",)
    assert len(dns_server.asked) == 1


async def test_an_alias_that_the_resolver_left_open_is_asked_for(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.script(NAME, "TXT", records(f"{NAME}. CNAME one.test."))
    dns_server.script("one.test", "TXT", records("one.test. TXT good"))

    assert await txt(lab) == (b"good",)
    assert dns_server.names_asked("TXT") == [NAME, "one.test"]


@pytest.mark.parametrize("length", [10, 11])
async def test_a_chain_of_ten_aliases_is_the_limit(
    lab: Lab, dns_server: DnsServer, length: int
) -> None:
    names = [NAME, *(f"{number}.test" for number in range(1, length + 1))]
    for name, target in pairwise(names):
        dns_server.script(name, "TXT", records(f"{name}. CNAME {target}."))
    dns_server.script(names[-1], "TXT", records(f"{names[-1]}. TXT good"))

    if length == 10:
        assert await txt(lab) == (b"good",)
    else:
        with pytest.raises(ChainTooLong):
            await txt(lab)


@pytest.mark.parametrize(
    "name",
    ["x" * 64 + ".test", ".".join(["x" * 60] * 5), "a..test", "", ".", "ü.test"],
)
async def test_a_name_that_cannot_be_asked_for_is_an_error_of_its_own(
    lab: Lab, dns_server: DnsServer, name: str
) -> None:
    with pytest.raises(NameUnusable):
        await txt(lab, name)

    assert dns_server.asked == []


async def test_both_kinds_of_addresses_are_found(lab: Lab, dns_server: DnsServer) -> None:
    dns_server.add("both.test", "AAAA", "2001:db8::1")
    dns_server.add("both.test", "A", "192.0.2.1", "192.0.2.2")

    found = await lab.resolver().addresses("both.test", Trace())

    assert found.ipv6 == (ip_address("2001:db8::1"),)
    assert set(found.ipv4) == {ip_address("192.0.2.1"), ip_address("192.0.2.2")}


@pytest.mark.parametrize("failure", [failing("SERVFAIL"), failing("NXDOMAIN"), records(), silent])
async def test_one_kind_of_addresses_is_enough(
    lab: Lab, dns_server: DnsServer, failure: Handler
) -> None:
    lab.dns_timeout = SHORT
    dns_server.script("one.test", "AAAA", failure)
    dns_server.script("one.test", "A", records("one.test. A 192.0.2.1"))

    found = await lab.resolver().addresses("one.test", Trace())

    assert (found.ipv6, found.ipv4) == ((), (ip_address("192.0.2.1"),))


@pytest.mark.parametrize(
    ("aaaa", "a", "error"),
    [
        (records(), records(), NoRecords),
        (failing("NXDOMAIN"), failing("NXDOMAIN"), NameMissing),
        (failing("NXDOMAIN"), records(), NameMissing),
        (records(), failing("SERVFAIL"), ServerFailure),
        (failing("SERVFAIL"), failing("NXDOMAIN"), ServerFailure),
        (failing("REFUSED"), silent, QueryRefused),
        (silent, records(), QueryTimedOut),
    ],
)
async def test_without_addresses_the_most_telling_error_is_raised(
    lab: Lab, dns_server: DnsServer, aaaa: Handler, a: Handler, error: type[DnsError]
) -> None:
    lab.dns_timeout = SHORT
    dns_server.script("none.test", "AAAA", aaaa)
    dns_server.script("none.test", "A", a)

    with pytest.raises(DnsError) as raised:
        await lab.resolver().addresses("none.test", Trace())

    assert type(raised.value) is error


async def test_the_answer_may_claim_to_be_authentic_and_nothing_changes(
    lab: Lab, dns_server: DnsServer
) -> None:
    def claiming(question: Question) -> Sequence[bytes]:
        message = reply(question, "other.test. TXT good")
        message.flags |= dns.flags.AD | dns.flags.AA
        return [wire(message)]

    dns_server.script(NAME, "TXT", claiming)

    with pytest.raises(NoRecords):
        await txt(lab)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 192.0.2.1\n", ["192.0.2.1:53"]),
        ("# x\nsearch a b\nnameserver\t2001:db8::1  # y\n", ["[2001:db8::1]:53"]),
        ("nameserver fe80::1%eth0", ["[fe80::1%eth0]:53"]),
        ("nameserver 10.0.0.1\n" * 5, ["10.0.0.1:53"] * 3),
        ("nameserver\nnameserver example.test\nnameservers 10.0.0.1\n;nameserver 10.0.0.1", None),
        ("", None),
    ],
)
def test_resolv_conf_is_read_for_its_servers_only(text: str, expected: list[str] | None) -> None:
    assert [str(server) for server in parse_resolv_conf(text)] == (
        expected or [str(server) for server in DEFAULT_SERVERS]
    )


def test_resolv_conf_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    servers = SystemServers(path)
    assert servers.current() == DEFAULT_SERVERS

    path.write_text("nameserver 192.0.2.1")
    assert [str(server) for server in servers.current()] == ["192.0.2.1:53"]

    replacement = tmp_path / "new"
    replacement.write_text("nameserver 192.0.2.2")
    replacement.rename(path)
    assert [str(server) for server in servers.current()] == ["192.0.2.2:53"]

    path.unlink()
    assert servers.current() == DEFAULT_SERVERS


async def test_the_systems_servers_are_asked_without_configured_ones(
    tmp_path: Path, dns_server: DnsServer
) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("search example.test\nnameserver 127.0.0.9\noptions ndots:5\n")
    contacts: list[tuple[str, Endpoint]] = []
    settings = DnsSettings(resolv_conf=path, timeout=timedelta(milliseconds=20), rounds=1)
    resolver = Resolver(settings, Sockets(lambda *contact: contacts.append(contact)))

    with contextlib.suppress(DnsError):
        await resolver.txt("_acme-challenge.host", Trace())

    assert contacts == [("udp", Endpoint(ip_address("127.0.0.9"), 53))]
