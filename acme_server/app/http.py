"""An HTTP worker: the front ends over the use cases, on sockets that it was given."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Mapping

import structlog

from acme_server.acme.directory import DirectoryMeta
from acme_server.acme.server import AcmeFrontEnd
from acme_server.app.background import background_parts
from acme_server.app.context import (
    Core,
    ProcessContext,
    build_validators,
    name_rules,
    open_core,
)
from acme_server.config.profiles import default_profile, offered_profiles
from acme_server.config.settings import Settings
from acme_server.config.values import TlsFiles, TlsMode
from acme_server.status.server import StatusFrontEnd
from acme_server.web.addresses import ClientAddresses
from acme_server.web.connections import Limits
from acme_server.web.edge import Edge
from acme_server.web.ratelimit import RequestLimit
from acme_server.web.requestlog import Recorder
from acme_server.web.routes import Routes
from acme_server.web.tls import ReplaceableContext, server_context
from acme_server.web.urls import ROOTS, Urls
from acme_server.workers.validation import ValidationWorker
from acme_server.workflow.accounts import AccountUseCases
from acme_server.workflow.authority import Authority
from acme_server.workflow.authorizations import AuthorizationUseCases
from acme_server.workflow.blockedkeys import BlocklistRefused
from acme_server.workflow.certificates import CertificateUseCases
from acme_server.workflow.external_accounts import ExternalAccountUseCases
from acme_server.workflow.key_changes import KeyChangeUseCases
from acme_server.workflow.nonces import KEY_PURPOSE, NonceSeal, NonceUseCases
from acme_server.workflow.orders import OrderRules, OrderUseCases
from acme_server.workflow.preauthorizations import PreauthorizationUseCases
from acme_server.workflow.publication import PublicationUseCases
from acme_server.workflow.revocation import RevocationUseCases
from acme_server.workflow.service_certificate import ServiceCertificateUseCases
from policy.limits import Limit
from policy.model.errors import DatabaseUnavailable
from storage.accounts import Accounts
from storage.certificates import Certificates
from storage.external_accounts import ExternalAccounts
from storage.keychanges import KeyChanges
from storage.nonces import NonceLedger
from storage.orders import Orders
from storage.preauthorizations import Preauthorizations
from storage.revocations import Revocations

_CERTIFICATE_BEGIN = b"-----BEGIN CERTIFICATE-----"
# How soon a renewed certificate of the server is served.
_CERTIFICATE_POLL_SECONDS = 15.0
_log = structlog.get_logger()


class HttpWorker:
    """One process's share of the listeners ``acme`` and ``status``."""

    def __init__(
        self,
        core: Core,
        acme: AcmeFrontEnd,
        publication: PublicationUseCases,
        certificate: ServiceCertificateUseCases,
        validation: ValidationWorker,
        recorder: Recorder,
    ) -> None:
        self._core = core
        self._validation = validation
        self._certificate = certificate
        self._certificate_version: object = None
        self._tls: ReplaceableContext | None = None
        self._follower: asyncio.Task[None] | None = None
        settings = core.settings
        status = StatusFrontEnd(publication, core.authority, core.clock)
        roots = status.roots_route(Urls(settings.server.external_url).served(ROOTS))
        addresses = ClientAddresses(settings.server.trusted_proxies)
        limits = _limits(settings)
        self._acme = Edge(
            Routes(acme, [*acme.routes(), roots]),
            limits=limits,
            addresses=addresses,
            recorder=recorder,
            request_limit=_request_limit(settings),
        )
        self._status = Edge(Routes(status, status.routes()), limits=limits, recorder=recorder)

    async def start(self, listeners: Mapping[str, socket.socket]) -> None:
        """Serve ``listeners``. Raises DatabaseUnavailable, OSError and ssl.SSLError for TLS files
        that can't be used."""
        if self._core.settings.server.tls is not TlsMode.OFF:
            self._tls = ReplaceableContext(await self._read_certificate())
        await self._acme.listen(listeners["acme"], self._tls)
        await self._status.listen(listeners["status"])
        if self._core.settings.server.tls is TlsMode.AUTO:
            self._follower = asyncio.get_running_loop().create_task(self._follow_certificate())

    async def reload(self) -> None:
        """Take up lists of blocked keys and TLS files that changed; what can't be used leaves the
        old ones in place."""
        try:
            # The lists may have millions of lines; the loop goes on meanwhile.
            await asyncio.to_thread(self._core.blocked_keys.reload)
        except BlocklistRefused as error:
            _log.error("blocklist_not_reloaded", reason=str(error))
        if self._tls is None:
            return
        try:
            self._tls.replace(await self._read_certificate())
        except (OSError, ssl.SSLError, DatabaseUnavailable) as error:
            _log.error("tls_not_reloaded", setting="server.tls", reason=str(error))
        else:
            _log.info("tls_reloaded")

    async def drain(self, seconds: float) -> None:
        """Stop: see ``Edge.drain``; then let validations and issuances under way end."""
        if self._follower is not None:
            self._follower.cancel()
        await asyncio.gather(self._acme.drain(seconds), self._status.drain(seconds))
        await self._core.issuance.drain(seconds)
        await self._validation.stop(seconds)
        await self._core.database.close()

    async def _read_certificate(self) -> ssl.SSLContext:
        tls = self._core.settings.server.tls
        if isinstance(tls, TlsFiles):
            return server_context(tls.certificate.read_bytes(), tls.key.read_bytes())
        current = await self._certificate.current()
        if current is None:
            raise DatabaseUnavailable("the server's own certificate is not issued yet")
        self._certificate_version = current.version
        start = current.pem.index(_CERTIFICATE_BEGIN)
        return server_context(current.pem[start:], current.pem[:start])

    async def _follow_certificate(self) -> None:
        """Serve the server's own certificate as soon as the background process renewed it."""
        assert self._tls is not None
        while True:
            await asyncio.sleep(_CERTIFICATE_POLL_SECONDS)
            before = self._certificate_version
            with contextlib.suppress(DatabaseUnavailable):
                context = await self._read_certificate()
                if self._certificate_version != before:
                    self._tls.replace(context)
                    _log.info("service_certificate_taken_up")


async def build_http_worker(context: ProcessContext, recorder: Recorder) -> HttpWorker:
    """Connect and build. Raises DatabaseUnavailable, AuthorityError."""
    core = await open_core(context)
    settings = core.settings
    validation = ValidationWorker(
        core.authorizations,
        build_validators(settings),
        owner=core.owner,
        deadline=settings.validation.deadline,
        limits=core.limits,
    )
    nonces = NonceUseCases(
        NonceLedger(core.database, lifetime=settings.acme.nonce_lifetime),
        NonceSeal(await core.installation.secret(KEY_PURPOSE)),
    )
    await nonces.start()
    parts = background_parts(core)
    return HttpWorker(
        core,
        _acme_front_end(core, validation, nonces),
        parts.publication,
        parts.service_certificate,
        validation,
        recorder,
    )


def _acme_front_end(
    core: Core, validation: ValidationWorker, nonces: NonceUseCases
) -> AcmeFrontEnd:
    settings, database = core.settings, core.database
    acme = settings.acme
    rules = _order_rules(settings, core.authority)
    accounts = AccountUseCases(
        Accounts(database),
        core.clock,
        ExternalAccountUseCases(ExternalAccounts(database), core.master_key, core.clock),
        terms=acme.terms_of_service,
        requires_binding=acme.external_account_required,
        limits=core.limits,
    )
    return AcmeFrontEnd(
        urls=Urls(settings.server.external_url),
        issuer_names=acme.persist_issuers,
        meta=DirectoryMeta(
            terms_of_service=acme.terms_of_service,
            website=acme.website,
            caa_identities=acme.caa_identities,
            external_account_required=acme.external_account_required,
            profiles={name: profile.description for name, profile in rules.profiles.items()},
        ),
        check_key=core.blocked_keys.check_account_key,
        accounts=accounts,
        orders=OrderUseCases(Orders(database), core.clock, rules, core.limits),
        authorizations=AuthorizationUseCases(core.authorizations, validation),
        preauthorizations=PreauthorizationUseCases(Preauthorizations(database), rules, core.limits),
        issuance=core.issuance,
        certificates=CertificateUseCases(
            Certificates(database),
            core.authority,
            core.chains,
        ),
        revocations=RevocationUseCases(Revocations(database)),
        key_changes=KeyChangeUseCases(KeyChanges(database), accounts),
        nonces=nonces,
    )


def _order_rules(settings: Settings, authority: Authority) -> OrderRules:
    acme = settings.acme
    return OrderRules(
        names=name_rules(settings),
        max_identifiers=acme.max_identifiers,
        profiles=offered_profiles(settings),
        default_profile=default_profile(settings),
        issuer_not_after=authority.active.facts.not_after,
        challenge_types=tuple(kind.value for kind in acme.challenge_types),
        order_lifetime=acme.order_lifetime,
        pending_lifetime=acme.pending_authorization_lifetime,
        reuses_authorizations=acme.authorization_reuse,
        authorization_lifetime=acme.authorization_lifetime,
    )


def _request_limit(settings: Settings) -> RequestLimit | None:
    limit = settings.limits.requests_per_address
    if not isinstance(limit, Limit):
        return None
    return RequestLimit(limit.burst, limit.period.total_seconds())


def _limits(settings: Settings) -> Limits:
    server = settings.server
    return Limits(
        first_byte=server.header_timeout.total_seconds(),
        head=server.header_timeout.total_seconds(),
        body=server.body_timeout.total_seconds(),
        idle=server.idle_timeout.total_seconds(),
        response=server.response_timeout.total_seconds(),
        body_size=server.body_limit,
        max_connections=server.max_connections,
    )
