"""What a child process is given to build itself from, and the parts that both kinds share."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from acme_server.app.lookups import build_resolver, caa_of_orders, caa_of_validations
from acme_server.config.profiles import offered_profiles
from acme_server.config.settings import Settings
from acme_server.config.values import NetworkPolicyMode
from acme_server.web.urls import Urls
from acme_server.workflow.authority import Authority, Installation
from acme_server.workflow.blockedkeys import BlockedKeys
from acme_server.workflow.chains import Chains
from acme_server.workflow.clock import SystemClock
from acme_server.workflow.issuance import IssuanceUseCases
from acme_server.workflow.limits import LimitUseCases
from acme_server.workflow.sealing import MasterKey
from policy.names import NameRules
from storage.authorizations import Authorizations
from storage.failingnames import FailingNames
from storage.issuances import Issuances
from storage.issuers import Issuers
from storage.limits import Limits
from storage.pool import Database
from storage.secrets import SealedSecrets
from validators.addresses import Endpoint, NetworkMode, NetworkPolicy
from validators.dns01 import Dns01Validator
from validators.dnsaccount01 import DnsAccount01Validator
from validators.dnspersist01 import DnsPersist01Validator
from validators.http01 import Http01Validator, HttpSettings
from validators.network import Dialer
from validators.registry import PASSING, RetrySettings, Validator, Validators
from validators.resolver import Resolver
from validators.scheduling import LoadSettings
from validators.sockets import Sockets
from validators.tlsalpn01 import TlsAlpn01Validator


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessContext:
    """What the parent hands to a child. ``account`` is whom to become, None to stay."""

    settings: Settings
    database_url: str = field(repr=False)
    master_key: str = field(repr=False)
    account: str | None = None

    @property
    def owner(self) -> str:
        """The name of this process in claims and leases."""
        return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What every child process has: the database, the CA, the issuance core."""

    settings: Settings
    database: Database
    master_key: MasterKey
    installation: Installation
    authority: Authority
    chains: Chains
    secrets: SealedSecrets
    authorizations: Authorizations
    issuance: IssuanceUseCases
    blocked_keys: BlockedKeys
    limits: LimitUseCases
    clock: SystemClock
    owner: str


async def open_core(context: ProcessContext) -> Core:
    """Connect and load the CA. Raises DatabaseUnavailable, AuthorityError, BlocklistRefused."""
    settings = context.settings
    blocked = blocked_keys(settings)
    await asyncio.to_thread(blocked.reload)
    database = await open_database(settings, context.database_url)
    clock = SystemClock()
    secrets = SealedSecrets(database)
    master_key = MasterKey.from_text(context.master_key)
    installation = Installation(Issuers(database), secrets, master_key, clock)
    profiles = offered_profiles(settings)
    try:
        authority = await installation.load(settings.server.status_url)
        authority.check_profiles(profiles.values())
        chains = Chains(
            authority,
            cross_certificates=settings.ca.cross_certificates,
            with_root=settings.ca.chain_with_root,
        )
    except BaseException:
        await database.close()
        raise
    limits = LimitUseCases(Limits(database), FailingNames(database), settings.limits.rules, clock)
    return Core(
        settings=settings,
        database=database,
        master_key=master_key,
        installation=installation,
        authority=authority,
        chains=chains,
        secrets=secrets,
        authorizations=Authorizations(database, lifetime=settings.acme.authorization_lifetime),
        issuance=IssuanceUseCases(
            Issuances(database),
            authority,
            clock,
            profiles,
            names=name_rules(settings),
            owner=context.owner,
            blocked_keys=blocked,
            caa=caa_of_orders(settings, database, clock),
            limits=limits,
        ),
        blocked_keys=blocked,
        limits=limits,
        clock=clock,
        owner=context.owner,
    )


def blocked_keys(settings: Settings) -> BlockedKeys:
    """The operator's lists of keys that nobody may use, not read yet."""
    policy = settings.policy
    return BlockedKeys(keys=policy.blocked_keys, weak_keys=policy.weak_keys)


async def open_database(settings: Settings, url: str, *, max_size: int | None = None) -> Database:
    """A pool with the configured bounds. Raises DatabaseUnavailable."""
    database = settings.database
    return await Database.open(
        url,
        max_size=max_size or database.pool_size,
        statement_timeout=database.statement_timeout.total_seconds(),
        lock_timeout=database.lock_timeout.total_seconds(),
        idle_timeout=database.idle_timeout.total_seconds(),
        acquire_timeout=database.acquire_timeout.total_seconds(),
    )


def name_rules(settings: Settings) -> NameRules:
    """Which names this installation serves to its clients."""
    acme = settings.acme
    return NameRules(
        allowed=frozenset(acme.allowed_names), denied=frozenset(acme.denied_names), ip=True
    )


def build_validators(settings: Settings) -> Validators:
    """All validators behind the guarded network."""
    validation = settings.validation
    sockets = Sockets()
    resolver = build_resolver(settings, sockets)
    dialer = Dialer(
        resolver,
        sockets,
        _network_policy(settings),
        connect_timeout=validation.connect_timeout,
        handshake_timeout=validation.connect_timeout,
    )
    http = HttpSettings(
        port=validation.http_port,
        redirect_ports=frozenset({80, 443, validation.http_port, validation.tls_port}),
        response_timeout=validation.response_timeout,
    )
    return Validators(
        {
            "http-01": Http01Validator(dialer, http),
            "tls-alpn-01": TlsAlpn01Validator(dialer, validation.tls_port),
            **_dns_validators(settings, resolver),
        },
        deadline=validation.deadline,
        retries=RetrySettings(
            attempts=1 + validation.retries,
            delay=validation.retry_delay,
            causes=frozenset(validation.retried_causes) or PASSING,
        ),
        load=LoadSettings(
            concurrency=validation.concurrency,
            per_account=validation.account_concurrency,
            queue=validation.queue,
        ),
        caa=caa_of_validations(settings, resolver),
    )


def _dns_validators(settings: Settings, resolver: Resolver) -> dict[str, Validator]:
    """Those that read TXT records; dns-persist-01 only where this CA has a name."""
    account_url = Urls(settings.server.external_url).account
    found: dict[str, Validator] = {
        "dns-01": Dns01Validator(resolver),
        "dns-account-01": DnsAccount01Validator(resolver, account_url),
    }
    if issuers := settings.acme.persist_issuers:
        found["dns-persist-01"] = DnsPersist01Validator(
            resolver, issuers=issuers, account_url=account_url
        )
    return found


def _network_policy(settings: Settings) -> NetworkPolicy:
    server, validation = settings.server, settings.validation
    own = (server.listen, server.status_listen, server.ops_listen)
    denied = {Endpoint(endpoint.address, endpoint.port) for endpoint in own}
    return NetworkPolicy(
        mode=NetworkMode.PUBLIC
        if validation.network_policy is NetworkPolicyMode.PUBLIC
        else NetworkMode.INTERNAL,
        allowed_networks=validation.allowed_networks,
        denied_endpoints=frozenset(denied | _database_endpoints(settings)),
    )


def _database_endpoints(settings: Settings) -> set[Endpoint]:
    """The database's addresses as they are now; its port is refused at all of them."""
    if settings.database.is_embedded:
        return set()
    parts = urlsplit(settings.database.url)
    if not parts.hostname:
        return set()
    port = parts.port or 5432
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {Endpoint(ip_address(entry[4][0]), port) for entry in found}
