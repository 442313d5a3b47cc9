"""What a look at the database tells about its health, for the doctor. Changes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from policy.model.certificates import Issuer
from policy.model.errors import DatabaseUnavailable

# What the role that serves may only add to.
APPEND_ONLY = ("audit_events", "audit_batches", "serials", "blocked_keys")

_SERVER = """
    SELECT current_setting('server_version_num')::integer AS version_number,
        current_setting('server_version') AS version,
        pg_encoding_to_char(encoding) AS encoding,
        pg_is_in_recovery() AS is_standby,
        clock_timestamp() AS now,
        rolname, rolsuper,
        current_setting('max_connections')::integer AS max_connections,
        (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
            AS connections,
        (SELECT max(age(datfrozenxid)) FROM pg_database) AS transaction_age
    FROM pg_database, pg_roles
    WHERE datname = current_database() AND rolname = current_user
"""
_SETTINGS = """
    SELECT name, setting FROM pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums',
        'autovacuum')
"""
_HAS_TABLES = (
    "SELECT to_regclass('schema_migrations') IS NOT NULL AND to_regclass('leases') IS NOT NULL"
)
_OWNS_TABLES = """
    SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class
    WHERE oid = 'orders'::regclass
"""
# Partitions have rights of their own.
_EXCESS_RIGHTS = """
    SELECT relname || ': ' || string_agg(privilege, ', ' ORDER BY privilege) AS excess
    FROM pg_class, unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS privilege
    WHERE (oid = ANY ($1::text[]::regclass[]) OR oid IN (
            SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY ($1::text[]::regclass[])))
        AND has_table_privilege(oid, privilege)
    GROUP BY relname
    ORDER BY relname
"""
_PARTITIONS = """
    SELECT name, max(right(child.relname, 7)) AS last_month
    FROM partitioned_tables
    LEFT JOIN pg_inherits ON inhparent = to_regclass(name)
    LEFT JOIN pg_class AS child ON child.oid = inhrelid
    GROUP BY name
    ORDER BY name
"""
# Two minutes past the end of a lease somebody should have taken over.
_ABANDONED = """
    SELECT
        (SELECT count(*) FROM validations
            WHERE status = 'processing' AND lease_until < now() - interval '2 minutes')
            AS validations,
        (SELECT count(*) FROM certificates
            WHERE status = 'reserved' AND lease_until < now() - interval '2 minutes')
            AS issuances
"""
_ISSUERS = """
    SELECT name, certificate, parent, key, shards, is_active FROM issuers
    ORDER BY created_at, parent NULLS FIRST, name
"""
_CRLS = "SELECT issuer, shard, number, this_update, next_update FROM crls ORDER BY issuer, shard"
_CHECK_VALUE = "SELECT sealed FROM sealed_secrets WHERE purpose = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCrl:
    """A CRL without its bytes."""

    issuer: str
    shard: int
    number: int
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """``clock_offset`` is our clock minus the database's, in seconds. ``settings`` are
    PostgreSQL's that concern durability. ``role`` is who serves.

    What follows ``has_tables`` is empty in a database that was not migrated. ``excess_rights``
    names append-only tables that the role may do more to, ``partitions`` the last month
    (``2026_11``) that each table is prepared for, ``abandoned_…`` what nobody took over.
    """

    version_number: int
    version: str
    encoding: str
    is_standby: bool
    clock_offset: float
    role: str
    is_superuser: bool
    max_connections: int
    connections: int
    transaction_age: int
    settings: Mapping[str, str]
    has_tables: bool
    owns_tables: bool = False
    excess_rights: tuple[str, ...] = ()
    partitions: Mapping[str, str | None]
    abandoned_validations: int = 0
    abandoned_issuances: int = 0
    issuers: tuple[Issuer, ...] = ()
    crls: tuple[PublishedCrl, ...] = ()
    check_value: bytes | None = None

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The certificates of the roots, as DER."""
        return tuple(issuer.certificate for issuer in self.issuers if issuer.parent is None)


async def inspect_database(url: str, *, check_purpose: str, seconds: float = 10.0) -> DatabaseFacts:
    """Look at the database at ``url``, within ``seconds``.

    ``check_purpose`` is the purpose of the sealed check value. Raises DatabaseUnavailable, whose
    text says why without holding a password.
    """
    try:
        async with asyncio.timeout(seconds):
            connection = await asyncpg.connect(url, server_settings={"timezone": "UTC"})
            try:
                return await _inspect(connection, check_purpose)
            finally:
                connection.terminate()
    except TimeoutError:
        raise DatabaseUnavailable(f"no answer within {seconds:g} s") from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(str(error).strip() or type(error).__name__) from error


async def _inspect(connection: Any, check_purpose: str) -> DatabaseFacts:
    before = time.time()
    server = dict(await connection.fetchrow(_SERVER))
    middle = (before + time.time()) / 2
    has_tables = await connection.fetchval(_HAS_TABLES)
    return DatabaseFacts(
        clock_offset=middle - server.pop("now").timestamp(),
        role=server.pop("rolname"),
        is_superuser=server.pop("rolsuper"),
        settings=dict(await connection.fetch(_SETTINGS)),
        has_tables=has_tables,
        **server,
        **(await _inspect_tables(connection, check_purpose) if has_tables else {"partitions": {}}),
    )


async def _inspect_tables(connection: Any, check_purpose: str) -> dict[str, Any]:
    abandoned = await connection.fetchrow(_ABANDONED)
    excess = await connection.fetch(_EXCESS_RIGHTS, list(APPEND_ONLY))
    return {
        "owns_tables": await connection.fetchval(_OWNS_TABLES),
        "excess_rights": tuple(row["excess"] for row in excess),
        "partitions": dict(await connection.fetch(_PARTITIONS)),
        "abandoned_validations": abandoned["validations"],
        "abandoned_issuances": abandoned["issuances"],
        "issuers": tuple(Issuer(**row) for row in await connection.fetch(_ISSUERS)),
        "crls": tuple(PublishedCrl(**row) for row in await connection.fetch(_CRLS)),
        "check_value": await connection.fetchval(_CHECK_VALUE, check_purpose),
    }
