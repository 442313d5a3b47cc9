"""The background process: validation takeover, recovery, publication, sealing, upkeep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from acme_server.app.context import Core, ProcessContext, build_validators, open_core
from acme_server.config.values import TlsMode
from acme_server.workers.periodic import Job, JobRunner
from acme_server.workers.validation import ValidationWorker
from acme_server.workflow.audit import AuditUseCases
from acme_server.workflow.authority import AUDIT_KEY
from acme_server.workflow.publication import PublicationUseCases
from acme_server.workflow.service_certificate import ServiceCertificateUseCases
from policy.profiles import SERVICE
from policy.signing.signer import SoftwareSigner
from storage.audit import AuditEvents
from storage.certificates import Certificates
from storage.crls import Crls
from storage.leases import Leases
from storage.maintenance import Maintenance
from storage.nonces import NonceLedger
from storage.revocations import Revocations

_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundParts:
    """The use cases that no request waits for."""

    publication: PublicationUseCases
    service_certificate: ServiceCertificateUseCases
    maintenance: Maintenance


def background_parts(core: Core) -> BackgroundParts:
    """Build them; the start of the server runs each once."""
    ca, server = core.settings.ca, core.settings.server
    return BackgroundParts(
        publication=PublicationUseCases(
            Crls(core.database),
            Certificates(core.database),
            Leases(core.database),
            core.authority,
            core.clock,
            owner=core.owner,
            lifetime=ca.crl_lifetime,
            interval=ca.crl_interval,
        ),
        service_certificate=ServiceCertificateUseCases(
            core.issuance,
            core.authority,
            core.secrets,
            core.master_key,
            Certificates(core.database),
            core.clock,
            SERVICE,
            host=urlsplit(server.external_url).hostname or "localhost",
        ),
        maintenance=Maintenance(core.database),
    )


class BackgroundProcess:
    """Runs the jobs; any number of replicas may, and each job decides who does it."""

    def __init__(self, core: Core, runner: JobRunner, validation: ValidationWorker) -> None:
        self._core = core
        self._runner = runner
        self._validation = validation

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            await self._runner.run()
        finally:
            await self._validation.stop(_STOP_SECONDS)
            await self._core.database.close()


async def build_background(context: ProcessContext) -> BackgroundProcess:
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
    audit = AuditUseCases(
        AuditEvents(core.database),
        Leases(core.database),
        SoftwareSigner.from_der(await core.installation.secret(AUDIT_KEY)),
        origin=settings.server.external_url,
        owner=core.owner,
    )
    parts = background_parts(core)
    maintenance = parts.maintenance
    ledger = NonceLedger(core.database, lifetime=settings.acme.nonce_lifetime)
    orders_since = settings.acme.order_lifetime + timedelta(days=32)
    jobs = [
        Job(name="validation_takeover", every=2.0, run=validation.take_over),
        Job(name="issuance_recovery", every=2.0, run=core.issuance.recover),
        Job(name="crl_publication", every=1.0, run=parts.publication.publish_due),
        Job(name="late_revocation", every=10.0, run=Revocations(core.database).revoke_late),
        Job(name="audit_sealing", every=1.0, run=audit.seal),
        Job(name="nonce_truncation", every=30.0, run=ledger.truncate_old),
        Job(name="partitions", every=3600.0, run=maintenance.ensure_partitions),
        Job(
            name="order_expiry",
            every=60.0,
            run=lambda: maintenance.expire_orders(core.clock.now() - orders_since),
        ),
        Job(name="limit_expiry", every=600.0, run=core.limits.forget_stale),
        Job(name="proof_expiry", every=600.0, run=maintenance.forget_expired_proofs),
    ]
    if settings.server.tls is TlsMode.AUTO:
        renew = parts.service_certificate.renew_if_due
        jobs.append(Job(name="service_certificate", every=60.0, run=renew))
    return BackgroundProcess(core, JobRunner(jobs), validation)
