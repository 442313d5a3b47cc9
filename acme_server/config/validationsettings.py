# ruff: noqa: RUF009 - setting() makes a field with an immutable default
"""The settings of proving control: network, DNS, CAA, retries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

from acme_server.config.addresses import (
    DomainName,
    NetworkText,
    PathText,
    ResolverText,
)
from acme_server.config.causekinds import CauseCode
from acme_server.config.declaration import setting
from acme_server.config.kinds import (
    Duration,
    Integer,
    Keyed,
    Listed,
    Word,
)
from acme_server.config.values import (
    CaaMode,
    DnssecMode,
    Network,
    NetworkPolicyMode,
    Resolver,
)

_LOOPBACK_NETWORKS = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSettings:
    """How control of names is checked."""

    http_port: int = setting(Integer(1, 65535), "The port of http-01.", 80, live=True, lab=5002)
    tls_port: int = setting(Integer(1, 65535), "The port of tls-alpn-01.", 443, live=True, lab=5001)
    resolvers: tuple[Resolver, ...] = setting(
        Listed(ResolverText()),
        "The DNS servers to ask, such as `127.0.0.1:8053` or `tls://9.9.9.9#dns.quad9.net`; empty: "
        "the system's.",
        (),
        live=True,
    )
    zone_resolvers: tuple[tuple[str, tuple[Resolver, ...]], ...] = setting(
        Keyed(DomainName(), Listed(ResolverText(), is_filled=True)),
        "DNS servers for single zones and all names below them, such as "
        "`{corp.example: [10.0.0.53]}`; the closest zone counts, `resolvers` serve the rest.",
        (),
        live=True,
    )
    resolver_ca: Path | None = setting(
        PathText(),
        "A file with the CA certificates (PEM) that resolvers over TLS and HTTPS are verified by; "
        "empty: the system's.",
        None,
        live=True,
    )
    dnssec: DnssecMode = setting(
        Word(DnssecMode),
        "`resolver` demands that `resolvers` vouch for every answer by DNSSEC (the AD bit), so "
        "names in unsigned zones fail; zones of `zone_resolvers` are exempt.",
        DnssecMode.OFF,
        live=True,
    )
    network_policy: NetworkPolicyMode = setting(
        Word(NetworkPolicyMode),
        "`internal` lets private addresses be contacted, `public` only those of the internet.",
        NetworkPolicyMode.INTERNAL,
        live=True,
    )
    allowed_networks: tuple[Network, ...] = setting(
        Listed(NetworkText()),
        "Networks that may be contacted beyond the policy. Loopback and link-local addresses are "
        "opened only by networks within them; our own listeners and database by none.",
        (),
        live=True,
        lab=_LOOPBACK_NETWORKS,
    )
    caa: CaaMode = setting(
        Word(CaaMode),
        "What CAA records do: `enforce` obeys them, `advisory` notes what they would forbid, `off` "
        "looks for none. `enforce` needs `acme.caa_identities`.",
        CaaMode.ADVISORY,
        live=True,
    )
    deadline: timedelta = setting(
        Duration("1s", "5m"),
        "The longest a validation may take, with all attempts.",
        timedelta(seconds=20),
        live=True,
    )
    connect_timeout: timedelta = setting(
        Duration("100ms", "1m"),
        "The longest wait for a target's connection, and for its TLS handshake.",
        timedelta(seconds=5),
        live=True,
    )
    response_timeout: timedelta = setting(
        Duration("100ms", "1m"),
        "The longest wait for the answer of an http-01 target.",
        timedelta(seconds=5),
        live=True,
    )
    dns_timeout: timedelta = setting(
        Duration("100ms", "30s"),
        "The longest wait for one answer of one DNS server; each is asked twice.",
        timedelta(seconds=2),
        live=True,
    )
    retries: int = setting(
        Integer(0, 10),
        "How often a validation is tried again that failed for a passing cause.",
        2,
        live=True,
    )
    retried_causes: tuple[str, ...] = setting(
        Listed(CauseCode()),
        "The causes that count as passing, by the codes of `order explain`; a failure for any "
        "other is told at once. Empty: timeouts, broken connections and DNS servers that fail.",
        (),
        live=True,
    )
    retry_delay: timedelta = setting(
        Duration("0s", "1m"), "The pause before a retry.", timedelta(seconds=1), live=True
    )
    concurrency: int = setting(
        Integer(1, 10_000), "The most validations at a time in one process.", 100, live=True
    )
    account_concurrency: int = setting(
        Integer(1, 10_000), "The most of them for one account.", 20, live=True
    )
    queue: int = setting(
        Integer(0, 100_000),
        "How many may wait for their turn in one process before clients are told to come again.",
        1000,
        live=True,
    )
