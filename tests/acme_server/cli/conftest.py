"""Running commands as operators do, on a database in which something has happened."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from acme_server.cli import root
from support.postgres import PostgresCluster, run_apart
from support.records import Records, record

Run = Callable[..., Result]
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def recorded_database(
    postgres_cluster: PostgresCluster, migrated_template: str
) -> Iterator[tuple[str, Records]]:
    """The name of a database in which something has happened, and what; only to be read."""
    name = f"recorded_{uuid.uuid4().hex}"
    postgres_cluster.create_database(name, template=migrated_template)
    yield name, run_apart(record(postgres_cluster.app_url(name)))
    postgres_cluster.drop_database(name)


@pytest.fixture
def records(recorded_database: tuple[str, Records]) -> Records:
    """What has happened in the database that ``ask`` asks."""
    return recorded_database[1]


@pytest.fixture
def recorded(
    postgres_cluster: PostgresCluster, recorded_database: tuple[str, Records], tmp_path: Path
) -> dict[str, str]:
    """Variables that name the database in which something has happened."""
    name, records = recorded_database
    return variables(postgres_cluster, name, tmp_path) | {"MASTER_KEY": records.master_key}


@pytest.fixture
def environment(
    postgres_cluster: PostgresCluster, migrated_database: str, tmp_path: Path
) -> dict[str, str]:
    """Variables that name a database of this test's own, in which nothing has happened."""
    return variables(postgres_cluster, migrated_database, tmp_path)


def variables(cluster: PostgresCluster, name: str, folder: Path) -> dict[str, str]:
    """The settings of an installation on an external database."""
    return {
        "ACME_SERVER__DATA_DIR": str(folder / "data"),
        "ACME_SERVER__DATABASE__URL": cluster.app_url(name),
        "ACME_SERVER__DATABASE__OWNER_URL": cluster.owner_url(name),
        "ACME_SERVER__SECRETS__MASTER_KEY": "env:MASTER_KEY",
    }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty directory, with the given variables; no exception gets out."""
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: str, environ: Mapping[str, str] | None = None) -> Result:
        result = CliRunner().invoke(root, arguments, env=environ, prog_name="acme-server")
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return run_command


@pytest.fixture
def ask(run: Run, recorded: dict[str, str]) -> Ask:
    """Run a command with ``--json`` on the database; its document."""

    def ask_command(*arguments: str) -> Any:
        result = run(*arguments, "--json", environ=recorded)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return ask_command
