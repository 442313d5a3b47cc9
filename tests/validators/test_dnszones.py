"""Zones with resolvers of their own, and answers that must be authenticated by DNSSEC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import dns.edns
import dns.flags
import dns.rrset
import pytest

from policy.model.errors import ErrorKind
from support.dns import DnsServer, Handler, Question, failing, records, reply, wire
from support.validation import Lab, make_task
from validators.dnserrors import (
    Bogus,
    DnsError,
    NameMissing,
    NoRecords,
    NotAuthentic,
    ServerFailure,
)
from validators.trace import Trace

NAME = "text.corp.test"


async def txt(lab: Lab, name: str = NAME) -> tuple[bytes, ...]:
    return (await lab.resolver().txt(name, Trace())).values


@pytest.fixture
async def inner() -> AsyncIterator[DnsServer]:
    """A second server, for a zone."""
    async with DnsServer() as server:
        yield server


@pytest.mark.parametrize("name", ["corp.test", "a.corp.test", "_acme-challenge.a.b.corp.test"])
async def test_names_of_a_zone_are_asked_for_at_its_servers_alone(
    lab: Lab, dns_server: DnsServer, inner: DnsServer, name: str
) -> None:
    lab.zones = (("corp.test", (inner.endpoint,)),)
    inner.add(name, "TXT", "inner")
    dns_server.add(name, "TXT", "outer")

    assert await txt(lab, name) == (b"inner",)
    assert dns_server.asked == []


@pytest.mark.parametrize("name", ["test", "xcorp.test", "corp.test.other", "corp"])
async def test_other_names_are_asked_for_at_the_usual_servers(
    lab: Lab, dns_server: DnsServer, inner: DnsServer, name: str
) -> None:
    lab.zones = (("corp.test", (inner.endpoint,)),)
    dns_server.add(name, "TXT", "outer")

    assert await txt(lab, name) == (b"outer",)
    assert inner.asked == []


async def test_the_closest_zone_counts(lab: Lab, dns_server: DnsServer, inner: DnsServer) -> None:
    lab.zones = (("test", (dns_server.endpoint,)), ("corp.test", (inner.endpoint,)))
    lab.dns = ()
    inner.add(NAME, "TXT", "inner")
    dns_server.add("text.test", "TXT", "outer")

    assert await txt(lab) == (b"inner",)
    assert await txt(lab, "text.test") == (b"outer",)


async def test_a_failure_of_a_zones_servers_is_not_made_up_for_by_others(
    lab: Lab, dns_server: DnsServer, inner: DnsServer
) -> None:
    lab.zones = (("corp.test", (inner.endpoint,)),)
    inner.script(NAME, "TXT", failing("SERVFAIL"))
    dns_server.add(NAME, "TXT", "outer")

    with pytest.raises(ServerFailure):
        await txt(lab)

    assert dns_server.asked == []


async def test_an_alias_into_a_zone_is_followed_at_its_servers(
    lab: Lab, dns_server: DnsServer, inner: DnsServer
) -> None:
    lab.zones = (("corp.test", (inner.endpoint,)),)
    dns_server.script("alias.test", "TXT", records(f"alias.test. CNAME {NAME}."))
    inner.add(NAME, "TXT", "inner")

    assert await txt(lab, "alias.test") == (b"inner",)


def vouched(*lines: str, rcode: str = "NOERROR") -> Handler:
    """An answer with the AD bit."""

    def handle(question: Question) -> Sequence[bytes]:
        message = reply(question, *lines, rcode=rcode)
        message.flags |= dns.flags.AD
        return [wire(message)]

    return handle


def explained(*reasons: int) -> Handler:
    """SERVFAIL with extended errors, and a SOA record before them."""

    def handle(question: Question) -> Sequence[bytes]:
        message = reply(question, rcode="SERVFAIL")
        soa = dns.rrset.from_text("test.", 60, "IN", "SOA", "a.test. b.test. 1 2 3 4 5")
        message.authority.append(soa)
        options = [dns.edns.EDEOption(dns.edns.EDECode(reason), "why") for reason in reasons]
        message.use_edns(0, options=[dns.edns.GenericOption(65001, b"x"), *options])
        return [wire(message)]

    return handle


@pytest.mark.parametrize(
    ("reasons", "error"),
    [
        ((6,), Bogus),
        ((12,), Bogus),
        ((22, 9), Bogus),
        ((5,), ServerFailure),
        ((13,), ServerFailure),
        ((22, 23), ServerFailure),
        ((), ServerFailure),
    ],
)
async def test_a_resolver_that_names_dnssec_as_the_reason_is_understood(
    lab: Lab, dns_server: DnsServer, reasons: tuple[int, ...], error: type[DnsError]
) -> None:
    dns_server.script(NAME, "TXT", explained(*reasons))

    with pytest.raises(DnsError) as raised:
        await txt(lab)

    assert type(raised.value) is error


async def test_an_authenticated_answer_is_taken(lab: Lab, dns_server: DnsServer) -> None:
    lab.demands_authentic = True
    dns_server.script(NAME, "TXT", vouched(f"{NAME}. TXT good"))

    assert await txt(lab) == (b"good",)
    assert dns_server.asked[0].message.flags & dns.flags.AD


@pytest.mark.parametrize("handler", [records(f"{NAME}. TXT good"), records(), failing("NXDOMAIN")])
async def test_an_answer_that_nobody_vouches_for_is_none(
    lab: Lab, dns_server: DnsServer, handler: Handler
) -> None:
    lab.demands_authentic = True
    dns_server.script(NAME, "TXT", handler)

    with pytest.raises(NotAuthentic):
        await txt(lab)


@pytest.mark.parametrize(
    ("handler", "error"),
    [(vouched(), NoRecords), (vouched(rcode="NXDOMAIN"), NameMissing)],
)
async def test_an_authenticated_absence_is_an_absence(
    lab: Lab, dns_server: DnsServer, handler: Handler, error: type[DnsError]
) -> None:
    lab.demands_authentic = True
    dns_server.script(NAME, "TXT", handler)

    with pytest.raises(error):
        await txt(lab)


async def test_every_step_of_an_alias_chain_must_be_authenticated(
    lab: Lab, dns_server: DnsServer
) -> None:
    lab.demands_authentic = True
    dns_server.script(NAME, "TXT", vouched(f"{NAME}. CNAME one.test."))
    dns_server.script("one.test", "TXT", records("one.test. TXT good"))

    with pytest.raises(NotAuthentic):
        await txt(lab)


async def test_the_next_server_may_vouch(lab: Lab, dns_server: DnsServer, inner: DnsServer) -> None:
    lab.demands_authentic = True
    lab.dns = (dns_server.endpoint, inner.endpoint)
    dns_server.script(NAME, "TXT", records(f"{NAME}. TXT bad"))
    inner.script(NAME, "TXT", vouched(f"{NAME}. TXT good"))

    assert await txt(lab) == (b"good",)


async def test_servers_of_zones_are_taken_at_their_word(
    lab: Lab, dns_server: DnsServer, inner: DnsServer
) -> None:
    lab.demands_authentic = True
    lab.zones = (("corp.test", (inner.endpoint,)),)
    inner.add(NAME, "TXT", "inner")

    assert await txt(lab) == (b"inner",)


@pytest.mark.parametrize(
    ("handler", "cause", "says"),
    [
        (records(), "dns_not_authentic", "Sign the zone"),
        (failing("SERVFAIL"), "dns_server_failure", "DNSSEC is broken"),
        (explained(7), "dns_bogus", "Sign the zone anew"),
    ],
)
async def test_the_applicant_is_told_what_dnssec_lacks(
    lab: Lab, dns_server: DnsServer, handler: Handler, cause: str, says: str
) -> None:
    lab.demands_authentic = True
    dns_server.script("_acme-challenge.www.corp.test", "TXT", handler)

    problem = await lab.failure(make_task("www.corp.test", "dns-01"))

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, cause)
    assert says in problem.detail


async def test_caa_that_nobody_vouches_for_is_no_permission(
    lab: Lab, dns_server: DnsServer
) -> None:
    lab.demands_authentic = True

    outcome = await lab.caa_checker().check(
        "www.corp.test",
        is_wildcard=False,
        account_id=make_task().account_id,
        method="dns-01",
        trace=Trace(),
    )

    assert (outcome.result, outcome.facts["error"]) == ("failed", "dns_not_authentic")
