"""The schema: numbered SQL files, applied in order, each once.

A file that was applied is never edited; its checksum is kept with it. Replicas that start together
take turns under a transaction-level lock (a session's would not survive a connection pooler).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from storage.pool import Connection, Database

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_MIN_VERSION = 150000
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('acme-server migrations', 0))"
_LEDGER = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        number integer PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )
"""
_APPLIED = "SELECT number, name, checksum FROM schema_migrations ORDER BY number"
_RECORD = "INSERT INTO schema_migrations (number, name, checksum) VALUES ($1, $2, $3)"

# What the application may do; tables that are not named here it may only read. History is
# append-only: no role that serves can change or remove what it wrote.
_READ_WRITE = (
    "accounts",
    "external_accounts",
    "orders",
    "authorizations",
    "proven_names",
    "preauthorizations",
    "validations",
    "certificates",
    "sealed_secrets",
    "issuers",
    "crls",
    "crl_requests",
    "leases",
    "rate_limits",
    "issued_name_sets",
    "failing_names",
    "watermarks",
    "nonce_epoch",
)
_APPEND_ONLY = ("audit_events", "audit_batches", "serials", "blocked_keys")
_NONCES = ("nonces_a", "nonces_b")


class MigrationError(Exception):
    """The schema can't be brought to what this version needs; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the schema."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known_migrations() -> list[Migration]:
    """The migrations of this version, in order."""
    files = sorted(Path(__file__).parent.glob("*.sql"))
    shapes = [(path, _FILE.fullmatch(path.name)) for path in files]
    return [Migration(int(m[1]), m[2], path.read_text("utf-8")) for path, m in shapes if m]


async def migrate(owner_url: str, application_role: str | None) -> list[str]:
    """Apply what is missing as the owner, and grant ``application_role`` (None: the owner
    itself) its rights; the names of what was applied.

    Raises MigrationError, DatabaseUnavailable.
    """
    database = await Database.open(owner_url, max_size=1, statement_timeout=300, lock_timeout=60)
    try:
        async with database.transaction() as connection:
            return await _migrate(connection, application_role)
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f"the role of database.owner_url may not change the schema: {error}; make it the "
            "owner of the database, or grant it CREATE on the schema"
        ) from error
    finally:
        await database.close()


async def pending_migrations(url: str) -> list[str]:
    """The names of migrations that are not applied yet. Raises MigrationError,
    DatabaseUnavailable."""
    database = await Database.open(url, max_size=1)
    try:
        async with database.transaction() as connection:
            exists = await connection.fetchval("SELECT to_regclass('schema_migrations')")
            applied = [] if exists is None else await connection.fetch(_APPLIED)
            return [_label(migration) for migration in _missing(applied)]
    finally:
        await database.close()


async def _migrate(connection: Connection, application_role: str | None) -> list[str]:
    version = int(await connection.fetchval("SHOW server_version_num"))
    if version < _MIN_VERSION:
        raise MigrationError(
            f"PostgreSQL {version // 10000} is too old; acme-server needs 15 or newer"
        )
    await connection.execute(_LOCK)
    await connection.execute(_LEDGER)
    missing = _missing(await connection.fetch(_APPLIED))
    for migration in missing:
        try:
            await connection.execute(migration.sql)
        except (asyncpg.PostgresSyntaxError, asyncpg.UndefinedObjectError) as error:
            raise MigrationError(f"migration {_label(migration)} failed: {error}") from error
        await connection.execute(_RECORD, migration.number, migration.name, migration.checksum)
    await connection.fetch("SELECT ensure_partitions()")
    await connection.execute("SELECT start_audit_era()")
    owner = await connection.fetchval("SELECT current_user")
    if application_role is not None and application_role != owner:
        await _grant(connection, application_role)
    return [_label(migration) for migration in missing]


def _missing(applied: Sequence[asyncpg.Record]) -> list[Migration]:
    known = known_migrations()
    for row in applied:
        ours = next((m for m in known if m.number == row["number"]), None)
        if ours is None:
            raise MigrationError(
                f"the database has migration {row['number']:04}_{row['name']}, which this "
                "version of acme-server does not know; run the version that made it, or newer"
            )
        if ours.checksum != row["checksum"]:
            raise MigrationError(
                f"migration {_label(ours)} was changed after it was applied; "
                "install acme-server anew"
            )
    done = {row["number"] for row in applied}
    return [migration for migration in known if migration.number not in done]


async def _grant(connection: Connection, role: str) -> None:
    quoted = await connection.fetchval("SELECT quote_ident($1)", role)
    schema = await connection.fetchval("SELECT quote_ident(current_schema())")
    statements = [
        f"GRANT USAGE ON SCHEMA {schema} TO {quoted}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {quoted}",
        f"GRANT INSERT, UPDATE, DELETE ON {', '.join(_READ_WRITE)} TO {quoted}",
        f"GRANT INSERT ON {', '.join(_APPEND_ONLY)} TO {quoted}",
        f"GRANT INSERT, DELETE, TRUNCATE ON {', '.join(_NONCES)} TO {quoted}",
        f"GRANT EXECUTE ON FUNCTION ensure_partitions(integer) TO {quoted}",
        f"GRANT EXECUTE ON FUNCTION drop_partitions(text, timestamptz) TO {quoted}",
    ]
    for statement in statements:
        await connection.execute(statement)


def _label(migration: Migration) -> str:
    return f"{migration.number:04}_{migration.name}"
