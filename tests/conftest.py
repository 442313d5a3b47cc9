"""What all tests share: the event loop that CI chooses, and a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from storage.migrations import migrate
from storage.pool import Database
from support.postgres import APPLICATION, TEMPLATE, PostgresCluster, run_apart, run_cluster

# The machine may be busy: how long an example takes says nothing about what is tested.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
_LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that ``ACME_SERVER_TEST_LOOP`` names; uvloop, which serves, by default."""
    name = os.environ.get("ACME_SERVER_TEST_LOOP") or "uvloop"
    return {name: _LOOPS[name]}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests marked ``root`` are for root only."""
    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresCluster]:
    """The PostgreSQL server of this test run."""
    with run_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def migrated_template(postgres_cluster: PostgresCluster) -> str:
    """The name of a database that has all tables and no rows; nobody may connect to it."""
    postgres_cluster.create_database(TEMPLATE)
    run_apart(migrate(postgres_cluster.owner_url(TEMPLATE), APPLICATION))
    return TEMPLATE


@pytest.fixture
def empty_database(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """The name of a fresh database without tables."""
    name = _new_name()
    postgres_cluster.create_database(name)
    yield name
    postgres_cluster.drop_database(name)


@pytest.fixture
def migrated_database(postgres_cluster: PostgresCluster, migrated_template: str) -> Iterator[str]:
    """The name of a fresh database with all tables."""
    name = _new_name()
    postgres_cluster.create_database(name, template=migrated_template)
    yield name
    postgres_cluster.drop_database(name)


@pytest.fixture
def database_url(postgres_cluster: PostgresCluster, migrated_database: str) -> str:
    """The fresh migrated database as the role that serves."""
    return postgres_cluster.app_url(migrated_database)


@pytest.fixture
def owner_url(postgres_cluster: PostgresCluster, migrated_database: str) -> str:
    """The fresh migrated database as the role that migrates."""
    return postgres_cluster.owner_url(migrated_database)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The fresh migrated database, opened as the role that serves."""
    database = await Database.open(database_url)
    yield database
    await database.close()


def _new_name() -> str:
    return f"test_{uuid.uuid4().hex}"
