"""Revoking certificates: who may, once, with what follows for their keys and CRLs."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta

from policy.model.accounts import Caller
from policy.model.certificates import RevocationReason
from policy.model.errors import CallerStale
from policy.revocation import UnverifiedCertificate
from storage.accounts import CALLER
from storage.pool import Database

# Certificate $3 is on record only if all its bytes are ($4, $5); the reason is $6, the actor $7.
_TARGET = """
    target AS (
        SELECT c.* FROM serials JOIN certificates AS c ON c.id = serials.certificate_id
        WHERE serials.serial = $3 AND c.tbs = $4 AND c.signature = $5
    )
"""
# The account that the certificate was issued to, or one that could have it issued now: with a
# valid authorization for each name, as newOrder finds them.
_BY_ACCOUNT = f"""
    WITH {CALLER}, {_TARGET}, entitled AS (
        SELECT target.*, false AS compromises, NULL::bytea AS thumbprint,
            CASE WHEN target.account_id = caller.id THEN 'account' ELSE 'authorizations' END
                AS entitlement
        FROM target, caller
        WHERE target.account_id = caller.id OR (
            cardinality(target.identifiers) > 0
            AND NOT EXISTS (
                SELECT FROM unnest(target.identifiers) AS named (identifier)
                WHERE NOT EXISTS (
                    SELECT FROM proven_names AS p
                    JOIN authorizations AS a ON a.id = p.authorization_id
                    WHERE p.account_id = caller.id
                        AND p.identifier = regexp_replace(named.identifier, '^dns:\\*\\.', 'dns:')
                        AND p.wildcard = starts_with(named.identifier, 'dns:*.')
                        AND p.expires_at > now()
                        AND a.status = 'valid' AND a.expires_at > now()
                )
            )
        )
    )
"""
# $1 is the thumbprint of the key that signed, $2 the SHA-256 of its SubjectPublicKeyInfo.
_BY_KEY = f"""
    WITH caller AS (SELECT NULL::uuid AS id), {_TARGET}, entitled AS (
        SELECT target.*, $6 = {RevocationReason.KEY_COMPROMISE:d} AS compromises,
            $1::bytea AS thumbprint, 'key' AS entitlement
        FROM target WHERE target.spki_sha256 = $2
    )
"""
# $1 is the thumbprint of the certificate's key; $2 says that it is known to be compromised.
_BY_OPERATOR = f"""
    WITH caller AS (SELECT NULL::uuid AS id), {_TARGET}, entitled AS (
        SELECT target.*, $2::boolean AS compromises, $1::bytea AS thumbprint,
            'operator' AS entitlement
        FROM target
    )
"""
# Decides the race between revocations: one finds the certificate not revoked. A key that is shown
# to be compromised is blocked, and takes all its certificates along, also those revoked for
# another reason. The trigger on certificates requests the CRLs.
_REVOKE = """
    , acting AS (
        SELECT * FROM entitled WHERE not_after > now()
    ), concerned AS (
        SELECT id FROM acting
        UNION
        SELECT c.id FROM acting JOIN certificates AS c ON c.spki_sha256 = acting.spki_sha256
        WHERE acting.compromises
    ), revoked AS (
        UPDATE certificates AS c
        SET revoked_at = coalesce(c.revoked_at, date_trunc('second', now())),
            revocation_reason = $6
        FROM concerned, acting
        WHERE c.id = concerned.id AND c.not_after > now()
            AND (c.revoked_at IS NULL OR acting.compromises AND c.revocation_reason <> $6)
        RETURNING c.id, c.serial, c.revocation_reason, acting.entitlement
    ), blocked AS (
        INSERT INTO blocked_keys (thumbprint, certificate_id, blocked_by)
        SELECT thumbprint, id, $7 FROM acting WHERE compromises
        ON CONFLICT (thumbprint) DO NOTHING
        RETURNING thumbprint, certificate_id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT $7, 'certificate_revoked', 'certificate:' || id,
            jsonb_build_object('serial', encode(serial, 'hex'), 'reason', revocation_reason,
                'entitlement', entitlement)
        FROM revoked
        UNION ALL
        SELECT $7, 'key_blocked', 'key:' || encode(thumbprint, 'hex'),
            jsonb_build_object('certificate', certificate_id)
        FROM blocked
    )
    SELECT caller.id AS caller_id, entitled.id AS entitled_id,
        entitled.not_after <= now() AS is_expired,
        (SELECT count(*) FROM revoked) + (SELECT count(*) FROM blocked) AS changes
    FROM caller LEFT JOIN entitled ON true
"""

# A certificate that was claimed while its key was being blocked: neither statement saw the other.
# Keys that were blocked longer ago than $1 have none of these left.
_REVOKE_LATE = f"""
    WITH late AS (
        SELECT c.id
        FROM blocked_keys AS b
        JOIN certificates AS k ON k.id = b.certificate_id
        JOIN certificates AS c ON c.spki_sha256 = k.spki_sha256
        WHERE b.blocked_at > now() - $1::interval
            AND c.revoked_at IS NULL AND c.not_after > now()
    ), revoked AS (
        UPDATE certificates AS c
        SET revoked_at = date_trunc('second', now()),
            revocation_reason = {RevocationReason.KEY_COMPROMISE:d}
        FROM late WHERE c.id = late.id AND c.revoked_at IS NULL
        RETURNING c.id, c.serial, c.revocation_reason
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject, detail)
        SELECT 'system:revocation', 'certificate_revoked', 'certificate:' || id,
            jsonb_build_object('serial', encode(serial, 'hex'), 'reason', revocation_reason,
                'entitlement', 'key')
        FROM revoked
    )
    SELECT count(*) FROM revoked
"""
_LATE = timedelta(days=1)


class RevocationOutcome(enum.Enum):
    """What came of it. REFUSED: the certificate is not on record, or it is none of the caller's
    business; nobody is told which."""

    REVOKED = enum.auto()
    REFUSED = enum.auto()
    ALREADY_REVOKED = enum.auto()
    EXPIRED = enum.auto()


@dataclass(frozen=True, slots=True)
class KeyProof:
    """A key whose holder signed the request: its RFC 7638 thumbprint and the SHA-256 of its
    SubjectPublicKeyInfo, 32 bytes each."""

    thumbprint: bytes
    spki_sha256: bytes


class Revocations:
    """Revokes certificates, one statement each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def revoke_for(
        self, caller: Caller, certificate: UnverifiedCertificate, reason: RevocationReason
    ) -> RevocationOutcome:
        """As the account that it was issued to, or that holds authorizations for all its names.

        Raises CallerStale.
        """
        return await self._revoke(
            _BY_ACCOUNT,
            (caller.account_id, caller.thumbprint),
            certificate,
            reason,
            f"account:{caller.account_id}",
        )

    async def revoke_with(
        self, key: KeyProof, certificate: UnverifiedCertificate, reason: RevocationReason
    ) -> RevocationOutcome:
        """As the holder of its own key. KEY_COMPROMISE also blocks the key for good."""
        return await self._revoke(
            _BY_KEY,
            (key.thumbprint, key.spki_sha256),
            certificate,
            reason,
            f"key:{key.thumbprint.hex()}",
        )

    async def revoke_by_operator(
        self,
        certificate: UnverifiedCertificate,
        thumbprint: bytes,
        reason: RevocationReason,
        operator: str,
    ) -> RevocationOutcome:
        """As an operator. KEY_COMPROMISE also blocks the key with this thumbprint for good."""
        compromises = reason is RevocationReason.KEY_COMPROMISE
        return await self._revoke(
            _BY_OPERATOR, (thumbprint, compromises), certificate, reason, f"operator:{operator}"
        )

    async def revoke_late(self) -> int:
        """Revoke the certificates that were issued while their key was being blocked; their
        number. Who blocks a key and who claims a certificate with it don't wait for each other."""
        number: int = await self._database.fetchval(_REVOKE_LATE, _LATE)
        return number

    async def _revoke(
        self,
        entitlement: str,
        who: tuple[object, object],
        certificate: UnverifiedCertificate,
        reason: RevocationReason,
        actor: str,
    ) -> RevocationOutcome:
        row = await self._database.fetchrow(
            entitlement + _REVOKE,
            *who,
            certificate.serial,
            certificate.tbs,
            certificate.signature,
            reason,
            actor,
        )
        if row is None:
            raise CallerStale
        if row["entitled_id"] is None:
            return RevocationOutcome.REFUSED
        if row["changes"]:
            return RevocationOutcome.REVOKED
        if row["is_expired"]:
            return RevocationOutcome.EXPIRED
        return RevocationOutcome.ALREADY_REVOKED
