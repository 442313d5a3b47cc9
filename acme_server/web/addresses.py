"""Whom a request comes from, with proxies in between only where the operator trusts them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_Address = IPv4Address | IPv6Address


class ClientAddresses:
    """Reads ``X-Forwarded-For`` of trusted proxies; everyone else is who they connect as."""

    def __init__(self, trusted_proxies: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._trusted = tuple(trusted_proxies)

    def is_trusted(self, peer: str) -> bool:
        """Whether the peer at the other end of the connection is one of the proxies."""
        address = _parse(peer)
        return address is not None and self._covers(address)

    def behind(self, peer: str, forwarded_for: Iterable[str]) -> str:
        """The client of a request that trusted ``peer`` passed on.

        ``forwarded_for`` are the values of the ``X-Forwarded-For`` headers in order. Each proxy
        appends whom it saw, so the client is the last entry that is not a proxy of ours; what
        stands before it, or can't be read, is hearsay.
        """
        hops = [hop.strip(" \t") for value in forwarded_for for hop in value.split(",")]
        client = peer
        for hop in reversed(hops):
            address = _parse(hop)
            if address is None:
                break
            client = str(address)
            if not self._covers(address):
                break
        return client

    def _covers(self, address: _Address) -> bool:
        return any(address in network for network in self._trusted)


def canonical_address(peer: str) -> str:
    """``peer`` as one text per host: an IPv4 address mapped into IPv6 is the IPv4 address."""
    address = _parse(peer)
    return peer if address is None else str(address)


def _parse(text: str) -> _Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
