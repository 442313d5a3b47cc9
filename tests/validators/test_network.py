"""Which address of a target is dialled, and which never are."""

from __future__ import annotations

import ast
import errno
import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

import validators
from policy.model.errors import ErrorKind
from support.dns import DnsServer
from support.targets import BlackHole, Target, closed_port, responding, response
from support.validation import KEY_AUTHORIZATION, NAME, SHORT, Lab, make_task
from validators.addresses import Endpoint, NetworkMode
from validators.connections import Connection
from validators.scheduling import ValidatorsBusy
from validators.sockets import Sockets, is_own_address


async def test_ipv6_is_dialled_first(lab: Lab, dns_server: DnsServer) -> None:
    lab.allowed = ("127.0.0.2/32", "::1/128")
    dns_server.add(NAME, "AAAA", "::1")
    async with Target(responding(response(KEY_AUTHORIZATION)), host="::1") as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.is_valid, verdict.problem
    assert lab.dialled() == [target.endpoint]


async def test_ipv4_is_tried_once_when_ipv6_is_dead(lab: Lab, dns_server: DnsServer) -> None:
    lab.allowed = ("127.0.0.2/32", "127.0.0.3/32", "::1/128")
    dns_server.add(NAME, "AAAA", "::1")
    dns_server.add(NAME, "A", "127.0.0.3")
    async with Target(responding(response(KEY_AUTHORIZATION))) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task())

    assert verdict.is_valid, verdict.problem
    assert lab.dialled() == [Endpoint(ip_address("::1"), target.port), target.endpoint]


async def test_an_answer_that_is_wrong_is_no_reason_to_fall_back(
    lab: Lab, dns_server: DnsServer
) -> None:
    lab.allowed = ("127.0.0.2/32", "::1/128")
    dns_server.add(NAME, "AAAA", "::1")
    async with Target(responding(response(b"wrong")), host="::1") as target:
        lab.http_port = target.port
        problem = await lab.failure(make_task())

    assert problem.cause == "http_differs"
    assert lab.dialled() == [target.endpoint]


async def test_of_a_hundred_addresses_the_first_is_dialled(lab: Lab, dns_server: DnsServer) -> None:
    lab.allowed = ("127.0.0.0/8",)
    dns_server.add("many.example.test", "A", *(f"127.0.1.{last}" for last in range(1, 101)))
    lab.http_port = closed_port("127.0.1.1").port

    problem = await lab.failure(make_task("many.example.test"))

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, "connection_refused")
    assert lab.dialled() == [Endpoint(ip_address("127.0.1.1"), lab.http_port)]


async def test_forbidden_addresses_are_passed_over(lab: Lab, dns_server: DnsServer) -> None:
    name = "mixed.example.test"
    dns_server.add(name, "AAAA", "::1", "fd00:ec2::254")
    dns_server.add(name, "A", "127.0.0.1", "169.254.169.254", "127.0.0.2")
    async with Target(responding(response(KEY_AUTHORIZATION))) as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task(name))

    assert verdict.is_valid, verdict.problem
    assert lab.dialled() == [target.endpoint]
    refused = [
        step["address"]
        for step in verdict.evidence.facts["attempts"][0]
        if step["step"] == "refuse"
    ]
    assert refused == ["::1", "fd00:ec2::254", "127.0.0.1", "169.254.169.254"]


@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
@pytest.mark.parametrize(
    ("record_type", "address"),
    [
        ("A", "127.0.0.1"),
        ("A", "0.0.0.0"),
        ("A", "169.254.169.254"),
        ("A", "224.0.0.1"),
        ("A", "255.255.255.255"),
        ("AAAA", "::1"),
        ("AAAA", "::"),
        ("AAAA", "::ffff:127.0.0.1"),
        ("AAAA", "64:ff9b::7f00:1"),
        ("AAAA", "2002:7f00:1::"),
        ("AAAA", "fe80::1"),
        ("AAAA", "ff02::1"),
    ],
)
async def test_a_name_with_a_forbidden_address_causes_no_connection(
    lab: Lab, dns_server: DnsServer, record_type: str, address: str, challenge: str
) -> None:
    dns_server.add("inner.example.test", record_type, address)
    async with Target(responding(response(KEY_AUTHORIZATION)), host="127.0.0.1") as target:
        lab.http_port = lab.tls_port = target.port
        problem = await lab.failure(make_task("inner.example.test", challenge))

    assert (problem.kind, problem.cause) == (ErrorKind.CONNECTION, "address_refused")
    assert lab.dialled() == []
    assert target.connections == 0


async def test_open_and_closed_forbidden_ports_look_the_same(
    lab: Lab, dns_server: DnsServer
) -> None:
    dns_server.add("inner.example.test", "A", "127.0.0.1")
    problems = []
    async with Target(responding(response(KEY_AUTHORIZATION)), host="127.0.0.1") as target:
        for port in (target.port, closed_port("127.0.0.1").port):
            lab.http_port = port
            problems.append(await lab.failure(make_task("inner.example.test")))

    assert problems[0] == problems[1]


async def test_the_public_mode_refuses_private_addresses(lab: Lab, dns_server: DnsServer) -> None:
    lab.mode = NetworkMode.PUBLIC
    dns_server.add("private.example.test", "A", "10.1.2.3")

    problem = await lab.failure(make_task("private.example.test"))

    assert problem.cause == "address_refused"
    assert lab.dialled() == []


async def test_the_internal_mode_dials_private_addresses(
    lab: Lab, dns_server: DnsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(sockets: Sockets, endpoint: Endpoint) -> Connection:
        sockets._announce("tcp", endpoint)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(Sockets, "connect", refuse)
    dns_server.add("private.example.test", "A", "10.1.2.3")

    problem = await lab.failure(make_task("private.example.test"))

    assert problem.cause == "connection_refused"
    assert lab.dialled() == [Endpoint(ip_address("10.1.2.3"), 80)]


@pytest.mark.parametrize("listening", ["127.0.0.2", "0.0.0.0", "::"])
async def test_our_own_endpoints_are_refused_even_in_allowed_networks(
    lab: Lab, listening: str
) -> None:
    async with Target(responding(response(KEY_AUTHORIZATION))) as target:
        lab.http_port = target.port
        lab.denied = frozenset({Endpoint(ip_address(listening), target.port)})
        problem = await lab.failure(make_task())

    assert problem.cause == "address_refused"
    assert lab.dialled() == []


@pytest.mark.parametrize("denied", ["127.0.0.3", "0.0.0.0"])
async def test_other_ports_and_addresses_stay_open(lab: Lab, denied: str) -> None:
    async with Target(responding(response(KEY_AUTHORIZATION))) as target:
        lab.http_port = target.port
        port = target.port if denied == "127.0.0.3" else target.port ^ 1
        lab.denied = frozenset({Endpoint(ip_address(denied), port)})
        verdict = await lab.validate(make_task())

    assert verdict.is_valid, verdict.problem


async def test_names_below_localhost_are_loopback_in_lab_mode(lab: Lab) -> None:
    lab.localhost_names = True
    lab.allowed = ("127.0.0.0/8", "::1/128")
    async with Target(responding(response(KEY_AUTHORIZATION)), host="127.0.0.1") as target:
        lab.http_port = target.port
        verdict = await lab.validate(make_task("demo.localhost"))

    assert verdict.is_valid, verdict.problem
    assert lab.contacts == [
        ("tcp", Endpoint(ip_address("::1"), target.port)),
        ("tcp", target.endpoint),
    ]


async def test_names_below_localhost_are_asked_for_otherwise(
    lab: Lab, dns_server: DnsServer
) -> None:
    problem = await lab.failure(make_task("demo.localhost"))

    assert problem.cause == "dns_name_missing"
    assert dns_server.names_asked("A") == ["demo.localhost"]


@pytest.mark.parametrize("name", ["localhost.example.test", "notlocalhost", "xlocalhost"])
async def test_other_names_are_not_localhost(lab: Lab, dns_server: DnsServer, name: str) -> None:
    lab.localhost_names = True

    await lab.failure(make_task(name))

    assert dns_server.names_asked("A") == [name]


async def test_a_connection_that_hangs_is_named_where_it_hung(lab: Lab) -> None:
    lab.deadline = SHORT
    with BlackHole() as endpoint:
        lab.http_port = endpoint.port
        verdict = await lab.validate(make_task())

    assert verdict.problem is not None
    assert (verdict.problem.kind, verdict.problem.cause) == (
        ErrorKind.CONNECTION,
        "deadline_network",
    )
    last = verdict.evidence.facts["attempts"][0][-1]
    assert last["step"] == "connect"
    assert "outcome" not in last


async def test_a_lack_of_sockets_is_not_the_targets_fault(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    running = lab.validators()
    monkeypatch.setattr("validators.sockets.socket.socket", exhausted)

    with pytest.raises(ValidatorsBusy):
        await running.validate(make_task())


def test_own_addresses_are_recognized() -> None:
    assert is_own_address(ip_address("127.0.0.1"))
    assert is_own_address(ip_address("::1"))
    assert not is_own_address(ip_address("192.0.2.1"))
    assert not is_own_address(ip_address("2001:db8::1"))


# What makes a socket, resolves a name by the system, or reads a proxy from the environment.
FORBIDDEN = {
    "create_connection",
    "create_datagram_endpoint",
    "create_unix_connection",
    "getaddrinfo",
    "gethostbyname",
    "getproxies",
    "open_connection",
    "sock_connect",
    "socket",
    "urlopen",
}


def test_sockets_are_made_in_one_module_only() -> None:
    made = {}
    for path in Path(validators.__file__).parent.glob("*.py"):
        calls = [
            node.func
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        ]
        names = {
            call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "")
            for call in calls
        }
        if used := names & FORBIDDEN:
            made[path.name] = used

    assert made == {"sockets.py": {"create_connection", "socket"}}
