"""Backup and restore, with an external database and with the embedded one."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from storage.backup import BackupError, backup, read_manifest, read_master_key, restore
from storage.embedded import EmbeddedPostgres, join_or_start
from storage.migrations import known_migrations, migrate
from support.embedded import mode_of, query
from support.postgres import APPLICATION, PostgresCluster, find_bin_dir, run_apart

MASTER_KEY = "bWFzdGVyIGtleSBvZiB0aGUgdGVzdCwgMzIgYnl0ZXM"

# One account, one event, one secret, one CRL and one used nonce.
ROWS = """
    INSERT INTO accounts (id, status, thumbprint, jwk, contacts, created_at, created_from)
    VALUES (gen_random_uuid(), 'valid', decode(repeat('ab', 32), 'hex'), '{}', '{}', now(), '::1');
    INSERT INTO audit_events (actor, action, subject) VALUES ('a', 'b', 'c');
    INSERT INTO sealed_secrets (id, purpose, sealed) VALUES (gen_random_uuid(), 'key', 'x');
    INSERT INTO issuers (name, certificate, key, shards, is_active) VALUES ('i', 'x', 'k', 1, true);
    INSERT INTO crls (issuer, shard, number, fencing_token, this_update, next_update, der)
    VALUES ('i', 0, 7, 1, now(), now(), 'x');
    INSERT INTO nonces_a (id) VALUES ('used');
"""


@pytest.fixture
def filled(postgres_cluster: PostgresCluster, migrated_database: str, owner_url: str) -> str:
    """The owner's URL of a database with a few rows."""
    postgres_cluster.execute(ROWS, database=migrated_database)
    return owner_url


@pytest.fixture
def empty_url(postgres_cluster: PostgresCluster, empty_database: str) -> str:
    """The owner's URL of a database to restore to."""
    return postgres_cluster.owner_url(empty_database)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a backup may be written."""
    return tmp_path / "acme.backup"


@pytest.fixture
def archive(filled: str, file: Path) -> Path:
    """A backup of the filled database."""
    backup(file, filled, bin_dir=find_bin_dir())
    return file


def _rewrite(file: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Alter the members of a backup; its checks of the ZIP format still hold."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _edit_manifest(file: Path, **fields: Any) -> None:
    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"]) | fields
        members["manifest.json"] = json.dumps(manifest).encode()

    _rewrite(file, change)


def _tables(url: str) -> object:
    return query(url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")


def _install_client(bin_dir: Path, name: str, body: str) -> None:
    """Programs that are new enough for any server, one of which does what ``body`` says."""
    bin_dir.mkdir(exist_ok=True)
    for program in ("pg_dump", "pg_restore"):
        version = f'[ "$1" != --version ] || exec echo "{program} (PostgreSQL) 30.1"'
        (bin_dir / program).write_text(f"#!/bin/sh\n{version}\n{body if program == name else ''}\n")
        (bin_dir / program).chmod(0o755)


def test_everything_comes_back_with_its_rights(
    archive: Path, postgres_cluster: PostgresCluster, empty_database: str, empty_url: str
) -> None:
    restore(archive, empty_url, bin_dir=find_bin_dir())

    app_url = postgres_cluster.app_url(empty_database)
    for table in ("accounts", "audit_events", "sealed_secrets", "schema_migrations"):
        assert query(app_url, f"SELECT count(*) > 0 FROM {table}") is True
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        query(app_url, "UPDATE audit_events SET actor = 'x'")
    assert query(app_url, "SELECT count(*) FROM ensure_partitions()") == 0


def test_what_nobody_may_do_stays_so_after_a_restore(
    archive: Path, postgres_cluster: PostgresCluster, empty_database: str, empty_url: str
) -> None:
    restore(archive, empty_url, bin_dir=find_bin_dir())

    may = (
        "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
        " AND has_function_privilege('pg_monitor', oid, 'EXECUTE')"
    )
    assert query(postgres_cluster.superuser_url(empty_database), may) == 0


def test_the_server_finds_nothing_to_migrate_after_a_restore(archive: Path, empty_url: str) -> None:
    restore(archive, empty_url, bin_dir=find_bin_dir())

    assert run_apart(migrate(empty_url, APPLICATION)) == []


def test_nonces_of_before_the_backup_are_not_known_and_not_accepted(
    archive: Path, empty_url: str
) -> None:
    restore(archive, empty_url, bin_dir=find_bin_dir())

    assert query(empty_url, "SELECT count(*) FROM nonces_a") == 0
    # Without an epoch every older nonce is refused.
    assert query(empty_url, "SELECT count(*) FROM nonce_epoch") == 0


def test_crl_numbers_go_on_above_those_that_may_have_been_published_since(
    archive: Path, empty_url: str
) -> None:
    restore(archive, empty_url, bin_dir=find_bin_dir())

    assert query(empty_url, "SELECT number FROM crls") == 7 + 65536


def test_the_manifest_says_what_is_in_it(archive: Path, postgres_cluster: PostgresCluster) -> None:
    manifest = read_manifest(archive)

    assert manifest.postgres_major == postgres_cluster.major
    assert manifest.migrations[-1].startswith(f"{known_migrations()[-1].number:04}_")
    assert manifest.grantees == [APPLICATION]
    assert manifest.needs_master_key
    with zipfile.ZipFile(archive) as members:
        assert members.getinfo("database.dump").file_size == manifest.dump_bytes


def test_a_database_without_secrets_needs_no_master_key(owner_url: str, file: Path) -> None:
    manifest = backup(file, owner_url, bin_dir=find_bin_dir())

    assert not manifest.needs_master_key


def test_the_master_key_is_not_in_a_backup(archive: Path) -> None:
    assert not read_manifest(archive).has_master_key
    assert read_master_key(archive) is None
    with zipfile.ZipFile(archive) as members:
        assert sorted(members.namelist()) == ["database.dump", "manifest.json"]


def test_the_master_key_is_in_a_backup_that_it_was_given_to(filled: str, file: Path) -> None:
    manifest = backup(file, filled, bin_dir=find_bin_dir(), master_key=MASTER_KEY)

    assert manifest.has_master_key
    assert read_master_key(file) == MASTER_KEY


def test_only_its_owner_may_read_a_backup(archive: Path) -> None:
    assert mode_of(archive) == 0o600


def test_a_backup_replaces_nothing(filled: str, file: Path) -> None:
    file.write_text("precious")

    with pytest.raises(BackupError, match=f"{file} exists already"):
        backup(file, filled, bin_dir=find_bin_dir())

    assert file.read_text() == "precious"


def test_a_backup_that_fails_leaves_no_file(filled: str, tmp_path: Path) -> None:
    _install_client(tmp_path / "bin", "pg_dump", "echo 'half of a dump'; echo broken >&2; exit 1")
    (tmp_path / "target").mkdir()

    with pytest.raises(BackupError, match=r"database\.owner_url: pg_dump failed: broken"):
        backup(tmp_path / "target" / "file", filled, bin_dir=tmp_path / "bin")

    assert list((tmp_path / "target").iterdir()) == []


def test_a_backup_to_a_place_that_is_not_there_is_refused_by_its_path(
    filled: str, tmp_path: Path
) -> None:
    with pytest.raises(BackupError, match=f"{tmp_path}/missing/file: No such file"):
        backup(tmp_path / "missing" / "file", filled, bin_dir=find_bin_dir())


def test_the_password_is_on_no_command_line(filled: str, file: Path, tmp_path: Path) -> None:
    _install_client(
        tmp_path / "bin",
        "pg_dump",
        f'echo "$@" > {tmp_path}/seen; echo "$PGPASSWORD" >> {tmp_path}/seen',
    )

    backup(file, filled, bin_dir=tmp_path / "bin")

    arguments, password = (tmp_path / "seen").read_text().splitlines()
    assert f"acme_owner:{password}@" in filled
    assert password not in arguments
    assert "postgresql://acme_owner@/" in arguments


def test_a_database_that_is_not_ours_is_refused_with_the_setting(
    empty_url: str, file: Path
) -> None:
    with pytest.raises(BackupError, match=r"database\.owner_url: .*no tables of acme-server"):
        backup(file, empty_url, bin_dir=find_bin_dir())


def test_a_database_that_is_away_is_told_by_the_setting_and_without_the_password(
    file: Path, tmp_path: Path
) -> None:
    url = f"postgresql://acme_owner:hunter2@/acme_server?host={tmp_path}"

    with pytest.raises(BackupError, match=r"database\.owner_url: .*can't be reached") as raised:
        backup(file, url, bin_dir=find_bin_dir())

    assert "hunter2" not in str(raised.value)


def test_a_target_that_is_not_empty_is_refused_and_kept(archive: Path, empty_url: str) -> None:
    query(empty_url, "CREATE TABLE precious AS SELECT 7 AS answer")

    with pytest.raises(BackupError, match=r"not empty.*new database"):
        restore(archive, empty_url, bin_dir=find_bin_dir())

    assert query(empty_url, "SELECT answer FROM precious") == 7
    assert _tables(empty_url) == 1


def test_a_backup_is_not_restored_over_its_own_database(archive: Path, filled: str) -> None:
    with pytest.raises(BackupError, match="not empty"):
        restore(archive, filled, bin_dir=find_bin_dir())


def test_an_altered_dump_is_refused_before_anything_is_changed(
    archive: Path, empty_url: str
) -> None:
    def change(members: dict[str, bytes]) -> None:
        dump = bytearray(members["database.dump"])
        dump[len(dump) // 2] ^= 1
        members["database.dump"] = bytes(dump)

    _rewrite(archive, change)

    with pytest.raises(BackupError, match=f"{archive} was altered"):
        restore(archive, empty_url, bin_dir=find_bin_dir())

    assert _tables(empty_url) == 0


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.999])
def test_a_cut_file_is_refused(archive: Path, empty_url: str, kept: float) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept if kept > 1 else len(content) * kept)])

    with pytest.raises(BackupError, match=f"{archive} is not a backup"):
        restore(archive, empty_url, bin_dir=find_bin_dir())


def test_a_file_without_a_manifest_is_refused(archive: Path, empty_url: str) -> None:
    _rewrite(archive, lambda members: members.__delitem__("manifest.json"))

    with pytest.raises(BackupError, match="is not a backup"):
        restore(archive, empty_url, bin_dir=find_bin_dir())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"format": 2, "acme_server": "9.0"}, r"newer acme-server \(9\.0\)"),
        ({"migrations": ["9999_future"]}, r"newer acme-server .*9999_future"),
        ({"postgres_major": 99}, r"the backup is of PostgreSQL 99"),
        ({"grantees": ["someone_else"]}, r"CREATE ROLE someone_else LOGIN"),
        ({"pg_dump_major": 99}, r"database\.bin_dir: .*postgresql-client-99"),
    ],
)
def test_a_backup_that_does_not_fit_is_refused_with_the_reason(
    archive: Path, empty_url: str, fields: dict[str, Any], reason: str
) -> None:
    _edit_manifest(archive, **fields)

    with pytest.raises(BackupError, match=reason):
        restore(archive, empty_url, bin_dir=find_bin_dir())

    assert _tables(empty_url) == 0


@pytest.fixture
def passing_role(postgres_cluster: PostgresCluster) -> Iterator[str]:
    """A role that may be gone at the end of the test."""
    postgres_cluster.execute("CREATE ROLE passing")
    yield "passing"
    postgres_cluster.execute("DROP ROLE IF EXISTS passing")


def test_a_restore_that_fails_half_way_leaves_an_empty_database(
    filled: str,
    empty_url: str,
    file: Path,
    passing_role: str,
    postgres_cluster: PostgresCluster,
    migrated_database: str,
) -> None:
    query(filled, f"GRANT SELECT ON accounts TO {passing_role}")
    backup(file, filled, bin_dir=find_bin_dir())
    query(filled, f"REVOKE SELECT ON accounts FROM {passing_role}")
    postgres_cluster.execute(f"DROP ROLE {passing_role}", database=migrated_database)
    _edit_manifest(file, grantees=[APPLICATION])

    with pytest.raises(BackupError, match=r'pg_restore failed.*role "passing" does not exist'):
        restore(file, empty_url, bin_dir=find_bin_dir())

    assert _tables(empty_url) == 0


def test_the_embedded_database_is_backed_up_while_it_runs_and_restored_elsewhere(
    running: EmbeddedPostgres, open_dir: Path, file: Path
) -> None:
    run_apart(migrate(running.owner_url, APPLICATION))
    query(running.owner_url, ROWS.partition(";")[0])

    backup(file, running.owner_url, bin_dir=running.bin_dir)
    with join_or_start(open_dir / "elsewhere", bin_dir=running.bin_dir) as restored:
        restore(file, restored.owner_url, bin_dir=running.bin_dir)

        assert query(restored.app_url, "SELECT count(*) FROM accounts") == 1
        assert query(restored.app_url, "SELECT count(*) FROM crls") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another account")
def test_a_backup_made_by_root_is_not_readable_by_the_account_of_the_database(
    running: EmbeddedPostgres, open_dir: Path
) -> None:
    run_apart(migrate(running.owner_url, APPLICATION))

    backup(open_dir / "file", running.owner_url, bin_dir=running.bin_dir)

    assert (open_dir / "file").stat().st_uid == 0
