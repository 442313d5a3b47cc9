"""The table of special-purpose blocks, the wrapped forms, and what settings open."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validators.addresses import (
    Endpoint,
    NetworkMode,
    NetworkPolicy,
    embedded_addresses,
    is_denied_endpoint,
    parse_endpoint,
    verdict,
)

PUBLIC, INTERNAL = NetworkMode.PUBLIC, NetworkMode.INTERNAL


def is_allowed(address: str, mode: NetworkMode, *allowed: str) -> bool:
    policy = NetworkPolicy(mode=mode, allowed_networks=tuple(map(ip_network, allowed)))
    return verdict(ip_address(address), policy).is_allowed


GLOBAL = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2000::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700::1111",
    "3ffe::1",
    "3fff:1000::1",
]
PRIVATE = ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd12::1"]
SPECIAL = [
    "192.0.0.1",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "240.0.0.1",
    "255.255.255.254",
    "100::1",
    "100:0:0:1::1",
    "2001:2::1",
    "2001:3::1",
    "2001:4:112::1",
    "2001:10::1",
    "2001:20::1",
    "2001:30::1",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "8000::1",
    "fe00::1",
    "fec0::1",
]
GUARDED = [
    "0.0.0.0",
    "0.1.2.3",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "239.255.255.255",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "ff02::1",
    "ff0e::1",
    "fd00:ec2::254",
    "fd00:ec2::253",
    "fd20:ce::254",
]
WRAPPING = [
    "::2",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2001:0:808:808::1",
    "2001::1",
]


@pytest.mark.parametrize("mode", NetworkMode)
@pytest.mark.parametrize("address", GLOBAL)
def test_global_addresses_are_allowed(address: str, mode: NetworkMode) -> None:
    assert is_allowed(address, mode)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_for_internal_use(address: str) -> None:
    assert is_allowed(address, INTERNAL)
    assert not is_allowed(address, PUBLIC)


@pytest.mark.parametrize("mode", NetworkMode)
@pytest.mark.parametrize("address", SPECIAL + GUARDED + WRAPPING)
def test_other_special_addresses_are_refused_in_both_modes(address: str, mode: NetworkMode) -> None:
    assert not is_allowed(address, mode)


@pytest.mark.parametrize("address", PRIVATE + SPECIAL)
def test_an_allowed_network_of_any_size_opens_special_addresses(address: str) -> None:
    everything = "0.0.0.0/0" if ":" not in address else "::/0"

    assert is_allowed(address, PUBLIC, everything)
    assert is_allowed(address, PUBLIC, address)


@pytest.mark.parametrize("address", GUARDED + WRAPPING)
def test_dangerous_addresses_are_opened_only_by_naming_them(address: str) -> None:
    assert not is_allowed(address, INTERNAL, "0.0.0.0/0", "::/0")


@pytest.mark.parametrize("address", GUARDED)
def test_naming_a_dangerous_address_opens_it(address: str) -> None:
    assert is_allowed(address, INTERNAL, address)
    assert is_allowed(address, PUBLIC, address)


@pytest.mark.parametrize(
    ("network", "address", "expected"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "127.9.9.9", True),
        ("127.0.0.2/32", "127.0.0.1", False),
        ("::1/128", "127.0.0.1", False),
        ("126.0.0.0/7", "127.0.0.1", False),
        ("169.254.0.0/16", "169.254.1.1", True),
        # The metadata services stay closed in the larger blocks around them.
        ("169.254.0.0/16", "169.254.169.254", False),
        ("fd00::/8", "fd00:ec2::254", False),
        ("100.64.0.0/10", "100.100.100.200", False),
        ("192.0.0.0/24", "192.0.0.192", False),
    ],
)
def test_naming_means_to_lie_within_the_block(network: str, address: str, expected: bool) -> None:
    assert is_allowed(address, INTERNAL, network) is expected


@pytest.mark.parametrize(
    ("address", "embedded"),
    [
        ("::7f00:1", ["127.0.0.1"]),
        ("::ffff:7f00:1", ["127.0.0.1"]),
        ("::ffff:0:7f00:1", ["127.0.0.1"]),
        ("64:ff9b::7f00:1", ["127.0.0.1"]),
        ("64:ff9b:1::7f00:1", ["127.0.0.1"]),
        # 127.0.0.1 behind a /64 and a /48 prefix: unknown to us, so nobody's address.
        ("64:ff9b:1:0:7f:0:100:0", ["0.0.0.0"]),
        ("64:ff9b:1:7f00:0:100::", ["0.0.0.0"]),
        ("2002:7f00:1::5", ["127.0.0.1"]),
        ("2001:0:102:304:0:0:80ff:fffe", ["1.2.3.4", "127.0.0.1"]),
        ("::", []),
        ("::1", []),
        ("2001:db8::7f00:1", []),
        ("127.0.0.1", []),
    ],
)
def test_wrapped_addresses_are_found(address: str, embedded: list[str]) -> None:
    assert [str(inner) for inner in embedded_addresses(ip_address(address))] == embedded


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("64:ff9b::808:808", True),
        ("64:ff9b::a00:1", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::", False),
    ],
)
def test_behind_an_opened_translator_the_wrapped_address_decides(
    address: str, expected: bool
) -> None:
    assert is_allowed(address, INTERNAL, "64:ff9b::/96") is expected


def test_an_address_with_a_zone_is_refused() -> None:
    policy = NetworkPolicy(allowed_networks=(ip_network("fe80::/10"),))

    assert verdict(IPv6Address("fe80::1"), policy).is_allowed
    assert not verdict(IPv6Address("fe80::1%1"), policy).is_allowed


def test_the_reason_names_the_block() -> None:
    named = NetworkPolicy(allowed_networks=(ip_network("64:ff9b::/96"),))

    assert verdict(ip_address("169.254.169.254"), named).reason == "cloud metadata"
    assert verdict(ip_address("64:ff9b::7f00:1"), named).reason == "NAT64 around loopback"


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "64:ff9b::", "::", "2002::"]))
def test_wrapping_never_opens_what_is_closed(inner: IPv4Address, prefix: str) -> None:
    shift = 80 if prefix == "2002::" else 0
    outer = IPv6Address(int(IPv6Address(prefix)) | int(inner) << shift)
    policy = NetworkPolicy(
        mode=PUBLIC,
        allowed_networks=tuple(
            map(ip_network, ["::ffff:0:0/96", "64:ff9b::/96", "::/96", "2002::/16"])
        ),
    )

    if int(outer) > 1:
        assert verdict(outer, policy).is_allowed is verdict(inner, policy).is_allowed


@pytest.mark.parametrize(
    ("address", "port", "expected"),
    [
        ("10.0.0.1", 443, True),
        ("10.0.0.1", 80, False),
        ("10.0.0.2", 443, False),
        ("::ffff:10.0.0.1", 443, True),
        ("64:ff9b::a00:1", 443, True),
        ("64:ff9b::a00:2", 443, False),
    ],
)
def test_denied_endpoints_are_an_address_and_a_port(
    address: str, port: int, expected: bool
) -> None:
    policy = NetworkPolicy(denied_endpoints=frozenset({Endpoint(ip_address("10.0.0.1"), 443)}))

    assert is_denied_endpoint(ip_address(address), port, policy) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
    ],
)
def test_endpoints_are_parsed(text: str, expected: str) -> None:
    assert str(parse_endpoint(text, 53)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dns.example",
        "dns.example:53",
        "192.0.2.1:",
        "192.0.2.1:0",
        "192.0.2.1:65536",
        "192.0.2.1:+5",
        "192.0.2.1:٣",
        "[2001:db8::1",
        "[2001:db8::1]5353",
        "[2001:db8::1]:",
        "2001:db8::1]:53",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|port"):
        parse_endpoint(text, 53)
