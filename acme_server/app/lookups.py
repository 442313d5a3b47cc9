"""The composition of DNS lookups: the resolver of validations, and the checks of CAA records."""

from __future__ import annotations

from datetime import timedelta

from acme_server.config import values
from acme_server.config.settings import Settings
from acme_server.config.values import CaaMode, DnssecMode
from acme_server.web.urls import Urls
from acme_server.workflow.caa import CaaUseCases
from acme_server.workflow.clock import Clock
from storage.caachecks import CaaChecks
from storage.pool import Database
from validators.addresses import Endpoint
from validators.caa import CaaChecker
from validators.nameservers import HttpsServer, Server, TlsServer, resolver_trust
from validators.registry import CaaPolicy
from validators.resolver import DnsSettings, Resolver
from validators.sockets import Sockets

# Where CAA only informs, a resolver that doesn't know the type must not hold up validations.
_ADVISORY_LIFETIME = timedelta(seconds=3)


def build_resolver(settings: Settings, sockets: Sockets) -> Resolver:
    """The resolver of validations. Raises OSError for a ``resolver_ca`` that can't be read."""
    validation = settings.validation
    servers = tuple(map(_name_server, validation.resolvers))
    zones = tuple((zone, tuple(map(_name_server, own))) for zone, own in validation.zone_resolvers)
    used = {*servers, *(server for _, own in zones for server in own)}
    is_encrypted = any(not isinstance(server, Endpoint) for server in used)
    return Resolver(
        DnsSettings(
            servers=servers,
            zones=zones,
            trust=resolver_trust(validation.resolver_ca) if is_encrypted else None,
            demands_authentic=validation.dnssec is DnssecMode.RESOLVER,
            timeout=validation.dns_timeout,
            localhost_names=settings.lab,
        ),
        sockets,
    )


def caa_of_validations(settings: Settings, resolver: Resolver) -> CaaPolicy | None:
    """The check that is part of each validation; None where CAA is off."""
    mode = settings.validation.caa
    if mode is CaaMode.OFF:
        return None
    return CaaPolicy(checker=_checker(settings, resolver), is_enforced=mode is CaaMode.ENFORCE)


def caa_of_orders(settings: Settings, database: Database, clock: Clock) -> CaaUseCases | None:
    """The check before issuance; None where CAA is off. Raises OSError as ``build_resolver``."""
    mode = settings.validation.caa
    if mode is CaaMode.OFF:
        return None
    return CaaUseCases(
        _checker(settings, build_resolver(settings, Sockets())),
        CaaChecks(database),
        clock,
        is_enforced=mode is CaaMode.ENFORCE,
        patience=settings.validation.deadline,
    )


def _checker(settings: Settings, resolver: Resolver) -> CaaChecker:
    urls, deadline = Urls(settings.server.external_url), settings.validation.deadline
    is_enforced = settings.validation.caa is CaaMode.ENFORCE
    return CaaChecker(
        resolver,
        identities=settings.acme.caa_identities,
        account_url=urls.account,
        lifetime=deadline if is_enforced else min(deadline, _ADVISORY_LIFETIME),
    )


def _name_server(configured: values.Resolver) -> Server:
    if isinstance(configured, values.Endpoint):
        return Endpoint(configured.address, configured.port)
    endpoint = Endpoint(configured.endpoint.address, configured.endpoint.port)
    if configured.path:
        return HttpsServer(endpoint, configured.name, configured.path)
    return TlsServer(endpoint, configured.name)
