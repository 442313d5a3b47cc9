"""Limits on how often something may be done: their values, and who or what each one counts.

All of it is pure. The counting is PostgreSQL's (``storage.limits``).
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from policy.model.identifiers import Identifier, IdentifierType
from policy.model.ids import AccountId
from policy.registereddomains import registered_domain

Network: TypeAlias = IPv4Network | IPv6Network

_MICROSECOND = timedelta(microseconds=1)
# What one customer gets from a provider at most, so that a host can't pass for many.
_RANGE_PREFIX = 48
_HOST_PREFIX = 64


class LimitKind(enum.StrEnum):
    """What is limited; the words of the configuration (``limits.…``)."""

    NEW_ACCOUNTS_PER_ADDRESS = "new_accounts_per_address"
    NEW_ACCOUNTS_PER_RANGE = "new_accounts_per_range"
    ORDERS_PER_ACCOUNT = "orders_per_account"
    CERTIFICATES_PER_DOMAIN = "certificates_per_domain"
    CERTIFICATES_PER_NAME_SET = "certificates_per_name_set"
    FAILED_VALIDATIONS = "failed_validations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """``burst`` at once, given back one by one: all of them within ``period``."""

    burst: int
    period: timedelta

    def __post_init__(self) -> None:
        if self.burst < 1 or self.period < _MICROSECOND:
            raise ValueError("a limit needs a burst of at least 1 and a period")

    @property
    def step(self) -> timedelta:
        """The time after which one is given back, rounded up so that never too many are."""
        return math.ceil(self.period / _MICROSECOND / self.burst) * _MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One of ``limit`` for ``key``. ``subject`` is what people call the key; ``identifiers`` are
    the names of the request that it is about.

    ``spends`` False only looks whether there is one left. ``spares_renewals``: doesn't count for
    names that were issued together before.
    """

    kind: LimitKind
    key: str
    subject: str
    limit: Limit
    spends: bool = True
    spares_renewals: bool = False
    identifiers: tuple[Identifier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    """The limits of an installation; what is not in ``limits`` is not limited.

    Overrides replace the limit for single keys, None: no limit. ``by_account`` holds for
    ORDERS_PER_ACCOUNT, ``by_domain`` for CERTIFICATES_PER_DOMAIN and the registered domains that it
    names, ``by_network`` for NEW_ACCOUNTS_PER_ADDRESS and the addresses of a network, of which the
    smallest counts; None there frees them from NEW_ACCOUNTS_PER_RANGE too. ``pause_after`` is the
    number of failed validations in a row after which an account may not order a name any more.
    """

    limits: Mapping[LimitKind, Limit] = field(default_factory=dict)
    by_account: Mapping[AccountId, Limit | None] = field(default_factory=dict)
    by_domain: Mapping[str, Limit | None] = field(default_factory=dict)
    by_network: Mapping[Network, Limit | None] = field(default_factory=dict)
    pause_after: int | None = None

    @property
    def spares_renewals(self) -> bool:
        """Whether it matters if names were issued together before."""
        return (
            LimitKind.ORDERS_PER_ACCOUNT in self.limits
            or any(self.by_account.values())
            or self._limits_domains
        )

    @property
    def _limits_domains(self) -> bool:
        """Whether it matters which domains names belong to."""
        return LimitKind.CERTIFICATES_PER_DOMAIN in self.limits or any(self.by_domain.values())

    def for_new_account(self, address: str) -> tuple[Demand, ...]:
        """What a new account from ``address`` takes."""
        single, wide = LimitKind.NEW_ACCOUNTS_PER_ADDRESS, LimitKind.NEW_ACCOUNTS_PER_RANGE
        around, key = address_range(address), address_key(address)
        network = self._network_of(address)
        limit = self.limits.get(single) if network is None else self.by_network[network]
        limits = [(single, key, f"the address {key}", limit)]
        # Only who is trusted with any number of accounts is free of the range as well.
        if around is not None and (network is None or limit is not None):
            limits.append((wide, around, f"the range {around}", self.limits.get(wide)))
        return tuple(
            Demand(kind=kind, key=key, subject=subject, limit=limit)
            for kind, key, subject, limit in limits
            if limit is not None
        )

    def for_new_order(
        self, account: AccountId, identifiers: Sequence[Identifier]
    ) -> tuple[Demand, ...]:
        """What an order takes, and what it only looks at because a certificate or a failed
        validation takes it."""
        orders = LimitKind.ORDERS_PER_ACCOUNT
        limit = self.by_account.get(account, self.limits.get(orders))
        demands = [*self.for_certificate(identifiers, spends=False)]
        if limit is not None:
            demands.append(
                Demand(
                    kind=orders,
                    key=str(account),
                    subject="this account",
                    limit=limit,
                    spares_renewals=True,
                )
            )
        for name in dict.fromkeys(identifier.base for identifier in identifiers):
            demand = self.for_failure(account, name, spends=False)
            if demand is not None:
                demands.append(demand)
        return tuple(demands)

    def for_certificate(
        self, identifiers: Sequence[Identifier], *, spends: bool = True
    ) -> tuple[Demand, ...]:
        """What a certificate takes."""
        by_domain = _by_domain(identifiers) if self._limits_domains else {}
        demands = [
            Demand(
                kind=LimitKind.CERTIFICATES_PER_DOMAIN,
                key=domain,
                subject=domain,
                limit=limit,
                spends=spends,
                spares_renewals=True,
                identifiers=tuple(names),
            )
            for domain, names in by_domain.items()
            if (limit := self._limit_of_domain(domain)) is not None
        ]
        kind = LimitKind.CERTIFICATES_PER_NAME_SET
        if (limit := self.limits.get(kind)) is not None:
            key = name_set(identifiers).hex()
            subject = "exactly these names"
            demands.append(Demand(kind=kind, key=key, subject=subject, limit=limit, spends=spends))
        return tuple(demands)

    def for_failure(
        self, account: AccountId, name: Identifier, *, spends: bool = True
    ) -> Demand | None:
        """What a failed validation of ``name`` takes."""
        limit = self.limits.get(LimitKind.FAILED_VALIDATIONS)
        if limit is None:
            return None
        return Demand(
            kind=LimitKind.FAILED_VALIDATIONS,
            key=f"{account}/{name}",
            subject=f"{name.value} and this account",
            limit=limit,
            spends=spends,
            identifiers=(name,),
        )

    def _limit_of_domain(self, domain: str) -> Limit | None:
        return self.by_domain.get(domain, self.limits.get(LimitKind.CERTIFICATES_PER_DOMAIN))

    def _network_of(self, address: str) -> Network | None:
        """The smallest network with an override that the address is in."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return None
        covering = [network for network in self.by_network if parsed in network]
        return max(covering, key=lambda network: network.prefixlen, default=None)


def address_range(address: str) -> str | None:
    """The IPv6 /48 around ``address``; None for others, since IPv4 addresses are scarce enough."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if not isinstance(parsed, IPv6Address):
        return None
    return str(ip_network((int(parsed), _RANGE_PREFIX), strict=False))


def address_key(address: str) -> str:
    """What counts as one address: of IPv6 the /64, all of which one host can use."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(ip_network((int(parsed), _HOST_PREFIX), strict=False))
    return str(parsed)


def name_set(identifiers: Iterable[Identifier]) -> bytes:
    """SHA-256 of the names, whatever their order."""
    texts = sorted({str(identifier) for identifier in identifiers})
    return hashlib.sha256("\n".join(texts).encode()).digest()


def _by_domain(identifiers: Iterable[Identifier]) -> dict[str, list[Identifier]]:
    """The names by what a limit per domain counts: registered domains, and IPv6 addresses by
    their /64, IPv4 addresses one by one."""
    found: dict[str, list[Identifier]] = {}
    for identifier in identifiers:
        found.setdefault(_domain_key(identifier), []).append(identifier)
    return found


def _domain_key(identifier: Identifier) -> str:
    if identifier.type is IdentifierType.DNS:
        return registered_domain(identifier.base.value)
    return address_key(identifier.value)
