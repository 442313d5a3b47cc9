"""Revocation: by accounts, by who holds a certificate's key, by operators (RFC 8555, 7.6).

A revocation is a durable row, and so is the request for the CRL that lists it; whoever publishes
CRLs signs (``workflow.publication``).
"""

from __future__ import annotations

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from acme_server.workflow.reports import der_of
from policy.blocklists import spki_hash
from policy.csr import jwk_thumbprint
from policy.keys import AccountKey, parse_certificate_key
from policy.model.accounts import Caller
from policy.model.certificates import Certificate, RevocationReason
from policy.model.errors import ErrorKind, ServerError
from policy.revocation import UnverifiedCertificate, check_reason, parse_certificate
from storage.certificates import Certificates
from storage.revocations import KeyProof, RevocationOutcome, Revocations

_log = structlog.get_logger()
_NOT_ENTITLED = (
    "The certificate was not issued here, or whoever signed the request may not revoke it: sign "
    "with the account that it was issued to, with an account that holds valid authorizations for "
    "all its names, or with the certificate's own key."
)
_REFUSALS = {
    RevocationOutcome.REFUSED: (
        ErrorKind.UNAUTHORIZED,
        _NOT_ENTITLED,
    ),
    RevocationOutcome.ALREADY_REVOKED: (
        ErrorKind.ALREADY_REVOKED,
        "The certificate is revoked already.",
    ),
    RevocationOutcome.EXPIRED: (
        ErrorKind.UNAUTHORIZED,
        "The certificate has expired; nobody relies on it any more, and it can't be revoked.",
    ),
}


class RevocationUseCases:
    """What clients can have revoked. All raise ServerError: BAD_REVOCATION_REASON, MALFORMED for
    what is no certificate, UNAUTHORIZED, ALREADY_REVOKED."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations

    async def revoke_for(
        self, caller: Caller, unverified_certificate: bytes, reason_code: int | None
    ) -> None:
        """Revoke a certificate (DER) that was issued to the account, or for whose names it holds
        valid authorizations. Raises CallerStale."""
        reason = check_reason(reason_code)
        certificate = parse_certificate(unverified_certificate)
        outcome = await self._revocations.revoke_for(caller, certificate, reason)
        _check(outcome)
        _told(certificate, reason)

    async def revoke_with(
        self,
        key: AccountKey,
        thumbprint: bytes,
        unverified_certificate: bytes,
        reason_code: int | None,
    ) -> None:
        """Revoke a certificate (DER) for who holds its private key; ``thumbprint`` is the key's
        (RFC 7638). With the reason keyCompromise the key is refused from now on, and the other
        certificates with it are revoked too."""
        reason = check_reason(reason_code)
        certificate = parse_certificate(unverified_certificate)
        proof = KeyProof(thumbprint, spki_hash(key))
        outcome = await self._revocations.revoke_with(proof, certificate, reason)
        _check(outcome)
        _told(certificate, reason)


class OperatorRevocations:
    """What an operator can have revoked: any certificate that was issued."""

    def __init__(self, revocations: Revocations, certificates: Certificates) -> None:
        self._revocations = revocations
        self._certificates = certificates

    async def revoke(
        self, serial: bytes, reason: RevocationReason, operator: str
    ) -> Certificate | None:
        """The revoked certificate with this serial; None if none was issued.

        Raises ServerError: ALREADY_REVOKED, UNAUTHORIZED for an expired one.
        """
        found = await self._certificates.find_by_serial(serial)
        der = None if found is None else der_of(found)
        if der is None:
            return None
        certificate = parse_certificate(der)
        outcome = await self._revocations.revoke_by_operator(
            certificate, _thumbprint_of(der), reason, operator
        )
        _check(outcome)
        return await self._certificates.find_by_serial(serial)


def _thumbprint_of(der: bytes) -> bytes:
    public = x509.load_der_x509_certificate(der).public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return jwk_thumbprint(parse_certificate_key(spki))


def _check(outcome: RevocationOutcome) -> None:
    if outcome is not RevocationOutcome.REVOKED:
        raise ServerError(*_REFUSALS[outcome])


def _told(certificate: UnverifiedCertificate, reason: RevocationReason) -> None:
    _log.info("certificate_revoked", serial=certificate.serial.hex(), reason=reason.word)
