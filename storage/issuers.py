"""The certification authorities of this installation."""

from __future__ import annotations

from collections.abc import Sequence

from policy.model.certificates import Issuer
from storage.pool import Database
from storage.secrets import SealedSecret, insert_secret

_COLUMNS = "name, certificate, parent, key, shards, is_active"
_LIST = f"SELECT {_COLUMNS} FROM issuers ORDER BY created_at, parent NULLS FIRST, name"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('acme-server installation', 0))"
_IS_ESTABLISHED = "SELECT EXISTS (SELECT FROM issuers)"
_INSERT = f"INSERT INTO issuers ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)"
_AUDIT = """
    INSERT INTO audit_events (actor, action, subject)
    VALUES ('system:installation', 'issuer_created', 'issuer:' || $1::text)
"""


class Issuers:
    """The table of issuers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> Sequence[Issuer]:
        """All of them, parents before their children."""
        return [Issuer(**dict(row)) for row in await self._database.fetch(_LIST)]

    async def establish(self, issuers: Sequence[Issuer], secrets: Sequence[SealedSecret]) -> bool:
        """Make the installation: its issuers and secrets in one transaction. False, and nothing
        is changed, if another process was first."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            if await connection.fetchval(_IS_ESTABLISHED):
                return False
            for secret in secrets:
                await insert_secret(connection, secret)
            for issuer in issuers:
                await connection.execute(
                    _INSERT,
                    issuer.name,
                    issuer.certificate,
                    issuer.parent,
                    issuer.key,
                    issuer.shards,
                    issuer.is_active,
                )
                await connection.execute(_AUDIT, issuer.name)
        return True
