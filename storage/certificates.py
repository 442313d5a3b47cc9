"""Certificates on record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from policy.model.accounts import Caller
from policy.model.certificates import Certificate, RevocationReason, RevokedEntry
from policy.model.errors import CallerStale
from policy.model.ids import CertificateId
from storage.accounts import CALLER
from storage.pool import Database
from storage.rows import CERTIFICATE_COLUMNS, certificate_of

_FIND = f"""
    WITH {CALLER}
    SELECT caller.id AS caller_id, {CERTIFICATE_COLUMNS}
    FROM caller LEFT JOIN certificates AS c ON c.id = $3 AND c.account_id = caller.id
"""
_FIND_BY_SERIAL = f"""
    SELECT {CERTIFICATE_COLUMNS}
    FROM serials JOIN certificates AS c ON c.id = serials.certificate_id
    WHERE serials.serial = $1
"""
_LIST = f"""
    SELECT {CERTIFICATE_COLUMNS} FROM certificates AS c
    WHERE $1::uuid IS NULL OR c.id < $1
    ORDER BY c.id DESC LIMIT $2
"""
# A revoked certificate stays on the CRL until one CRL after its end has been published
# (RFC 5280, section 3.3).
_REVOKED = """
    SELECT serial, revoked_at, revocation_reason FROM certificates
    WHERE issuer = $1 AND shard = $2 AND revoked_at IS NOT NULL AND not_after > now() - $3::interval
    ORDER BY serial
"""


class Certificates:
    """The table of certificates."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, caller: Caller, certificate_id: CertificateId) -> Certificate | None:
        """The caller's certificate; None if it isn't theirs or isn't there. Raises CallerStale."""
        row = await self._database.fetchrow(
            _FIND, caller.account_id, caller.thumbprint, certificate_id
        )
        if row is None:
            raise CallerStale
        return None if row["certificate_id"] is None else certificate_of(row)

    async def find_by_serial(self, serial: bytes) -> Certificate | None:
        """The certificate with a serial, whoever's it is."""
        row = await self._database.fetchrow(_FIND_BY_SERIAL, serial)
        return None if row is None else certificate_of(row)

    async def list(self, before: CertificateId | None, limit: int) -> Sequence[Certificate]:
        """Certificates, newest first, from the first before ``before``."""
        return [certificate_of(row) for row in await self._database.fetch(_LIST, before, limit)]

    async def revoked(
        self, issuer: str, shard: int, kept_after_end: timedelta
    ) -> Sequence[RevokedEntry]:
        """What the shard's CRL lists: the revoked certificates that haven't ended longer ago than
        ``kept_after_end``."""
        rows = await self._database.fetch(_REVOKED, issuer, shard, kept_after_end)
        return [
            RevokedEntry(
                serial=row["serial"],
                revoked_at=row["revoked_at"],
                reason=RevocationReason(row["revocation_reason"]),
            )
            for row in rows
        ]
