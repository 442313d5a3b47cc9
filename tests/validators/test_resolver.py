"""The resolver against a DNS server that lies, stalls and floods."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
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
    damaged,
    failing,
    in_turn,
    records,
    reply,
    silent,
    wire,
)
from support.targets import closed_port
from support.validation import SHORT, Lab
from validators.addresses import Endpoint
from validators.dnserrors import (
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
from validators.resolver import DnsSettings, Resolver
from validators.sockets import Sockets
from validators.trace import Trace

NAME = "text.example.test"
GOOD = records(f"{NAME}. TXT good")


async def txt(lab: Lab, name: str = NAME) -> tuple[bytes, ...]:
    return (await lab.resolver().txt(name, Trace())).values


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
    "damage": lambda question: [damaged(question, f"{NAME}. TXT good")],
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


@pytest.mark.parametrize("ttls", [(60, 300, 86_400), (300, 60, 86_400), (86_400, 300, 60)])
@pytest.mark.parametrize("is_left_open", [False, True])
async def test_records_last_as_long_as_the_least_of_their_aliases_and_them(
    lab: Lab, dns_server: DnsServer, ttls: tuple[int, int, int], is_left_open: bool
) -> None:
    names = (f"{NAME}.", "one.test.", "two.test.")
    steps = [
        dns.rrset.from_text(names[0], ttls[0], "IN", "CNAME", names[1]),
        dns.rrset.from_text(names[1], ttls[1], "IN", "CNAME", names[2]),
        dns.rrset.from_text(names[2], ttls[2], "IN", "TXT", "good"),
    ]

    def answering(question: Question) -> Sequence[bytes]:
        message = reply(question)
        step = names.index(question.name.to_text().lower())
        message.answer.extend(steps[step : step + 1] if is_left_open else steps)
        return [wire(message)]

    for name in names:
        dns_server.script(name.rstrip("."), "TXT", answering)

    found = await lab.resolver().txt(NAME, Trace())

    assert (found.values, found.ttl) == ((b"good",), 60)


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
