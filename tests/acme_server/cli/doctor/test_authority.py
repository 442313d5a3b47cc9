"""Findings about the CA and its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from acme_server.cli.doctor import authority
from acme_server.cli.doctor.site import Site
from acme_server.config.addresses import EndpointText
from acme_server.workflow.inspection import DatabaseFacts, inspect
from storage.pool import Database
from support.doctor import found, only, own_database, with_facts
from support.postgres import PostgresCluster, run_apart
from support.workflow import STATUS_URL, build_house, csr_for

MakeSite = Callable[..., Site]
Serve = Callable[..., int]


@pytest.fixture(scope="module")
def established(postgres_cluster: PostgresCluster, migrated_template: str) -> DatabaseFacts:
    """A database with a CA and fresh CRLs, as it was."""

    async def establish(url: str) -> DatabaseFacts:
        database = await Database.open(url)
        house = await build_house(database)
        await house.publication.publish_due()
        await database.close()
        return await inspect(url)

    with own_database(postgres_cluster, migrated_template) as url:
        return run_apart(establish(url))


def at(site: Site, days: float) -> Site:
    """The site as it will be looked at in some days."""
    return replace(site, now=lambda: datetime.now(UTC) + timedelta(days=days))


def test_missing_ca_is_told(make_site: MakeSite, facts: DatabaseFacts) -> None:
    assert only(authority.check_issuers, with_facts(make_site(), facts))[0] == "info"


@pytest.mark.parametrize(
    ("days", "root", "issuing"),
    [
        (0, "ok", "ok"),
        (1825 - 100, "ok", "warning"),
        (1825 - 50, "ok", "error"),
        (1826, "ok", "error"),
        (3650 - 100, "warning", "error"),
        (3651, "error", "error"),
    ],
)
def test_end_of_a_ca_is_told_in_time(
    make_site: MakeSite, established: DatabaseFacts, days: int, root: str, issuing: str
) -> None:
    site = at(with_facts(make_site(), established), days)

    findings = found(authority.check_issuers, site)

    assert [severity for severity, _ in findings] == [root, issuing]


@pytest.mark.parametrize(
    ("days", "severity", "message"),
    [
        (0, "ok", "CRLs are fresh"),
        (4, "warning", "is past half of its life"),
        (8, "error", "is out of date since"),
    ],
)
def test_age_of_crls_is_judged(
    make_site: MakeSite, established: DatabaseFacts, days: int, severity: str, message: str
) -> None:
    findings = found(authority.check_crls, at(with_facts(make_site(), established), days))

    assert {s for s, _ in findings} == {severity}
    assert all(message in text for _, text in findings)


def test_crl_that_was_never_made_is_an_error(
    make_site: MakeSite, established: DatabaseFacts
) -> None:
    site = with_facts(make_site(), established, crls=established.crls[1:])
    first = established.crls[0]

    assert found(authority.check_crls, site) == [
        ("error", f"the CRL {first.issuer}/{first.shard} was never made")
    ]


def test_changed_status_url_is_a_warning(make_site: MakeSite, established: DatabaseFacts) -> None:
    same = with_facts(make_site({"server.status_url": STATUS_URL}), established)
    other = with_facts(make_site({"server.status_url": "http://new.example"}), established)

    assert only(authority.check_certificate_urls, same)[0] == "ok"
    severity, message = only(authority.check_certificate_urls, other)
    assert severity == "warning"
    assert STATUS_URL in message


def test_finished_work_is_fine(make_site: MakeSite, established: DatabaseFacts) -> None:
    assert only(authority.check_unfinished_work, with_facts(make_site(), established))[0] == "ok"


def test_work_that_nobody_took_over_is_an_error(
    make_site: MakeSite,
    postgres_cluster: PostgresCluster,
    migrated_database: str,
    database_url: str,
) -> None:
    async def leave_work() -> None:
        database = await Database.open(database_url)
        house = await build_house(database)
        caller = await house.caller()
        order = await house.ready_order(caller, "www.example.org")
        await house.issuance.finalize(caller, order.id, csr_for("www.example.org"))
        await database.close()

    run_apart(leave_work())
    postgres_cluster.execute(
        "UPDATE validations SET status = 'processing', lease_until = now() - interval '3 minutes'",
        "UPDATE certificates SET status = 'reserved', signature = NULL,"
        " lease_until = now() - interval '3 minutes'",
        database=migrated_database,
    )

    findings = found(
        authority.check_unfinished_work,
        replace(make_site(), database=run_apart(inspect(database_url))),
    )

    assert [severity for severity, _ in findings] == ["error", "error"]
    assert findings[0][1].startswith("1 validations have been left")
    assert findings[1][1].startswith("1 issuances have been left")


def test_work_just_begun_is_not_left_behind(
    postgres_cluster: PostgresCluster, migrated_database: str, database_url: str
) -> None:
    async def begin() -> None:
        database = await Database.open(database_url)
        house = await build_house(database)
        await house.ready_order(await house.caller(), "www.example.org")
        await database.close()

    run_apart(begin())
    postgres_cluster.execute(
        "UPDATE validations SET status = 'processing', lease_until = now() - interval '1 minute'",
        database=migrated_database,
    )

    assert run_apart(inspect(database_url)).abandoned_validations == 0


@pytest.mark.parametrize(
    ("answer", "severity", "message"),
    [
        ((200, b"ready"), "ok", "the server runs and is ready"),
        ((503, b"the database is away\n"), "error", "the server is not ready: the database is"),
        ((503, b""), "error", "the server is not ready: 503"),
    ],
)
def test_readiness_of_the_server_is_asked(
    make_site: MakeSite, serve: Serve, answer: tuple[int, bytes], severity: str, message: str
) -> None:
    place = EndpointText().parse(f"127.0.0.1:{serve({'/readyz': answer})}")

    finding = only(authority.check_processes, make_site({"server.ops_listen": place}))

    assert finding[0] == severity
    assert finding[1].startswith(message)


def test_server_that_does_not_run_is_told(make_site: MakeSite) -> None:
    assert only(authority.check_processes, make_site()) == (
        "info",
        "the server does not run here",
    )
