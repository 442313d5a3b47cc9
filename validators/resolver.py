"""Asking the configured recursive resolvers: absolute names, bounded work, typed errors."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from validators.caarecords import CaaRecord
from validators.dnserrors import (
    AnswerMalformed,
    Bogus,
    ChainTooLong,
    DnsError,
    NameMissing,
    NameUnusable,
    NoRecords,
    NotAuthentic,
    QueryRefused,
    QueryTimedOut,
    ResolverUnreachable,
    ResolverUntrusted,
    ServerFailure,
    most_telling,
)
from validators.dnsexchange import Exchange
from validators.dnsmessages import (
    Answer,
    MessageMalformed,
    Name,
    Rcode,
    Record,
    RecordType,
    Value,
    format_name,
    make_query,
    parse_name,
)
from validators.excerpts import excerpt
from validators.nameservers import ResolverTrust, Server, SystemServers
from validators.sockets import Sockets
from validators.trace import Trace

_SHOWN_RECORDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """How to ask. Without ``servers``, those of ``resolv_conf`` are used, and nothing else of it.

    ``zones`` have servers of their own, for the zone's name and all below it; the closest counts.
    ``trust`` verifies servers that are asked over TLS. With ``demands_authentic``, what
    ``servers`` answer must be authenticated by DNSSEC; those of zones are taken at their word.
    Each of ``rounds`` asks every server once and waits ``timeout`` for it; ``lifetime`` bounds
    a whole lookup, aliases included. ``localhost_names``: ``localhost`` and names below it are
    loopback without being asked (RFC 6761, section 6.3). ``randomize_case`` mixes the case of
    names sent over UDP, which a forger must guess too.
    """

    servers: tuple[Server, ...] = ()
    zones: tuple[tuple[str, tuple[Server, ...]], ...] = ()
    trust: ResolverTrust | None = None
    demands_authentic: bool = False
    resolv_conf: Path = Path("/etc/resolv.conf")
    timeout: timedelta = timedelta(seconds=2)
    rounds: int = 2
    lifetime: timedelta = timedelta(seconds=8)
    max_chain: int = 10
    localhost_names: bool = False
    randomize_case: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses of a name, in the order of the answers."""

    name: str
    ipv6: tuple[IPv6Address, ...]
    ipv4: tuple[IPv4Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRecords:
    """The TXT records of a name, each with its strings joined; ``ttl`` is the least, in seconds."""

    name: str
    values: tuple[bytes, ...]
    ttl: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaaRecords:
    """The CAA records of a name, or of what it is an alias of; ``ttl`` is the least, in seconds."""

    name: str
    values: tuple[CaaRecord, ...]
    ttl: int


class Resolver:
    """Looks names up at the configured servers. Names are absolute, whatever they look like."""

    def __init__(self, settings: DnsSettings, sockets: Sockets) -> None:
        self._settings = settings
        self._system = SystemServers(settings.resolv_conf)
        self._zones = {parse_name(zone): servers for zone, servers in settings.zones}
        self._exchange = Exchange(sockets, settings.timeout.total_seconds(), settings.trust)

    async def addresses(self, name: str, trace: Trace) -> Addresses:
        """The A and AAAA records of ``name``; one kind may be missing, or its lookup may fail.

        Raises DnsError when there is neither.
        """
        if self._settings.localhost_names and _is_localhost(name):
            trace.begin("localhost_name", name=excerpt(name, 255))
            return Addresses(name=name, ipv6=(IPv6Address(1),), ipv4=(_LOOPBACK,))
        aaaa, a = await asyncio.gather(
            self._look_up(name, RecordType.AAAA, trace),
            self._look_up(name, RecordType.A, trace),
            return_exceptions=True,
        )
        ipv6, ipv4 = _records_or_error(aaaa), _records_or_error(a)
        if isinstance(ipv6, DnsError) and isinstance(ipv4, DnsError):
            raise most_telling((ipv6, ipv4))
        found = [*([] if isinstance(ipv6, DnsError) else ipv6)]
        found += [] if isinstance(ipv4, DnsError) else ipv4
        values = [record.value for record in found]
        return Addresses(
            name=name,
            ipv6=tuple(value for value in values if isinstance(value, IPv6Address)),
            ipv4=tuple(value for value in values if isinstance(value, IPv4Address)),
        )

    async def txt(self, name: str, trace: Trace) -> TextRecords:
        """The TXT records of ``name``. Raises DnsError."""
        found = await self._look_up(name, RecordType.TXT, trace)
        values = [record.value for record in found]
        return TextRecords(
            name=name,
            values=tuple(value for value in values if isinstance(value, bytes)),
            ttl=min(record.ttl for record in found),
        )

    async def caa(self, name: str, trace: Trace) -> CaaRecords:
        """The CAA records of exactly ``name``, aliases followed (RFC 8659, section 3).

        Raises DnsError, NameMissing and NoRecords where there are none.
        """
        if self._settings.localhost_names and _is_localhost(name):
            raise NoRecords(name, RecordType.CAA.name)
        found = await self._look_up(name, RecordType.CAA, trace)
        return CaaRecords(
            name=name,
            values=tuple(rec.value for rec in found if isinstance(rec.value, CaaRecord)),
            ttl=min(record.ttl for record in found),
        )

    async def _look_up(self, name: str, record_type: RecordType, trace: Trace) -> Sequence[Record]:
        try:
            async with asyncio.timeout(self._settings.lifetime.total_seconds()):
                return await self._follow(name, record_type, trace)
        except TimeoutError:
            raise QueryTimedOut(name, record_type.name) from None

    async def _follow(self, name: str, record_type: RecordType, trace: Trace) -> Sequence[Record]:
        """Ask, along aliases that the resolver did not follow itself."""
        try:
            chain = [parse_name(name)]
        except ValueError:
            raise NameUnusable(name, record_type.name) from None
        shortest = _NO_BOUND
        while True:
            answer = await self._ask(name, chain[-1], record_type, trace)
            asked = len(chain)
            while (alias := answer.find_alias(chain[-1])) is not None:
                target, ttl = alias
                if target in chain or len(chain) > self._settings.max_chain:
                    raise ChainTooLong(name, record_type.name)
                chain.append(target)
                shortest = min(shortest, ttl)
            if answer.rcode == Rcode.NXDOMAIN:
                raise NameMissing(name, record_type.name)
            if records := answer.find_records(chain[-1], record_type):
                # What was found by way of an alias holds no longer than the alias.
                return [replace(record, ttl=min(record.ttl, shortest)) for record in records]
            if len(chain) == asked:
                raise NoRecords(name, record_type.name)

    async def _ask(
        self,
        name: str,
        owner: Name,
        record_type: RecordType,
        trace: Trace,
    ) -> Answer:
        """The first answer, NXDOMAIN included, of any server; ``name`` is for the errors."""
        errors: list[DnsError] = []
        zone_servers = self._zone_servers(owner)
        demands_authentic = self._settings.demands_authentic and zone_servers is None
        servers = zone_servers or self._settings.servers or self._system.current()
        for server in servers * self._settings.rounds:
            step = trace.begin(
                "query",
                server=str(server),
                name=excerpt(format_name(owner), 255),
                type=record_type.name,
            )
            outcome = await self._ask_server(server, owner, record_type)
            if isinstance(outcome, Answer) and demands_authentic and not outcome.is_authentic:
                outcome = NotAuthentic
            if isinstance(outcome, Answer):
                step["outcome"] = Rcode(outcome.rcode).name
                step["records"] = _shown(outcome)
                return outcome
            step["outcome"] = outcome.__name__
            errors.append(outcome(name, record_type.name))
        raise most_telling(errors)

    def _zone_servers(self, owner: Name) -> tuple[Server, ...] | None:
        """The servers of the closest zone that has its own."""
        closest = (owner[index:] for index in range(len(owner)))
        return next((self._zones[zone] for zone in closest if zone in self._zones), None)

    async def _ask_server(
        self, server: Server, owner: Name, record_type: RecordType
    ) -> Answer | type[DnsError]:
        query = make_query(owner, record_type, randomize_case=self._settings.randomize_case)
        try:
            answer = await self._exchange.ask(server, query)
        except TimeoutError:
            return QueryTimedOut
        except ssl.SSLError:
            return ResolverUntrusted
        except OSError:
            return ResolverUnreachable
        except MessageMalformed:
            return AnswerMalformed
        if answer.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
            return answer
        if not _DNSSEC_REASONS.isdisjoint(answer.reasons):
            return Bogus
        return QueryRefused if answer.rcode == Rcode.REFUSED else ServerFailure


_LOOPBACK = IPv4Address("127.0.0.1")
# The longest TTL there is (RFC 2181, section 8).
_NO_BOUND = 2**31 - 1
# Bogus, signature expired or not yet valid, DNSKEY missing, RRSIGs missing, no zone key, NSEC
# missing (RFC 8914, section 4).
_DNSSEC_REASONS = frozenset(range(6, 13))


def _is_localhost(name: str) -> bool:
    bare = name.removesuffix(".").lower()
    return bare == "localhost" or bare.endswith(".localhost")


def _records_or_error(outcome: Sequence[Record] | BaseException) -> Sequence[Record] | DnsError:
    if isinstance(outcome, BaseException) and not isinstance(outcome, DnsError):
        raise outcome
    return outcome


def _shown(answer: Answer) -> list[str]:
    """The first records, for the evidence."""
    return [
        f"{excerpt(format_name(record.owner), 255)} {record.type.name} {_shown_value(record.value)}"
        for record in answer.records[:_SHOWN_RECORDS]
    ]


def _shown_value(value: Value) -> str:
    if isinstance(value, bytes):
        return f'"{excerpt(value, 300)}"'
    return excerpt(format_name(value), 255) if isinstance(value, tuple) else str(value)
