"""``db``: migrations, backup and restore, with external and embedded databases."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result

from acme_server.config.masterkey import make_master_key_file
from storage.embedded import join_or_start
from storage.migrations import known_migrations, migrate
from support.embedded import make_open_directory
from support.postgres import APPLICATION, PostgresCluster, find_bin_dir, run_apart
from support.records import record

Run = Callable[..., Result]


@pytest.fixture
def empty(postgres_cluster: PostgresCluster, empty_database: str, tmp_path: Path) -> dict[str, str]:
    """Variables that name a database without tables."""
    return {
        "ACME_SERVER__DATABASE__URL": postgres_cluster.app_url(empty_database),
        "ACME_SERVER__DATABASE__OWNER_URL": postgres_cluster.owner_url(empty_database),
        "ACME_SERVER__DATABASE__BIN_DIR": str(find_bin_dir()),
        "ACME_SERVER__SECRETS__MASTER_KEY": "env:MASTER_KEY",
    }


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory through which the account of an embedded database may pass."""
    path = make_open_directory()
    yield path
    shutil.rmtree(path)


def test_migrations_are_applied_once(run: Run, empty: dict[str, str]) -> None:
    first = run("db", "migrate", "--json", environ=empty)
    second = run("db", "migrate", environ=empty)
    asked = run("account", "list", environ=empty)

    assert len(json.loads(first.stdout)["applied"]) == len(known_migrations())
    assert second.stdout == "nothing to do\n"
    assert asked.exit_code == 0


def test_database_without_tables_names_the_command(run: Run, empty: dict[str, str]) -> None:
    result = run("account", "list", environ=empty)

    assert result.exit_code == 1
    assert "lacks migrations" in result.stderr
    assert "acme-server db migrate" in result.stderr


def test_database_of_a_newer_version_is_refused(
    run: Run, postgres_cluster: PostgresCluster, empty_database: str, empty: dict[str, str]
) -> None:
    run_apart(migrate(postgres_cluster.owner_url(empty_database), APPLICATION))
    postgres_cluster.execute(
        "INSERT INTO schema_migrations (number, name, checksum) VALUES (9999, 'later', 'x')",
        database=empty_database,
    )

    result = run("account", "list", environ=empty)

    assert result.exit_code == 1
    assert "9999_later" in result.stderr


def test_backup_is_restored_into_another_database(
    run: Run, empty: dict[str, str], recorded: dict[str, str]
) -> None:
    source = recorded | {"ACME_SERVER__DATABASE__BIN_DIR": str(find_bin_dir())}

    backup = run("db", "backup", "acme.backup", environ=source)
    restore = run("db", "restore", "acme.backup", "--json", environ=empty)

    assert backup.exit_code == 0, backup.output
    assert restore.exit_code == 0, restore.output
    assert not json.loads(restore.stdout)["has_master_key"]
    assert (
        run("account", "list", environ=empty).stdout
        == run("account", "list", environ=recorded).stdout
    )


def test_what_keeps_a_backup_from_being_made_is_told(
    run: Run, empty: dict[str, str], recorded: dict[str, str]
) -> None:
    Path("there").write_text("")

    exists = run("db", "backup", "there", environ=recorded)
    no_tables = run("db", "backup", "new", environ=empty)
    no_backup = run("db", "restore", "there", environ=empty)

    assert exists.exit_code == no_tables.exit_code == no_backup.exit_code == 1
    assert "there exists already" in exists.stderr
    assert "has no tables of acme-server" in no_tables.stderr
    assert "there is not a backup" in no_backup.stderr
    assert not Path("new").exists()


def test_upgrade_of_an_external_database_is_refused(run: Run, empty: dict[str, str]) -> None:
    result = run("db", "upgrade", environ=empty)

    assert result.exit_code == 1
    assert "which you upgrade yourself" in result.stderr


def test_embedded_database_moves_to_another_directory_with_its_key(run: Run, folder: Path) -> None:
    old, new = folder / "old", folder / "new"
    bin_dir = {"ACME_SERVER__DATABASE__BIN_DIR": os.environ.get("ACME_SERVER_TEST_PG_BIN", "")}
    with join_or_start(old) as running:
        run_apart(migrate(running.owner_url, APPLICATION))
        records = run_apart(record(running.app_url))
    make_master_key_file(old / "master_key", records.master_key)
    file = str(folder / "acme.backup")

    here = {"ACME_SERVER__DATA_DIR": str(old)} | bin_dir
    there = {"ACME_SERVER__DATA_DIR": str(new)} | bin_dir
    backup = run("db", "backup", file, "--with-master-key", environ=here)
    restore = run("db", "restore", file, environ=there)
    again = run("db", "restore", file, environ=there)

    assert backup.exit_code == 0, backup.output
    assert restore.exit_code == 0, restore.output
    assert (new / "master_key").read_text() == (old / "master_key").read_text()
    serial = records.certificate.serial.hex()
    assert run("certificate", "show", serial, environ=there).exit_code == 0
    assert again.exit_code == 1
    assert f"there is a database in {new} already" in again.stderr
    assert run("db", "upgrade", environ=there).stdout == "nothing to do\n"
