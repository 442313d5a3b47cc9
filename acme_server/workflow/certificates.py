"""Certificates as clients download them (RFC 8555, section 7.4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from acme_server.workflow.authority import Authority
from acme_server.workflow.chains import Chains
from policy.model.accounts import Caller
from policy.model.certificates import CertificateStatus
from policy.model.errors import ErrorKind, ServerError
from policy.model.ids import CertificateId
from storage.certificates import Certificates


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateChain:
    """A certificate and the CA certificates above it, all DER.

    ``issuers`` go up to, but without, the root; ``alternates`` are other chains from the same
    certificate to other trust anchors. ``issuer_url`` is where the issuer's certificate is.
    """

    certificate: bytes
    issuers: tuple[bytes, ...]
    alternates: tuple[tuple[bytes, ...], ...]
    issuer_url: str


class CertificateUseCases:
    """What an account can do with its certificates."""

    def __init__(self, certificates: Certificates, authority: Authority, chains: Chains) -> None:
        self._certificates = certificates
        self._authority = authority
        self._chains = chains

    async def get(self, caller: Caller, certificate_id: CertificateId) -> CertificateChain:
        """Raises ServerError(NOT_FOUND), for another account's as for a missing one."""
        certificate = await self._certificates.find(caller, certificate_id)
        if (
            certificate is None
            or certificate.status is not CertificateStatus.ISSUED
            or certificate.signature is None
        ):
            raise ServerError(ErrorKind.NOT_FOUND, "There is no such certificate.")
        issuer = self._authority.get(certificate.issuer)
        default, *alternates = self._chains.of(certificate.issuer)
        return CertificateChain(
            certificate=issuer.assemble(certificate.tbs, certificate.signature),
            issuers=default,
            alternates=tuple(alternates),
            issuer_url=issuer.facts.certificate_url,
        )
