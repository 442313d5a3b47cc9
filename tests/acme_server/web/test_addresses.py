"""Whom a request comes from."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from acme_server.web.addresses import ClientAddresses, canonical_address

PROXIES = ClientAddresses([ip_network("10.0.0.0/8"), ip_network("fd00::/8")])


@pytest.mark.parametrize("peer", ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1"])
def test_proxies_are_trusted(peer: str) -> None:
    assert PROXIES.is_trusted(peer)


@pytest.mark.parametrize("peer", ["192.0.2.1", "::1", "", "not an address", "::ffff:192.0.2.1"])
def test_others_are_not(peer: str) -> None:
    assert not PROXIES.is_trusted(peer)


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ([], "10.0.0.1"),
        (["192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1", "192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7, 10.0.0.2, fd00::9"], "192.0.2.7"),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        (["192.0.2.7, unknown"], "10.0.0.1"),
        (["192.0.2.7, unknown, 10.0.0.2"], "10.0.0.2"),
        (["127.0.0.1\t,  2001:DB8::0:1 "], "2001:db8::1"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        ([""], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_hop_that_is_not_ours(forwarded: list[str], client: str) -> None:
    assert PROXIES.behind("10.0.0.1", forwarded) == client


def test_one_host_has_one_text() -> None:
    assert canonical_address("::ffff:192.0.2.7") == "192.0.2.7"
    assert canonical_address("2001:0db8::0001") == "2001:db8::1"
    assert canonical_address("") == ""
