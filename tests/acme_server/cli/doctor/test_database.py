"""Findings about the database, provoked with a real PostgreSQL wherever one can be had so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from acme_server.cli.doctor import database
from acme_server.cli.doctor.site import Site
from acme_server.cli.doctor.survey import survey
from acme_server.workflow.inspection import DatabaseFacts, inspect
from policy.model.errors import DatabaseUnavailable
from support.doctor import found, only, with_facts
from support.postgres import APPLICATION, OWNER, PostgresCluster, run_apart
from support.records import closed_port

MakeSite = Callable[..., Site]


def look(url: str) -> DatabaseFacts:
    return run_apart(inspect(url))


def test_database_that_answers_is_named_without_its_password(
    make_site: MakeSite, facts: DatabaseFacts, database_url: str
) -> None:
    site = with_facts(make_site({"database.url": database_url}), facts)

    severity, message = only(database.check_database, site)

    assert severity == "ok"
    assert f"as {APPLICATION}" in message
    assert "***" in message


def test_database_that_is_away_is_an_error_and_one_not_made_is_none(make_site: MakeSite) -> None:
    url = f"postgresql://app:hunter2@127.0.0.1:{closed_port()}/acme"
    with pytest.raises(DatabaseUnavailable) as caught:
        look(url)

    away = only(
        database.check_database, make_site({"database.url": url}, database_fault=str(caught.value))
    )
    not_made = only(database.check_database, make_site())

    assert away[0] == "error"
    assert "hunter2" not in away[1]
    assert not_made[0] == "info"


def test_wrong_password_and_missing_database_are_told(
    postgres_cluster: PostgresCluster, database_url: str
) -> None:
    with pytest.raises(DatabaseUnavailable, match="password authentication failed"):
        look(database_url.replace(":", ":x", 2).replace("postgresql:x", "postgresql:"))
    with pytest.raises(DatabaseUnavailable, match='database "missing" does not exist'):
        look(postgres_cluster.app_url("missing"))


@pytest.mark.parametrize(
    ("changes", "severity", "message"),
    [
        ({}, "ok", "UTF8, primary"),
        ({"version_number": 140012, "version": "14.12"}, "error", "PostgreSQL 14.12 is too old"),
        ({"is_standby": True}, "error", "the database is a standby"),
        ({"encoding": "LATIN1"}, "error", "the database's encoding is LATIN1"),
    ],
)
def test_version_and_kind_are_judged(
    make_site: MakeSite,
    facts: DatabaseFacts,
    changes: dict[str, Any],
    severity: str,
    message: str,
) -> None:
    finding = only(database.check_database_version, with_facts(make_site(), facts, **changes))

    assert finding[0] == severity
    assert message in finding[1]


def test_encoding_of_a_real_database_is_seen(postgres_cluster: PostgresCluster) -> None:
    postgres_cluster.execute(
        "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc"
        " TEMPLATE template0"
    )
    try:
        facts = look(postgres_cluster.app_url("ascii"))
    finally:
        postgres_cluster.drop_database("ascii")

    assert facts.encoding == "SQL_ASCII"
    assert not facts.has_tables


def test_cluster_that_may_lose_commits_is_an_error(
    make_site: MakeSite, facts: DatabaseFacts
) -> None:
    # The tests' own cluster is such a one.
    findings = found(database.check_durability, with_facts(make_site(), facts))

    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert any(s == "error" and f"PostgreSQL's {name} is off" in m for s, m in findings)


def test_synchronous_commit_of_a_role_is_seen(
    postgres_cluster: PostgresCluster, database_url: str
) -> None:
    postgres_cluster.execute(f"ALTER ROLE {APPLICATION} SET synchronous_commit = 'local'")
    try:
        facts = look(database_url)
    finally:
        postgres_cluster.execute(f"ALTER ROLE {APPLICATION} RESET synchronous_commit")

    assert facts.settings["synchronous_commit"] == "local"


@pytest.mark.parametrize(
    ("value", "checksums", "severities"),
    [
        ("on", "on", ["ok"]),
        ("remote_apply", "on", ["ok"]),
        ("on", "off", ["info", "ok"]),
        ("local", "on", ["error"]),
    ],
)
def test_durable_settings_are_fine(
    make_site: MakeSite,
    facts: DatabaseFacts,
    value: str,
    checksums: str,
    severities: list[str],
) -> None:
    settings = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": value,
        "data_checksums": checksums,
    }
    site = with_facts(make_site(), facts, settings=settings)

    assert [s for s, _ in found(database.check_durability, site)] == severities


def test_vacuum_is_judged(make_site: MakeSite, facts: DatabaseFacts) -> None:
    is_on = {**facts.settings, "autovacuum": "on"}
    site = make_site()

    off = only(database.check_vacuum, with_facts(site, facts))
    on = only(database.check_vacuum, with_facts(site, facts, settings=is_on))
    old = with_facts(site, facts, settings=is_on, transaction_age=1_500_000_000)

    assert off == ("warning", "autovacuum is off")
    assert on[0] == "ok"
    assert only(database.check_vacuum, old)[0] == "error"


def test_two_roles_are_fine(make_site: MakeSite, facts: DatabaseFacts) -> None:
    assert only(database.check_roles, with_facts(make_site(), facts))[0] == "ok"


def test_one_role_is_a_warning(make_site: MakeSite, owner_url: str) -> None:
    severity, message = only(database.check_roles, replace(make_site(), database=look(owner_url)))

    assert severity == "warning"
    assert f"one role, {OWNER}, serves and owns" in message


def test_superuser_is_an_error(
    make_site: MakeSite, postgres_cluster: PostgresCluster, migrated_database: str
) -> None:
    facts = look(postgres_cluster.superuser_url(migrated_database))

    severity, message = only(database.check_roles, replace(make_site(), database=facts))

    assert severity == "error"
    assert "is a superuser" in message


@pytest.mark.parametrize(
    ("grant", "excess"),
    [
        ("UPDATE ON audit_events", "audit_events: UPDATE"),
        ("DELETE, TRUNCATE ON serials", "serials: DELETE, TRUNCATE"),
        ("UPDATE ON audit_batches", "audit_batches: UPDATE"),
    ],
)
def test_right_to_change_history_is_an_error(
    make_site: MakeSite,
    postgres_cluster: PostgresCluster,
    migrated_database: str,
    database_url: str,
    grant: str,
    excess: str,
) -> None:
    postgres_cluster.execute(f"GRANT {grant} TO {APPLICATION}", database=migrated_database)

    severity, message = only(
        database.check_roles, replace(make_site(), database=look(database_url))
    )

    assert severity == "error"
    assert excess in message


def test_right_on_a_single_partition_is_seen(
    make_site: MakeSite,
    postgres_cluster: PostgresCluster,
    migrated_database: str,
    database_url: str,
) -> None:
    partition = f"audit_events_{datetime.now(UTC):%Y_%m}"
    postgres_cluster.execute(
        f"GRANT DELETE ON {partition} TO {APPLICATION}", database=migrated_database
    )

    assert look(database_url).excess_rights == (f"{partition}: DELETE",)


@pytest.mark.parametrize(
    ("more", "severity", "message"),
    [
        ({}, "ok", "all migrations are applied"),
        ({"pending_migrations": ("0009_x",)}, "warning", "migrations are missing: 0009_x"),
        ({"migrations_fault": "the database has migration 9999"}, "error", "migration 9999"),
    ],
)
def test_migrations_are_judged(
    make_site: MakeSite,
    facts: DatabaseFacts,
    more: dict[str, Any],
    severity: str,
    message: str,
) -> None:
    finding = only(database.check_migrations, with_facts(make_site(**more), facts))

    assert finding[0] == severity
    assert message in finding[1]


def test_fresh_database_has_partitions_ahead(make_site: MakeSite, facts: DatabaseFacts) -> None:
    severity, _ = only(database.check_partitions, with_facts(make_site(), facts))

    assert severity == "ok"
    assert "orders" in facts.partitions


@pytest.mark.parametrize(
    ("month", "severity", "message"),
    [
        ("2027_01", "ok", "partitions are there up to 2027_01"),
        ("2026_12", "warning", "orders has no partition for the next month"),
        ("2026_11", "error", "orders has no partition for this month"),
        (None, "error", "orders has no partition for this month"),
    ],
)
def test_partitions_that_will_be_missing_are_told(
    make_site: MakeSite,
    facts: DatabaseFacts,
    month: str | None,
    severity: str,
    message: str,
) -> None:
    site = make_site(now=lambda: datetime(2026, 12, 31, 23, tzinfo=UTC))

    finding = only(database.check_partitions, with_facts(site, facts, partitions={"orders": month}))

    assert finding == (severity, message)


def test_dropped_partitions_are_seen(
    make_site: MakeSite,
    postgres_cluster: PostgresCluster,
    migrated_database: str,
    database_url: str,
) -> None:
    facts = look(database_url)
    last = facts.partitions["orders"]
    postgres_cluster.execute(f"DROP TABLE orders_{last}", database=migrated_database)

    assert look(database_url).partitions["orders"] < str(last)


@pytest.mark.parametrize(("pool", "severity"), [(10, "ok"), (40, "warning")])
def test_connections_are_compared_with_what_the_database_takes(
    make_site: MakeSite, facts: DatabaseFacts, pool: int, severity: str
) -> None:
    site = make_site({"database.pool_size": pool, "server.workers": 1})

    assert facts.max_connections == 100
    assert only(database.check_connections, with_facts(site, facts))[0] == severity


def test_embedded_database_is_judged_by_its_programs(make_site: MakeSite) -> None:
    broken = make_site(embedded_fault="There is no PostgreSQL for the embedded database")
    external = make_site({"database.url": "postgresql://h/d"})

    assert only(database.check_embedded, make_site())[0] == "ok"
    assert only(database.check_embedded, broken)[0] == "error"
    assert only(database.check_embedded, external) == ("ok", "the database is an external one")


def test_survey_sees_missing_programs_and_data_of_another_version(make_site: MakeSite) -> None:
    site = make_site()
    cluster = site.settings.data_dir / "postgres"
    missing = make_site({"database.bin_dir": site.settings.data_dir})

    with survey(missing.settings, None, print) as seen_missing:
        pass
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("11\n")
    with survey(site.settings, None, print) as seen_old:
        pass

    assert "has no postgres and initdb" in (seen_missing.embedded_fault or "")
    assert "is of PostgreSQL 11" in (seen_old.embedded_fault or "")
    assert seen_old.database is None
    assert seen_old.database_fault
