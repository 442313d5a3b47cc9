"""Which addresses may be contacted: the special-purpose blocks of IPv4 and IPv6, as a table.

From the IANA registries for special-purpose addresses (RFC 6890 and its updates), for multicast
and for the IPv6 address space, with the metadata services of clouds. ``ipaddress.is_global``
can't serve: it takes NAT64, 6to4, v4-compatible and multicast addresses for global ones.
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class NetworkMode(enum.StrEnum):
    """PUBLIC refuses every special-purpose address. INTERNAL allows the private ranges."""

    PUBLIC = "public"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """An address and a port. As a denied endpoint, an unspecified address (``0.0.0.0``, ``::``)
    means this port at every address of this machine."""

    address: Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """What may be contacted for a validation.

    ``allowed_networks`` opens more than the mode does. Loopback, link-local, metadata, multicast
    and the forms that wrap an IPv4 address are opened only by a network that names them, that
    is, lies within their block: ``0.0.0.0/0`` opens none of them. ``denied_endpoints`` (our own
    listeners, the database) are refused whatever else is opened.
    """

    mode: NetworkMode = NetworkMode.INTERNAL
    allowed_networks: tuple[Network, ...] = ()
    denied_endpoints: frozenset[Endpoint] = frozenset()


@dataclass(frozen=True, slots=True)
class AddressVerdict:
    """Whether an address may be contacted, and the block that decided if it may not."""

    is_allowed: bool
    reason: str = ""


class _Scope(enum.Enum):
    """How a block is opened: by the mode INTERNAL, by any allowed network that contains the
    address, or only by an allowed network within the block."""

    PRIVATE = enum.auto()
    SPECIAL = enum.auto()
    GUARDED = enum.auto()


@dataclass(frozen=True, slots=True)
class _Block:
    network: Network
    name: str
    scope: _Scope
    first: int
    last: int


def verdict(address: Address, policy: NetworkPolicy) -> AddressVerdict:
    """Whether ``address`` may be contacted at all; ports are ``is_denied_endpoint``'s affair.

    A form that wraps IPv4 addresses must be allowed itself, and so must what it wraps.
    """
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return AddressVerdict(False, "address with a zone")
    block = _find_block(address)
    if block is None:
        return _ALLOWED
    if not _is_opened(address, block, policy):
        return AddressVerdict(False, block.name)
    for inner in embedded_addresses(address):
        decided = verdict(inner, policy)
        if not decided.is_allowed:
            return AddressVerdict(False, f"{block.name} around {decided.reason}")
    return _ALLOWED


def is_denied_endpoint(address: Address, port: int, policy: NetworkPolicy) -> bool:
    """Whether ``address``, or what it wraps, is a denied endpoint by its exact address."""
    return bool(policy.denied_endpoints) and any(
        Endpoint(candidate, port) in policy.denied_endpoints
        for candidate in (address, *embedded_addresses(address))
    )


def embedded_addresses(address: Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that packets to a wrapping IPv6 address end up at; () for others."""
    if isinstance(address, IPv4Address):
        return ()
    value = int(address)
    if value <= 1:  # unspecified and loopback stand in the block of the v4-compatible ones
        return ()
    if (value >> 32) in _LOW_32_BITS:
        return (IPv4Address(value & 0xFFFFFFFF),)
    if value >> 80 == _LOCAL_NAT64:
        # A prefix shorter than /96 is possible here (RFC 6052, 2.2) and leaves the last bits
        # zero; where the IPv4 address stands is unknown then, and 0.0.0.0 stands for "refused".
        return (IPv4Address(value & 0xFFFFFFFF if value & 0xFFFFFF else 0),)
    if value >> 112 == 0x2002:
        return (IPv4Address(value >> 80 & 0xFFFFFFFF),)
    if value >> 96 == 0x20010000:
        return (IPv4Address(value >> 64 & 0xFFFFFFFF), IPv4Address(~value & 0xFFFFFFFF))
    return ()


def parse_endpoint(text: str, default_port: int) -> Endpoint:
    """``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1`` or ``[2001:db8::1]:5353``.

    Raises ValueError, for names too.
    """
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
        if not bracket or colon not in ("", ":"):
            raise ValueError(f"{text!r} is no address with an optional port")
    elif text.count(":") == 1:
        host, colon, port = text.partition(":")
    return Endpoint(ipaddress.ip_address(host), _parse_port(port) if colon else default_port)


def _parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise ValueError(f"{text!r} is no port")
    return int(text)


def _find_block(address: Address) -> _Block | None:
    value = int(address)
    for block in _IPV4_BLOCKS if address.version == 4 else _IPV6_BLOCKS:
        if block.first <= value <= block.last:
            return block
    return None


def _is_opened(address: Address, block: _Block, policy: NetworkPolicy) -> bool:
    if block.scope is _Scope.PRIVATE and policy.mode is NetworkMode.INTERNAL:
        return True
    return any(
        address in network and (block.scope is not _Scope.GUARDED or _is_within(network, block))
        for network in policy.allowed_networks
        if network.version == address.version
    )


def _is_within(network: Network, block: _Block) -> bool:
    return block.first <= int(network.network_address) and (
        int(network.broadcast_address) <= block.last
    )


def _blocks(rows: dict[_Scope, dict[str, str]]) -> tuple[_Block, ...]:
    """The rows as blocks, the longest prefix first."""
    blocks = []
    for scope, names in rows.items():
        for text, name in names.items():
            network = ipaddress.ip_network(text)
            first, last = int(network.network_address), int(network.broadcast_address)
            blocks.append(_Block(network, name, scope, first, last))
    return tuple(sorted(blocks, key=lambda block: -block.network.prefixlen))


_ALLOWED = AddressVerdict(True)
_LOCAL_NAT64 = 0x64FF9B0001
# v4-compatible, v4-mapped, v4-translated (RFC 2765) and the well-known NAT64 prefix, as /96.
_LOW_32_BITS = frozenset({0, 0xFFFF, 0xFFFF0000, 0x64FF9B << 64})

_IPV4_BLOCKS = _blocks(
    {
        _Scope.PRIVATE: {
            "10.0.0.0/8": "private use",
            "100.64.0.0/10": "shared address space",
            "172.16.0.0/12": "private use",
            "192.168.0.0/16": "private use",
        },
        _Scope.SPECIAL: {
            "192.0.0.0/24": "IETF protocol assignments",
            "192.0.2.0/24": "documentation",
            "192.31.196.0/24": "AS112",
            "192.52.193.0/24": "AMT",
            "192.88.99.0/24": "6to4 relay anycast",
            "192.175.48.0/24": "AS112",
            "198.18.0.0/15": "benchmarking",
            "198.51.100.0/24": "documentation",
            "203.0.113.0/24": "documentation",
            "240.0.0.0/4": "reserved",
        },
        _Scope.GUARDED: {
            "0.0.0.0/8": "this network",
            "100.100.100.200/32": "cloud metadata",
            "127.0.0.0/8": "loopback",
            "168.63.129.16/32": "cloud metadata",
            "169.254.0.0/16": "link-local",
            "169.254.169.254/32": "cloud metadata",
            "192.0.0.192/32": "cloud metadata",
            "224.0.0.0/4": "multicast",
            "255.255.255.255/32": "limited broadcast",
        },
    }
)

_IPV6_BLOCKS = _blocks(
    {
        _Scope.PRIVATE: {"fc00::/7": "unique local"},
        _Scope.SPECIAL: {
            "::/8": "unallocated",
            "100::/8": "unallocated",
            "100::/64": "discard only",
            "100:0:0:1::/64": "dummy prefix",
            "200::/7": "unallocated",
            "400::/6": "unallocated",
            "800::/5": "unallocated",
            "1000::/4": "unallocated",
            "2001::/23": "IETF protocol assignments",
            "2001:2::/48": "benchmarking",
            "2001:3::/32": "AMT",
            "2001:4:112::/48": "AS112",
            "2001:10::/28": "ORCHID",
            "2001:20::/28": "ORCHIDv2",
            "2001:30::/28": "drone remote identification",
            "2001:db8::/32": "documentation",
            "2620:4f:8000::/48": "AS112",
            "3fff::/20": "documentation",
            "4000::/3": "unallocated",
            "5f00::/16": "segment routing",
            "6000::/3": "unallocated",
            "8000::/3": "unallocated",
            "a000::/3": "unallocated",
            "c000::/3": "unallocated",
            "e000::/4": "unallocated",
            "f000::/5": "unallocated",
            "f800::/6": "unallocated",
            "fe00::/9": "unallocated",
            "fec0::/10": "site-local",
        },
        _Scope.GUARDED: {
            "::/96": "v4-compatible",
            "::/128": "unspecified",
            "::1/128": "loopback",
            "::ffff:0:0/96": "v4-mapped",
            "::ffff:0:0:0/96": "v4-translated",
            "64:ff9b::/96": "NAT64",
            "64:ff9b:1::/48": "local-use NAT64",
            "2001::/32": "Teredo",
            "2002::/16": "6to4",
            "fd00:42::42/128": "cloud metadata",
            "fd00:c1::a9fe:a9fe/128": "cloud metadata",
            "fd00:ec2::/32": "cloud metadata",
            "fd20:ce::254/128": "cloud metadata",
            "fe80::/10": "link-local",
            "ff00::/8": "multicast",
        },
    }
)
