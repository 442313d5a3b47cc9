"""Checks of the database: version, durability, rights, migrations, partitions, room."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from acme_server.cli.doctor.findings import Finding, error, info, ok, warning
from acme_server.cli.doctor.site import Site
from acme_server.config.addresses import redact_url

_LEAST_VERSION = 150000
_DURABLE = {
    "fsync": {"on"},
    "full_page_writes": {"on"},
    # "local" and "off" acknowledge what a failure may take back.
    "synchronous_commit": {"on", "remote_write", "remote_apply"},
}
# PostgreSQL stops at 2 thousand millions; autovacuum acts at 200 millions.
_OLD_TRANSACTIONS = 1_000_000_000


def check_database(site: Site) -> Iterator[Finding]:
    """The database can be reached."""
    url = redact_url(site.settings.database.url)
    if site.database is not None:
        yield ok(f"{url}: PostgreSQL {site.database.version}, as {site.database.role}")
    elif site.settings.database.is_embedded and site.database_fault is None:
        yield info("there is no embedded database yet; the first start makes it")
    else:
        yield error(
            f"the database ({url}) can't be used: {site.database_fault}",
            "Start it, and correct database.url and the password in it. What needs the database "
            "was not checked.",
        )


def check_database_version(site: Site) -> Iterator[Finding]:
    """PostgreSQL is recent enough, and holds all characters."""
    facts = site.get_database()
    if facts.version_number < _LEAST_VERSION:
        yield error(f"PostgreSQL {facts.version} is too old", "Upgrade to PostgreSQL 15 or newer.")
    elif facts.is_standby:
        yield error(
            "the database is a standby and takes no changes",
            "Point database.url to the primary: several hosts and target_session_attrs=read-write.",
        )
    elif facts.encoding != "UTF8":
        yield error(
            f"the database's encoding is {facts.encoding}",
            "Make the database with ENCODING 'UTF8'.",
        )
    else:
        yield ok(f"PostgreSQL {facts.version}, UTF8, primary")


def check_durability(site: Site) -> Iterator[Finding]:
    """What was acknowledged survives a power cut."""
    settings = site.get_database().settings
    is_durable = True
    for name, accepted in _DURABLE.items():
        if settings.get(name) not in accepted:
            is_durable = False
            yield error(
                f"PostgreSQL's {name} is {settings.get(name)}: acknowledged orders and serials can "
                "be lost",
                f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf(); and see that no role or "
                "database sets it otherwise.",
            )
    if settings.get("data_checksums") != "on":
        yield info(
            "the database has no data checksums; a failing disk goes unnoticed",
            "pg_checksums --enable, while it is stopped.",
        )
    if is_durable:
        yield ok("fsync, full_page_writes and synchronous_commit are on")


def check_vacuum(site: Site) -> Iterator[Finding]:
    """Old transactions are cleaned up."""
    facts = site.get_database()
    if facts.settings.get("autovacuum") != "on":
        yield warning("autovacuum is off", "ALTER SYSTEM SET autovacuum = on;")
    elif facts.transaction_age > _OLD_TRANSACTIONS:
        yield error(
            f"the oldest transaction is {facts.transaction_age} transactions old; PostgreSQL stops "
            "at 2 thousand millions",
            "Look for transactions left open (pg_stat_activity, pg_prepared_xacts), then VACUUM.",
        )
    else:
        yield ok(f"autovacuum works, the oldest transaction is {facts.transaction_age} old")


def check_roles(site: Site) -> Iterator[Finding]:
    """The role that serves can't change tables, and what is append-only is so for it."""
    facts = site.get_database()
    if facts.is_superuser:
        yield error(
            f"the role that serves, {facts.role}, is a superuser",
            "Make an ordinary role for database.url, and another one for database.owner_url.",
        )
    elif facts.owns_tables:
        yield warning(
            f"one role, {facts.role}, serves and owns the tables: nothing is append-only for it",
            "Make two roles (docs/tutorial.md): the owner in database.owner_url, the other one in "
            "database.url.",
        )
    elif facts.excess_rights:
        yield error(
            f"{facts.role} may change what is append-only: {'; '.join(facts.excess_rights)}",
            f"As the owner: REVOKE UPDATE, DELETE, TRUNCATE ON the tables FROM {facts.role};",
        )
    elif facts.has_tables:
        yield ok(f"{facts.role} owns nothing, and may only add to what is append-only")


def check_migrations(site: Site) -> Iterator[Finding]:
    """The database is as this version needs it."""
    if site.migrations_fault is not None:
        yield error(
            site.migrations_fault, "Run the version of acme-server that migrated the database."
        )
    elif not site.pending_migrations:
        yield ok("all migrations are applied")
    else:
        yield warning(
            f"migrations are missing: {', '.join(site.pending_migrations)}",
            "acme-server db migrate; with database.migrate: auto the next start does it.",
        )


def check_partitions(site: Site) -> Iterator[Finding]:
    """There are partitions for this month and the next: without them inserts fail."""
    facts = site.get_database()
    this_month = f"{site.now():%Y_%m}"
    next_month = f"{_month_after(site.now()):%Y_%m}"
    remedy = "The server makes them ahead: see job_failed in its log, and that it runs."
    is_ready = True
    for table, last in facts.partitions.items():
        if last is None or last < this_month:
            is_ready = False
            yield error(f"{table} has no partition for this month", remedy)
        elif last < next_month:
            is_ready = False
            yield warning(f"{table} has no partition for the next month", remedy)
    if facts.partitions and is_ready:
        yield ok(f"partitions are there up to {min(filter(None, facts.partitions.values()))}")


def check_connections(site: Site) -> Iterator[Finding]:
    """PostgreSQL takes as many connections as our processes may open."""
    facts = site.get_database()
    server = site.settings.server
    # The workers, one more while one is replaced, and the background process.
    wanted = site.settings.database.pool_size * (server.workers + 2)
    if wanted > facts.max_connections * 0.9:
        yield warning(
            f"this server may open {wanted} connections, and PostgreSQL takes "
            f"{facts.max_connections}, for all replicas together",
            "Lower database.pool_size, or raise max_connections.",
        )
    else:
        yield ok(f"{facts.connections} of {facts.max_connections} connections are in use")


def check_embedded(site: Site) -> Iterator[Finding]:
    """The embedded database's programs are there, and of the version of its data."""
    if not site.settings.database.is_embedded:
        yield ok("the database is an external one")
    elif site.embedded_fault is not None:
        yield error(site.embedded_fault, "See what the message says.")
    else:
        yield ok("the embedded database has its programs")


def _month_after(moment: datetime) -> datetime:
    return moment.replace(day=28) + timedelta(days=4)
