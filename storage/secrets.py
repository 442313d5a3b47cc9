"""Sealed secrets. Only ciphertext passes here; ``workflow.sealing`` opens it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from storage.pool import Connection, Database

_INSERT = "INSERT INTO sealed_secrets (id, purpose, sealed) VALUES ($1, $2, $3)"
_FIND = "SELECT id, purpose, sealed FROM sealed_secrets WHERE id = $1"
_FIND_BY_PURPOSE = """
    SELECT id, purpose, sealed FROM sealed_secrets WHERE purpose = $1 ORDER BY id DESC LIMIT 1
"""
_LIST = "SELECT id, purpose, sealed FROM sealed_secrets ORDER BY id"
# Decides the race between two that replace the same secret: one finds it there to remove.
_REPLACE = """
    WITH removed AS (
        DELETE FROM sealed_secrets WHERE id = $4 AND purpose = $2 RETURNING id
    ), made AS (
        INSERT INTO sealed_secrets (id, purpose, sealed)
        SELECT $1, $2, $3 WHERE $4::uuid IS NULL OR EXISTS (SELECT FROM removed)
        RETURNING id
    ), audit AS (
        INSERT INTO audit_events (actor, action, subject)
        SELECT 'system:secrets', 'secret_replaced', $2::text || ':' || id FROM made
    )
    SELECT count(*) FROM made
"""
_REWRAP = "UPDATE sealed_secrets SET sealed = $2 WHERE id = $1"


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """One row. ``purpose`` and ``id`` are bound to the ciphertext."""

    id: UUID
    purpose: str
    sealed: bytes


class SealedSecrets:
    """The table of sealed secrets."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, secret_id: UUID) -> SealedSecret | None:
        """One secret by its id."""
        row = await self._database.fetchrow(_FIND, secret_id)
        return None if row is None else SealedSecret(*row)

    async def find_by_purpose(self, purpose: str) -> SealedSecret | None:
        """The newest secret of a purpose."""
        row = await self._database.fetchrow(_FIND_BY_PURPOSE, purpose)
        return None if row is None else SealedSecret(*row)

    async def list(self) -> Sequence[SealedSecret]:
        """All of them."""
        return [SealedSecret(*row) for row in await self._database.fetch(_LIST)]

    async def replace(
        self, secret_id: UUID, purpose: str, sealed: bytes, *, replaces: UUID | None
    ) -> bool:
        """Put a new secret in the place of ``replaces`` (None: there was none); False if that
        one is gone already."""
        return bool(await self._database.fetchval(_REPLACE, secret_id, purpose, sealed, replaces))


async def insert_secret(connection: Connection, secret: SealedSecret) -> None:
    """Add a secret in the transaction of ``connection``."""
    await connection.execute(_INSERT, secret.id, secret.purpose, secret.sealed)


async def rewrap_secret(connection: Connection, secret_id: UUID, sealed: bytes) -> None:
    """Replace the ciphertext of a secret in the transaction of ``connection``."""
    await connection.execute(_REWRAP, secret_id, sealed)
