"""Findings about listeners, each provoked with real sockets."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from acme_server.cli.doctor import listeners
from acme_server.cli.doctor.ports import find_listener, is_free, reachable
from acme_server.cli.doctor.site import Site
from acme_server.config.addresses import EndpointText
from acme_server.config.values import NetworkPolicyMode, TlsMode
from support.doctor import found, only

MakeSite = Callable[..., Site]
Serve = Callable[..., int]
_endpoint = EndpointText().parse
_READY = {"/healthz": (200, b"ok"), "/readyz": (200, b"ok")}


def test_free_ports_are_fine(make_site: MakeSite) -> None:
    findings = found(listeners.check_ports, make_site())

    assert [severity for severity, _ in findings] == ["ok"] * 3
    assert all(message.endswith("is free") for _, message in findings)


def test_port_of_another_process_is_an_error_that_names_it(
    make_site: MakeSite, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    site = make_site({"server.listen": _endpoint(f"127.0.0.1:{port}")})

    severity, message = found(listeners.check_ports, site)[0]

    assert severity == "error"
    assert message.startswith(f"server.listen: 127.0.0.1:{port} is taken by process {os.getpid()}")


def test_port_on_all_addresses_is_taken_by_one_on_loopback(
    make_site: MakeSite, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    site = make_site({"server.listen": _endpoint(f"0.0.0.0:{port}")})

    assert found(listeners.check_ports, site)[0][0] == "error"


def test_ports_in_use_by_the_running_server_are_fine(make_site: MakeSite, serve: Serve) -> None:
    ops, other = serve(_READY), serve({})
    site = make_site(
        {
            "server.ops_listen": _endpoint(f"127.0.0.1:{ops}"),
            "server.listen": _endpoint(f"127.0.0.1:{other}"),
        }
    )

    findings = found(listeners.check_ports, site)

    assert [severity for severity, _ in findings] == ["ok"] * 3
    assert findings[0][1].endswith("is in use, by this server")


def test_address_of_another_machine_is_an_error(make_site: MakeSite) -> None:
    site = make_site({"server.listen": _endpoint("192.0.2.1:14000")})

    severity, message = found(listeners.check_ports, site)[0]

    assert severity == "error"
    assert "can't listen on 192.0.2.1:14000" in message


def test_port_that_nobody_has_is_found_to_be_nobodys(listener: socket.socket) -> None:
    port: int = listener.getsockname()[1]

    assert not is_free(_endpoint(f"127.0.0.1:{port}"))
    assert (find_listener(port) or (0,))[0] == os.getpid()
    listener.close()
    assert is_free(_endpoint(f"127.0.0.1:{port}"))
    assert find_listener(port) is None


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("0.0.0.0:1", "127.0.0.1:1"),
        ("[::]:1", "[::1]:1"),
        ("10.0.0.1:1", "10.0.0.1:1"),
        ("127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_listener_is_reached_at_an_address_of_its_own(listen: str, place: str) -> None:
    assert str(reachable(_endpoint(listen))) == place


def test_privileged_port_needs_the_right(
    make_site: MakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, status = tmp_path / "first", tmp_path / "status"
    first.write_text("1024\n")
    monkeypatch.setattr(listeners, "_UNPRIVILEGED", first)
    monkeypatch.setattr(listeners, "_STATUS", status)
    low = make_site({"server.listen": _endpoint("127.0.0.1:443")})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    status.write_text("Name:\tx\nCapEff:\t0000000000000000\n")
    without = only(listeners.check_privileged_ports, low)
    status.write_text("Name:\tx\nCapEff:\t0000000000000400\n")
    with_right = only(listeners.check_privileged_ports, low)
    status.write_text("Name:\tx\nCapEff:\t0000000000000000\n")
    high = only(listeners.check_privileged_ports, make_site())
    first.write_text("80\n")
    lowered = only(listeners.check_privileged_ports, low)

    assert without[0] == "error"
    assert "port 443 is privileged" in without[1]
    assert [with_right[0], high[0], lowered[0]] == ["ok", "ok", "ok"]


def test_root_may_use_privileged_ports(
    make_site: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    site = make_site({"server.listen": _endpoint("127.0.0.1:443")})

    assert only(listeners.check_privileged_ports, site)[0] == "ok"


@pytest.mark.parametrize(
    ("values", "severities"),
    [
        ({}, ["ok"]),
        ({"server.ops_listen": "0.0.0.0:14090"}, ["info"]),
        ({"server.tls": TlsMode.OFF}, ["info"]),
        ({"server.tls": TlsMode.OFF, "server.trusted_proxies": (ip_network("10.0.0.1"),)}, ["ok"]),
        ({"server.tls": TlsMode.OFF, "server.listen": "0.0.0.0:14000"}, ["warning", "info"]),
        ({"server.listen": "0.0.0.0:14000"}, ["ok"]),
    ],
)
def test_what_is_open_to_others_is_told(
    make_site: MakeSite, values: dict[str, object], severities: list[str]
) -> None:
    parsed = {
        key: _endpoint(value) if isinstance(value, str) and ":" in value else value
        for key, value in values.items()
    }

    findings = found(listeners.check_exposure, make_site(parsed))

    assert [severity for severity, _ in findings] == severities


@pytest.mark.parametrize(
    ("networks", "is_lab", "severity"),
    [
        (["10.0.0.0/8"], False, "ok"),
        (["0.0.0.0/0"], False, "ok"),
        (["127.0.0.0/8"], False, "warning"),
        (["127.0.0.1/32"], False, "warning"),
        (["::1/128"], False, "warning"),
        (["169.254.169.254/32"], False, "warning"),
        (["127.0.0.0/8"], True, "ok"),
    ],
)
def test_networks_that_lead_to_ourselves_are_a_warning(
    make_site: MakeSite, networks: list[str], is_lab: bool, severity: str
) -> None:
    values = {"validation.allowed_networks": tuple(map(ip_network, networks))}

    site = make_site(values, lab=is_lab)

    assert only(listeners.check_allowed_networks, site)[0] == severity


def test_policy_for_networks_is_told(make_site: MakeSite) -> None:
    public = make_site({"validation.network_policy": NetworkPolicyMode.PUBLIC})

    assert "only public addresses" in only(listeners.check_allowed_networks, public)[1]
    assert "private addresses may" in only(listeners.check_allowed_networks, make_site())[1]
