"""The schema says what policy.model says, and who may do what to it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import asyncpg
import pytest

from policy.model.accounts import ACCOUNT_MOVES
from policy.model.authorizations import AUTHORIZATION_MOVES, CHALLENGE_MOVES, ChallengeStatus
from policy.model.certificates import CERTIFICATE_MOVES
from policy.model.orders import ORDER_MOVES
from storage.migrations import MigrationError, known_migrations, migrate, pending_migrations
from storage.pool import Database
from support.postgres import APPLICATION, PostgresCluster


@pytest.mark.parametrize(
    ("table", "states"),
    [
        ("accounts", set(ACCOUNT_MOVES)),
        ("orders", set(ORDER_MOVES)),
        ("authorizations", set(AUTHORIZATION_MOVES)),
        # A challenge that was not answered has no row.
        ("validations", set(CHALLENGE_MOVES) - {ChallengeStatus.PENDING}),
        ("certificates", set(CERTIFICATE_MOVES)),
    ],
)
async def test_states_of_a_table_are_those_of_the_model(
    database: Database, table: str, states: set[str]
) -> None:
    definition: str = await database.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1"
        " AND conrelid = to_regclass($2)",
        f"{table}_status",
        table,
    )

    assert set(re.findall(r"'([a-z]+)'", definition)) == {str(state) for state in states}


@pytest.mark.parametrize("table", ["audit_events", "audit_batches", "serials", "blocked_keys"])
@pytest.mark.parametrize(
    "statement",
    ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}"],
)
async def test_history_is_append_only_for_the_application(
    database: Database, table: str, statement: str
) -> None:
    columns = {"audit_events": "actor", "audit_batches": "root", "serials": "serial"}
    column = columns.get(table, "thumbprint")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(statement.format(table, column, column))


async def test_partition_of_history_is_append_only_too(database: Database) -> None:
    partition: str = await database.fetchval(
        "SELECT inhrelid::regclass::text FROM pg_inherits"
        " WHERE inhparent = 'audit_events'::regclass LIMIT 1"
    )

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(f"DELETE FROM {partition}")


@pytest.mark.parametrize("table", ["accounts", "orders", "certificates", "sealed_secrets"])
async def test_application_can_empty_no_table_but_the_nonces(
    database: Database, table: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await database.execute(f"TRUNCATE {table}")

    await database.execute("TRUNCATE nonces_a")


async def test_partitions_reach_three_months_ahead_and_are_made_once(database: Database) -> None:
    per_table: list[Mapping[str, int]] = await database.fetch(
        "SELECT inhparent::regclass::text AS parent, count(*) AS partitions FROM pg_inherits"
        " WHERE inhparent IN (SELECT oid FROM pg_class WHERE relkind = 'p') GROUP BY 1"
    )

    assert {row["parent"]: row["partitions"] for row in per_table} == dict.fromkeys(
        ("orders", "authorizations", "validations", "certificates", "audit_events"), 5
    )
    assert await database.fetch("SELECT ensure_partitions()") == []


async def test_partitions_in_use_are_never_dropped(database: Database) -> None:
    with pytest.raises(asyncpg.RaiseError, match="kept for at least"):
        await database.fetch("SELECT drop_partitions('orders', now())")


async def test_ids_made_by_the_database_are_of_version_7_and_in_order(database: Database) -> None:
    rows = await database.fetch("SELECT new_id() AS id FROM generate_series(1, 50)")

    for row in rows:
        assert row["id"].version == 7
    milliseconds = [row["id"].int >> 80 for row in rows]
    assert milliseconds == sorted(milliseconds)


async def test_migrating_again_changes_nothing(owner_url: str) -> None:
    assert await migrate(owner_url, APPLICATION) == []
    assert await pending_migrations(owner_url) == []


async def test_pending_migrations_of_an_empty_database_are_all(
    postgres_cluster: PostgresCluster, empty_database: str
) -> None:
    pending = await pending_migrations(postgres_cluster.owner_url(empty_database))

    assert pending == [f"{m.number:04}_{m.name}" for m in known_migrations()]


async def test_edited_migration_is_refused_by_name(owner_url: str) -> None:
    owner = await Database.open(owner_url)
    await owner.execute("UPDATE schema_migrations SET checksum = 'x' WHERE number = 2")
    await owner.close()

    with pytest.raises(MigrationError, match="0002_tables was changed"):
        await migrate(owner_url, APPLICATION)


async def test_database_of_a_newer_version_is_refused(owner_url: str) -> None:
    owner = await Database.open(owner_url)
    await owner.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'future', 'x')"
    )
    await owner.close()

    with pytest.raises(MigrationError, match="9999_future"):
        await migrate(owner_url, APPLICATION)


async def test_role_without_rights_gets_a_migration_error_that_names_the_setting(
    postgres_cluster: PostgresCluster, empty_database: str
) -> None:
    with pytest.raises(MigrationError, match=r"database\.owner_url"):
        await migrate(postgres_cluster.app_url(empty_database), None)


async def test_one_role_can_own_and_serve(
    postgres_cluster: PostgresCluster, empty_database: str
) -> None:
    url = postgres_cluster.owner_url(empty_database)

    await migrate(url, "acme_owner")

    database = await Database.open(url)
    assert await database.fetchval("SELECT count(*) FROM accounts") == 0
    await database.close()
