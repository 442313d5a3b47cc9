"""tls-alpn-01 against real TLS servers (RFC 8737)."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address

import pytest
from cryptography import x509

from policy.model.errors import ErrorKind
from support.challengecertificates import ChallengeCertificate, serving
from support.dns import DnsServer
from support.targets import Behaviour, Target, closed_port, silent
from support.validation import NAME, SHORT, THUMBPRINT, TOKEN, Lab, make_task
from validators.addresses import Endpoint
from validators.keyauth import expected_digest

DIGEST = expected_digest(TOKEN, THUMBPRINT)


def tls_task(name: str = NAME, *, wildcard: bool = False):  # type: ignore[no-untyped-def]
    return make_task(name, "tls-alpn-01", wildcard=wildcard)


def good(name: str = NAME) -> ChallengeCertificate:
    return ChallengeCertificate(names=[name], digest=DIGEST)


async def test_the_certificate_in_a_handshake_proves_control(lab: Lab) -> None:
    names: list[str | None] = []
    received: list[bytes] = []
    over = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            received.append(await reader.read())
        finally:
            over.set()

    context = serving(good(), protocols=["http/1.1", "acme-tls/1"])
    context.sni_callback = lambda _, name, __: names.append(name)
    async with Target(listen, tls=context) as target:
        lab.tls_port = target.port
        verdict = await lab.validate(tls_task())
        await over.wait()

    assert verdict.is_valid, (verdict.problem, verdict.evidence.facts)
    assert names == [NAME]
    assert b"".join(received) == b"", "nothing is exchanged after the handshake"
    assert lab.dialled() == [target.endpoint]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls_1_2_and_1_3_are_spoken(lab: Lab, version: ssl.TLSVersion) -> None:
    context = serving(good())
    context.minimum_version = context.maximum_version = version
    async with Target(silent, tls=context) as target:
        lab.tls_port = target.port
        verdict = await lab.validate(tls_task())

    assert verdict.is_valid, verdict.problem


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_older_tls_is_not_spoken(lab: Lab) -> None:
    context = serving(good())
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with Target(silent, tls=context) as target:
        lab.tls_port = target.port
        problem = await lab.failure(tls_task())

    assert (problem.kind, problem.cause) == (ErrorKind.TLS, "tls_failed")


@pytest.mark.parametrize("address", ["127.0.0.2", "::1"])
async def test_an_address_is_asked_for_by_its_reverse_name(lab: Lab, address: str) -> None:
    lab.allowed = ("127.0.0.2/32", "::1/128")
    names: list[str | None] = []
    context = serving(good(f"ip:{address}"))
    context.sni_callback = lambda _, name, __: names.append(name)
    async with Target(silent, host=address, tls=context) as target:
        lab.tls_port = target.port
        verdict = await lab.validate(tls_task(f"ip:{address}"))

    assert verdict.is_valid, (verdict.problem, verdict.evidence.facts)
    assert names == [ip_address(address).reverse_pointer]
    assert names[0] in ("2.0.0.127.in-addr.arpa", "1." + "0." * 31 + "ip6.arpa")


@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["h2", "http/1.1"], ["acme-tls/2"]])
async def test_without_the_protocol_the_certificate_does_not_count(
    lab: Lab, protocols: list[str]
) -> None:
    async with Target(silent, tls=serving(good(), protocols=protocols)) as target:
        lab.tls_port = target.port
        problem = await lab.failure(tls_task())

    assert (problem.kind, problem.cause) == (ErrorKind.INCORRECT_RESPONSE, "alpn_missing")


async def test_the_certificate_must_be_the_servers_own(lab: Lab) -> None:
    other = ChallengeCertificate(names=["other.test"], digest=DIGEST)
    async with Target(silent, tls=serving(other, chain=[good().build()])) as target:
        lab.tls_port = target.port
        problem = await lab.failure(tls_task())

    assert (problem.kind, problem.cause) == (ErrorKind.INCORRECT_RESPONSE, "alpn_certificate")


async def test_another_accounts_certificate_proves_nothing(lab: Lab) -> None:
    other = ChallengeCertificate(names=[NAME], digest=expected_digest(TOKEN, bytes(32)))
    async with Target(silent, tls=serving(other)) as target:
        lab.tls_port = target.port
        problem = await lab.failure(tls_task())

    assert (problem.kind, problem.cause) == (ErrorKind.INCORRECT_RESPONSE, "alpn_digest")


async def test_a_large_certificate_is_no_defect(lab: Lab) -> None:
    filler = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x" * 60_000)
    large = ChallengeCertificate(names=[NAME], digest=DIGEST, more=[(filler, False)])
    async with Target(silent, tls=serving(large)) as target:
        lab.tls_port = target.port
        verdict = await lab.validate(tls_task())

    assert verdict.is_valid, verdict.problem
    assert len(verdict.evidence.facts["attempts"][0][-1]["der"]) == 8192


async def test_a_chain_of_a_thousand_certificates_is_cut_off(lab: Lab) -> None:
    own = good()
    chain = [own.build()] * 1000
    async with Target(silent, tls=serving(own, chain=chain)) as target:
        lab.tls_port = target.port
        problem = await lab.failure(tls_task())

    assert (problem.kind, problem.cause) == (ErrorKind.TLS, "tls_failed")


def answering(octets: bytes) -> Behaviour:
    """Answers whatever comes with ``octets`` and closes."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(octets)
        await writer.drain()

    return behave


NO_HANDSHAKE: dict[str, tuple[Behaviour, ErrorKind, str]] = {
    "plain HTTP": (
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ErrorKind.TLS,
        "tls_failed",
    ),
    "an alert about the protocol": (
        answering(b"\x15\x03\x03\x00\x02\x02\x78"),
        ErrorKind.TLS,
        "alpn_refused",
    ),
    "an alert about the name": (
        answering(b"\x15\x03\x03\x00\x02\x02\x70"),
        ErrorKind.TLS,
        "tls_failed",
    ),
    "junk": (answering(b"\x16\x03\x03\xff\xff" + b"x" * 100), ErrorKind.TLS, "tls_failed"),
    "nothing": (answering(b""), ErrorKind.TLS, "tls_failed"),
    "silence": (silent, ErrorKind.CONNECTION, "tls_timeout"),
}


@pytest.mark.parametrize(("behave", "kind", "cause"), NO_HANDSHAKE.values(), ids=NO_HANDSHAKE)
async def test_failed_handshakes_have_their_causes(
    lab: Lab, behave: Behaviour, kind: ErrorKind, cause: str
) -> None:
    lab.handshake_timeout = SHORT if cause == "tls_timeout" else lab.handshake_timeout
    async with Target(behave) as target:
        lab.tls_port = target.port
        problem = await lab.failure(tls_task())

    assert (problem.kind, problem.cause) == (kind, cause)


async def test_a_closed_port_is_a_refused_connection(lab: Lab) -> None:
    lab.tls_port = closed_port().port

    problem = await lab.failure(tls_task())

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, "connection_refused")


async def test_ipv4_is_tried_when_ipv6_is_dead(lab: Lab, dns_server: DnsServer) -> None:
    lab.allowed = ("127.0.0.2/32", "::1/128")
    dns_server.add(NAME, "AAAA", "::1")
    async with Target(silent, tls=serving(good())) as target:
        lab.tls_port = target.port
        verdict = await lab.validate(tls_task())

    assert verdict.is_valid, verdict.problem
    assert lab.dialled() == [Endpoint(ip_address("::1"), target.port), target.endpoint]


async def test_a_wildcard_is_never_proven_by_tls(lab: Lab) -> None:
    problem = await lab.failure(tls_task(wildcard=True))

    assert problem.cause == "wildcard_needs_dns"
    assert lab.contacts == []
