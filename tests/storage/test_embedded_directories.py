"""Where the embedded database may be, and what is refused."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.embedded import EmbeddedPostgres, EmbeddedPostgresError
from storage.embedded.account import Account
from storage.embedded.binaries import find_binaries
from storage.embedded.cluster import initialize
from storage.embedded.directories import DataDirectory
from storage.embedded.postmaster import Installation
from support.embedded import kill_postmaster, mode_of, poll_until_up, query

Embedded = Callable[..., EmbeddedPostgres]

SOCKET = "/socket/.s.PGSQL.5432"


def _with_socket_path_of(length: int, above: Path) -> Path:
    return above / ("d" * (length - len(SOCKET) - len(str(above)) - 1))


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True)


def test_the_longest_socket_path_that_works_is_used(
    open_dir: Path, made_data_dir: Path, embedded: Embedded
) -> None:
    data_dir = _with_socket_path_of(107, open_dir)
    _copy(made_data_dir, data_dir)
    database = embedded(data_dir)

    database.start()

    assert query(database.app_url, "SELECT 1") == 1
    assert (data_dir / "socket" / ".s.PGSQL.5432").is_socket()


def test_a_longer_one_is_replaced_by_a_private_directory_as_long_as_it_runs(
    open_dir: Path, made_data_dir: Path, embedded: Embedded
) -> None:
    data_dir = _with_socket_path_of(108, open_dir)
    _copy(made_data_dir, data_dir)
    database = embedded(data_dir)

    database.start()

    elsewhere = Path((data_dir / "socket-directory").read_text())
    assert query(database.app_url, "SELECT 1") == 1
    assert mode_of(elsewhere) == 0o700
    assert elsewhere.stat().st_uid == database.account.uid
    database.stop()
    assert not elsewhere.exists()
    assert not (data_dir / "socket-directory").exists()


def test_a_long_path_survives_the_death_of_the_postmaster(
    open_dir: Path, made_data_dir: Path, embedded: Embedded
) -> None:
    data_dir = open_dir / ("d" * 100) / ("d" * 100)
    data_dir.parent.mkdir()
    _copy(made_data_dir, data_dir)
    database = embedded(data_dir)
    database.start()
    url = database.app_url

    poll_until_up(database, after=kill_postmaster(database))

    assert query(url, "SELECT 1") == 1


def test_a_record_that_names_a_foreign_directory_does_not_remove_it(
    open_dir: Path, made_data_dir: Path, embedded: Embedded
) -> None:
    data_dir = _with_socket_path_of(150, open_dir)
    _copy(made_data_dir, data_dir)
    foreign = open_dir / "foreign"
    foreign.mkdir()
    (foreign / "precious").touch()
    (data_dir / "socket-directory").write_text(str(foreign))

    embedded(data_dir).start()

    assert (foreign / "precious").exists()
    assert (data_dir / "socket-directory").read_text() != str(foreign)


def test_missing_parents_are_made(open_dir: Path, embedded: Embedded) -> None:
    database = embedded(open_dir / "srv" / "acme" / "data")

    database.start()

    assert query(database.app_url, "SELECT 1") == 1


def test_missing_parents_are_passable_whatever_the_umask(
    open_dir: Path, embedded: Embedded
) -> None:
    before = os.umask(0o077)
    try:
        embedded(open_dir / "srv" / "data").start()
    finally:
        os.umask(before)

    assert mode_of(open_dir / "srv") == 0o755
    assert mode_of(open_dir / "srv" / "data") == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_data_directory_that_everyone_may_write_is_refused_as_it_is(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    data_dir.chmod(0o777)

    with pytest.raises(EmbeddedPostgresError, match=f"chmod o-w {data_dir}"):
        stopped.start()

    assert mode_of(data_dir) == 0o777


def test_a_cluster_that_others_may_enter_is_refused_as_it_is(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    (data_dir / "postgres").chmod(0o755)

    with pytest.raises(EmbeddedPostgresError, match=f"chmod 700 {data_dir}/postgres"):
        stopped.start()

    assert mode_of(data_dir / "postgres") == 0o755


def test_a_file_in_the_place_of_the_data_directory_is_refused_by_its_path(
    embedded: Embedded, data_dir: Path
) -> None:
    data_dir.touch()

    with pytest.raises(EmbeddedPostgresError, match=f"data_dir: {data_dir}"):
        embedded().start()


def test_a_cluster_of_an_older_postgres_is_refused_with_the_way_to_upgrade(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("11\n")

    with pytest.raises(EmbeddedPostgresError, match=r"PostgreSQL 11, .*acme-server db upgrade"):
        stopped.start()


def test_a_cluster_of_a_newer_postgres_is_refused_without_one(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("99\n")

    with pytest.raises(
        EmbeddedPostgresError, match=r"no way back\. Set database\.bin_dir"
    ) as raised:
        stopped.start()

    assert "upgrade" not in str(raised.value)


def test_a_directory_that_is_no_cluster_is_refused_and_kept(
    embedded: Embedded, data_dir: Path
) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "precious").touch()

    with pytest.raises(EmbeddedPostgresError, match="PG_VERSION is missing"):
        embedded().start()

    assert (data_dir / "postgres" / "precious").exists()


def test_what_an_interrupted_initdb_left_is_replaced(embedded: Embedded, data_dir: Path) -> None:
    (data_dir / ".postgres.partial" / "base").mkdir(parents=True)
    database = embedded()

    database.start()

    assert query(database.app_url, "SELECT 1") == 1
    assert not (data_dir / ".postgres.partial").exists()


def test_lost_passwords_are_made_anew_and_the_data_stay(
    running: EmbeddedPostgres, data_dir: Path
) -> None:
    query(running.owner_url, "CREATE TABLE kept AS SELECT 7 AS answer")
    before = running.app_url
    running.stop()
    (data_dir / "database-passwords.json").unlink()

    running.start()

    assert running.app_url != before
    assert query(running.owner_url, "SELECT answer FROM kept") == 7
    assert query(running.app_url, "SELECT 1") == 1


def test_passwords_of_another_cluster_are_refused_with_the_file_to_remove(
    stopped: EmbeddedPostgres, data_dir: Path
) -> None:
    file = data_dir / "database-passwords.json"
    file.write_text(file.read_text().replace('": "', '": "x'))

    with pytest.raises(EmbeddedPostgresError, match=f"{file} is not the one.*remove"):
        stopped.start()


def test_a_file_of_ours_is_not_written_through_a_link(
    stopped: EmbeddedPostgres, data_dir: Path, open_dir: Path
) -> None:
    victim = open_dir / "victim"
    victim.write_text("precious")
    (data_dir / "postgres.log").unlink()
    (data_dir / "postgres.log").symlink_to(victim)

    with pytest.raises(EmbeddedPostgresError, match=f"{data_dir}/postgres.log"):
        stopped.start()
    (data_dir / "postgres.log").unlink()
    (data_dir / "postgres.log").hardlink_to(victim)
    with pytest.raises(EmbeddedPostgresError, match="a file with one name"):
        stopped.start()

    assert victim.read_text() == "precious"


def test_an_id_without_a_name_is_told_so_instead_of_by_initdb(data_dir: Path) -> None:
    installation = Installation(
        directory=DataDirectory(data_dir),
        binaries=find_binaries(),
        account=Account(name="54321", uid=54321, gid=54321),
        socket_directory=data_dir / "socket",
    )

    with pytest.raises(EmbeddedPostgresError, match=r"user id 54321 has no entry in /etc/passwd"):
        initialize(installation, data_dir / "postgres", "secret")
