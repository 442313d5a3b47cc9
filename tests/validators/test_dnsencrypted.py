"""Resolvers asked over TLS and HTTPS: only those that prove who they are, and only in DNS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from support.dns import DnsServer, records, silent, truncated
from support.encrypteddns import NAME as SERVER_NAME
from support.encrypteddns import Authority, EncryptedDns, Respond, frame, ok, ok_http2, response
from support.targets import closed_port
from support.validation import SHORT, Lab
from validators.dnserrors import (
    AnswerMalformed,
    DnsError,
    QueryTimedOut,
    ResolverUnreachable,
    ResolverUntrusted,
)
from validators.nameservers import HttpsServer, Server, TlsServer, resolver_trust
from validators.trace import Trace

NAME = "text.example.test"
GOOD = records(f"{NAME}. TXT good")
Make = Callable[[EncryptedDns], Server]


def over_tls(encrypted: EncryptedDns, name: str = SERVER_NAME) -> Server:
    return TlsServer(encrypted.endpoint, name)


def over_https(encrypted: EncryptedDns, name: str = SERVER_NAME) -> Server:
    return HttpsServer(encrypted.endpoint, name, "/dns-query")


TRANSPORTS: dict[str, tuple[Callable[..., Server], Respond | None]] = {
    "tls": (over_tls, None),
    "https": (over_https, ok),
}
both = pytest.mark.parametrize(("server", "respond"), TRANSPORTS.values(), ids=list(TRANSPORTS))


@pytest.fixture
def authority(tmp_path: Path, lab: Lab) -> Authority:
    """A CA that the lab trusts."""
    authority = Authority(tmp_path)
    lab.trust = resolver_trust(authority.path)
    return authority


async def txt(lab: Lab) -> tuple[bytes, ...]:
    return (await lab.resolver().txt(NAME, Trace())).values


@both
async def test_an_answer_comes_from_a_server_that_proves_its_name(
    lab: Lab,
    dns_server: DnsServer,
    authority: Authority,
    server: Callable[..., Server],
    respond: Respond | None,
) -> None:
    dns_server.script(NAME, "TXT", GOOD)
    async with EncryptedDns(dns_server, authority.context(SERVER_NAME), respond) as encrypted:
        lab.dns = (server(encrypted),)
        values = await txt(lab)

    assert values == (b"good",)
    assert [question.transport for question in dns_server.asked] in (["tls"], ["https"])


@both
async def test_an_address_can_be_the_name(
    lab: Lab,
    dns_server: DnsServer,
    authority: Authority,
    server: Callable[..., Server],
    respond: Respond | None,
) -> None:
    dns_server.script(NAME, "TXT", GOOD)
    async with EncryptedDns(dns_server, authority.context("127.0.0.1"), respond) as encrypted:
        lab.dns = (server(encrypted, "127.0.0.1"),)
        values = await txt(lab)

    assert values == (b"good",)


@both
@pytest.mark.parametrize("names", [("other.example.test",), ("127.0.0.1",)])
async def test_a_server_with_another_name_is_asked_nothing(
    lab: Lab,
    dns_server: DnsServer,
    authority: Authority,
    server: Callable[..., Server],
    respond: Respond | None,
    names: tuple[str, ...],
) -> None:
    async with EncryptedDns(dns_server, authority.context(*names), respond) as encrypted:
        lab.dns = (server(encrypted),)
        with pytest.raises(ResolverUntrusted):
            await txt(lab)

    assert dns_server.asked == []


@both
async def test_a_server_of_another_authority_is_asked_nothing(
    lab: Lab,
    dns_server: DnsServer,
    authority: Authority,
    tmp_path: Path,
    server: Callable[..., Server],
    respond: Respond | None,
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with EncryptedDns(dns_server, other.context(SERVER_NAME), respond) as encrypted:
        lab.dns = (server(encrypted),)
        with pytest.raises(ResolverUntrusted):
            await txt(lab)

    assert dns_server.asked == []


@pytest.mark.parametrize("server", [TlsServer, lambda to, name: HttpsServer(to, name, "/q")])
async def test_a_server_without_tls_is_not_asked_in_the_clear(
    lab: Lab, dns_server: DnsServer, authority: Authority, server: Callable[..., Server]
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"this is no TLS")
        writer.close()

    plain = await asyncio.start_server(refuse, "127.0.0.1", 0)
    host, port = plain.sockets[0].getsockname()
    lab.dns = (server(type(dns_server.endpoint)(dns_server.endpoint.address, port), SERVER_NAME),)
    with pytest.raises(ResolverUntrusted):
        await txt(lab)
    plain.close()

    assert host == "127.0.0.1"
    assert dns_server.asked == []


@both
async def test_silence_ends_with_the_timeout(
    lab: Lab,
    dns_server: DnsServer,
    authority: Authority,
    server: Callable[..., Server],
    respond: Respond | None,
) -> None:
    lab.dns_timeout = SHORT
    dns_server.script(NAME, "TXT", silent)
    async with EncryptedDns(dns_server, authority.context(SERVER_NAME), respond) as encrypted:
        lab.dns = (server(encrypted),)
        with pytest.raises(QueryTimedOut):
            await txt(lab)


async def test_a_server_that_is_down_is_told_apart(lab: Lab, authority: Authority) -> None:
    lab.dns = (TlsServer(closed_port("127.0.0.1"), SERVER_NAME),)

    with pytest.raises(ResolverUnreachable):
        await txt(lab)


@both
async def test_large_answers_are_read(
    lab: Lab,
    dns_server: DnsServer,
    authority: Authority,
    server: Callable[..., Server],
    respond: Respond | None,
) -> None:
    large = " ".join(f'"{"x" * 255}"' for _ in range(235))
    dns_server.script(NAME, "TXT", records(f"{NAME}. TXT {large}"))
    async with EncryptedDns(dns_server, authority.context(SERVER_NAME), respond) as encrypted:
        lab.dns = (server(encrypted),)
        values = await txt(lab)

    assert values == (b"x" * 255 * 235,)


@both
async def test_an_answer_to_another_question_is_none(
    lab: Lab,
    dns_server: DnsServer,
    authority: Authority,
    server: Callable[..., Server],
    respond: Respond | None,
) -> None:
    def foreign(question: object) -> list[bytes]:
        (octets,) = GOOD(question) or ()  # type: ignore[arg-type]
        return [bytes([octets[0] ^ 1]) + octets[1:]]

    dns_server.script(NAME, "TXT", foreign)
    async with EncryptedDns(dns_server, authority.context(SERVER_NAME), respond) as encrypted:
        lab.dns = (server(encrypted),)
        with pytest.raises(AnswerMalformed):
            await txt(lab)


async def test_an_answer_that_is_truncated_without_need_is_none(
    lab: Lab, dns_server: DnsServer, authority: Authority
) -> None:
    dns_server.script(NAME, "TXT", truncated(GOOD))
    async with EncryptedDns(dns_server, authority.context(SERVER_NAME)) as encrypted:
        lab.dns = (over_tls(encrypted),)
        with pytest.raises(AnswerMalformed):
            await txt(lab)


RESPONSES: dict[str, Respond] = {
    "an error": lambda head, body, answer: response(answer, status="500 Error"),
    "a redirect": lambda head, body, answer: (
        b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    ),
    "no content": lambda head, body, answer: response(answer, status="204 No Content"),
    "JSON": lambda head, body, answer: response(answer, media_type="application/dns-json"),
    "no media type": lambda head, body, answer: (
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer
    ),
    "two media types": lambda head, body, answer: response(
        answer, media_type="application/dns-message\r\nContent-Type: text/html"
    ),
    "an empty body": lambda head, body, answer: response(b""),
    "too large a body": lambda head, body, answer: response(bytes(65_536)),
    "half an answer": lambda head, body, answer: response(answer[: len(answer) // 2]),
    "no HTTP": lambda head, body, answer: answer,
    "HTTP/2": lambda head, body, answer: b"HTTP/2 200\r\n\r\n",
    "the query": lambda head, body, answer: response(body),
}


@pytest.mark.parametrize("respond", RESPONSES.values(), ids=RESPONSES)
async def test_a_response_that_is_no_dns_answer_is_malformed(
    lab: Lab, dns_server: DnsServer, authority: Authority, respond: Respond
) -> None:
    dns_server.script(NAME, "TXT", GOOD)
    async with EncryptedDns(dns_server, authority.context(SERVER_NAME), respond) as encrypted:
        lab.dns = (over_https(encrypted),)
        with pytest.raises(AnswerMalformed):
            await txt(lab)


async def test_an_answer_in_chunks_is_read(
    lab: Lab, dns_server: DnsServer, authority: Authority
) -> None:
    def chunked(head: bytes, body: bytes, answer: bytes) -> bytes:
        start = b"HTTP/1.1 200 OK\r\nContent-Type: application/dns-message; x=y\r\n"
        parts = b"".join(b"%x\r\n%b\r\n" % (1, answer[i : i + 1]) for i in range(len(answer)))
        return start + b"Transfer-Encoding: chunked\r\n\r\n" + parts + b"0\r\n\r\n"

    dns_server.script(NAME, "TXT", GOOD)
    async with EncryptedDns(dns_server, authority.context(SERVER_NAME), chunked) as encrypted:
        lab.dns = (over_https(encrypted),)
        values = await txt(lab)

    assert values == (b"good",)


async def test_a_server_that_speaks_http2_alone_is_asked_in_it(
    lab: Lab, dns_server: DnsServer, authority: Authority
) -> None:
    large = " ".join(f'"{"x" * 255}"' for _ in range(235))
    dns_server.script(NAME, "TXT", records(f"{NAME}. TXT {large}"))
    context = authority.context(SERVER_NAME, protocol="h2")
    async with EncryptedDns(dns_server, context, ok_http2) as encrypted:
        lab.dns = (over_https(encrypted),)
        values = await txt(lab)
        (block,) = encrypted.requests

    assert values == (b"x" * 255 * 235,)
    assert block.startswith(b"\x83\x87")
    assert b"/dns-query" in block


HTTP2_FAILURES: dict[str, Respond] = {
    "another status": lambda head, body, answer: frame(1, 5, 1, b"\x8d"),
    "a reset": lambda head, body, answer: frame(3, 0, 1, bytes(4)),
    "HTTP/1.1": ok,
    "another answer": lambda head, body, answer: ok_http2(head, body, b"junk"),
}


@pytest.mark.parametrize("respond", HTTP2_FAILURES.values(), ids=HTTP2_FAILURES)
async def test_a_failure_in_http2_is_malformed(
    lab: Lab, dns_server: DnsServer, authority: Authority, respond: Respond
) -> None:
    dns_server.script(NAME, "TXT", GOOD)
    context = authority.context(SERVER_NAME, protocol="h2")
    async with EncryptedDns(dns_server, context, respond) as encrypted:
        lab.dns = (over_https(encrypted),)
        with pytest.raises(AnswerMalformed):
            await txt(lab)


async def test_the_request_is_a_post_to_the_path(
    lab: Lab, dns_server: DnsServer, authority: Authority
) -> None:
    dns_server.script(NAME, "TXT", GOOD)
    async with EncryptedDns(dns_server, authority.context(SERVER_NAME), ok) as encrypted:
        lab.dns = (over_https(encrypted),)
        await txt(lab)
        (head,) = encrypted.requests
        port = encrypted.endpoint.port

    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /dns-query HTTP/1.1"
    assert lines[1] == f"Host: {SERVER_NAME}:{port}"
    assert "Content-Type: application/dns-message" in lines


async def test_the_evidence_names_server_and_outcome(
    lab: Lab, dns_server: DnsServer, authority: Authority
) -> None:
    async with EncryptedDns(dns_server, authority.context("other.test")) as encrypted:
        server = over_tls(encrypted)
        lab.dns = (server,)
        trace = Trace()
        with pytest.raises(DnsError):
            await lab.resolver().txt(NAME, trace)

    assert [(step["server"], step["outcome"]) for step in trace.steps] == [
        (f"tls://{encrypted_text(server)}#{SERVER_NAME}", "ResolverUntrusted")
    ]


def encrypted_text(server: Server) -> str:
    assert isinstance(server, TlsServer)
    return str(server.endpoint)
