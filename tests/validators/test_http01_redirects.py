"""Redirects of http-01: which are followed, and that none leads to a forbidden address."""

from __future__ import annotations

import ssl
from ipaddress import ip_address

import pytest
import trustme

from policy.model.errors import ErrorKind
from support.dns import DnsServer, in_turn, records
from support.targets import (
    Behaviour,
    Target,
    closed_port,
    paths,
    redirect,
    resetting,
    responding,
    response,
    silent,
)
from support.validation import KEY_AUTHORIZATION, NAME, PATH, SHORT, Lab, make_task
from validators.addresses import Endpoint


def server_tls(**options: ssl.TLSVersion) -> ssl.SSLContext:
    """TLS with a certificate that nobody would trust for the name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("other.test").configure_cert(context)
    for option, value in options.items():
        setattr(context, option, value)
    return context


@pytest.mark.parametrize("status", ["301 x", "302 x", "307 x", "308 x"])
async def test_redirects_are_followed(lab: Lab, status: str) -> None:
    answers = {
        PATH: redirect("/elsewhere?x=%20y#fragment", status),
        "/elsewhere?x=%20y": response(KEY_AUTHORIZATION),
    }
    async with Target(paths(answers)) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.is_valid, (verdict.problem, verdict.evidence.facts)
    assert target.connections == 2


async def test_a_redirect_to_another_host_is_resolved_and_followed(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add("central.example.test", "A", "127.0.0.3")
    seen: list[bytes] = []
    async with Target(
        paths({PATH: response(KEY_AUTHORIZATION)}, seen), host="127.0.0.3"
    ) as central:
        location = f"http://CENTRAL.example.test.:{central.port}{PATH}"
        async with Target(responding(redirect(location))) as target:
            lab.http_port = target.port
            lab.redirect_ports = frozenset({central.port})
            verdict = await lab.validate(make_task())

    assert verdict.is_valid, (verdict.problem, verdict.evidence.facts)
    assert lab.dialled() == [target.endpoint, central.endpoint]
    assert f"\r\nHost: central.example.test:{central.port}\r\n".encode() in seen[0]


async def test_https_is_followed_without_verifying_the_certificate(lab: Lab) -> None:
    names: list[str | None] = []
    context = server_tls()
    context.sni_callback = lambda _, name, __: names.append(name)
    async with Target(responding(response(KEY_AUTHORIZATION)), tls=context) as secure:
        location = f"https://{NAME}:{secure.port}/x"
        async with Target(responding(redirect(location))) as target:
            lab.http_port = target.port
            lab.redirect_ports = frozenset({secure.port})
            verdict = await lab.validate(make_task())

    assert verdict.is_valid, (verdict.problem, verdict.evidence.facts)
    assert names == [NAME]


async def test_https_to_an_address_sends_no_server_name(lab: Lab) -> None:
    names: list[str | None] = []
    context = server_tls()
    context.sni_callback = lambda _, name, __: names.append(name)
    async with Target(responding(response(KEY_AUTHORIZATION)), tls=context) as secure:
        location = f"https://127.0.0.2:{secure.port}/x"
        async with Target(responding(redirect(location))) as target:
            lab.http_port = target.port
            lab.redirect_ports = frozenset({secure.port})
            verdict = await lab.validate(make_task())

    assert verdict.is_valid, (verdict.problem, verdict.evidence.facts)
    assert names == [None]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
async def test_old_tls_is_not_spoken(lab: Lab) -> None:
    context = server_tls(maximum_version=ssl.TLSVersion.TLSv1_1)
    context.minimum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with Target(responding(response(KEY_AUTHORIZATION)), tls=context) as secure:
        location = f"https://{NAME}:{secure.port}/x"
        async with Target(responding(redirect(location))) as target:
            lab.http_port = target.port
            lab.redirect_ports = frozenset({secure.port})
            problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, "redirect_tls_failed")


NO_TLS: dict[str, tuple[Behaviour, str]] = {
    "plain HTTP": (responding(response(KEY_AUTHORIZATION)), "redirect_tls_failed"),
    "silence": (silent, "tls_timeout"),
    "reset": (resetting, "redirect_tls_failed"),
}


@pytest.mark.parametrize(("behave", "cause"), NO_TLS.values(), ids=NO_TLS)
async def test_https_without_tls_fails(lab: Lab, behave: Behaviour, cause: str) -> None:
    async def hasty(reader, writer) -> None:  # type: ignore[no-untyped-def]
        # A ClientHello has no blank line to wait for.
        await reader.read(1)
        reader.feed_data(b"\r\n\r\n")
        await behave(reader, writer)

    lab.handshake_timeout = SHORT if cause == "tls_timeout" else lab.handshake_timeout
    async with Target(hasty) as secure:
        location = f"https://{NAME}:{secure.port}/x"
        async with Target(responding(redirect(location))) as target:
            lab.http_port = target.port
            lab.redirect_ports = frozenset({secure.port})
            problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, cause)


FORBIDDEN = [
    "http://127.0.0.1/",
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "//127.0.0.1:{port}/",
    "http://[::1]/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:ffff:7f00:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1]/",
    "http://[ff02::1]/",
    "http://[fd00:ec2::254]/",
    "http://0.0.0.0:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://loopback.example.test:{port}/",
    "http://loopback6.example.test:{port}/",
    "http://mapped.example.test:{port}/",
    "http://alias.example.test:{port}/",
    "https://127.0.0.1:{port}/",
]


@pytest.mark.parametrize("location", FORBIDDEN)
async def test_no_redirect_leads_to_a_forbidden_address(
    lab: Lab, dns_server: DnsServer, location: str
) -> None:
    dns_server.add("loopback.example.test", "A", "127.0.0.1")
    dns_server.add("loopback6.example.test", "AAAA", "::1")
    dns_server.add("mapped.example.test", "AAAA", "::ffff:127.0.0.1")
    dns_server.add("alias.example.test", "CNAME", "loopback.example.test")
    async with Target(responding(response(KEY_AUTHORIZATION)), host="127.0.0.1") as inner:
        answer = redirect(location.format(port=inner.port))
        async with Target(responding(answer)) as target:
            lab.http_port = target.port
            lab.redirect_ports = frozenset({inner.port})
            problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, "address_refused")
    assert lab.dialled() == [target.endpoint]
    assert inner.connections == 0


async def test_what_is_refused_does_not_show_in_the_problem(lab: Lab) -> None:
    details = set()
    for location in ("http://127.0.0.1/", "http://169.254.169.254/", "http://[::1]/"):
        async with Target(responding(redirect(location))) as target:
            lab.http_port = target.port
            details.add((await lab.failure(make_task())).detail)

    assert len(details) == 1
    assert "127.0.0.1" not in details.pop()


UNUSABLE = {
    "http://2130706433/": "unusual form",
    "http://0x7f000001/": "unusual form",
    "http://127.1/": "unusual form",
    "http://0177.0.0.1/": "unusual form",
    "http://127.0.0.01/": "unusual form",
    "http://0/": "unusual form",
    "http://1.0x7f/": "unusual form",
    "http://a:b@127.0.0.2/": "user information",
    "http://127.0.0.2@127.0.0.1/": "user information",
    "http://127.0.0.2:22/": "port is 22",
    "http://127.0.0.2:25/": "port is 25",
    "http://127.0.0.2:8080/": "port is 8080",
    "http://127.0.0.2:0/": "port is not valid",
    "http://127.0.0.2:65536/": "port is not valid",
    "http://127.0.0.2:+80/": "port is not valid",
    "http://127.0.0.2:080x/": "port is not valid",
    "ftp://127.0.0.2/": "neither http nor https",
    "file:///etc/passwd": "neither http nor https",
    "gopher://127.0.0.2/": "neither http nor https",
    "javascript:alert(1)": "no host",
    "http:/x": "no host",
    "http:///x": "no host",
    "": "empty",
    "http://127.0.0.2/" + "x" * 2000: "longer than 2000",
    "/" + "x" * 2000: "longer than 2000",
    "http://[fe80::1%25eth0]/": "not a valid address",
    "http://[::1/": "not a valid address",
    "http://[::1]x/": "not a valid address",
    "http://a..b/": "not a valid name",
    "http://-a/": "not a valid name",
    "http://a_b%2e/": "not a valid name",
    "http://exa mple.test/": "characters",
    "http://example.test/\\": "characters",
    "http://example.test/\x7f": "valid HTTP",
    "http://１２７.0.0.1/".encode().decode("latin-1"): "characters",
    "http://example.test/%zz": "characters",
}


@pytest.mark.parametrize("location", UNUSABLE)
async def test_a_location_that_is_no_plain_url_is_not_followed(lab: Lab, location: str) -> None:
    async with Target(responding(redirect(location))) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert problem.kind is ErrorKind.CONNECTION
    if location.endswith("\x7f"):
        assert problem.cause == "http_malformed"
    else:
        assert problem.cause == "redirect_refused"
        assert UNUSABLE[location] in problem.detail
    assert lab.dialled() == [target.endpoint]


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST.", "ip6-localhost", "x.localhost"])
async def test_local_names_come_from_dns_alone(lab: Lab, name: str) -> None:
    async with Target(responding(redirect(f"http://{name}/"))) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (ErrorKind.DNS, "dns_name_missing")
    assert lab.dialled() == [target.endpoint]


async def test_a_missing_slash_gets_a_hint(lab: Lab) -> None:
    location = f"https://{NAME}.well-known/acme-challenge/x"
    async with Target(responding(redirect(location))) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, "redirect_without_slash")
    assert "missing slash" in problem.detail


@pytest.mark.parametrize("count", [0, 2])
async def test_a_redirect_needs_exactly_one_location(lab: Lab, count: int) -> None:
    answer = response(status="302 x", fields=["Location: /x"] * count)
    async with Target(responding(answer)) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, "redirect_refused")
    assert "exactly one Location" in problem.detail


@pytest.mark.parametrize("hops", [10, 11])
async def test_ten_redirects_are_followed(lab: Lab, hops: int) -> None:
    answers = {f"/{hop}": redirect(f"/{hop + 1}") for hop in range(1, hops)}
    answers |= {PATH: redirect("/1"), f"/{hops}": response(KEY_AUTHORIZATION)}
    async with Target(paths(answers)) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.is_valid is (hops == 10)
    if verdict.problem is not None:
        assert verdict.problem.cause == "redirect_too_many"
    assert target.connections == 11


@pytest.mark.parametrize("location", [PATH, "/other"])
async def test_a_loop_is_recognized(lab: Lab, location: str) -> None:
    async with Target(paths({PATH: redirect(location), "/other": redirect(PATH)})) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, "redirect_loop")
    assert target.connections == (1 if location == PATH else 2)


async def test_a_name_is_resolved_once_for_each_hop_and_that_address_dialled(
    lab: Lab, dns_server: DnsServer
) -> None:
    rebinding = in_turn(records(f"{NAME}. A 127.0.0.2"), records(f"{NAME}. A 127.0.0.1"))
    dns_server.script(NAME, "A", rebinding)
    async with Target(responding(response(KEY_AUTHORIZATION))) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.is_valid
    assert dns_server.names_asked("A") == [NAME]
    assert lab.dialled() == [target.endpoint]


async def test_a_name_that_was_rebound_is_judged_again(lab: Lab, dns_server: DnsServer) -> None:
    rebinding = in_turn(records(f"{NAME}. A 127.0.0.2"), records(f"{NAME}. A 127.0.0.1"))
    dns_server.script(NAME, "A", rebinding)
    async with Target(responding(redirect("/again"))) as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert problem.cause == "address_refused"
    assert lab.dialled() == [target.endpoint]


async def test_a_dead_redirect_target_has_no_second_address(
    lab: Lab, dns_server: DnsServer
) -> None:
    dead = closed_port("::1")
    lab.allowed = (*lab.allowed, "::1/128")
    dns_server.add("both.example.test", "AAAA", "::1")
    dns_server.add("both.example.test", "A", "127.0.0.2")
    async with Target(responding(redirect(f"http://both.example.test:{dead.port}/x"))) as target:
        lab.http_port = target.port
        lab.redirect_ports = frozenset({dead.port})
        problem = await lab.failure(make_task())

    assert problem.cause == "connection_refused"
    assert lab.dialled() == [target.endpoint, dead]


async def test_where_ipv4_answered_first_ipv6_is_not_tried_again(
    lab: Lab, dns_server: DnsServer
) -> None:
    lab.allowed = (*lab.allowed, "::1/128")
    dns_server.add(NAME, "AAAA", "::1")
    answers = {PATH: redirect("/x"), "/x": response(KEY_AUTHORIZATION)}
    async with Target(paths(answers)) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.is_valid, (verdict.problem, verdict.evidence.facts)
    dead = Endpoint(ip_address("::1"), target.port)
    assert lab.dialled() == [dead, target.endpoint, target.endpoint]
